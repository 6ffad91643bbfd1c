"""Run the nightly tests, print one table, and write it to the documentation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nightly.frame import PARTS, as_text, keep, run_part

#: Where the table goes after a whole run.
PAGE = Path(__file__).parents[1] / "docs" / "nightly.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts one after another; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m nightly", description=__doc__)
    parser.add_argument(
        "--part",
        nargs="+",
        action="extend",
        choices=PARTS,
        metavar="NAME",
        help=f"of {', '.join(PARTS)}; all by default",
    )
    parser.add_argument("--quick", action="store_true", help="a little of each part, to see that all works")
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"write these parts to the table in docs/{PAGE.name}, as is done after all parts in full",
    )
    given = parser.parse_args(arguments)
    names = tuple(name for name in PARTS if name in (given.part or PARTS))
    rows = []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows.append(run_part(name, given.quick))
    print(as_text(rows), flush=True)
    if given.write or (names == PARTS and not given.quick):
        keep(rows, PAGE)
    # A part that could not be run did not fail, and did not go well.
    return int(any(row.part.failures for row in rows))


if __name__ == "__main__":
    sys.exit(main())
