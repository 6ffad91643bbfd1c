"""What Ctrl-C, and a request of the system to end, do to a program: it says how to go on, and ends as shells know it.

Nothing here takes long to import, so that a program can listen before it imports what does.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

#: What asks a program to end.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: What is said, by the status that it ends with.
_SAID = {128 + signal.SIGINT: "Interrupted", 128 + signal.SIGTERM: "Asked to end"}


def unless_stopped(work: Callable[[], int]) -> int:
    """Do some work, and return the status that it ends with; 130 after Ctrl-C and 143 after SIGTERM, and that is said.

    :param work: May raise anything: if it was asked to end, whatever it raises then is not an error.
    """
    asked: list[int] = []
    with _listening(asked):
        try:
            status = work()
        except KeyboardInterrupt:
            status = 128 + (asked[0] if asked else signal.SIGINT)
        except Exception:
            # Much code has an error of its own for what ends it in the middle.
            if not asked:
                raise
            status = 128 + asked[0]
        else:
            # So have processes that share the work, and were asked themselves.
            status = 128 + asked[0] if asked and status else status
    if status in _SAID:
        _say(_SAID[status])
    return status


@contextmanager
def _listening(asked: list[int]) -> Iterator[None]:
    """Note down what asks to end and interrupt what is done, as far as nobody else listens."""

    def stop(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    before = {}
    # In other threads nothing can listen.
    with suppress(ValueError):
        for number in _SIGNALS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            # Asked twice, it ends at once, whatever it is still waiting for.
            signal.signal(number, signal.SIG_DFL if asked else handler)


def _say(what: str) -> None:
    with suppress(OSError, AttributeError):
        print(f"{what}: the same command goes on from here.", file=sys.stderr, flush=True)
