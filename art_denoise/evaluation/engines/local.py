"""Do tasks in this process, or share them among several processes of this machine. The results are the same bits."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.engines.progress import Bar, weight
from art_denoise.evaluation.engines.starting import READ_AGAIN, undisturbed
from art_denoise.evaluation.graph import Task, to_do

if TYPE_CHECKING:
    from art_denoise.evaluation.workplace import Stores, Workplace

#: The traces of tasks that fail go here, for who wants to see them.
_LOG = logging.getLogger(__name__)

#: Steps of a task that are told of at once, as a share of all.
_TOLD = 0.01


@dataclass(frozen=True)
class Failure:
    """A task that failed.

    :param task: The task.
    :param error: The error in one line, with the place in the foreign code that raised it.
    :param trace: The whole trace.
    :param stops: Whether the error is of a kind that no other task is worth doing after.
    """

    task: Task
    error: str
    trace: str = field(repr=False, default="")


@dataclass
class Outcome:
    """What became of tasks.

    :param done: How many were done.
    :param failures: Those that failed, by key.
    :param left_out: Those that could not be done as what they need failed, by key, with the key of the failure.
    """

    done: int = 0
    failures: dict[str, Failure] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def why(self, task: Task) -> str | None:
        """Return why a task was not done; None if it was."""
        failure = self.failures.get(self.left_out.get(task.key, task.key))
        return None if failure is None else failure.error


class WorkerDiedError(RuntimeError):
    """A process ended in the middle of its work."""


def run(
    wanted: Iterable[Task],
    stores: Stores,
    make_workplace: Callable[[], Workplace],
    *,
    jobs: int = 1,
    threads: int | None = None,
    progress: bool = True,
    found: Callable[[Task], str | None] = lambda task: None,
) -> Outcome:
    """Do what has to be done for the tasks that are wanted.

    A task that fails takes with it only those that need it: all others are done and kept.

    :param wanted: The tasks.
    :param stores: Where artefacts are kept.
    :param make_workplace: Makes the workplace; called in each process that works, so that it has to be picklable for
        more than one.
    :param jobs: Number of processes; 1 is this one.
    :param threads: Threads of PyTorch in each process, which rounding depends on; None: as many as it chooses itself.
    :param progress: Show one progress bar, and what each task has found.
    :param found: Returns what a task that is done has found, in a sentence; None: nothing to tell.
    :raises OSError: If there is something to do, and nothing can be kept.
    """
    # Read, not looked for: what is damaged is set aside and has to be done again.
    tasks = to_do(wanted, lambda task: stores.of(task).read(task) is not None)
    outcome = Outcome()
    if not tasks:
        return outcome
    for store in dict.fromkeys(map(stores.of, tasks.values())):
        store.check_writable()
    schedule = _Schedule(tasks, outcome)
    with Bar(tasks, progress, found) as bar:
        if jobs <= 1 or len(tasks) == 1:
            _alone(schedule, stores, make_workplace(), bar)
        else:
            _together(schedule, stores, make_workplace, min(jobs, len(tasks)), threads, bar)
    return outcome


class _Schedule:
    """Which task is next: one whose inputs are there; of those the one that most work waits for."""

    def __init__(self, tasks: dict[str, Task], outcome: Outcome) -> None:
        self.outcome = outcome
        self._waiting = dict(tasks)
        self._needs = {key: {t.key for t in _needed(task)} & tasks.keys() for key, task in tasks.items()}
        # Each task is after those that it needs.
        self._urgency: dict[str, float] = {}
        for key in reversed(tasks):
            after = [self._urgency[other] for other, needs in self._needs.items() if key in needs]
            self._urgency[key] = weight(tasks[key]) + max(after, default=0.0)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def next(self, network: str | None = None) -> Task | None:
        """Return a task that can be done now, best one on a network that is built already; None if all have to wait."""
        ready = [key for key in self._waiting if not self._needs[key]]
        if not ready:
            return None

        def rank(key: str) -> tuple[float, float]:
            same = self._waiting[key].work.network == network
            return (self._urgency[key] * (1.5 if same else 1.0), 0.0)

        return self._waiting.pop(max(ready, key=rank))

    def done(self, task: Task) -> None:
        self.outcome.done += 1
        for needs in self._needs.values():
            needs.discard(task.key)

    def failed(self, failure: Failure) -> list[Task]:
        """Return the tasks that cannot be done any more."""
        self.outcome.failures[failure.task.key] = failure
        gone, lost = {failure.task.key}, []
        for key in list(self._waiting):
            # Each task is after those that it needs.
            if self._needs[key] & gone:
                gone.add(key)
                lost.append(self._waiting.pop(key))
                self.outcome.left_out[key] = failure.task.key
        return lost


def _needed(task: Task) -> list[Task]:
    """Return the tasks with artefacts that a task needs, through resources."""
    from art_denoise.evaluation.graph import Resource

    found: list[Task] = []
    for other in task.inputs:
        found += _needed(other) if isinstance(other, Resource) else [other]
    return found


def _alone(schedule: _Schedule, stores: Stores, workplace: Workplace, bar: Bar) -> None:
    network: str | None = None
    while schedule:
        task = schedule.next(network)
        if task is None:
            raise RuntimeError("tasks wait for each other")
        network = task.work.network
        bar.start(task)
        told = _Told(partial(bar.tell, task))
        failure = _do(task, stores, workplace, told)
        _settle(schedule, task, failure, bar)


def _settle(schedule: _Schedule, task: Task, failure: Failure | None, bar: Bar) -> None:
    bar.end(task, failure is not None)
    if failure is None:
        schedule.done(task)
        return
    _LOG.debug("%s failed:\n%s", task.title, failure.trace.rstrip())
    for lost in schedule.failed(failure):
        bar.leave_out(lost)


class _Told:
    """Counts the steps of a task and passes on which share is done, now and then."""

    def __init__(self, tell: Callable[[float], object]) -> None:
        self._tell, self._expected, self._done, self._last = tell, 1, 0, 0.0

    def expects(self, count: int) -> None:
        self._expected = max(1, count)

    def told(self, count: int) -> None:
        self._done += count
        share = self._done / self._expected
        if share - self._last >= _TOLD:
            self._last = share
            self._tell(share)


def _do(task: Task, stores: Stores, workplace: Workplace, told: _Told) -> Failure | None:
    """Do a task and keep what it makes."""
    workplace.told, workplace.expects = told.told, told.expects
    try:
        made = _absent(task, stores) or task.run(workplace)
        stores.of(task).write(task, made)
    except Exception as error:  # whatever foreign code raises
        return Failure(task, f"{_explained(error)}", "".join(traceback.format_exception(error)))
    return None


def _absent(task: Task, stores: Stores) -> Artefact | None:
    """Return that a task's artefact is absent if what it needs is."""
    if not task.tolerates_absent:
        for other in _needed(task):
            why = stores.of(other).why_absent(other)
            if why is not None:
                return Artefact.absent(why)
    return None


