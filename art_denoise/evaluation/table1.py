"""Table 1 of Lee, Park & Lee (2018): on photographs, on ImageNet, or with anybody's model and images.

The order in which an image is treated: v0 → + δ, clip → + v_def, clip → denoise, clip → standardise → classify. All
after the attack is done by the ART classifier itself, through its `preprocessing_defences`, as a user would do it.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import art_denoise
from art_denoise._files import write_text
from art_denoise.attacks import Perturbation
from art_denoise.models import Model
from art_denoise.data.decoding import Framing
from art_denoise.data.sets import ImageSet
from art_denoise.defences._base import ImageDefence
from art_denoise.evaluation.fooling import PUBLISHED, TransferMatrix
from art_denoise.models.photographs import device_name
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.rows import SWEEP, TRANSFERRED, Column, Row, SweepPoint
from art_denoise.evaluation.setting import Setting, choose_device, find_setting
from art_denoise.evaluation.statistics import Share
from art_denoise.evaluation.store import RunFolder, source_digest
from art_denoise.evaluation.tasks import DENOISERS, Cell, Tasks, random_direction_of_noise, usable


@dataclass(frozen=True)
class Result:
    """What a run found, and what it was found on.

    :param images: The images; accuracies are those of `images.test`.
    :param framing: How they were cut from files; None for the photographs' crops.
    :param target: The model whose accuracy is reported.
    :param columns: Where the universal perturbations come from.
    :param sections: The rows of the table that there are figures for, under their headings.
    :param predicted: Predicted labels, int64 (N,), by name of the cell (:meth:`Row.cell`).
    :param perturbations: The universal perturbations, by how they were crafted (:class:`Row`, `added`) and by column.
    :param transfer: Which share of the test images they fool on every network, without a defence; by how they were
        crafted.
    :param noises: The defensive noises, by name.
    :param denoisers: The two denoisers, by name.
    :param sweep: Strengths of the denoisers and names of their cells; empty if there was no sweep.
    :param checks: What the pre-flight checks found, by title of the model.
    :param options: The choices of the run.
    :param config: Choices, versions and fingerprints as JSON-like values.
    """

    images: ImageSet
    framing: Framing | None
    target: Model
    columns: tuple[Column, ...]
    sections: dict[str, tuple[Row, ...]]
    predicted: dict[str, np.ndarray]
    perturbations: dict[str, dict[str, Perturbation]]
    transfer: dict[str, TransferMatrix]
    noises: dict[str, Perturbation]
    denoisers: dict[str, ImageDefence]
    sweep: tuple[SweepPoint, ...]
    checks: dict[str, dict[str, Any]]
    options: Options
    config: dict[str, Any]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of the table."""
        return tuple(row for rows in self.sections.values() for row in rows)

    @property
    def labels(self) -> np.ndarray:
        """True labels of the test images, int64 (N,)."""
        return self.images.test.labels


def run_table1(
    folder: str | os.PathLike[str],
    options: Options,
    machine: Machine | None = None,
    *,
    change: bool = False,
) -> Result:
    """Compute Table 1, using again what the folder and the cache already hold.

    :param folder: Run folder; made if there is none.
    :param options: Every choice that figures depend on.
    :param machine: Where and with what it is computed.
    :param change: Whether a folder that holds a run with other choices goes on with these; see :class:`RunFolder`.
    :raises ValueError: If the folder holds a run with other choices and `change` is False, another process is at work
        in it, or something asked for is not there or does not fit.
    :raises OSError: If something cannot be read, downloaded or written.
    """
    machine = machine or Machine()
    device_type = choose_device(machine.device)
    setting = find_setting(options, machine, device_type=device_type)
    config = describe(options, setting, machine, device_type)
    store = RunFolder(folder, config, change=change)
    try:
        if setting.files is not None:
            write_text(Path(folder) / "splits.json", json.dumps(setting.listing()))
        setting.prepare(machine.progress)
        images = setting.images(options, machine)
        tasks = Tasks(store, images, setting.target, options, machine, device_type)
        return run_tasks(tasks, setting, config)
    finally:
        store.close()


