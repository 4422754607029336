"""What a sensor and a file do to pictures of a batch, on any device: noise that follows from a seed, and JPEG."""

from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlrface.data.sampling import pixels_at, within

_MIDDLE: Final = 128.0

_LUMA: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA: Final = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *(((99,) * 8,) * 4),
)  # fmt: skip


def sensed(
    values: Float[Tensor, "b h w 3"],
    columns: Int[Tensor, " b"],
    contrast: Tensor,
    gain: Tensor,
    shot_noise: Tensor,
    read_noise: Tensor,
    seed: Int[Tensor, " b"],
) -> Float[Tensor, "b h w 3"]:
    """Contrast, exposure and noise of each picture, rounded to bytes; see `vlrface.images.degrade`."""
    contrast, gain, shot_noise, read_noise = (
        each.view(-1, 1, 1, 1) for each in (contrast, gain, shot_noise, read_noise)
    )
    values = ((values - _MIDDLE) * contrast + _MIDDLE) * gain
    light = values.clamp(min=0) / 255
    deviation = (shot_noise**2 * light + read_noise**2).sqrt()
    values = values + deviation * _normal(values.shape, columns, seed)
    return torch.round(values).clamp(0, 255)


def _normal(shape: torch.Size, columns: Int[Tensor, " b"], seed: Int[Tensor, " b"]) -> Tensor:
    """Standard normal numbers that depend on a picture's seed and the place in it alone, not on its batch."""
    device = seed.device
    row = torch.arange(shape[1], device=device)[None, :, None, None]
    column = torch.arange(shape[2], device=device)[None, None, :, None]
    channel = torch.arange(shape[3], device=device)[None, None, None, :]
    place = (row * columns.view(-1, 1, 1, 1) + column) * 3 + channel
    start = _mixed(seed.view(-1, 1, 1, 1) * _signed(0x9E3779B97F4A7C15) + 1)
    radius = torch.sqrt(-2 * torch.log(_uniform(_mixed(start + 2 * place))))
    return radius * torch.cos(2 * torch.pi * _uniform(_mixed(start + 2 * place + 1)))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _mixed(values: Tensor) -> Tensor:
    """The finalizer of SplitMix64 (Steele et al., OOPSLA 2014): neighbouring numbers become unrelated ones."""
    values = (values ^ _shifted(values, 30)) * _signed(0xBF58476D1CE4E5B9)
    values = (values ^ _shifted(values, 27)) * _signed(0x94D049BB133111EB)
    return values ^ _shifted(values, 31)


def _shifted(values: Tensor, bits: int) -> Tensor:
    return (values >> bits) & ((1 << (64 - bits)) - 1)  # torch has signed whole numbers only


def _uniform(values: Tensor) -> Tensor:
    return (_shifted(values, 11).double() + 0.5) / 2**53