def _explained(error: BaseException) -> str:
    """Return an error in one line: what it is, and the line of the code outside of this package that raised it."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (ValueError, OSError)) and _is_own(traceback.extract_tb(error.__traceback__)[-1].filename):
        return text
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_own(f.filename)]
    place = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({place.filename}, line {place.lineno})"


def _is_own(file: str) -> bool:
    return os.path.join("art_denoise", "") in file


def _together(
    schedule: _Schedule,
    stores: Stores,
    make_workplace: Callable[[], Workplace],
    jobs: int,
    threads: int | None,
    bar: Bar,
) -> None:
    """Share tasks among processes."""
    context = get_context("spawn")
    # Threads that wait must not keep a core from the other processes.
    before = {name: os.environ.get(name) for name in ("OMP_WAIT_POLICY",)}
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    workers: dict[Connection, _Worker] = {}
    try:
        for _ in range(jobs):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, stores, make_workplace, threads), daemon=True)
            with undisturbed():
                process.start()
            there.close()
            workers[here] = _Worker(process)
        while True:
            for connection, worker in workers.items():
                if worker.task is None:
                    task = schedule.next(worker.network)
                    if task is not None:
                        worker.task, worker.network = task, task.work.network
                        bar.start(task)
                        try:
                            connection.send(task)
                        except ConnectionError:
                            raise _died(worker.process, task) from None
            if not any(worker.task for worker in workers.values()):
                break
            for ready in wait([c for c, worker in workers.items() if worker.task]):
                assert isinstance(ready, Connection)
                _hear(ready, workers[ready], schedule, bar)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for connection, worker in workers.items():
            if worker.task is not None:
                worker.process.terminate()
            connection.close()
        for worker in workers.values():
            worker.process.join(timeout=10)


@dataclass
class _Worker:
    process: Any
    task: Task | None = None
    network: str | None = None


def _hear(connection: Connection, worker: _Worker, schedule: _Schedule, bar: Bar) -> None:
    """Take a message from a process: a share that is done, or how its task ended."""
    task = worker.task
    assert task is not None
    try:
        message = connection.recv()
    except (EOFError, ConnectionError):
        raise _died(worker.process, task) from None
    if isinstance(message, float):
        bar.tell(task, message)
    else:
        failure = None if message is None else Failure(task, *message)
        worker.task = None
        _settle(schedule, task, failure, bar)


def _died(process: Any, task: Task) -> WorkerDiedError:
    """Return the error of a process that ended before its task did."""
    process.join()
    if process.exitcode == READ_AGAIN:
        return WorkerDiedError(
            "the script that starts this run starts it again in each of its processes, which read the script: put what "
            'it does below `if __name__ == "__main__":`, or give `jobs` = 1'
        )
    return WorkerDiedError(
        f"the process that was to “{task.title}” ended with status {process.exitcode}, as it does when "
        "there is too little memory: start again with fewer `jobs`, which goes on from what is there"
    )


def _end_with_parent() -> None:
    """End this process when the one that started it does, however that ends."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(connection: Connection, stores: Stores, make_workplace: Callable[[], Workplace], threads: int | None) -> None:
    """Do tasks in a process of their own, until there are no more."""
    # Ctrl-C is for the process that shares out the tasks, and without that one there is nothing to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if threads is not None:
        import torch  # not where nothing needs it

        torch.set_num_threads(threads)
    workplace = make_workplace()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            sys.exit(0)
        failure = _do(task, stores, workplace, _Told(connection.send))
        connection.send(None if failure is None else (failure.error, failure.trace))
