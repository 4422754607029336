"""A face turned upright and brought to a fixed place by its landmarks, for networks trained on aligned faces."""

from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vlrface.images.detect import Detection, cut, window
from vlrface.images.resize import resize
from vlrface.types import VlrfaceError

TEMPLATE: Final = (
    *((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366)),
    *((41.5493, 92.3655), (70.7299, 92.2041)),
)
"""Where eyes, nose and corners of the mouth belong in a picture of 112 x 112 pixels: the one of ArcFace."""

_TEMPLATE_SIDE: Final = 112
_LEAST_EYES_PX: Final = 4.0
"""Own choice: nearer to each other, an error of one pixel turns the face by 14 degrees. Down to there aligning helps
networks that expect it (`benchmarks/detect.py`)."""
_LEAST_CONFIDENCE: Final = 0.7
"""Own choice: landmarks of what is hardly a face mean nothing."""
_LARGEST_ERROR: Final = 0.12
"""Own choice, in distances of the eyes: landmarks further from any turned template are a profile, or wrong."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """A crop and how it was made.

    Attributes:
        crop: (size, size, 3) RGB if aligned, else a loose crop of any size.
        way: which it is.
        reason: why it is not aligned; empty if it is.
    """

    crop: UInt8[ndarray, "_ _ 3"]
    way: Literal["aligned", "loose"]
    reason: str = ""


def similarity(source: Float[ndarray, "n 2"], target: Float[ndarray, "n 2"]) -> Float[ndarray, "2 3"]:
    """Rotation, scale and shift that bring points nearest to others, by least squares and without reflection.

    S. Umeyama, Least-squares estimation of transformation parameters between two point patterns, PAMI 1991, in two
    dimensions, where points are complex numbers and the transform is z -> a z + b.

    Args:
        source: at least two points, not all in one place.
        target: where each should come.

    Returns:
        The matrix (scale x rotation | shift), for columns (x, y, 1).

    Raises:
        VlrfaceError: all source points are in one place.
    """
    z, w = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    centred = z - z.mean()
    spread = float(np.vdot(centred, centred).real)
    if not spread > 1e-12:
        raise VlrfaceError("points in one place cannot be aligned: they have neither size nor direction")
    a = np.vdot(centred, w - w.mean()) / spread
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def aligned(
    picture: UInt8[ndarray, "_ _ 3"], detection: Detection, size: int = _TEMPLATE_SIDE, *, strict: bool = True
) -> Aligned:
    """A face aligned to the template, or cut loosely where its landmarks cannot be relied on.

    Args:
        picture: RGB.
        detection: a face in it.
        size: side of the result; the template is scaled to it.
        strict: cut loosely where landmarks are unreliable; otherwise align whatever they are, if that is possible.

    Returns:
        The crop, which way it was made, and why. What lies beyond the picture is black, as aligned training pictures
        have it.
    """
    reason = unreliable(detection)
    if reason and (strict or reason == _NOWHERE):
        return Aligned(cut(picture, detection), "loose", reason)
    # Pixel centres lie at whole numbers, hence the halves.
    target = (np.array(TEMPLATE) + 0.5) * (size / _TEMPLATE_SIDE) - 0.5
    matrix = similarity(detection.landmarks, target)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    picture, matrix = _neighbourhood(picture, matrix, size, scale)
    crop = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    return Aligned(np.asarray(crop, np.uint8), "aligned")


_NOWHERE = "its landmarks lie in one place"


def unreliable(detection: Detection) -> str:
    """Why the landmarks of a face cannot be relied on; empty if they can."""
    points = detection.landmarks
    eyes = float(np.linalg.norm(points[1] - points[0]))
    if not np.isfinite(points).all() or float(np.ptp(points, axis=0).max()) < 1e-3:
        return _NOWHERE
    if eyes < _LEAST_EYES_PX:
        return f"its eyes are {eyes:.1f} pixels apart, less than {_LEAST_EYES_PX:g}"
    if detection.confidence < _LEAST_CONFIDENCE:
        return f"the detector is not sure of it ({detection.confidence:.2f}, less than {_LEAST_CONFIDENCE:g})"
    error = landmark_error(points)
    if error > _LARGEST_ERROR:
        return f"its landmarks fit no frontal face (off by {error:.2f} distances of the eyes)"
    return ""


def landmark_error(points: Float[ndarray, "5 2"]) -> float:
    """Root mean square distance of landmarks from the best placed template, in distances of the template's eyes."""
    template = np.array(TEMPLATE)
    matrix = similarity(points, template)
    off = points @ matrix[:, :2].T + matrix[:, 2] - template
    return float(np.sqrt((off**2).sum(axis=1).mean()) / np.linalg.norm(template[1] - template[0]))


def _neighbourhood(
    picture: ndarray, matrix: Float[ndarray, "2 3"], size: int, scale: float
) -> tuple[ndarray, Float[ndarray, "2 3"]]:
    """The part of the picture that is seen, shrunk by area where a warp would skip pixels; and the matrix from it."""
    if scale > 1 / 1.5:
        return picture, matrix
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0.0, 0.0], [size, 0.0], [0.0, size], [size, size]]) @ inverse[:, :2].T + inverse[:, 2]
    # Beyond a window that is cut too close, the warp sees black where the picture goes on: its cubic kernel reaches two
    # pixels, of the shrunk window; the third is for halves and rounding.
    margin = int(np.ceil(3 / scale))
    low = np.floor(corners.min(axis=0)).astype(int) - margin
    high = np.ceil(corners.max(axis=0)).astype(int) + margin
    low, high = np.maximum(low, 0), np.minimum(high, (picture.shape[1], picture.shape[0]))
    if (low >= high).any():
        return picture, matrix
    seen = window(picture, int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))
    rows, columns = (max(1, round(side * scale)) for side in seen.shape[:2])
    factor = np.array([columns / seen.shape[1], rows / seen.shape[0]])
    # Pixel centres lie at whole numbers: x of the picture is (x' + 0.5) / factor - 0.5 + low.
    turn = matrix[:, :2] / factor
    shift = matrix[:, 2] + matrix[:, :2] @ (0.5 / factor - 0.5 + low)
    return resize(seen, rows, columns), np.hstack([turn, shift[:, None]])
