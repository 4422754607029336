"""Crops as pictures inside a page: data addresses, the faces under the histogram, attention laid over faces."""

import base64
import io
from dataclasses import dataclass
from typing import Final, cast

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from PIL import Image

from vlrface.images.resize import resize
from vlrface.report.inputs import Attention, Pictures

BINS: Final = 10
FACES_PER_BIN: Final = 5
THUMBNAIL: Final = 64
MAX_ATTENTION: Final = 24
_ATTENTION_SIDE: Final = 112
_LOSSLESS_BELOW: Final = 48  # pixels of the longer side: there a lossy code costs sharpness and saves nothing


@dataclass(frozen=True)
class Face:
    """A crop in a page: its picture as a data address, and what to say about it."""

    source: str
    text: str


@dataclass(frozen=True)
class Column:
    """Faces of one bin of the histogram, from hard to easy, and the median index of the whole bin."""

    faces: tuple[Face, ...]
    median: float
    tone: int


@dataclass(frozen=True)
class Overlay:
    """A face, the same face under its attention, and a text."""

    face: str
    overlay: str
    text: str


def data_address(image: UInt8[ndarray, "h w 3"], longest_side: int = THUMBNAIL, *, exact: bool = True) -> str:
    """A crop as a `data:` address, in WebP.

    Args:
        image: a crop of any size.
        longest_side: in pixels; a larger crop is shrunk to it, a smaller one is never enlarged.
        exact: whether a small crop keeps every pixel value, at three times the bytes.

    Returns:
        "data:image/webp;base64,...".
    """
    height, width = image.shape[:2]
    scale = longest_side / max(height, width)
    if scale < 1:
        image = resize(image, max(1, round(height * scale)), max(1, round(width * scale)))
    buffer = io.BytesIO()
    exact = exact and max(image.shape[:2]) < _LOSSLESS_BELOW
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "WEBP", lossless=exact, quality=80, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def bins(recognizability: Float[ndarray, " n"], count: int = BINS) -> list[Int[ndarray, " _"]]:
    """Rows in bins of equal numbers of faces, by rising index; rows with NaN are in none.

    Ties keep their order, so that equal values may fall into two bins: every bin is filled whatever the values.
    """
    finite = np.flatnonzero(np.isfinite(recognizability))
    ordered = finite[np.argsort(recognizability[finite], kind="stable")]
    return [part for part in np.array_split(ordered, count) if len(part)]


def columns(pictures: Pictures) -> tuple[Column, ...]:
    """The columns of faces under the histogram. Empty without crops."""
    if not len(pictures.crops):
        return ()
    parts = bins(pictures.recognizability)
    found: list[Column] = []
    for k, rows in enumerate(parts):
        faces = tuple(
            Face(
                data_address(pictures.crops[int(row)]),
                f"{pictures.names[int(row)]}, recognizability {pictures.recognizability[row]:.3f}",
            )
            for row in spaced(rows)
        )
        found.append(Column(faces, float(np.median(pictures.recognizability[rows])), 5 * k // len(parts)))
    return tuple(found)


def spaced(rows: Int[ndarray, " n"], count: int = FACES_PER_BIN) -> Int[ndarray, " m"]:
    """At most so many rows of a bin, evenly spaced by rank and away from its ends."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows)) + 2)[1:-1].round().astype(int)]


def overlays(attention: Attention) -> tuple[tuple[Overlay, ...], tuple[float, float]]:
    """Faces beside themselves under their attention, for a page; see `tinted`.

    Returns:
        At most `MAX_ATTENTION` overlays, and the two ends of the scale.
    """
    shown, scale = tinted(attention)
    found: list[Overlay] = []
    for row, each in enumerate(shown):
        text = attention.captions[row] if len(attention.captions) else ""
        face = data_address(attention.faces[row], _ATTENTION_SIDE)
        found.append(Overlay(face, data_address(each, _ATTENTION_SIDE), text))
    return tuple(found), scale


def tinted(attention: Attention) -> tuple[list[UInt8[ndarray, "s s 3"]], tuple[float, float]]:
    """Faces under their attention.

    One colour scale serves all faces: from the lowest to the highest attention of the maps shown, so that maps can be
    compared with each other, and a network whose attention hardly varies still shows where it does.

    Returns:
        The first faces, at most `MAX_ATTENTION`, and the two ends of the scale.
    """
    maps = attention.maps[:MAX_ATTENTION].astype(np.float64)
    if not len(maps):
        return [], (0.0, 1.0)
    low, high = float(maps.min()), float(maps.max())
    scaled = (maps - low) / (high - low) if high > low else np.zeros_like(maps)
    return [overlay(attention.faces[row], each) for row, each in enumerate(scaled)], (low, high)


def overlay(face: UInt8[ndarray, "h w 3"], weights: Float[ndarray, "mh mw"]) -> UInt8[ndarray, "s s 3"]:
    """A face in grey, tinted by weights in [0, 1]: dark violet where low, yellow where high."""
    from matplotlib import colormaps

    side = _ATTENTION_SIDE
    grey = resize(face, side, side).mean(axis=2, keepdims=True)
    smooth = cast(ndarray, cv2.resize(weights, (side, side), interpolation=cv2.INTER_LINEAR)).clip(0.0, 1.0)
    tint = 255.0 * np.asarray(colormaps["inferno"](smooth))[..., :3]
    return np.round(0.5 * grey + 0.5 * tint).clip(0, 255).astype(np.uint8)