def describe(options: Options, setting: Setting, machine: Machine, device_type: str) -> dict[str, Any]:
    """Return every choice, version and fingerprint of a run as JSON-like values."""
    config: dict[str, Any] = {
        "options": asdict(options),
        "data": dict(setting.fingerprints),
        "versions": _versions(device_type),
    }
    if setting.files is not None:
        config["data"]["classes"] = setting.files.classes.rule
        config["images"] = asdict(setting.files.framing)
        config["models"] = {
            name: model.weights_file.name if model.weights_file is not None else model.digest()
            for name, model in setting.models.items()
        }
    if machine.mixed_precision:
        config["mixed_precision"] = True
    return config


def run_tasks(tasks: Tasks, setting: Setting, config: dict[str, Any]) -> Result:
    """Run all tasks of the table, each once, and return what they found."""
    options, images, target, columns = tasks.options, tasks.images, setting.target, setting.columns
    checks = _checked(tasks, setting)
    sections = available_sections(options, images, columns)
    rows = [row for section in sections.values() for row in section]

    kinds = dict.fromkeys(row.added for row in rows if row.of_column)
    # One model after the other, so that each is built once.
    crafted = {
        (kind, column.key): tasks.delta(kind, column)
        for column in columns
        for kind in kinds
        if kind == "deepfool" or column.model is not None
    }
    deltas = {kind: {c.key: crafted[kind, c.key] for c in columns if (kind, c.key) in crafted} for kind in kinds}
    noises = {}
    if any(row.noise != "nothing" for row in rows):
        noises = {name: tasks.noise(name) for name in tasks.denoisers}
    if any(row.noise == "knowing" for row in rows):
        for name in tasks.denoisers:
            for column in columns:
                if not usable(noises[name]):
                    continue
                key, delta = f"{name}-knowing-{column.key}", deltas["deepfool"][column.key]
                noises[key] = tasks.noise_knowing(name, column, noises[name], delta)

    # Where no draw helped there is no noise, and no row that has one.
    sections = _kept(sections, lambda row: all(usable(noise) for noise in _noises_of(row, noises)))
    rows = [row for section in sections.values() for row in section]
    cells = _cells(tasks, rows, columns, deltas, noises)
    points = sweep_points(options, columns) if options.sweep else ()
    cells |= {cell.name: cell for cell in _sweep_cells(tasks, points, deltas)}
    transferred = _transfer_cells(tasks, setting, deltas) if options.rows == "all" else {}
    # Likewise.
    by_model = {name: [c for c in transferred.values() if c.model.name == name] for name in setting.models}
    predicted = tasks.score([*cells.values(), *(cell for part in by_model.values() for cell in part)])
    return Result(
        images=images,
        framing=None if setting.files is None else setting.files.framing,
        target=target,
        columns=columns,
        sections=sections,
        predicted=predicted,
        perturbations=deltas,
        transfer=_matrices(transferred, predicted, setting, deltas) if transferred else {},
        noises=noises,
        denoisers=tasks.denoisers,
        sweep=points,
        checks=checks,
        options=options,
        config=config,
    )


def _checked(tasks: Tasks, setting: Setting) -> dict[str, dict[str, Any]]:
    """Return what the pre-flight checks found; networks trained on the photographs need none."""
    options, checks = tasks.options, {}
    for model in setting.models.values() if options.preflight else ():
        if options.on_photographs and model.recipe is not None:
            continue
        # What is published is of ImageNet's own validation set.
        published = model.published if options.data == "imagenet" else None
        checks[model.title] = tasks.check(model, published)
    return checks


def available_sections(options: Options, images: ImageSet, columns: tuple[Column, ...]) -> dict[str, tuple[Row, ...]]:
    """Return the rows that there are images and models for: v_def has to be fitted, δ_SGD to be crafted."""
    noise = "tune" in images.splits and "noise-fit" in images.splits
    crafted = any(column.model is not None for column in columns)
    return _kept(options.sections, lambda row: (noise or row.noise == "nothing") and (crafted or not row.crafted))


def _kept(sections: dict[str, tuple[Row, ...]], keep: Callable[[Row], bool]) -> dict[str, tuple[Row, ...]]:
    """Return the sections with the rows that are to be kept, without those that have none."""
    kept = {title: tuple(filter(keep, rows)) for title, rows in sections.items()}
    return {title: rows for title, rows in kept.items() if rows}


def _noises_of(row: Row, noises: dict[str, Perturbation]) -> list[Perturbation]:
    """Return the defensive noises that a row's cells need: v_def, and those that know the attack of each column."""
    if row.noise == "nothing":
        return []
    knowing = f"{row.denoiser}-knowing-" if row.noise == "knowing" else None
    return [noise for name, noise in noises.items() if name == row.denoiser or (knowing and name.startswith(knowing))]


