"""What a run will do, and what that will take, from a few timed batches; nothing is computed, nothing written."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier

from art_denoise.attacks import Perturbation
from art_denoise.models import Model
from art_denoise.data import PHOTOGRAPHS
from art_denoise.data.decoding import decode_image
from art_denoise.data.sets import Split
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.scoring import seconds_of
from art_denoise.evaluation.setting import Setting, choose_device, find_setting
from art_denoise.evaluation.store import Predict, Work, changes, read_json, stored_perturbation
from art_denoise.evaluation.table1 import describe, run_tasks
from art_denoise.evaluation.tasks import DENOISERS, Tasks

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: Images of the batches that are timed, those that the gradient is taken for, and those that are decoded.
_TIMED, _TIMED_GRADIENT, _DECODED = 16, 8, 32

#: Kept in a run: a byte for each label and its separator, and the arrays of the perturbations.
_BYTES_PER_LABEL = 5


@dataclass
class _Planned:
    """What is there, and what is to be done, of one stage."""

    stored: int = 0
    to_do: list[Work] = field(default_factory=list)


class PlanStore:
    """A store that computes nothing: it says what is there, and notes what would be done.

    What depends on something that is not there yet is not there either: its key is of a placeholder.

    :param path: The run folder, which need not be there.
    :param shape: Shape of the images, (3, H, W).
    """

    def __init__(self, path: str | os.PathLike[str], shape: tuple[int, ...]) -> None:
        self.path, self._shape = Path(path), shape
        self.stages: dict[str, _Planned] = {}
        self.cells: list[int] = []

    def labels(self, name: str, key: str, count: int, work: Work, predict: Predict) -> np.ndarray:
        """Return the labels that are stored, or zeros."""
        stored = read_json(self.path / "cells" / f"{name}.json", key)
        self._note(work, stored is not None)
        if stored is None:
            self.cells.append(count)
            return np.zeros(count, dtype=np.int64)
        return np.array(stored["labels"], dtype=np.int64)

    def perturbation(self, name: str, key: str, work: Work, make: Callable[[Path], Perturbation]) -> Perturbation:
        """Return the perturbation that is stored, or a placeholder."""
        stored = stored_perturbation(self.path / "perturbations" / f"{name}.safetensors", key)
        self._note(work, stored is not None)
        if stored is not None:
            return stored
        # Different from every real one, so that what depends on it counts as not done.
        return Perturbation(np.full(self._shape, 2, dtype=np.float32), provenance={"key": "not made yet"})

    def record(self, name: str, key: str, work: Work, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the record that is stored, or an empty one."""
        stored = read_json(self.path / "checks" / f"{name}.json", key)
        self._note(work, stored is not None)
        return stored or {}

    def _note(self, work: Work, stored: bool) -> None:
        planned = self.stages.setdefault(work.stage, _Planned())
        if stored:
            planned.stored += 1
        else:
            planned.to_do.append(work)


def plan(folder: str | os.PathLike[str], options: Options, machine: Machine | None = None) -> str:
    """Return what a run of these options in a folder will do, as a text. Nothing is written, downloaded or trained.

    Times are those of a few batches on this machine, multiplied: good to a factor of two. Networks whose weights are
    not there are timed with random ones.

    Parameters and errors as for :func:`run_table1`.
    """
    machine = replace(machine or Machine(), progress=False)
    device_type = choose_device(machine.device)
    setting = find_setting(options, machine, device_type=device_type, download=False)
    images = setting.sketch()
    decoded = setting.files.decoded(setting.decoded_dir) if setting.files is not None else {}
    if decoded and all(decoded.values()):
        images = setting.images(options, machine)
    store = PlanStore(folder, images.test.images.shape[1:])
    tasks = Tasks(store, images, setting.target, options, machine, device_type)
    config = describe(options, setting, machine, device_type)
    run_tasks(tasks, setting, config)

    timing = _Timing(device_type, images.test)
    lines = [f"Plan of {os.fspath(folder)}; nothing has been computed or written.", ""]
    changed = changes(Path(folder), config)
    if changed:
        lines += [f"The folder holds a run with other choices ({'; '.join(changed)}): it needs `change`.", ""]
    lines += _images_lines(setting, decoded)
    lines += _model_lines(setting)
    rows, total = [], 0.0
    for stage, planned in store.stages.items():
        seconds = sum(timing.seconds(work) for work in planned.to_do)
        through = sum(work.forward + work.backward for work in planned.to_do)
        total += seconds
        done = f"{planned.stored} stored, " if planned.stored else ""
        rows.append((stage, f"{done}{len(planned.to_do)} to do", f"{through:,.0f}", _duration(seconds)))
    train = _training_seconds(setting, options, timing)
    if train:
        rows.insert(0, ("Train the networks", f"{len(_untrained(setting))} to do", "", _duration(train)))
        total += train
    missing = [purpose for purpose, there in decoded.items() if not there]
    if missing:
        seconds = _decoding_seconds(setting, missing, machine)
        count = sum(len(setting.files.files(p)[1]) for p in missing if setting.files)
        rows.insert(0, ("Decode images", f"{len(missing)} splits to do", f"{count:,}", _duration(seconds)))
        total += seconds
    rows.append(("Altogether", "", "", _duration(total)))
    lines += ["", *_columns([("", "", "images", "about"), *rows])]
    lines += ["", *_room_lines(folder, setting, store, missing, images.test)]
    return "\n".join(lines) + "\n"


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows of texts with their columns below each other, the first two to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(w) if i < 2 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


