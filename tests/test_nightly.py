"""The frame of the nightly tests: parts do not stop each other, and the table says what was tried, and what was not."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from nightly import __main__ as command  # noqa: E402
from nightly import art_suite, endurance, frame, fuzz, processes, properties  # noqa: E402
from nightly.art_suite import sources  # noqa: E402
from nightly.frame import Part, Row  # noqa: E402


@pytest.fixture
def page(monkeypatch, tmp_path):
    """Three parts in place of the real ones: one goes well, one breaks, one cannot be run."""
    quick = []

    def well(chosen):
        quick.append(chosen)
        return Part("well", "7 inputs tried.", notes=("Odd but known.",))

    def broken(chosen):
        raise ZeroDivisionError("by zero")

    parts = {"broken": broken, "well": well, "absent": lambda chosen: Part("absent", "Nothing.", not_run="no sources")}
    for name, run in parts.items():
        monkeypatch.setitem(sys.modules, f"nightly.{name}", SimpleNamespace(run=run))
    monkeypatch.setattr(command, "PARTS", tuple(parts))
    monkeypatch.setattr(command, "PAGE", tmp_path / "nightly.md")
    return SimpleNamespace(file=tmp_path / "nightly.md", quick=quick)


def test_a_part_that_breaks_does_not_stop_the_others(page, capsys):
    assert command.main([]) == 1
    table = page.file.read_text(encoding="utf-8")
    for text in (capsys.readouterr().out, table):
        assert "1 failure" in text
        assert "ZeroDivisionError: by zero" in text
        assert "7 inputs tried." in text
        assert "Odd but known." in text
        assert "not run: no sources" in text
    assert datetime.date.today().isoformat() in table
    assert all(f"{name} {version}" in table for name, version in frame.versions().items())
    assert page.quick == [False]


@pytest.mark.parametrize(
    ("options", "written"), [(["--quick"], False), (["--part", "well"], False), (["--part", "well", "--write"], True)]
)
def test_only_a_whole_run_is_written_to_the_documentation_by_itself(page, options, written):
    command.main(options)
    assert page.file.exists() == written
    assert page.quick == ["--quick" in options]


def test_a_part_that_is_run_again_takes_its_own_place_in_the_table(page, monkeypatch):
    command.main([])
    well = sys.modules["nightly.well"]
    monkeypatch.setattr(well, "run", lambda chosen: Part("well", "8 inputs tried."))
    monkeypatch.setattr(frame, "_here", lambda: "another machine")
    command.main(["--part", "well", "--write", "--quick"])
    table = page.file.read_text(encoding="utf-8")
    assert "7 inputs" not in table
    assert "Odd but known." not in table
    assert f"8 inputs tried. | {datetime.date.today().isoformat()}, a little |" in table
    assert "ZeroDivisionError: by zero" in table
    assert f"- {datetime.date.today().isoformat()}: another machine." in table


def test_chosen_parts_decide_the_status(page):
    assert command.main(["--part", "well", "--part", "absent"]) == 0
    assert command.main(["--part", "well", "broken"]) == 1
    with pytest.raises(SystemExit):
        command.main(["--part", "unknown"])


def test_every_part_is_a_module_with_a_function():
    for name in frame.PARTS:
        module = ROOT / "nightly" / name
        source = next(file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file())
        assert "\ndef run(quick: bool) -> Part:\n" in source.read_text(encoding="utf-8")


def test_text_does_not_break_the_table():
    row = Row(Part("odd", "a | b\nc"), 1.0)
    assert f"| odd | a \\| b c | {row.day} | 1 | well |" in frame.as_markdown([row])


TESTS = """
import pytest

def test_well():
    print("inputs tried: 12,345")

def test_wrong():
    assert 1 == 2

@pytest.mark.xfail(reason="known of old")
def test_known():
    assert False

@pytest.mark.xfail(reason="mended by now", strict=True)
def test_mended():
    pass

@pytest.mark.skip(reason="elsewhere")
def test_skipped():
    pass
