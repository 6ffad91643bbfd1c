"""The three classifiers: torchvision's networks, standardised once, with weights from files that fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from art_denoise import ROFDefence, inception_v1, vgg16, vgg19
from art_denoise.models import RECIPES, build_network

#: Small enough for every test; the full networks are built once each.
SMALL = {"weights": None, "num_classes": 5, "input_size": 64, "device_type": "cpu"}
THIN = {**SMALL, "width": 0.25, "batch_norm": True}


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).random((2, 3, 64, 64)).astype(np.float32)


@pytest.mark.parametrize(
    ("build", "kwargs"), [(inception_v1, SMALL), (vgg16, THIN), (vgg19, THIN), (vgg16, {**SMALL, "input_size": 32})]
)
def test_logits_of_images(build, kwargs):
    classifier = build(**kwargs)
    size = kwargs["input_size"]
    logits = classifier.predict(np.random.default_rng(0).random((2, 3, size, size)).astype(np.float32))
    assert logits.shape == (2, 5)
    assert tuple(classifier.clip_values) == (0, 1)
    assert classifier.input_shape == (3, size, size)
    assert not np.allclose(logits.sum(1), 1)  # no probabilities


def test_standardised_once(x):
    classifier = inception_v1(**SMALL)
    with torch.no_grad():
        expected = classifier.model(torch.from_numpy((x - 0.5) / 0.5)).numpy()
    np.testing.assert_allclose(classifier.predict(x), expected, atol=1e-4)


def test_inception_standardisation_is_torchvisions():
    """torchvision's published weights are used with `transform_input` on ImageNet-standardised images."""
    torch.manual_seed(0)
    theirs = models.googlenet(
        weights=None, num_classes=5, aux_logits=False, init_weights=False, transform_input=True
    ).eval()
    ours = build_network("inception_v1", num_classes=5)
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    recipe = RECIPES["inception_v1"]
    m, s = (torch.tensor(v).view(1, 3, 1, 1) for v in (recipe.mean, recipe.std))
    with torch.no_grad():
        torch.testing.assert_close(ours((x - m) / s), theirs((x - mean) / std), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("architecture", "convolutions"), [("vgg16", 13), ("vgg19", 16)])
def test_thin_vgg_has_every_layer(architecture, convolutions):
    network = build_network(architecture, num_classes=5, width=0.25, batch_norm=True)
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(layers) == convolutions
    assert [layer.out_channels for layer in layers][:2] == [16, 16]
    assert layers[-1].out_channels == 128


def test_full_vgg_is_torchvisions():
    with torch.device("meta"):  # shapes without the numbers
        ours, theirs = build_network("vgg16", num_classes=5), models.vgg16(weights=None, num_classes=5)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_from_a_file(tmp_path, suffix, x):
    torch.manual_seed(1)
    state = build_network("vgg16", num_classes=5, width=0.25, batch_norm=True).state_dict()
    file = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(state, file)
    else:
        save_file({k: v.contiguous() for k, v in state.items()}, file)
    loaded = vgg16(**{**THIN, "weights": file})
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value.cpu(), state[name])
    assert loaded.predict(x).shape == (2, 5)


def test_auxiliary_heads_in_a_file_are_left_out(tmp_path):
    theirs = models.googlenet(weights=None, num_classes=5, aux_logits=True, init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "googlenet.pth")
    ours = inception_v1(**{**SMALL, "weights": tmp_path / "googlenet.pth"})
    assert torch.equal(ours.model.conv1.conv.weight.cpu(), theirs.conv1.conv.weight)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: {"state_dict": state, "epoch": 9},
        lambda state: {"model": state},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"model._orig_mod.{name}": value for name, value in state.items()}},
    ],
)
def test_what_trainers_save_is_taken_apart(tmp_path, wrapped):
    state = build_network("vgg16", num_classes=5, width=0.25, batch_norm=True).state_dict()
    torch.save(wrapped(state), tmp_path / "checkpoint.pth")
    loaded = vgg16(**{**THIN, "weights": tmp_path / "checkpoint.pth"})
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value.cpu(), state[name])


def test_names_of_another_network_are_shown(tmp_path):
    torch.save({f"net.{i}.weight": torch.zeros(2) for i in range(5)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"net\.0\.weight, net\.1\.weight, net\.2\.weight and 2 more, and features\."):
        vgg16(**{**THIN, "weights": tmp_path / "other.pth"})


def test_weights_that_do_not_fit(tmp_path):
    file = tmp_path / "other.pt"
    torch.save(build_network("vgg19", num_classes=5, width=0.25, batch_norm=True).state_dict(), file)
    with pytest.raises(ValueError, match=r"other\.pt.*does not fit this network"):
        vgg16(**{**THIN, "weights": file})
    (tmp_path / "torn.safetensors").write_bytes(b"\x10")
    (tmp_path / "torn.pt").write_bytes(b"PK torn")
    for name in ("torn.safetensors", "torn.pt"):
        with pytest.raises(ValueError, match=f"{name}.*does not fit"):
            vgg16(**{**THIN, "weights": tmp_path / name})
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        vgg16(**{**THIN, "weights": tmp_path / "missing.pt"})


def test_code_in_a_weights_file_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"x": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ValueError, match=r"trap\.pt"):
        vgg16(**{**THIN, "weights": tmp_path / "trap.pt"})
    assert not (tmp_path / "sprung").exists()


def test_published_weights_are_loaded_by_torchvision(tmp_path, monkeypatch):
    """A file in torch's cache is taken as torchvision takes it, and told of if it is not the one that was published."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    theirs = models.googlenet(weights=None, aux_logits=True, init_weights=False)
    weights = models.GoogLeNet_Weights.IMAGENET1K_V1
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(theirs.state_dict(), checkpoints / weights.url.rsplit("/", 1)[-1])
    with pytest.warns(RuntimeWarning, match="is not the file that was published"):
        classifier = inception_v1(device_type="cpu")
    assert classifier.nb_classes == 1000
    assert torch.equal(classifier.model.conv1.conv.weight.cpu(), theirs.conv1.conv.weight)
    assert not classifier.model.transform_input


def test_without_a_network_the_message_says_which_file_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(OSError, match=r"vgg16-397923af\.pth from https.* into .*checkpoints"):
        vgg16(device_type="cpu")


def test_defences_are_passed_on(x):
    one = inception_v1(**SMALL, preprocessing_defences=ROFDefence(device_type="cpu"))
    many = inception_v1(**SMALL, preprocessing_defences=(ROFDefence(device_type="cpu"),))
    many.model.load_state_dict(one.model.state_dict())
    np.testing.assert_allclose(one.predict(x), many.predict(x), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vgg16(weights=None, num_classes=0), "`num_classes` must be >= 2"),
        (lambda: vgg16(weights=None, num_classes=5, input_size=8), "`input_size` must be >= 32"),
        (lambda: build_network("resnet"), "`architecture` must be one of inception_v1"),
        (lambda: build_network("vgg16", width=0), "`width`"),
        (lambda: build_network("inception_v1", batch_norm=True), "options of the VGG networks"),
        (lambda: vgg16(weights="imagenet", width=0.5), "'imagenet' is for the full network"),
        (lambda: vgg16(weights="imagenet", num_classes=10), "'imagenet' is for the full network"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
