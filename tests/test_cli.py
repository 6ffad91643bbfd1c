"""The command line: every field is an option, a file of options says the same, and a mistake is one sentence."""

from __future__ import annotations

import errno
import json
import os
import re
import runpy
import subprocess
import sys
import types
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from results_by_hand import TARGET, UAP, N, experiment, labels_with, results, saved

import art_denoise
from art_denoise.cli import commands, main
from art_denoise.cli.chosen import FILE, as_file, as_options
from art_denoise.cli.program import _warning, app
from art_denoise.evaluation.components import attack_names, defence_names
from art_denoise.evaluation.options import Machine, Options, Shown
from art_denoise.evaluation.run_folder import keep_choices
from art_denoise.models.schedule import Schedule

#: Every option that the program had before it was made from the dataclasses.
OLD_NAMES = re.findall(
    r"--\S+",
    """
    --data --data-dir --classes --model --source --input-size --num-classes --rows --sweep --preflight --no-preflight
    --craft-images --tune-images --noise-images --test-images --skip-broken --eps --craft-passes --craft-batch-size
    --craft-until --sgd-passes --rof-weight --nlm-h --noise-accept --noise-through --noise-draws --noise-knowing
    --device --mixed-precision --batch-size --workers --weights-dir --decoded-dir --out --seed --quick --plan --change
    --progress --no-progress
    """,
)

#: Every command.
COMMANDS = [name for name in app() if not name.startswith("-")]

#: What none of these needs: it takes seconds to import.
HEAVY = "{'torch', 'art', 'scipy', 'skimage', 'sklearn', 'numba', 'matplotlib'}"


def chosen(*arguments: object):
    """Return what a command line chooses, and where its results are, without doing anything."""
    command, bound, _ = app().parse_args([str(a) for a in arguments], print_error=False, exit_on_error=False)
    return getattr(commands, f"chosen_{command.__name__}")(bound.kwargs, *bound.args)


def python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


# Options


def of(kind: type) -> list[tuple[str, Any, Shown]]:
    """List the fields of a dataclass: name, type without None, how it is shown."""
    found = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        shown = next(note for note in get_args(hint) if isinstance(note, Shown))
        bare = get_args(hint)[0]
        if get_origin(bare) in (Union, types.UnionType):
            (bare,) = (part for part in get_args(bare) if part is not type(None))
        found.append((name, bare, shown))
    return found


def example(name: str, kind: Any, shown: Shown) -> tuple[list[str], Any]:
    """Return arguments that give a field a value that is not its default, and the value."""
    option = f"--{(shown.name or name).replace('_', '-')}"
    if kind is bool:
        return ([f"--no-{option[2:]}"], False) if name in ("preflight", "progress") else ([option], True)
    if name == "shares":
        return [f"{option}.test", "30"], {"train": 32, "tune": 8, "noise-fit": 12, "test": 30}
    if name == "schedules":
        return [f"{option}.vgg19.learning-rate", "0.5"], {
            **Options().filled().schedules,
            "vgg19": Schedule(epochs=6, learning_rate=0.5),
        }
    if name == "targets":
        return [option, "vgg16", option, "vgg19"], ("vgg16", "vgg19")
    if name in ("data", "device"):
        return ([option, "folder"], "folder") if name == "data" else ([option, "cuda:1"], "cuda:1")
    if get_origin(kind) is Literal:
        return [option, get_args(kind)[-1]], get_args(kind)[-1]
    if get_origin(kind) is tuple and get_args(kind)[0] is float:
        return [option, "32", option, "5/255,64"], (32 / 255, 5 / 255, 64 / 255)
    if get_origin(kind) is tuple:
        return [option, "a:b=1,c", option, "d"], ("a:b=1,c", "d")
    if kind is float:
        return ([option, "20"], 20 / 255) if shown.of_255 else ([option, "0.5"], 0.5)
    assert kind in (int, str, Path), f"{name}: a type that no option has yet"
    return [option, "7"], kind("7")


@pytest.mark.parametrize("field", of(Options), ids=lambda field: field[0])
def test_every_field_of_options_is_an_option(field):
    arguments, value = example(*field)
    name = field[0]
    # Most are for folders only, a few for the photographs.
    data = [] if name in ("data", "quick", "shares", "schedules") else ["--data", "folder"]
    if name == "targets":
        # As which only one command has several models.
        assert chosen("transfer", *data, *arguments)[0].options.targets == value
        return
    choice, _ = chosen("table1", *data, *arguments)
    assert getattr(choice.options.filled(), name) == value
    data_by_default = Options(data=choice.options.data)
    others = {f.name for f in fields(Options)} - {name}
    assert {n: getattr(choice.options, n) for n in others} == {n: getattr(data_by_default, n) for n in others}


