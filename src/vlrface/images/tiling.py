"""How a large picture is seen piece by piece, so that a small face in it is as large as a detector needs.

Pure functions. A picture is looked at on several levels, each half as fine as the one before: the finest shows the
smallest wished face at `NEEDED_PX`, the coarsest shows the whole picture at once. A level larger than a tile is covered
by tiles that overlap. A face of which a tile's edge cuts off a part is whole in the neighbour or, if it is larger than
the overlap, on the next level; `merged` keeps the whole one. Memory is that of one tile, whatever the picture's size.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.types import VlrfaceError

NEEDED_PX: Final = 24
"""Height at which YuNet finds a face reliably, in pixels of what it is shown. Measured: docs/whole-pictures.md."""

LARGEST_SCALE: Final = 2.0
"""Enlarging more than that finds fewer faces, not more (measured likewise): it only makes them softer."""

TILE_PX: Final = 1280
"""Longest side of a tile, as the detector sees it: it needs about 150 MB for one."""

OVERLAP_PX: Final = 128
"""Of neighbouring tiles, likewise. The next level shows a face of that height at 64 pixels: far more than it needs."""

COARSEST_PX: Final = 320
"""The last level's longer side is at most this: a face that fills the picture is found there."""

MOST_PIXELS: Final = 96_000_000
"""That the finest level may have. A larger picture is enlarged less, and its smallest faces are not found."""

_SAME_FACE: Final = 0.3
"""Intersection over union from which two boxes are one face."""
_WITHIN: Final = 0.7
"""Share of a box in another from which it is a part of that face."""


@dataclass(frozen=True)
class Tile:
    """A piece of a picture, in the picture's pixels, and how it is shown.

    Attributes:
        left: first column.
        top: first row.
        width: of the piece.
        height: of the piece.
        shown_width: of the piece as the detector sees it, in pixels.
        shown_height: likewise.
    """

    left: int
    top: int
    width: int
    height: int
    shown_width: int
    shown_height: int


def finest_scale(height: int, width: int, smallest_px: int) -> float:
    """How much a picture is enlarged at most, so that a face of `smallest_px` is seen; below 1 it is shrunk.

    Raises:
        VlrfaceError: `smallest_px` is not positive.
    """
    if smallest_px < 1:
        raise VlrfaceError(f"the smallest face must be at least 1 pixel high, not {smallest_px}")
    return min(LARGEST_SCALE, NEEDED_PX / smallest_px, math.sqrt(MOST_PIXELS / (height * width)))


def tiles_of(height: int, width: int, smallest_px: int) -> tuple[Tile, ...]:
    """The pieces of a picture that are looked at, finest level first.

    Args:
        height: of the picture, in pixels, at least 1.
        width: likewise.
        smallest_px: height of the smallest face that should be found.

    Returns:
        Tiles that together cover the picture, on each level. The last is the whole picture.
    """
    scale = finest_scale(height, width, smallest_px)
    tiles: list[Tile] = []
    while True:
        tiles += _level(height, width, scale)
        if max(height, width) * scale <= COARSEST_PX:
            return tuple(tiles)
        scale /= 2


def _level(height: int, width: int, scale: float) -> list[Tile]:
    rows, tile_height = _starts(height, scale)
    columns, tile_width = _starts(width, scale)
    shown = max(1, round(tile_width * scale)), max(1, round(tile_height * scale))
    return [Tile(left, top, tile_width, tile_height, *shown) for top in rows for left in columns]


def _starts(length: int, scale: float) -> tuple[list[int], int]:
    """Where tiles of one size begin, evenly placed, and that size; in the picture's pixels."""
    longest, overlap = TILE_PX / scale, OVERLAP_PX / scale
    if length <= longest:
        return [0], length
    count = math.ceil((length - overlap) / (longest - overlap))
    side = min(length, math.ceil((length + (count - 1) * overlap) / count))  # no longer than so many tiles need
    return [round(i * (length - side) / (count - 1)) for i in range(count)], side


def cut_off(boxes: Float[ndarray, "n 4"], tile: Tile, height: int, width: int) -> Bool[ndarray, " n"]:
    """Which boxes an edge of the tile may have cut off: those that reach it where the picture goes on.

    Args:
        boxes: left, top, width and height, in the picture's pixels.
        tile: in which they were found.
        height: of the picture.
        width: likewise.
    """
    pixel = tile.width / tile.shown_width
    left, top = boxes[:, 0], boxes[:, 1]
    right, bottom = left + boxes[:, 2], top + boxes[:, 3]
    cut = np.zeros(len(boxes), bool)
    if tile.left > 0:
        cut |= left <= tile.left + pixel
    if tile.top > 0:
        cut |= top <= tile.top + pixel
    if tile.left + tile.width < width:
        cut |= right >= tile.left + tile.width - pixel
    if tile.top + tile.height < height:
        cut |= bottom >= tile.top + tile.height - pixel
    return cut


def merged(
    boxes: Float[ndarray, "n 4"], confidences: Float[ndarray, " n"], cut: Bool[ndarray, " n"]
) -> Int[ndarray, " m"]:
    """One box a face: non-maximum suppression that prefers whole boxes to surer ones.

    A box goes if it is the same face as a better one, or a part of it (most of it lies within). A whole box is better
    than one that was cut off, and a surer one than a less sure one. A cut box also goes if it holds most of a better
    one.

    Args:
        boxes: left, top, width and height.
        confidences: how sure the detector is of each.
        cut: which may have been cut off.

    Returns:
        Indices of those that stay, best first.
    """
    order = np.lexsort((-confidences, cut))
    corner = boxes[:, :2] + boxes[:, 2:]
    area = np.maximum(boxes[:, 2] * boxes[:, 3], 1e-9)
    kept: list[int] = []
    alive = np.ones(len(boxes), bool)
    for best in order:
        if not alive[best]:
            continue
        kept.append(int(best))
        sides = np.minimum(corner, corner[best]) - np.maximum(boxes[:, :2], boxes[best, :2])
        common = np.prod(np.maximum(sides, 0), axis=1)
        same = common > _SAME_FACE * (area + area[best] - common)
        part = common > _WITHIN * area
        whole_within = cut & (common > _WITHIN * area[best])
        alive &= ~(same | part | whole_within)
    return np.array(kept, np.int64)
