"""What is evaluated is found from the options, and what does not fit is said before anything takes long."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from folders import write_folder

from art_denoise import Perturbation
from art_denoise.data.folders import imagenet_wnids
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.setting import choose_device, find_setting

WNIDS = imagenet_wnids()

NETWORK = """
import torch

def net(classes=1000):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, classes, 5, 5), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

def ten():
    return net(10)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder of three of ImageNet's classes, and a file of a model."""
    (tmp_path / "mine.py").write_text(NETWORK)
    return write_folder(tmp_path / "images", [WNIDS[i] for i in (5, 0, 999)], 4)


def options_of(folder, **kwargs) -> Options:
    given = {"model": f"{folder.parent / 'mine.py'}:net", "input_size": 20, **kwargs}
    return Options.for_data(kwargs.pop("data", str(folder)), **{k: v for k, v in given.items() if k != "data"})


def test_a_users_model_and_folder(folder):
    setting = find_setting(options_of(folder), Machine())
    assert [(c.key, c.white_box) for c in setting.columns] == [("mine-net", True)]
    assert setting.files.classes.rule == "by WordNet id"
    labels = np.concatenate([setting.files.labels(p) for p in setting.files.drawn])
    assert set(labels.tolist()) <= {0, 5, 999}
    assert (setting.files.framing.resize, setting.files.framing.crop) == (23, 20)
    for purpose in setting.files.drawn:
        root, files = setting.files.files(purpose)
        for name, label in zip(files, setting.files.labels(purpose), strict=True):
            assert (root / name).is_file()
            assert WNIDS[label] == name.split("/")[0]


def test_the_papers_columns():
    options = Options()
    assert [c.text for c in find_setting(options, Machine()).columns] == ["IncV1", "VGG16", "VGG19"]
    other = Options(model="vgg16")
    columns = find_setting(other, Machine()).columns
    assert [(c.text, c.white_box) for c in columns] == [("VGG16", True), ("IncV1", False), ("VGG19", False)]


def test_columns_of_models_and_files(folder, tmp_path):
    array = np.random.default_rng(0).uniform(-0.03, 0.03, (3, 20, 20)).astype(np.float32)
    Perturbation(array).save(tmp_path / "one.safetensors")
    np.save(tmp_path / "two.npy", 255 * array[::-1].transpose(1, 2, 0))
    sources = ("inception_v1:none", str(tmp_path / "one.safetensors"), f"{tmp_path / 'two.npy'}:order=bgr,units=255")
    setting = find_setting(options_of(folder, sources=sources), Machine())
    assert [c.key for c in setting.columns] == ["inception_v1-none", "one", "two"]
    assert not any(c.white_box for c in setting.columns)
    np.testing.assert_allclose(setting.columns[1].given.array, array)
    np.testing.assert_allclose(setting.columns[2].given.array, array, atol=1e-7)
    assert setting.columns[2].given.provenance["assumed"] == ["layout='HWC'"]
    # The target is a model too, though nothing is crafted on it; the source sees images of the target's size.
    assert list(setting.models) == ["mine-net", "inception_v1-none"]
    assert setting.columns[0].model.input_size == 20


def test_sources_see_images_of_the_targets_size(folder):
    """Inception V3 would take 299 by itself."""
    sources = ("torchvision:inception_v3:none",)
    options = options_of(folder, model="inception_v1:none", sources=sources, input_size=None)
    setting = find_setting(options, Machine())
    assert setting.target.input_size == setting.columns[0].model.input_size == setting.files.framing.crop == 224


def test_with_files_alone_nothing_is_crafted(folder, tmp_path):
    Perturbation(np.full((3, 20, 20), 0.01, dtype=np.float32)).save(tmp_path / "one.safetensors")
    sizes = {"tune_images": 0, "noise_images": 0}
    setting = find_setting(options_of(folder, sources=(str(tmp_path / "one.safetensors"),), **sizes), Machine())
    assert list(setting.files.drawn) == ["test"]
    assert len(setting.files.files("test")[1]) == 12


