"""Files that claim what they do not hold, run code, or never end: one error that names them, before room is made."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from art_denoise import _tensor_files, load_perturbation
from art_denoise.attacks import array_files
from art_denoise.models.weights import load_weights

#: What a file of some kilobytes may take of memory while it is refused.
FEW_BYTES = 20_000_000


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """Pickled: a function of a module, called."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def archive(pickled: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """What `torch.save` writes, of a pickle without tensors."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as opened:
        opened.writestr("a/data.pkl", b"\x80\x02" + pickled + b".")
        opened.writestr("a/version", "3\n")
        opened.writestr("a/byteorder", "little")
    return content.getvalue()


def saved(content: object, **kwargs: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **kwargs)
    return file.getvalue()


def with_more(tensor: torch.Tensor, new: bool = True) -> bytes:
    """What `torch.save` writes of a tensor, with 2^31 - 1 wherever it says 4660."""
    whole = saved(tensor, _use_new_zipfile_serialization=new)
    less, more = b"M\x34\x12", b"J" + struct.pack("<i", 2**31 - 1)
    if not new:
        return whole.replace(less, more)
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(content, "w") as opened:
        for name in old.namelist():
            data = old.read(name)
            opened.writestr(name, data.replace(less, more) if name.endswith(".pkl") else data)
    return content.getvalue()


def doubled() -> bytes:
    """Twenty-eight lists, each of the one before twice."""
    return b"]q\x00" + b"".join(
        b"]q" + bytes([i]) + b"(h" + bytes([i - 1]) * 1 + b"h" + bytes([i - 1]) + b"e" for i in range(1, 29)
    )


def deep(depth: int) -> bytes:
    return b"]" * depth + b"a" * (depth - 1)


def hexadecimal(times: int) -> bytes:
    """Bytes that become twice as many so many times."""
    inner = call("_codecs", "encode", text("abcd"), text("latin1"))
    for _ in range(times):
        inner = call("_codecs", "encode", inner, text("hex"))
    return inner


