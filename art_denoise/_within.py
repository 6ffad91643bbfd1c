"""Files that are asked for no more than they hold."""

from __future__ import annotations

import os
from io import BufferedReader, FileIO

#: Most bytes that are asked for without a look whether they are there.
_LARGE = 2**16


class Within(BufferedReader):
    """A file that makes no room for what is not there: readers ask for as much as a file says of itself.

    :param path: The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many bytes, or all that there are."""
        if size is not None and size > _LARGE:
            size = min(size, os.fstat(self.fileno()).st_size)
        return super().read(size)
