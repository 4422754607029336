"""What a lens and a resampler do to pixels, exactly: the same bytes on every machine.

Every filter here is a sum of 8-bit pixels times whole weights, in 4096ths. Float64 holds such sums without rounding,
so neither the order of addition nor fused instructions nor the number of threads can change a bit.
"""

import math
from typing import Final, Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view

Kernel = Literal["nearest", "linear", "area", "cubic", "lanczos"]
"""How pixels are resampled. All but "nearest" are widened when shrinking, as Pillow does, and so do not alias; "area"
is the exact overlap of old and new pixels, which is "linear" when enlarging."""

_ONE: Final = 4096

_LEAST_BLUR: Final = 0.1
"""A narrower Gaussian leaves nothing to its neighbours that is not rounded away."""


def moved(image: UInt8[ndarray, "h w 3"], length: float, angle_rad: float) -> UInt8[ndarray, "h w 3"]:
    """Blurred by a straight, even motion during the exposure. Outside the picture its border pixels go on.

    Args:
        image: RGB.
        length: of the motion, in pixels, above 0.
        angle_rad: its direction, from the x axis towards the bottom.
    """
    weights = motion_weights(length, angle_rad)
    # Float32 holds these sums exactly too. From 11 x 11 weights on OpenCV takes a Fourier transform, which does not; in
    # float64 its error is far below a half, so that rounding gives the true whole numbers again.
    kind = np.float32 if len(weights) < 11 else np.float64
    sums = np.rint(cv2.filter2D(image.astype(kind), -1, weights, borderType=cv2.BORDER_REPLICATE))
    return to_bytes(sums / _ONE)


def motion_weights(length: float, angle_rad: float) -> Float[ndarray, "k k"]:
    """Whole weights, in 4096ths, of a pixel's neighbours in a straight, even motion; k is odd."""
    reach = max(1, math.ceil(length / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    moments = 8 * reach
    along = length * ((np.arange(moments) + 0.5) / moments - 0.5)
    x, y = reach + along * math.cos(angle_rad), reach + along * math.sin(angle_rad)
    left, top = (np.minimum(v.astype(int), 2 * reach - 1) for v in (x, y))
    for row, high in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, wide in ((left, 1 - (x - left)), (left + 1, x - left)):
            np.add.at(kernel, (row, column), high * wide)
    return _whole(kernel.reshape(1, -1)).reshape(kernel.shape)


def resampled(
    image: UInt8[ndarray, "h w 3"], height: int, width: int, kernel: Kernel, blur: float
) -> Float[ndarray, "{height} {width} 3"]:
    """Blurred by a Gaussian and brought to another size, in one step.

    At the border, weights outside the picture are left out and the rest made to sum to one, as Pillow does.

    Args:
        image: RGB.
        height: of the result, in pixels.
        width: of the result, in pixels.
        kernel: of the resampling; unused where a side keeps its length.
        blur: standard deviation of the Gaussian, in pixels of `image`; 0 for none.

    Returns:
        float64 and not rounded: what follows (noise) comes before the rounding. May lie outside 0…255.
    """
    values = image.astype(np.float64)
    blur = blur if blur > _LEAST_BLUR else 0.0
    old = image.shape[:2]
    rows = columns = _weights(old[0], height, kernel, blur) if blur or height != old[0] else None
    if old[0] != old[1] or height != width:
        columns = _weights(old[1], width, kernel, blur) if blur or width != old[1] else None
    if rows is not None:
        values = (rows @ values.reshape(old[0], -1)).reshape(height, -1, 3) / _ONE
    if columns is not None:
        flat = values.transpose(1, 0, 2).reshape(old[1], -1)
        values = (columns @ flat).reshape(width, -1, 3).transpose(1, 0, 2) / _ONE
    return values


def _weights(old: int, new: int, kernel: Kernel, blur: float) -> ndarray:
    """(new, old) whole weights that sum to `_ONE`: pixel i of the result is their mean of the old pixels."""
    weights = np.eye(old)
    if new != old:
        scale = old / new
        if kernel == "nearest":
            weights = weights[(2 * np.arange(new) + 1) * old // (2 * new)]
        else:
            centres = (np.arange(new) + 0.5) * scale - 0.5
            stretch = max(scale, 1.0)
            weights = _kernel(kernel, (np.arange(old) - centres[:, None]) / stretch, 1 / stretch)
            weights /= weights.sum(axis=1, keepdims=True)
    if blur:
        taps = np.exp(-0.5 * (np.arange(1 - old, old) / blur) ** 2)
        spread = sliding_window_view(taps, old)[::-1]  # row i holds the bell around i
        weights = weights @ (spread / spread.sum(axis=1, keepdims=True))
    return _whole(weights)


def _kernel(kernel: Kernel, x: ndarray, pixel: float) -> ndarray:
    x = np.abs(x)
    match kernel:
        case "area":  # exact overlap of two boxes, one `pixel` wide and one 1 wide
            return np.clip((1 + pixel) / 2 - x, 0, pixel)
        case "linear":
            return np.maximum(0, 1 - x)
        case "cubic":  # Keys, with a = -1/2
            near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
            return np.where(x < 1, near, np.where(x < 2, far, 0.0))
        case _:  # Lanczos with three lobes
            return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def _whole(weights: ndarray) -> ndarray:
    """Rows of weights that sum to 1 (or to anything), as whole numbers that sum to `_ONE`."""
    whole = np.rint(weights * (_ONE / weights.sum(axis=1, keepdims=True)))
    whole[np.arange(len(whole)), np.argmax(whole, axis=1)] += _ONE - whole.sum(axis=1)
    return whole


def to_bytes(values: Float[ndarray, "h w 3"]) -> UInt8[ndarray, "h w 3"]:
    """Rounded half to even and clipped to 0…255; C-contiguous."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8, order="C")