@pytest.mark.parametrize("field", of(Machine), ids=lambda field: field[0])
def test_every_field_of_machine_is_an_option(field):
    arguments, value = example(*field)
    choice, _ = chosen("table1", *arguments)
    assert choice.machine == Machine(**{field[0]: value})
    assert choice.options == Options()


def test_no_name_is_lost(capsys):
    assert main(["table1", "--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in OLD_NAMES if name not in shown] == []


@pytest.mark.parametrize("option", ["--model", "--source", "--defence"])
def test_help_says_how_things_are_called_otherwise(capsys, monkeypatch, option):
    monkeypatch.setenv("COLUMNS", "1000")
    assert main(["table1", "--help"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith(f"│ {option} "))
    assert "title=NAME" in line


def test_nothing_given_is_nothing_chosen():
    choice, folder = chosen("table1")
    assert (choice.options, choice.machine, folder) == (Options(), Machine(), Path("runs/table1"))


def test_a_field_more_is_an_option_more():
    """With nothing but its line in the docstring, and even without being told how it is shown."""
    from dataclasses import dataclass

    from art_denoise.cli.fields import options_of

    @dataclass(frozen=True)
    class More:
        """Something.

        :param much_more: How much; None: none.
        :raises ValueError: Never.
        """

        much_more: Annotated[float, Shown("Attacks", "more", of_255=True)] = 3 / 255
        plain: int = 2

    first, second = options_of(More)
    told = "How much; by default none. On a scale of 0 to 255."
    assert (first.name, first.help, first.default) == ("more", told, "3")
    assert (second.name, second.help, second.default, second.shown.under) == ("plain", "", "2", "The run")


@pytest.mark.parametrize(
    ("written", "value"),
    [("10", 10 / 255), ("10/255", 10 / 255), ("1/50", 0.02), ("2.5", 2.5 / 255), ("1e1", 10 / 255)],
)
def test_sizes_are_of_255(written, value):
    assert chosen("table1", "--eps", written)[0].options.eps == value
    assert chosen("table1", "--rof-weight", written)[0].options.rof_weight == value
    assert chosen("table1", f"--noise-eps={written}")[0].options.noise_eps == (value,)


def test_the_strength_of_nl_means_is_of_1():
    assert chosen("table1", "--nlm-h", "0.02")[0].options.nlm_h == 0.02


def test_what_holds_several_values_keeps_those_that_are_not_given():
    choice, _ = chosen("table1", "--quick", "--shares.train", 3, "--schedules.vgg16.epochs", 2)
    quick = Options(quick=True).filled()
    assert choice.options.filled() == replace(
        quick,
        shares={**quick.shares, "train": 3},
        schedules={**quick.schedules, "vgg16": replace(quick.schedules["vgg16"], epochs=2)},
    )


def test_a_share_of_0_is_left_out():
    shares = chosen("table1", "--shares.tune", 0, "--shares.noise-fit", 0)[0].options.shares
    assert shares == {"train": 32, "test": 28}


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["table1"], "runs/table1"),
        (["table1", "--quick"], "runs/quick"),
        (["table1", "--data", "a/pets"], "runs/pets"),
        (["table1", "--data", "imagenet"], "runs/imagenet"),
        (["table1", "--quick", "--out", "x/y"], "x/y"),
        (["evaluate"], "runs/evaluation"),
        (["transfer"], "runs/transfer"),
        (["transfer", "--data", "a/pets", "--model", "vgg16"], "runs/transfer-pets"),
        (["evaluate", "--quick"], "runs/evaluation-quick"),
        (["evaluate", "--data", "a/pets/"], "runs/evaluation-pets"),
        (["craft", "sgd-uap"], "runs/craft/sgd-uap-inception_v1.safetensors"),
        (
            ["craft", "sgd-uap:max_iter=3,eps=5", "--model", "a/net.py:f"],
            "runs/craft/sgd-uap-max_iter=3-eps=5-net.py-f.safetensors",
        ),
        (["craft", "sgd-uap", "--out", "x/y.safetensors"], "x/y.safetensors"),
    ],
)
def test_where_results_are(arguments, folder):
    assert chosen(*arguments)[1] == Path(folder)


