"""The commands that denoise pictures: the same as the filters, folders as they are, errors in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from art_denoise import nl_means_denoise, rof_denoise
from art_denoise.cli import main

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def planes(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255)


@pytest.mark.parametrize(
    ("given", "filtered"),
    [
        ([], lambda x: rof_denoise(x, 10 / 255)),
        (["--defence", "rof:weight=3"], lambda x: rof_denoise(x, 3 / 255)),
        (["--defence", "nlm:h=0.1"], lambda x: nl_means_denoise(x, 0.1)),
        (["--defence", "rof+nlm"], lambda x: nl_means_denoise(rof_denoise(x, 10 / 255).clamp(0, 1), 0.05)),
    ],
)
def test_a_picture_is_filtered_as_the_filters_do(picture, tmp_path, capsys, given, filtered):
    assert main(["denoise", str(picture), str(tmp_path / "b.png"), *given]) == 0
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""
    wanted = filtered(planes(PIXELS))[0].clamp(0, 1).numpy().transpose(1, 2, 0)
    found = np.asarray(Image.open(tmp_path / "b.png"))
    assert np.abs(found - 255 * wanted).max() <= 0.5 + 1e-3
    assert np.array_equal(np.asarray(Image.open(picture)), PIXELS)


def test_a_folder_is_denoised_as_it_is(picture, tmp_path, capsys):
    (tmp_path / "sub").mkdir()
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "sub" / "grey.bmp")
    (tmp_path / "sub" / "broken.jpg").write_text("no")
    # Inside of what is read, and twice: what was written before is not read.
    for _ in range(2):
        assert main(["denoise", str(tmp_path), str(tmp_path / "out")]) == 1
        shown = capsys.readouterr()
        assert shown.out == f"2 of 3 pictures denoised, in {tmp_path / 'out'}\n"
        assert f"Error: {tmp_path / 'sub' / 'broken.jpg'} is no image" in shown.err
        found = sorted(str(f.relative_to(tmp_path / "out")) for f in (tmp_path / "out").rglob("*") if f.is_file())
        assert found == ["a.png", "sub/grey.bmp"]
    assert np.asarray(Image.open(tmp_path / "out" / "sub" / "grey.bmp")).shape == (20, 24)


def test_a_folder_takes_a_picture_by_its_name(picture, tmp_path):
    (tmp_path / "there").mkdir()
    assert main(["denoise", str(picture), str(tmp_path / "there")]) == 0
    assert (tmp_path / "there" / "a.png").is_file()


def test_wrong_input_is_told_in_one_sentence(picture, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for given, said in {
        ("denoise", "nowhere.png", "b.png"): "there is no file or folder nowhere.png",
        ("denoise", picture, picture): f"{picture} is what is read: give another file or folder to write to",
        ("denoise", picture, "b.xyz"): "b.xyz must end in .png",
        ("denoise", tmp_path / "empty", "out"): f"there is no picture in {tmp_path / 'empty'}, nor below it",
        ("denoise", tmp_path, picture): f"{picture} is a file, and {tmp_path} a folder",
        ("denoise", picture, "b.png", "--defence", "rofs"): "rof",
        ("denoise", picture): "denoise needs OUT",
        ("compare", picture, "--side", "3"): "--side must be 16 pixels or more, got 3",
        ("compare", picture, "--out", picture): f"{picture} is the picture itself",
        ("compare", tmp_path / "no.png"): "leads nowhere",
    }.items():
        assert main(list(map(str, given))) == 2, given
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("Error: ")
        assert shown.err.count("\n") == 1
        assert said in shown.err
    assert np.array_equal(np.asarray(Image.open(picture)), PIXELS)


def test_strengths_stand_beside_each_other(picture, tmp_path, capsys):
    assert main(["compare", str(picture), "--side", "16"]) == 0
    made = tmp_path / "a-denoised.png"
    assert capsys.readouterr().out == f"Strengths beside each other: {made}\n"
    drawn = np.asarray(Image.open(made).convert("RGB"))
    # Two rows of six.
    assert drawn.shape[1] > 2 * drawn.shape[0]
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 500