def compressed(
    canvas: Float[Tensor, "b h w 3"], size: Int[Tensor, "b 2"], quality: Int[Tensor, " b"]
) -> Float[Tensor, "b h w 3"]:
    """Each picture after JPEG as libjpeg writes and reads it: chroma of half size, quantised 8 x 8 cosine transforms.

    libjpeg's integer transforms round on the way, this one only at its end; they differ by a grey level here and there.
    Pictures of under 5 columns, where libjpeg leaves out the smoothing of chroma, are smoothed here too.

    Args:
        canvas: whole values in 0…255.
        size: rows and columns of each picture.
        quality: 1…100; 0 leaves the picture as it is.
    """
    height, width = (-(-side // 16) * 16 for side in canvas.shape[1:3])
    device = canvas.device
    rows = torch.arange(height, device=device).expand(len(canvas), -1)
    columns = torch.arange(width, device=device).expand(len(canvas), -1)
    half = (size + 1) // 2
    values = _colours(_extended(canvas, rows, columns, size))
    tables = [_table(table, quality, device) for table in (_LUMA, _CHROMA)]
    luma = _quantised(values[..., 0], tables[0])
    # The mean of four, where .5 is rounded down and up in turn, as libjpeg does it.
    chroma = values[..., 1:].view(len(values), height // 2, 2, width // 2, 2, 2).sum(dim=(2, 4))
    chroma = torch.floor((chroma + 1 + (columns[:, : width // 2] % 2)[:, None, :, None]) / 4)
    last = within(rows[:, : height // 2], half[:, 0])
    chroma = torch.take_along_dim(chroma, last[:, :, None, None], dim=1)
    small = torch.stack([_quantised(chroma[..., i], tables[1]) for i in range(2)], dim=-1)
    result = _rgb(luma, _enlarged(small, half, height, width))[:, : canvas.shape[1], : canvas.shape[2]]
    return torch.where((quality > 0).view(-1, 1, 1, 1), result, canvas)


def _extended(canvas: Tensor, rows: Tensor, columns: Tensor, size: Tensor) -> Tensor:
    down, across = within(rows, size[:, 0]), within(columns, size[:, 1])
    return pixels_at(canvas, down[:, :, None], across[:, None, :])


def _colours(rgb: Tensor) -> Tensor:
    red, green, blue = rgb.unbind(-1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    cb = -0.168735892 * red - 0.331264108 * green + 0.5 * blue + _MIDDLE
    cr = 0.5 * red - 0.418687589 * green - 0.081312411 * blue + _MIDDLE
    return torch.floor(torch.stack([luma, cb, cr], dim=-1) + 0.5).clamp(0, 255)


def _rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    cb, cr = (chroma - _MIDDLE).unbind(-1)
    parts = [luma + 1.402 * cr, luma - 0.344136286 * cb - 0.714136286 * cr, luma + 1.772 * cb]
    return torch.floor(torch.stack(parts, dim=-1) + 0.5).clamp(0, 255)


def _table(table: tuple[tuple[int, ...], ...], quality: Tensor, device: torch.device) -> Tensor:
    """(b, 8, 8) quantisation steps at each quality."""
    q = quality.clamp(min=1).view(-1, 1, 1)
    scale = torch.where(q < 50, 5000 // q, 200 - 2 * q)
    return ((torch.tensor(table, device=device) * scale + 50) // 100).clamp(1, 255).double()


def _quantised(plane: Float[Tensor, "b h w"], table: Float[Tensor, "b 8 8"]) -> Float[Tensor, "b h w"]:
    """A plane after its blocks' cosine transforms were rounded to whole steps."""
    k = torch.arange(8, dtype=torch.float64, device=plane.device)
    cosines = torch.cos(torch.pi * (2 * k[None] + 1) * k[:, None] / 16) / 2
    cosines[0] /= 2**0.5
    count, height, width = plane.shape
    blocks = (plane - _MIDDLE).view(count, height // 8, 8, width // 8, 8).transpose(2, 3)
    steps = table[:, None, None]
    coefficients = cosines @ blocks @ cosines.T / steps
    whole = coefficients.sign() * torch.floor(coefficients.abs() + 0.5)
    back = cosines.T @ (whole * steps) @ cosines
    values = torch.floor(back + _MIDDLE + 0.5).clamp(0, 255)
    return values.transpose(2, 3).reshape(count, height, width)


def _enlarged(chroma: Tensor, half: Int[Tensor, "b 2"], height: int, width: int) -> Tensor:
    """Chroma at full size: three quarters of the nearer pixel and a quarter of the next, both ways."""
    device = chroma.device
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)

    def neighbours(at: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        near = (at // 2).expand(len(chroma), -1)
        return within(near, size), within(near + 2 * (at % 2) - 1, size)

    row, next_row = neighbours(rows, half[:, 0])
    column, next_column = neighbours(columns, half[:, 1])
    near = torch.take_along_dim(chroma, row[:, :, None, None], dim=1)
    sums = 3 * near + torch.take_along_dim(chroma, next_row[:, :, None, None], dim=1)
    near = torch.take_along_dim(sums, column[:, None, :, None], dim=2)
    total = 3 * near + torch.take_along_dim(sums, next_column[:, None, :, None], dim=2)
    at_edge = (column == next_column)[:, None, :, None]
    bias = torch.where((columns % 2 == 1)[None, None, :, None] & ~at_edge, 7, 8)
    return torch.floor((total + bias) / 16)
