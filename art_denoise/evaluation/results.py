"""What a run found: labels of every image in every cell, and what is needed to tell of them. Needs no model, no images.

`Results.load(folder)` reads a run folder, finished or not, without PyTorch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from art_denoise._documents import keep_document, read_document
from art_denoise.evaluation.artefact import Artefact
from art_denoise.evaluation.experiment import Cell, Condition, Defence, Experiment, Threat
from art_denoise.evaluation.experiment_json import from_json, to_json
from art_denoise.evaluation.records import per_image, records, write_pieces
from art_denoise.evaluation.shown import Shown
from art_denoise.evaluation.store import read_artefact

if TYPE_CHECKING:
    from art_denoise.evaluation.audit import Flag

#: Changes with the form of `results.json`.
SCHEMA = 4

#: Name of the file, in a run folder, that says what the results are of.
FILE = "results.json"


@dataclass(frozen=True, eq=False)
class Images:
    """The images that labels were predicted for, and how many there were for what.

    :param title: What they are: "crops of 19 photographs".
    :param noun: What one is called.
    :param names: Their names, (N,).
    :param labels: True labels, int64 (N,).
    :param classes: Names of classes by label.
    :param counts: Number of images by purpose.
    :param facts: What else is known of them: how files became squares, which class a folder is, remarks.
    """

    title: str
    noun: str
    names: tuple[str, ...]
    labels: np.ndarray
    classes: Mapping[int, str]
    counts: Mapping[str, int]
    facts: Mapping[str, Any] = field(default_factory=dict)
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Made:
    """A perturbation, or a defensive noise, that a run made.

    :param what: Which of the two.
    :param key: Its key; its file is `perturbations/KEY.safetensors` in the run folder.
    :param threat: Who crafted it; None for a defensive noise that knows of no attack.
    :param defence: What it was crafted or fitted through.
    :param source: Network that it was crafted on, or name of its file; None for a defensive noise.
    :param seed: Seed.
    :param record: How it came about, JSON-like; `record["absent"]` says why there is none.
    """

    what: Literal["perturbation", "noise"]
    key: str
    threat: Threat | None
    defence: Defence
    source: str | None
    seed: int
    record: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Panel:
    """Pictures of the figure of examples, one below the other, with the labels predicted for them.

    :param title: What was done to the images.
    :param images: uint8 (M, 3, H, W).
    :param labels: Predicted labels, int64 (M,).
    """

    title: str
    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Examples:
    """A few images as they are, attacked and defended.

    :param panels: The columns of the figure: clean, attacked, and behind each defence.
    :param magnified: What the attack added, magnified, about grey, uint8 (M, 3, H, W).
    :param labels: True labels, int64 (M,).
    :param worked: Whether the attack turned all of them from right to wrong.
    """

    panels: tuple[Panel, ...]
    magnified: np.ndarray
    labels: np.ndarray
    worked: bool

    @classmethod
    def of(cls, artefact: Artefact) -> Examples:
        """Return the examples in what :class:`ShowExamples` made."""
        arrays = artefact.arrays
        panels = tuple(
            Panel(title, arrays[f"images {i}"], arrays[f"labels {i}"])
            for i, title in enumerate(artefact.record["titles"])
        )
        return cls(panels, arrays["magnified"], arrays["labels"], artefact.record["worked"])


@dataclass(frozen=True, eq=False)
class Results:
    """What a run found.

    :param experiment: What was asked.
    :param images: The images that labels were predicted for.
    :param labels: Predicted labels, int64 (N,), by cell.
    :param drawn: Labels by draw, int64 (D, N), by cell, behind defences that draw at random; `labels` are then right
        for an image that is classified right with each draw, and else the first that is wrong.
    :param missing: Why other cells have none, by cell.
    :param made: The perturbations and defensive noises.
    :param checks: What the pre-flight checks found, by title of the network.
    :param config: Every choice, version and fingerprint of the run, JSON-like.
    :param examples: Pictures; None if there are none.
    :param shown: A few images behind defences of several strengths, once for each network that an attack was crafted
        on; none of runs that kept none.
    :param failures: What failed on the way, and why, one line each.
    :param audits: What was found of gradients through each defence, see
        :func:`art_denoise.evaluation.gradients.audit_gradients`.
    :param tried: What attacks on single images did where they have to succeed, by row, see
        :func:`art_denoise.evaluation.planted.try_attack`.
    :param costs: What defences take in time and memory, see :func:`art_denoise.evaluation.cost.measure_cost`.
    :param passes: How often images went through the network while they were attacked one by one: number of `images`
        that were, `forward`, and `gradient`, of how many of these passes a gradient may have been wanted.
    """

    experiment: Experiment
    images: Images
    labels: Mapping[Cell, np.ndarray]
    missing: Mapping[Cell, str] = field(default_factory=dict)
    made: tuple[Made, ...] = ()
    checks: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    examples: Examples | None = None
    shown: tuple[Shown, ...] = ()
    failures: tuple[str, ...] = ()
    audits: Mapping[Defence, dict[str, Any]] = field(default_factory=dict)
    tried: Mapping[Condition, dict[str, Any]] = field(default_factory=dict)
    passes: Mapping[Cell, dict[str, int]] = field(default_factory=dict)
    costs: Mapping[Defence, dict[str, Any]] = field(default_factory=dict)
    drawn: Mapping[Cell, np.ndarray] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Results:
        """Read the results of a run folder.

        :raises FileNotFoundError: If the folder holds no results.
        :raises ValueError: If they are damaged, or of another schema.
        """
        file = Path(folder) / FILE
        if not file.is_file():
            raise FileNotFoundError(f"`folder` = {os.fspath(folder)!r} holds no {FILE}: give the folder of a run")
        try:
            document = read_document(file, SCHEMA)
        except ValueError as error:
            raise ValueError(
                f"{file} is damaged, or of another version of this package ({error}): run the same command again, "
                "which uses what is there"
            ) from error
        try:
            return cls._of(document["content"], Path(folder))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{file} was written by another version of this package, and lacks something: run the same command "
                "again, which uses what is there"
            ) from error

    @classmethod
    def _of(cls, content: Mapping[str, Any], folder: Path) -> Results:
        images = content["images"]
        labels, drawn, missing = {}, {}, {}
        for entry in content["cells"]:
            cell = from_json(entry["cell"])
            if "missing" in entry:
                missing[cell] = entry["missing"]
                continue
            try:
                arrays = read_artefact(folder / "labels" / f"{entry['key']}.safetensors", entry["key"]).arrays
            except (FileNotFoundError, ValueError) as error:
                raise ValueError(
                    f"the labels of {cell.text} in {folder} are damaged or gone ({error}): run the same command again, "
                    "which computes them anew"
                ) from error
            labels[cell] = arrays["labels"]
            if "drawn" in arrays:
                drawn[cell] = arrays["drawn"]
        return cls(
            experiment=from_json(content["experiment"]),
            images=Images(
                images["title"],
                images["noun"],
                tuple(images["names"]),
                np.array(images["labels"], dtype=np.int64),
                {int(label): name for label, name in images["classes"].items()},
                images["counts"],
                images["facts"],
                None if images["groups"] is None else np.array(images["groups"], dtype=np.int64),
            ),
            labels=labels,
            drawn=drawn,
            missing=missing,
            made=tuple(
                Made(**{k: v for k, v in made.items() if k not in ("threat", "defence")}, **_values(made))
                for made in content["made"]
            ),
            checks=content["checks"],
            config=content["config"],
            examples=_load_examples(folder, content["examples"]),
            # Runs of earlier versions have none.
            shown=tuple(
                found for entry in content.get("shown", ()) if (found := _load_shown(folder, entry)) is not None
            ),
            failures=tuple(content["failures"]),
            audits={from_json(audit["defence"]): audit["record"] for audit in content["audits"]},
            tried={from_json(one["row"]): one["record"] for one in content["tried"]},
            costs={from_json(one["defence"]): one["record"] for one in content["costs"]},
            passes={from_json(entry["cell"]): entry["passes"] for entry in content["cells"] if "passes" in entry},
        )

    @staticmethod
    def config_in(folder: Path) -> dict[str, Any] | None:
        """Return every choice of the results in a run folder; None if there are none, or they are damaged."""
        try:
            config = read_document(folder / FILE, SCHEMA)["content"]["config"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return config if isinstance(config, dict) else None

    @staticmethod
    def keys_in(folder: Path) -> tuple[str, ...]:
        """Return the keys of the labels that the results in a run folder are of; none if these are damaged."""
        try:
            cells = read_document(folder / FILE, SCHEMA)["content"]["cells"]
            return tuple(cell["key"] for cell in cells if "key" in cell)
        except (OSError, ValueError, KeyError, TypeError):
            return ()

    def save(self, folder: str | os.PathLike[str], keys: Mapping[Cell, str], examples_key: str | None = None) -> None:
        """Write `results.json` into a run folder.

        :param folder: The run folder; labels and pictures are there already.
        :param keys: Keys of the labels, by cell.
        :param examples_key: Key of the pictures.
        """
        content = {
            "experiment": to_json(self.experiment),
            "images": {
                "title": self.images.title,
                "noun": self.images.noun,
                "names": list(self.images.names),
                "labels": self.images.labels.tolist(),
                "classes": {str(label): name for label, name in self.images.classes.items()},
                "counts": dict(self.images.counts),
                "facts": dict(self.images.facts),
                "groups": None if self.images.groups is None else self.images.groups.tolist(),
            },
            "cells": [
                *(
                    {"cell": to_json(cell), "key": keys[cell]}
                    | ({"passes": self.passes[cell]} if cell in self.passes else {})
                    for cell in self.labels
                ),
                *({"cell": to_json(cell), "missing": why} for cell, why in self.missing.items()),
            ],
            "made": [
                {**vars(made), "threat": to_json(made.threat), "defence": to_json(made.defence)} for made in self.made
            ],
            "checks": dict(self.checks),
            "config": dict(self.config),
            "examples": examples_key,
            "shown": [
                {"cell": to_json(one.cell), "defences": [to_json(d) for d in one.defences]}
                | {"exact": list(one.exact), "key": one.key}
                for one in self.shown
            ],
            "failures": list(self.failures),
            "audits": [{"defence": to_json(d), "record": record} for d, record in self.audits.items()],
            "costs": [{"defence": to_json(d), "record": record} for d, record in self.costs.items()],
            "tried": [{"row": to_json(row), "record": record} for row, record in self.tried.items()],
        }
        keep_document(Path(folder) / FILE, {"content": content}, SCHEMA)

    @cached_property
    def flags(self) -> tuple[Flag, ...]:
        """What casts doubt on the figures, see :func:`art_denoise.evaluation.audit.flags`."""
        from art_denoise.evaluation.audit import flags

        return flags(self)

    def summary(self) -> str:
        """Return what there is to be known first, as text: see :func:`art_denoise.evaluation.report.brief`."""
        from art_denoise.evaluation.report import brief

        return brief(self)

    def records(self) -> list[dict[str, Any]]:
        """Return one row for each cell, for tables of one's own: `pandas.DataFrame(results.records())`.

        :return: For each cell `section`, `row`; `attack`, how it is written ("from a file" if it was not crafted),
            `knowledge`, what the attacker knows, and `knows_draws`, whether also what the defence draws at
            random; `defence`, how it is written, and `noise`, how v_def came about;
            `eps`, of 255, and `norm`; `target`, `source`, `seed`; `correct` of `n` images; `accuracy` with its 95 %
            interval, `low` to `high`, and the `published` figure, all in percent; `missing`, why there are no labels.
            What does not apply is None.
        """
        return records(self)

    def write_per_image(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file of one line for each cell and image, a cell at a time.

        Its columns are `image`, its name, and `true_label`; what tells the cell from others, as in :meth:`records`;
        `predicted_label`, and `right`, 1 or 0.

        :raises OSError: If it cannot be written.
        """
        write_pieces(path, per_image(self))


def _values(made: Mapping[str, Any]) -> dict[str, Any]:
    return {name: from_json(made[name]) for name in ("threat", "defence")}


def _load_examples(folder: Path, key: str | None) -> Examples | None:
    if key is None:
        return None
    try:
        return Examples.of(read_artefact(folder / "examples" / f"{key}.safetensors", key))
    except (FileNotFoundError, ValueError, KeyError):
        # Pictures are no figures: a report can do without.
        return None


def _load_shown(folder: Path, entry: Mapping[str, Any]) -> Shown | None:
    cell, defences = from_json(entry["cell"]), tuple(map(from_json, entry["defences"]))
    try:
        artefact = read_artefact(folder / "examples" / f"{entry['key']}.safetensors", entry["key"])
        return Shown.of(artefact, entry["key"], cell, defences, tuple(entry["exact"]))
    except (FileNotFoundError, ValueError, KeyError):
        # As with the examples.
        return None
