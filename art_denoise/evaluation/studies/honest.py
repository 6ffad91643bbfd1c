"""What a defence buys against somebody who knows it: attackers rung by rung, each with more to go by than the last.

The rungs are those that Carlini et al. (2019), arXiv:1902.06705, Athalye et al. (2018), arXiv:1802.00420, and Tramèr et
al. (2020), arXiv:2002.08347, ask for. What a defence is worth is what is left after the strongest, image by image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from art_denoise.evaluation.experiment import (
    Comparison,
    Condition,
    Defence,
    Experiment,
    Knowledge,
    Network,
    Section,
    Source,
    Threat,
)
from art_denoise.evaluation.studies.grid import COSTS, DOES, DOES_BEHIND, WINS, name_of, undefended


@dataclass(frozen=True)
class Rung:
    """Attackers who have as much to go by.

    :param title: Who they are, as a heading.
    :param attacks: How they are written; those that do not say how large they are, are as large as all.
    :param sizes: What their size is multiplied by, once each.
    :param alone: Whether they also attack the network without a defence.
    """

    title: str
    attacks: tuple[str, ...]
    sizes: tuple[float, ...] = (1.0,)
    alone: bool = True

    def sized(self, eps: float) -> Iterator[tuple[str, float]]:
        """Yield how each attack is written with each of its sizes, as a share of the value range: never beyond it.

        :param eps: The size that theirs are multiples of.
        """
        for text, size in product(self.attacks, self.sizes):
            yield text, min(1.0, size * eps)


#: The attack on single images, from the image itself: from random points it finds little more, and takes twice as long.
_PGD = "best-pgd:num_random_init=0"

#: Images that are attacked one by one, where there are more.
MOST = 300

#: Who attacks, in the order of what they have to go by. Who does not know what he attacks goes on where the network
#: that he has is fooled already, as that of the target may not be. The attack on single images that leaves least is
#: there with few and with many iterations, so that it is seen whether it had come to its end; FGS is one step. Those
#: that only ask are slow, and attack few images. The other sizes show whether accuracy falls, and to chance.
LADDER = (
    Rung("Random noise of the same size", ("random-signs",)),
    Rung("The attacker does not know the defence", ("mifgsm:max_iter=20", "sgd-uap")),
    Rung(
        "The attacker knows the defence, and takes its gradient as the identity",
        (f"{_PGD},max_iter=20,knowledge=bpda",),
        alone=False,
    ),
    Rung(
        "The attacker knows the defence, and its gradient",
        (
            "fgsm:knowledge=exact",
            f"{_PGD},max_iter=20,knowledge=exact",
            f"{_PGD},max_iter=40,knowledge=exact",
            "best-pgd:max_iter=20,knowledge=exact",
            "sgd-uap:knowledge=exact",
        ),
    ),
    Rung(
        "The attacker knows what the defence draws, too",
        (f"{_PGD},max_iter=20,knowledge=exact,draws=known",),
        alone=False,
    ),
    Rung(
        "The attacker only asks",
        ("square:max_iter=150,images=40", "hopskipjump:max_iter=8,init_eval=20,max_eval=150,images=10"),
    ),
    Rung(
        "The same at other sizes",
        (f"{_PGD},max_iter=10,loss=margin,knowledge=exact",),
        (0.2, 0.4, 1.0, 1.6, 3.2),
        alone=False,
    ),
)


def ladder(
    target: Network,
    sources: Sequence[Source],
    networks: Sequence[Network],
    *,
    defences: Sequence[Defence],
    rungs: Sequence[tuple[Rung, Sequence[Threat]]],
    knows: Sequence[Knowledge] = (),
    drawing: Collection[Defence] = (),
    seeds: Sequence[int] = (0,),
) -> Experiment:
    """Return every defence against attackers rung by rung, most also without the defence on the same images.

    :param target: The network whose accuracy is reported.
    :param sources: The columns: the target, and others that attackers may have in its place.
    :param networks: All networks.
    :param defences: The defences.
    :param rungs: Who attacks: the rungs, as of :data:`LADDER`, and the attackers on each.
    :param knows: For each defence what an attacker who knows it can differentiate; by default exactly. Where it has no
        gradient, or not all of it has, his rows say so.
    :param drawing: Those that draw at random, from generators that can be seeded: of the others there are no draws to
        know.
    :param seeds: Seeds of the perturbations.
    """
    defences = list(dict.fromkeys(defences))
    known = dict(zip(defences, [*knows, *[Knowledge.EXACT] * (len(defences) - len(knows))], strict=True))
    clean = Condition()
    sections = [Section("No attack", (clean, *(Condition(None, d) for d in defences)))]
    pairs = [Comparison(Condition(None, d), clean, f"{d.text} on clean images", COSTS) for d in defences]
    for rung, threats in rungs:
        rows = []
        for threat in threats:
            alone = _alone(threat)
            those = drawing if threat.knows_draws else defences
            behind = [Condition(_as_far_as(threat, known[d]), d) for d in those if d or not threat.crafted]
            rows += [*([alone] if rung.alone else []), *behind]
            name = name_of(threat)
            pairs.append(Comparison(alone, clean, f"{name} without a defence", DOES))
            for row in behind:
                has = row.threat.knowledge if row.threat is not None else threat.knowledge
                who = f"{name}, {has.value}" if threat.crafted else name
                pairs.append(Comparison(row, alone, f"{row.defence.text} against {who}", WINS))
                pairs.append(
                    Comparison(row, Condition(None, row.defence), f"{who}, behind {row.defence.text}", DOES_BEHIND)
                )
        sections.append(Section(rung.title, tuple(rows)))
    whole = Experiment(
        title="What the defence buys",
        target=target,
        sources=tuple(sources),
        sections=tuple(sections),
        comparisons=tuple(pairs),
        networks=tuple(networks),
        seeds=tuple(seeds),
        on_target=("universal", "per-image"),
    )
    return whole.without([row for row in whole.conditions if not whole.columns(row)])


def _alone(threat: Threat) -> Condition:
    """Return the row of an attack on the network alone: who attacks single images there has the target itself."""
    if threat.attack.kind == "per-image" and threat.knowledge.white_box:
        return Condition(replace(threat, knowledge=Knowledge.EXACT, knows_draws=False))
    return undefended(threat)


def _as_far_as(threat: Threat, knows: Knowledge) -> Threat:
    """Return an attacker who has the exact gradient of a defence with as much of it as there is."""
    return replace(threat, knowledge=knows) if threat.knowledge is Knowledge.EXACT else threat
