"""Results that nobody computed: each cell has its own number of right labels, so that none can pass for another."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from art_denoise.evaluation.experiment import (
    NOTHING,
    Attack,
    Cell,
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
from art_denoise.evaluation.results import Examples, Images, Made, Panel, Results
from art_denoise.evaluation.shown import Shown
from art_denoise.evaluation.store import Artefact, Store

N = 200

UAP = Threat(Attack("deepfool-uap", params(max_iter=3), "δ", r"\delta"))
SIGNS = Threat(Attack("random-signs", text="random signs", kind="control"))
#: It has no LaTeX form.
JPEG = Defence((Preprocessor("art:JpegCompression", params(quality=75), "D_jpeg"),))
ROF = Defence((Preprocessor("rof", params(weight=10 / 255), "D_ROF", r"D_{\mathrm{ROF}}"),))
AWARE = replace(UAP, knowledge=Knowledge.EXACT)
BPDA = replace(UAP, knowledge=Knowledge.BPDA)

TARGET = Network("inception_v1", "IncV1", "Inception V1")
OTHER = Network("vgg16", "VGG16", "VGG-16")
SOURCES = (Source(TARGET.key, TARGET.text), Source(OTHER.key, OTHER.text))

CLEAN, ATTACKED = Condition(), Condition(UAP)


def experiment(**changes: object) -> Experiment:
    """Return a small experiment with a table of each kind."""
    whole = Experiment(
        title="Table 1",
        target=TARGET,
        sources=SOURCES,
        sections=(
            Section("As it is", (CLEAN, ATTACKED, Condition(UAP, JPEG), Condition(UAP, ROF.with_noise("fitted")))),
            Section("More", (Condition(AWARE, ROF), Condition(BPDA, ROF), Condition(None, JPEG), Condition(SIGNS))),
        ),
        comparisons=(
            Comparison(ATTACKED, CLEAN, "the attack"),
            Comparison(Condition(None, JPEG), CLEAN, "D_jpeg on clean images"),
            Comparison(Condition(UAP, JPEG), ATTACKED, "D_jpeg against δ"),
            Comparison(Condition(AWARE, ROF), Condition(UAP, ROF.with_noise("fitted")), "the attacker knows D_ROF"),
        ),
        transfers=(Transfer(UAP, SIGNS, "δ"),),
        sweeps=(Sweep("D_jpeg", "quality", ((0, NOTHING), (50, JPEG)), (None, UAP, SIGNS)),),
        networks=(TARGET, OTHER),
        published=(Published(CLEAN, TARGET.key, None, 69.4), Published(ATTACKED, TARGET.key, "vgg16", 28.7)),
        published_by="Somebody (1999)",
    )
    return replace(whole, **changes)


def truth() -> np.ndarray:
    """Return true labels, int64 (N,)."""
    return np.arange(N, dtype=np.int64) % 7


def labels_with(right: int, first: int = 0) -> np.ndarray:
    """Return labels of which so many are right, one after the other from the first on; the others are off by one."""
    found = (truth() + 1) % 7
    which = (first + np.arange(right)) % N
    found[which] = truth()[which]
    return found


def counts(asked: Experiment) -> dict[Cell, int]:
    """Return how many labels of each cell are right: another number for each."""
    cells = asked.cells()
    assert len(cells) < N
    return {cell: 20 + i for i, cell in enumerate(cells)}


def made(asked: Experiment) -> tuple[Made, ...]:
    """Return what could have been made for it."""
    record = {
        "attack": "DeepFoolUAP",
        "linf": 10 / 255,
        "fooling_rates": {"crafting images": 0.625},
        "provenance": {"images": 80, "passes": 2.75},
    }
    estimate = {"accepted": 57, "drawn": 2000, "sigma": 8 / 255, "eps": 2 / 255}
    # A defensive noise has no bound; its `eps` is its root mean square.
    fitted = {"eps": None, "linf": 5.3 / 255, "provenance": estimate}
    return (
        *(
            Made("perturbation", f"delta-{s.key}-{seed}", UAP, NOTHING, s.key, seed, record)
            for s in asked.sources
            for seed in asked.seeds
        ),
        Made("perturbation", "aware", AWARE, ROF, OTHER.key, asked.seeds[0], record),
        Made("noise", "v_def", None, ROF.with_noise("fitted"), None, 0, fitted),
        Made("noise", "none", None, JPEG.with_noise("fitted"), None, 0, {"absent": "no draw helped"}),
    )


def results(
    asked: Experiment | None = None, labels: dict[Cell, np.ndarray] | None = None, **changes: object
) -> Results:
    """Return results of an experiment.

    :param asked: The experiment.
    :param labels: Labels by cell; by default with as many right ones as `counts` says.
    """
    asked = asked or experiment()
    if labels is None:
        labels = {cell: labels_with(right) for cell, right in counts(asked).items()}
    pictures = np.arange(2 * 3 * 8 * 8, dtype=np.uint8).reshape(2, 3, 8, 8)
    panels = tuple(
        Panel(title, pictures + i, truth()[:2] + i) for i, title in enumerate(("v0", "v0 + δ", "D_jpeg(v0 + δ)"))
    )
    whole = Results(
        experiment=asked,
        images=Images(
            title="crops of 7 photographs",
            noun="crop",
            names=tuple(f"crops/{i}.png" for i in range(N)),
            labels=truth(),
            classes={i: f"class {i}" for i in range(6)},
            counts={"craft": 80, "test": N},
        ),
        labels=labels,
        made=made(asked),
        checks={"Inception V1": {"accuracy": 66.9, "n": 300, "published": 69.8, "differing": 0}},
        config={"options": {"noise_accept": "flip", "noise_through": "defences", "noise_draws": 12}},
        examples=Examples(panels, 255 - pictures, truth()[:2], worked=True),
    )
    return replace(whole, **changes)


#: What is shown with several strengths, and which of these are in the tables.
STRENGTHS = (
    *(Defence((ROF.preprocessors[0].with_params(weight=weight / 255),)) for weight in (5, 10, 20)),
    JPEG,
)
EXACT = (1, 3)


def shown_images(source: str = TARGET.key, *, worked: bool = True, sure: bool = True, count: int = 2) -> Shown:
    """Return a few images behind defences, of which each predicted label and each confidence is another.

    :param source: What the attack was crafted on.
    :param worked: Whether the attack made wrong labels of right ones.
    :param sure: Whether the network says how sure it is.
    :param count: Number of images.
    """
    rng = np.random.default_rng(len(source))
    shape, pictures = (1 + len(STRENGTHS), 2, count), (3, 12, 10)
    predicted = (truth()[:count] + np.arange(np.prod(shape[:2])).reshape(*shape[:2], 1)) % 7
    return Shown(
        key=hashlib.sha256(source.encode()).hexdigest()[:16],
        cell=Cell(ATTACKED, TARGET.key, source),
        defences=STRENGTHS,
        exact=EXACT,
        numbers=np.arange(count, dtype=np.int64),
        labels=truth()[:count],
        worked=np.full(count, worked),
        images=rng.integers(0, 256, (*shape, *pictures), dtype=np.uint8),
        predicted=predicted.astype(np.int64),
        confidence=np.linspace(0.2, 0.9, np.prod(shape)).reshape(shape).astype(np.float32) if sure else None,
        added=rng.uniform(-10 / 255, 10 / 255, (count, *pictures)).astype(np.float32),
        changes=rng.normal(0, 0.02, (len(EXACT), 2, count, *pictures)).astype(np.float32),
    )


@dataclass(frozen=True)
class Task:
    """As much of a task as a store has to know."""

    key: str
    folder: str = "labels"


def saved(found: Results, folder: Path) -> dict[Cell, str]:
    """Save results as a run does, and return the keys of the labels."""
    store, keys = Store(folder), {}
    for cell, labels in found.labels.items():
        keys[cell] = hashlib.sha256(repr(cell).encode()).hexdigest()[:16]
        store.write(
            Task(keys[cell]),
            Artefact({}, {"labels": labels, **({"drawn": found.drawn[cell]} if cell in found.drawn else {})}),
        )
    examples_key = None
    if found.examples is not None:
        examples_key = "0123456789abcdef"
        arrays = {"labels": found.examples.labels, "magnified": found.examples.magnified}
        for i, panel in enumerate(found.examples.panels):
            arrays |= {f"images {i}": panel.images, f"labels {i}": panel.labels}
        record = {"titles": [p.title for p in found.examples.panels], "worked": found.examples.worked}
        store.write(Task(examples_key, "examples"), Artefact(record, arrays))
    for shown in found.shown:
        names = ("numbers", "labels", "images", "predicted", "confidence", "added", "changes")
        arrays = {name: value for name in names if (value := getattr(shown, name)) is not None}
        store.write(Task(shown.key, "examples"), Artefact({}, {**arrays, "worked": shown.worked.astype(np.uint8)}))
    found.save(folder, keys, examples_key)
    return keys