class _Timing:
    """Seconds an image of each kind of work, measured when they are first asked for."""

    def __init__(self, device_type: str, split: Split) -> None:
        self._device_type = device_type
        # Pictures, if there are any, else noise: the time does not depend on it, but that of denoisers may a little.
        self._few = split.first(_TIMED)
        if self._few.images.std() == 0:
            noise = np.random.default_rng(0).integers(0, 256, self._few.images.shape, dtype=np.uint8)
            self._few = replace(self._few, images=noise)
        self._known: dict[tuple[str, str], float] = {}

    def seconds(self, work: Work) -> float:
        """Return about how long work takes."""
        forward = backward = 0.0
        if work.forward:
            forward = self._of(work.model, "forward") + self._of_denoiser(work.denoiser, "forward")
        if work.backward:
            backward = self._of(work.model, "backward") + self._of_denoiser(work.denoiser, "backward")
        return work.forward * forward + work.backward * backward

    def _of(self, model: Model, kind: str) -> float:
        if (model.name, kind) not in self._known:
            classifier = model.classifier(self._device_type, sketch=True)
            size = len(self._few)
            self._known[model.name, "forward"] = seconds_of(classifier, self._few, size, repeats=1) / size
            self._known[model.name, "backward"] = _seconds_of_gradient(classifier, self._few)
        return self._known[model.name, kind]

    def _of_denoiser(self, name: str, kind: str) -> float:
        if name == "none":
            return 0.0
        if (name, kind) not in self._known:
            defence = DENOISERS[name](device_type=self._device_type)
            x = torch.from_numpy(np.divide(self._few.images, 255, dtype=np.float32)).to(defence.device)
            for _ in range(2):  # compiled in the first
                x.requires_grad_()
                start = time.perf_counter()
                filtered = defence.forward(x)[0]
                middle = time.perf_counter()
                filtered.sum().backward()
                end = time.perf_counter()
            self._known[name, "forward"] = (middle - start) / len(x)
            self._known[name, "backward"] = (end - start) / len(x)
        return self._known[name, kind]


def _seconds_of_gradient(classifier: PyTorchClassifier, few: Split) -> float:
    """Return the seconds that an image's gradient takes, with its forward pass."""
    count = min(len(few), _TIMED_GRADIENT)
    x = torch.from_numpy(np.divide(few.images[:count], 255, dtype=np.float32)).to(classifier.device)
    x.requires_grad_()
    for _ in range(2):  # the first time takes longer
        start = time.perf_counter()
        logits = classifier._model(classifier._apply_preprocessing(x, y=None, fit=False, no_grad=False)[0])[-1]
        torch.autograd.grad(logits.max(dim=1).values.sum(), x)[0].cpu()
    return (time.perf_counter() - start) / count


