"""What each command chooses, and where its results are: options as they were given, and what follows from them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from art_denoise._words import one_line
from art_denoise.cli.chosen import Choice, choose
from art_denoise.models.names import PAPER_NAMES, split_title

#: Networks that perturbations are crafted on in the place of the target, the first that is not the target itself.
_OTHERS = ("vgg16", "inception_v1")

#: Fields that are no options of a command, as they would change nothing there.
WITHOUT: dict[str, tuple[str, ...]] = {
    "table1": ("targets",),
    "evaluate": ("targets", "rows", "sweep", "noise_knowing"),
    "tune": ("targets", "rows", "sweep", "noise_knowing", "sources", "attacks", "seeds"),
    "craft": ("targets", "rows", "sweep", "noise_knowing", "sources", "attacks", "seeds"),
    # Nothing defends.
    "transfer": (
        *("model", "rows", "sweep", "defences", "draws", "rof_weight", "nlm_h", "costs", "tune_images"),
        *("noise_images", "noise_sigmas", "noise_eps", "noise_draws", "noise_accept", "noise_through", "noise_knowing"),
    ),
}


def chosen_table1(given: dict[str, Any]) -> tuple[Choice, Path]:
    """Return what was chosen for Table 1, and its run folder."""
    choice = choose(given, "table1", WITHOUT["table1"])
    return choice, _folder(choice, "table1")


def chosen_evaluate(given: dict[str, Any]) -> tuple[Choice, Path]:
    """Return what was chosen for an evaluation, and its run folder."""
    choice = choose(given, "evaluate", WITHOUT["evaluate"])
    options = choice.options
    if options.sources is None:
        # Another network to transfer from, which can be trained here; elsewhere it would have to be downloaded.
        others = [name for name in _OTHERS if name != split_title(options.model)[0]]
        transfers = options.attacks is None and options.on_photographs
        options = replace(options, sources=(options.model, *(others[:1] if transfers else [])))
    choice = replace(choice, options=options)
    return choice, _folder(choice, "evaluation")


def chosen_tune(given: dict[str, Any]) -> tuple[Choice, Path]:
    """Return what was chosen for the strengths of defences, and the run folder."""
    from art_denoise.evaluation.studies.tuning import BASELINES, strengths_of

    choice = choose(given, "tune", WITHOUT["tune"])
    families = choice.options.defences or BASELINES
    defences = tuple(dict.fromkeys(text for family in families for text in strengths_of(family)))
    options = replace(choice.options, defences=defences, sources=(choice.options.model,))
    choice = replace(choice, options=options)
    return choice, _folder(choice, "strengths")


def chosen_transfer(given: dict[str, Any]) -> tuple[Choice, Path]:
    """Return what was chosen for perturbations from network to network, and the run folder."""
    from art_denoise.evaluation.components import parse_attack
    from art_denoise.evaluation.studies.transfer import check_undefended

    choice = choose(given, "transfer", WITHOUT["transfer"])
    options = choice.options
    check_undefended(map(parse_attack, options.attacks or ()))
    targets = options.targets or tuple(PAPER_NAMES)
    sources = targets if options.sources is None else options.sources
    options = replace(options, model=targets[0], targets=targets, sources=sources, defences=())
    if not options.on_photographs:
        # No image is put aside for what nothing needs.
        options = replace(options, tune_images=0, noise_images=0)
    choice = replace(choice, options=options)
    return choice, _folder(choice, "transfer")


def chosen_craft(given: dict[str, Any], attack: str | None = None) -> tuple[Choice, Path]:
    """Return what was chosen for a perturbation, and the file that it becomes.

    :raises ValueError: If it is none that can be crafted alone.
    """
    from art_denoise.evaluation.components import parse_attack

    # A file of options may name the attack.
    choice = choose(given, "craft", set(WITHOUT["craft"]) - {"attacks"})
    attacks = (attack,) if attack is not None else choice.options.attacks or ()
    if len(attacks) != 1:
        raise ValueError("craft needs the name of an attack, as in: art-denoise craft sgd-uap")
    threat = parse_attack(attacks[0])
    if threat.attack.kind != "universal":
        raise ValueError(
            f"{threat.attack.name} is not crafted once for all images: give deepfool-uap or sgd-uap, or leave it to "
            "art-denoise evaluate"
        )
    if threat.knowledge.knows_defence and len(choice.options.defences or ()) != 1:
        raise ValueError(
            f"who crafts with knowledge={threat.knowledge.value} knows one defence: name it, as in --defence rof"
        )
    options = replace(choice.options, attacks=attacks, sources=(choice.options.model,))
    name = "-".join(re.sub(r"[^\w.=-]+", "-", part).strip("-.") for part in (attacks[0], Path(options.model).name))
    file = choice.run.out or Path("runs", "craft", f"{name}.safetensors")
    if file.suffix != ".safetensors":
        raise ValueError(f"`out` must be a file whose name ends in .safetensors, got {str(file)!r}")
    return replace(choice, options=options), file


def _folder(choice: Choice, command: str) -> Path:
    """Return the run folder: the one that was asked for, or one in runs, by the command and the data."""
    options = choice.options
    if choice.run.out is not None:
        return choice.run.out
    name = "quick" if options.quick else "" if options.on_photographs else one_line(Path(options.data).resolve().name)
    if command == "table1":
        return Path("runs", name or command)
    return Path("runs", f"{command}-{name}" if name else command)
