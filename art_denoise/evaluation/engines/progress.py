"""How far a run has come, in one bar for all of its tasks."""

from __future__ import annotations

from tqdm.auto import tqdm

from art_denoise._words import one_line
from art_denoise.evaluation.graph import Task


class Bar:
    """One progress bar for all tasks, by what they take, with how many are done and which are being done."""

    def __init__(self, tasks: dict[str, Task], shown: bool) -> None:
        self._bar = tqdm(
            total=sum(map(weight, tasks.values())),
            desc="Run",
            disable=not shown,
            bar_format="{desc}: {percentage:5.1f}%|{bar}| {elapsed}<{remaining}{postfix}",
        )
        self._done, self._count = 0, len(tasks)
        self._told: dict[str, float] = {}
        self._running: dict[str, str] = {}

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def start(self, task: Task) -> None:
        self._told[task.key] = 0.0
        self._running[task.key] = task.title
        self._show()

    def tell(self, task: Task, share: float) -> None:
        """Say which share of a task is done."""
        share = max(self._told[task.key], min(1.0, share))
        self._bar.update(weight(task) * (share - self._told[task.key]))
        self._told[task.key] = share

    def end(self, task: Task) -> None:
        self.tell(task, 1.0)
        self._done += 1
        self._running.pop(task.key, None)
        self._show()

    def leave_out(self, task: Task) -> None:
        self._done += 1
        self._bar.update(weight(task))
        self._show()

    def _show(self) -> None:
        now = one_line("; ".join(self._running.values()))[:100]
        self._bar.set_postfix_str(f"{self._done} of {self._count} done{f'; {now}' if now else ''}", refresh=True)


def weight(task: Task) -> float:
    """Return about how long a task takes compared with others: images forward, three times that backward."""
    work = task.work
    passes = work.forward + 3 * work.backward
    return (1.5 if work.through else 1.0) * passes + 1.0
