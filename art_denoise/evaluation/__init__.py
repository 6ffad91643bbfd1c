"""What is measured, how it is run again, and how it is told."""

from art_denoise._extras import require

require("evaluation", "art_denoise.evaluation")
