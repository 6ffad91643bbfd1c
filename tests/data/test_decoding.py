"""Files become the bytes that torchvision makes of them, and what is no image is named."""

from __future__ import annotations

import os
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path
from threading import Event, Thread, current_thread

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from art_denoise.data.decoded import decode_files
from art_denoise.data.decoding import Framing, decode_image

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


@pytest.mark.parametrize(
    ("framing", "size"),
    [(Framing(), (300, 411)), (Framing(), (411, 300)), (Framing(), (60, 50)), (Framing(70, 64, "bicubic"), (99, 70))],
)
def test_the_framing_is_torchvisions(tmp_path, framing, size):
    picture(*size).save(tmp_path / "x.png")
    theirs = transforms.Compose(
        [
            transforms.Resize(framing.resize, InterpolationMode(framing.interpolation)),
            transforms.CenterCrop(framing.crop),
        ]
    )(Image.open(tmp_path / "x.png"))
    np.testing.assert_array_equal(decode_image(tmp_path / "x.png", framing), np.asarray(theirs).transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "LA", "1"])
def test_modes_are_converted_as_torchvision_does(tmp_path, mode):
    name = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    picture(12, 12).convert(mode).save(name)
    expected = np.asarray(Image.open(name).convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode_image(name, Framing(12, 12)), expected)


def test_sixteen_bits_are_scaled(tmp_path):
    """Pillow's own conversion would make everything above 255 white."""
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(grey).save(tmp_path / "x.png")
    decoded = decode_image(tmp_path / "x.png", Framing(8, 8))
    np.testing.assert_array_equal(decoded, np.broadcast_to(np.round(grey / 257).astype(np.uint8), (3, 8, 8)))


def png(width: int, height: int, bits: int = 8, colour: int = 0, rows: bytes = b"") -> bytes:
    """A PNG that says of itself what is asked for."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def twelve_bits(values: np.ndarray) -> bytes:
    """A TIFF whose samples have twelve bits, and which says so."""
    height, width = values.shape
    first, second = values[:, ::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8).tobytes()
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 122), (277, 1), (278, height)]
    tags.append((279, len(packed)))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + packed


#: Values of twelve bits, each its own.
TWELVE = np.arange(64, dtype=np.uint16).reshape(8, 8) * 65


@pytest.mark.parametrize("kind", ["grey", "tiff", "colours", "bytes in 32 bits", "pgm"])
def test_fewer_bits_kept_in_more_do_not_come_out_black(tmp_path, kind):
    file = tmp_path / "x.png"
    if kind == "grey":
        Image.fromarray(TWELVE).save(file)
    elif kind == "tiff":
        Image.fromarray(TWELVE).save(file, "TIFF")
    elif kind == "colours":
        rows = np.repeat(TWELVE[:, :, None], 3, axis=2).astype(">u2")
        file.write_bytes(png(8, 8, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows)))
    elif kind == "bytes in 32 bits":
        Image.fromarray((TWELVE // 16).astype(np.int32)).save(file, "TIFF")
    else:
        file.write_bytes(b"P5 8 8 65535\n" + TWELVE.astype(">u2").tobytes())
    with pytest.raises(
        ValueError, match=r"as good as black\. Multiply them, so that white is 65535, or save it as bytes"
    ):
        decode_image(file, Framing(8, 8))


def test_of_twelve_bits_that_are_said_the_greatest_is_white(tmp_path):
    expected = np.broadcast_to(np.round(TWELVE / 4095 * 255).astype(np.uint8), (3, 8, 8))
    (tmp_path / "x.tif").write_bytes(twelve_bits(TWELVE))
    (tmp_path / "x.pgm").write_bytes(b"P5 8 8 4095\n" + TWELVE.astype(">u2").tobytes())
    for name in ("x.tif", "x.pgm"):
        np.testing.assert_allclose(decode_image(tmp_path / name, Framing(8, 8)), expected, atol=1)


def test_sixteen_bits_of_colours(tmp_path):
    rows = np.repeat(TWELVE[:, :, None] * 16, 3, axis=2).astype(">u2")
    (tmp_path / "x.png").write_bytes(png(8, 8, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows)))
    expected = np.broadcast_to((TWELVE * 16 / 257), (3, 8, 8))
    np.testing.assert_allclose(decode_image(tmp_path / "x.png", Framing(8, 8)), expected, atol=1)


def test_black_is_black(tmp_path):
    Image.fromarray(np.zeros((9, 9), dtype=np.uint16)).save(tmp_path / "x.png")
    assert not decode_image(tmp_path / "x.png", SMALL).any()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_images_the_first_is_taken(tmp_path, kind):
    first, second = (Image.new("RGB", (20, 14), (level, level, level)) for level in (50, 200))
    first.save(tmp_path / "x.png", kind, save_all=True, append_images=[second])
    assert (decode_image(tmp_path / "x.png", SMALL) == 50).all()


def test_no_room_is_made_for_what_a_file_says_of_itself(tmp_path):
    """A box of a JPEG 2000 that says that it has four gigabytes."""
    picture().save(tmp_path / "x.jp2")
    content = bytearray((tmp_path / "x.jp2").read_bytes())
    at = content.index(b"jp2h") - 4
    content[at : at + 4] = b"\xf8\0\0\0"
    (tmp_path / "x.jp2").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="Expected to read"):
            decode_image(tmp_path / "x.jp2", SMALL)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_nothing_is_decoded_before_its_size_is_looked_at(tmp_path, monkeypatch):
    """Whatever a program has set for Pillow."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("it was decoded"))
    (tmp_path / "x.png").write_bytes(png(30_000, 30_000))
    with pytest.raises(ValueError, match="is 30000 × 30000, 900 million pixels"):
        decode_image(tmp_path / "x.png", SMALL)


