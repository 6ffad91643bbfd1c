"""A perturbation as a record and as a file: what is saved is loaded, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from art_denoise import Perturbation


def test_save_and_load(tmp_path):
    array = np.random.default_rng(0).normal(0, 0.02, (3, 5, 4)).astype(np.float32)
    saved = Perturbation(
        array,
        attack="DeepFoolUAP",
        source="vgg16",
        norm="inf",
        eps=0.04,
        value_range=(0.0, 255.0),
        seed=3,
        fooling_rates={"crafting images": 0.7},
        provenance={"passes": 2},
    )
    saved.save(tmp_path / "new" / "p.safetensors")
    loaded = Perturbation.load(tmp_path / "new" / "p.safetensors")
    np.testing.assert_array_equal(loaded.array, array)
    assert loaded.array.dtype == np.float32
    for name in ("attack", "source", "norm", "eps", "value_range", "seed", "fooling_rates", "provenance"):
        assert getattr(loaded, name) == getattr(saved, name), name
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["p.safetensors"]
    assert repr(loaded).startswith("Perturbation(3x5x4, L∞ 0.0")
    assert "source='vgg16'" in repr(loaded)


def test_numbers_of_numpy_are_kept_as_pythons(tmp_path):
    made = Perturbation(
        np.zeros((3, 2, 2), dtype=np.float32),
        eps=np.float32(0.5),
        seed=np.arange(3)[1],
        fooling_rates={"images": np.float64(0.25)},
        provenance={"history": [{"passes": np.int64(3)}], "pair": (np.int8(1), 2)},
    )
    made.save(tmp_path / "v.safetensors")
    loaded = Perturbation.load(tmp_path / "v.safetensors")
    assert (loaded.eps, loaded.seed, loaded.fooling_rates) == (0.5, 1, {"images": 0.25})
    assert loaded.provenance == {"history": [{"passes": 3}], "pair": [1, 2]}


def test_what_no_file_can_hold_is_refused_before_anything_is_saved():
    with pytest.raises(TypeError, match=r"`provenance` must be what JSON has.*set"):
        Perturbation(np.zeros((3, 2, 2), dtype=np.float32), provenance={"images": {1, 2}})


def test_add_to_clips():
    images = np.array([0.0, 0.5, 1.0], dtype=np.float32).reshape(1, 1, 1, 3)
    delta = Perturbation(np.full((1, 1, 3), 0.1, dtype=np.float32))
    np.testing.assert_allclose(delta.add_to(images).ravel(), [0.1, 0.6, 1.0], atol=1e-6)
    assert delta.add_to(images).dtype == np.float32
    np.testing.assert_array_equal(images.ravel(), [0.0, 0.5, 1.0])
    assert delta.linf == pytest.approx(0.1)
    assert delta.l2 == pytest.approx(0.1 * np.sqrt(3))


def test_add_to_images_of_another_range():
    delta = Perturbation(np.full((1, 1, 3), 0.1, dtype=np.float32))
    images = np.array([0.0, 100.0, 255.0], dtype=np.float32).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(delta.add_to(images, (0, 255)).ravel(), [25.5, 125.5, 255.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 1, 1, 3), dtype=np.uint8), TypeError, "divide bytes by 255"),
        (np.zeros((1, 3, 1, 3)), ValueError, r"`images` must be \(N, 1, 1, 3\), got \(1, 3, 1, 3\)$"),
        (np.zeros((1, 1, 2, 3)), ValueError, r"got \(1, 1, 2, 3\): load_perturbation\(path, size="),
        (np.full((1, 1, 1, 3), 2.0), ValueError, "within 0 and 1, got 2 to 2.*`value_range`"),
    ],
)
def test_add_to_other_images(images, error, message):
    with pytest.raises(error, match=message):
        Perturbation(np.zeros((1, 1, 3), dtype=np.float32)).add_to(images)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros((1, 3, 4, 4), dtype=np.float32), ValueError, r"`array` must be \(C, H, W\), got \(1, 3, 4, 4\)"),
        (np.full((3, 4, 4), np.nan), ValueError, "must be finite"),
        (np.zeros((3, 4, 4), dtype=np.int8), TypeError, "must be of floats, got int8"),
    ],
)
def test_other_arrays_are_refused(array, error, message):
    with pytest.raises(error, match=message):
        Perturbation(array)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("no perturbation")
    save_file({"weights": np.zeros(3, dtype=np.float32)}, tmp_path / "other")
    whole = tmp_path / "whole"
    Perturbation(np.ones((3, 5, 4), dtype=np.float32)).save(whole)
    (tmp_path / "truncated").write_bytes(whole.read_bytes()[:-7])
    for name in ("text", "other", "truncated"):
        with pytest.raises(ValueError, match=f"{name}.*is not a perturbation"):
            Perturbation.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        Perturbation.load(tmp_path / "missing")
