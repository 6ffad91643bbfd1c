"""Images are decoded once, whatever happens meanwhile, and what is kept of them is what was decoded."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from art_denoise.data import decoded as store
from art_denoise.data.decoded import decode_files
from art_denoise.data.decoding import Framing

SMALL = Framing(resize=12, crop=8)


def picture(height: int = 30, width: int = 41, seed: int = 0) -> Image.Image:
    """A smooth random picture."""
    rough = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, list[str]]:
    """Seven JPEGs of different sizes."""
    names = [f"{i}.jpg" for i in range(7)]
    for i, name in enumerate(names):
        picture(20 + 3 * i, 45 - 4 * i, seed=i).save(tmp_path / name)
    return tmp_path, names


def test_a_file_of_the_same_size_and_time_is_seen_to_be_another(tmp_path):
    """Programs that copy keep the time of the content, and pictures without compression have one size."""
    kept, file = tmp_path / "decoded", tmp_path / "x.bmp"
    found = []
    for seed in (1, 2):
        picture(seed=seed).save(file)
        os.utime(file, (1e9, 1e9))
        found.append(decode_files(tmp_path, ["x.bmp"], SMALL, kept).digests)
    assert found[0] != found[1]


def test_names_that_are_no_text(folder, tmp_path_factory):
    root, names = folder
    odd = os.fsdecode(b"caf\xe9.jpg")
    os.rename(root / names[0], root / odd)
    kept = tmp_path_factory.mktemp("decoded")
    assert len(decode_files(root, [odd, *names[1:]], SMALL, kept).images) == 7
    (root / odd).write_bytes(b"")
    with pytest.raises(ValueError, match="1 of 7 images cannot be read"):
        decode_files(root, [odd, *names[1:]], SMALL, kept)
    assert "caf\\udce9.jpg: is no image" in next(kept.glob("broken-*.txt")).read_text()


def test_many_broken_files_are_counted_and_listed(folder, tmp_path_factory):
    root, names = folder
    for name in names[:5]:
        (root / name).write_bytes(b"")
    kept = tmp_path_factory.mktemp("decoded")
    with pytest.raises(ValueError, match=r"5 of 7 .*; 2 more in .*broken-.*\.txt"):
        decode_files(root, names, SMALL, kept)
    for name in names[5:]:
        (root / name).write_bytes(b"")
    with pytest.raises(ValueError, match="none of 7 files"):
        decode_files(root, names, SMALL, kept, skip_broken=True)


def test_decoded_once(folder, tmp_path, monkeypatch):
    root, names = folder
    first = decode_files(root, names, SMALL, tmp_path / "decoded")
    assert first.images.shape == (7, 3, 8, 8)
    assert first.images.dtype == np.uint8
    assert isinstance(first.images, np.memmap)
    assert len(set(first.digests)) == 7
    monkeypatch.setattr(store, "decode_image", lambda *_: pytest.fail("decoded again"))
    again = decode_files(root, names, SMALL, tmp_path / "decoded")
    np.testing.assert_array_equal(again.images, first.images)
    assert again.digests == first.digests


def test_a_changed_file_is_decoded_again(folder, tmp_path):
    root, names = folder
    before = decode_files(root, names, SMALL, tmp_path / "decoded")
    picture(seed=99).save(root / "2.jpg")
    after = decode_files(root, names, SMALL, tmp_path / "decoded")
    assert [a == b for a, b in zip(before.digests, after.digests, strict=True)] == [i != 2 for i in range(7)]
    other = decode_files(root, names, Framing(16, 10), tmp_path / "decoded")
    assert other.images.shape == (7, 3, 10, 10)


@pytest.mark.parametrize("damage", ["", "torn line", "torn image", "other image"])
def test_an_interrupted_decoding_goes_on(folder, tmp_path, monkeypatch, damage):
    """Stopped after four of seven files, it decodes the other three, unless what is there is not what was there."""
    root, names = folder
    monkeypatch.setattr(store, "_CHUNK", 2)
    whole = decode_files(root, names, SMALL, tmp_path / "whole")
    decode, calls = store.decode_image, []

    def interrupted(path, framing):
        calls.append(Path(path).name)
        if Path(path).name == "4.jpg":
            raise KeyboardInterrupt
        return decode(path, framing)

    kept = tmp_path / "decoded"
    monkeypatch.setattr(store, "decode_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decode_files(root, names, SMALL, kept)
    part, notes = (next(kept.glob(f"*.{ending}")) for ending in ("part", "progress"))
    if damage == "torn line":
        notes.write_bytes(notes.read_bytes()[:-5])
    elif damage == "torn image":
        part.write_bytes(part.read_bytes()[: 3 * 192 + 5])
    elif damage == "other image":
        bytes_there = bytearray(part.read_bytes())
        bytes_there[2 * 192] ^= 1
        part.write_bytes(bytes_there)
    calls.clear()
    monkeypatch.setattr(store, "decode_image", lambda path, framing: calls.append(path.name) or decode(path, framing))
    # Half a line is what a killed process leaves; all else is told of.
    told = damage in ("torn image", "other image")
    with pytest.warns(RuntimeWarning, match="after the first 2 of 7 images") if told else nullcontext():
        decoded = decode_files(root, names, SMALL, kept)
    assert sorted(calls) == names[4 if not damage else 2 :]
    np.testing.assert_array_equal(decoded.images, whole.images)
    assert decoded.digests == whole.digests
    assert sorted(f.suffix for f in kept.iterdir() if f.suffix != ".lock") == [".bytes", ".json"]


def test_killed_while_decoding(tmp_path):
    """A process that is killed leaves what it has decoded to the next one."""
    for i in range(300):
        picture(200, 200, seed=i).save(tmp_path / f"{i}.jpg")
    names = [f"{i}.jpg" for i in range(300)]
    program = (
        "from art_denoise.data import decoded; decoded._CHUNK = 8\n"
        "decode = decoded.decode_image\n"
        "def slow(*args):\n    import time; time.sleep(0.02); return decode(*args)\n"
        "decoded.decode_image = slow\n"
        f"decoded.decode_files({str(tmp_path)!r}, {names!r}, decoded.Framing(12, 8), {str(tmp_path / 'kept')!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 60
    while (
        not any((tmp_path / "kept").glob("*.progress")) or not next((tmp_path / "kept").glob("*.progress")).read_text()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.2)
    process.kill()
    process.wait()
    lines = next((tmp_path / "kept").glob("*.progress")).read_text().splitlines()
    noted = sum(json.loads(line)["files"] for line in lines)
    assert 0 < noted < 300
    decoded = decode_files(tmp_path, names, SMALL, tmp_path / "kept")
    np.testing.assert_array_equal(decoded.images, decode_files(tmp_path, names, SMALL, tmp_path / "anew").images)


def test_a_second_process_is_refused(folder, tmp_path):
    root, names = folder
    key = store.decoded_key(root, names, SMALL)
    (tmp_path / "decoded").mkdir()
    with (
        store.FileLock(tmp_path / "decoded" / f"{key}.lock"),
        pytest.raises(ValueError, match="another process is decoding the same images"),
    ):
        decode_files(root, names, SMALL, tmp_path / "decoded")
    decode_files(root, names, SMALL, tmp_path / "decoded")


def test_too_little_room_is_said_before_anything_is_decoded(folder, tmp_path, monkeypatch):
    root, names = folder
    usage = store.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(OSError, match=r"GB are needed and 0\.0 GB are free.*make room there"):
        decode_files(root, names, SMALL, tmp_path / "decoded")


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk(folder, tmp_path):
    """The disk is full while images are written: said with the folder, and nothing decoded is lost."""
    root, names = folder

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))

    program = (
        "from art_denoise.data import decoded; decoded._CHUNK = 2\n"
        f"decoded.decode_files({str(root)!r}, {names!r}, decoded.Framing(12, 8), {str(tmp_path / 'kept')!r})"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=limited,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert ran.returncode == 1
    assert f"decoded images cannot be kept in {tmp_path / 'kept'} (File too large)" in ran.stderr
    assert not list((tmp_path / "kept").glob("*.bytes"))
    decoded = decode_files(root, names, SMALL, tmp_path / "kept")
    assert len(decoded.images) == 7


def test_a_place_that_cannot_be_written(folder, tmp_path):
    root, names = folder
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"decoded images cannot be kept in .*file/decoded.*`decoded_dir`"):
        decode_files(root, names, SMALL, tmp_path / "file" / "decoded")


@pytest.mark.parametrize("chosen", [5, slice(4, 6), np.array([0, 5]), (5, 0)])
def test_a_flipped_bit_is_found_where_its_image_is_read_and_mended(folder, tmp_path, chosen):
    root, names = folder
    kept = tmp_path / "decoded"
    whole = np.array(decode_files(root, names, SMALL, kept).images)
    (file,) = kept.glob("*.bytes")
    content = bytearray(file.read_bytes())
    content[5 * 192 + 7] ^= 4
    file.write_bytes(content)
    images = decode_files(root, names, SMALL, kept).images
    np.testing.assert_array_equal(images[1], whole[1])
    with pytest.warns(RuntimeWarning, match=r"bytes is damaged \(the content of 1 images .*decoded anew"):
        found = images[chosen]
    np.testing.assert_array_equal(found, whole[chosen])
    assert file.read_bytes() == whole.tobytes()


@pytest.mark.parametrize("chosen", [5, slice(4, 6), np.array([0, 5]), (5, 0), (slice(None), 1), ..., np.arange(7) > 4])
def test_a_flipped_bit_in_a_place_that_cannot_be_written(folder, tmp_path, monkeypatch, chosen):
    root, names = folder
    kept = tmp_path / "decoded"
    whole = np.array(decode_files(root, names, SMALL, kept).images)
    (file,) = kept.glob("*.bytes")
    content = bytearray(file.read_bytes())
    content[5 * 192 + 7] ^= 4
    file.write_bytes(content)

    def refuse(self, images):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(store._Verified, "_mend", refuse)
    images = decode_files(root, names, SMALL, kept).images
    with pytest.warns(RuntimeWarning, match=r"anew, for this run alone, .* cannot be mended \(Read-only file system\)"):
        found = images[chosen]
    np.testing.assert_array_equal(found, whole[chosen])
    # Once it has been told.
    np.testing.assert_array_equal(images[chosen], whole[chosen])
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "line", [b"[]\n", b"null\n", b"1\n", b'{"digests": [1]}\n', b"[" * 100_000 + b"\n", b"\xff\n", b'{"digests": 5}\n']
)
def test_what_is_noted_in_another_form_is_decoded_anew(folder, tmp_path, monkeypatch, line):
    root, names = folder
    key = store.decoded_key(root, names, SMALL)
    (tmp_path / f"{key}.part").write_bytes(b"\0" * 192)
    (tmp_path / f"{key}.progress").write_bytes(line)
    with pytest.warns(RuntimeWarning, match=r"progress or .*part is damaged: .* first 0 of 7 images is decoded anew"):
        decoded = decode_files(root, names, SMALL, tmp_path)
    assert len(decoded.images) == 7
    assert decoded.images[0].any()


@pytest.mark.parametrize("damage", ["cut", "longer", "no json", "other shape", "digest"])
def test_what_cannot_be_what_was_decoded_is_set_aside(folder, tmp_path, damage):
    root, names = folder
    kept = tmp_path / "decoded"
    whole = np.array(decode_files(root, names, SMALL, kept).images)
    (data,), (about,) = kept.glob("*.bytes"), kept.glob("*.json")
    if damage == "cut":
        data.write_bytes(data.read_bytes()[:-1])
    elif damage == "longer":
        data.write_bytes(data.read_bytes() + b"x")
    elif damage == "no json":
        about.write_bytes(b"\xff{")
    elif damage == "other shape":
        about.write_text("[1]")
    else:
        found = json.loads(about.read_text())
        found["digests"][0] = "0" * 16
        about.write_text(json.dumps(found))
    with pytest.warns(RuntimeWarning, match=r"is damaged .*\.damaged and is decoded anew"):
        again = decode_files(root, names, SMALL, kept)
    np.testing.assert_array_equal(again.images, whole)
    assert {file.suffix for file in kept.glob("*.damaged")} == {".damaged"}