def test_threads_that_decode_leave_the_warnings_of_others_as_they_are(tmp_path, monkeypatch):
    """Two that enter and leave in turns: `warnings.catch_warnings` would leave the process silent."""
    picture().save(tmp_path / "x.png")
    entered, convert, threads, decoded = [Event(), Event()], Image.Image.convert, [], []

    def slow(self, *args):
        number = threads.index(current_thread())
        entered[number].set()
        # The first waits until the second is in, and the second until the first is out.
        entered[1].wait(10) if number == 0 else threads[0].join(10)
        warnings.warn("of transparency", UserWarning, stacklevel=2)
        return convert(self, *args)

    monkeypatch.setattr(Image.Image, "convert", slow)
    before = list(warnings.filters)
    for number in (0, 1):
        threads.append(Thread(target=lambda: decoded.append(decode_image(tmp_path / "x.png", SMALL))))
        threads[-1].start()
        assert entered[number].wait(10)
    threads[1].join(10)
    assert warnings.filters == before
    # The second was not warned of anything when the first was out.
    assert len(decoded) == 2


def break_file(path: Path, kind: str) -> None:
    """Make a file that is no image, in one of several ways."""
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a picture")
    elif kind == "fifo":
        path.unlink()
        os.mkfifo(path)
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "dangling":
        path.unlink()
        path.symlink_to("nowhere")
    elif kind == "32 bits":
        Image.fromarray(np.full((9, 9), 2**20, dtype=np.int32)).save(path, "TIFF")
    elif kind == "large":
        path.write_bytes(png(30_000, 30_000))
    elif kind == "sparse":
        # A WebP is read whole: two gigabytes that take no room on the disk.
        picture().save(path, "WEBP")
        os.truncate(path, 2**31)
    elif kind == "thin":
        Image.new("L", (1_000_000, 1)).save(path, "PNG")
    elif kind == "eps":
        picture().save(path, "EPS")
    elif kind == "unknown error":
        # Pillow raises a TypeError for it.
        picture().save(path, "TIFF")
        content = path.read_bytes()
        path.write_bytes(content[:4] + b"\xff\xff\xff\x7f" + content[8:])
    elif kind == "floats":
        Image.fromarray(np.zeros((9, 9), dtype=np.float32)).save(path, "TIFF")
    else:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "is no image"),
        ("text", "is no image"),
        ("floats", "holds floating-point numbers, whose range is not known: save it as bytes"),
        ("truncated", "[Tt]runcated"),
        ("fifo", "is no file"),
        ("folder", "is no file"),
        ("dangling", "leads nowhere"),
        ("32 bits", "holds whole numbers from 1048576 to 1048576, of 32 bits: save it as bytes"),
        ("large", "exceeds limit of 178956970 pixels"),
        ("sparse", "is a file of 2.1 GB"),
        ("thin", "is 1000000 × 1, so long that with a shorter side of 12 it would have 144 million pixels"),
        ("eps", "is no image"),
        ("unknown error", ""),
    ],
)
def test_what_is_no_image_is_named(folder, tmp_path_factory, kind, message):
    root, names = folder
    break_file(root / "3.jpg", kind)
    kept = tmp_path_factory.mktemp("decoded")
    with pytest.raises(ValueError, match=rf"1 of 7 images cannot be read \(.*3\.jpg: .*{message}.*`skip_broken`"):
        decode_files(root, names, SMALL, kept)
    listed = next(kept.glob("broken-*.txt")).read_text()
    assert listed.count("\n") == 1
    assert "3.jpg" in listed
    with pytest.raises(ValueError, match="1 of 7 images cannot be read"):
        decode_files(root, names, SMALL, kept)
    decoded = decode_files(root, names, SMALL, kept, skip_broken=True)
    assert decoded.kept.tolist() == [0, 1, 2, 4, 5, 6]
    assert list(decoded.broken) == ["3.jpg"]
    for image, i in zip(decoded.images, decoded.kept, strict=True):
        np.testing.assert_array_equal(image, decode_image(root / names[i], SMALL))
    # Asked without leave again, it is refused again, though it is decoded.
    with pytest.raises(ValueError, match="1 of 7 images cannot be read"):
        decode_files(root, names, SMALL, kept)


