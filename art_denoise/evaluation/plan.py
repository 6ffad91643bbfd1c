"""What a run will do, and what that will take; nothing is computed, nothing written.

A plan is the tasks of the run whose artefacts are not there yet. Their times are those of a few batches on this
machine, multiplied.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from art_denoise.evaluation.from_options import Study, table1
from art_denoise.evaluation.graph import Resource, Task, closure, to_do
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.prepared import Prepared, changes
from art_denoise.evaluation.tasks.attack import AttackImages
from art_denoise.evaluation.tasks.score import Score
from art_denoise.evaluation.timing import Timing
from art_denoise.models.find import Model

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: Bytes of a label, and of the rest of a file.
_LABEL, _FILE = 8, 1000


def plan(
    folder: str | os.PathLike[str], options: Options, machine: Machine | None = None, study: Study = table1
) -> str:
    """Return what a run of these options in a folder will do, as a text. Nothing is written, downloaded or trained.

    Times are those of a few batches on this machine, multiplied: good to a factor of two. Networks whose weights are
    not there are timed with random ones.

    Parameters and errors as for :func:`art_denoise.evaluation.run.run`.
    """
    prepared = Prepared.of(folder, options, replace(machine or Machine(), progress=False), study, download=False)
    setting = prepared.setting
    ready = setting.source.ready(setting.decoded_dir)
    images = prepared.load(False) if all(ready.values()) else setting.source.outline()
    assembly = prepared.assembly(images)
    wanted: list[Task] = [*prepared.checks(assembly).values(), *assembly.wanted()]
    needed = {key: task for key, task in closure(wanted).items() if not isinstance(task, Resource)}
    missing = to_do(wanted, lambda task: task in prepared.stores)

    timing = Timing(setting.models, images.test, prepared.device_type)
    lines = [f"Plan of {os.fspath(folder)}; nothing has been computed or written.", ""]
    changed = changes(prepared.folder, prepared.config)
    if changed:
        lines += [f"The folder holds a run with other choices ({'; '.join(changed)}): it needs `change`.", ""]
    lines += [*setting.source.describe(ready), *_model_lines(prepared)]
    rows, total = [], 0.0
    undecoded = [purpose for purpose, there in ready.items() if not there]
    if undecoded:
        seconds = setting.source.seconds_to_decode(undecoded, prepared.machine.workers)
        count = sum(setting.source.counts[purpose] for purpose in undecoded)
        rows.append(("Decode images", f"{len(undecoded)} splits to do", f"{count:,}", _duration(seconds)))
        total += seconds
    for stage in dict.fromkeys(task.work.stage for task in needed.values()):
        of_stage = [task for task in needed.values() if task.work.stage == stage]
        open_ones = [task for task in of_stage if task.key in missing]
        seconds = sum(timing.seconds(task.work) for task in open_ones)
        through = sum(task.work.forward + task.work.backward for task in open_ones)
        total += seconds
        stored = sum(task in prepared.stores for task in of_stage)
        done = f"{stored} stored, " if stored else ""
        rows.append((stage, f"{done}{len(open_ones)} to do", f"{through:,.0f}" if through else "", _duration(seconds)))
    rows.append(("Altogether", "", "", _duration(total)))
    lines += ["", *_columns([("", "", "images", "about"), *rows])]
    if prepared.jobs > 1:
        lines.append(f"The work is shared by {prepared.jobs} processes; the times are those of one.")
    lines += ["", *_room_lines(prepared, missing.values(), undecoded, images.test.images[0].size)]
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


def _model_lines(prepared: Prepared) -> list[str]:
    """Say which model is attacked, which attack, and where their weights are."""
    setting = prepared.setting
    lines = [f"Target: {setting.target.title}."]
    for column in setting.columns:
        white_box = column.model is setting.target
        kind = "from a file" if column.model is None else "white-box" if white_box else "transfer"
        lines.append(f"Column {column.source.text}: {kind}.")
    stages = (p.text or p.name for row in prepared.experiment.conditions for p in row.defence.preprocessors)
    if defences := ", ".join(dict.fromkeys(stages)):
        lines.append(f"Defences: {defences}.")
    lines.append("What tables call a column or a defence is said by title=NAME, as in FILE:title=NAME.")
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


def _room_lines(prepared: Prepared, missing: Iterable[Task], undecoded: list[str], values: int) -> list[str]:
    """Say how much disk and memory it takes.

    :param values: Values of one image.
    """
    folder, setting = prepared.folder, prepared.setting
    size = sum(_bytes_of(task, values) for task in missing)
    lines = [f"Disk: {_bytes(size)} in {folder}, {_bytes(_free(folder))} free there."]
    if undecoded:
        lines.append(
            f"Disk: {_bytes(setting.source.bytes_to_decode(undecoded))} of decoded images in {setting.decoded_dir}, "
            f"{_bytes(_free(setting.decoded_dir))} free there."
        )
    if resource is not None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        where = "" if not torch.cuda.is_available() else f", {_bytes(torch.cuda.max_memory_allocated())} of the GPU's"
        each = " for each process" if prepared.jobs > 1 else ""
        lines.append(
            f"Memory: about {_bytes(peak)}{where}{each}, what these few batches took; more images take no more."
        )
    return lines


def _bytes_of(task: Task, values: int) -> int:
    """Return about how much disk a task's artefact takes in the run folder."""
    if isinstance(task, Score):
        return _FILE + _LABEL * task.images.count
    if isinstance(task, AttackImages):
        return _FILE + np.dtype(np.float32).itemsize * values * round(task.work.forward)
    return _FILE + (np.dtype(np.float32).itemsize * values if task.folder == "perturbations" else 0)


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
