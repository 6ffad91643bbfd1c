"""Table 1 of Lee, Park & Lee (2018) on the photographs: train, craft, fit, score; each once, each stored.

The order in which an image is treated: v0 → + δ, clip → + v_def, clip → denoise, clip → standardise → classify. All
after the attack is done by the ART classifier itself, through its `preprocessing_defences`, as a user would do it.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from scipy.special import log_softmax
from tqdm.auto import tqdm

import art_denoise.attacks
import art_denoise.data
import art_denoise.defences
import art_denoise.filters
from art_denoise.attacks import SGDUAP, DeepFoolUAP, Perturbation, random_signs
from art_denoise.attacks.universal import UniversalAttack
from art_denoise.data import Crops, load_photographs
from art_denoise.data.splits import fingerprint
from art_denoise.defences import DefensiveNoiseDefence, NLMeansDefence, ROFDefence
from art_denoise.defences._base import ImageDefence
from art_denoise.defences.chain import with_defences
from art_denoise.evaluation.fooling import PUBLISHED, TransferMatrix
from art_denoise.evaluation.networks import load_classifier, trained_weights
from art_denoise.evaluation.options import Options
from art_denoise.evaluation.rows import COLUMNS, TRANSFERRED
from art_denoise.evaluation.statistics import Share
from art_denoise.evaluation.store import RunFolder, file_digest, key_of, source_digest

_BATCH_SIZE = 128


@dataclass(frozen=True)
class Result:
    """What a run found, and what it was found on.

    :param images: Test images (N, 3, H, W) float32 in [0, 1].
    :param labels: True labels, int64 (N,).
    :param predicted: Predicted labels, int64 (N,), by name of the cell (:meth:`Row.cell`).
    :param perturbations: The universal perturbations, by how they were crafted (:class:`Row`, `added`) and by column.
    :param transfer: Which share of the test images they fool on every network, without a defence; by how they were
        crafted.
    :param noises: The defensive noises, by name.
    :param denoisers: The two denoisers, by name.
    :param options: The choices of the run.
    :param config: Choices, versions and fingerprints as JSON-like values.
    """

    images: np.ndarray
    labels: np.ndarray
    predicted: dict[str, np.ndarray]
    perturbations: dict[str, dict[str, Perturbation]]
    transfer: dict[str, TransferMatrix]
    noises: dict[str, Perturbation]
    denoisers: dict[str, ImageDefence]
    options: Options
    config: dict[str, Any]


def run_table1(folder: str | os.PathLike[str], options: Options, *, progress: bool = True) -> Result:
    """Compute Table 1 on the photographs, using again what the folder and the cache already hold.

    :param folder: Run folder; made if there is none.
    :param progress: Show a progress bar for every step that takes more than a second.
    :raises ValueError: If the folder holds a run with other choices, or the options ask for more crops than there are.
    """
    splits = load_photographs(shares=options.shares, seed=options.seed)
    available = len(splits["train"])
    if options.craft_images > available:
        raise ValueError(f"`craft_images` must be <= {available}, the training crops, got {options.craft_images}")
    config = {
        "options": asdict(options),
        "data": {"name": "photographs", **{name: crops.fingerprint for name, crops in splits.items()}},
        "versions": _versions(),
    }
    return _Table1(RunFolder(Path(folder), config), options, splits, config, progress).run()


class _Table1:
    """The tasks of one run. Each is keyed by what it depends on."""

    def __init__(
        self, folder: RunFolder, options: Options, splits: dict[str, Crops], config: dict[str, Any], progress: bool
    ) -> None:
        self.folder, self.options, self.splits, self.config, self.progress = folder, options, splits, config, progress
        self.denoisers: dict[str, ImageDefence] = {
            "rof": ROFDefence(options.rof_weight),
            "nlm": NLMeansDefence(options.nlm_h),
        }

    def run(self) -> Result:
        files = {
            name: trained_weights(
                name,
                self.splits["train"],
                self.options.schedules[name],
                seed=self.options.seed,
                progress=self._title(f"Train {COLUMNS[name]}"),
            )
            for name in COLUMNS
        }
        target = self._load("inception_v1", files)
        kinds = dict.fromkeys(row.added for row in self.options.rows if row.of_column)
        deltas = {kind: {name: self._crafted(kind, name, files) for name in COLUMNS} for kind in kinds}
        noises = {name: self._fitted(name, target, files) for name in self.denoisers}
        for name in self.denoisers if self.options.noise_knowing else ():
            for column, delta in deltas["deepfool"].items():
                noises[f"{name}-knowing-{column}"] = self._fitted_knowing(name, column, noises[name], delta, target)
        predicted = self._scored(target, files["inception_v1"], deltas, noises)
        return Result(
            images=_unit(self.splits["test"]),
            labels=self.splits["test"].labels,
            predicted=predicted,
            perturbations=deltas,
            transfer=self._transferred(files, deltas),
            noises=noises,
            denoisers=self.denoisers,
            options=self.options,
            config=self.config,
        )

    def _title(self, text: str) -> str | None:
        return text if self.progress else None

    def _load(self, name: str, files: dict[str, Path]) -> PyTorchClassifier:
        return load_classifier(name, files[name])

    def _crafted(self, kind: str, name: str, files: dict[str, Path]) -> Perturbation:
        """Return the universal perturbation crafted in one way on one network, on a draw of the training crops."""
        options, crops = self.options, self.splits["train"]
        chosen = np.random.default_rng(options.seed).permutation(len(crops))[: options.craft_images]
        attack, _, denoiser = kind.partition("-")
        arguments: dict[str, Any] = {"eps": options.eps, "seed": options.seed}
        if attack == "deepfool":
            deepfool = {"max_iter": options.craft_steps, "epsilon": options.craft_overshoot}
            arguments |= {
                "delta": 1 - options.craft_until,
                "max_iter": options.craft_passes,
                "attacker_params": deepfool,
            }
        else:
            arguments |= {"max_iter": options.sgd_passes, "batch_size": options.sgd_batch_size}
        through = [self.denoisers[denoiser]] if denoiser else []
        depends = {
            "weights": file_digest(files[name]),
            "images": fingerprint(crops.images[chosen]),
            "source": source_digest(
                art_denoise.attacks, *([art_denoise.filters, art_denoise.defences] if through else [])
            ),
            "through": repr(through),
            **arguments,
        }

        def craft(checkpoint: Path) -> Perturbation:
            classifier = self._load(name, files)
            if self.progress:
                title = f"Craft δ on {COLUMNS[name]}, {kind.replace('-', ' through ')}"
                tqdm.write(title, file=sys.stderr)
            made: type[UniversalAttack] = DeepFoolUAP if attack == "deepfool" else SGDUAP
            with with_defences(classifier, through):
                crafting = made(classifier, verbose=self.progress, checkpoint=checkpoint, **arguments)
                return crafting.craft(crops.images[chosen]).with_record(source=name)

        return self.folder.perturbation(f"delta-{kind}-{name}", key_of(depends), craft)

    def _fitted(self, denoiser: str, target: PyTorchClassifier, files: dict[str, Path]) -> Perturbation:
        """Return v_def for one denoiser: fitted on clean images, σ and ε chosen by the loss on clean tuning images."""
        options, fit, tune = self.options, self.splits["noise-fit"], self.splits["tune"]
        depends = {
            "weights": file_digest(files["inception_v1"]),
            "source": source_digest(art_denoise.filters, art_denoise.defences),
            "images": [fit.fingerprint, tune.fingerprint],
            "denoiser": repr(self.denoisers[denoiser]),
            "options": {k: v for k, v in asdict(options).items() if k.startswith(("noise_", "seed"))},
        }

        def choose(_: Path) -> Perturbation:
            candidates = []
            for sigma in options.noise_sigmas:
                title = f"σ = {255 * sigma:g}/255"
                fitted = self._fit(denoiser, target, _unit(fit), fit.labels, sigma, options.noise_eps[0], title)
                for eps in options.noise_eps:
                    noise = _scaled(fitted, eps)
                    with with_defences(target, [DefensiveNoiseDefence(noise.array), self.denoisers[denoiser]]):
                        scores = log_softmax(target.predict(_unit(tune), batch_size=_BATCH_SIZE), axis=1)
                    noise.provenance["tuning_loss"] = -float(scores[np.arange(len(tune)), tune.labels].mean())
                    candidates.append(noise)
            best = min(candidates, key=lambda noise: noise.provenance["tuning_loss"])
            best.provenance["tried"] = [
                {name: noise.provenance[name] for name in ("sigma", "eps", "tuning_loss")} for noise in candidates
            ]
            return best

        return self.folder.perturbation(f"v_def-{denoiser}", key_of(depends), choose)

    def _fitted_knowing(
        self, denoiser: str, column: str, noise: Perturbation, delta: Perturbation, target: PyTorchClassifier
    ) -> Perturbation:
        """Return v_def fitted on images that the column's attack has perturbed, with σ and ε of the clean v_def."""
        fit = self.splits["noise-fit"]
        depends = {"v_def": noise.provenance["key"], "delta": fingerprint(delta.array)}

        def make(_: Path) -> Perturbation:
            sigma, eps = noise.provenance["sigma"], noise.provenance["eps"]
            title = f"knowing δ of {COLUMNS[column]}"
            fitted = self._fit(denoiser, target, delta.add_to(_unit(fit)), fit.labels, sigma, eps, title)
            return fitted.with_record(provenance={**fitted.provenance, "fitted_on": f"perturbed by {column}"})

        return self.folder.perturbation(f"v_def-{denoiser}-knowing-{column}", key_of(depends), make)

    def _fit(
        self,
        denoiser: str,
        target: PyTorchClassifier,
        images: np.ndarray,
        labels: np.ndarray,
        sigma: float,
        eps: float,
        title: str,
    ) -> Perturbation:
        """Return v_def fitted through a denoiser, with how it was estimated as provenance."""
        defence = DefensiveNoiseDefence()
        with with_defences(target, [self.denoisers[denoiser]]):
            defence.fit(
                images,
                labels,
                classifier=target,
                accept=self.options.noise_accept,
                through=self.options.noise_through,
                sigma=sigma,
                eps=eps,
                draws=self.options.noise_draws,
                seed=self.options.seed,
                batch_size=_BATCH_SIZE,
                progress=self._title(f"Fit v_def, {denoiser}, {title}"),
            )
        estimate = {"denoiser": denoiser, **(defence.estimate or {})}
        return Perturbation(np.asarray(defence.noise), attack="defensive noise", provenance=estimate)

    def _scored(
        self,
        target: PyTorchClassifier,
        weights: Path,
        deltas: dict[str, dict[str, Perturbation]],
        noises: dict[str, Perturbation],
    ) -> dict[str, np.ndarray]:
        """Return the predicted labels of every cell of the table, by the cell's name."""
        test = self.splits["test"]
        rng = np.random.default_rng([self.options.seed, 1])
        signs = self._signs().array
        random = {name: _random_direction(noises[name].array, rng) for name in self.denoisers}

        images = _unit(test)
        digest, source = file_digest(weights), source_digest(art_denoise.filters, art_denoise.defences)
        cells = {row.cell(column): (row, column) for row in self.options.rows for column in COLUMNS}
        predicted = {}
        for name, (row, column) in tqdm(cells.items(), "Score", disable=not self.progress, unit="cell"):
            added = (
                {"nothing": None, "signs": signs}[row.added] if not row.of_column else deltas[row.added][column].array
            )
            noise = None
            if row.noise != "nothing":
                names = {"fitted": row.denoiser, "knowing": f"{row.denoiser}-knowing-{column}"}
                noise = random[row.denoiser] if row.noise == "random" else noises[names[row.noise]].array
            chain: list[ImageDefence] = [] if noise is None else [DefensiveNoiseDefence(noise)]
            if row.denoiser != "none":
                chain.append(self.denoisers[row.denoiser])
            depends = {
                "weights": digest,
                "source": source,
                "images": test.fingerprint,
                "added": None if added is None else fingerprint(added),
                "noise": None if noise is None else fingerprint(noise),
                "denoiser": None if row.denoiser == "none" else repr(self.denoisers[row.denoiser]),
            }
            attacked = images if added is None else Perturbation(added).add_to(images)
            predicted[name] = self.folder.labels(name, key_of(depends), partial(_predict, target, chain, attacked))
        return predicted

    def _transferred(
        self, files: dict[str, Path], deltas: dict[str, dict[str, Perturbation]]
    ) -> dict[str, TransferMatrix]:
        """Return how many test images each perturbation, and random signs, fool on each network, without a defence."""
        test, progress = self.splits["test"], self.progress
        added: dict[str, Perturbation | None] = {"clean": None, "signs": self._signs()}
        added |= {f"{kind}-{source}": delta for kind in TRANSFERRED for source, delta in deltas[kind].items()}
        changed: dict[tuple[str, str], Share] = {}
        for target in COLUMNS:
            classifier, images, clean = self._load(target, files), _unit(test), np.empty(0)
            for name, delta in tqdm(added.items(), f"Transfer to {COLUMNS[target]}", disable=not progress, unit="cell"):
                depends = {
                    "weights": file_digest(files[target]),
                    "images": test.fingerprint,
                    "added": None if delta is None else fingerprint(delta.array),
                }
                attacked = images if delta is None else delta.add_to(images)
                predict = partial(_predict, classifier, [], attacked)
                labels = self.folder.labels(f"transfer-{name}-to-{target}", key_of(depends), predict)
                clean = labels if delta is None else clean
                changed[name, target] = Share(int(np.sum(labels != clean)), len(test))
        return {
            kind: TransferMatrix(
                {source: {target: changed[f"{kind}-{source}", target] for target in COLUMNS} for source in COLUMNS}
                | {"random signs": {target: changed["signs", target] for target in COLUMNS}},
                PUBLISHED if kind == "deepfool" else {},
            )
            for kind in TRANSFERRED
        }

    def _signs(self) -> Perturbation:
        """Return random signs of the size of the attacks."""
        return random_signs(self.splits["test"].images.shape[1:], self.options.eps, self.options.seed)


