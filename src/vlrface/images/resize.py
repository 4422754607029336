"""The one resize of the project: whole pictures to a given size.

It shrinks what is cached or shown, and serves `vlrface.images.framing.frame`, which brings a crop to the network's
input: before its warp where much is to be shrunk, and alone where the whole crop is stretched to the input.
"""

from typing import Final, cast

import cv2
from jaxtyping import UInt8
from numpy import ndarray

from vlrface.types import VlrfaceError

SHRINKING: Final = cv2.INTER_AREA
"""Averages all pixels that fall into one: no aliasing. Used when no side grows."""

ENLARGING: Final = cv2.INTER_LINEAR
"""Used when a side grows. Own choice: no ringing around the eyes of a 16-pixel face, as cubic gives."""


def resize(image: UInt8[ndarray, "h w 3"], height: int, width: int) -> UInt8[ndarray, "{height} {width} 3"]:
    """Bring a picture to a height and width; the aspect ratio is not kept.

    The whole picture fills the whole result: a face crop of 14 x 19 pixels may become a square. Where the aspect has to
    stay, the caller asks for sides that keep it.

    Args:
        image: any size, any memory layout.
        height: of the result, in pixels, at least 1.
        width: of the result, in pixels, at least 1.

    Returns:
        A new array, by `SHRINKING` when neither side grows, else by `ENLARGING`.

    Raises:
        VlrfaceError: the picture is empty, or a side of the result is below 1.
    """
    if height < 1 or width < 1:
        raise VlrfaceError(f"cannot resize to {height} x {width} pixels: both sides must be at least 1")
    if 0 in image.shape:
        raise VlrfaceError(f"cannot resize an empty picture of {image.shape[0]} x {image.shape[1]} pixels")
    grows = height > image.shape[0] or width > image.shape[1]
    method = ENLARGING if grows else SHRINKING
    return cast(ndarray, cv2.resize(image, (width, height), interpolation=method))
