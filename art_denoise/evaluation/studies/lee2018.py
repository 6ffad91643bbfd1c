"""Table 1 of Lee, Park & Lee (2018), and what it leaves out, as an experiment.

S. Lee, S. Park, J. Lee, "Defensive denoising methods against adversarial attack", 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from art_denoise.evaluation.experiment import (
    NOTHING,
    Attack,
    Comparison,
    Condition,
    Defence,
    Experiment,
    Knowledge,
    Network,
    Preprocessor,
    Published,
    Section,
    Source,
    Sweep,
    Threat,
    Transfer,
    params,
)
from art_denoise.evaluation.studies.grid import COSTS, DOES, DOES_BEHIND, WINS, name_of, undefended

#: The universal perturbation of Moosavi-Dezfooli et al. (2017), which the paper's attacks are.
DEEPFOOL = Threat(Attack("deepfool-uap", text="δ", latex=r"\delta"))

#: The stronger one of Shafahi et al. (2020).
SGD = Threat(Attack("sgd-uap", text="δ_SGD", latex=r"\delta_{\mathrm{SGD}}"))

#: A control: ±eps for each pixel and channel by itself.
SIGNS = Threat(Attack("random-signs", text="random signs", latex=r"\mathrm{random\ signs}", kind="control"))

#: The paper's two denoisers with its parameters.
ROF = Defence((Preprocessor("rof", params(weight=10 / 255), "D_ROF", r"D_{\mathrm{ROF}}"),))
NLM = Defence((Preprocessor("nlm", params(h=0.05), "D_nlm", r"D_{\mathrm{nlm}}"),))

#: The paper's figures for Inception V1, in percent: the row, and the columns by the network that was attacked.
_FIGURES = (
    (None, NOTHING, (69.4, 69.4, 69.4)),
    (DEEPFOOL, NOTHING, (12.5, 28.7, 31.7)),
    (DEEPFOOL, ROF, (56.3, 47.2, 49.1)),
    (DEEPFOOL, ROF.with_noise("fitted"), (57.1, 51.2, 51.3)),
    (DEEPFOOL, NLM, (57.7, 45.0, 46.9)),
    (DEEPFOOL, NLM.with_noise("fitted"), (58.0, 47.7, 49.4)),
)

#: The heading of comparisons of who knows the defence with who does not.
_KNOWING = "What it costs that the attacker knows the defence"

#: Of those of attacks with noise of their size.
_BEYOND_NOISE = "What an attack does that noise of its size does not"

#: And of those of v_def.
_V_DEF = "What v_def adds"

#: Target and columns that the paper's figures are of.
_TARGET, _COLUMNS = "inception_v1", ("inception_v1", "vgg16", "vgg19")

#: Strengths of the paper's appendix (ROF weight 5, 10, 20 of 255; h 0.02, 0.05, 0.1), and between, by preprocessor: the
#: parameter, how it is called, by what it is multiplied where it is shown, and the strengths as they are shown.
_STRENGTHS = {
    "rof": ("weight", "ROF weight, of 255", 255.0, (0, 2.5, 5, 7.5, 10, 15, 20, 30)),
    "nlm": ("h", "NL-means h, of 1", 1.0, (0, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15)),
}

#: The strengths in the paper's Figures 2 to 4, by preprocessor: the parameter, and its values, as shares of the range.
_IN_FIGURES = {"rof": ("weight", (5 / 255, 10 / 255, 20 / 255)), "nlm": ("h", (0.02, 0.05, 0.1))}


def table1(
    target: Network,
    sources: Sequence[Source],
    networks: Sequence[Network],
    *,
    attacks: Sequence[Threat] = (DEEPFOOL, SGD),
    defences: Sequence[Defence] = (ROF, NLM),
    knows: Sequence[Knowledge] = (),
    single: Threat | None = None,
    noise: bool = True,
    knowing: bool = False,
    paper_only: bool = False,
    sweep: bool = False,
    seeds: Sequence[int] = (0,),
) -> Experiment:
    """Return Table 1 as an experiment.

    :param target: The network whose accuracy is reported.
    :param sources: The columns.
    :param networks: All networks, which every perturbation is scored on without a defence.
    :param attacks: The attacks; the first is in the place of the paper's.
    :param defences: The defences, in the place of the paper's two.
    :param knows: For each defence, what the attacker of the rows that know it can differentiate; by default exactly.
    :param single: Who attacks each image by itself, knowing the defence, beside the rows of the paper; None: no one.
    :param noise: Whether there are images to fit v_def on.
    :param knowing: Also rows of a defender who has fitted v_def on images that the first attack has perturbed.
    :param paper_only: Only the rows that are in the paper.
    :param sweep: Also a sweep over the strengths of defences that have one.
    :param seeds: Seeds of the perturbations.
    """
    defences = [with_strengths(defence) for defence in defences]
    first, others = attacks[0], [] if paper_only else list(attacks[1:])
    signs = replace(SIGNS, eps=first.eps, norm=first.norm)
    known = list(zip(defences, [*knows, *[Knowledge.EXACT] * (len(defences) - len(knows))], strict=True))
    oblivious = [a for a in attacks if a.knowledge is Knowledge.OBLIVIOUS and a.crafted]
    # He has the target itself: on others it would take as long again for each.
    bare = None if single is None else Condition(replace(single, knowledge=Knowledge.EXACT))
    with_noise = [d.with_noise("fitted") for d in defences if noise and d.noise is None]
    random = [d.with_noise("random") for d in defences if noise and d.noise is None]

    papers = {p.name for d in (ROF, NLM) for p in d.preprocessors}
    is_papers = first.attack.name == DEEPFOOL.attack.name and all(
        p.name in papers for defence in defences for p in defence.preprocessors
    )
    title = "As in the paper" if is_papers else f"With {name_of(first)}"
    sections = [Section(title, (Condition(), *_family(first, defences, noise)))]
    for other in others:
        title = "With the stronger attack" if other.attack.name == SGD.attack.name else f"With {name_of(other)}"
        sections.append(Section(title, _family(other, defences, noise)))
    aware = [_row(replace(oblivious[-1], knowledge=k), d) for d, k in known] if oblivious else []
    if not paper_only:
        alone = [] if bare is None else [bare]
        if single is not None:
            attacked = [Condition(replace(single, knowledge=k), d) for d, k in known if d]
            # v_def is known, too, to who knows what it precedes.
            attacked += [replace(c, defence=c.defence.with_noise("fitted")) for c in attacked if noise]
            alone += attacked
        sections += [
            Section("The attacker knows the defence", tuple(aware)),
            Section("He attacks each image by itself", tuple(alone)),
            Section(
                "Besides",
                (
                    *(Condition(None, d) for d in defences),
                    Condition(signs),
                    *(Condition(signs, d) for d in defences),
                    *(Condition(first, d) for d in random),
                ),
            ),
        ]
    if knowing and noise and not paper_only and first.attack.kind == "universal":
        rows = tuple(Condition(first, replace(d, noise=None).with_noise("knowing")) for d in defences)
        sections.append(Section("The defender knows the attack", rows))

    pairs = [Comparison(undefended(first), Condition(), "the attack", DOES)]
    if bare is not None and single is not None:
        pairs.append(Comparison(bare, Condition(), f"{name_of(single)}, image by image", DOES))
    pairs += [
        Comparison(undefended(other), undefended(first), f"{name_of(other)} rather than {name_of(first)}", DOES)
        for other in others
    ]
    pairs += [
        Comparison(undefended(a), Condition(signs), f"{name_of(a)} rather than random signs", _BEYOND_NOISE)
        for a in oblivious
    ]
    pairs += [Comparison(Condition(None, d), Condition(), f"{d.text} on clean images", COSTS) for d in defences]
    for threat in (first, *others):
        pairs += [
            Comparison(_row(threat, d), undefended(threat), f"{d.text} against {name_of(threat)}", WINS)
            for d in defences
        ]
    pairs += [
        Comparison(_row(threat, d), Condition(None, d), f"{name_of(threat)} behind {d.text}", DOES_BEHIND)
        for threat in (first, *others)
        for d in defences
        if d
    ]
    pairs += [
        Comparison(row, Condition(oblivious[-1], row.defence), f"the attacker knows {row.defence.text}", _KNOWING)
        for row in aware
    ]
    for fitted in with_noise:
        without = replace(fitted, noise=None)
        pair = Condition(first, fitted), Condition(first, without)
        pairs.append(Comparison(*pair, f"v_def, before {without.text}", _V_DEF))
    for fitted, control in zip(with_noise, random, strict=True):
        what = f"direction of v_def, before {fitted.text}"
        pairs.append(Comparison(Condition(first, fitted), Condition(first, control), what, _V_DEF))

    whole = Experiment(
        title="Table 1",
        target=target,
        sources=tuple(sources),
        sections=tuple(sections),
        comparisons=tuple(pairs),
        transfers=() if paper_only else tuple(Transfer(a, signs, name_of(a)) for a in oblivious),
        sweeps=tuple(_sweeps(defences, (None, first, signs))) if sweep else (),
        networks=tuple(networks),
        published=tuple(_published()),
        published_by="Lee, Park & Lee (2018), on ImageNet",
        seeds=tuple(seeds),
        on_target=("per-image",) if single is not None else (),
    )
    # Without rows that have no cell: what would have to be crafted, where there are files only.
    return whole.without([row for row in whole.conditions if not whole.columns(row)])


def in_figures(defence: Defence) -> tuple[Defence, ...]:
    """Return a defence with the strengths that the paper's figures show and with its own, from weak to strong.

    One that the paper has not is alone; one that is several preprocessors, too.
    """
    defence = with_strengths(defence)
    preprocessor = defence.preprocessors[0] if len(defence.preprocessors) == 1 else None
    if preprocessor is None or preprocessor.name not in _IN_FIGURES or defence.noise is not None:
        return (defence,)
    name, values = _IN_FIGURES[preprocessor.name]
    own = dict(preprocessor.params)[name]
    return tuple(Defence((preprocessor.with_params(**{name: value}),)) for value in sorted({*values, own}))


def with_strengths(defence: Defence) -> Defence:
    """Return a defence that says its strengths, also where they are the paper's: the same defence is the same value."""
    papers = {p.name: dict(p.params) for d in (ROF, NLM) for p in d.preprocessors}
    said = tuple(p.with_params(**papers.get(p.name, {}) | dict(p.params)) for p in defence.preprocessors)
    return replace(defence, preprocessors=said)


