"""Defences with one strength each, over their strengths on images for tuning: so that they cost alike when compared.

A defence that may cost more on clean images than others can be stronger for that alone. So each is made as strong as a
given cost allows, on images that no other figure is of.
"""

from __future__ import annotations

from collections.abc import Sequence

from art_denoise.evaluation.components import parse_defence
from art_denoise.evaluation.experiment import Condition, Defence, Experiment, Network, Section
from art_denoise.evaluation.notation import read_component

#: The strengths that defences are tried with, by the name of each and of its parameter: from weak to strong.
STRENGTHS: dict[str, tuple[str, tuple[str, ...]]] = {
    "rof": ("weight", ("2", "4", "6", "8", "10", "12", "16", "20", "28", "40")),
    "nlm": ("h", ("0.01", "0.02", "0.03", "0.04", "0.05", "0.06", "0.08", "0.1", "0.14")),
    "art:JpegCompression": ("quality", ("95", "90", "80", "70", "60", "50", "40", "30", "20", "10")),
    "art:FeatureSqueezing": ("bit_depth", ("7", "6", "5", "4", "3", "2")),
    "art:SpatialSmoothing": ("window_size", ("2", "3", "4", "5", "7")),
    "kornia:median_blur": ("kernel_size", ("3", "5", "7")),
    "kornia:gaussian_blur2d": ("sigma", ("0.3", "0.4", "0.5", "0.6", "0.7", "0.85", "1", "1.25", "1.5", "2")),
    "kornia:bilateral_blur": ("sigma_color", ("0.02", "0.04", "0.06", "0.08", "0.1", "0.15", "0.2", "0.3", "0.5")),
    "kornia:guided_blur": ("eps", ("0.0001", "0.0003", "0.001", "0.002", "0.004", "0.008", "0.016", "0.03", "0.1")),
}

#: The defences that are compared if none are named: the paper's two, and what is common.
BASELINES = (
    "rof",
    "nlm",
    "art:JpegCompression",
    "art:FeatureSqueezing",
    "kornia:median_blur",
    "kornia:gaussian_blur2d:kernel_size=9",
    "kornia:bilateral_blur:kernel_size=5,sigma_space=1.5",
    "kornia:guided_blur:kernel_size=5",
)


def strengths_of(text: str) -> list[str]:
    """Return a defence with each of its strengths, as it is written: those in parentheses, or those known of its name.

    :param text: A defence of one stage: "rof", "nlm:h=(0.01,0.02)", "mine.py:defence:strength=(1,2,4)".
    :raises ValueError: If its strengths are not known, or several parameters have values in parentheses.
    """
    name, given = read_component(text)
    listed = [key for key, value in given.items() if value.startswith("(") and value.endswith(")")]
    if len(listed) > 1:
        raise ValueError(f"{text!r}: one parameter is the strength, with its values in parentheses, not {len(listed)}")
    if listed:
        (parameter,) = listed
        values = [value.strip() for value in given[parameter][1:-1].split(",") if value.strip()]
    elif name in STRENGTHS and STRENGTHS[name][0] not in given:
        parameter, values = STRENGTHS[name][0], list(STRENGTHS[name][1])
    else:
        # One that does not exist is told of as such.
        parse_defence(text)
        raise ValueError(
            f"{text!r}: write the strengths that it is to be tried with, from weak to strong, in parentheses, as in "
            f"{name}:{next(iter(given), 'strength')}=(1,2,4)"
        )
    others = {key: value for key, value in given.items() if key != parameter}
    return [
        f"{name}:{','.join(f'{key}={one}' for key, one in {**others, parameter: value}.items())}" for value in values
    ]


def tuning(target: Network, defences: Sequence[Defence]) -> Experiment:
    """Return the experiment: clean images for tuning, without a defence and behind each strength of each.

    :param target: The network whose accuracy is reported.
    :param defences: The defences with each strength, those of a family one after the other, from weak to strong.
    """
    families: dict[str, list[Condition]] = {}
    for defence in dict.fromkeys(defences):
        families.setdefault(defence.text, []).append(Condition(None, defence))
    sections = [Section("No defence", (Condition(),))]
    sections += [Section(title, tuple(rows)) for title, rows in families.items()]
    return Experiment(
        title="Strengths",
        target=target,
        sources=(),
        sections=tuple(sections),
        networks=(target,),
        scored_on="tune",
    )
