"""Augmentation of a whole batch on the device: what `vlrface.images` does picture by picture, from the same draws.

With equal draws a picture differs from the CPU's by a grey level here and there; the noise is another of the same
distribution, because its numbers follow from the seed in another way.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from vlrface.data.sampling import pixels_at, resized, warped, within
from vlrface.data.sensing import compressed, sensed
from vlrface.images.drawing import AT, KERNELS
from vlrface.images.optics import motion_weights

_ONE = 4096


def augmented(
    pixels: UInt8[Tensor, "n 3"], plans: Float[ndarray, "b p"], height: int, width: int
) -> UInt8[Tensor, "b h w 3"]:
    """The batch's images, on the device where the pixels are.

    Args:
        pixels: as in `vlrface.images.drawing.Drawn`.
        plans: likewise; on the CPU, so that shapes are known without asking the device.
        height: of the images.
        width: of the images.
    """
    made = _Batch(pixels, plans)
    made.cut()
    made.hide()
    made.move()
    made.sense()
    return made.view(height, width)


class _Batch:
    """Pictures on their way; each step changes the canvas and the sizes on it."""

    def __init__(self, pixels: Tensor, plans: ndarray) -> None:
        self._plans = plans
        self._device = pixels.device
        on_device = torch.from_numpy(np.ascontiguousarray(plans))
        if self._device.type == "cuda":
            on_device = on_device.pin_memory()
        self._on_device = on_device.to(self._device, non_blocking=True)
        self._size = self._columns("rows", "columns").long()
        rows, columns = self._most("rows"), self._most("columns")
        counts = plans[:, AT["rows"]] * plans[:, AT["columns"]]
        first = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)).to(self._device)
        count = len(plans)
        down = within(torch.arange(rows, device=self._device).expand(count, -1), self._size[:, 0])
        across = within(torch.arange(columns, device=self._device).expand(count, -1), self._size[:, 1])
        index = first[:, None, None] + down[:, :, None] * self._size[:, 1, None, None] + across[:, None, :]
        self._canvas = pixels[index].double()

    def _most(self, name: str) -> int:
        return int(self._plans[:, AT[name]].max())

    def _any(self, name: str) -> bool:
        return bool(self._plans[:, AT[name]].any())

    def _columns(self, *names: str) -> Tensor:
        return torch.stack([self._on_device[:, AT[name]] for name in names], dim=1)

    def _column(self, name: str) -> Tensor:
        return self._on_device[:, AT[name]]

    def cut(self) -> None:
        """Loose cuts, of those that have one."""
        if not self._any("cut"):
            return
        chosen = np.flatnonzero(self._plans[:, AT["cut"]])
        index = torch.from_numpy(chosen).to(self._device)
        rows, columns = self._most("cut_rows"), self._most("cut_columns")
        matrix = self._columns(*(f"cut_{i}" for i in range(6)))[index]
        reflected = self._column("cut_reflected")[index] > 0
        cuts = warped(self._canvas[index], self._size[index], matrix, rows, columns, reflected=reflected)
        old = self._canvas
        self._canvas = old.new_zeros(len(old), max(rows, old.shape[1]), max(columns, old.shape[2]), 3)
        self._canvas[:, : old.shape[1], : old.shape[2]] = old
        self._canvas[index, :rows, :columns] = cuts
        self._size[index] = self._columns("cut_rows", "cut_columns")[index].long()

    def hide(self) -> None:
        """Rectangles of one colour."""
        if not self._any("hidden_bottom"):
            return
        row = torch.arange(self._canvas.shape[1], device=self._device)[None, :, None]
        column = torch.arange(self._canvas.shape[2], device=self._device)[None, None, :]
        top, bottom, left, right = (
            self._column(f"hidden_{side}")[:, None, None] for side in ("top", "bottom", "left", "right")
        )
        hidden = (row >= top) & (row < bottom) & (column >= left) & (column < right)
        colour = self._columns(*(f"hidden_colour_{i}" for i in range(3)))
        self._canvas = torch.where(hidden[..., None], colour[:, None, None], self._canvas)

    def move(self) -> None:
        """Motion during the exposure, of those that move."""
        chosen = np.flatnonzero(self._plans[:, AT["motion"]])
        if len(chosen) == 0:
            return
        lengths, angles = self._plans[chosen, AT["motion"]], self._plans[chosen, AT["motion_rad"]]
        kernels = [motion_weights(float(length), float(angle)) for length, angle in zip(lengths, angles, strict=True)]
        reach = max(len(kernel) for kernel in kernels) // 2
        padded = np.stack([np.pad(kernel, reach - len(kernel) // 2) for kernel in kernels])
        index = torch.from_numpy(chosen).to(self._device)
        weights = torch.from_numpy(padded).to(self._device).repeat_interleave(3, dim=0)[:, None]
        rows, columns = self._canvas.shape[1:3]
        down = torch.arange(-reach, rows + reach, device=self._device).expand(len(chosen), -1)
        across = torch.arange(-reach, columns + reach, device=self._device).expand(len(chosen), -1)
        size = self._size[index]
        around = pixels_at(
            self._canvas[index], within(down, size[:, 0])[:, :, None], within(across, size[:, 1])[:, None, :]
        )
        planes = around.permute(0, 3, 1, 2).reshape(1, -1, *around.shape[1:3])
        sums = torch.nn.functional.conv2d(planes, weights, groups=len(weights)).view(len(chosen), 3, rows, columns)
        self._canvas[index] = torch.round(torch.round(sums) / _ONE).clamp(0, 255).permute(0, 2, 3, 1)

    def sense(self) -> None:
        """Blur, fewer pixels, light and noise, enlargement, compression."""
        kernel, blur = self._column("kernel").long(), self._column("blur")
        taken = self._columns("taken_rows", "taken_columns").long()
        small = self._columns("small_rows", "small_columns").long()
        values = resized(
            self._canvas, self._size, taken, self._most("taken_rows"), self._most("taken_columns"), kernel, blur
        )
        self._canvas = sensed(
            values,
            taken[:, 1],
            self._column("contrast"),
            self._column("gain"),
            self._column("shot_noise"),
            self._column("read_noise"),
            self._column("seed").long(),
        )
        enlarged = self._plans[:, AT["taken_rows"]] != self._plans[:, AT["small_rows"]]
        if enlarged.any() or (self._plans[:, AT["taken_columns"]] != self._plans[:, AT["small_columns"]]).any():
            rows, columns = self._most("small_rows"), self._most("small_columns")
            values = resized(self._canvas, taken, small, rows, columns, kernel, torch.zeros_like(blur))
            self._canvas = torch.round(values).clamp(0, 255)
        self._size = small
        if self._any("quality"):
            self._canvas = compressed(self._canvas, self._size, self._column("quality").long())

    def view(self, height: int, width: int) -> Tensor:
        """The input: shrunk by area where much is skipped, then one affine warp, mirrored where that was drawn."""
        shrunk = self._columns("shrunk_rows", "shrunk_columns").long()
        if (self._plans[:, AT["shrunk_rows"]] != self._plans[:, AT["small_rows"]]).any():
            area = torch.full((len(shrunk),), KERNELS.index("area"), device=self._device)
            rows, columns = self._most("shrunk_rows"), self._most("shrunk_columns")
            values = resized(self._canvas, self._size, shrunk, rows, columns, area, torch.zeros_like(area).double())
            self._canvas, self._size = torch.floor(values + 0.5).clamp(0, 255), shrunk
        matrix = self._columns(*(f"view_{i}" for i in range(6)))
        images = warped(self._canvas, self._size, matrix, height, width, cubic=self._column("cubic") > 0)
        mirrored = (self._column("mirrored") > 0)[:, None, None, None]
        return torch.where(mirrored, images.flip(2), images).to(torch.uint8)
