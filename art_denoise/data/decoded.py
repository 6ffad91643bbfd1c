"""Image files decoded once, into a memory map of bytes that every later step reads from.

Decoding goes on where it was interrupted, uses all cores, and lists files that cannot be read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from art_denoise._documents import as_document, document_in, keep_document, read_document
from art_denoise._files import READ_ONLY, replacing, set_aside, write_text
from art_denoise._images import release_pages
from art_denoise._progress import is_drawn
from art_denoise.data.decoding import Framing, decode_image

#: Files that are decoded before their end is noted down.
_CHUNK = 64

#: Changes with the form of what is noted of decoded images.
_SCHEMA = 1

#: What becomes of images that are damaged.
_ANEW = "decoded anew"

#: Broken files that an error names; all of them are in a file.
_NAMED = 3


@dataclass(frozen=True)
class Decoded:
    """Decoded files.

    :param images: uint8 (N, 3, H, W), RGB, a memory map whose images are verified when they are first read.
    :param kept: Positions in the list of files, int64 (N,), of those that could be read.
    :param digests: For each image 16 hexadecimal digits that are the same for the same pixels.
    :param broken: What is wrong with each of the other files, by its path.
    """

    images: np.ndarray
    kept: np.ndarray
    digests: tuple[str, ...]
    broken: dict[str, str]


class BrokenImagesError(ValueError):
    """Images cannot be read.

    :param broken: What is wrong with each, by its path.
    :param count: Images of which these are some.
    :param listed: Files that list all of them.
    """

    def __init__(self, broken: dict[str, str], count: int, listed: tuple[str, ...]) -> None:
        self.broken, self.count, self.listed = broken, count, listed
        named = "; ".join(f"{path}: {what}" for path, what in list(broken.items())[:_NAMED])
        more = f"; {len(broken) - _NAMED} more in {' and '.join(listed)}" if len(broken) > _NAMED else ""
        super().__init__(
            f"{len(broken)} of {count} images cannot be read ({named}{more}): mend them, or leave them out with "
            "`skip_broken`"
        )


def decoded_key(root: Path, files: Sequence[str], framing: Framing) -> str:
    """Return 16 hexadecimal digits that change with any file's name, size or times, and with the framing.

    One of the times is that of the last change of anything about a file, which programs that copy cannot set.
    """
    digest = hashlib.sha256(json.dumps([_SCHEMA, asdict(framing)], sort_keys=True).encode())
    for name in files:
        digest.update(os.fsencode(name))
        try:
            status = os.stat(root / name)
        except OSError:
            # A link to nowhere is told of with the images that cannot be read.
            digest.update(b"\0gone\0")
            continue
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0".encode())
    return digest.hexdigest()[:16]


def decoded_files(root: Path, files: Sequence[str], framing: Framing, folder: Path) -> bool:
    """Return whether files are decoded already."""
    key = decoded_key(root, files, framing)
    return all((folder / f"{key}.{ending}").is_file() for ending in ("bytes", "json"))


def decode_files(
    root: str | os.PathLike[str],
    files: Sequence[str],
    framing: Framing,
    folder: str | os.PathLike[str],
    *,
    skip_broken: bool = False,
    workers: int | None = None,
    progress: str | None = None,
) -> Decoded:
    """Return image files as bytes; decode them now if that has not been done.

    :param root: Folder that the files are in.
    :param files: Their paths within it.
    :param framing: How an image becomes a square.
    :param folder: Where to keep what is decoded: 3 · crop² bytes an image.
    :param skip_broken: Leave out files that cannot be read.
    :param workers: Threads; None: as many as cores.
    :param progress: Name of the progress bar; None shows none.
    :raises ValueError: If files cannot be read, with the first of them; all are in `broken-*.txt` in the folder. If
        another process is decoding the same files.
    :raises OSError: If the folder cannot be written, or there is not enough room.
    """
    root, folder = Path(root), Path(folder)
    key = decoded_key(root, files, framing)
    data, about = folder / f"{key}.bytes", folder / f"{key}.json"
    shape = (3, framing.crop, framing.crop)
    if not _is_sound(data, about, len(files), 3 * framing.crop**2):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / f"{key}.lock", timeout=0)
            with lock:
                _Decoding(root, files, framing, data, about).run(skip_broken, workers, progress)
        except Timeout:
            raise ValueError(f"another process is decoding the same images into {folder}: wait for its end") from None
        except OSError as error:
            raise _explained(error, folder) from error
    digests, broken = _noted(about)
    if broken and not skip_broken:
        raise _broken_error(broken, root, len(files), about)
    kept = np.array([i for i, name in enumerate(files) if name not in broken], dtype=np.int64)
    if not len(kept):
        raise ValueError(f"none of {len(files)} files in {root} can be read: {next(iter(broken.values()))}")
    images = np.memmap(data, dtype=np.uint8, mode="r", shape=(len(kept), *shape)).view(_Verified)

    def decoded(row: int) -> np.ndarray:
        return decode_image(root / files[kept[row]], framing)

    images.verify_with(digests, decoded, data)
    return Decoded(images, kept, digests, broken)


class _Verified(np.memmap):
    """A memory map of images, each of which is compared with its digest when it is first read by an index.

    An image that is damaged is decoded anew from its file, and mended, or what was decoded stands in its place where
    the map cannot be written.
    """

    _digests: tuple[str, ...] | None = None

    def verify_with(self, digests: tuple[str, ...], decoded: Callable[[int], np.ndarray], file: Path) -> None:
        """Say what images have to be.

        :param digests: The digest of each.
        :param decoded: Returns an image, decoded from its file now.
        :param file: The file that is mapped.
        """
        self._digests, self._decoded, self._file = digests, decoded, file
        self._seen = np.zeros(len(digests), dtype=bool)
        self._instead: dict[int, np.ndarray] = {}

    def __getitem__(self, index: Any) -> Any:
        if self._digests is not None:
            first = index[0] if isinstance(index, tuple) and index else index
            # Of what is written in any other way, all images may be meant.
            plain = isinstance(first, (int, np.integer, slice)) or getattr(first, "ndim", 0) == 1
            rows = np.arange(len(self._seen))
            self._verify(np.unique(rows[first] if plain else rows))
            if self._instead:
                return self._with_others(index, index if plain and first is index else slice(None))
        found = super().__getitem__(index)
        # What was verified is like any other array.
        return found.view(np.memmap) if isinstance(found, _Verified) else found

    def _verify(self, rows: np.ndarray) -> None:
        assert self._digests is not None
        damaged = []
        for row in rows[~self._seen[rows]].tolist():
            if _digest(super().__getitem__(row).tobytes()) != self._digests[row]:
                damaged.append(row)
            if row % _CHUNK == 0:
                release_pages(self)
        if damaged:
            images, said = {row: self._anew(row) for row in damaged}, ""
            try:
                self._mend(images)
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                said = f", for this run alone, as the file cannot be mended ({error.strerror})"
                self._instead |= images
            warnings.warn(
                f"{self._file} is damaged (the content of {len(damaged)} images is not what was written): they are "
                f"{_ANEW}{said}",
                RuntimeWarning,
                stacklevel=4,
            )
        self._seen[rows] = True

    def _anew(self, row: int) -> np.ndarray:
        """Return an image decoded from its file."""
        assert self._digests is not None
        image = self._decoded(row)
        if _digest(image.tobytes()) != self._digests[row]:
            raise ValueError(
                f"{self._file} is damaged, and of other files than there are now: delete it, and start again"
            )
        return image

    def _mend(self, images: Mapping[int, np.ndarray]) -> None:
        with open(self._file, "r+b") as data:
            for row, image in images.items():
                data.seek(row * image.nbytes)
                data.write(image.tobytes())
            data.flush()
            os.fsync(data.fileno())

    def _with_others(self, index: Any, at: Any) -> Any:
        """Return images, with what was decoded in the place of those that are damaged and cannot be mended.

        :param index: What was asked for.
        :param at: An index of rows alone, which it is among.
        """
        found, rows = np.array(super().__getitem__(at)), np.arange(len(self._seen))[at]
        if rows.ndim == 0:
            found = self._instead.get(int(rows), found)
        else:
            for i, row in enumerate(rows.tolist()):
                found[i] = self._instead.get(row, found[i])
        return found if at is index else found[index]


def _noted(about: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the digests of the images, and what is wrong with the other files.

    :raises ValueError: If the file is not as it was written.
    """
    found = read_document(about, _SCHEMA)
    return tuple(found["digests"]), found["broken"]