def test_evaluate_is_a_ladder_of_attackers_if_none_are_asked_for(capsys, tmp_path, monkeypatch):
    choice, _ = chosen("evaluate", "--model", "vgg16")
    assert choice.options == Options(model="vgg16", sources=("vgg16", "inception_v1"))
    assert chosen("evaluate")[0].options.sources == ("inception_v1", "vgg16")
    # Another network would have to be downloaded.
    assert chosen("evaluate", "--data", "folder")[0].options.sources == ("inception_v1",)
    choice, _ = chosen("evaluate", "--attack", "square", "--source", "vgg19")
    assert (choice.options.attacks, choice.options.sources) == (("square",), ("vgg19",))
    assert chosen("evaluate", "--attack", "square")[0].options.sources == ("inception_v1",)
    monkeypatch.chdir(tmp_path)
    calls = fake_run(monkeypatch, results())
    assert main(["evaluate"]) == 0
    assert main(["evaluate", "--attack", "square"]) == 0
    assert [call[3] for call in calls] == ["ladder", "evaluation"]


def test_craft_attacks_the_model():
    choice, _ = chosen("craft", "deepfool-uap", "--model", "vgg16", "--eps", 8)
    assert choice.options == Options(model="vgg16", sources=("vgg16",), attacks=("deepfool-uap",), eps=8 / 255)
    choice, _ = chosen("craft", "sgd-uap:knowledge=exact", "--defence", "rof")
    assert choice.options.defences == ("rof",)


# Files of options


def test_a_file_says_the_same(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        'eps = 8\nrof_weight = "1/50"\nnoise-sigmas = [4, "8/255"]\nsource = ["vgg16", "x.npy"]\npreflight = false\n'
        'seed = 3\nnlm-h = 0.02\nout = "here"\nthreads = 2\nweights-dir = "w"\n[shares]\ntrain = 9\n'
        "[schedules.vgg16]\nbatch-size = 7\n"
    )
    choice, folder = chosen("table1", "--config", file)
    schedules = Options().filled().schedules
    assert choice.options == Options(
        eps=8 / 255,
        rof_weight=0.02,
        noise_sigmas=(4 / 255, 8 / 255),
        sources=("vgg16", "x.npy"),
        preflight=False,
        seed=3,
        nlm_h=0.02,
        shares={"train": 9, "tune": 8, "noise-fit": 12, "test": 28},
        schedules={"vgg16": replace(schedules["vgg16"], batch_size=7)},
    )
    assert choice.machine == Machine(threads=2, weights_dir=Path("w"))
    assert folder == Path("here")


def test_the_command_line_wins_over_the_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("eps = 8\nsweep = true\nsources = ['a', 'b']\nseed = 3\nshares.train = 9\nshares.test = 5\n")
    choice, _ = chosen("table1", "--config", file, "--eps", 4, "--no-sweep", "--source", "c", "--shares.test", 6)
    options = choice.options
    assert (options.eps, options.sweep, options.sources, options.seed) == (4 / 255, False, ("c",), 3)
    assert options.shares == {"train": 9, "tune": 8, "noise-fit": 12, "test": 6}


@pytest.mark.parametrize(
    ("command", "text", "message"),
    [
        (
            "table1",
            "craft-imges = 3",
            "there is no option 'craft-imges' of table1 that a file may hold: did you mean craft-images",
        ),
        (
            "table1",
            "xyzzy = 3",
            "there is no option 'xyzzy' of table1 that a file may hold: --help lists what there is",
        ),
        ("evaluate", "sweep = true", "there is no option 'sweep' of evaluate that a file may hold"),
        ("table1", "plan = true", "there is no option 'plan' of table1 that a file may hold"),
        ("table1", "seed = '3x'", "--seed must be an integer, got '3x'"),
        ("table1", "seed = 3.5", "--seed must be an integer, got 3.5"),
        ("table1", "seed = [3]", "--seed must be an integer, got [3]"),
        ("table1", "seed = true", "--seed must be an integer, got True"),
        ("table1", "quick = 'yes'", "--quick must be true or false, got 'yes'"),
        ("table1", "data = 3", "--data must be a text, got 3"),
        ("table1", "source = [1]", "--source must be a text, got 1"),
        ("table1", "eps = 0.03", "--eps is of 255, and 0.03 of 255 does next to nothing"),
        ("table1", "eps = true", "--eps must be a number, got True"),
        ("table1", "shares = 3", "--shares must name what each value is of, as --shares.train"),
        ("table1", "shares.trian = 3", "there is no --shares.trian: did you mean train?"),
        ("table1", "schedules.vgg16 = 3", "there is no --schedules.vgg16."),
        ("table1", "source = 'a'\nsources = ['b']", "'source' is there twice, by two names"),
        ("table1", "seed = ", "is no TOML file: "),
        ("table1", "seed = 1\nseed = 2", "is no TOML file: "),
    ],
)
def test_a_mistake_in_a_file_is_one_sentence(tmp_path, capsys, command, text, message):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    assert main([command, "--config", str(file)]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"Error: {file}")
    assert message in shown.err
    assert (shown.err.count("\n"), shown.out) == (1, "")


