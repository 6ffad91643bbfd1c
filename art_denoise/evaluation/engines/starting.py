"""How processes are started: deaf to Ctrl-C, and not once more by a script that they read while they start."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Status that a process ends with which was about to start a run while it was being started for one.
READ_AGAIN = 93


def end_if_read_again() -> None:
    """End this process if it only reads the script that started it, as processes do before they begin their work.

    A script whose run is not below `if __name__ == "__main__":` would start a run in each process of the run.
    """
    # What `multiprocessing` itself refuses to start processes by.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(READ_AGAIN)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let processes be started that Ctrl-C, which is for the one that starts them, finds deaf from the beginning.

    What asks this process to end meanwhile is heard when they have all that they need to start.
    """
    asked: list[int] = []
    listening = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (None, signal.SIG_IGN):
                # Not left to the mask: another thread may be the one that the signal reaches.
                listening[number] = signal.signal(number, lambda number, _: asked.append(number))
    # What is started has the mask, too.
    masked = hasattr(signal, "pthread_sigmask")
    if masked:
        from multiprocessing import resource_tracker  # not on Windows

        # It would be started with the first process, and lets through again what the mask holds back.
        resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masked else set()
    try:
        yield
    finally:
        if masked:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, listener in listening.items():
            signal.signal(number, listener)
        if asked:
            signal.raise_signal(asked[0])
