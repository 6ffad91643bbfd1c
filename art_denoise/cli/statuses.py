"""The statuses that the program ends with."""

from __future__ import annotations

#: What each status means.
STATUSES = {
    0: "everything is done",
    1: "a part failed and is named: cells, pictures, or damaged files",
    2: "nothing could be done or written: the error says why and what to do",
    3: "with --fail-on-flag only: something casts doubt on the figures",
    130: "interrupted, as by Ctrl-C: the same command goes on from here",
    141: "nobody reads the output any more, as behind head",
    143: "asked to end by the system (SIGTERM): the same command goes on",
}

#: The statuses by name that are no signal's.
FAILED, WRONG, DOUBTED, UNREAD = 1, 2, 3, 141


def told() -> str:
    """Return the statuses as the help shows them, each on a line of at most 80 characters."""
    return "\n".join(["The program ends with status:", *(f"{status:>5}  {what}" for status, what in STATUSES.items())])
