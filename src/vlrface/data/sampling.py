"""Resampling of many small pictures at once, on any device: as OpenCV and `vlrface.images.optics` do it one by one.

Pictures of a batch have sizes of their own. They lie in the upper left corners of a common canvas, and every reading
keeps within the picture's own size; what the canvas holds beyond it means nothing. All is float64: sums of whole
weights times bytes are exact in it on every device, and no setting of the device makes it less.
"""

from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlrface.images.drawing import KERNELS

_ONE: Final = 4096
_LEAST_BLUR: Final = 0.1
_FRACTIONS: Final = 32  # OpenCV tells so many places between two pixels
_CUBIC_A: Final = -0.75  # of OpenCV's bicubic


def within(index: Int[Tensor, "b n"], size: Int[Tensor, " b"]) -> Int[Tensor, "b n"]:
    """Indices of the nearest pixel of the picture: its border goes on."""
    return index.clamp(min=0).minimum(size[:, None] - 1)


def pixels_at(canvas: Tensor, rows: Int[Tensor, "b ..."], columns: Int[Tensor, "b ..."]) -> Tensor:
    """Values (b, ..., c) of a canvas (b, h, w, c) at some places of each picture."""
    batch = torch.arange(len(canvas), device=canvas.device).view(-1, *([1] * (rows.ndim - 1)))
    return canvas[batch, rows, columns]


def warped(
    canvas: Float[Tensor, "b h w 3"],
    size: Int[Tensor, "b 2"],
    matrix: Float[Tensor, "b 6"],
    height: int,
    width: int,
    *,
    cubic: Tensor | None = None,
    reflected: Tensor | None = None,
) -> Float[Tensor, "b h2 w2 3"]:
    """`cv2.warpAffine` of each picture, rounded to bytes.

    Args:
        canvas: the pictures.
        size: their rows and columns.
        matrix: from pixels (x, y) of the result to those of the picture.
        height: of the result.
        width: of the result.
        cubic: (b,) bool, which are resampled bicubically; None for none.
        reflected: (b,) bool, which are mirrored in outside; the others repeat their border.
    """
    y = torch.arange(height, dtype=torch.float64, device=canvas.device)[None, :, None]
    x = torch.arange(width, dtype=torch.float64, device=canvas.device)[None, None, :]
    m = matrix.double()[:, :, None, None]
    places = [m[:, 3 * axis] * x + m[:, 3 * axis + 1] * y + m[:, 3 * axis + 2] for axis in (1, 0)]
    places = [torch.floor(place * _FRACTIONS + 0.5) / _FRACTIONS for place in places]
    first = [torch.floor(place) for place in places]
    shares = [place - whole for place, whole in zip(places, first, strict=True)]
    whole = [each.long() for each in first]

    def gathered(down: int, across: int) -> Tensor:
        at = [
            _inside(index + step, size[:, axis], reflected)
            for axis, (index, step) in enumerate(zip(whole, (down, across), strict=True))
        ]
        return pixels_at(canvas, at[0], at[1]).double()

    def summed(weights: list[list[Tensor]], taps: range) -> Tensor:
        total = canvas.new_zeros((len(canvas), height, width, 3), dtype=torch.float64)
        for i, down in enumerate(taps):
            for j, across in enumerate(taps):
                total += (weights[0][i] * weights[1][j])[..., None] * gathered(down, across)
        return total

    result = summed([[1 - share, share] for share in shares], range(2))
    if cubic is not None:
        bicubic = summed([_cubic_weights(share) for share in shares], range(-1, 3))
        result = torch.where(cubic[:, None, None, None], bicubic, result)
    return torch.floor(result + 0.5).clamp(0, 255)


def _inside(index: Tensor, size: Int[Tensor, " b"], reflected: Tensor | None) -> Tensor:
    last = (size - 1)[:, None, None]
    repeated = index.clamp(min=0).minimum(last)
    if reflected is None:
        return repeated
    period = (2 * last).clamp(min=1)
    around = index.remainder(period)
    mirrored = torch.where(around > last, period - around, around)
    return torch.where(reflected[:, None, None], mirrored, repeated)


def _cubic_weights(share: Tensor) -> list[Tensor]:
    a = _CUBIC_A

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    weights = [far(share + 1), near(share), near(1 - share)]
    return [*weights, 1 - weights[0] - weights[1] - weights[2]]


