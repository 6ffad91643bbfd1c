"""What is evaluated is found from the options, and what does not fit is said before anything takes long."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from folders import NETWORK, write_folder

from art_denoise import Perturbation
from art_denoise.data.folders import imagenet_wnids
from art_denoise.evaluation.experiment import Network
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.setting import Setting, choose_device, find_setting
from art_denoise.evaluation.studies.lee2018 import DEEPFOOL

WNIDS = imagenet_wnids()

#: As many classes as ImageNet has.
LARGE = """
import torch

def net(classes=1000):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, classes, 5, 5), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

def ten():
    return net(10)

def probabilities():
    return torch.nn.Identity()
"""


@pytest.fixture
def folder(tmp_path):
    """A folder of three of ImageNet's classes, and a file of a model."""
    (tmp_path / "mine.py").write_text(LARGE)
    return write_folder(tmp_path / "images", [WNIDS[i] for i in (5, 0, 999)], 4)


def find(options: Options, *, download: bool = True, **machine: object) -> Setting:
    return find_setting(options.filled(), Machine(**machine), DEEPFOOL.attack, download=download)


def options_of(folder, **kwargs) -> Options:
    return Options(**{"data": str(folder), "model": f"{folder.parent / 'mine.py'}:net", "input_size": 20, **kwargs})


def test_a_users_model_and_folder(folder):
    setting = find(options_of(folder))
    assert [column.source.key for column in setting.columns] == ["mine-net"]
    assert setting.columns[0].model is setting.target
    assert setting.networks == (Network("mine-net"),)
    assert not setting.trained
    assert setting.source.classes.rule == "by WordNet id"
    assert (setting.source.framing.resize, setting.source.framing.crop) == (23, 20)
    for purpose in setting.source.counts:
        root, files = setting.source.files(purpose)
        for name, label in zip(files, setting.source.labels(purpose), strict=True):
            assert (root / name).is_file()
            assert WNIDS[label] == name.split("/")[0]


@pytest.mark.parametrize(
    ("model", "texts"),
    [("inception_v1", ["IncV1", "VGG16", "VGG19"]), ("vgg16", ["VGG16", "IncV1", "VGG19"])],
)
def test_the_papers_columns_are_trained_on_the_photographs(model, texts):
    setting = find(Options(model=model))
    assert [column.source.text for column in setting.columns] == texts
    assert [network.text for network in setting.networks] == texts
    assert [column.model is setting.target for column in setting.columns] == [True, False, False]
    assert setting.trained == {"inception_v1", "vgg16", "vgg19"}
    assert setting.source.title == "crops of 19 photographs"


def test_only_networks_with_a_part_are_trained(tmp_path):
    Perturbation(np.full((3, 64, 64), 0.01, dtype=np.float32)).save(tmp_path / "one.safetensors")
    setting = find(Options(model="vgg16", sources=(str(tmp_path / "one.safetensors"),)))
    assert setting.trained == {"vgg16"}
    assert list(setting.models) == ["vgg16"]


def test_a_users_model_on_the_photographs(tmp_path):
    (tmp_path / "mine.py").write_text(NETWORK.replace("Linear(8, 4)", "Linear(8, 19)").replace("near + ", ""))
    setting = find(Options(model=f"{tmp_path / 'mine.py'}:net", sources=(f"{tmp_path / 'mine.py'}:net", "vgg19")))
    assert [column.source.key for column in setting.columns] == ["mine-net", "vgg19"]
    assert setting.trained == {"vgg19"}
    assert setting.target.input_size == 64


def test_columns_of_models_and_files(folder, tmp_path):
    array = np.random.default_rng(0).uniform(-0.03, 0.03, (3, 20, 20)).astype(np.float32)
    Perturbation(array).save(tmp_path / "one.safetensors")
    np.save(tmp_path / "two.npy", 255 * array[::-1].transpose(1, 2, 0))
    sources = ("inception_v1:none", str(tmp_path / "one.safetensors"), f"{tmp_path / 'two.npy'}:order=bgr,units=255")
    setting = find(options_of(folder, sources=sources))
    assert [column.source.key for column in setting.columns] == ["inception_v1-none", "one", "two"]
    # What files stand for is the attack of the table.
    assert [column.source.stands_for for column in setting.columns] == [None, DEEPFOOL.attack, DEEPFOOL.attack]
    assert list(setting.given) == ["one", "two"]
    np.testing.assert_allclose(setting.given["one"].array, array)
    np.testing.assert_allclose(setting.given["two"].array, array, atol=1e-7)
    assert setting.given["two"].provenance["assumed"] == ["layout='HWC'"]
    # The target is a model too, though nothing is crafted on it; the source sees images of the target's size.
    assert list(setting.models) == ["mine-net", "inception_v1-none"]
    assert setting.columns[0].model.input_size == 20


