"""JSON files that say what schema they have and what their content hashes to; both are verified whenever they are read.

The content stands beside these two, so that people and other programs read it as any JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from art_denoise._files import set_aside, write_text

#: What a document says of itself, beside its content.
_OF_ITSELF = ("schema", "sha256")


def as_document(content: Mapping[str, Any], schema: int, *, indent: int | None = None) -> str:
    """Return content as a document, with the end of a line.

    :param content: JSON-like values by name.
    :param schema: Number of the form of the content.
    :param indent: Spaces of indentation, for people; None: all in one line.
    """
    # As it is read: keys are texts then, and tuples lists.
    content = json.loads(json.dumps(dict(content)))
    document = {"schema": schema, "sha256": _digest(content, schema), **content}
    return json.dumps(document, indent=indent, separators=None if indent else (",", ":")) + "\n"


def document_in(text: str | bytes, schema: int) -> dict[str, Any]:
    """Return the content of a document.

    :param schema: Number of the form that it must have.
    :raises ValueError: If it is not as it was written.
    """
    try:
        # Of bytes, too, as UTF-8 alone.
        document = json.loads(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {type(error).__name__}") from error
    if not isinstance(document, dict):
        raise ValueError("it is JSON of something else")
    if document.get("schema") != schema:
        raise ValueError(f"it is of schema {str(document.get('schema'))[:20]}, not {schema}")
    content = {name: value for name, value in document.items() if name not in _OF_ITSELF}
    try:
        digest = _digest(content, schema)
    except RecursionError as error:
        raise ValueError("it is no JSON: RecursionError") from error
    if document.get("sha256") != digest:
        raise ValueError("its content is not what was written")
    return content


def read_document(file: Path, schema: int) -> dict[str, Any]:
    """Return the content of a document.

    :raises FileNotFoundError: If there is no file.
    :raises ValueError: If it is not as it was written.
    """
    if not file.exists():
        raise FileNotFoundError(f"there is no file {file}")
    if not file.is_file():
        raise ValueError("it is no file")
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error
    return document_in(text, schema)


def keep_document(file: Path, content: Mapping[str, Any], schema: int, *, indent: int | None = None) -> None:
    """Write a document, whole or not at all, unless it is there as it is.

    :warns RuntimeWarning: If what was there is damaged: it has been set aside.
    :raises OSError: If it cannot be written.
    """
    text = as_document(content, schema, indent=indent)
    try:
        read_document(file, schema)
        if file.read_bytes() == text.encode():
            return
    except FileNotFoundError:
        pass
    except ValueError as error:
        set_aside(file, str(error), "written anew")
    write_text(file, text)


def _digest(content: Mapping[str, Any], schema: int) -> str:
    return hashlib.sha256(json.dumps([schema, content], sort_keys=True).encode()).hexdigest()
