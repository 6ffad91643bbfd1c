"""The command that verifies a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art_denoise.cli.choosing import chosen_craft, chosen_evaluate, chosen_table1, chosen_transfer, chosen_tune
from art_denoise.cli.chosen import FILE, Choice, as_options
from art_denoise.cli.commands import say, show
from art_denoise.cli.errors import explained
from art_denoise.cli.statuses import FAILED, WRONG

if TYPE_CHECKING:
    from art_denoise.evaluation.prepared import Prepared

#: What returns the choices of a command, by what makes its experiment.
_CHOOSE: dict[str, Callable[[dict[str, Any]], tuple[Choice, Path]]] = {
    "table1": chosen_table1,
    "evaluation": chosen_evaluate,
    "ladder": chosen_evaluate,
    "crafting": chosen_craft,
    "strengths": chosen_tune,
    "transfer": chosen_transfer,
}


def verify(folder: Path, sample: str, seed: int) -> int:
    """Verify a run: compare every file with the digest that it holds, and compute some figures again.

    A few cells of the tables are scored again with the model, the images and the defences that run.toml in the folder
    names. Nothing in the folder is changed. The status is 1 if a file is damaged, or if labels differ or cannot be
    compared.
    """
    if sample != "all" and not (sample.isascii() and sample.isdigit()):
        raise ValueError(f"--sample must be a number of cells, 0 or more, or all, got {sample!r}")
    from art_denoise.evaluation.verifying import as_table, score_again, verify_files

    found, why = verify_files(folder), None
    if sample == "all" or int(sample):
        try:
            score_again(_as_it_was(folder), None if sample == "all" else int(sample), seed, found)
        except (ValueError, OSError) as error:
            # What is known of the files is told nevertheless.
            why = explained(error)
    show(as_options(as_table(found)))
    if why is not None:
        say(f"Error: no cell was scored again: {why}")
    if not found.sound:
        return FAILED
    return 0 if why is None else WRONG


def _as_it_was(folder: Path) -> Prepared:
    """Find what a run folder says that it is of.

    :raises ValueError: If it does not say, or not twice the same.
    """
    from art_denoise.evaluation import from_options
    from art_denoise.evaluation.prepared import Prepared, changes
    from art_denoise.evaluation.results import Results
    from art_denoise.evaluation.run_folder import read_choices

    try:
        study = read_choices(folder).get("study")
    except (OSError, ValueError):
        study = (Results.config_in(folder) or {}).get("study")
    choose = _CHOOSE.get(str(study))
    if choose is None:
        raise ValueError(f"{folder} does not say of which command it is, as runs from Python do not: give --sample 0")
    file = folder / FILE
    if not file.is_file():
        raise ValueError(f"{folder} holds no {FILE}, which says what it is of")
    choice, _ = choose({"config": str(file)})
    function = getattr(from_options, str(study))
    prepared = Prepared.of(folder, choice.options, replace(choice.machine, progress=False), function, download=False)
    different = changes(folder, prepared.config)
    if different:
        raise ValueError(
            f"{file} and what there is now are other choices than those of the run: {'; '.join(different)}"
        )
    return prepared
