"""MATLAB's files: what SciPy writes is read back, and what nobody should write is refused by name."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from art_denoise import load_perturbation
from art_denoise._tensor_files import FileRefusedError
from art_denoise.attacks._mat import read_mat

NUMBERS = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"]


def read(content: bytes, most: int = 10_000) -> dict:
    return read_mat(memoryview(content), most)


def element(kind: int, data: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(shape=(2, 3), *, kind: int = 9, name: bytes = b"v", data: bytes = bytes(6), order: str = "<") -> bytes:
    """An array of bytes, kept as such."""
    flags = element(6, struct.pack(f"{order}II", kind, 0), order)
    axes = element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return element(14, flags + axes + element(1, name, order) + element(2, data, order), order)


def mat(*elements: bytes, order: str = "<") -> bytes:
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x0100)
    return header + (b"IM" if order == "<" else b"MI") + b"".join(elements)


def compressed(inner: bytes) -> bytes:
    data = zlib.compress(inner)
    return struct.pack("<II", 15, len(data)) + data


@pytest.mark.parametrize("compression", [False, True])
def test_what_scipy_writes(tmp_path, compression):
    """Of all types of numbers, in two to four axes, with no value and in the reverse order of axes."""
    rng = np.random.default_rng(0)
    shapes = [(3, 5), (2, 3, 5), (1, 2, 3, 4), (1, 1), (0, 3)]
    saved = {
        f"{'b' if dtype == '?' else dtype}_{i}": rng.integers(0, 2 if dtype == "?" else 100, shape).astype(dtype)
        for dtype in NUMBERS
        for i, shape in enumerate(shapes)
    }
    saved["turned"] = rng.random((4, 5, 6)).transpose(2, 0, 1)
    others = {"text": "words", "z": np.array([[1j]]), "list": np.array([[1.0], "two"], dtype=object)}
    savemat(tmp_path / "v.mat", {**saved, **others, "s": {"uap": np.eye(3)}}, do_compression=compression)
    found = read((tmp_path / "v.mat").read_bytes())
    assert set(found) == {*saved, "list", "s"}
    for name, array in saved.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    np.testing.assert_array_equal(found["s"]["uap"], np.eye(3))
    assert (found["list"][0].item(), found["list"][1]) == (1.0, None)


@pytest.mark.parametrize("order", ["<", ">"])
def test_orders_of_bytes(order):
    data = struct.pack(f"{order}6d", *range(6))
    flags = element(6, struct.pack(f"{order}II", 7, 0), order)
    axes = element(5, struct.pack(f"{order}2i", 2, 3), order)
    # A name of one letter is a small element: its size and its type share four bytes.
    small = struct.pack(f"{order}I", 1 << 16 | 1) + b"v\0\0\0"
    content = mat(element(14, flags + axes + small + element(9, data, order), order), order=order)
    found = read(content)["v"]
    # A column after the other, and kept more widely than what it is.
    np.testing.assert_array_equal(found, np.array([[0, 2, 4], [1, 3, 5]], dtype=np.float32))
    assert found.dtype == np.float32


def nested(depth: int) -> bytes:
    inner = matrix()
    for _ in range(depth):
        flags, axes = element(6, struct.pack("<II", 1, 0)), element(5, struct.pack("<2i", 1, 1))
        inner = element(14, flags + axes + element(1, b"v") + inner)
    return inner


def without_fields(*shape: int) -> bytes:
    """A structure whose elements have no fields: there is nothing of them in the file, however many there are."""
    flags, axes = element(6, struct.pack("<II", 2, 0)), element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, flags + axes + element(1, b"s") + element(5, struct.pack("<i", 8)) + element(1, b""))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mat(without_fields(2**20, 2**20)), "says that it holds 1,099,511,627,776 arrays in one"),
        (mat(*[without_fields(2**7, 2**8)] * 3), "says that it holds 32,768 arrays in one"),
        (mat(matrix((100_000, 1_000_000))), "says that it holds an array of 100,000,000,000 values"),
        (mat(*[matrix((2, 2000), data=bytes(4000))] * 3), "an array of 4,000 values"),
        (mat(compressed(matrix((2000, 2000), data=bytes(4_000_000)))), "holds 4,000,056 bytes, compressed"),
        (mat(compressed(matrix((20, 1000), data=bytes(20_000)))), "says that it holds an array of 20,000 values"),
        (mat(nested(17)), "arrays in each other, more than 16 deep"),
        (mat(matrix((2**16, 2), kind=1)), "says that it holds 131,072 arrays in one"),
        (b"\0\0\0\0" + bytes(40), "is of MATLAB 4, whose arrays have two axes: save it anew"),
        (b"MATLAB 7.3 MAT-file".ljust(512), "is of MATLAB 7.3, which is HDF5: read the array with h5py"),
    ],
)
def test_what_is_refused(content, message):
    with pytest.raises(FileRefusedError, match=message):
        read(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MATLAB 5.0",
        mat()[:126] + b"XX",
        mat(matrix())[:-5],
        mat(matrix())[:190],
        mat(matrix((2, 4))),
        mat(matrix((2, -3))),
        mat(matrix((6,))),
        mat(matrix((1,) * 40 + (6,))),
        mat(struct.pack("<II", 15, 9) + b"no stream"),
        mat(compressed(b"1234")),
        mat(compressed(compressed(matrix()))),
        mat(compressed(matrix()[:-9])),
        mat(element(14, element(2, bytes(8)))),
        mat(element(14, element(6, struct.pack("<II", 9, 0)))),
        mat(matrix(name=b"\xff")),
        mat(matrix(kind=1, shape=(1, 1))),
        mat(struct.pack("<I", 9 << 16 | 1) + bytes(4)),
        mat(struct.pack("<I", 6 << 16 | 1) + bytes(12)),
    ],
)
def test_what_is_damaged(content):
    with pytest.raises((ValueError, zlib.error)):
        read(content)


def test_every_byte_may_be_another(tmp_path):
    """No byte, and no length, leads to anything but numbers or an error; and the process lives."""
    savemat(
        tmp_path / "v.mat",
        {"v": np.ones((2, 3)), "s": {"a": np.ones(3, dtype=np.uint8)}, "c": np.array([1, "two"], dtype=object)},
    )
    whole, odd = (tmp_path / "v.mat").read_bytes(), 0
    changed = [whole[:at] + bytes([value]) + whole[at + 1 :] for at in range(128, len(whole)) for value in (0, 14, 255)]
    for content in [*changed, *(whole[:at] for at in range(len(whole)))]:
        try:
            assert set(read(content)) != {"v", "s", "c"} or len(content) == len(whole)
        except ValueError:
            odd += 1
    assert odd > 300


def test_what_is_in_a_structure_has_the_names_that_lead_to_it(tmp_path):
    v = np.full((3, 5, 7), 0.01)
    savemat(tmp_path / "v.mat", {"result": {"uap": v, "other": 2 * v}})
    loaded = load_perturbation(tmp_path / "v.mat", name="result.uap", order="rgb", layout="CHW", units=1)
    np.testing.assert_allclose(loaded.array, v)