def _predict(
    classifier: PyTorchClassifier, defences: list[ImageDefence], images: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the predicted labels, int64 (N,), of images behind defences, and the seconds it took."""
    start = time.perf_counter()
    with with_defences(classifier, defences):
        labels = classifier.predict(images, batch_size=_BATCH_SIZE).argmax(axis=1)
    return labels.astype(np.int64), time.perf_counter() - start


def _unit(crops: Crops) -> np.ndarray:
    """Return the crops as float32 (N, 3, H, W) in [0, 1]."""
    return np.divide(crops.images, 255, dtype=np.float32)


def _scaled(noise: Perturbation, eps: float) -> Perturbation:
    """Return a defensive noise with another root mean square."""
    by = eps / noise.provenance["eps"]
    changed = {"eps": eps, "factor": by * noise.provenance["factor"], "linf": by * noise.provenance["linf"]}
    return noise.with_record(array=(by * noise.array).astype(np.float32), provenance={**noise.provenance, **changed})


def _random_direction(like: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noise of the same shape and root mean square in a random direction."""
    direction = rng.standard_normal(like.shape)
    return (direction * np.sqrt(np.square(like).mean() / np.square(direction).mean())).astype(np.float32)


def _versions() -> dict[str, str]:
    """Return the versions of everything that a figure can depend on, and the kind of device."""
    names = ("adversarial-robustness-toolbox", "torch", "torchvision", "numpy", "scikit-image")
    return {
        "art_denoise": f"{art_denoise.__version__}, source {source_digest(art_denoise)}",
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        **{name: version(name) for name in names},
    }