def test_a_file_that_is_no_text_is_no_toml_file(tmp_path, capsys):
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe")
    assert main(["table1", "--config", str(tmp_path / "run.toml")]) == 2
    assert "is no TOML file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--quick"],
        ["--quick", "--shares.tune", "0", "--schedules.vgg19.epochs", "2", "--device", "cpu", "--threads", "1"],
        ["--data", 'a "b" \\ ü\n\x7f', "--source", "vgg16", "--source", "x.npy:order=bgr", "--test-images", "20"],
        ["--eps", "1/3", "--rof-weight", "0.1/255", "--noise-sigmas", "1.5,30", "--nlm-h", "0.0123456789"],
        ["--rows", "paper", "--no-preflight", "--seeds", "3", "--noise-knowing", "--weights-dir", "a b/ü"],
        ["--defence", "rof:weight=5", "--defence", "noise+nlm", "--attack", "pgd:knowledge=bpda"],
    ],
)
def test_the_file_of_a_run_chooses_the_same(tmp_path, arguments):
    choice, folder = chosen("table1", *arguments)
    file = tmp_path / "run.toml"
    file.write_text(as_file(choice, "table1", folder, file), encoding="utf-8")
    again, folder_again = chosen("table1", "--config", file)
    assert again.options.filled() == choice.options.filled()
    assert (again.machine, folder_again) == (choice.machine, folder)
    # The options of a run folder are compared as JSON.
    assert json.dumps(asdict(again.options.filled())) == json.dumps(asdict(choice.options.filled()))


