"""The experiments as options ask for them: their attacks, their defences, and how they make rows of these."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Literal

from art_denoise.evaluation.building import build_chain
from art_denoise.evaluation.components import parse_attack, parse_defence, write_attack
from art_denoise.evaluation.differentiable import draws_of, known_of
from art_denoise.evaluation.experiment import Defence, Experiment, Knowledge, Preprocessor, Threat, params
from art_denoise.evaluation.notation import read_component
from art_denoise.evaluation.options import Options
from art_denoise.evaluation.origins import OWN_PREPROCESSORS
from art_denoise.evaluation.setting import Setting
from art_denoise.evaluation.studies import grid, honest, lee2018, tuning
from art_denoise.evaluation.studies import transfer as transferring

#: Who attacks the images of Table 1 one by one: enough to see what a defence is worth against him, in half a minute.
_SINGLE = "best-pgd:max_iter=10,num_random_init=0,loss=margin,images=200"

#: Images that are attacked one by one in a run that only shows that all works.
_QUICK = 8

#: Makes an experiment for a setting.
Study = Callable[[Options, Setting], Experiment]


def table1(options: Options, setting: Setting) -> Experiment:
    """Return Table 1 of Lee, Park & Lee (2018) with these choices."""
    counts = setting.source.counts
    defences = chosen_defences(options)
    return lee2018.table1(
        setting.networks[0],
        [column.source for column in setting.columns],
        setting.networks,
        attacks=chosen_attacks(options),
        defences=defences,
        knows=[knowledge_of(defence, setting.target.input_size) for defence in defences],
        single=_single(options),
        noise=counts.get("tune", 0) > 0 and counts.get("noise-fit", 0) > 0,
        knowing=bool(options.noise_knowing),
        paper_only=options.rows == "paper",
        sweep=options.sweep,
        seeds=range(options.seed, options.seed + options.seeds),
    )


def _single(options: Options) -> Threat | None:
    """Return who attacks the images of Table 1 one by one; nobody where other attacks are asked for than its own."""
    if options.attacks is not None:
        return None
    return replace(parse_attack(_SINGLE), eps=options.eps)


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


def ladder(options: Options, setting: Setting) -> Experiment:
    """Return the defences against attackers who have more and more to go by."""
    defences = chosen_defences(options)
    counts = setting.source.counts
    return honest.ladder(
        setting.networks[0],
        [column.source for column in setting.columns],
        setting.networks,
        defences=defences,
        rungs=[(rung, _on_rung(rung, options, counts)) for rung in honest.LADDER],
        knows=[knowledge_of(defence, setting.target.input_size) for defence in defences],
        drawing=_with_seeded_draws(defences, setting.target.input_size),
        seeds=range(options.seed, options.seed + options.seeds),
    )


def _with_seeded_draws(defences: Iterable[Defence], input_size: int) -> list[Defence]:
    """Return those defences whose draws can be known: that draw, and from no generator of their own."""
    return [d for d in defences if set(drawing_in(d.preprocessors, input_size).values()) == {"seeded"}]


def _on_rung(rung: honest.Rung, options: Options, counts: Mapping[str, int]) -> list[Threat]:
    """Return the attackers on a rung; without images to craft on, there is no perturbation for all images."""
    most = _QUICK if options.quick else honest.MOST
    threats = []
    for text, bound in rung.sized(options.eps):
        (threat,) = chosen_attacks(replace(options, attacks=(text,), eps=bound))
        if threat.attack.kind == "per-image" and min(threat.images or counts["test"], counts["test"]) > most:
            threat = replace(threat, images=most)
        if counts.get("craft", 0) or threat.attack.kind != "universal":
            threats.append(threat)
    return threats


def strengths(options: Options, setting: Setting) -> Experiment:
    """Return defences over their strengths, on images for tuning.

    :raises ValueError: If there are no such images.
    """
    if not setting.source.counts.get("tune", 0):
        raise ValueError("`tune_images` must be >= 1 to choose strengths on")
    return tuning.tuning(setting.networks[0], chosen_defences(options))


def crafting(options: Options, setting: Setting) -> Experiment:
    """Return the first attack by itself, against the defences that are asked for."""
    defences = chosen_defences(options) if options.defences is not None else []
    return grid.perturbation(setting.networks[0], chosen_attacks(options)[0], defences, seed=options.seed)


def transfer(options: Options, setting: Setting) -> Experiment:
    """Return perturbations from network to network, without a defence."""
    networks = {network.key: network for network in setting.networks}
    return transferring.transfer(
        [networks[model.name] for model in setting.targets],
        [column.source for column in setting.columns],
        attacks=chosen_attacks(options),
        seeds=range(options.seed, options.seed + options.seeds),
    )


def chosen_attacks(options: Options) -> list[Threat]:
    """Return the attacks: those that are asked for, or the two universal ones, with their parameters."""
    if options.attacks is not None:
        threats = []
        for text in options.attacks:
            threat, written = parse_attack(text), read_component(text)[1]
            # Those that do not say how large they are, are as large as all.
            if "eps" not in written:
                threat = replace(threat, eps=options.eps)
            threats.append(_with_parameters(threat, options, {name.partition(".")[0] for name in written}))
        return threats
    return [_with_parameters(replace(t, eps=options.eps), options) for t in (lee2018.DEEPFOOL, lee2018.SGD)]


def _with_parameters(threat: Threat, options: Options, written: Collection[str] = ()) -> Threat:
    """Return a universal attack with the parameters that the options have for it.

    :param written: Names of those that were written with the attack, be they what is the default: they stay.
    """
    attack = threat.attack
    if attack.name == "deepfool-uap":
        ours = params(
            max_iter=options.craft_passes,
            batch_size=options.craft_batch_size,
            delta=1 - options.craft_until,
            attacker_params={"max_iter": options.craft_steps, "epsilon": options.craft_overshoot},
        )
    elif attack.name == "sgd-uap":
        ours = params(max_iter=options.sgd_passes, batch_size=options.sgd_batch_size)
    else:
        return threat
    given = {name: value for name, value in ours if name not in written}
    return replace(threat, attack=replace(attack, params=params({**given, **dict(attack.params)})))


def chosen_defences(options: Options) -> list[Defence]:
    """Return the defences: those that are asked for, or the paper's two with their strengths."""
    if options.defences is not None:
        return [parse_defence(text) for text in options.defences]
    strengths = (("weight", options.rof_weight, lee2018.ROF), ("h", options.nlm_h, lee2018.NLM))
    return [
        Defence((defence.preprocessors[0].with_params(**{name: strength}),)) for name, strength, defence in strengths
    ]