def test_no_error_of_a_reader_gets_through(folder, monkeypatch):
    root, names = folder

    class Odd(RuntimeError):
        pass

    def fails(*args, **kwargs):
        raise Odd("seek of a closed file\nin the middle")

    monkeypatch.setattr(Image.Image, "convert", fails)
    with pytest.raises(ValueError, match="seek of a closed file in the middle"):
        decode_image(root / names[0], SMALL)


def test_of_a_telephone_the_photograph_is_taken(tmp_path):
    """Its JPEG holds a preview, or a map of depth, behind the photograph (MPO); of some that is cut off."""
    photograph = picture(60, 80)
    photograph.save(tmp_path / "alone.jpg")
    photograph.save(tmp_path / "IMG_0001.JPG", format="MPO", save_all=True, append_images=[picture(16, 16, seed=1)])
    expected = decode_image(tmp_path / "alone.jpg", SMALL)
    np.testing.assert_array_equal(decode_image(tmp_path / "IMG_0001.JPG", SMALL), expected)
    whole = (tmp_path / "IMG_0001.JPG").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: whole.rfind(b"\xff\xd8\xff")])
    np.testing.assert_array_equal(decode_image(tmp_path / "cut.jpg", SMALL), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resize": 0}, "`resize` must be >= 1"),
        ({"crop": 300}, "`crop` must be <= `resize` = 256, got 300"),
        ({"interpolation": "lanczos"}, "`interpolation` must be"),
    ],
)
def test_bad_framing(arguments, message):
    with pytest.raises(ValueError, match=message):
        Framing(**arguments)