@pytest.mark.parametrize("name", ["imagenette2", "imagenette2-160"])
def test_imagenette_where_torchvision_puts_it(tmp_path, name):
    for part in ("train", "val"):
        write_folder(tmp_path / name / part, ["n01440764", "n03888257"], 4)
    options = Options.for_data("imagenette", data_dir=str(tmp_path), model="inception_v1:none", craft_images=3)
    setting = find_setting(options, Machine())
    assert setting.files.name == "Imagenette"
    assert setting.files.files("craft")[0] == tmp_path / name / "train"
    assert {p: setting.files.files(p)[0] for p in ("tune", "noise-fit", "test")} == dict.fromkeys(
        ("tune", "noise-fit", "test"), tmp_path / name / "val"
    )
    assert len(setting.files.files("craft")[1]) == 3


def test_what_is_not_there(folder, tmp_path, monkeypatch):
    def refused(message: str, options: Options, error: type[Exception] = ValueError, **machine) -> None:
        with pytest.raises(error, match=message):
            find_setting(options, Machine(**machine))

    refused("there is no such folder", options_of(folder, data=str(tmp_path / "missing")))
    refused("`data_dir` must be given for data 'imagenet'", options_of(folder, data="imagenet"))
    refused(r"must hold the folders train and val", options_of(folder, data="imagenet", data_dir=str(tmp_path)))
    refused("there is no folder .*/nowhere", options_of(folder, data="imagenet", data_dir=str(folder / "nowhere")))
    refused("`data_dir` is for data", options_of(folder, data_dir=str(tmp_path)))
    refused("12 images are too few", options_of(folder, test_images=13))
    refused("the model returns 10 logits", options_of(folder, model=f"{tmp_path / 'mine.py'}:ten"))
    refused("returns 1000 logits, not `num_classes` = 7", options_of(folder, num_classes=7))
    refused("source 'missing.npy': 'missing.npy': there is no such file", options_of(folder, sources=("missing.npy",)))
    refused("`craft_images` must be >= 1", options_of(folder, craft_images=0))
    np.save(tmp_path / "p.npy", np.full((3, 8, 8), 0.01, dtype=np.float32))
    refused(r"is a perturbation \(3, 8, 8\).*add size=20", options_of(folder, sources=(f"{tmp_path / 'p.npy'}",)))
    refused("may stand order=", options_of(folder, sources=(f"{tmp_path / 'p.npy'}:colour=bgr",)))
    refused("`units` must be a number", options_of(folder, sources=(f"{tmp_path / 'p.npy'}:units=many",)))
    find_setting(options_of(folder, sources=(f"{tmp_path / 'p.npy'}:size=20",)), Machine())
    twice = (f"{tmp_path / 'p.npy'}:size=20", f"{tmp_path / 'p.npy'}:size=20,order=bgr")
    refused("different names, 'p' is there twice", options_of(folder, sources=twice))
    refused("`craft_images` must be <= 608", Options(craft_images=1000))
    refused("on the photographs must be", Options(model="torchvision:resnet18"))


def test_imagenette_without_a_network(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.Imagenette", offline, raising=False)
    options = Options.for_data("imagenette", data_dir=str(tmp_path), model="inception_v1:none")
    with pytest.raises(OSError, match=rf"no network.*imagenette2\.tgz in {tmp_path}.*`data_dir`"):
        find_setting(options, Machine())
    with pytest.raises(ValueError, match=rf"Imagenette is not in {tmp_path}"):
        find_setting(options, Machine(), download=False)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"test_images": 5}, "`test_images` is for folders of images"),
        ({"skip_broken": True}, "`skip_broken` is for folders"),
        ({"craft_images": 0}, "`craft_images` must be >= 1"),
        ({"rows": "some"}, "`rows` must be 'all' or 'paper'"),
        ({"sgd_passes": 0}, "`sgd_passes` must be >= 1"),
        ({"noise_images": -1, "data": "x"}, "`noise_images` must be >= 0"),
    ],
)
def test_bad_options(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Options.for_data(kwargs.pop("data", "photographs"), **kwargs)


def test_devices():
    assert choose_device("cpu") == "cpu"
    with pytest.raises(ValueError, match="`device` must be auto, cpu, cuda or cuda:0"):
        choose_device("tpu")
    if torch.cuda.is_available():
        assert choose_device("auto") == choose_device("cuda:0") == "gpu"
        with pytest.raises(ValueError, match="there are only"):
            choose_device("cuda:99")
    else:
        assert choose_device("auto") == "cpu"
        for device in ("cuda", "cuda:0"):
            with pytest.raises(ValueError, match="finds no CUDA device here: use cpu"):
                choose_device(device)
