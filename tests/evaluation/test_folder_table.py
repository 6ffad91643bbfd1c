"""The whole table on folders in the shape of ImageNet and of Imagenette, by torchvision's full networks at 224."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import write_folder
from torchvision import models

from art_denoise.models.weights import published_file
from art_denoise.data.folders import imagenet_wnids
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.report import table, write_report
from art_denoise.evaluation.setting import find_setting
from art_denoise.evaluation.table1 import run_table1

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


@pytest.mark.long
@pytest.mark.large
@pytest.mark.parametrize(
    ("data", "inside", "classes"),
    [("imagenet", ".", [WNIDS[i] for i in (0, 217, 482, 999)]), ("imagenette", "imagenette2-160", IMAGENETTE)],
)
def test_the_whole_table(tmp_path, data, inside, classes):
    """Random weights, so that no figure means anything; every task runs at its real size."""
    for part in ("train", "val"):
        write_folder(tmp_path / data / inside / part, classes, 3, size=230, seed=len(part))
    options = Options.for_data(data, data_dir=str(tmp_path / data), model="inception_v1:none", **TINY)
    machine = Machine(device="cpu", progress=False, decoded_dir=tmp_path / "decoded")
    result = run_table1(tmp_path / "run", options, machine)
    columns = ["inception_v1:none", "vgg16:none", "vgg19:none"]
    assert [column.text for column in result.columns] == columns
    assert [column.white_box for column in result.columns] == [True, False, False]
    assert result.images.test.images.shape == (2, 3, 224, 224)
    assert {result.images.names[label] for label in result.labels} <= {
        result.images.names[WNIDS.index(w)] for w in classes
    }
    assert len(table(result)) == 3 * len(result.rows) == 3 * 20
    assert all(np.abs(delta.array).max() > 0 for deltas in result.perturbations.values() for delta in deltas.values())
    assert result.transfer["sgd"].targets == [name.replace(":", "-") for name in columns]
    text = write_report(result, tmp_path / "run")
    assert "random weights; the figures mean nothing" in text
    assert "classes by WordNet id" in text
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["images"]["crop"] == 224
    # Crafted on train, scored on val.
    setting = find_setting(options, machine)
    assert setting.files.files("craft")[0].name == "train"
    assert setting.files.files("test")[0].name == "val"


def test_published_weights_are_checked_against_what_is_published(tmp_path):
    """The pre-flight check on ImageNet: weights that are not the published ones are not as good."""
    for part in ("train", "val"):
        write_folder(tmp_path / "data" / part, [WNIDS[i] for i in (0, 217)], 15, size=225, seed=len(part))
    torch.manual_seed(0)
    network = models.googlenet(weights=None, aux_logits=True, init_weights=False)
    file = published_file(models.GoogLeNet_Weights.DEFAULT.url, tmp_path / "weights")
    file.parent.mkdir()
    torch.save(network.state_dict(), file)
    options = Options.for_data("imagenet", data_dir=str(tmp_path / "data"), sources=("inception_v1",), **TINY)
    machine = Machine("cpu", progress=False, weights_dir=file.parent, decoded_dir=tmp_path / "decoded", batch_size=10)
    options = Options(**{**vars(options), "tune_images": 20})
    with pytest.raises(ValueError, match=r"'inception_v1' classifies 0\.0 % of 20 .*69\.778 % is published"):
        run_table1(tmp_path / "run", options, machine)
    assert not (tmp_path / "run" / "perturbations").exists()


@pytest.mark.long
@pytest.mark.large
def test_the_real_images_give_the_reference_figures(realdata: Path, tmp_path):
    """A stranger's model, images and perturbations: the nine figures of an implementation that shares no code."""
    options = Options.for_data(
        str(realdata / "imagenet200"),
        model=f"{realdata / 'squeezenet_classifier.py'}:build_model",
        sources=(str(realdata / "uap_lts4_googlenet.mat"),),
        craft_images=0,
        tune_images=0,
        noise_images=0,
    )
    machine = Machine(device="cpu", progress=False, decoded_dir=tmp_path / "decoded")
    result = run_table1(tmp_path / "run", options, machine)
    right = {cell["row"]: cell["correct"] for cell in table(result) if cell["column"] == "uap_lts4_googlenet"}
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
    assert len(result.labels) == 200
    for row, accuracy in reference.items():
        assert abs(right[row] - 2 * accuracy) <= 1, row