def _images_lines(setting: Setting, decoded: dict[str, bool]) -> list[str]:
    """Say which images are for what, and where they are."""
    if setting.files is None:
        assert setting.crops is not None
        counts = ", ".join(f"{len(split)} for {purpose}" for purpose, split in setting.crops.splits.items())
        return [f"Images: {setting.crops.title}: {counts}."]
    files = setting.files
    lines = []
    for purpose, there in decoded.items():
        root, names = files.files(purpose)
        pool = files.pools[files.drawn[purpose][0]]
        lines.append(
            f"Images for {purpose}: {len(names):,} of {len(pool):,} in {root}, "
            f"{'decoded' if there else 'not decoded yet'}."
        )
    framing = files.framing
    lines.append(
        f"Resized to {framing.resize} ({framing.interpolation}), centre crop {framing.crop}; "
        f"{len(files.classes.labels)} classes, {files.classes.rule}."
    )
    return lines


def _model_lines(setting: Setting) -> list[str]:
    """Say which model is attacked, which attack, and where their weights are."""
    lines = [f"Target: {setting.target.title}."]
    for column in setting.columns:
        kind = "from a file" if column.model is None else "white-box" if column.white_box else "transfer"
        lines.append(f"Column {column.text}: {kind}.")
    for model in setting.models.values():
        if model.weights_file is not None:
            there = "there" if model.weights_file.is_file() else f"to be downloaded{_download_size(model)}"
            lines.append(f"Weights of {model.title}: {model.weights_file}, {there}.")
    return lines


def _download_size(model: Model) -> str:
    """Say how large the file of a model's weights is; torchvision says so since 0.16."""
    from torchvision import models

    size = models.get_weight(model.weights).meta.get("_file_size") if model.weights else None
    return f", {size:.0f} MB" if size else ""


def _untrained(setting: Setting) -> list[Model]:
    return [model for model in setting.models.values() if model.digest() == "to be trained"]


def _training_seconds(setting: Setting, options: Options, timing: _Timing) -> float:
    """Return about how long training takes: a forward and a backward pass, by images and weights, for each view."""
    seconds = 0.0
    for model in _untrained(setting):
        schedule = options.schedules[model.name]
        views = options.shares["train"] * len(PHOTOGRAPHS) * schedule.views
        seconds += 1.5 * timing.seconds(Work("Train", model, 0, views * schedule.epochs))
    return seconds


def _decoding_seconds(setting: Setting, missing: list[str], machine: Machine) -> float:
    """Return about how long decoding takes, from a few files; those that cannot be read are not told of here."""
    assert setting.files is not None
    workers, seconds = machine.workers or os.cpu_count() or 1, 0.0
    for purpose in missing:
        root, names = setting.files.files(purpose)
        few = [names[i] for i in np.linspace(0, len(names) - 1, min(_DECODED, len(names))).astype(int)]
        start = time.perf_counter()
        for name in few:
            try:
                decode_image(root / name, setting.files.framing)
            except ValueError:
                continue
        seconds += (time.perf_counter() - start) / len(few) * len(names) / workers
    return seconds


def _room_lines(
    folder: str | os.PathLike[str], setting: Setting, store: PlanStore, missing: list[str], test: Split
) -> list[str]:
    """Say how much disk and memory it takes."""
    image = test.images[0].size
    perturbations = sum(
        len(p.to_do) for stage, p in store.stages.items() if stage.startswith(("Craft", "Fit", "Choose", "Read"))
    )
    size = _BYTES_PER_LABEL * sum(store.cells) + 4 * image * perturbations
    lines = [f"Disk: {_bytes(size)} in {os.fspath(folder)}, {_bytes(_free(Path(folder)))} free there."]
    if missing and setting.files is not None:
        count = sum(len(setting.files.files(purpose)[1]) for purpose in missing)
        free = _free(setting.decoded_dir)
        lines.append(
            f"Disk: {_bytes(count * image)} of decoded images in {setting.decoded_dir}, {_bytes(free)} free there."
        )
    if resource is not None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        where = "" if not torch.cuda.is_available() else f", {_bytes(torch.cuda.max_memory_allocated())} of the GPU's"
        lines.append(f"Memory: about {_bytes(peak)}{where}, what these few batches took; more images take no more.")
    return lines


def _free(place: Path) -> int:
    """Return the bytes free where a folder is, or will be."""
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place if place.is_dir() else tempfile.gettempdir()).free


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