def _family(threat: Threat, defences: Sequence[Defence], noise: bool) -> tuple[Condition, ...]:
    """Return the rows of an attack: undefended, and behind each defence without and with v_def."""
    rows = [undefended(threat)]
    for defence in defences:
        rows.append(_row(threat, defence))
        if noise and defence.noise is None:
            rows.append(Condition(threat, defence.with_noise("fitted")))
    return tuple(rows)


def _row(threat: Threat, defence: Defence) -> Condition:
    """Return the row of an attack on a defence, which may be none."""
    return Condition(threat, defence) if defence else undefended(threat)


def _published() -> Sequence[Published]:
    figures = []
    for threat, defence, values in _FIGURES:
        for column, value in zip(_COLUMNS, values, strict=True):
            source = column if threat is not None else None
            figures.append(Published(Condition(threat, defence), _TARGET, source, value))
    return figures


def _sweeps(defences: Sequence[Defence], threats: tuple[Threat | None, ...]) -> Sequence[Sweep]:
    """Return a sweep for each defence that is one preprocessor with a strength."""
    sweeps = []
    for defence in defences:
        preprocessor = defence.preprocessors[0] if len(defence.preprocessors) == 1 else None
        if preprocessor is None or preprocessor.name not in _STRENGTHS or defence.noise is not None:
            continue
        name, axis, scale, shown = _STRENGTHS[preprocessor.name]
        own = dict(preprocessor.params).get(name)
        strengths = {value / scale for value in shown} | ({own} if own is not None else set())
        points = tuple(
            (
                round(scale * strength, 6),
                Defence((preprocessor.with_params(**{name: strength}),)) if strength else NOTHING,
            )
            for strength in sorted(strengths)
        )
        sweeps.append(Sweep(preprocessor.text, axis, points, threats))
    if not sweeps:
        raise ValueError(
            f"`sweep` is over the strengths of {' and '.join(_STRENGTHS)}, and none of the defences is one of them: "
            "leave it out"
        )
    return sweeps
