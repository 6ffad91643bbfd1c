"""`python -m art_denoise` is `art-denoise`."""

from __future__ import annotations

import sys

from art_denoise.cli import main

# Processes that share the work import this again.
if __name__ == "__main__":
    sys.exit(main())
