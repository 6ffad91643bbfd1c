"""Table 1 of Lee, Park & Lee (2018): `python examples/table1.py ...` is `art-denoise table1 ...`.

python examples/table1.py                                  on the photographs, minutes on a CPU
python examples/table1.py --data imagenet --data-dir DIR   the paper's experiment: DIR holds train and val
python examples/table1.py --data imagenette                ten of ImageNet's classes, downloaded
python examples/table1.py --data FOLDER --model net.py:f   your images, one folder a class, and your model
"""

from __future__ import annotations

import sys

from art_denoise.cli import main

# Processes that share the work import this file again.
if __name__ == "__main__":
    sys.exit(main(["table1", *sys.argv[1:]]))
