"""Small JPEG pictures, to be shown and kept."""

from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vlrface.images.resize import resize

SIDE: Final = 128
"""Longest side of a thumbnail, in pixels."""

_QUALITY: Final = 90


def encode_jpeg(picture: UInt8[ndarray, "_ _ 3"]) -> bytes:
    """The bytes of an RGB picture as a JPEG file."""
    bgr = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def thumbnail(crop: UInt8[ndarray, "_ _ 3"]) -> bytes:
    """A JPEG of an RGB picture, of at most `SIDE` pixels a side."""
    longest = max(crop.shape[:2])
    if longest > SIDE:
        height, width = (max(1, round(side * SIDE / longest)) for side in crop.shape[:2])
        crop = resize(crop, height, width)
    return encode_jpeg(crop)