def test_the_file_of_a_run_says_everything():
    """All that is not open, so that it is the same run with other defaults, too."""
    choice, folder = chosen("table1")
    text = as_file(choice, "table1", folder, folder / FILE)
    filled = choice.options.filled()
    names = {
        (shown.name or name).replace("_", "-") for name, _, shown in of(Options) if getattr(filled, name) is not None
    }
    assert names == {line.partition(" = ")[0].partition(".")[0] for line in text.splitlines() if " = " in line} - {
        "device",
        "fail-on-flag",
        "mixed-precision",
        "out",
    }
    assert "#     art-denoise table1 --config runs/table1/run.toml" in text.replace("\\", "/")
    assert "\neps = 10\n" in text


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("evaluate", []), ("craft", ["sgd-uap:max_iter=3"]), ("craft", ["sgd-uap:knowledge=exact", "--defence", "rof"])],
)
def test_the_files_of_other_commands_choose_the_same(tmp_path, command, arguments):
    choice, out = chosen(command, *arguments)
    file = tmp_path / "run.toml"
    commands._keep(command, choice, tmp_path, out)
    assert not file.exists(), "there is no run"
    keep_choices(tmp_path, {"options": asdict(Options(seed=1).filled())})
    commands._keep(command, choice, tmp_path, out)
    assert not file.exists(), "the run is another"
    keep_choices(tmp_path, {"options": asdict(choice.options.filled())})
    commands._keep(command, choice, tmp_path, out)
    again, out_again = chosen(command, "--config", file)
    assert again.options.filled() == choice.options.filled()
    assert out_again == out


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tabel1"], "there is no command tabel1: did you mean table1?"),
        (["--quick"], "--quick must stand behind a command, as in art-denoise table1 --quick"),
        (["table1", "--epz", "3"], "there is no option --epz of table1: did you mean --eps"),
        (["table1", "--xyzzy"], "there is no option --xyzzy of table1: --help lists what there is"),
        (["evaluate", "--rows", "all"], "there is no option --rows of evaluate"),
        (["craft", "sgd-uap", "--sweep"], "there is no option --sweep of craft"),
        (["table1", "--eps"], "--eps must be followed by a value"),
        (["table1", "--eps", "3", "--eps", "4"], "--eps is there twice"),
        (["table1", "--eps", "x"], "--eps must be a number, got 'x'"),
        (["table1", "--eps", "nan"], "--eps must be"),
        (["table1", "--eps", "0.03"], "--eps is of 255, and 0.03 of 255 does next to nothing: write 0.03/255"),
        (["table1", "--eps", "300"], "as a share of the value range: --eps is of 255, where 10 is 10/255"),
        (["table1", "--eps", "-3"], "--eps must be finite and > 0"),
        (["table1", "--noise-sigmas", "8,x"], "--noise-sigmas must be a number, got 'x'"),
        (["table1", "--noise-sigmas", "800"], "--noise-sigmas is of 255"),
        (["table1", "--seed", "1.5"], "--seed must be an integer, got '1.5'"),
        (["verify", "run", "--seed", "x"], "--seed must be an integer, got 'x'"),
        (["compare", "x.png", "--side", "x"], "--side must be an integer, got 'x'"),
        (["--install-completion", "--shell", "tcsh"], "--shell must be bash, fish, powershell or zsh, got 'tcsh'"),
        (["table1", "--seed", "-1"], "--seed must be >= 0, got -1"),
        (["table1", "--jobs", "0"], "--jobs must be >= 1, got 0"),
        (["table1", "--rows", "few"], "--rows must be 'all' or 'paper', got 'few'"),
        (["table1", "--noise-accept", "both"], "--noise-accept must be 'flip' or 'loss', got 'both'"),
        (["table1", "--sweep=3"], "--sweep takes no value"),
        (["table1", "x"], "table1 does not take 'x'"),
        (["table1", "--shares", "3"], "--shares must say what each value is of"),
        (["table1", "--shares.trian", "3"], "there is no --shares.trian: did you mean train?"),
        (["table1", "--shares.train", "x"], "--shares.train must be an integer, got 'x'"),
        (["table1", "--schedules.vgg99.epochs", "3"], "there is no --schedules.vgg99: did you mean vgg19 or vgg16?"),
        (["table1", "--schedules.vgg16.epoch", "3"], "there is no --schedules.vgg16.epoch: did you mean epochs?"),
        (["table1", "--schedules.vgg16.epochs", "0"], "--schedules.vgg16.epochs must be finite and >= 1, got 0"),
        (["table1", "--schedules.vgg16.learning-rate=-1"], "--schedules.vgg16.learning-rate must be finite and >= 0"),
        (["table1", "--test-images", "5"], "--test-images is for folders of images"),
        (["table1", "--quick", "--data", "images"], "--quick is for the photographs"),
        (["table1", "--config", "missing.toml"], "missing.toml: No such file or directory"),
        (["craft"], "craft needs the name of an attack"),
        (["craft", "pgd"], "pgd is not crafted once for all images"),
        (["craft", "random-signs"], "random-signs is not crafted once for all images"),
        (["craft", "sgd-uap:knowledge=exact"], "knows one defence: name it"),
        (["craft", "sgd-uap", "--out", "x.npy"], "--out must be a file whose name ends in .safetensors"),
        (["craft", "sgd-upa"], "there is no attack 'sgd-upa', but sgd-uap"),
        (["report"], "report needs FOLDER"),
        (["report", "missing"], "holds no results.json: give the folder of a run"),
        (["report", "missing", "--format", "txt"], "there is no format txt: did you mean text?"),
        (["list", "all"], "list does not take 'all'"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("Error: ")
    assert message in shown.err
    assert (shown.err.count("\n"), shown.out) == (1, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`sources` must be given", "--source must be given"),
        ("allow the `change`", "allow the --change"),
        ("`shares['noise-fit']` must be >= 1", "--shares.noise-fit must be >= 1"),
        ("`schedules.vgg16.batch_size` is", "--schedules.vgg16.batch-size is"),
        ("`units` must be a number", "`units` must be a number"),
        ("'pgd:eps=500': `eps` must be", "'pgd:eps=500': `eps` must be"),
        ("Error: 'pgd:eps=500': `eps` must be", "Error: 'pgd:eps=500': `eps` must be"),
        ("`eps` must be 'x': really", "--eps must be 'x': really"),
        ("'1', '10' would be '10', '1': say `classes`", "'1', '10' would be '10', '1': say --classes"),
    ],
)
def test_arguments_are_named_as_options(message, shown):
    assert as_options(message) == shown


# What is printed, and the status


def fake_run(monkeypatch, outcome, *, keep: bool = True):
    """Put something in the place of a run: an error, or results."""
    calls = []

    def run(folder, options, machine, study, *, change=False, opened):
        calls.append((Path(folder), options, machine, study.__name__, change))
        if keep:
            Path(folder).mkdir(parents=True, exist_ok=True)
            keep_choices(Path(folder), {"options": asdict(options.filled())})
            opened()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr("art_denoise.evaluation.run.run", run)
    return calls


@pytest.mark.parametrize("full", [False, True])
def test_what_comes_first_is_printed_and_the_run_keeps_what_was_chosen(capsys, tmp_path, monkeypatch, full):
    monkeypatch.chdir(tmp_path)
    calls = fake_run(monkeypatch, results())
    given = ["table1", "--quick", "--seed", "4", "--change", "--device", "cpu"]
    assert main([*given, "--full"] if full else given) == 0
    folder = Path("runs/quick")
    assert calls == [(folder, Options(quick=True, seed=4), Machine("cpu"), "table1", True)]
    shown = capsys.readouterr()
    assert "Whatever is tried by attackers who know it, D_ROF leaves" in shown.out
    assert "\nWhat each defence leaves, by who attacks\n" in shown.out
    assert ("\nTable 1: top-1 accuracy" in shown.out) == full
    assert full or max(map(len, shown.out.splitlines())) <= 100
    assert shown.out.splitlines()[-1] == f"Report: {folder / 'report' / 'index.html'}"
    assert shown.err == ""
    assert (folder / "report" / "index.html").is_file()
    assert chosen("table1", "--config", folder / FILE)[0].options.filled() == Options(quick=True, seed=4).filled()


