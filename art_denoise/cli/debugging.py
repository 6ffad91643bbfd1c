"""What `--debug` does: beside the sentence that tells of an error, it shows where the error comes from."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from art_denoise._words import printable

#: The option.
DEBUG = "--debug"

#: What tells of errors that are no end of the program, as those of single cells.
_LOG = logging.getLogger("art_denoise")


@contextmanager
def debugged(arguments: Sequence[str]) -> Iterator[None]:
    """Show tracebacks on the standard error, those of cells that fail as well, if the option is there.

    :param arguments: The command line.
    """
    if DEBUG not in arguments:
        yield
        return
    handler, before = logging.StreamHandler(sys.stderr), _LOG.level
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(before)


def show_trace(error: BaseException) -> None:
    """Show the traceback of an error, if that is asked for."""
    _LOG.debug("%s", printable("".join(traceback.format_exception(error))).rstrip())
