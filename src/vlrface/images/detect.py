"""Faces in whole pictures, by YuNet."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vlrface.types import VlrfaceError

_MARGIN = 0.25
"""Added on each side of a box, as a share of its longer side (own choice): crops are cut loosely."""
_SAME_FACE = 0.3


@dataclass(frozen=True, eq=False)
class Detection:
    """A face.

    Attributes:
        box: left, top, width and height, in pixels; may reach over the picture's edge.
        landmarks: (5, 2) eyes, nose and corners of the mouth, in pixels.
        confidence: in [0, 1].
    """

    box: tuple[float, float, float, float]
    landmarks: Float[ndarray, "5 2"]
    confidence: float


class Detector:
    """YuNet, as OpenCV runs it; thread-safe.

    Args:
        model: the .onnx file.
        least_confidence: below which a face is none.

    Raises:
        VlrfaceError: no such file, or none that OpenCV takes as a face detector.
    """

    def __init__(self, model: Path, *, least_confidence: float = 0.6) -> None:
        if not model.is_file():
            raise VlrfaceError(f"{model}: no such file. Give the .onnx file of a YuNet face detector")
        try:
            self._net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), least_confidence, _SAME_FACE)
            self._net.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise VlrfaceError(f"{model}: OpenCV cannot use it as a face detector. Give a YuNet .onnx file") from error
        self._lock = threading.Lock()

    def detect(self, picture: UInt8[ndarray, "_ _ 3"]) -> tuple[Detection, ...]:
        """Faces of an RGB picture, from top to bottom, then left to right."""
        height, width = picture.shape[:2]
        with self._lock:
            self._net.setInputSize((width, height))
            found: Any = self._net.detect(np.ascontiguousarray(picture[:, :, ::-1]))[1]  # None for no face
        rows = [] if found is None else np.asarray(found, np.float64).tolist()
        detections = [
            Detection((row[0], row[1], row[2], row[3]), np.array(row[4:14]).reshape(5, 2), row[14]) for row in rows
        ]
        return tuple(sorted(detections, key=lambda each: (each.box[1], each.box[0])))


def cut(picture: UInt8[ndarray, "_ _ 3"], detection: Detection) -> UInt8[ndarray, "_ _ 3"]:
    """A loose square crop round a face; what lies beyond the picture is black."""
    left, top, width, height = detection.box
    side = max(1, round(max(width, height) * (1 + 2 * _MARGIN)))
    x, y = round(left + width / 2 - side / 2), round(top + height / 2 - side / 2)
    crop = np.zeros((side, side, 3), np.uint8)
    rows = slice(max(0, y), min(picture.shape[0], y + side))
    columns = slice(max(0, x), min(picture.shape[1], x + side))
    if rows.start < rows.stop and columns.start < columns.stop:
        crop[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = picture[rows, columns]
    return crop