def test_cells_that_failed_are_named_behind_the_table(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    why = ("Score D(v0) on net: KeyError: 'x' (mine.py, line 3)", "Craft δ: ValueError: no (mine.py, line 9)")
    fake_run(monkeypatch, replace(results(), failures=why))
    assert main(["evaluate"]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1].startswith("Report: ")
    assert shown.err == "".join(f"Error: {failure}\n" for failure in why)


@pytest.mark.parametrize(
    "arguments",
    [("table1", "--attack", "pgdd"), ("evaluate", "--defence", "median"), ("table1", "--defence", "rof:wieght=3")],
)
def test_names_that_do_not_exist_are_refused_at_once(arguments, tmp_path):
    code = f"import sys; from art_denoise.cli import main; print(main({list(arguments)}), 'torch' in sys.modules)"
    result = python(code, PYTHONIOENCODING="utf-8")
    assert result.stdout.decode().split() == ["2", "False"], result.stderr
    assert result.stderr.count(b"\n") == 1


def test_doubts_are_an_error_if_they_are_asked_to_be(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    believed = results()
    alike = labels_with(N)
    attacked = {c: c.condition.threat is not None and c.condition.threat.crafted for c in believed.labels}
    harmed = {cell: labels_with(20) if crafted else alike for cell, crafted in attacked.items()}
    fake_run(monkeypatch, replace(believed, labels=harmed))
    assert main(["table1", "--fail-on-flag"]) == 0
    labels = {cell: alike if cell.condition.threat == UAP else labels_with(20) for cell in believed.labels}
    fake_run(monkeypatch, replace(believed, labels=labels))
    assert main(["table1"]) == 0
    assert main(["table1", "--fail-on-flag"]) == 3
    fake_run(monkeypatch, replace(believed, labels=labels, failures=("it failed",)))
    assert main(["table1", "--fail-on-flag"]) == 1


def test_an_interrupted_run_goes_on(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake_run(monkeypatch, KeyboardInterrupt())
    assert main(["table1"]) == 130
    assert capsys.readouterr() == ("", "Interrupted: the same command goes on from here.\n")
    assert Path("runs/table1", FILE).is_file()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("`sources` must be of different names"), "Error: --source must be of different names"),
        (
            OSError(28, "cannot write x: No space left on device"),
            "Error: cannot write x: No space left on device: make room, and",
        ),
        (PermissionError(13, "Permission denied", "x/y"), "Error: x/y: Permission denied"),
        (TypeError("two\nlines"), "Error: two lines"),
    ],
)
def test_an_error_of_a_run_is_one_sentence(capsys, tmp_path, monkeypatch, error, message):
    monkeypatch.chdir(tmp_path)
    fake_run(monkeypatch, error, keep=False)
    assert main(["table1"]) == 2
    shown = capsys.readouterr()
    # Raised here, not in the package, it is told with its place.
    assert shown.err.startswith(message)
    assert shown.err.count("\n") == 1
    assert (f"({type(error).__name__} in {__file__}, line " in shown.err) == (not isinstance(error, OSError))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_package_is_told_without_a_place(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["table1", "--device", "tpu"]) == 2
    assert capsys.readouterr().err == "Error: --device must be auto, cpu, cuda or cuda:0, cuda:1, ..., got 'tpu'\n"


def test_a_process_that_died_is_told_of(capsys, tmp_path, monkeypatch):
    from art_denoise.evaluation.engines.local import WorkerDiedError

    monkeypatch.chdir(tmp_path)
    fake_run(monkeypatch, WorkerDiedError("it ended: start again with fewer `jobs`"))
    assert main(["table1"]) == 1
    assert capsys.readouterr().err.startswith("Error: it ended: start again with fewer --jobs")


