"""The command line, `art-denoise`, made of the same dataclasses as the Python interface. Its help needs no PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from art_denoise._extras import require
from art_denoise._stopping import unless_stopped
from art_denoise._words import one_line
from art_denoise.cli.debugging import DEBUG, debugged, show_trace
from art_denoise.cli.statuses import WRONG


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what a command line says, and return the status that the program ends with.

    What each status means is in `art_denoise.cli.statuses`. No error is raised: each is told in a sentence, and with
    --debug its traceback is shown.

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

    with debugged(given):
        try:
            return unless_stopped(work)
        except Exception as error:
            # What nobody has foreseen.
            show_trace(error)
            where = "" if DEBUG in given else f"; with {DEBUG} the same command shows where, which helps to mend it"
            text = one_line(f"{type(error).__name__}: {error}").rstrip(": ")
            print(f"Error: art-denoise itself failed ({text}){where}", file=sys.stderr, flush=True)
            return WRONG
