"""The tasks of a run: check, craft, fit, score; each keyed by what it depends on, each done once and stored.

Nothing is built, crafted or predicted before a store asks for it. So the same tasks, with another store, make a plan.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from art.estimators.classification import PyTorchClassifier
from scipy.special import log_softmax
from tqdm.auto import tqdm

import art_denoise.attacks
import art_denoise.defences
import art_denoise.filters
from art_denoise.attacks import SGDUAP, DeepFoolUAP, Perturbation, random_signs
from art_denoise.attacks.universal import UniversalAttack
from art_denoise.models import Model
from art_denoise.data.sets import ImageSet, Split
from art_denoise.data.splits import fingerprint
from art_denoise.defences import DefensiveNoiseDefence, NLMeansDefence, ROFDefence
from art_denoise.defences._base import ImageDefence
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.preflight import IMAGES, IMAGES_OF_SOURCES, check_model
from art_denoise.evaluation.rows import Column
from art_denoise.evaluation.scoring import best_batch_size, in_half_precision, predicted_labels, unit_batch
from art_denoise.evaluation.store import Store, Work, key_of, source_digest
from art_denoise.filters.defensive_noise import NoHelpfulDrawError

#: The denoisers by name; each takes its strength first.
DENOISERS: dict[str, type[ROFDefence | NLMeansDefence]] = {"rof": ROFDefence, "nlm": NLMeansDefence}

#: What a plan supposes of things that are known afterwards: the share of images that DeepFool is run for in a pass, its
#: steps for each, and the share of images that a network gets wrong, for which alone noise is drawn.
_STEPS_PER_IMAGE, _WRONG = 1.2, 0.35


@dataclass(frozen=True)
class Cell:
    """Labels to be predicted: by a model, for the test images with something added, behind defences.

    :param name: Name of its file.
    :param model: The model.
    :param added: What is added first, (3, H, W) in units of the value range.
    :param noise: What :class:`DefensiveNoiseDefence` adds.
    :param denoiser: The denoiser.
    """

    name: str
    model: Model
    added: np.ndarray | None = None
    noise: np.ndarray | None = None
    denoiser: ImageDefence | None = None


class Tasks:
    """The tasks of one run.

    :param store: Where results are left and found.
    :param images: The images.
    :param target: The model whose accuracy is reported.
    :param device_type: "gpu" or "cpu".
    """

    def __init__(
        self, store: Store, images: ImageSet, target: Model, options: Options, machine: Machine, device_type: str
    ) -> None:
        self.store, self.images, self.target = store, images, target
        self.options, self.machine, self.device_type = options, machine, device_type
        self.denoisers: dict[str, ImageDefence] = {
            name: DENOISERS[name](strength, device_type=device_type) for name, strength in options.strengths.items()
        }
        self._digests: dict[str, str] = {}
        self._built: dict[tuple[str, bool], PyTorchClassifier] = {}

    def check(self, model: Model, published: float | None) -> dict[str, Any]:
        """Return what the pre-flight check of a model finds; see :func:`check_model`."""
        # Nothing is chosen by the check, so that any images will do; with few of them little can be told.
        split = self.images.splits.get("tune", self.images.test)
        if len(split) < IMAGES_OF_SOURCES:
            split = max(self.images.splits.values(), key=len)
        few = split.first(IMAGES if model is self.target else IMAGES_OF_SOURCES)
        depends = {"weights": self._digest(model), "images": [few.fingerprint, len(few)], "published": published}

        def make() -> dict[str, Any]:
            title = f"Check {model.title}" if self.machine.progress else None
            with tqdm(desc=title, disable=title is None, unit="image") as bar:
                classifier = self.classifier(model)
                return check_model(
                    model, classifier, few, batch_size=self._batch_size(model), published=published, told=bar.update
                )

        work = Work("Check the models", model, len(few) * (6 if model.recipe is None else 1))
        return self.store.record(f"preflight-{model.name}", key_of(depends), work, make)

    def delta(self, kind: str, column: Column) -> Perturbation:
        """Return the column's universal perturbation, crafted in one way, or from its file."""
        if column.given is not None:
            given = column.given.with_record(source=column.text)
            work = Work("Read perturbations", self.target, 0)
            key = key_of({"file": fingerprint(given.array)})
            return self.store.perturbation(f"delta-{column.key}", key, work, lambda _: given)
        assert column.model is not None
        model, split = column.model, self.images.splits["craft"]
        attack, _, denoiser = kind.partition("-")
        through = [self.denoisers[denoiser]] if denoiser else []
        made, arguments = self._attack(attack)
        depends = {
            "weights": self._digest(model),
            "images": split.fingerprint,
            "source": source_digest(
                art_denoise.attacks, *([art_denoise.filters, art_denoise.defences] if through else [])
            ),
            "through": repr(through),
            **arguments,
        }

        def make(checkpoint: Path) -> Perturbation:
            classifier = self.classifier(model)
            if self.machine.progress:
                title = f"Craft δ on {column.text}, {kind.replace('-', ' through ')}"
                tqdm.write(title, file=sys.stderr)
            with with_defences(classifier, through):
                crafting = made(classifier, verbose=self.machine.progress, checkpoint=checkpoint, **arguments)
                return crafting.craft(split.images).with_record(source=column.key)

        n, passes = len(split), arguments["max_iter"]
        if attack == "deepfool":
            steps = n * passes * _STEPS_PER_IMAGE
            # Ten classes: nine gradients a step. The fooling rate is measured four times a pass.
            work = Work("Craft, DeepFoolUAP", model, n * passes * 5 + steps, 9 * steps)
        else:
            name = f"Craft, SGDUAP{f' through {denoiser.upper()}' if denoiser else ''}"
            work = Work(name, model, n * passes, n * passes, denoiser or "none")
        return self.store.perturbation(f"delta-{kind}-{column.key}", key_of(depends), work, make)

    def _attack(self, attack: str) -> tuple[type[UniversalAttack], dict[str, Any]]:
        """Return an attack and its arguments."""
        options = self.options
        arguments: dict[str, Any] = {"eps": options.eps, "seed": options.seed}
        if attack == "sgd":
            return SGDUAP, {**arguments, "max_iter": options.sgd_passes, "batch_size": options.sgd_batch_size}
        deepfool = {"max_iter": options.craft_steps, "epsilon": options.craft_overshoot}
        return DeepFoolUAP, {
            **arguments,
            "delta": 1 - options.craft_until,
            "max_iter": options.craft_passes,
            "batch_size": options.craft_batch_size,
            "attacker_params": deepfool,
        }

    def signs(self) -> Perturbation:
        """Return random signs of the size of the attacks."""
        return random_signs(self.images.test.images.shape[1:], self.options.eps, self.options.seed)

    def noise(self, denoiser: str) -> Perturbation:
        """Return v_def for one denoiser: fitted on clean images, σ and ε chosen by the loss on clean tuning images."""
        options, fit, tune = self.options, self.images.splits["noise-fit"], self.images.splits["tune"]
        fitted = [self._fit(denoiser, fit, None, sigma, options.noise_eps[0]) for sigma in options.noise_sigmas]
        depends = {
            "fitted": [noise.provenance["key"] for noise in fitted],
            "images": tune.fingerprint,
            "eps": options.noise_eps,
        }

        def choose(_: Path) -> Perturbation:
            candidates = [_scaled(noise, eps) for noise in fitted if usable(noise) for eps in options.noise_eps]
            if not candidates:
                return fitted[0]
            title = f"Choose σ and ε of v_def, {denoiser}" if self.machine.progress else None
            with tqdm(total=len(candidates) * len(tune), desc=title, disable=title is None, unit="image") as bar:
                for noise in candidates:
                    noise.provenance["tuning_loss"] = self._loss(noise, denoiser, tune, bar.update)
            best = min(candidates, key=lambda noise: noise.provenance["tuning_loss"])
            best.provenance["tried"] = [
                {name: noise.provenance[name] for name in ("sigma", "eps", "tuning_loss")} for noise in candidates
            ]
            return best

        tried = len(options.noise_sigmas) * len(options.noise_eps)
        work = Work("Choose v_def", self.target, tried * len(tune), denoiser=denoiser)
        return self.store.perturbation(f"v_def-{denoiser}", key_of(depends), work, choose)

    def noise_knowing(self, denoiser: str, column: Column, noise: Perturbation, delta: Perturbation) -> Perturbation:
        """Return v_def fitted on images that the column's attack has perturbed, with σ and ε of the clean v_def."""
        found = noise.provenance
        return self._fit(
            denoiser, self.images.splits["noise-fit"], (column, delta), found.get("sigma", 0), found.get("eps", 0)
        )

    def _fit(
        self, denoiser: str, split: Split, knowing: tuple[Column, Perturbation] | None, sigma: float, eps: float
    ) -> Perturbation:
        """Return v_def fitted through a denoiser, with how it was estimated as provenance."""
        options = self.options
        name, added = f"v_def-{denoiser}-sigma{255 * sigma:.4g}", None
        if knowing is not None:
            name, added = f"v_def-{denoiser}-knowing-{knowing[0].key}", knowing[1]
        depends = {
            "weights": self._digest(self.target),
            "source": source_digest(art_denoise.filters, art_denoise.defences),
            "images": split.fingerprint,
            "added": None if added is None else fingerprint(added.array),
            "denoiser": repr(self.denoisers[denoiser]),
            "sigma": sigma,
            "eps": eps,
            "options": {k: v for k, v in asdict(options).items() if k in ("noise_draws", "noise_accept", "seed")},
            "through": options.noise_through,
        }

        def make(_: Path) -> Perturbation:
            defence, target = DefensiveNoiseDefence(device_type=self.device_type), self.classifier(self.target)
            images = split.images if added is None else _Perturbed(split, added)
            title = f"Fit v_def, {name.removeprefix('v_def-')}/255" if added is None else f"Fit {name}"
            try:
                with with_defences(target, [self.denoisers[denoiser]]):
                    defence.fit(
                        images,
                        split.labels,
                        classifier=target,
                        accept=options.noise_accept,
                        through=options.noise_through,
                        sigma=sigma,
                        eps=eps,
                        draws=options.noise_draws,
                        seed=options.seed,
                        batch_size=self._batch_size(self.target),
                        progress=title if self.machine.progress else None,
                    )
            except NoHelpfulDrawError as error:
                # The rest of the table does without.
                zero = np.zeros(split.images.shape[1:], dtype=np.float32)
                why = str(error).partition(":")[0]
                return Perturbation(zero, attack="defensive noise", provenance={"accepted": 0, "why": why})
            estimate = {"denoiser": denoiser, **(defence.estimate or {})}
            if knowing is not None:
                estimate["fitted_on"] = f"perturbed by {knowing[0].text}"
            return Perturbation(np.asarray(defence.noise), attack="defensive noise", provenance=estimate)

        share = _WRONG if options.noise_accept == "flip" else 1.0
        work = Work("Fit v_def", self.target, len(split) * (1 + share * options.noise_draws), denoiser=denoiser)
        return self.store.perturbation(name, key_of(depends), work, make)

    def _loss(self, noise: Perturbation, denoiser: str, split: Split, told: Callable[[int], object]) -> float:
        """Return the mean cross-entropy of clean images with a noise before a denoiser."""
        target, size, total = self.classifier(self.target), self._batch_size(self.target), 0.0
        with with_defences(target, [DefensiveNoiseDefence(noise.array), self.denoisers[denoiser]]):
            for first in range(0, len(split), size):
                labels = split.labels[first : first + size]
                batch = unit_batch(split, slice(first, first + size))
                scores = log_softmax(target.predict(batch, batch_size=size), axis=1)
                total -= float(scores[np.arange(len(labels)), labels].sum())
                told(len(labels))
        return total / len(split)

    def score(self, cells: Sequence[Cell]) -> dict[str, np.ndarray]:
        """Return the predicted labels of cells, int64 (N,), by their names."""
        test = self.images.test
        source = source_digest(art_denoise.filters, art_denoise.defences)
        predicted = {}
        with tqdm(total=len(cells) * len(test), desc="Score", disable=not self.machine.progress, unit="image") as bar:
            for number, cell in enumerate(cells, 1):
                bar.set_postfix_str(f"cell {number} of {len(cells)}: {cell.name}", refresh=False)
                done_before = bar.n
                half = self._half(cell.model)
                depends = {
                    "weights": self._digest(cell.model),
                    "source": source,
                    "images": test.fingerprint,
                    "added": None if cell.added is None else fingerprint(cell.added),
                    "noise": None if cell.noise is None else fingerprint(cell.noise),
                    "denoiser": None if cell.denoiser is None else repr(cell.denoiser),
                    "half": half,
                }
                kind = next((name for name, made in DENOISERS.items() if isinstance(cell.denoiser, made)), "none")
                work = Work("Score", cell.model, len(test), denoiser=kind)
                predict = partial(self._predict, cell, half, bar)
                predicted[cell.name] = self.store.labels(cell.name, key_of(depends), len(test), work, predict)
                bar.update(done_before + len(test) - bar.n)
        return predicted

    def _predict(self, cell: Cell, half: bool, bar: tqdm, start: int) -> Iterator[np.ndarray]:
        """Predict a cell's labels, from one image on."""
        chain: list[ImageDefence] = []
        if cell.noise is not None:
            chain.append(DefensiveNoiseDefence(cell.noise, device_type=self.device_type))
        if cell.denoiser is not None:
            chain.append(cell.denoiser)
        bar.update(start)
        yield from predicted_labels(
            self.classifier(cell.model, half=half),
            self.images.test,
            self._batch_size(cell.model),
            added=cell.added,
            defences=chain,
            start=start,
            told=bar.update,
        )

    def classifier(self, model: Model, *, half: bool = False) -> PyTorchClassifier:
        """Return a model, built; the target is kept, of others the last one: VGG networks are half a gigabyte each."""
        wanted = model.name, half
        if wanted not in self._built:
            for other in [key for key in self._built if key[0] not in (self.target.name, model.name)]:
                del self._built[other]
                gc.collect()  # an ART classifier refers to itself
            if half:
                whole = self.classifier(model)
                self._built[wanted] = in_half_precision(model, whole, self.images.test, self.options.eps)[0]
            else:
                self._built[wanted] = model.classifier(self.device_type)
        return self._built[wanted]

    def _batch_size(self, model: Model) -> int:
        """Return how many images are scored at once, found by trial and kept, so that a later start has the same."""
        if self.machine.batch_size is not None:
            return self.machine.batch_size
        depends = {"weights": self._digest(model), "device": self.device_type, "images": len(self.images.test)}
        record = self.store.record(
            f"batch-size-{model.name}",
            key_of(depends),
            Work("Check the models", model, 60),
            lambda: {"batch_size": best_batch_size(self.classifier(model), self.images.test)},
        )
        return int(record.get("batch_size", 1))

    def _half(self, model: Model) -> bool:
        """Return whether a model is scored in half precision: if asked for, and if a check shows no difference."""
        if not self.machine.mixed_precision:
            return False
        test = self.images.test
        depends = {"weights": self._digest(model), "device": self.device_type, "images": test.fingerprint}

        def make() -> dict[str, Any]:
            differing = in_half_precision(model, self.classifier(model), test, self.options.eps)[1]
            return {"differing": differing}

        work = Work("Check the models", model, 2 * 2 * 256)
        return self.store.record(f"half-precision-{model.name}", key_of(depends), work, make).get("differing") == 0

    def _digest(self, model: Model) -> str:
        if model.name not in self._digests:
            self._digests[model.name] = model.digest()
        return self._digests[model.name]


def usable(noise: Perturbation) -> bool:
    """Return whether there is a defensive noise: whether any draw helped."""
    return bool(noise.provenance.get("accepted", 1))


class _Perturbed:
    """A split's images plus a perturbation, clipped, as floats in [0, 1]; made when they are indexed."""

    def __init__(self, split: Split, added: Perturbation) -> None:
        self._split, self._added = split, added

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, chosen: slice | np.ndarray) -> np.ndarray:
        return unit_batch(self._split, chosen, self._added.array)


def _scaled(noise: Perturbation, eps: float) -> Perturbation:
    """Return a defensive noise with another root mean square."""
    by = eps / noise.provenance["eps"]
    changed = {"eps": eps, "factor": by * noise.provenance["factor"], "linf": by * noise.provenance["linf"]}
    kept = {k: v for k, v in noise.provenance.items() if k != "key"}
    return noise.with_record(array=(by * noise.array).astype(np.float32), provenance={**kept, **changed})


def random_direction_of_noise(like: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noise of the same shape and root mean square in a random direction."""
    direction = rng.standard_normal(like.shape)
    return (direction * np.sqrt(np.square(like).mean() / np.square(direction).mean())).astype(np.float32)
