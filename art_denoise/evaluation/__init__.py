"""What is measured, how it is run again, and how it is told."""
