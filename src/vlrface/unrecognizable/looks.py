"""How alike pictures look, to no network: a few grey levels each."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from vlrface.images.resize import resize

LOOK_SIDE: Final = 6
"""Side, in pixels, at which pictures are compared; no unrecognizable face has many more (own choice)."""


def looks_of(pictures: Sequence[UInt8[ndarray, "_ _ 3"]]) -> Float32[ndarray, "n t"]:
    """Pictures as 6 × 6 grey levels, less their mean and of unit length: the product of two rows is their correlation.

    Args:
        pictures: RGB, of any sizes.

    Returns:
        (n, 36); zeros for a picture of one grey, which is like nothing.
    """
    rows = np.zeros((len(pictures), LOOK_SIDE**2), np.float32)
    for row, picture in enumerate(pictures):
        small = resize(np.ascontiguousarray(picture), LOOK_SIDE, LOOK_SIDE).astype(np.float32).mean(axis=2).ravel()
        small -= small.mean()
        length = float(np.linalg.norm(small))
        if length > 0.5:  # below, it is rounding of one grey level in a few pixels
            rows[row] = small / length
    return rows
