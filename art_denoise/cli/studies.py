"""The experiments that the commands run, made from options: functions that other processes can import."""

from __future__ import annotations

from art_denoise.data.photographs import CROP_SIZE
from art_denoise.evaluation.experiment import Experiment, Knowledge
from art_denoise.evaluation.from_options import chosen_attacks, chosen_defences, knowledge_of, table1
from art_denoise.evaluation.options import Options
from art_denoise.evaluation.setting import Setting
from art_denoise.evaluation.studies import grid

__all__ = ["attacks_on", "crafting", "evaluation", "table1"]

#: Side of the images that a defence is tried on, where the options do not say it.
_SIZE = 224


def attacks_on(options: Options) -> tuple[str, ...]:
    """Return the attacks where none are asked for: of a defence without a gradient, nobody has the exact one.

    :raises ValueError: If a defence cannot be built.
    """
    size = CROP_SIZE if options.on_photographs else options.input_size or _SIZE
    exact = all(knowledge_of(defence, size) is Knowledge.EXACT for defence in chosen_defences(options))
    return tuple(text for text in grid.ATTACKS if exact or not text.endswith(f"={Knowledge.EXACT.value}"))


def evaluation(options: Options, setting: Setting) -> Experiment:
    """Return any defences against any attacks."""
    return grid.evaluation(
        setting.networks[0],
        [column.source for column in setting.columns],
        setting.networks,
        defences=chosen_defences(options),
        attacks=chosen_attacks(options),
        seeds=range(options.seed, options.seed + options.seeds),
    )


def crafting(options: Options, setting: Setting) -> Experiment:
    """Return the first attack by itself, against the defences that are asked for."""
    defences = chosen_defences(options) if options.defences is not None else []
    return grid.perturbation(setting.networks[0], chosen_attacks(options)[0], defences, seed=options.seed)