def _cells(
    tasks: Tasks,
    rows: list[Row],
    columns: tuple[Column, ...],
    deltas: dict[str, dict[str, Perturbation]],
    noises: dict[str, Perturbation],
) -> dict[str, Cell]:
    """Return the cells of the table by name."""
    rng = np.random.default_rng([tasks.options.seed, 1])
    fixed = {"nothing": None, "signs": tasks.signs().array}
    random = {name: random_direction_of_noise(noises[name].array, rng) for name in tasks.denoisers if name in noises}
    cells = {}
    for row in rows:
        for column in columns:
            if row.crafted and column.model is None:
                continue
            added = deltas[row.added][column.key].array if row.of_column else fixed[row.added]
            noise = None
            if row.noise != "nothing":
                names = {"fitted": row.denoiser, "knowing": f"{row.denoiser}-knowing-{column.key}"}
                noise = random[row.denoiser] if row.noise == "random" else noises[names[row.noise]].array
            name = row.cell(column.key)
            cells[name] = Cell(name, tasks.target, added, noise, tasks.denoisers.get(row.denoiser))
    return cells


def sweep_points(options: Options, columns: tuple[Column, ...]) -> tuple[SweepPoint, ...]:
    """Return the strengths to score at: those of `SWEEP` and the table's own."""
    added = {"clean": "v0", **{c.key: f"v0 + δ {c.text}" for c in columns}, "signs": "v0 + random signs"}
    return tuple(
        SweepPoint(denoiser, strength, key, text)
        for denoiser, strengths in SWEEP.items()
        for strength in sorted({round(s, 9) for s in (*strengths, options.strengths[denoiser])})
        for key, text in added.items()
    )


def _sweep_cells(
    tasks: Tasks, points: tuple[SweepPoint, ...], deltas: dict[str, dict[str, Perturbation]]
) -> list[Cell]:
    """Return the cells of the sweep."""
    added = {"clean": None, "signs": tasks.signs().array}
    added |= {key: delta.array for key, delta in deltas["deepfool"].items()}
    return [
        Cell(
            point.cell,
            tasks.target,
            added[point.added],
            denoiser=DENOISERS[point.denoiser](point.strength, device_type=tasks.device_type)
            if point.strength
            else None,
        )
        for point in points
    ]


def _transfer_cells(
    tasks: Tasks, setting: Setting, deltas: dict[str, dict[str, Perturbation]]
) -> dict[tuple[str, str], Cell]:
    """Return the cells of every perturbation, of random signs and of clean images on every model, by both names."""
    added: dict[str, np.ndarray | None] = {"clean": None, "signs": tasks.signs().array}
    added |= {f"{kind}-{source}": delta.array for kind in TRANSFERRED for source, delta in deltas.get(kind, {}).items()}
    return {
        (name, target): Cell(f"transfer-{name}-to-{target}", model, array)
        for target, model in setting.models.items()
        for name, array in added.items()
    }


def _matrices(
    cells: dict[tuple[str, str], Cell],
    predicted: dict[str, np.ndarray],
    setting: Setting,
    deltas: dict[str, dict[str, Perturbation]],
) -> dict[str, TransferMatrix]:
    """Return how many test images each perturbation, and random signs, fool on each model, without a defence."""

    def fooled(name: str, target: str) -> Share:
        labels, clean = (predicted[cells[n, target].name] for n in (name, "clean"))
        return Share(int(np.sum(labels != clean)), len(clean))

    targets = list(setting.models)
    return {
        kind: TransferMatrix(
            {source: {target: fooled(f"{kind}-{source}", target) for target in targets} for source in deltas[kind]}
            | {"random signs": {target: fooled("signs", target) for target in targets}},
            PUBLISHED if kind == "deepfool" else {},
        )
        for kind in TRANSFERRED
        if deltas.get(kind)
    }


def _versions(device_type: str) -> dict[str, str]:
    """Return the versions of everything that a figure can depend on, and the kind of device."""
    names = ("adversarial-robustness-toolbox", "torch", "torchvision", "numpy", "scikit-image", "pillow")
    return {
        "art_denoise": f"{art_denoise.__version__}, source {source_digest(art_denoise)}",
        "python": platform.python_version(),
        "device": device_name(device_type),
        **{name: version(name) for name in names},
    }
