"""Files of pictures: what is read is written again as it was, and what cannot be is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from art_denoise.data.pictures import Picture, check_format, pictures_below, read_picture, write_picture

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (9, 12, 4), dtype=np.uint8)


def saved(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_come_back_as_they_were(tmp_path, ending, channels):
    pixels = BYTES[..., 0] if channels == 1 else BYTES[..., :3]
    options = {"lossless": True} if ending == ".webp" else {}
    picture = read_picture(saved(tmp_path / f"a{ending}", pixels, **options))
    # WebP has no grey pictures.
    assert picture.values.shape == (3 if ending == ".webp" else channels, 9, 12)
    assert picture.values.dtype == np.float32
    write_picture(picture, tmp_path / "b.png")
    again = np.asarray(Image.open(tmp_path / "b.png"))
    assert np.array_equal(again if again.ndim == pixels.ndim else again[..., 0], pixels)


@pytest.mark.parametrize("pixels", [BYTES, BYTES[..., 2:]])
def test_transparency_stays(tmp_path, pixels):
    picture = read_picture(saved(tmp_path / "a.png", pixels))
    assert picture.values.shape[0] == pixels.shape[2] - 1
    assert np.array_equal(picture.alpha, pixels[..., -1])
    write_picture(picture, tmp_path / "b.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), pixels)
    with pytest.raises(ValueError, match=r"b\.jpg cannot hold the transparency of the picture: let it end in \.png"):
        write_picture(picture, tmp_path / "b.jpg")
    assert not (tmp_path / "b.jpg").exists()


def test_sixteen_bits_stay_where_there_is_room_for_them(tmp_path):
    pixels = RNG.integers(0, 65536, (9, 12), dtype=np.uint16)
    picture = read_picture(saved(tmp_path / "a.png", pixels))
    assert picture.sixteen_bits
    write_picture(picture, tmp_path / "b.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), pixels)
    write_picture(picture, tmp_path / "c.bmp")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "c.bmp")), np.round(pixels / 257))


@pytest.mark.parametrize("mode", ["P", "CMYK", "1"])
def test_other_modes_become_rgb_or_grey(tmp_path, mode):
    file = saved(tmp_path / "a.tif", BYTES[..., :3], mode)
    wanted = np.asarray(Image.open(file).convert("L" if mode == "1" else "RGB"))
    values = read_picture(file).values
    assert np.array_equal(np.round(255 * values.transpose(1, 2, 0)).astype(np.uint8).squeeze(), wanted)


def test_a_picture_is_turned_as_its_metadata_says_and_keeps_the_rest(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "of mine"
    file = saved(tmp_path / "a.jpg", BYTES[..., :3], exif=exif, dpi=(300, 300))
    picture = read_picture(file)
    assert picture.values.shape == (3, 12, 9)
    write_picture(picture, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as again:
        assert again.size == (9, 12)
        assert again.getexif()[0x010E] == "of mine"
        assert again.getexif().get(0x0112, 1) == 1
        assert again.info["dpi"] == (300, 300)


def test_what_is_no_single_picture_is_refused_by_name(tmp_path):
    frames = [Image.fromarray(BYTES[..., i]) for i in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    saved(tmp_path / "floats.tif", RNG.random((4, 4), dtype=np.float32))
    (tmp_path / "text.png").write_text("no picture")
    saved(tmp_path / "whole.png", BYTES)
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    for name, why in {
        "moving.gif": "holds 3 pictures, as an animation",
        "floats.tif": "holds values of 32 bits",
        "text.png": "is no image",
        "cut.png": "cannot be read: ",
        "nowhere.png": "leads nowhere",
        ".": "is no file",
    }.items():
        with pytest.raises(ValueError, match=why):
            read_picture(tmp_path / name)


@pytest.mark.parametrize("name", ["a", "a.xyz", "a.mpo", "a.eps", "a.pdf"])
def test_only_formats_of_pictures_are_written(tmp_path, name):
    with pytest.raises(ValueError, match=rf"{name} must end in \.png, \.jpg"):
        check_format(tmp_path / name)


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    file = saved(tmp_path / "a.png", BYTES)
    before = file.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_picture(Picture(np.zeros((1, 4, 4), np.float32)), file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_pictures_below_a_folder(tmp_path):
    for name in ("b.PNG", "a/c.jpeg", "a/notes.txt", ".hidden.png", "a/d.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [str(file.relative_to(tmp_path)) for file in pictures_below(tmp_path)] == ["a/c.jpeg", "b.PNG"]
