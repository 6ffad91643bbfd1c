"""How far a run has come, in one bar for all of its tasks, and what each has found; in a file, a line for each task."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

from tqdm.auto import tqdm

from art_denoise._progress import is_drawn
from art_denoise._words import one_line
from art_denoise.evaluation.graph import Task

#: Folder of the artefacts that are the figures of a table, whose number says how far a run has come.
_CELLS = "labels"


class Bar:
    """One progress bar for all tasks, by what they take, with the stage, how many cells are done, and the time left.

    Above it stands what each task has found. Where no bar can be drawn, as in a file, that is a line with how far the
    run has come.

    :param tasks: The tasks.
    :param shown: Whether anything is.
    :param found: Returns what a task that is done has found, in a sentence; None: nothing to tell.
    """

    def __init__(self, tasks: dict[str, Task], shown: bool, found: Callable[[Task], str | None]) -> None:
        self._total = sum(map(weight, tasks.values()))
        self._drawn = shown and is_drawn()
        cells = [task for task in tasks.values() if task.folder == _CELLS]
        # What trains and checks networks has no cells, and comes before the run.
        self._name = "Run" if cells else "Preparation"
        self._bar = tqdm(
            total=self._total,
            desc=self._name,
            disable=not self._drawn,
            bar_format="{desc}: {percentage:5.1f}%|{bar}| {elapsed}<{remaining}{postfix}",
        )
        self._shown, self._found, self._since = shown, found, time.monotonic()
        self._counted = {task.key for task in cells or tasks.values()}
        self._of = f"of {len(self._counted)}{' cells' if cells else ''} done"
        self._done, self._share = 0, 0.0
        self._told: dict[str, float] = {}
        self._running: dict[str, Task] = {}

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def start(self, task: Task) -> None:
        self._told[task.key] = 0.0
        self._running[task.key] = task
        self._show()

    def tell(self, task: Task, share: float) -> None:
        """Say which share of a task is done."""
        share = max(self._told[task.key], min(1.0, share))
        self._advance(weight(task) * (share - self._told[task.key]))
        self._told[task.key] = share

    def end(self, task: Task, failed: bool) -> None:
        self.tell(task, 1.0)
        self._running.pop(task.key, None)
        self._count(task)
        if self._shown:
            self._say(f"{task.title} failed" if failed else self._found(task), task)
        self._show()

    def leave_out(self, task: Task) -> None:
        self._advance(weight(task))
        self._count(task)
        self._show()

    def _advance(self, by: float) -> None:
        self._share += by / self._total
        self._bar.update(by)

    def _count(self, task: Task) -> None:
        self._done += task.key in self._counted

    def _say(self, found: str | None, task: Task) -> None:
        if self._drawn:
            if found is not None:
                self._bar.write(one_line(found), file=sys.stderr)
            return
        # What is summed up in parts may end a little above all.
        left = (time.monotonic() - self._since) * max(0.0, 1 / self._share - 1)
        about = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
        with suppress(OSError, AttributeError):
            far = f"{self._name}: {100 * self._share:5.1f} %, {self._done} {self._of}, about {about} left"
            print(one_line(f"{far}; {found or task.title}"), file=sys.stderr, flush=True)

    def _show(self) -> None:
        if not self._drawn:
            return
        self._bar.set_description_str(
            ", ".join(dict.fromkeys(t.work.stage for t in self._running.values())) or self._name
        )
        now = one_line("; ".join(task.title for task in self._running.values()))[:100]
        self._bar.set_postfix_str(f"{self._done} {self._of}{f'; {now}' if now else ''}", refresh=True)


def weight(task: Task) -> float:
    """Return about how long a task takes compared with others: images forward, three times that backward."""
    work = task.work
    passes = work.forward + 3 * work.backward
    return (1.5 if work.through else 1.0) * passes + 1.0
