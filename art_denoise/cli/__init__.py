"""The command line, `art-denoise`, made of the same dataclasses as the Python interface. Its help needs no PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from art_denoise._extras import require
from art_denoise._stopping import unless_stopped


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a command line says, and return the status that the program ends with.

    0: done. 1: some cells failed, and are named; the rest is there. 2: an error, in one sentence. 130 and 143: it was
    interrupted, or asked to end, and the same command goes on.

    :param arguments: The command line, without the name of the program; None: that of this process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)

    def work() -> int:
        try:
            require("evaluation", "art-denoise")
        except ImportError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 2
        # Takes a moment, in which it may be interrupted, too.
        from art_denoise.cli.program import status

        return status(given)

    return unless_stopped(work)
