"""Quality read from the pixels of a crop alone: no network, no training.

BRISQUE and NIQE are missing on purpose. No library that offers them today is both maintained and usable beside this
one's dependencies, and their statistics of natural pictures break down under 32 pixels: one that was made to run called
a blurred copy of a face of 16 pixels the better one more often than not. Their scores, from any tool, can be compared
all the same: `vlrface.quality.scores` reads a table.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vlrface.types import VlrfaceError

COMMON_SIDE: Final = 112
"""Shorter side, in pixels, at which `sharpness` is taken: the input of most face networks."""


def sizes(pictures: Sequence[UInt8[ndarray, "_ _ 3"]]) -> Float[ndarray, " n"]:
    """Shorter side of each crop, in pixels."""
    return np.array([min(picture.shape[:2]) for picture in pictures], np.float64)


def sharpness(pictures: Sequence[UInt8[ndarray, "_ _ 3"]], side: int | None = COMMON_SIDE) -> Float[ndarray, " n"]:
    """Variance of the Laplacian of each crop, in squared grey levels (Pech-Pacheco et al., ICPR 2000).

    The Laplacian sees detail of about one pixel. What that means for a face depends on the size at which it is taken:

    - at a common size (the default) one pixel is the same part of every face, so that the number says how much fine
      detail of the face there is. A crop of few pixels has none, however crisp its pixels are. Own choice;
    - at its own size (`side=None`) a pixel of a small crop spans an eye. The number then says how crisp the pixels are,
      and a small crop, whose whole face is squeezed into few pixels, looks sharper than a large one.

    Noise and JPEG blocks count as detail either way.

    Args:
        pictures: RGB crops of any size.
        side: shorter side to which each is brought first, aspect kept: by area if it shrinks, else bicubic, in
            floating point (rounded to whole grey levels, an enlarged crop would be noise to a Laplacian). None takes
            each at its own size.

    Returns:
        (n,) ≥ 0, larger is sharper; 0 for a flat crop.

    Raises:
        VlrfaceError: `side` is below 1.
    """
    if side is not None and side < 1:
        raise VlrfaceError(f"sharpness is taken at a shorter side of at least 1 pixel, not {side}")
    return np.array([_laplacian_variance(_brought_to(_grey(picture), side)) for picture in pictures], np.float64)


def _grey(picture: UInt8[ndarray, "h w 3"]) -> Float[ndarray, "h w"]:
    """Luma of BT.601, 0 to 255."""
    return np.asarray(cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2GRAY))


def _brought_to(grey: Float[ndarray, "h w"], side: int | None) -> Float[ndarray, "_ _"]:
    shorter = min(grey.shape)
    if side is None or side == shorter:
        return grey
    height, width = (max(1, round(length * side / shorter)) for length in grey.shape)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=_kind(side, shorter)))


def _kind(side: int, shorter: int) -> int:
    return cv2.INTER_AREA if side < shorter else cv2.INTER_CUBIC


def _laplacian_variance(grey: Float[ndarray, "h w"]) -> float:
    return float(np.var(cv2.Laplacian(grey, cv2.CV_32F), dtype=np.float64))
