"""Documents are taken as they were written, or not at all: everything else is named, set aside, and written anew."""

from __future__ import annotations

import errno
import json
import os

import pytest

from art_denoise._documents import document_in, keep_document, read_document
from art_denoise._files import set_aside

CONTENT = {"options": {"seed": 1, "eps": 0.1}, "names": ["δ", "b"], 3: (1, 2)}


@pytest.fixture
def file(tmp_path):
    keep_document(tmp_path / "run" / "config.json", CONTENT, 2, indent=2)
    return tmp_path / "run" / "config.json"


def test_what_is_written_is_read(file):
    assert read_document(file, 2) == json.loads(json.dumps(CONTENT))
    # Others need no more than JSON.
    assert json.loads(file.read_text())["options"]["seed"] == 1
    with pytest.raises(FileNotFoundError):
        read_document(file.with_name("other.json"), 2)


def test_what_is_there_is_not_written_again(file):
    before = file.stat()
    keep_document(file, CONTENT, 2, indent=2)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    keep_document(file, {"options": {}}, 2)
    assert read_document(file, 2) == {"options": {}}
    assert [entry.name for entry in file.parent.iterdir()] == ["config.json"]


DAMAGES = {
    "empty": lambda text: b"",
    "cut": lambda text: text[:-30],
    "no text": lambda text: b"\xff\xfe{",
    "UTF-16": lambda text: text.decode().encode("utf-16"),
    "of something else": lambda text: b"[1]",
    "null": lambda text: b"null",
    "nothing": lambda text: b"{}",
    "deep": lambda text: b"[" * 200_000,
    "deep mappings": lambda text: b'{"a":' * 200_000,
    "edited": lambda text: text.replace(b'"seed": 1', b'"seed": 2'),
    "another name": lambda text: text.replace(b'"names"', b'"games"'),
    "more": lambda text: text.replace(b'"options"', b'"x": 1, "options"'),
    "another schema": lambda text: text.replace(b'"schema": 2', b'"schema": 1'),
    "schema of another type": lambda text: text.replace(b'"schema": 2', b'"schema": [[]]'),
    "no digest": lambda text: text.replace(b'"sha256"', b'"sha512"'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_as_it_was_written_is_set_aside_and_written_anew(file, damage):
    whole = file.read_bytes()
    damaged = DAMAGES[damage](whole)
    assert damaged != whole
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"^it(s| is)"):
        read_document(file, 2)
    with pytest.warns(RuntimeWarning, match=r"config\.json is damaged .*moved to .*\.damaged and is written anew"):
        keep_document(file, CONTENT, 2, indent=2)
    assert file.read_bytes() == whole
    assert file.with_name("config.json.damaged").read_bytes() == damaged


def test_a_folder_in_the_place_of_a_document(file):
    file.unlink()
    file.mkdir()
    with pytest.warns(RuntimeWarning, match="it is no file"):
        keep_document(file, CONTENT, 2)
    assert read_document(file, 2)["options"]


def test_every_flipped_bit_is_noticed(file):
    content = file.read_bytes()
    there = read_document(file, 2)
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        try:
            found = document_in(bytes(flipped), 2)
        except ValueError:
            continue
        # Space between values is no content.
        assert found == there


def test_what_cannot_be_moved_is_told_of_and_stays(file, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.warns(RuntimeWarning, match=r"cannot be moved away \(Read-only .* not used and is computed anew"):
        set_aside(file, "for a test")
    assert file.is_file()
