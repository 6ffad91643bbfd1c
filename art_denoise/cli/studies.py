"""The experiments that the commands run, made from options: functions that other processes can import."""

from __future__ import annotations

from art_denoise.evaluation.experiment import Experiment
from art_denoise.evaluation.from_options import chosen_attacks, chosen_defences, table1
from art_denoise.evaluation.options import Options
from art_denoise.evaluation.setting import Setting
from art_denoise.evaluation.studies import grid

__all__ = ["crafting", "evaluation", "table1"]


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
