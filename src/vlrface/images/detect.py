"""Faces in whole pictures, by YuNet: found on several scales, numbered, cut out as the networks were taught."""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vlrface.images.tiling import Tile, cut_off, merged, tiles_of
from vlrface.types import VlrfaceError

SMALLEST_PX: Final = 12
"""Height of the smallest face that is looked for unless told otherwise."""

_MARGIN: Final = 0.15
"""Added on each side of a box, as a share of its width or height.

The crops of LFW-VLR, like those of TinyFace and SCface taller than wide, are 1.30 times as wide and as high as YuNet's
boxes of the same faces (medians over 400 each).
"""
_SAME_FACE: Final = 0.3


@dataclass(frozen=True, eq=False)
class Detection:
    """A face.

    Attributes:
        box: left, top, width and height, in pixels; may reach over the picture's edge.
        landmarks: (5, 2) eyes, nose and corners of the mouth, in pixels, the viewer's left one first.
        confidence: in [0, 1].
    """

    box: tuple[float, float, float, float]
    landmarks: Float[ndarray, "5 2"]
    confidence: float


class Detector:
    """YuNet, as OpenCV runs it, over tiles of the picture; thread-safe.

    Args:
        model: the .onnx file.
        least_confidence: below which a face is none.
        smallest_px: height of the smallest face to look for. Time goes with its inverse square down to 12 pixels.
        tiled: look on several scales, tile by tile; otherwise once at the picture as it is, whatever its size.

    Raises:
        VlrfaceError: no such file, or none that OpenCV takes as a face detector; no such size.
    """

    def __init__(
        self, model: Path, *, least_confidence: float = 0.6, smallest_px: int = SMALLEST_PX, tiled: bool = True
    ) -> None:
        if not model.is_file():
            raise VlrfaceError(f"{model}: no such file. Give the .onnx file of a YuNet face detector")
        try:
            with _quiet():
                self._net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), least_confidence, _SAME_FACE)
                self._net.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise VlrfaceError(f"{model}: OpenCV cannot use it as a face detector. Give a YuNet .onnx file") from error
        tiles_of(1, 1, smallest_px)  # refuses a size that is none
        self._smallest_px = smallest_px
        self._tiled = tiled
        self._lock = threading.Lock()

    def detect(self, picture: UInt8[ndarray, "_ _ 3"]) -> tuple[Detection, ...]:
        """Faces of an RGB picture, from top to bottom, then left to right: their order is their numbering."""
        height, width = picture.shape[:2]
        if self._tiled:
            tiles = tiles_of(height, width, self._smallest_px)
        else:
            tiles = (Tile(0, 0, width, height, width, height),)
        found = [self._in_tile(picture, tile) for tile in tiles]
        rows = np.concatenate(found)
        cut = np.concatenate(
            [cut_off(each[:, :4], tile, height, width) for each, tile in zip(found, tiles, strict=True)]
        )
        return in_order([_detection(row) for row in rows[merged(rows[:, :4], rows[:, 14], cut)]])

    def _in_tile(self, picture: ndarray, tile: Tile) -> Float[ndarray, "n 15"]:
        """Faces of a tile: box, landmarks and confidence, in the picture's pixels."""
        piece = picture[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width, ::-1]
        size = (tile.shown_width, tile.shown_height)
        shown = np.ascontiguousarray(piece)
        if size != (tile.width, tile.height):
            smaller = tile.shown_width < tile.width
            shown = cv2.resize(shown, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
        with self._lock:  # for one tile at a time, so that a small picture need not wait for a large one
            self._net.setInputSize(size)
            found: Any = self._net.detect(shown)[1]  # None for no face
        rows = np.empty((0, 15)) if found is None else np.asarray(found, np.float64).reshape(-1, 15)
        scale = np.array([tile.width / size[0], tile.height / size[1]])
        places = rows[:, :14].reshape(-1, 7, 2) * scale
        places[:, [0, 2, 3, 4, 5, 6]] += (tile.left, tile.top)  # all but width and height
        return np.hstack([places.reshape(-1, 14), rows[:, 14:]])


def in_order(detections: Sequence[Detection]) -> tuple[Detection, ...]:
    """From top to bottom, then left to right, by the box's corner: the first has the number 1 everywhere."""
    return tuple(sorted(detections, key=lambda each: (each.box[1], each.box[0])))


def cut(picture: UInt8[ndarray, "_ _ 3"], detection: Detection) -> UInt8[ndarray, "_ _ 3"]:
    """A loose crop round a face, with the box's aspect, as those on which the networks for small faces are trained.

    What lies beyond the picture repeats its edge, as `vlrface.images.framing.frame` does; where the crop lies wholly
    beyond it, it is black.
    """
    left, top, width, height = detection.box
    columns, rows = (max(1, round(side * (1 + 2 * _MARGIN))) for side in (width, height))
    x, y = round(left + width / 2 - columns / 2), round(top + height / 2 - rows / 2)
    return window(picture, x, y, columns, rows)


def window(picture: UInt8[ndarray, "_ _ 3"], left: int, top: int, width: int, height: int) -> UInt8[ndarray, "_ _ 3"]:
    """A window of a picture; what lies beyond repeats the edge, and a window wholly beyond is black."""
    rows, columns = picture.shape[:2]
    first_row, last_row = max(0, top), min(rows, top + height)
    first_column, last_column = max(0, left), min(columns, left + width)
    if first_row >= last_row or first_column >= last_column:
        return np.zeros((height, width, 3), np.uint8)
    inside = np.ascontiguousarray(picture[first_row:last_row, first_column:last_column])
    beyond = (first_row - top, top + height - last_row, first_column - left, left + width - last_column)
    return np.asarray(cv2.copyMakeBorder(inside, *beyond, borderType=cv2.BORDER_REPLICATE), np.uint8)


def _detection(row: Float[ndarray, " 15"]) -> Detection:
    left, top, width, height = (float(value) for value in row[:4])
    return Detection((left, top, width, height), row[4:14].reshape(5, 2).copy(), float(row[14]))


@contextmanager
def _quiet() -> Generator[None]:
    """Without OpenCV's remarks about how it runs networks, which say nothing to a user."""
    logging = cv2.utils.logging
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(before)
