"""A surface to paint a portrait on: colour, cover and gloss over a grid of points, with smooth-edged masks."""

from typing import Final

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

Colour = tuple[int, int, int]
"""RGB, 0…255."""

Paint = Colour | ndarray | list[ndarray]
"""One colour, or a plane of values for each channel."""

Window = tuple[slice, slice]
"""Rows and columns of a part of the canvas."""

WHOLE: Window = (slice(None), slice(None))

_LARGE: Final = (
    20_000  # values; beyond, one plane after the other: fresh memory for all at once costs more than the loop
)


class Canvas:
    """A picture being painted, transparent at first. Lengths are in units of the caller, y downward.

    Attributes:
        side: points in a row and in a column.
        pixels: points in one unit.
        x: (1, side) horizontal place of each column.
        y: (side, 1) vertical place of each row.
        colour: (3, side, side) RGB planes.
        alpha: (side, side) 1 where something was painted by `body`.
        gloss: (side, side) what `paint` was told, 0…255.
    """

    def __init__(self, side: int, reach: float) -> None:
        """A canvas of `side` x `side` points from -`reach` to `reach` in both directions."""
        self.side = side
        self.pixels = side / (2 * reach)
        axis = ((np.arange(side) - (side - 1) / 2) / self.pixels).astype(np.float32)
        self.x, self.y = axis[None, :], axis[:, None]
        self.colour = np.zeros((3, side, side), np.float32)
        self.alpha = np.zeros((side, side), np.float32)
        self.gloss = np.zeros((side, side), np.float32)

    def window(self, x: float, y: float, half_x: float, half_y: float) -> Window:
        """The rows and columns of the points around a place, as far as the canvas reaches."""
        return self._span(y, half_y), self._span(x, half_x)

    def _span(self, middle: float, half: float) -> slice:
        ends = (round((v * self.pixels) + (self.side - 1) / 2) for v in (middle - half, middle + half))
        low, high = (min(max(end, 0), self.side) for end in ends)
        return slice(low, high)

    def at(self, window: Window) -> tuple[Float32[ndarray, "1 w"], Float32[ndarray, "h 1"]]:
        """The places of a window: x as a row, y as a column."""
        return self.x[:, window[1]], self.y[window[0]]

    def cover(self, depth: Float32[ndarray, "*shape"]) -> Float32[ndarray, "*shape"]:
        """A mask with a smooth edge, from the distance of each point to the outline, positive inside."""
        return np.clip(depth * np.float32(self.pixels) + np.float32(0.5), 0, 1)

    def paint(self, window: Window, mask: ndarray, colour: Paint, gloss: float | None = None) -> None:
        """Lay a colour over what a window holds.

        Args:
            window: where.
            mask: (h, w), or of a shape that broadcasts to it: 1 hides what is there.
            colour: three numbers, or three (h, w) planes.
            gloss: of the paint; None leaves the gloss.
        """
        here = self.colour[:, window[0], window[1]]
        if here.size > _LARGE:
            for plane, value in zip(here, colour, strict=True):
                plane += mask * (value - plane)
        else:
            planes = np.asarray(colour, np.float32)
            here += mask * ((planes[:, None, None] if planes.ndim == 1 else planes) - here)
        if gloss is not None:
            shine = self.gloss[window]
            shine += mask * (gloss - shine)

    def shade(self, window: Window, factor: ndarray) -> None:
        """Multiply what a window holds: below 1 darkens."""
        self.colour[:, window[0], window[1]] *= factor

    def body(self, window: Window, mask: ndarray, colour: Paint, gloss: float) -> None:
        """Paint a part of the person, which hides the background as well."""
        self.paint(window, mask, colour, gloss)
        alpha = self.alpha[window]
        np.maximum(alpha, mask, out=alpha)
