"""What is kept of compiled loops between processes, where it can be kept; never a reason to fail.

Numba's own cache fails where nothing may be written, as in most containers, and for ever once a file of it is damaged.
It goes by the time and the size of the one file that a loop is in, though what that calls from others is compiled in.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache


class KeptLoop(FunctionCache):  # type: ignore[misc] # Numba has no types
    """Numba's cache of a function, which belongs to the source of all loops, and heals.

    :param function: The function.
    :raises RuntimeError: If there is no place that can be written to.
    """

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = source_of_all()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is kept; None, and it is compiled anew, if it is not there or cannot be read."""
        try:
            kept = super().load_overload(sig, target_context)
        except Exception:
            self._forget()
            kept = None
        if kept is None:
            _say_that_it_compiles()
        return kept

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled, if it can be kept."""
        try:
            super().save_overload(sig, data)
        except OSError:
            # The disk is full, or may not be written to any more.
            self.disable()

    def _forget(self) -> None:
        try:
            self.flush()
        except OSError as error:
            warnings.warn(
                f"{self.cache_path} holds compiled code that cannot be read, and cannot be mended ({error}): it is "
                "compiled anew in each process. Delete it, or let NUMBA_CACHE_DIR be another folder",
                RuntimeWarning,
                stacklevel=2,
            )
            self.disable()


@cache
def _say_that_it_compiles() -> None:
    """Say once in a process why it takes a while, at a level that is seen where nobody has set up any logging."""
    logging.getLogger("art_denoise").warning(
        "The filters are being compiled for this processor, which takes up to half a minute, once: later processes "
        "find them where they are kept. art_denoise.warm_up() does it beforehand."
    )


@cache
def source_of_all() -> str:
    """Return digits that change with any file that compiled loops are in."""
    digest, folder = hashlib.sha256(), Path(__file__).parent
    for file in sorted([*folder.glob("*_kernels.py"), folder / "_planes.py", folder / "_compiled.py"]):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
