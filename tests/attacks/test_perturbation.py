"""A perturbation as a file: what is saved is loaded, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from art_denoise import Perturbation


def test_save_and_load(tmp_path):
    array = np.random.default_rng(0).normal(0, 0.02, (3, 5, 4)).astype(np.float32)
    Perturbation(array, {"eps": 0.04, "source": "vgg16"}).save(tmp_path / "new" / "p.safetensors")
    loaded = Perturbation.load(tmp_path / "new" / "p.safetensors")
    np.testing.assert_array_equal(loaded.array, array)
    assert loaded.provenance == {"eps": 0.04, "source": "vgg16"}
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["p.safetensors"]


def test_add_to_clips():
    images = np.array([0.0, 0.5, 1.0], dtype=np.float32).reshape(1, 1, 1, 3)
    delta = Perturbation(np.full((1, 1, 3), 0.1, dtype=np.float32))
    np.testing.assert_allclose(delta.add_to(images).ravel(), [0.1, 0.6, 1.0], atol=1e-6)
    assert delta.add_to(images).dtype == np.float32
    assert delta.linf == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 1, 1, 3), dtype=np.uint8), TypeError, "divide bytes by 255"),
        (np.zeros((1, 3, 1, 3)), ValueError, r"`images` must be \(N, 1, 1, 3\), got \(1, 3, 1, 3\)"),
        (np.full((1, 1, 1, 3), 2.0), ValueError, "within 0 and 1, got 2 to 2"),
    ],
)
def test_add_to_other_images(images, error, message):
    with pytest.raises(error, match=message):
        Perturbation(np.zeros((1, 1, 3), dtype=np.float32)).add_to(images)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("no perturbation")
    save_file({"weights": np.zeros(3, dtype=np.float32)}, tmp_path / "other")
    for name in ("text", "other"):
        with pytest.raises(ValueError, match=f"{name}.*is not a perturbation"):
            Perturbation.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Perturbation.load(tmp_path / "missing")
