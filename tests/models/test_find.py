"""Models by name: torchvision's with weights from files made here, a user's own function, and what is refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision import models

from art_denoise.models import RECIPES, find_model
from art_denoise.models.find import PAPER_NAMES
from art_denoise.models.weights import fetch_published, published_file


def write_model(folder: Path, body: str) -> str:
    """Write a user's file with a function `net`, and return its spec."""
    file = folder / "mine.py"
    file.write_text("import torch\n" + textwrap.dedent(body))
    return f"{file}:net"


GOOD = """
    def net():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
"""


def test_the_papers_networks():
    model = find_model("inception_v1")
    assert (model.name, model.text, model.title) == ("inception_v1", "IncV1", "Inception V1")
    assert (model.input_size, model.resize, model.interpolation, model.num_classes) == (224, 256, "bilinear", 1000)
    assert model.published == pytest.approx(69.778)
    assert model.recipe.mean == (0.5, 0.5, 0.5)
    assert model.categories[0] == "tench"


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "efficientnet_b0"])
def test_torchvisions_networks_see_what_torchvision_shows_them(tmp_path, name):
    """Logits of an image are those of torchvision's own preset and network with the same weights."""
    enumeration = models.get_model_weights(name)
    weights, preset = enumeration.DEFAULT, enumeration.DEFAULT.transforms()
    options = {"aux_logits": False, "init_weights": False, "transform_input": True} if name == "googlenet" else {}
    torch.manual_seed(3)
    theirs = models.get_model(name, weights=None, **options).eval()
    torch.save(theirs.state_dict(), published_file(weights.url, tmp_path))
    model = find_model(f"torchvision:{name}", weights_dir=tmp_path)
    assert (model.resize, model.input_size) == (preset.resize_size[0], preset.crop_size[0])
    assert model.interpolation == preset.interpolation.value
    x = torch.rand(1, 3, model.input_size, model.input_size)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (preset.mean, preset.std))
    with torch.no_grad():
        expected = theirs((x - mean) / std).numpy()
    logits = model.classifier("cpu").predict(x.numpy())
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())


def test_weights_by_name_and_from_a_file(tmp_path):
    first = find_model("torchvision:resnet50:IMAGENET1K_V1")
    assert (first.published, first.resize) == (76.13, 256)
    assert find_model("torchvision:resnet50").resize == 232
    network = models.resnet18(weights=None, num_classes=5)
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    model = find_model(f"torchvision:resnet18:{tmp_path / 'mine.pt'}", num_classes=5)
    assert model.published is None
    assert model.num_classes == 5
    assert torch.equal(model.make().state_dict()["fc.weight"], network.fc.weight)
    digest = model.digest()
    torch.save(models.resnet18(weights=None, num_classes=5).state_dict(), tmp_path / "mine.pt")
    assert model.digest() != digest


def test_random_weights_follow_the_seed():
    def first(seed: int) -> torch.Tensor:
        model = find_model("inception_v1:none", seed=seed)
        assert not model.trained
        return next(iter(model.make().state_dict().values()))

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))
    assert find_model("inception_v1:none", seed=1).digest() != find_model("inception_v1:none", seed=0).digest()


def test_another_input_size_has_no_published_accuracy():
    model = find_model("inception_v1", input_size=128)
    assert (model.input_size, model.resize, model.published) == (128, 146, None)


def test_a_users_function(tmp_path):
    model = find_model(write_model(tmp_path, GOOD), input_size=16)
    assert (model.text, model.num_classes, model.input_size, model.resize) == ("mine", 4, 16, 18)
    x = np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(
            model.classifier("cpu").predict(x), model.make()(torch.from_numpy(x)).numpy(), atol=1e-6
        )
    digest = model.digest()
    other = write_model(tmp_path, GOOD.replace("manual_seed(0)", "manual_seed(1)"))
    assert find_model(other, input_size=16).digest() != digest


def test_a_users_categories_and_modules_beside_the_file(tmp_path):
    (tmp_path / "beside_it.py").write_text("NAMES = ['a', 'b', 'c', 'd']\n")
    body = GOOD.replace("return torch.nn.Seq", "from beside_it import NAMES\n        n = torch.nn.Seq") + (
        "        n.categories = NAMES\n        return n\n"
    )
    assert find_model(write_model(tmp_path, body), input_size=16).categories == ("a", "b", "c", "d")