def old_tar() -> bytes:
    """The oldest form of PyTorch, which versions before 2.6 unpickle with all that is in it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as opened:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(0, protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            opened.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def with_larger_member() -> bytes:
    """An archive whose list says that its first member has 2^31 - 1 bytes."""
    content = bytearray(saved(torch.zeros(3)))
    at = content.index(b"PK\1\2")
    content[at + 20 : at + 28] = struct.pack("<II", 2**31 - 1, 2**31 - 1)
    return bytes(content)


TORCH = {
    "far apart": (with_more(torch.zeros(2, 0x1234)[:, :1]), "holds a tensor of 8,589,934,592 bytes in a file of"),
    "larger member": (with_larger_member(), "is an archive of more than there is in the file"),
    "repeated": (saved(torch.zeros(1).expand(3, 2**14, 2**14)), "holds a tensor of 3,221,225,472 bytes in a file of"),
    "grown": (with_more(torch.zeros(1, 0x1234)), "holds a tensor of 8,589,934,588 bytes in a file of"),
    "grown, old form": (with_more(torch.zeros(1, 0x1234), new=False), "holds a tensor of|is damaged|is no array"),
    "long text": (
        saved(torch.zeros(9), _use_new_zipfile_serialization=False).replace(
            b"X\x10\x00\x00\x00protocol", b"X\xff\xff\xff\x7fprotocol"
        ),
        "is damaged",
    ),
    "itself": (archive(b"]q\x00h\x00a"), "it holds no array"),
    "doubled": (archive(doubled()), "it holds no array"),
    "deep": (archive(deep(5_000)), "containers in each other, more than 32 deep"),
    "hexadecimal": (archive(hexadecimal(30)), "holds bytes that are made while it is read"),
    "array of bytes": (
        archive(call("__builtin__", "bytearray", b"J" + struct.pack("<i", 2**31 - 1))),
        "holds bytes that are made while it is read",
    ),
    "room": (archive(call("torch", "FloatTensor", b"J" + struct.pack("<i", 2**30))), "a tensor of 4,294,967,296 bytes"),
    "compressed": (
        archive(b"X" + struct.pack("<I", 10**7) + bytes(10**7), zipfile.ZIP_DEFLATED),
        "a compressed archive",
    ),
    "tar": (old_tar(), "which can run code"),
    "sparse": (
        saved(torch.eye(3)[None].to_sparse()),
        "sparse, quantised or nested: save plain ones, `tensor.to_dense|is no array",
    ),
}


def refused(file, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as raised:
            load_perturbation(file)
        assert tracemalloc.get_traced_memory()[1] < FEW_BYTES
    finally:
        tracemalloc.stop()
    assert f"`path` = '{file}'" in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert ": save" in str(raised.value) or "np.save" in str(raised.value) or "must hold one image" in str(raised.value)


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.filterwarnings("ignore:.*(parse|Sparse|protocol).*")
def test_pytorch(tmp_path, name):
    content, message = TORCH[name]
    (tmp_path / "v.pt").write_bytes(content)
    refused(tmp_path / "v.pt", message)
    with pytest.raises(ValueError, match=r"`weights` = .*v.pt' does not fit this network"):
        load_weights(torch.nn.Linear(2, 2), tmp_path / "v.pt")


def test_a_long_description_of_tensors(tmp_path, monkeypatch):
    torch.save(torch.zeros(1, 2, 2), tmp_path / "v.pt")
    monkeypatch.setattr(_tensor_files, "MOST_HEADER_BYTES", 100)
    with pytest.raises(ValueError, match="describes its tensors in more than 100 bytes"):
        load_perturbation(tmp_path / "v.pt")


def npy(shape: tuple[int, ...], data: bytes = b"", header: str | None = None) -> bytes:
    given = header or f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(given) + 1) + given.encode() + b"\n" + data


NUMPY = {
    "terabytes": (npy((2**20, 2**20)), r"says that it holds 1,099,511,627,776 values, where 268,435,456 are most"),
    "gigabyte": (npy((2**14, 2**13)), "134,217,728 values in"),
    "less than none": (npy((-3, 5)), "is damaged"),
    "beyond what counts": (npy((2**62, 2**62)), "says that it holds"),
    "long header": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + bytes(9), "a header of 4,294,967,295 bytes"),
    "deep header": (npy((), header="(" * 3000), "is damaged"),
    "minus": (npy((), header="-" * 9000 + "1"), "is damaged"),
    "form of tomorrow": (b"\x93NUMPY\x09\x00" + bytes(20), "is damaged"),
}


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("kind", [".npy", ".npz"])
def test_numpy(tmp_path, name, kind):
    content, message = NUMPY[name]
    file = tmp_path / f"v{kind}"
    if kind == ".npy":
        file.write_bytes(content)
    else:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("v.npy", content)
    refused(file, message)


def test_what_is_compressed_counts_as_it_is_inflated(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "MOST_VALUES", 1000)
    np.savez_compressed(tmp_path / "v.npz", a=np.zeros((3, 40, 40)))
    refused(tmp_path / "v.npz", "says that it holds 4,800 values, where 1,000 are most")
    np.savez_compressed(tmp_path / "v.npz", **{name: np.zeros((1, 20, 20)) for name in "abc"})
    refused(tmp_path / "v.npz", "holds arrays of more than 8,000 bytes in all")


def test_an_archive_of_another_compression(tmp_path):
    """Those inflate a whole block at once, whatever is asked for."""
    with zipfile.ZipFile(tmp_path / "v.npz", "w", zipfile.ZIP_BZIP2) as opened:
        opened.writestr("v.npy", npy((3, 5, 5), bytes(300)))
    with pytest.raises(ValueError, match="it holds no array"):
        load_perturbation(tmp_path / "v.npz")


def header_of(length: int, header: bytes = b"{}") -> bytes:
    return struct.pack("<Q", length) + header


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header_of(2**60), "is damaged"),
        (header_of(2), "holds no array"),
        (header_of(10_000, b"[" * 10_000), "is damaged"),
        (
            header_of(
                80, json.dumps({"v": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, 2**32]}}).encode().ljust(80)
            ),
            "is damaged",
        ),
    ],
)
def test_safetensors(tmp_path, content, message):
    (tmp_path / "v.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_perturbation(tmp_path / "v.safetensors")


def test_a_long_header(tmp_path):
    file = tmp_path / "v.safetensors"
    file.write_bytes(header_of(2**26))
    with file.open("r+b") as opened:
        opened.truncate(2**27)
    refused(file, "has a header of 67,108,864 bytes, where 33,554,432 are most")
    with pytest.raises(ValueError, match=r"`weights` = .*has a header of"):
        load_weights(torch.nn.Linear(2, 2), file)


@pytest.mark.parametrize(
    "record", ["[" * 3000, "[1]", "{}", '{"value_range": 1}', '{"value_range": [0, 1], "seed": {}, "no": 1}']
)
def test_a_record_of_ours_that_is_none(tmp_path, record):
    array = np.zeros((1, 2, 2), dtype=np.float32)
    save_file({"perturbation": array}, tmp_path / "v.safetensors", metadata={"units": "value range", "record": record})
    with pytest.raises(ValueError, match=r"v\.safetensors' is not a perturbation saved by this package, or is damaged"):
        load_perturbation(tmp_path / "v.safetensors")


@pytest.mark.parametrize("kind", array_files._READERS)
def test_a_file_larger_than_what_is_read_from_one(tmp_path, kind):
    """Three gigabytes that take no room on the disk."""
    with (tmp_path / f"v{kind}").open("wb") as opened:
        opened.truncate(3 * 2**30)
    refused(tmp_path / f"v{kind}", "are most that is read")


def test_values_that_single_precision_does_not_have(tmp_path):
    np.save(tmp_path / "v.npy", np.full((3, 5, 7), 1e300))
    with pytest.raises(ValueError, match="holds NaN or infinite values"):
        load_perturbation(tmp_path / "v.npy", order="rgb", layout="CHW", units=255)


def test_a_thousand_names_are_not_listed(tmp_path):
    np.savez(tmp_path / "v.npz", **{f"v{i}": np.zeros((1, 2, 2)) for i in range(1000)})
    with pytest.raises(ValueError, match=r"it holds v0, v1.*v19 and 980 more$"):
        load_perturbation(tmp_path / "v.npz")
