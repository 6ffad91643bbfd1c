"""Which task each cell of an experiment is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from art_denoise.evaluation.experiment import Cell, Condition, Defence, Experiment, NoiseKind, Preprocessor, Threat
from art_denoise.evaluation.graph import Network, Task
from art_denoise.evaluation.images import Images
from art_denoise.evaluation.options import Fitting
from art_denoise.evaluation.results import Made
from art_denoise.evaluation.studies.lee2018 import in_figures, with_strengths
from art_denoise.evaluation.tasks.attack import attack_all
from art_denoise.evaluation.tasks.audit import AuditGradients
from art_denoise.evaluation.tasks.chain import Through
from art_denoise.evaluation.tasks.check import CheckHalf
from art_denoise.evaluation.tasks.cost import MeasureCost
from art_denoise.evaluation.tasks.examples import ShowExamples
from art_denoise.evaluation.tasks.noise import ChooseNoise, FitNoise, NoiseTask, RandomDirection
from art_denoise.evaluation.tasks.perturbations import Craft, Given, Signs
from art_denoise.evaluation.tasks.planted import TryAttack
from art_denoise.evaluation.tasks.score import Score
from art_denoise.evaluation.tasks.strengths import ShowStrengths
from art_denoise.evaluation.tried import tried_rows

if TYPE_CHECKING:
    from art_denoise.evaluation.tasks.score import AddedTask

#: Images whose labels have to be the same in half precision.
_CHECKED = 256

#: Defences that are shown with several strengths, where there are more.
_SHOWN = 6

#: What pictures of strengths are of: the attack on the network alone, the defences, and which are those of tables.
StrengthsOf = tuple[Cell, tuple[Defence, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Assembly:
    """Makes the tasks of an experiment.

    :param experiment: The experiment.
    :param networks: The networks by name.
    :param images: The images by purpose.
    :param given: Digits of the perturbations from files, by name of their column.
    :param fitting: How v_def is fitted.
    :param half: Whether labels are predicted in half precision where a check allows it.
    :param crafted_on: By name of a universal attack how many of the images for crafting it is crafted on, if not all.
    :param draws: How often images are scored behind preprocessors that draw at random.
    :param quick: Whether attacks are tried on two images only, where they have to succeed.
    :param costs: Whether it is measured what defences take in time and memory.
    """

    experiment: Experiment
    networks: Mapping[str, Network]
    images: Mapping[str, Images]
    given: Mapping[str, str]
    fitting: Fitting
    half: bool = False
    crafted_on: Mapping[str, int] = field(default_factory=dict)
    draws: Mapping[Preprocessor, int] = field(default_factory=dict)
    costs: bool = False
    quick: bool = False
    _known: dict[tuple[object, ...], Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def scored(self) -> Images:
        """The images that labels are predicted for."""
        return self.images[self.experiment.scored_on]

    def scores(self) -> dict[Cell, Score]:
        """Return the task of every cell."""
        return {cell: self.score(cell) for cell in self.experiment.cells()}

    def wanted(self) -> list[Task]:
        """Return all that has to be done, for figures, pictures of examples and what is told of the attacks."""
        examples, scores = self.examples(), self.scores().values()
        wanted: list[Task] = [*self.measures().values(), *self.audits().values(), *self.tries().values(), *scores]
        # Where labels are there and what they were predicted for is gone, or damaged, a report would lack it.
        wanted += (task for _, task in self.made())
        wanted += (part for score in scores if isinstance(score.added, tuple) for part in score.added)
        wanted += () if examples is None else (examples,)
        return [*wanted, *self.strengths().values()]

    def score(self, cell: Cell) -> Score:
        """Return the task that predicts a cell's labels."""
        network, defence = self.networks[cell.target], cell.condition.defence
        half = CheckHalf(network, self.scored, _CHECKED) if self.half else None
        draws = max((self.draws.get(p, 1) for p in defence.preprocessors), default=1)
        return Score(
            network,
            self.scored,
            self.added(cell),
            self.noise(defence, cell),
            defence.preprocessors,
            half,
            seed=cell.seed,
            draws=draws if cell.draws_seed is None else 1,
            draws_seed=cell.draws_seed,
            text=cell.text,
        )

    def added(self, cell: Cell) -> AddedTask | None:
        """Return the task, or the tasks, that make what is added to the images of a cell."""
        # By what it depends on: many cells share it.
        threat = cell.condition.threat
        if threat is None:
            return None
        aware = threat.knowledge.knows_defence
        depends = ("added", threat, cell.condition.defence if aware else None, cell.target if aware else None)
        return self._once((*depends, cell.source, cell.seed), lambda: self._added(cell, threat))

    def _added(self, cell: Cell, threat: Threat) -> AddedTask:
        attack = threat.attack
        if attack.kind == "control":
            shape = self.scored.shape
            return Signs(shape, threat.size_of_signs(shape), cell.seed)
        source = str(cell.source)
        if source in self.given:
            return Given(source, self.given[source])
        network, through = self.networks[source], self._through(cell, threat)
        behind = f" through {cell.condition.defence.text}" if threat.knowledge.knows_defence else ""
        text = f"{attack.text or attack.name} on {source}{behind}"
        if attack.kind == "universal":
            images = self.images["craft"]
            images = images.first(self.crafted_on.get(attack.name, images.count))
            return Craft(attack, threat.eps, threat.norm, network, images, through, cell.seed, text)
        return attack_all(
            attack, threat.eps, threat.norm, network, self.scored, through, cell.seed, text, threat.images
        )

    def _through(self, cell: Cell, threat: Threat) -> Through:
        if not threat.knowledge.knows_defence:
            return Through()
        defence = cell.condition.defence
        return Through(defence.preprocessors, threat.knowledge.gradient, self.noise(defence, cell), cell.draws_seed)

    def noise(self, defence: Defence, cell: Cell) -> NoiseTask | None:
        """Return the task that makes the defensive noise of a cell."""
        if defence.noise is None:
            return None
        kind = defence.noise.kind
        of_cell = (cell.condition.threat, cell.source, cell.seed) if kind == "knowing" else ()
        return self._once(("noise", defence, cell.target, *of_cell), lambda: self._noise(defence, kind, cell))

    def _noise(self, defence: Defence, kind: NoiseKind, cell: Cell) -> NoiseTask:
        network, fitting, text = self.networks[cell.target], self.fitting, defence.text
        for purpose, option in (("noise-fit", "noise_images"), ("tune", "tune_images")):
            if purpose not in self.images:
                raise ValueError(
                    f"`defences` has noise, and no images to fit it on: give `{option}` above 0, or leave it out"
                )
        fitted = tuple(self._fit(network, defence, sigma, fitting.eps[0], text) for sigma in fitting.sigmas)
        chosen = ChooseNoise(fitted, fitting.eps, self.images["tune"], text)
        if kind == "random":
            return RandomDirection(chosen, fitting.seed, self._number(defence))
        if kind == "knowing":
            added = self.added(replace(cell, condition=Condition(cell.condition.threat)))
            if not isinstance(added, (Craft, Given)):
                raise ValueError("v_def can know of universal perturbations only")
            return replace(
                fitted[0], sigma=None, eps=None, added=added, like=chosen, text=f"{text}, knowing δ of {cell.source}"
            )
        return chosen

    def _fit(self, network: Network, defence: Defence, sigma: float, eps: float, text: str) -> FitNoise:
        fitting = self.fitting
        return FitNoise(
            network,
            self.images["noise-fit"],
            defence.preprocessors,
            sigma,
            eps,
            accept=fitting.accept,
            through=fitting.through,
            draws=fitting.draws,
            seed=fitting.seed,
            text=f"{text}, σ {255 * sigma:.4g}/255",
        )

    def _once(self, depends: tuple[object, ...], make: Callable[[], Any]) -> Any:
        """Return what was made of the same before, so that its key is worked out once."""
        if depends not in self._known:
            self._known[depends] = make()
        return self._known[depends]

    def _number(self, defence: Defence) -> int:
        """Return which of the random directions a defence has."""
        random = dict.fromkeys(
            c.defence for c in self.experiment.conditions if c.defence.noise and c.defence.noise.kind == "random"
        )
        return list(random).index(defence)

    def examples(self) -> ShowExamples | None:
        """Return the task that makes the pictures of examples: the first attack, and each defence against it."""
        attacked, defended = self._in_pictures()
        first = None if attacked is None else next(self.experiment.cells_of(attacked), None)
        if attacked is None or first is None:
            return None
        cells = [(c, next(self.experiment.cells_of(c), None)) for c in defended]
        there = [(c, cell) for c, cell in cells if cell is not None]
        scores = tuple(self.score(cell) for _, cell in there)
        titles = ("v0", attacked.text, *(c.text for c, _ in there))
        return ShowExamples(self._clean(), self.score(first), scores, titles)

    def strengths(self) -> dict[StrengthsOf, ShowStrengths]:
        """Return the tasks that make the pictures of several strengths: of the first attack, for each column."""
        attacked, defended = self._in_pictures()
        if attacked is None:
            return {}
        own = tuple(dict.fromkeys(with_strengths(c.defence) for c in defended))
        there = tuple(dict.fromkeys(d for defence in own[:_SHOWN] for d in in_figures(defence)))
        exact = tuple(i for i, defence in enumerate(there) if defence in own)
        chains, found = tuple(d.preprocessors for d in there), {}
        for cell in self.experiment.cells_of(attacked):
            if cell.seed == self.experiment.seeds[0]:
                behind = tuple(self.score(replace(cell, condition=c)) for c in defended)
                task = ShowStrengths(self._clean(), self.score(cell), chains, exact, behind, text=cell.text)
                found[cell, there, exact] = task
        return found

    def _clean(self) -> Score:
        return self.score(Cell(Condition(), self.experiment.target.key, seed=self.experiment.seeds[0]))

    def _in_pictures(self) -> tuple[Condition | None, list[Condition]]:
        """Return the first attack on the network alone, and the rows of it behind each defence without v_def."""
        conditions = self.experiment.conditions
        attacked = next((c for c in conditions if c.threat is not None and c.threat.crafted and not c.defence), None)
        behind = [c for c in conditions if c.defence and c.defence.noise is None]
        return attacked, [c for c in behind if attacked is not None and c.threat == attacked.threat]

    def audits(self) -> dict[Defence, AuditGradients]:
        """Return the tasks that look at the gradients through each defence that attackers differentiate."""
        target, seed = self.experiment.target.key, self.experiment.seeds[0]
        knowing = [c for c in self.experiment.conditions if c.threat is not None and c.threat.crafted]
        found = {}
        for defence in dict.fromkeys(c.defence for c in knowing if c.defence.noise is None):
            through = Through(defence.preprocessors)
            found[defence] = AuditGradients(
                self.networks[target], self.scored, through, seed, defence.text if defence else "the network"
            )
        return found

    def tries(self) -> dict[Condition, TryAttack]:
        """Return the tasks that try attacks on single images through defences that they know, each of them once."""
        target, seed, found = self.experiment.target.key, self.experiment.seeds[0], {}
        for row, few in tried_rows(self.experiment).items():
            threat = row.threat
            assert threat is not None
            cell = Cell(row, target, target, seed)
            found[row] = TryAttack(
                threat.attack,
                threat.eps,
                threat.norm,
                self.networks[target],
                self.scored,
                min(few, 2) if self.quick else few,
                self._through(cell, threat),
                seed,
                row.text,
            )
        return found

    def measures(self) -> dict[Defence, MeasureCost]:
        """Return the tasks that measure what each defence takes, if that is wanted."""
        target = self.networks[self.experiment.target.key]
        there = dict.fromkeys(c.defence for c in self.experiment.conditions if c.defence.preprocessors)
        return {
            defence: MeasureCost(target, self.scored, Through(defence.preprocessors), defence.text)
            for defence in there
            if self.costs and defence.noise is None
        }

    def made(self) -> Iterator[tuple[Made, Craft | Given | NoiseTask]]:
        """Yield the perturbations and defensive noises of the cells, without a record yet, and their tasks."""
        seen = set()
        for cell in self.experiment.cells():
            condition, added, noise = cell.condition, self.added(cell), self.noise(cell.condition.defence, cell)
            if isinstance(added, (Craft, Given)) and added.key not in seen:
                seen.add(added.key)
                threat = condition.threat
                through = condition.defence if threat and threat.knowledge.knows_defence else Defence()
                yield Made("perturbation", added.key, threat, through, cell.source, cell.seed, {}), added
            if isinstance(noise, (ChooseNoise, FitNoise)) and noise.key not in seen:
                seen.add(noise.key)
                knowing = isinstance(noise, FitNoise)
                threat, source = (condition.threat, cell.source) if knowing else (None, None)
                yield Made("noise", noise.key, threat, condition.defence, source, cell.seed, {}), noise
