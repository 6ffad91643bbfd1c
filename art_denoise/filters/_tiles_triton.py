"""How kernels of Triton share out images: tile by tile, one program for each."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tile_of(height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the number of the image, the rows and columns of the tile, and its number, that a program is for."""
    across = tl.cdiv(width, COLUMNS)
    tiles = across * tl.cdiv(height, ROWS)
    tile = tl.program_id(0) % tiles
    row = (tile // across) * ROWS + tl.arange(0, ROWS)[:, None]
    column = (tile % across) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    return (tl.program_id(0) // tiles).to(tl.int64), row, column, tile