def test_a_network_that_standardises_in_place_leaves_the_images_as_they_are(tmp_path):
    """Attacks would go on with what it made of them, and every figure be another."""
    flat = "torch.nn.Flatten(), torch.nn.Linear(768, 4)"
    bodies = {
        "inplace": f"torch.nn.Sequential(torch.nn.Hardtanh(0.3, 0.6, inplace=True), {flat})",
        "plain": f"torch.nn.Sequential(torch.nn.Hardtanh(0.3, 0.6), {flat})",
    }
    x = np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32)
    found = {}
    for name, body in bodies.items():
        folder = tmp_path / name
        folder.mkdir()
        spec = write_model(folder, f"def net():\n    torch.manual_seed(0)\n    return {body}")
        classifier = find_model(spec, input_size=16).classifier("cpu")
        images = torch.from_numpy(x.copy()).requires_grad_()
        logits = classifier.model(images)
        logits.sum().backward()
        assert np.array_equal(images.detach().numpy(), x)
        found[name] = logits.detach(), images.grad
    assert all(torch.equal(a, b) for a, b in zip(*found.values(), strict=True))


FLAT = "def net(): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear("

TWO = """class Two(torch.nn.Module):
    def forward(self, x):
        return (x[0] - x[1]).mean((1, 2)).expand(len(x), 3)
def net(): return Two()
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def other(): pass", "there is no function 'net', but other"),
        ("def net(): return 3", "must return a torch.nn.Module, got int"),
        ("def net(): raise KeyError('weights')", r"cannot be built \(KeyError: 'weights'\)"),
        ("import nothing_like_that\nnet = None", "cannot be built .ModuleNotFoundError"),
        ("def net(): return torch.nn.Identity()", r"must return logits \(N, K\).*\(1, 3, 16, 16\)"),
        ("def net(): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 1))", "K >= 2"),
        (
            "def net(): return torch.nn.Linear(5, 2)",
            r"fails for an image \(1, 3, 16, 16\).*it takes neither .*`input_size`",
        ),
        ("import sys\ndef net(): sys.exit(0)", "cannot be built .SystemExit: 0"),
        ("import sys\nsys.exit(0)\nnet = None", "cannot be built .SystemExit: 0"),
        (f"{FLAT}3 * 32 * 32, 4))", "it takes images of 32 × 32; give `input_size` = 32"),
        (f"{FLAT}16 * 16, 4))", "it takes images of one channel; put it behind a module"),
        (f"{FLAT}768, 4)).half()", r"its weights are of torch.float16.*return `network.float\(\)`"),
        (f"{FLAT}768, 4)).double()", r"its weights are of torch.float64.*return `network.float\(\)`"),
        (f"{FLAT}768, 4)).to('meta')", "its weights are on meta; let what makes it leave them on the CPU"),
        (TWO, "it takes two images but not one"),
    ],
)
def test_a_users_function_that_does_not_serve(tmp_path, body, message):
    spec = write_model(tmp_path, body)
    with pytest.raises(ValueError, match=message):
        find_model(spec, input_size=16).num_classes  # noqa: B018


@pytest.mark.parametrize(
    ("spec", "kwargs", "message"),
    [
        ("resnet18", {}, "`model` must be inception_v1, vgg16, vgg19, torchvision:NAME"),
        ("torchvision:resnet1", {}, "no classification network 'resnet1': it has resnet"),
        ("torchvision:fasterrcnn_resnet50_fpn", {}, "no classification network"),
        ("vgg16:IMAGENET1K_V7", {}, "there is no file IMAGENET1K_V7.*IMAGENET1K_V1.*none"),
        ("missing.py:net", {}, r"there is no file missing\.py"),
        ("inception_v1", {"num_classes": 10}, "returns 1000 logits, not `num_classes` = 10"),
        ("inception_v1", {"input_size": 0}, "`input_size` must be >= 1"),
    ],
)
def test_models_that_are_not_there(spec, kwargs, message):
    with pytest.raises(ValueError, match=message):
        find_model(spec, **kwargs)


@pytest.mark.parametrize("name", PAPER_NAMES)
def test_what_is_said_of_the_papers_weights_is_what_torchvision_says(name):
    model, weights = find_model(name), models.get_weight(RECIPES[name].weights)
    preset = weights.transforms()
    assert (model.input_size, model.resize) == (preset.crop_size[0], preset.resize_size[0])
    assert model.interpolation == preset.interpolation.value
    assert model.published == pytest.approx(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"])
    assert model.weights_file.name == weights.url.rsplit("/", 1)[-1]
    assert list(model.categories) == weights.meta["categories"]
    assert weights == type(weights).DEFAULT


def test_a_model_is_found_without_torchvision(tmp_path):
    """It takes a second to import, which a finished table should not wait for."""
    spec = write_model(tmp_path, GOOD)
    program = (
        "import sys; from art_denoise.models import find_model\n"
        f"for spec in ('inception_v1', 'vgg16:none', {spec!r}): find_model(spec, input_size=16).digest()\n"
        "assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_users_file_is_a_module(tmp_path):
    """Dataclasses, named tuples and pickle look for what a class is in by its name."""
    body = (
        "import io, torch\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Config:\n    classes: int = 4\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.linear = torch.nn.Linear(768, Config().classes)\n"
        "    def forward(self, x):\n        return self.linear(x.flatten(1))\n"
        "def net():\n    kept = io.BytesIO()\n    torch.save(Net(), kept)\n    kept.seek(0)\n"
        "    return torch.load(kept, weights_only=False)\n"
    )
    found = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "mine.py"
        # Of the same name, and another.
        file.write_text("from __future__ import annotations\n" + body.replace("= 4", f"= {len(folder) + len(found)}"))
        found.append(find_model(f"{file}:net", input_size=16).num_classes)
    assert found == [3, 4]


def test_weights_of_another_architecture(tmp_path):
    weights = models.GoogLeNet_Weights.DEFAULT
    torch.save(models.resnet18(weights=None).state_dict(), published_file(weights.url, tmp_path))
    with pytest.raises(ValueError, match=r"googlenet-1378be20\.pth.*does not fit this network"):
        find_model("inception_v1", weights_dir=tmp_path).make()


def test_what_is_downloaded_is_checked_and_put_in_its_place(tmp_path, monkeypatch):
    weights, asked = models.GoogLeNet_Weights.IMAGENET1K_V1, []

    def download(url, dst, hash_prefix, progress):
        asked.append((url, hash_prefix))
        Path(dst).write_bytes(b"weights")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        file = fetch_published(str(weights), tmp_path / "deep" / "weights")
    assert asked == [(weights.url, "1378be20")]
    assert file == tmp_path / "deep" / "weights" / "googlenet-1378be20.pth"
    assert file.read_bytes() == b"weights"


def test_weights_that_are_not_those_that_were_published_are_told_of(tmp_path, monkeypatch):
    """Where torchvision keeps them; what is in a folder of one's own is taken as it is."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    whole = b"weights"
    url = f"https://example.org/net-{hashlib.sha256(whole).hexdigest()[:8]}.pth"
    monkeypatch.setattr(models, "get_weight", lambda name: SimpleNamespace(url=url))
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda url, dst, digest, progress: Path(dst).write_bytes(whole)
    )
    file = fetch_published("Net")
    assert file.parent == tmp_path / "checkpoints"
    assert fetch_published("Net").read_bytes() == whole
    file.write_bytes(b"wEights")
    with pytest.warns(RuntimeWarning, match=r"not what the digest in its name says: .* delete it"):
        assert fetch_published("Net") == file
    # It may be somebody's own.
    assert file.read_bytes() == b"wEights"
    file.unlink()
    assert fetch_published("Net").read_bytes() == whole
    own = published_file(url, tmp_path)
    own.write_bytes(b"of my own")
    assert fetch_published("Net", tmp_path).read_bytes() == b"of my own"


def test_replaced_weights_are_others_whatever_time_they_are_given(tmp_path):
    place = published_file(models.GoogLeNet_Weights.IMAGENET1K_V1.url, tmp_path)
    place.write_bytes(b"before")
    os.utime(place, ns=(1, 1))
    before = find_model("inception_v1", weights_dir=tmp_path).digest()
    assert find_model("inception_v1", weights_dir=tmp_path).digest() == before
    place.write_bytes(b"behind")
    os.utime(place, ns=(1, 1))
    assert find_model("inception_v1", weights_dir=tmp_path).digest() != before