def test_sources_see_images_of_the_targets_size(folder):
    """Inception V3 would take 299 by itself."""
    sources = ("torchvision:inception_v3:none",)
    setting = find(options_of(folder, model="inception_v1:none", sources=sources, input_size=None))
    assert setting.target.input_size == setting.columns[0].model.input_size == setting.source.framing.crop == 224


def test_random_weights_are_random_weights_in_all_columns(folder):
    setting = find(options_of(folder, model="vgg19:none", input_size=None))
    assert [column.source.text for column in setting.columns] == ["vgg19:none", "inception_v1:none", "vgg16:none"]


def test_with_files_alone_nothing_is_crafted(folder, tmp_path):
    Perturbation(np.full((3, 20, 20), 0.01, dtype=np.float32)).save(tmp_path / "one.safetensors")
    sizes = {"tune_images": 0, "noise_images": 0}
    setting = find(options_of(folder, sources=(str(tmp_path / "one.safetensors"),), **sizes))
    assert setting.source.counts == {"test": 12}


def test_models_of_one_name_are_told_apart(folder, tmp_path):
    (tmp_path / "other").mkdir()
    for place in (tmp_path, tmp_path / "other"):
        (place / "mine.py").write_text(LARGE + "\n\ndef other():\n    return net()\n")
    sources = (f"{tmp_path / 'mine.py'}:net", f"{tmp_path / 'mine.py'}:other")
    setting = find(options_of(folder, model=sources[0], sources=sources))
    assert [column.source.text for column in setting.columns] == ["mine-net", "mine-other"]
    assert [(network.text, network.title) for network in setting.networks] == [(n, n) for n in setting.models]
    assert len(setting.models) == 2
    with pytest.raises(ValueError, match="'mine-net' is there twice"):
        find(options_of(folder, model=sources[0], sources=(sources[0], f"{tmp_path / 'other' / 'mine.py'}:net")))
    # The target itself is no column here, and is not to be mistaken for one either.
    with pytest.raises(ValueError, match=r"other names than the target.*'mine-net'"):
        find(options_of(folder, model=sources[0], sources=(f"{tmp_path / 'other' / 'mine.py'}:net",)))


@pytest.mark.parametrize("name", ["imagenette2", "imagenette2-160"])
def test_imagenette_where_torchvision_puts_it(tmp_path, name):
    for part in ("train", "val"):
        write_folder(tmp_path / name / part, ["n01440764", "n03888257"], 4)
    setting = find(Options(data="imagenette", data_dir=str(tmp_path), model="inception_v1:none", craft_images=3))
    source = setting.source
    assert source.name == "Imagenette"
    assert {purpose: source.files(purpose)[0].name for purpose in source.counts} == {
        "craft": "train", "tune": "val", "noise-fit": "val", "test": "val",
    }  # fmt: skip
    assert source.files("craft")[0] == tmp_path / name / "train"
    assert source.counts["craft"] == 3


def test_the_seed_decides_which_images_are_for_what(folder):
    first, again, other = (find(options_of(folder, seed=seed)).source.listing() for seed in (0, 0, 1))
    assert first == again
    assert first["test"]["files"] != other["test"]["files"]


def refused(message: str, options: Options, **machine: object) -> None:
    with pytest.raises(ValueError, match=message):
        find(options, **machine)


