"""Speed of the filters and attacks, measured fairly: real images, interleaved runs, medians, losses too."""