"""


def test_the_tests_of_another_process_are_counted(tmp_path):
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider"]
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    counted, printed = processes.run_tests(command, cwd=tmp_path, environment=alone)
    assert counted.passed == 1
    assert [line.split(":")[2] for line in counted.failed] == ["test_wrong", "test_mended"]
    assert "known of old" in counted.expected[0]
    assert (len(counted.skipped), counted.total) == (1, 5)
    assert "inputs tried: 12,345" in printed


@pytest.mark.parametrize(
    "script", ["print('broken off')", "open(sys.argv[1][11:], 'w').write('<a/>'); print('broken off')"]
)
def test_no_tests_at_all_are_no_success(tmp_path, script):
    with pytest.raises(RuntimeError, match=r"no tests were run, or not all:\nbroken off"):
        processes.run_tests([sys.executable, "-I", "-S", "-c", f"import sys; {script}"], cwd=tmp_path)


@pytest.mark.parametrize(("printed", "failures"), [("inputs tried: 1,200", 0), ("", 1)])
def test_property_tests_have_to_say_what_they_tried(monkeypatch, printed, failures):
    said = processes.Counted(5, (), (), ()), printed
    monkeypatch.setattr(properties, "run_tests", lambda command, environment: said)
    part = properties.run(quick=True)
    assert len(part.failures) == failures
    assert ("1,200 inputs tried in 5" in part.tried) == bool(printed)


def test_faults_of_readers_and_idle_readers_are_failures(monkeypatch):
    def run(command):
        fault = {"what": "KeyError in x", "text": "", "file": None}
        targets = {
            "npy": {"engine": "random", "tried": 40, "outcomes": 3, "faults": [fault]},
            "pt": {"engine": "random", "tried": 0, "outcomes": 0, "faults": []},
        }
        Path(command[-1]).write_text(fuzz.json.dumps({"inputs": 40, "targets": targets}))

    monkeypatch.setattr(fuzz, "run_command", run)
    assert fuzz.run(quick=True).failures == ("npy: KeyError in x ", "pt: no file was tried")


@pytest.mark.parametrize(
    ("memory", "handles", "threads", "found"),
    [
        ([100.0] * 49 + [130.0], (5, 5), (2, 2), []),
        ([100 + 0.2 * call for call in range(50)], (5, 5), (2, 2), ["Memory rises by 9.8 MiB over 200 images."]),
        ([100.0] * 50, (5, 7), (2, 3), ["2 handles are left open.", "1 threads are left open."]),
    ],
)
def test_endurance_tells_what_is_left_behind(memory, handles, threads, found):
    assert endurance.judge(endurance.Measured(200, tuple(memory), handles, threads)) == found


def counted(*failed: str) -> processes.Counted:
    return processes.Counted(1, failed, (), ())


def test_only_what_fails_with_a_defence_alone_and_unexplained_is_a_failure(monkeypatch):
    monkeypatch.setattr(
        art_suite, "EXPECTED", {"none": {"t::theirs": "apex"}, "rof": {"t::known": "medians", "t::mended": ""}}
    )
    runs = {
        "none": counted("t::theirs: no apex", "t::new: ?"),
        "rof": counted("t::theirs: x", "t::known[1]: y", "t::known[2]: y", "t::ours: z"),
    }
    failures, notes = art_suite.judge(runs, whole=False)
    assert failures == ("with none, t::new: ?", "with rof, t::ours: z")
    assert notes == ("apex: with none, t::theirs", "medians: with rof, t::known")
    failures, _ = art_suite.judge(runs, whole=True)
    assert failures[2:] == ("with rof, t::mended passes, though it is known to fail",)


def test_the_tests_of_art_come_from_a_named_place_or_are_not_run(monkeypatch, tmp_path):
    """From a folder, from a git repository at the version, or not at all, which is no success."""
    made = tmp_path / "art"
    (made / "tests" / "utils").mkdir(parents=True)
    (made / "tests" / "utils" / "one.py").write_text("1\n")
    monkeypatch.setenv(sources.PLACE, str(made))
    sources.put_tests("1.2.3", tmp_path / "from folder")
    git = ["git", "-C", str(made), "-c", "user.name=A", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "Tests"], ["tag", "1.2.3"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(made), str(tmp_path / "bare")], check=True)
    monkeypatch.setenv(sources.PLACE, str(tmp_path / "bare"))
    (tmp_path / "from git").mkdir()
    sources.put_tests("1.2.3", tmp_path / "from git")
    for name in ("from folder", "from git"):
        assert (tmp_path / name / "tests" / "utils" / "one.py").read_text() == "1\n"
    monkeypatch.setattr(art_suite.importlib.metadata, "version", lambda name: "9.9.9")
    part = art_suite.run(quick=True)
    assert part.not_run.startswith("no sources: `git -C")
    assert part.failures == ()


def test_an_index_and_a_repository_that_are_not_there_are_both_told(monkeypatch, tmp_path):
    monkeypatch.delenv(sources.PLACE, raising=False)
    monkeypatch.setattr(sources.sys, "executable", str(tmp_path / "no python"))
    monkeypatch.setattr(sources, "_REPOSITORY", (tmp_path / "nowhere").as_uri())
    with pytest.raises(sources.NoSourcesError, match=r"no python is not installed; `git clone .* failed"):
        sources.put_tests("1.2.3", tmp_path)
