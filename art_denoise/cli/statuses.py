"""The statuses that the program ends with."""

from __future__ import annotations

#: What each status means.
STATUSES = {
    0: "all is done",
    1: "some of it failed, and is named: cells, pictures, or damaged files",
    2: "an error, told in a sentence: nothing else was done",
    3: "with --fail-on-flag: something casts doubt on the figures",
    130: "interrupted, as by Ctrl-C: the same command goes on from here",
    141: "nobody reads what is printed any more",
    143: "asked to end: the same command goes on from here",
}

#: The statuses by name that are no signal's.
FAILED, WRONG, DOUBTED, UNREAD = 1, 2, 3, 141


def told() -> str:
    """Return the statuses as the help shows them, each on a line of at most 80 characters."""
    return "\n".join(["The program ends with status:", *(f"{status:>5}  {what}" for status, what in STATUSES.items())])
