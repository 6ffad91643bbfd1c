"""Files that are written whole or not at all, flushed before they have their name, and set aside if damaged."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError

#: Errors of a place that is not to be written to: on a read-only medium, or somebody else's.
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)

#: Errors of a disk that is full.
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place beside `path` to write to; what was written there becomes `path` when the block ends well.

    Folders are made as needed. The file is flushed to the disk before it gets its name, and then the folder, so that
    even a loss of power leaves the old file or the new one. If the block fails, `path` is as it was and nothing is left
    beside it. Processes and threads that write the same file at the same time do not disturb each other: the last
    one stays.

    :raises OSError: If it cannot be written, with the path and the reason.
    """
    # Another for each writer: threads of one process may write the same file.
    beside = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        _flush(beside)
        os.replace(beside, path)
        with suppress(OSError):  # Windows, and some network drives, cannot flush a folder
            _flush(path.parent)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        # What safetensors makes of a full disk.
        raise OSError(errno.EIO, f"cannot write {path}: {error}") from error
    finally:
        # The folder may not be there, or not be one.
        if beside.exists():
            beside.unlink()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all; folders are made as needed."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def set_aside(file: Path, why: str, then: str = "computed anew") -> None:
    """Move a damaged file to `NAME.damaged` beside it, where nothing looks for it.

    In a place that cannot be written it stays where it is.

    :param why: What is wrong with it.
    :param then: What becomes of what was in it: it "is" that.
    :warns RuntimeWarning: That it is damaged, and where it is now.
    """
    place, said = file.with_name(f"{file.name}.damaged"), "it"
    try:
        os.replace(file, place)
        said = f"it has been moved to {place} and"
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        said = f"it cannot be moved away ({error.strerror}), but is not used and"
    warnings.warn(f"{file} is damaged ({why}): {said} is {then}", RuntimeWarning, stacklevel=3)


def content_digest(metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """Return the digest of everything in a file of arrays but the digest itself."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
