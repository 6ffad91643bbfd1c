"""The whole table on folders in the shape of ImageNet and of Imagenette, by torchvision's full networks at 224."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import times, write_folder
from torchvision import models

from art_denoise._documents import read_document
from art_denoise.data.folders import imagenet_wnids
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.plan import plan
from art_denoise.evaluation.results import Results
from art_denoise.evaluation.run import run
from art_denoise.evaluation.run_folder import SCHEMA
from art_denoise.evaluation.store import read_artefact
from art_denoise.models.weights import published_file

pytestmark = pytest.mark.long

WNIDS = imagenet_wnids()

#: Imagenette's ten classes.
IMAGENETTE = [WNIDS[i] for i in (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)]

#: Every step, on as few images as there can be.
TINY = {
    "craft_images": 2,
    "tune_images": 1,
    "noise_images": 2,
    "test_images": 2,
    "craft_passes": 1,
    # Steps that are twice as long get across a boundary soon.
    "craft_steps": 6,
    "craft_overshoot": 1.0,
    "sgd_passes": 1,
    "noise_sigmas": (16 / 255,),
    "noise_eps": (2 / 255,),
    "noise_draws": 1,
    "noise_accept": "loss",
}


def quiet(tmp_path: Path, **changes: object) -> Machine:
    return Machine(**{"device": "cpu", "progress": False, "decoded_dir": tmp_path / "decoded", **changes})


@pytest.mark.large
def test_the_whole_table(tmp_path):
    """Random weights, so that no figure means anything; every task runs at its real size."""
    classes = [WNIDS[i] for i in (0, 217, 482, 999)]
    for part in ("train", "val"):
        write_folder(tmp_path / "imagenet" / part, classes, 3, size=230, seed=len(part))
    columns = ["inception_v1:none", "vgg16:none"]
    options = Options(data="imagenet", data_dir=str(tmp_path / "imagenet"), model=columns[0], sources=columns, **TINY)
    results = run(tmp_path / "run", options, quiet(tmp_path))
    assert not results.failures
    assert set(results.labels) == set(results.experiment.cells())
    assert [source.key for source in results.experiment.sources] == ["inception_v1-none", "vgg16-none"]
    assert len(results.experiment.conditions) == 25
    assert {results.images.classes[label] for label in results.images.labels.tolist()} <= {
        results.images.classes[WNIDS.index(w)] for w in classes
    }
    # Each network has perturbations of its own.
    arrays = [
        read_artefact(tmp_path / "run" / "perturbations" / f"{made.key}.safetensors").arrays["perturbation"]
        for made in results.made
        if made.what == "perturbation"
    ]
    assert len({array.tobytes() for array in arrays}) == len(arrays) == 8
    assert all(array.shape == (3, 224, 224) for array in arrays)
    assert results.images.facts["classes"] == "by WordNet id"
    assert results.images.facts["framing"]["crop"] == 224
    before = times(tmp_path / "run")
    run(tmp_path / "run", options, quiet(tmp_path))
    assert times(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("data", "inside", "classes"),
    [("imagenet", ".", [WNIDS[i] for i in (0, 217, 482, 999)]), ("imagenette", "imagenette2-160", IMAGENETTE)],
)
def test_crafted_on_train_and_scored_on_val(tmp_path, data, inside, classes):
    for part in ("train", "val"):
        write_folder(tmp_path / data / inside / part, classes, 3, size=230, seed=len(part))
    few = {**TINY, "noise_images": 0, "attacks": ("random-signs",), "sources": ("inception_v1:none",)}
    options = Options(data=data, data_dir=str(tmp_path / data), model="inception_v1:none", **few)
    results = run(tmp_path / "run", options, quiet(tmp_path))
    assert not results.failures
    assert {results.images.classes[label] for label in results.images.labels.tolist()} <= {
        results.images.classes[WNIDS.index(w)] for w in classes
    }
    splits = read_document(tmp_path / "run" / "splits.json", SCHEMA)
    assert {purpose: Path(split["root"]).name for purpose, split in splits.items()} == {
        "craft": "train", "tune": "val", "test": "val",
    }  # fmt: skip


@pytest.fixture
def imagenet(tmp_path) -> Path:
    for part in ("train", "val"):
        write_folder(tmp_path / "data" / part, [WNIDS[i] for i in (0, 217)], 15, size=225, seed=len(part))
    return tmp_path / "data"


def test_published_weights_are_checked_against_what_is_published(tmp_path, imagenet):
    """The pre-flight check on ImageNet: weights that are not the published ones are not as good."""
    torch.manual_seed(0)
    network = models.googlenet(weights=None, aux_logits=True, init_weights=False)
    file = published_file(models.GoogLeNet_Weights.DEFAULT.url, tmp_path / "weights")
    file.parent.mkdir()
    torch.save(network.state_dict(), file)
    options = Options(data="imagenet", data_dir=str(imagenet), sources=("inception_v1",), **{**TINY, "tune_images": 20})
    with pytest.raises(ValueError, match=r"'inception_v1' classifies 0\.0 % of 20 .*69\.778 % is published"):
        run(tmp_path / "run", options, quiet(tmp_path, weights_dir=file.parent, batch_size=10))
    assert not (tmp_path / "run" / "perturbations").exists()


def test_a_plan_says_what_will_be_downloaded(tmp_path, imagenet):
    options = Options(data="imagenet", data_dir=str(imagenet), sources=("inception_v1",), **TINY)
    text = plan(tmp_path / "run", options, quiet(tmp_path, weights_dir=tmp_path / "weights"))
    assert re.search(r"Weights of Inception V1: .*weights/googlenet-1378be20\.pth, to be downloaded", text)
    assert "Images for test: 2 of 30" in text
    assert "centre crop 224; 2 classes, by WordNet id." in text
    assert re.search(r"^Check the networks +1 to do", text, flags=re.MULTILINE)
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def right(results: Results, source: str) -> dict[str, int]:
    """Return how many images are classified right by row, in a column or where columns have no part."""
    return {
        cell.condition.text: int(np.sum(labels == results.images.labels))
        for cell, labels in results.labels.items()
        if cell.source in (None, source)
    }


@pytest.mark.large
def test_the_real_images_give_the_reference_figures(realdata: Path, tmp_path):
    """A stranger's model, images and perturbations: the nine figures of an implementation that shares no code."""
    options = Options(
        data=str(realdata / "imagenet200"),
        model=f"{realdata / 'squeezenet_classifier.py'}:build_model",
        sources=(str(realdata / "uap_lts4_googlenet.mat"),),
        craft_images=0,
        tune_images=0,
        noise_images=0,
    )
    results = run(tmp_path / "run", options, quiet(tmp_path))
    reference = {
        "v0": 64.0,
        "D_ROF(v0)": 48.5,
        "D_nlm(v0)": 48.0,
        "v0 + random signs": 47.5,
        "D_ROF(v0 + random signs)": 49.5,
        "D_nlm(v0 + random signs)": 52.0,
        "v0 + δ": 32.0,
        "D_ROF(v0 + δ)": 42.0,
        "D_nlm(v0 + δ)": 45.0,
    }
    assert len(results.images) == 200
    found = right(results, "uap_lts4_googlenet")
    assert set(found) == set(reference)
    for row, accuracy in reference.items():
        assert abs(found[row] - 2 * accuracy) <= 1, row
    # The same by names, in a folder that goes on.
    named = replace(options, defences=("rof", "nlm"), rows="paper")
    again = run(tmp_path / "run", named, quiet(tmp_path), change=True)
    assert right(again, "uap_lts4_googlenet").items() <= found.items()
