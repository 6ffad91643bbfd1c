"""The commands: each finds what was chosen, has it done, and prints what came out. PyTorch is imported at need."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art_denoise._words import printable
from art_denoise.cli.choosing import (
    WITHOUT,
    chosen_craft,
    chosen_evaluate,
    chosen_table1,
    chosen_transfer,
    chosen_tune,
)
from art_denoise.cli.chosen import FILE, Choice, Run, all_options, as_file, as_options
from art_denoise.cli.errors import explained, nearest
from art_denoise.cli.fields import Option
from art_denoise.cli.statuses import DOUBTED, FAILED, WRONG
from art_denoise.models.names import PAPER_NAMES

if TYPE_CHECKING:
    from art_denoise.evaluation.options import Options
    from art_denoise.evaluation.results import Results

#: What makes the experiment of a command, in `art_denoise.evaluation.from_options`.
_STUDIES = {
    "table1": "table1",
    "evaluate": "evaluation",
    "craft": "crafting",
    "tune": "strengths",
    "transfer": "transfer",
}


def _study(command: str, options: Options) -> str:
    """Return what makes the experiment: where no attacks are asked for, an evaluation is by the ladder of them."""
    return "ladder" if command == "evaluate" and options.attacks is None else _STUDIES[command]


def options_for(command: str) -> tuple[Option, ...]:
    """Return the options of a command."""
    options = all_options(frozenset(WITHOUT[command]))
    shown = {"sources": "the target; on the photographs also another network", "attacks": "a ladder of attackers"}
    families = {"defences": "the paper's two, and common filters"}
    matrix = {"targets": ", ".join(PAPER_NAMES), "sources": "the networks of --model"}
    defaults = {"evaluate": shown, "tune": families, "transfer": matrix}.get(command, {})
    return tuple(replace(option, default=defaults.get(option.field, option.default)) for option in options)


def table1(given: dict[str, Any]) -> int:
    """Repeat Table 1 of Lee, Park & Lee (2018): accuracy under one perturbation for all images, with denoisers.

    Without options it uses photographs that come with the installation and trains three small networks on them, which
    takes minutes on a CPU.
    """
    choice, folder = chosen_table1(given)
    return _run("table1", choice, folder)


def evaluate(given: dict[str, Any]) -> int:
    """Measure what a defence is worth against attackers who know it, and what casts doubt on the figures.

    Without --attack, a ladder of attackers is tried: random noise, attackers who do not know the defence, attackers
    with its exact gradient (on each image, and with one perturbation for all images), and attackers who only query
    scores or labels. The result counts an image as right only if it is right under all of them. With --attack, only the
    attacks that you name are tried. art-denoise list names all defences and attacks. Without --defence, the paper's two
    denoisers, ROF and non-local means, are evaluated.
    """
    choice, folder = chosen_evaluate(given)
    return _run("evaluate", choice, folder)


def tune(given: dict[str, Any]) -> int:
    """Choose the strength of defences so that all cost the same accuracy on clean images, and can be compared.

    Each --defence is tried with several strengths on images for tuning. Common defences have strengths of their own;
    others are given them in parentheses, from weak to strong, as in --defence mine.py:defence:strength=(1,2,4). For
    costs of at most 1, 2 and 5 points, the strongest is chosen and written to a file of options, as in art-denoise
    evaluate --config FOLDER/tuned-2.toml.
    """
    choice, folder = chosen_tune(given)
    if choice.run.plan:
        return _plan("tune", choice, folder)
    results = _results("tune", choice, folder, folder)
    printed = _printed(results, folder, choice.run)
    from art_denoise._files import write_text
    from art_denoise.evaluation.strengths import as_written, tuned

    chosen = tuned(results)
    for cost in (one.cost for one in next(iter(chosen.values()), ())):
        defences = tuple(as_written(chosen, cost))
        file = folder / f"tuned-{cost:g}.toml"
        if defences:
            options = replace(choice.options, defences=defences, sources=None)
            out = folder.with_name(f"{folder.name}-{cost:g}")
            of_cost = replace(choice, options=options)
            write_text(file, as_file(of_cost, "evaluate", out, file, {*WITHOUT["evaluate"], "sources"}))
            show(f"At most {cost:g} points: art-denoise evaluate --config {file}")
    return printed


def transfer(given: dict[str, Any]) -> int:
    """Measure how many labels the perturbations of one network change on another, without a defence.

    Each attack is crafted on each --source, or read from it if that is a file with a perturbation, and scored on each
    --model. Without options, these are the two universal attacks and the paper's three networks, trained on the
    photographs. The report also shows the tables as heat maps.
    """
    choice, folder = chosen_transfer(given)
    # Its tables are few, and all that there is.
    return _run("transfer", replace(choice, run=replace(choice.run, full=True)), folder)


def craft(given: dict[str, Any], attack: str | None = None) -> int:
    """Craft one universal perturbation, that is one for all images, on a network, and save it as a file.

    Other runs take the file as a --source, and load_perturbation reads it. The folder beside it, named as the file
    without its ending, says how it came about and what it does to the test images; after an interruption the same
    command goes on from there. An attacker who knows a defence crafts through it: sgd-uap:knowledge=exact --defence
    rof.
    """
    choice, file = chosen_craft(given, attack)
    folder = file.with_suffix("")
    if choice.run.plan:
        return _plan("craft", choice, folder)
    results = _results("craft", choice, folder, file)
    made = [m for m in results.made if m.what == "perturbation" and "absent" not in m.record]
    # Its tables are few, and say what the perturbation does.
    printed = _printed(results, folder, replace(choice.run, full=True))
    if made:
        from art_denoise.attacks import load_perturbation

        load_perturbation(folder / "perturbations" / f"{made[0].key}.safetensors").save(file)
        show(f"Perturbation: {file}")
    return printed


def formats() -> list[str]:
    """Return the names of the formats of tables: a file each, which is not imported for its name."""
    folder = Path(__file__).parents[1] / "evaluation" / "report" / "renderers"
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]))


def report(folder: Path, form: str) -> int:
    """Print the tables of a finished run, and write its report again.

    This needs neither the images nor the models of the run. If the folder cannot be written to, the tables are only
    printed.
    """
    _check_format(form)
    from art_denoise.evaluation.report import render, write_report
    from art_denoise.evaluation.results import Results

    results = Results.load(folder)
    try:
        write_report(results, folder)
        said = _where(folder)
    except OSError as error:
        said = _printed_only(error)
    text = render(results, form)
    show(text, end="" if text.endswith("\n") and form != "text" else "\n")
    # What is read by programs has nothing behind it.
    (show if form == "text" else say)(said)
    return 0


def diff(first: Path, second: Path, form: str) -> int:
    """Compare two runs, image by image.

    For each figure (cell of a table) that both runs have, on the images that both have: the accuracy in each, the
    difference, and the p-value of McNemar's test. This needs neither the images nor the models.
    """
    _check_format(form)
    from art_denoise.evaluation.report import renderers
    from art_denoise.evaluation.report.between import between
    from art_denoise.evaluation.results import Results

    table = between(Results.load(first), Results.load(second), (str(first), str(second)))
    show(renderers.renderer(form).render([table]), end="")
    return 0


def _check_format(form: str) -> None:
    if form not in formats():
        raise ValueError(f"there is no format {form}{nearest(form, formats())}")


def list_names() -> int:
    """List the defences and the attacks, each with a line that says what it is."""
    from art_denoise.evaluation.components import attack_names, defence_names

    parts = {"defence": defence_names(), "attack": attack_names()}
    width = max(len(name) for names in parts.values() for name in names)
    for option, names in parts.items():
        show(f"What --{option} takes:")
        for name, about in names.items():
            show(f"  {name:{width}}  {about}")
        show("")
    show("Parameters follow the name, as in rof:weight=5 and pgd:eps=8,max_iter=20,knowledge=exact.")
    show("Defences that are applied one after the other are joined by +, as in noise+rof.")
    return 0


class UnreadError(Exception):
    """Nobody reads what is printed, as behind `| head`."""


def show(text: str, *, end: str = "\n") -> None:
    """Print a result.

    :raises OSError: If it cannot be written, as to a file on a disk that is full.
    """
    try:
        print(printable(text), end=end, flush=True)
    except BrokenPipeError:
        raise UnreadError from None
    except OSError as error:
        raise OSError(error.errno, f"what is printed cannot be written: {error.strerror}") from error


def say(message: str) -> None:
    """Print what is not a result to the standard error."""
    with suppress(OSError):
        print(printable(as_options(message)), file=sys.stderr, flush=True)


def _from_options() -> Any:
    from art_denoise.evaluation import from_options

    return from_options


def _run(command: str, choice: Choice, folder: Path) -> int:
    if choice.run.plan:
        return _plan(command, choice, folder)
    return _printed(_results(command, choice, folder, folder), folder, choice.run)


def _plan(command: str, choice: Choice, folder: Path) -> int:
    from art_denoise.evaluation.early import check_early

    check_early(choice.options, choice.machine)
    from art_denoise.evaluation.plan import plan

    study = getattr(_from_options(), _study(command, choice.options))
    show(as_options(plan(folder, choice.options, choice.machine, study)), end="")
    return 0


def _results(command: str, choice: Choice, folder: Path, out: Path) -> Results:
    """Have a run done, unless it is known to be finished; keep what was chosen in its folder, before it takes long."""
    from art_denoise.evaluation.early import check_early, check_run_folder, check_writable

    check_early(choice.options, choice.machine)
    check_run_folder(folder)
    if out != folder:
        check_writable(out.parent)
    # What tells of the results is imported now, so that nothing can be missing after hours.
    importlib.import_module("art_denoise.evaluation.report")
    from art_denoise.evaluation.finished import finished_results, stamp_of

    study = _study(command, choice.options)
    stamp = stamp_of(choice.options, choice.machine, f"art_denoise.evaluation.from_options.{study}")

    def keep() -> None:
        # A damaged file of choices is told of by the run.
        with suppress(OSError, ValueError):
            _keep(command, choice, folder, out)

    results = finished_results(folder, stamp)
    if results is not None:
        keep()
        return results
    from art_denoise.evaluation.run import run

    function = getattr(_from_options(), study)
    return run(folder, choice.options, choice.machine, function, change=choice.run.change, opened=keep)


def _printed(results: Results, folder: Path, run: Run) -> int:
    from art_denoise._files import READ_ONLY
    from art_denoise.evaluation.report import brief, render, write_report

    unwritten = None
    try:
        text, said = write_report(results, folder), _where(folder)
        if not run.full:
            text = f"{brief(results)}\nEvery table and picture is in the report; --full prints the tables here."
    except OSError as error:
        # The work is done: whatever becomes of the files, the table is not lost.
        text, said = render(results), _printed_only(error)
        unwritten = None if error.errno in READ_ONLY else explained(error)
    show(text)
    if unwritten is not None:
        say(f"Error: {unwritten}")
        return WRONG
    show(said)
    for failure in results.failures:
        say(f"Error: {failure}")
    if results.failures:
        return FAILED
    return DOUBTED if run.fail_on_flag and results.flags else 0


def _where(folder: Path) -> str:
    return f"Report: {folder / 'report' / 'index.html'}"


def _printed_only(error: OSError) -> str:
    return f"Report: printed only, as it cannot be written ({explained(error)})."


def _keep(command: str, choice: Choice, folder: Path, out: Path) -> None:
    """Write what was chosen into a run folder, if it is the one that holds the results of these choices."""
    from art_denoise._files import write_text
    from art_denoise.evaluation.run_folder import read_choices

    try:
        there = read_choices(folder)
    except FileNotFoundError:
        return
    if there.get("options") == json.loads(json.dumps(asdict(choice.options.filled()))):
        file = folder / FILE
        write_text(file, as_file(choice, command, out, file, set(WITHOUT[command]) - {"attacks"}))
