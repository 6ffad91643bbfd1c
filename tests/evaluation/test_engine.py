"""Tasks are done in order, in one process or several, to the same bits; what fails takes only its own with it."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sums import Sum, run, tree

from art_denoise.evaluation.engines import local
from art_denoise.evaluation.engines.progress import Bar


@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_are_done_once_each(tmp_path, jobs):
    outcome, store = run(tmp_path, [tree(), Sum(1)], jobs=jobs)
    assert outcome.done == 8
    assert float(store.read(tree()).arrays["sum"][0]) == 100 + 10 + 6 + 20 + 12
    again, _ = run(tmp_path, [tree()], jobs=jobs)
    assert again.done == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_bar_says_how_much_is_done_and_of_what(tmp_path, capsys, monkeypatch, jobs):
    monkeypatch.setattr("art_denoise.evaluation.engines.progress.is_drawn", lambda: True)
    bad = Sum(1, what="raise")
    run(
        tmp_path,
        [Sum(2, (bad,)), Sum(3, (Sum(4),))],
        jobs=jobs,
        progress=True,
        found=lambda task: f"found {task.number}",
    )
    shown = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line.strip()]
    above = [line.strip() for line in shown if "|" not in line]
    # What cannot be done any more has found nothing.
    assert sorted(above) == ["add 1 failed", "found 3", "found 4"]
    assert any("0 of 4 done; add " in line for line in shown)
    assert "100.0%" in shown[-1]
    assert shown[-1].endswith("4 of 4 done")


@pytest.mark.parametrize("jobs", [1, 2])
def test_in_a_file_each_task_is_a_line(tmp_path, capsys, jobs):
    run(
        tmp_path, [Sum(3, (Sum(4),))], jobs=jobs, progress=True, found=lambda task: "a\nb" if task.number == 3 else None
    )
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"Preparation: 50.0 %, 1 of 2 done, about \d+ s left; add 4", first)
    assert second == "Preparation: 100.0 %, 2 of 2 done, about 0 s left; a b"


def test_no_time_is_left_at_the_end_rather_than_less_than_none(capsys):
    # Ten parts of a tenth each, and what they are summed up to is a little more than all.
    tasks = {task.key: task for task in map(Sum, range(10))}
    with Bar(tasks, True, lambda task: None) as bar:
        bar._share = 1e-9
        for task in tasks.values():
            bar.start(task)
            bar.end(task, False)
    assert capsys.readouterr().err.splitlines()[-1] == "Preparation: 100.0 %, 10 of 10 done, about 0 s left; add 9"


def test_without_progress_nothing_is_said(tmp_path, capsys):
    run(tmp_path, [Sum(3, (Sum(4),))], progress=False, found=lambda task: "found")
    assert capsys.readouterr() == ("", "")


def test_the_work_is_done_in_other_processes(tmp_path):
    _, store = run(tmp_path, [tree()], jobs=2)
    assert store.read(tree()).record["process"] != os.getpid()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_takes_only_what_needs_it(tmp_path, jobs):
    bad = Sum(1, what="raise")
    lost, kept = Sum(2, (bad,)), Sum(3, (Sum(4),))
    outcome, store = run(tmp_path, [lost, kept], jobs=jobs)
    assert store.read(kept) is not None
    assert store.read(lost) is None
    (failure,) = outcome.failures.values()
    assert failure.task == bad
    assert "ZeroDivisionError: by nothing" in failure.error
    assert "sums.py, line" in failure.error
    assert outcome.why(lost) == failure.error
    assert outcome.why(kept) is None
    assert "Traceback" in failure.trace


def test_what_is_absent_is_handed_on_unless_it_is_tolerated(tmp_path):
    absent = Sum(1, what="absent")
    needs, tolerates = Sum(2, (absent,)), Sum(3, (absent, Sum(4)), tolerant=True)
    outcome, store = run(tmp_path, [needs, tolerates])
    assert not outcome.failures
    assert store.read(needs).why_absent == "there is nothing to add"
    assert float(store.read(tolerates).arrays["sum"][0]) == 7


def test_a_process_that_dies_is_told_of(tmp_path):
    with pytest.raises(local.WorkerDiedError, match=r"“add 1” ended with status 9.*fewer `jobs`"):
        run(tmp_path, [Sum(1, what="die"), Sum(2, (Sum(1, what="die"),))], jobs=2)


STARTED = """
import sys
sys.path[:0] = [{tests!r}]
import sums
from pathlib import Path
if __name__ == "__main__":
    sums.run(Path(sys.argv[1]), [sums.Sum(1, what="sleep"), sums.Sum(2, what="sleep")], jobs=2)
"""


def test_processes_end_with_the_one_that_started_them(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(STARTED.format(tests=str(Path(__file__).parents[1])))
    process = subprocess.Popen([sys.executable, str(program), str(tmp_path / "run")])
    try:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("run/sums/*.process"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    others = [int(file.read_text()) for file in tmp_path.glob("run/sums/*.process")]
    assert len(others) == 2
    deadline = time.monotonic() + 30
    while any(map(is_running, others)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_running, others))


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_damaged_results_are_made_again(tmp_path):
    _, store = run(tmp_path, [tree()])
    before = store.read(tree()).arrays["sum"]
    for file in random.Random(0).sample(sorted(tmp_path.glob("sums/*.safetensors")), 3):
        file.write_bytes(file.read_bytes()[:-3])
    store.file(tree()).unlink()
    with pytest.warns(RuntimeWarning, match="is damaged"):
        run(tmp_path, [tree()])
    assert store.read(tree()).arrays["sum"] == before


def test_more_urgent_work_comes_first():
    # The one that most waits for: two steps, not one.
    deep = Sum(3, (Sum(2, (Sum(1),)),))
    tasks = {t.key: t for t in (Sum(9), Sum(1), Sum(2, (Sum(1),)), deep)}
    schedule = local._Schedule(tasks, local.Outcome())
    assert schedule.next() == Sum(1)
    assert schedule.next() == Sum(9)
    assert schedule.next() is None