def resized(
    canvas: Float[Tensor, "b h w 3"],
    old: Int[Tensor, "b 2"],
    new: Int[Tensor, "b 2"],
    height: int,
    width: int,
    kernel: Int[Tensor, " b"],
    blur: Float[Tensor, " b"],
) -> Float[Tensor, "b h2 w2 3"]:
    """`vlrface.images.optics.resampled` of each picture: not rounded.

    Args:
        canvas: the pictures.
        old: their rows and columns.
        new: those of the results.
        height: of the canvas of the results, at least the largest.
        width: likewise.
        kernel: number in `KERNELS`.
        blur: standard deviation of a Gaussian, in pixels of the picture.
    """
    count, rows, columns = canvas.shape[:3]
    down = _weights(old[:, 0], new[:, 0], rows, height, kernel, blur)
    across = _weights(old[:, 1], new[:, 1], columns, width, kernel, blur)
    # Beyond a picture its weights are 0: what the canvas holds there does not count.
    values = down @ canvas.double().reshape(count, rows, -1) / _ONE
    flat = values.view(count, height, columns, 3).transpose(1, 2).reshape(count, columns, -1)
    return (across @ flat / _ONE).view(count, width, height, 3).transpose(1, 2)


def _weights(old: Tensor, new: Tensor, most_old: int, most_new: int, kernel: Tensor, blur: Tensor) -> Tensor:
    """(b, most_new, most_old) whole weights, in 4096ths, of each picture's rows or columns; 0 beyond its sizes."""
    device = old.device
    old_at = torch.arange(most_old, dtype=torch.float64, device=device)[None, None, :]
    new_at = torch.arange(most_new, dtype=torch.float64, device=device)[None, :, None]
    n_old, n_new = (each.double()[:, None, None] for each in (old, new))
    scale = n_old / n_new
    stretch = scale.clamp(min=1.0)
    x = ((old_at - ((new_at + 0.5) * scale - 0.5)) / stretch).abs()
    kind = kernel[:, None, None]
    nearest = (old_at == torch.floor((2 * new_at + 1) * n_old / (2 * n_new))).double()
    weights = torch.where(kind == KERNELS.index("nearest"), nearest, _linear(x))
    weights = torch.where(
        kind == KERNELS.index("area"), ((1 + 1 / stretch) / 2 - x).clamp(min=0).minimum(1 / stretch), weights
    )
    weights = torch.where(kind == KERNELS.index("cubic"), _keys(x), weights)
    weights = torch.where(kind == KERNELS.index("lanczos"), _lanczos(x), weights)
    same = (old_at == new_at).double().expand_as(weights)
    weights = torch.where(n_old == n_new, same, weights)
    real = (old_at < n_old) & (new_at < n_new)
    weights = torch.where(real, weights, 0.0)
    weights = weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-9)
    weights = torch.where((blur > _LEAST_BLUR)[:, None, None], weights @ _bells(old, most_old, blur), weights)
    return _whole(weights)


def _linear(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=0)


def _keys(x: Tensor) -> Tensor:
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x < 3, torch.sinc(x) * torch.sinc(x / 3), 0.0)


def _bells(old: Tensor, most: int, blur: Tensor) -> Tensor:
    """(b, most, most) rows of a Gaussian around each pixel, of sum 1 within the picture."""
    at = torch.arange(most, dtype=torch.float64, device=old.device)
    distance = (at[None, :, None] - at[None, None, :]) / blur.double().clamp(min=_LEAST_BLUR)[:, None, None]
    bells = torch.exp(-0.5 * distance**2) * (at < old[:, None])[:, None, :]
    return bells / bells.sum(dim=2, keepdim=True).clamp(min=1e-300)


def _whole(weights: Tensor) -> Tensor:
    """Rows of weights of sum 1 as whole numbers of sum 4096; rows of zeros stay."""
    whole = torch.round(weights * _ONE)
    missing = torch.where(weights.abs().sum(dim=2, keepdim=True) > 0.5, _ONE - whole.sum(dim=2, keepdim=True), 0.0)
    return whole.scatter_add(2, whole.argmax(dim=2, keepdim=True), missing)
