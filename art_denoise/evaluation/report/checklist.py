"""The table of what reviewers of a defence ask for, and whether a run has it.

The demands are those of Carlini et al. (2019), arXiv:1902.06705, Athalye et al. (2018), arXiv:1802.00420, Tramèr et al.
(2020), arXiv:2002.08347, Croce et al. (2022), arXiv:2202.13711, and Zimmermann et al. (2022), arXiv:2206.13991.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from art_denoise.evaluation.experiment import Cell, Condition, Defence, Knowledge, Threat
from art_denoise.evaluation.report.table import Column, Name, Row, Section, Shown, Table, Text
from art_denoise.evaluation.statistics import FEWEST_SEEDS, accuracy, paired_difference
from art_denoise.evaluation.tried import succeeds

if TYPE_CHECKING:
    from art_denoise.evaluation.results import Results

#: Whether something that is asked for is there.
Answer = tuple[Literal["yes", "in part", "no", "does not apply"], str]


@dataclass(frozen=True)
class _Looked:
    """What a run has, as the demands ask for it."""

    results: Results

    @cached_property
    def defences(self) -> tuple[Defence, ...]:
        there = (c.defence for c in self.results.experiment.conditions if c.defence and c.defence.noise is None)
        return tuple(dict.fromkeys(there))

    @cached_property
    def threats(self) -> tuple[Threat, ...]:
        """Who attacks a defence, with results."""
        there = (c.condition.threat for c in self.results.labels if c.condition.defence and c.condition.threat)
        return tuple(dict.fromkeys(there))

    @cached_property
    def knowledge(self) -> frozenset[Knowledge | None]:
        return frozenset(cell.knowledge for cell in self.results.labels if cell.condition.defence)

    @cached_property
    def rules(self) -> frozenset[str]:
        return frozenset(flag.rule for flag in self.results.flags)

    def has(self, *names: str) -> list[str]:
        """Return which of these attacks there are on a defence."""
        return sorted({t.attack.name for t in self.threats} & set(names))

    def flagged(self, *beginnings: str) -> bool:
        return any(rule.startswith(beginning) for rule in self.rules for beginning in beginnings)


def checklist(results: Results) -> tuple[Table, ...]:
    """Return the table of what is asked for; none where no defence is attacked."""
    looked = _Looked(results)
    if not looked.defences or not any(threat.crafted for threat in looked.threats):
        return ()
    rows = tuple(
        Row(Name(f"C{number}: {demand}"), (Text(Name(answer)), Text(Name(by))))
        for number, (demand, look) in enumerate(_DEMANDS, 1)
        for answer, by in [look(looked)]
    )
    table = Table(
        kind="checklist",
        title="What reviewers of a defence ask for, and whether it is here",
        note="After Carlini et al. (2019), Athalye et al. (2018), Tramèr et al. (2020), Croce et al. (2022) and "
        "Zimmermann et al. (2022). What is missing here is not a fault of the defence, but remains unknown.",
        legend=Shown(""),
        head=Name("what is asked for"),
        columns=(Column(Name("here"), of_row=True), Column(Name("by what, or why not"), of_row=True)),
        sections=(Section("", rows),),
    )
    return (table,)


def _knows(run: _Looked) -> Answer:
    bpda = Knowledge.BPDA in run.knowledge
    if Knowledge.EXACT in run.knowledge:
        return "yes", "attackers with the exact gradient of the defence"
    if Knowledge.PARTLY_EXACT in run.knowledge:
        return "yes", "attackers with the gradient of all of it that has one, and the identity for the rest"
    return ("in part", "by the identity in the place of its gradient only") if bpda else ("no", "no attacker knows it")


def _clean(run: _Looked) -> Answer:
    there = [d for d in run.defences if Condition(None, d) in run.results.experiment.conditions]
    if len(there) == len(run.defences):
        return "yes", "rows without an attack, and pairs on the same images"
    return "no", "a defence has no row without an attack"


def _converged(run: _Looked) -> Answer:
    steps: dict[str, set[int]] = {}
    for threat in run.threats:
        steps.setdefault(threat.attack.name, set()).add(int(dict(threat.attack.params).get("max_iter") or 0))
    doubled = any(len(found) > 1 and max(found) >= 2 * min(found) for found in steps.values())
    single = bool(run.has("fgsm"))
    if run.flagged("More steps", "One step"):
        return "no", "see what casts doubt on these figures"
    if doubled and single:
        return "yes", "one step, few and many: more do no more harm"
    return "in part" if doubled or single else "no", "no attack was made with one step, with few and with many"


def _restarts(run: _Looked) -> Answer:
    begins = ("best-pgd", "pgd", "apgd", "apgd-dlr", "autoattack")
    drawn = [
        t.attack.name
        for t in run.threats
        if t.attack.name in begins and dict(t.attack.params).get("num_random_init") != 0
    ]
    if drawn:
        return "in part", f"{', '.join(sorted(set(drawn)))}: from random points, too; no sweep over steps"
    return "no", "no attack has a random start"


def _sizes(run: _Looked) -> Answer:
    sizes = sorted({round(255 * t.eps, 3) for t in run.threats if t.knowledge.white_box})
    if len(sizes) < 3:
        return "no", "fewer than three sizes"
    if run.flagged("A smaller bound", "Accuracy does not fall"):
        return "no", "see what casts doubt on these figures"
    return "yes", f"from {sizes[0]:g}/255 to {sizes[-1]:g}/255, and to chance"


def _weaker(run: _Looked) -> Answer:
    without = {Knowledge.BLACK_BOX, Knowledge.TRANSFER}
    if not (run.knowledge & without and any(known is not None and known.white_box for known in run.knowledge)):
        return "no", "there are no attackers with gradients, or none without"
    if run.flagged("An attack without the gradients"):
        return "no", "see what casts doubt on these figures"
    return "yes", "attackers without gradients break no image that all those with gradients leave"


def _asking(run: _Looked) -> Answer:
    scores = run.has("square", "simba", "zoo")
    labels = run.has("hopskipjump", "boundary", "art:GeoDA", "art:SignOPTAttack")
    if scores and labels:
        return "yes", f"by scores: {', '.join(scores)}; by labels: {', '.join(labels)}"
    return (
        ("in part", f"{', '.join(scores + labels)} only")
        if scores or labels
        else ("no", "no attack asks for scores or labels only")
    )


def _transfer(run: _Looked) -> Answer:
    others = [c for c in run.results.labels if c.condition.defence and c.source not in (None, c.target)]
    behind = any(c.knowledge is not None and c.knowledge.white_box for c in others)
    if not others:
        return "no", "no other network is attacked in the place of the target"
    return (
        ("yes", "other networks, without the defence and through it")
        if behind
        else (
            "in part",
            "other networks without the defence",
        )
    )


def _random(run: _Looked) -> Answer:
    if not run.results.audits:
        return "no", "it was not checked whether a defence draws at random"
    if all(audit["draws"] == "none" for audit in run.results.audits.values()):
        return "does not apply", "nothing is drawn"
    averaging = any(threat.attack.kind == "per-image" for threat in run.threats)
    scored = bool(run.results.drawn)
    said = ["attacks on single images go by the mean of draws"] if averaging else []
    said += ["images are scored with several"] if scored else []
    if not said:
        return "no", "one draw is no average"
    return "yes" if averaging and scored else "in part", ", and ".join(said)


def _control(run: _Looked) -> Answer:
    results = run.results
    before = results.labels.get(Cell(Condition(), results.experiment.target.key, seed=results.experiment.seeds[0]))
    bpda = Knowledge.BPDA in run.knowledge
    harmed = before is not None and any(
        paired_difference(before, labels, results.images.labels).value > 0.1
        for cell, labels in results.labels.items()
        if cell.condition.threat is not None and cell.condition.threat.crafted and not cell.condition.defence
    )
    if harmed and bpda:
        return "yes", "attacks harm the undefended network; the identity is there beside the gradient"
    return ("in part", "attacks harm the undefended network") if harmed else ("no", "no attack harms it undefended")


def _signs(run: _Looked) -> Answer:
    if not run.results.audits:
        return "in part", "what attacks do to each other; nobody looked at gradients"
    return "yes", "what attacks do to each other, and a look at gradients, chance and outputs"


def _planted(run: _Looked) -> Answer:
    tried = {row: succeeds(record) for row, record in run.results.tried.items()}
    if not tried:
        return "no", "no attack on single images that knows a defence is there to be tried"
    if run.flagged("No attack with gradients finds"):
        return "no", "see what casts doubt on these figures"
    failing = [row.text for row, found in tried.items() if found is False]
    if failing:
        return "in part", f"not by {', '.join(dict.fromkeys(failing))}; by others through the same defence"
    return "yes", "each attack on single images finds what is planted behind each defence"


def _costs(run: _Looked) -> Answer:
    if run.results.costs:
        return "yes", "the table of what each defence takes beside the network"
    return "no", "not measured: ask with --costs, or costs=True"


#: Points that accuracies on clean images may be apart for defences to be compared.
_ALIKE = 2.0


def _baselines(run: _Looked) -> Answer:
    count = len(run.defences)
    if count < 2:
        return "no", "one defence alone"
    target, seed = run.results.experiment.target.key, run.results.experiment.seeds[0]
    clean = [run.results.labels.get(Cell(Condition(None, d), target, seed=seed)) for d in run.defences]
    found = [100 * accuracy(labels, run.results.images.labels).value for labels in clean if labels is not None]
    apart = max(found) - min(found) if len(found) == count else None
    if apart is None:
        return "in part", f"{count} defences; what each costs on clean images is not known"
    alike = apart <= _ALIKE
    said = f"{count} defences, whose accuracy on clean images is within {apart:.1f} points"
    return ("yes" if alike else "in part"), said if alike else f"{said}: art-denoise tune makes them cost alike"


def _universal(run: _Looked) -> Answer:
    knowing = [t for t in run.threats if t.attack.kind == "universal" and t.knowledge.white_box]
    if knowing:
        return "yes", "a perturbation for all images that is crafted through the defence"
    return "no", "no perturbation for all images is crafted through the defence"


def _seeds(run: _Looked) -> Answer:
    count = len(run.results.experiment.seeds)
    if count >= FEWEST_SEEDS:
        return "yes", f"{count} seeds, intervals over images and perturbations"
    return "no", f"{count} {'seed' if count == 1 else 'seeds'}: ask for {FEWEST_SEEDS}"


def _broader(run: _Looked) -> Answer:
    return ("in part", "random signs") if run.has("random-signs") else ("no", "no noise of the size of the attack")


def _quality(run: _Looked) -> Answer:
    if run.results.audits:
        return "yes", "PSNR, and the share of noise that is left"
    return "no", "images behind the defence were not looked at"


def _chosen(run: _Looked) -> Answer:
    if any(c.condition.defence.noise is not None for c in run.results.labels if c.condition.defence):
        return "yes", "v_def is; other strengths are as given"
    return "does not apply", "all strengths are as given"


def _always(answer: Answer) -> Callable[[_Looked], Answer]:
    return lambda _: answer


#: What is asked for, in the order of its numbers, and what looks for it.
_DEMANDS: tuple[tuple[str, Callable[[_Looked], Answer]], ...] = (
    ("a precise threat model", _always(("yes", "each row says attack, bound, norm and what the attacker knows"))),
    ("attackers who know the defence from end to end", _knows),
    ("accuracy without an attack, with and without the defence, on the same images", _clean),
    ("attacks that have come to their end; many steps do at least what one does", _converged),
    ("random restarts, and several step sizes", _restarts),
    ("accuracy falls with the size of the attack, to chance", _sizes),
    ("the worst of all attacks, image by image", _always(("yes", "the table of the worst that attackers do"))),
    ("attackers with gradients do at least as much harm as those without", _weaker),
    ("attacks without gradients, one of them by labels alone", _asking),
    ("transfer from another network, without the defence and with it", _transfer),
    ("averages over what a random defence draws", _random),
    ("the same attacks succeed on the undefended network; BPDA beside the gradient", _control),
    ("all parameters of attacks", _always(("yes", "below the tables, and in config.json of the run"))),
    ("signs of broken gradients are looked for", _signs),
    ("each attack succeeds where it has to (a unit test)", _planted),
    ("other defences, at the same cost on clean images", _baselines),
    ("what the defence costs in time", _costs),
    ("strengths chosen on other images than the test images", _chosen),
    ("a universal attacker who knows the defence", _universal),
    ("several perturbations; intervals over them and over images", _seeds),
    ("other disturbances: noise, corruptions, rotation", _broader),
    ("code, and a command that repeats it", _always(("yes", "run.toml in the run folder"))),
    ("no image is left out; robust and adversarial accuracy", _always(("yes", "per_image.csv, and the worst of all"))),
    ("what the defence does to clean images, and to noise", _quality),
)
