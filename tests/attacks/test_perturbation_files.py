"""Perturbations from files of others: what is said, what is assumed, and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scipy.io import savemat

from art_denoise import Perturbation, load_perturbation
from art_denoise.attacks import random_signs

SHAPE = (3, 5, 7)


@pytest.fixture
def v() -> np.ndarray:
    """A perturbation (3, 5, 7) whose every value is its own, at most 10/255."""
    return (np.linspace(-10, 10, 105) / 255).reshape(SHAPE).astype(np.float32)


def test_ours(tmp_path, v):
    Perturbation(v, source="vgg16", fooling_rates={"crafting images": 0.5}).save(tmp_path / "v.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_perturbation(tmp_path / "v.safetensors")
    np.testing.assert_array_equal(loaded.array, v)
    assert loaded.source == "vgg16"
    with pytest.raises(ValueError, match="`order` is for files of others"):
        load_perturbation(tmp_path / "v.safetensors", order="rgb")


def save(path, array):
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".mat":
        savemat(path, {"r": array})
    else:
        torch.save(torch.from_numpy(array.copy()), path)


@pytest.mark.parametrize("kind", [".npy", ".mat", ".pt", ".pth"])
def test_what_is_said_is_done(tmp_path, v, kind):
    """As LTS4 has it: height, width, channels, on 0 to 255; and with a first axis of length 1, BGR, W before H."""
    with warnings.catch_warnings(record=True) as warned:
        save(tmp_path / f"a{kind}", 255 * v.transpose(1, 2, 0))
        first = load_perturbation(tmp_path / f"a{kind}", order="rgb", layout="HWC", units=255)
        save(tmp_path / f"b{kind}", v[::-1].transpose(2, 1, 0)[None])
        second = load_perturbation(tmp_path / f"b{kind}", order="bgr", layout="WHC", units=1)
    assert not [warning for warning in warned if "Assumed" in str(warning.message)]
    for loaded in (first, second):
        np.testing.assert_allclose(loaded.array, v, atol=1e-8)
        assert loaded.array.dtype == np.float32
        assert loaded.provenance["assumed"] == []


@pytest.mark.parametrize(
    ("array", "assumed"),
    [
        (
            lambda v: 255 * v.transpose(1, 2, 0)[None],
            "layout='HWC', order='rgb', units=255, as the greatest value is 10",
        ),
        (lambda v: v[None], "layout='CHW', order='rgb', units=1, as the greatest value is 0.0392"),
    ],
)
def test_what_is_assumed_is_said(tmp_path, v, array, assumed):
    np.save(tmp_path / "v.npy", array(v))
    with pytest.warns(UserWarning, match=assumed):
        loaded = load_perturbation(tmp_path / "v.npy")
    np.testing.assert_allclose(loaded.array, v, atol=1e-8)
    assert ", ".join(loaded.provenance["assumed"]).startswith(assumed)


@pytest.mark.parametrize(
    ("kept", "kwargs"),
    [
        (lambda v: np.round(255 * v + 128).astype(np.uint8), {"units": 255, "offset": 128}),
        (lambda v: v + 0.5, {"units": 1, "offset": 0.5}),
        (lambda v: v / np.array([0.2, 0.3, 0.4])[:, None, None], {"units": (1 / 0.2, 1 / 0.3, 1 / 0.4)}),
        (lambda v: v / np.abs(v).max(), {"units": 25.5}),
        (lambda v: v.reshape(-1), {"units": 1, "shape": SHAPE}),
        (lambda v: np.stack([0 * v, v]), {"units": 1, "index": np.int64(1)}),
        (lambda v: np.stack([0 * v, v]).reshape(2, -1), {"units": 1, "index": 1, "shape": np.array(SHAPE)}),
    ],
)
def test_however_it_is_kept(tmp_path, v, kept, kwargs):
    np.save(tmp_path / "v.npy", kept(v))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_perturbation(tmp_path / "v.npy", order="rgb", layout="CHW", **kwargs)
    np.testing.assert_allclose(loaded.array, v, atol=0.51 / 255 if "offset" in kwargs else 1e-7)


def test_channels_of_other_widths_go_with_their_order(tmp_path, v):
    np.save(tmp_path / "v.npy", (v / np.array([0.2, 0.3, 0.4])[:, None, None])[::-1])
    loaded = load_perturbation(tmp_path / "v.npy", order="bgr", layout="CHW", units=(1 / 0.2, 1 / 0.3, 1 / 0.4))
    np.testing.assert_allclose(loaded.array, v, atol=1e-7)


@pytest.mark.parametrize("about", [lambda v: (255 * v + 128).astype(np.uint8), lambda v: v + 0.5, lambda v: -v - 0.5])
def test_an_image_is_refused(tmp_path, v, about):
    np.save(tmp_path / "v.npy", about(v))
    with pytest.raises(ValueError, match=r"that is an image\. If it is a perturbation about a middle.*offset="):
        load_perturbation(tmp_path / "v.npy", order="rgb", layout="CHW")


def test_what_is_far_too_large_is_warned_of(tmp_path, v):
    np.save(tmp_path / "v.npy", np.sign(v))
    with pytest.warns(UserWarning, match=r"a perturbation of 255/255, where attacks are of 4 to 16/255.*standardised"):
        load_perturbation(tmp_path / "v.npy", order="rgb", layout="CHW", units=1)
    # All of one sign, and as small as attacks are: nothing is wrong with that.
    np.save(tmp_path / "v.npy", np.abs(v))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_perturbation(tmp_path / "v.npy", order="rgb", layout="CHW", units=1)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (lambda u: (u, 0.8), None),
        (lambda u: [u], None),
        (lambda u: {"state_dict": {"uap": u, "bias": u[0, 0]}, "epoch": 3}, None),
        (lambda u: {"state_dict": {"uap": u, "other": 2 * u}}, "state_dict.uap"),
        (lambda u: [2 * u, u], "1"),
        (lambda u: u.bfloat16(), None),
    ],
)
def test_what_pytorch_files_hold(tmp_path, v, content, name):
    torch.save(content(torch.from_numpy(v.copy())), tmp_path / "v.pth")
    loaded = load_perturbation(tmp_path / "v.pth", order="rgb", layout="CHW", units=1, name=name)
    np.testing.assert_allclose(loaded.array, v, rtol=1e-2)


def test_other_containers(tmp_path, v):
    np.savez(tmp_path / "v.npz", uap=v, rate=0.8)
    np.save(tmp_path / "t.npy", v)
    (tmp_path / "t.npy").rename(tmp_path / "V.NPY")
    save_file({"uap": v}, tmp_path / "v.safetensors")
    for file in ("v.npz", "V.NPY", "v.safetensors"):
        loaded = load_perturbation(tmp_path / file, order="rgb", layout="CHW", units=1)
        np.testing.assert_array_equal(loaded.array, v)


def test_several_arrays_need_a_name(tmp_path, v):
    savemat(tmp_path / "v.mat", {"r": v, "other": 2 * v, "note": "text"})
    with pytest.raises(ValueError, match=r"must hold one image, or `name` say which: it holds r, other$"):
        load_perturbation(tmp_path / "v.mat")
    loaded = load_perturbation(tmp_path / "v.mat", name="r", order="rgb", layout="CHW", units=1)
    np.testing.assert_allclose(loaded.array, v)
    with pytest.raises(ValueError, match="`name` = 'u' is not in"):
        load_perturbation(tmp_path / "v.mat", name="u")


def test_resized_only_when_asked(tmp_path):
    signs = random_signs((3, 8, 8), 0.1)
    signs.save(tmp_path / "v.safetensors")
    assert load_perturbation(tmp_path / "v.safetensors").array.shape == (3, 8, 8)
    for size, shape in ((6, (3, 6, 6)), ((10, 4), (3, 10, 4)), (8, (3, 8, 8))):
        resized = load_perturbation(tmp_path / "v.safetensors", size=size)
        assert resized.array.shape == shape
        assert resized.linf <= 0.1 * (1 + 1e-6)
        assert resized.provenance.get("resized_from") == (None if size == 8 else [8, 8])
    flat = Perturbation(np.full((3, 8, 8), 0.1, dtype=np.float32))
    flat.save(tmp_path / "flat.safetensors")
    np.testing.assert_allclose(load_perturbation(tmp_path / "flat.safetensors", size=5).array, 0.1, rtol=1e-6)
    with pytest.raises(ValueError, match="`size` must be >= 1"):
        load_perturbation(tmp_path / "flat.safetensors", size=0)


def test_pickles_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("code in a file was run",))

    np.save(tmp_path / "v.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    torch.save({"v": Evil()}, tmp_path / "v.pt")
    for name in ("v.npy", "v.pt"):
        with pytest.raises(ValueError, match=f"{name}.*holds pickled objects.*save the array alone by np.save"):
            load_perturbation(tmp_path / name)


@pytest.mark.parametrize("kind", [".npy", ".mat", ".pt", ".safetensors"])
def test_truncated_and_foreign_files(tmp_path, v, kind):
    whole = tmp_path / f"whole{kind}"
    Perturbation(v).save(whole) if kind == ".safetensors" else save(whole, v)
    content = whole.read_bytes()
    for name, damaged in (("truncated", content[: len(content) // 2]), ("text", b"hello there"), ("empty", b"")):
        (tmp_path / f"{name}{kind}").write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{name}.*(is damaged|is no array)"):
            load_perturbation(tmp_path / f"{name}{kind}")


@pytest.mark.parametrize(
    ("array", "kwargs", "message"),
    [
        (np.zeros((5, 7)), {}, "three axes of numbers"),
        (np.zeros((2, 3, 5, 7)), {}, r"holds an array \(2, 3, 5, 7\).*If these are 2 of them, say which, index=0"),
        (np.zeros((2, 3, 5, 7)), {"index": 2}, "`index` = 2: .* holds 2, counted from 0"),
        (np.zeros(105), {}, r"Of a flat vector say its shape, such as shape=\(1, 28, 28\)"),
        (np.zeros(105), {"shape": (3, 5, 8)}, r"is not of `shape` = \(3, 5, 8\)"),
        (np.zeros(105), {"shape": (105,)}, "give three numbers whose product is its size"),
        (np.full((3, 5, 7), 0.1), {"units": (1, 2)}, "one number, or one for each of 3 channels, got 2"),
        (np.zeros((3, 5, 7)), {"offset": np.inf}, "`offset` must be"),
        (np.zeros((3, 5, 3)), {}, "does not show where its channels are: give `layout`"),
        (np.zeros((4, 5, 7)), {}, "give `layout`"),
        (np.full((3, 5, 7), 10.0), {"units": 1}, "`units` = 1: the greatest value .* is 10, more than the whole range"),
        (np.full((3, 5, 7), np.nan), {}, "NaN or infinite"),
        (np.zeros((3, 5, 7)), {"order": "gbr"}, "`order` must be 'rgb' or 'bgr'"),
        (np.zeros((3, 5, 7)), {"layout": "HCW"}, "`layout` must be 'CHW' or"),
        (np.zeros((3, 5, 7)), {"units": 0}, "`units` must be"),
        (np.full((3, 5, 7), "a"), {}, "three axes of numbers"),
    ],
)
def test_bad_content(tmp_path, array, kwargs, message):
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(ValueError, match=message):
        load_perturbation(tmp_path / "v.npy", **kwargs)


def test_missing_and_unknown(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        load_perturbation(tmp_path / "v.npy")
    (tmp_path / "v.png").write_bytes(b"png")
    with pytest.raises(
        ValueError, match=r"must end in .npy, .npz, .mat, .pt, .pth, .safetensors: save the array by np.save"
    ):
        load_perturbation(tmp_path / "v.png")
    (tmp_path / "v.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(ValueError, match=r"v.mat.* is of MATLAB 7.3, which is HDF5: read the array with h5py"):
        load_perturbation(tmp_path / "v.mat")


def test_published_files(realdata):
    """The two perturbations of the authors, read by what they are known to hold."""
    for name in ("uap_lts4_googlenet.mat", "uap_lts4_inception5h.npy"):
        loaded = load_perturbation(realdata / name, order="rgb", layout="HWC", units=255)
        assert loaded.array.shape == (3, 224, 224)
        assert loaded.linf == pytest.approx(10 / 255)
        assert load_perturbation(realdata / name, order="rgb", layout="HWC", units=255, size=64).array.shape == (
            3,
            64,
            64,
        )


@pytest.mark.parametrize("at", [-1, -7])
def test_a_flipped_bit_of_a_saved_perturbation_is_found(tmp_path, at):
    file = tmp_path / "mine.safetensors"
    Perturbation(np.full((3, 4, 5), 0.25, dtype=np.float32), seed=2).save(file)
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.safetensors.*its content is not what was written"):
        load_perturbation(file)