def test_images_that_are_not_there(folder, tmp_path):
    refused("there is no such folder|there is no folder .*missing", options_of(folder, data=str(tmp_path / "missing")))
    refused("`data_dir` must be given for data 'imagenet'", options_of(folder, data="imagenet"))
    refused("must hold the folders train and val", options_of(folder, data="imagenet", data_dir=str(tmp_path)))
    refused("there is no folder .*/nowhere", options_of(folder, data="imagenet", data_dir=str(folder / "nowhere")))
    refused("`data_dir` is for data", options_of(folder, data_dir=str(tmp_path)))
    refused("12 images are too few", options_of(folder, test_images=13))
    refused("`craft_images` must be <= 608", Options(craft_images=1000))


def test_models_that_do_not_fit(folder, tmp_path):
    refused("the model returns 10 logits", options_of(folder, model=f"{tmp_path / 'mine.py'}:ten"))
    refused("returns 1000 logits, not `num_classes` = 7", options_of(folder, num_classes=7))
    refused("must return logits", options_of(folder, model=f"{tmp_path / 'mine.py'}:probabilities"))
    refused("on the photographs must be inception_v1, vgg16, vgg19", Options(model="torchvision:resnet18"))
    refused("returns 1000 logits, not `num_classes` = 19", Options(model=f"{tmp_path / 'mine.py'}:net"))


def test_sources_that_do_not_fit(folder, tmp_path):
    place = tmp_path / "p.npy"
    np.save(place, np.full((3, 8, 8), 0.01, dtype=np.float32))
    refused("source 'missing.npy': 'missing.npy': there is no such file", options_of(folder, sources=("missing.npy",)))
    refused(r"is a perturbation \(3, 8, 8\).*add size=20", options_of(folder, sources=(f"{place}",)))
    refused("may stand order=", options_of(folder, sources=(f"{place}:colour=bgr",)))
    refused("`units` must be a number", options_of(folder, sources=(f"{place}:units=many",)))
    find(options_of(folder, sources=(f"{place}:size=20",)))
    twice = (f"{place}:size=20", f"{place}:size=20,order=bgr")
    refused("different names, 'p' is there twice", options_of(folder, sources=twice))
    refused("`sources` must hold at least one", options_of(folder, sources=()))
    refused("`craft_images` must be >= 1", options_of(folder, craft_images=0))
    # Of files alone nothing has to be crafted.
    assert "craft" not in find(options_of(folder, craft_images=0, sources=(f"{place}:size=20",))).source.counts


def test_imagenette_without_a_network(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.Imagenette", offline, raising=False)
    options = Options(data="imagenette", data_dir=str(tmp_path), model="inception_v1:none")
    with pytest.raises(OSError, match=rf"no network.*imagenette2\.tgz in {tmp_path}.*`data_dir`"):
        find(options)
    with pytest.raises(ValueError, match=rf"Imagenette is not in {tmp_path}"):
        find(options, download=False)


def test_models_and_files_are_called_as_is_said(folder):
    """By whatever they are named; keys of models stay, and with them what is kept."""
    mine, uap = folder.parent / "mine.py", folder.parent / "uap.npy"
    np.save(uap, np.zeros((3, 20, 20), np.float32) + 0.01)
    model = f"{mine}:net:title=My net"
    setting = find(options_of(folder, model=model, sources=(model, f"{uap}:units=1,title=Theirs", f"{uap}:units=1")))
    assert (setting.target.name, setting.target.text, setting.target.title) == ("mine-net", "My net", "My net")
    assert [c.source.text for c in setting.columns] == ["My net", "Theirs", "uap"]
    assert [c.source.key for c in setting.columns] == ["mine-net", "Theirs", "uap"]
    assert setting.columns[0].model is setting.target
    # A key is the name of a file, and is told from others where a title has no letter that such names have.
    (column,) = find(options_of(folder, model=model, sources=(f"{uap}:units=1,title=δ′",))).columns
    assert (column.source.key, column.source.text) == ("uap", "δ′")
    with pytest.raises(ValueError, match="write the same model the same way everywhere, its title included"):
        find(Options(model="vgg16:title=Small", sources=("vgg16",)))
    trained = find(Options(model="vgg16:title=Small", sources=("vgg16:title=Small", "vgg19")))
    assert [column.source.text for column in trained.columns] == ["Small", "VGG19"]
    assert trained.trained == {"vgg16", "vgg19"}
    assert [c.source.key for c in find(Options(model="vgg16:title=Small")).columns] == [
        "vgg16",
        "inception_v1",
        "vgg19",
    ]


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