def knowledge_of(defence: Defence, input_size: int) -> Knowledge:
    """Return what an attacker who knows a defence can differentiate: all of it, some, or nothing but the identity.

    :param defence: The defence. It is built, and tried if any of it is somebody else's.
    :param input_size: Height and width of the images.
    :raises ValueError: If it cannot be built, or fails for such images.
    """
    if all(p.name in OWN_PREPROCESSORS and "gradient" not in dict(p.params) for p in defence.preprocessors):
        # Known without trying, which takes as long as compiling a filter.
        return Knowledge.EXACT
    shape = (3, input_size, input_size)
    chain = build_chain(defence.preprocessors, device_type="cpu", input_shape=shape)
    return known_of(chain, shape)


def check_gradients(experiment: Experiment, input_size: int) -> None:
    """Raise if an attacker would need a gradient that a defence does not have."""
    for row in experiment.conditions:
        exact = row.threat is not None and row.threat.knowledge is Knowledge.EXACT
        known = knowledge_of(row.defence, input_size) if exact and row.defence.preprocessors else Knowledge.EXACT
        if known is not Knowledge.EXACT:
            without = [
                p.text or p.name
                for p in row.defence.preprocessors
                if knowledge_of(Defence((p,)), input_size) is not Knowledge.EXACT
            ]
            lacking = " and ".join(without) or row.defence.text
            whole = "it" if known is Knowledge.PARTLY_EXACT else "the whole defence"
            raise ValueError(
                f"`knowledge` of {_written(row.threat)} is exact, and {lacking} has no gradient of its own: use "
                f"{known.value}, which takes the identity for {whole}, or an attack that only asks, which is black-box"
            )


def drawing_in(preprocessors: Iterable[Preprocessor], input_size: int) -> dict[Preprocessor, Literal["seeded", "own"]]:
    """Return which preprocessors draw at random, and how: see :func:`draws_of`. They are tried."""
    found: dict[Preprocessor, Literal["seeded", "own"]] = {}
    for preprocessor in dict.fromkeys(preprocessors):
        if preprocessor.name in OWN_PREPROCESSORS:
            continue
        try:
            how = draws_of(build_chain([preprocessor], device_type="cpu"), (3, input_size, input_size))
        except Exception:
            # What fails in the middle costs its own cells, which are told of there.
            continue
        if how != "none":
            found[preprocessor] = how
    return found


def remarks_on(drawing: Mapping[Preprocessor, str], draws: int) -> tuple[str, ...]:
    """Return what is to be said of an experiment before its figures are read: which defences draw at random.

    :param drawing: Those that do, and how.
    :param draws: How often images are scored behind them.
    """
    remarks = []
    for preprocessor, how in drawing.items():
        text = preprocessor.text or preprocessor.name
        if how == "own":
            remarks.append(
                f"{text} draws from a generator of its own: the same run gives other figures. Give that a seed, or "
                "draw from NumPy's global generator or PyTorch's, which are seeded for every batch."
            )
        remarks.append(
            f"{text} draws at random: images are scored with {draws} draws, and count if they are classified right "
            "with each. Attacks on single images go by the mean over several draws (EOT), deepfool-uap and sgd-uap if "
            "eot_samples is given: deepfool-uap:eot_samples=10."
        )
    return tuple(dict.fromkeys(remarks))


def _written(threat: Threat | None) -> str:
    return "no attack" if threat is None else write_attack(threat)
