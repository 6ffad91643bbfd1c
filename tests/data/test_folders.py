"""Folders of classes: every image is found, every folder is the class it should be, no file is in two splits."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_denoise.data.folders import (
    PAPER_SIZES,
    draw_splits,
    imagenet_wnids,
    links_out,
    list_folder,
    match_classes,
)

WNIDS = imagenet_wnids()


def touch(root, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_wnids_of_imagenet():
    """Facts that anybody can check: a thousand, sorted, the tench first, the goldfish second, toilet tissue last."""
    assert len(WNIDS) == len(set(WNIDS)) == 1000
    assert list(WNIDS) == sorted(WNIDS)
    assert WNIDS[:2] == ("n01440764", "n01443537")
    assert WNIDS[999] == "n15075141"


def test_wnids_are_those_of_the_real_folder(realdata):
    assert list(WNIDS) == (realdata / "imagenet_wnids.txt").read_text().split()


def test_every_image_is_found(tmp_path):
    touch(tmp_path, "b/2.JPEG", "b/1.png", "a/x/y.webp", "a/notes.txt", "a/.hidden.jpg", ".git/1.jpg", "empty/readme")
    listing = list_folder(tmp_path)
    assert listing.files == ("a/x/y.webp", "b/1.png", "b/2.JPEG")
    assert listing.folders == ("a", "b")
    assert listing.positions.tolist() == [0, 1, 1]
    assert len(listing) == 3


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "it holds no images at all"),
        (["1.jpg", "2.jpg"], "it holds 2 images that are in no such folder"),
        (["a/readme.txt"], "it holds no images at all"),
    ],
)
def test_a_folder_without_classes(tmp_path, files, message):
    touch(tmp_path, *files)
    with pytest.raises(ValueError, match=message):
        list_folder(tmp_path)
    with pytest.raises(ValueError, match="there is no folder"):
        list_folder(tmp_path / "missing")


def test_classes_by_wordnet_id():
    """By id, not by position: with classes missing the second folder need not be class 1."""
    found = match_classes(["n02007558", "n01440764"], 1000)
    assert found.labels == {"n02007558": WNIDS.index("n02007558"), "n01440764": 0}
    assert found.rule == "by WordNet id"
    assert found.find_names()[0] == "tench"


def test_classes_by_the_models_names():
    categories = ["Sea lion", "tiger_cat", "crane", "crane"]
    found = match_classes(["tiger cat", "sea_lion"], 4, categories=lambda: categories)
    assert found.labels == {"tiger cat": 1, "sea_lion": 0}
    assert found.rule == "by the model's names of its classes"
    # Two classes have this name: which one is not known.
    with pytest.raises(ValueError, match="cannot be matched"):
        match_classes(["crane"], 4, categories=lambda: categories)


def test_classes_by_position():
    found = match_classes(["dogs", "cats"], 2, categories=lambda: ["a", "b"])
    assert found.labels == {"cats": 0, "dogs": 1}
    assert "alphabetical" in found.rule


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", json.dumps({"cats": 3, "dogs": 1})),
        ("m.csv", "cats,3\ndogs, 1\n"),
        ("m.txt", "folder,label\ncats,3\ndogs,1\nothers,0\n"),
    ],
)
def test_classes_by_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    found = match_classes(["cats", "dogs"], 4, mapping=tmp_path / name)
    assert found.labels == {"cats": 3, "dogs": 1}
    assert found.find_names() == {3: "cats", 1: "dogs"}
    assert found.rule == f"by {name}"


@pytest.mark.parametrize(
    ("folders", "classes", "mapping", "message"),
    [
        (["n01440764", "n99999999"], 1000, None, "'n99999999' is no WordNet id.*`classes`"),
        (["n01440764", "cats"], 1000, None, "'cats' is no WordNet id"),
        (["n01440764"], 10, None, "the model returns 10 logits"),
        (["a", "b", "c", "d", "e"], 4, None, r"5 folders \('a', 'b', 'c' and 2 more\) cannot be matched.*`classes`"),
        (["a", "b"], 4, {"a": 1}, "has no line for 'b'"),
        (["a", "b"], 4, {"a": 1, "b": 4}, "b has the label 4: the model's labels are 0 to 3"),
        (["a", "b"], 4, {"a": 1, "b": -1}, "b has the label -1"),
        (["a", "b"], 4, {"a": 1, "b": 1}, "two folders have the label 1"),
        (["red", "blue"], 2, None, "'blue' is none of the model's names of its classes"),
        (["a"], 4, {"a": "one"}, "must be JSON"),
        (["a"], 4, ["a"], "must be JSON"),
    ],
)
def test_classes_that_cannot_be_matched(tmp_path, folders, classes, mapping, message):
    file = None
    if mapping is not None:
        file = tmp_path / "m.json"
        file.write_text(json.dumps(mapping))
    with pytest.raises(ValueError, match=message):
        match_classes(folders, classes, mapping=file, categories=lambda: ["red", "green"] * (classes == 2))


def test_a_mapping_that_says_two_things(tmp_path):
    (tmp_path / "m.csv").write_text("a,0\na,1\n")
    with pytest.raises(ValueError, match="has two lines for 'a'"):
        match_classes(["a"], 2, mapping=tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.json", b'{"a": 0, "a": 1}', "has two lines for 'a'"),
        ("m.json", b'{"a": 0.7}', "with whole numbers as labels"),
        ("m.json", b'{"a": true}', "with whole numbers as labels"),
        ("m.json", b'{"a": Infinity}', "with whole numbers as labels"),
        ("m.json", b'{"a": ' + b"9" * 5000 + b"}", "with whole numbers as labels"),
        ("m.json", b"[" * 100_000, "must be JSON"),
        ("m.json", b"null", "must be JSON"),
        ("m.csv", b'"' + b"a" * 200_000 + b'",0', "or CSV"),
        ("m.csv", "caf\xe9,0".encode("latin-1"), "is no text in UTF-8 .* at byte 3.: save it so"),
        ("m.csv", "a,0".encode("utf-16"), "is no text in UTF-8"),
        ("m.csv", b"a\0,0\nb,1", "has no line for 'a'|or CSV"),
    ],
)
def test_lists_that_are_damaged_or_odd(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"`classes` = .*{message}|{name} {message}"):
        match_classes(["a"], 2, mapping=tmp_path / name)


def test_a_list_that_is_larger_than_lists_are(tmp_path):
    with (tmp_path / "m.csv").open("wb") as opened:
        opened.truncate(2**33)
    with pytest.raises(ValueError, match="has 8,589,934,592 bytes, where 16,777,216 are most that is read"):
        match_classes(["a"], 2, mapping=tmp_path / "m.csv")


def test_links_are_followed_but_not_for_ever(tmp_path):
    """A link to a folder that it is in would be listed forty times, and to itself is an error of the system."""
    touch(tmp_path, "in/a/1.png", "in/a/deep/2.png", "elsewhere/3.png")
    (tmp_path / "in/a/up").symlink_to("..")
    (tmp_path / "in/a/deep/again").symlink_to("../../a")
    (tmp_path / "in/a/itself").symlink_to("itself")
    (tmp_path / "in/itself").symlink_to("itself")
    (tmp_path / "in/b").symlink_to("../elsewhere")
    (tmp_path / "in/a/4.png").symlink_to("../../elsewhere/3.png")
    (tmp_path / "in/a/5.png").symlink_to("1.png")
    (tmp_path / "in/a/6.png").symlink_to("nowhere")
    (tmp_path / "in/all").symlink_to(".")
    listing = list_folder(tmp_path / "in")
    assert list(listing.files) == [
        "a/1.png",
        "a/4.png",
        "a/5.png",
        "a/6.png",
        "a/deep/2.png",
        "b/3.png",
    ]
    assert links_out(tmp_path / "in", listing.files) == ["a/4.png", "b/3.png"]


def test_folders_in_folders_as_deep_as_there_are(tmp_path):
    names = "/".join("d" * 600)
    os.makedirs(tmp_path / "a" / names)
    (tmp_path / "a" / names / "1.png").touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        assert list_folder(tmp_path).files == (f"a/{names}/1.png",)
    finally:
        sys.setrecursionlimit(limit)


def test_a_mapping_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        match_classes(["a"], 2, mapping=tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("names", "first"),
    [
        ([str(i) for i in range(12)], 0),
        ([f"class_{i}" for i in range(1, 13)], 1),
        ([f"{i:04d}" for i in range(12)], 0),
    ],
)
def test_classes_by_number(names, first):
    """As text 10 would come before 2."""
    classes = match_classes(sorted(names), 12)
    assert classes.labels == {name: i for i, name in enumerate(names)}
    assert classes.rule == "by the numbers that the folders are named by"
    # Some may be missing, if it can be seen where the numbers begin.
    few = names[:11:2]
    if first == 0:
        assert match_classes(few, 12).labels == {name: 2 * i for i, name in enumerate(few)}
    else:
        with pytest.raises(ValueError, match=r"cannot be matched with the model's 12 classes|are numbered"):
            match_classes(few, 12)


@pytest.mark.parametrize(
    "names",
    [
        [f"class_{i}" for i in range(5, 17)],
        ["cat1", "cat2", "cat10", "dog1", *(f"eel{i}" for i in range(8))],
        [f"{i}_kind" for i in range(1, 13)],
        [*map(str, range(11)), "00"],
    ],
)
def test_numbers_that_do_not_say_the_class_are_asked_for(names):
    with pytest.raises(ValueError, match=r"are numbered, and in alphabetical order.*`classes`"):
        match_classes(sorted(names), 12)


def test_numbers_of_as_many_digits_are_in_order():
    names = [f"s{i:02d}" for i in range(5, 17)]
    assert match_classes(names, 12).labels == {name: i for i, name in enumerate(names)}


@pytest.mark.parametrize("names", [["test", "train"], ["Train", "Valid"], ["test"]])
def test_parts_of_a_data_set_are_no_classes(tmp_path, names):
    with pytest.raises(ValueError, match=r"what parts of a data set are called, not classes.*train and val"):
        match_classes(names, len(names))
    file = tmp_path / "classes.json"
    file.write_text(json.dumps({name: i for i, name in enumerate(names)}))
    assert match_classes(names, 2, mapping=file).labels == {name: i for i, name in enumerate(names)}


def test_a_flat_folder_is_told_how_images_get_into_folders(tmp_path):
    touch(tmp_path, "val/ILSVRC2012_val_00000001.JPEG", "other/a.png")
    with pytest.raises(
        ValueError, match=r"1 images that are in no such folder: .*LOC_val_solution\.csv.*development kit"
    ):
        list_folder(tmp_path / "val")
    with pytest.raises(ValueError, match="move each into the folder of its class"):
        list_folder(tmp_path / "other")


@given(
    counts=st.dictionaries(st.sampled_from(["train", "val"]), st.integers(20, 60), min_size=2, max_size=2),
    sizes=st.fixed_dictionaries({p: st.none() | st.integers(0, 6) for p in ("craft", "tune", "noise-fit")}),
    together=st.booleans(),
    seed=st.integers(0, 9),
)
def test_no_file_is_in_two_splits(counts, sizes, together, seed):
    pools = {"all": sum(counts.values())} if together else counts
    wanted = {**sizes, "test": None}
    drawn = draw_splits(pools, wanted, seed)
    assert set(drawn) == {p for p, size in wanted.items() if size != 0}
    for purpose, (pool, chosen) in drawn.items():
        assert pool == ("all" if together else "train" if purpose == "craft" else "val")
        assert len(chosen) >= 1
        assert wanted[purpose] in (None, len(chosen))
    for pool, count in pools.items():
        together_drawn = np.concatenate([np.empty(0, int), *(c for p, c in drawn.values() if p == pool)])
        assert len(set(together_drawn.tolist())) == len(together_drawn)
        assert ((together_drawn >= 0) & (together_drawn < count)).all()


def test_sizes():
    everything = dict.fromkeys(PAPER_SIZES)
    imagenet = draw_splits({"train": 1_281_167, "val": 50_000}, everything, 0)
    assert {p: len(chosen) for p, (_, chosen) in imagenet.items()} == PAPER_SIZES
    folder = draw_splits({"all": 200}, everything, 0)
    assert {p: len(chosen) for p, (_, chosen) in folder.items()} == {
        "craft": 60,
        "tune": 20,
        "noise-fit": 40,
        "test": 80,
    }
    only = draw_splits({"all": 200}, {"craft": 0, "tune": 0, "noise-fit": 0, "test": None}, 0)
    assert only["test"][1].tolist() == list(range(200))


def test_the_seed_decides_and_later_sizes_do_not():
    def drawn(seed: int, test: int) -> dict:
        sizes = {"craft": 20, "tune": 10, "noise-fit": 10, "test": test}
        return {p: chosen.tolist() for p, (_, chosen) in draw_splits({"all": 100}, sizes, seed).items()}

    assert drawn(0, 20) == drawn(0, 20)
    assert drawn(0, 20) != drawn(1, 20)
    for purpose in ("craft", "tune", "noise-fit"):
        assert drawn(0, 20)[purpose] == drawn(0, 40)[purpose]


@pytest.mark.parametrize(
    ("pools", "sizes", "message"),
    [
        ({"all": 10}, {"craft": 8, "tune": 2, "noise-fit": 1, "test": 1}, "10 images are too few"),
        ({"all": 10}, {"craft": 8, "tune": 2, "noise-fit": 0, "test": None}, "10 images are too few"),
        (
            {"train": 10, "val": 3},
            {"craft": None, "tune": 1, "noise-fit": 1, "test": 3},
            r"3 images are too few \(val\)",
        ),
        ({"all": 10}, {"craft": 1, "tune": 0, "noise-fit": 0, "test": 0}, "`test_images` must be >= 1"),
    ],
)
def test_too_few_images(pools, sizes, message):
    with pytest.raises(ValueError, match=message):
        draw_splits(pools, sizes, 0)