@pytest.mark.parametrize("fault", [RuntimeError("a\nfault"), KeyError("x"), AssertionError()])
def test_a_fault_of_the_program_is_told_in_a_sentence_and_where_it_is_on_demand(capsys, tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)
    fake_run(monkeypatch, fault)
    assert main(["table1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"Error: art-denoise itself failed ({type(fault).__name__}")
    assert said.endswith("; with --debug the same command shows where, which helps to mend it\n")
    assert said.count("\n") == 1
    assert main(["table1", "--debug"]) == 2
    trace, _, sentence = capsys.readouterr().err.rstrip("\n").rpartition("\n")
    assert trace.startswith("Traceback (most recent call last):\n")
    assert f'File "{__file__}"' in trace
    assert sentence.startswith("Error: art-denoise itself failed (")
    assert "--debug" not in sentence


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_where_an_error_comes_from_on_demand(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    assert main([command, "--help"]) == 0
    assert "--debug" in capsys.readouterr().out

    def fail(*_: object, **__: object) -> int:
        raise ValueError("it is wrong")

    # Whatever a command is made of, it begins with one of these.
    for place in ("cli.choosing.choose", "cli.commands._check_format", "evaluation.components.defence_names"):
        monkeypatch.setattr(f"art_denoise.{place}", fail)
    for place in ("commands.pictures.denoise", "commands.pictures.compare", "verify", "info"):
        monkeypatch.setattr(f"art_denoise.cli.program.{place.removeprefix('commands.')}", fail)
    given = {"report": ["x"], "diff": ["x", "y"], "denoise": ["x", "y"], "compare": ["x"], "verify": ["x"]}
    for debug in ([], ["--debug"]):
        assert main([command, *given.get(command, []), *debug]) == 2
        said = capsys.readouterr().err
        assert ("Traceback" in said) == bool(debug)
        assert "it is wrong" in said.splitlines()[-1]


def test_a_plan_is_printed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = []

    def plan(folder, options, machine, study):
        calls.append((folder, options, study.__name__))
        return "It needs `change`.\n"

    monkeypatch.setattr("art_denoise.evaluation.plan.plan", plan)
    assert main(["table1", "--plan"]) == main(["evaluate", "--plan"]) == main(["craft", "sgd-uap", "--plan"]) == 0
    assert capsys.readouterr().out == 3 * "It needs --change.\n"
    assert [(str(folder), study) for folder, _, study in calls] == [
        (str(Path("runs/table1")), "table1"),
        (str(Path("runs/evaluation")), "ladder"),
        (str(Path("runs/craft/sgd-uap-inception_v1")), "crafting"),
    ]
    assert list(tmp_path.iterdir()) == []


def test_help_is_shown_where_there_is_no_command(capsys):
    assert main([]) == 0
    alone = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == alone
    assert all(command in alone for command in ("table1", "evaluate", "craft", "report", "list"))


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{art_denoise.__version__}\n"


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    words = capsys.readouterr().out.split()
    assert {*attack_names(), *defence_names()} <= set(words)


@pytest.mark.parametrize("arguments", ["--help", "table1 --help", "craft --help", "list", "table1 --epz", "report x"])
def test_what_computes_nothing_imports_nothing_heavy(arguments):
    code = f"import sys; from art_denoise.cli import main; main({arguments.split()}); print({HEAVY} & set(sys.modules))"
    result = python(code)
    assert result.stdout.decode().splitlines()[-1] == "set()", result.stderr


@pytest.mark.parametrize("command", ["table1", "evaluate", "craft"])
def test_help_shows_defaults_as_they_are_written(capsys, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for line in (
        "On a scale of 0 to 255. [default: 10]",
        "[default: 0.05]",
        "[default: 8,16]",
        "[default: 3 on the photographs, else 10]",
        "Show progress bars. [default: yes]",
    ):
        assert line in shown
    assert "None" not in shown
    assert "`" not in shown
    assert ":param" not in shown


@pytest.mark.parametrize("encoding", ["latin1", "ascii"])
def test_a_terminal_without_greek_letters_shows_question_marks(encoding):
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    result = python("import sys; from art_denoise.cli import main; sys.exit(main(['table1', '--help']))", **environment)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"the bound in the norm L?)" in result.stdout


def test_who_does_not_read_on_is_not_told_of_it():
    code = "import sys; from art_denoise.cli import main; sys.stdin.read(); sys.exit(main(['list']))"
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # What stays in a buffer is written again at the end.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    program.stdout.close()
    program.stdin.close()
    assert program.stderr.read() == b""
    program.stderr.close()
    assert program.wait(60) == 128 + 13


def test_python_m_is_the_program(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "art_denoise", "tabel1"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (2, "Error: there is no command tabel1: did you mean table1?\n")


@pytest.mark.parametrize("file", ["examples/table1.py", "art_denoise/__main__.py"])
def test_processes_that_import_the_program_again_do_not_start_it(file):
    """As those that share the work do."""
    names = runpy.run_path(str(Path(__file__).parents[1] / file), run_name="__mp_main__")
    assert names["main"] is main


# Reports of finished runs


def test_report(capsys, tmp_path):
    saved(results(), tmp_path)
    assert main(["report", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "\nTable 1: top-1 accuracy of Inception V1" in shown.out
    assert shown.out.splitlines()[-1] == f"Report: {tmp_path / 'report' / 'index.html'}"
    assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.parametrize("form", commands.formats())
def test_report_in_any_format(capsys, tmp_path, form):
    from art_denoise.evaluation.report import render

    found = results()
    saved(found, tmp_path)
    assert main(["report", str(tmp_path), "--format", form]) == 0
    shown = capsys.readouterr()
    printed = shown.out if form != "text" else shown.out[: shown.out.rindex("Report: ")]
    assert printed.rstrip("\n") == render(found, form).rstrip("\n")
    if form == "json":
        json.loads(shown.out)


def test_a_report_that_cannot_be_written_is_printed(capsys, tmp_path):
    saved(results(), tmp_path)
    (tmp_path / "report").touch()
    before = sorted(tmp_path.iterdir())
    assert main(["report", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "\nTable 1: top-1 accuracy" in shown.out
    assert "Report: printed only, as it cannot be written" in shown.out.splitlines()[-1]
    assert (sorted(tmp_path.iterdir()), shown.err) == (before, "")


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (errno.EROFS, 0, "Report: printed only, as it cannot be written (x: Read-only file system).\n"),
        (errno.EACCES, 0, "Report: printed only, as it cannot be written (x: Permission denied).\n"),
        (errno.ENOSPC, 2, "Error: x: No space left on device: make room, and the same command goes on from here\n"),
    ],
)
def test_a_table_is_not_lost_with_its_report(capsys, tmp_path, monkeypatch, number, status, said):
    monkeypatch.chdir(tmp_path)
    fake_run(monkeypatch, results())

    def fail(*_: object) -> str:
        raise OSError(number, os.strerror(number), "x")

    monkeypatch.setattr("art_denoise.evaluation.report.write_report", fail)
    assert main(["table1"]) == status
    shown = capsys.readouterr()
    assert "\nTable 1: top-1 accuracy" in shown.out
    assert (shown.out + shown.err).endswith(said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_what_is_printed_to_a_full_disk_is_told_of():
    code = "import sys; from art_denoise.cli import main; sys.exit(main(['list']))"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"Error: what is printed cannot be written: No space left on device: make room")
    assert done.stderr.count(b"\n") == 1


def test_without_a_standard_output_a_program_ends_well():
    code = "import sys; sys.stdout = None; from art_denoise.cli import main; sys.exit(main(['list']))"
    assert python(code).returncode == 0


NASTY = "\x1b[2J\x9b31m\u202egnp\udcff"


def test_names_do_not_reach_the_terminal_as_anything_else(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = results(experiment(target=replace(TARGET, text=NASTY, title=NASTY)))

    fake_run(monkeypatch, replace(named, failures=(f"Score {NASTY}: ValueError",)))
    assert main(["table1"]) == 1
    assert main(["table1", NASTY]) == 2
    saved(named, tmp_path / "runs" / "table1")
    assert main(["report", "runs/table1", "--format", "csv"]) == 0
    shown = capsys.readouterr()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", shown.out + shown.err)
    assert "[2J 31m gnp\\xff: ValueError" in shown.err
    assert _warning(UserWarning(f"of {NASTY}\nx")) == "Warning: of [2J 31m gnp\\xff x\n"


@pytest.mark.parametrize(
    "option", ["--data", "--model", "--out", "--source", "--defence", "--weights-dir", "--classes"]
)
def test_what_is_no_utf8_is_refused_before_any_work(capsys, tmp_path, monkeypatch, option):
    """No file of options can hold it."""
    monkeypatch.chdir(tmp_path)
    assert main(["table1", option, "d\udcff"]) == 2
    assert f"{option} is 'd\\udcff', which is no name in UTF-8: give the file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_options_has_nothing_that_a_terminal_acts_upon(tmp_path):
    choice, folder = chosen("table1", "--data", "a\x9b31m\u202e\U000e0001b\n", "--out", "x\nseed = 5\x1b")
    text = as_file(choice, "table1", folder, folder / FILE)
    assert all(character.isprintable() or character == "\n" for character in text)
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    again, folder_again = chosen("table1", "--config", tmp_path / "run.toml")
    assert (again.options.data, again.options.seed, folder_again) == (choice.options.data, 0, folder)


def test_a_report_needs_no_torch(tmp_path):
    saved(results(), tmp_path)
    code = f"import sys; from art_denoise.cli import main; main(['report', {str(tmp_path)!r}]); "
    result = python(f"{code}print({{'torch', 'art'}} & set(sys.modules))", PYTHONIOENCODING="utf-8")
    assert result.stdout.decode().splitlines()[-1] == "set()", result.stderr
