"""Who is interrupted, or asked to end, says how to go on, at any moment, and ends as shells know it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from art_denoise._stopping import unless_stopped

SAID = {
    signal.SIGINT: b"Interrupted: the same command goes on from here.\n",
    signal.SIGTERM: b"Asked to end: the same command goes on from here.\n",
}

#: Is asked to end while the named module is imported, or, if there is none, by what the program does.
PROGRAM = """
import importlib.abc, os, sys
class Asking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Asking())
from art_denoise.cli import main
sys.exit(main({arguments!r}))
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are others there")


@pytest.fixture(autouse=True)
def as_before():
    before = {number: signal.getsignal(number) for number in SAID}
    # What was started in the background of a shell is deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SAID)
@pytest.mark.parametrize("module", ["cyclopts", "art_denoise.evaluation.components"])
def test_while_something_is_imported(number, module):
    code = PROGRAM.format(module=module, number=int(number), arguments=["list"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr, done.stdout) == (128 + number, SAID[number], b"")


@pytest.mark.parametrize("number", SAID)
def test_in_the_middle_of_work(number, capsys):
    assert unless_stopped(lambda: os.kill(os.getpid(), number) or 0) == 128 + number
    assert capsys.readouterr().err.encode() == SAID[number]
    # Asked again, it ends at once.
    assert signal.getsignal(number) is signal.SIG_DFL


def test_what_foreign_code_makes_of_it_is_no_error(capsys):
    def work() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise RuntimeError("the process that was to do it ended") from None
        return 0

    assert unless_stopped(work) == 143
    assert capsys.readouterr().err.encode() == SAID[signal.SIGTERM]


def test_what_nobody_asked_for_is_an_error():
    with pytest.raises(RuntimeError, match="a fault"):
        unless_stopped(lambda: (_ for _ in ()).throw(RuntimeError("a fault")))


def test_who_listens_already_is_not_disturbed(capsys):
    heard = []
    signal.signal(signal.SIGTERM, lambda *_: heard.append("other"))
    assert unless_stopped(lambda: os.kill(os.getpid(), signal.SIGTERM) or 7) == 7
    assert heard == ["other"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_it_works_as_well():
    found = []
    thread = threading.Thread(target=lambda: found.append(unless_stopped(lambda: 7)))
    thread.start()
    thread.join()
    assert found == [7]


TOGETHER = """
import sys
sys.path[:0] = [{tests!r}]
import sums
from pathlib import Path
from art_denoise._stopping import unless_stopped
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    sys.exit(unless_stopped(lambda: sums.run(folder, [sums.Sum(n, what="sleep") for n in (1, 2)], jobs=2) and 0))
"""


@pytest.mark.parametrize(("number", "wait"), [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGINT, False)])
def test_with_processes_that_share_the_work(tmp_path, number, wait):
    """A terminal asks all of them, also while they start."""
    program = tmp_path / "program.py"
    program.write_text(TOGETHER.format(tests=str(Path(__file__).parent)))
    process = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path / "run")], stderr=subprocess.PIPE, start_new_session=True
    )
    begun = "run/sums/*.process" if wait else "run"
    while not list(tmp_path.glob(begun)) and process.poll() is None:
        threading.Event().wait(0.02)
    os.killpg(process.pid, number)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (128 + number, SAID[number])


FIRST = """
import signal, sys
from multiprocessing import get_context
from art_denoise.evaluation.engines.starting import undisturbed
def told(connection):
    connection.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
if __name__ == "__main__":
    here, there = get_context("spawn").Pipe()
    with undisturbed():
        get_context("spawn").Process(target=told, args=(there,)).start()
    sys.exit(0 if here.recv() else 1)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot be held back here")
def test_the_first_process_is_deaf_from_its_first_line(tmp_path):
    """With it Python starts another, after which it lets through what was held back."""
    program = tmp_path / "program.py"
    program.write_text(FIRST)
    assert subprocess.run([sys.executable, str(program)], check=False).returncode == 0