def _is_sound(data: Path, about: Path, files: int, image_bytes: int) -> bool:
    """Return whether files are decoded already; put what cannot be what was decoded where nothing looks for it.

    :warns RuntimeWarning: That it is damaged, and where it is now.
    """
    if not (data.is_file() and about.is_file()):
        return False
    try:
        digests, broken = _noted(about)
    except ValueError as error:
        # Without its digests nothing is known of the images.
        set_aside(about, str(error), _ANEW)
        return False
    if len(digests) + len(broken) != files or data.stat().st_size != len(digests) * image_bytes:
        set_aside(data, "it is of another size than was written", _ANEW)
        return False
    return True


class _Decoding:
    """The files of one decoding: what is decoded, beside it how far it has come."""

    def __init__(self, root: Path, files: Sequence[str], framing: Framing, data: Path, about: Path) -> None:
        self.root, self.files, self.framing, self.data, self.about = root, files, framing, data, about
        self.part, self.notes = data.with_suffix(".part"), data.with_suffix(".progress")
        self.image_bytes = 3 * framing.crop**2
        self.digests: list[str] = []
        self.broken: dict[str, str] = {}
        self.done = 0

    def run(self, skip_broken: bool, workers: int | None, progress: str | None) -> None:
        self._resume()
        missing = (len(self.files) - self.done) * self.image_bytes
        free = shutil.disk_usage(self.part.parent).free
        if missing > free:
            raise OSError(errno.ENOSPC, f"{missing / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free")
        with (
            ThreadPoolExecutor(workers or os.cpu_count()) as pool,
            open(self.part, "r+b" if self.part.exists() else "w+b") as data,
            open(self.notes, "a", encoding="utf-8") as notes,
            tqdm(
                total=len(self.files),
                initial=self.done,
                desc=progress,
                disable=progress is None or not is_drawn(),
                unit="image",
            ) as bar,
        ):
            data.truncate(len(self.digests) * self.image_bytes)
            data.seek(0, os.SEEK_END)
            while self.done < len(self.files):
                names = self.files[self.done : self.done + _CHUNK]
                digests, broken = [], {}
                for name, image in zip(names, pool.map(self._decoded, names), strict=True):
                    if isinstance(image, str):
                        broken[name] = image
                    else:
                        digests.append(_digest(image.tobytes()))
                        data.write(image.tobytes())
                    bar.update()
                data.flush()
                note = {"files": len(names), "digests": digests, "broken": broken}
                notes.write(as_document(note, _SCHEMA))
                notes.flush()
                self._note(len(names), digests, broken)
                bar.set_postfix(broken=len(self.broken), refresh=False)
        if not self.broken or skip_broken:
            keep_document(self.about, {"digests": self.digests, "broken": self.broken}, _SCHEMA)
            os.replace(self.part, self.data)
            self.notes.unlink()
        else:
            raise _broken_error(self.broken, self.root, len(self.files), self.about)

    def _decoded(self, name: str) -> np.ndarray | str:
        """Return an image, or what is wrong with it."""
        try:
            return decode_image(self.root / name, self.framing)
        except ValueError as error:
            return str(error)

    def _note(self, files: int, digests: list[str], broken: dict[str, str]) -> None:
        self.done += files
        self.digests += digests
        self.broken |= broken

    def _resume(self) -> None:
        """Take up what an interrupted decoding noted down, as far as the images are there as they were."""
        if not (self.notes.is_file() and self.part.is_file()):
            self.notes.unlink(missing_ok=True)
            return
        lines = self.notes.read_bytes().splitlines(keepends=True)
        whole = []
        with open(self.part, "rb") as data:
            for line in lines:
                try:
                    note = document_in(line, _SCHEMA)
                except ValueError:
                    break
                images = [data.read(self.image_bytes) for _ in note["digests"]]
                if not line.endswith(b"\n") or [*map(_digest, images)] != note["digests"]:
                    break
                self._note(**note)
                whole.append(line)
        if len(whole) < len(lines):
            # A line without an end is that of a process that was killed while it wrote.
            if lines[len(whole)].endswith(b"\n"):
                warnings.warn(
                    f"{self.notes} or {self.part.name} is damaged: what was decoded after the first {self.done} of "
                    f"{len(self.files)} images is decoded anew",
                    RuntimeWarning,
                    stacklevel=2,
                )
            write_text(self.notes, b"".join(whole).decode())


def _digest(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()[:16]


def _broken_error(broken: dict[str, str], root: Path, count: int, about: Path) -> BrokenImagesError:
    """Return the error that names the first of the broken files, having written all of them to a file."""
    listed = about.with_name(f"broken-{about.stem}.txt")
    with replacing(listed) as beside:
        lines = "".join(f"{root / name}: {what}\n" for name, what in broken.items())
        # Names of files may be no text.
        beside.write_text(lines, encoding="utf-8", errors="backslashreplace")
    return BrokenImagesError({str(root / name): what for name, what in broken.items()}, count, (str(listed),))


def _explained(error: OSError, folder: Path) -> OSError:
    """Return the error with the folder and a remedy."""
    reason = error.strerror or str(error)
    return OSError(
        error.errno,
        f"decoded images cannot be kept in {folder} ({reason}): make room there, or choose another place with "
        "`decoded_dir`; what is decoded is kept",
    )
