"""Augmentation drawn but not yet done: what a transform would do to each picture, as numbers for a device to apply.

A plan takes from the sample's generator exactly what the transform itself takes, so that what is drawn is the same
wherever it is applied.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vlrface.images.augment import Chain, LooseCut, RandomDegradation
from vlrface.images.degrade import FULL_PX, Degradation, occlusion_of, sides_of
from vlrface.images.framing import RandomFraming, way_to_input
from vlrface.types import VlrfaceError

KERNELS: Final = ("nearest", "linear", "area", "cubic", "lanczos")

FIELDS: Final = (
    *("rows", "columns"),  # of the picture
    *("cut", "cut_rows", "cut_columns", "cut_reflected", *(f"cut_{i}" for i in range(6))),
    *("hidden_top", "hidden_bottom", "hidden_left", "hidden_right", *(f"hidden_colour_{i}" for i in range(3))),
    *("motion", "motion_rad", "blur", "kernel"),  # lengths in pixels of the picture
    *("taken_rows", "taken_columns", "small_rows", "small_columns"),
    *("contrast", "gain", "shot_noise", "read_noise", "seed", "quality"),
    *("shrunk_rows", "shrunk_columns", "cubic", "mirrored", *(f"view_{i}" for i in range(6))),
)
"""Names of the numbers of a plan. Matrices go from the pixels of a result to those of what it is made of."""

AT: Final = {name: place for place, name in enumerate(FIELDS)}


@dataclass(frozen=True, eq=False)
class Drawn:
    """Pictures of a batch, and what is to become of them.

    Attributes:
        pixels: (n, 3) uint8, the pixels of all pictures, row by row, one picture after the other.
        plans: (b, p) one row per picture, of `FIELDS`.
    """

    pixels: UInt8[ndarray, "n 3"]
    plans: Float[ndarray, "b p"]


@dataclass(frozen=True)
class Steps:
    """A transform that a device can apply: at most one cut, then at most one degradation, then the framing."""

    cut: LooseCut | None
    degradation: RandomDegradation | None
    framing: RandomFraming

    @classmethod
    def of(cls, transform: Any) -> "Steps":
        """The steps of a transform.

        Raises:
            VlrfaceError: it has other steps, or another order.
        """
        steps: list[Any] = list(transform.steps) if isinstance(transform, Chain) else [transform]
        cut = steps.pop(0) if steps and isinstance(steps[0], LooseCut) else None
        degradation = steps.pop(0) if steps and isinstance(steps[0], RandomDegradation) else None
        if len(steps) != 1 or not isinstance(steps[0], RandomFraming):
            raise VlrfaceError(
                "training.augment_on=device knows LooseCut, then RandomDegradation, then RandomFraming, of which the "
                f"last alone is needed; a part has {transform!r}. Use training.augment_on=workers"
            )
        return cls(cut, degradation, steps[0])

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Float[ndarray, " p"]:
        """One plan for a picture of this size."""
        plan = np.zeros(len(FIELDS))
        values: dict[str, float] = {"rows": height, "columns": width}
        if self.cut is not None:
            cut = self.cut.draw(height, width, rng)
            height, width = cut.rows, cut.columns
            values |= {"cut": 1, "cut_rows": height, "cut_columns": width, "cut_reflected": cut.reflected}
            values |= _matrix("cut", cut.matrix)
        drawn = None if self.degradation is None else self.degradation.draw(rng)
        found, (height, width) = _degraded(drawn or Degradation(), height, width)
        values |= found
        jitter, cubic, mirrored = self.framing.draw(rng)
        spec = self.framing
        way = way_to_input(height, width, spec.framing, spec.height, spec.width, jitter)
        shrunk = way.smaller or (height, width)
        values |= {"shrunk_rows": shrunk[0], "shrunk_columns": shrunk[1], "cubic": cubic, "mirrored": mirrored}
        values |= _matrix("view", way.matrix)
        plan[[AT[name] for name in values]] = list(values.values())
        return plan


def _degraded(degradation: Degradation, height: int, width: int) -> tuple[dict[str, float], tuple[int, int]]:
    pixel = min(height, width) / FULL_PX
    small, taken = sides_of(degradation, height, width)
    values: dict[str, float] = {
        "motion": degradation.motion_px * pixel,
        "motion_rad": degradation.motion_rad,
        "blur": degradation.blur_px * pixel,
        "kernel": KERNELS.index(degradation.kernel),
        "taken_rows": taken[0],
        "taken_columns": taken[1],
        "small_rows": small[0],
        "small_columns": small[1],
        "contrast": degradation.contrast,
        "gain": degradation.gain,
        "shot_noise": degradation.shot_noise,
        "read_noise": degradation.read_noise,
        "seed": degradation.seed,
        "quality": degradation.jpeg_quality,
    }
    if degradation.occlusion:
        (top, bottom), (left, right), colour = occlusion_of(degradation, height, width)
        values |= {"hidden_top": top, "hidden_bottom": bottom, "hidden_left": left, "hidden_right": right}
        values |= {f"hidden_colour_{i}": int(value) for i, value in enumerate(colour)}
    return values, small


def _matrix(name: str, matrix: Float[ndarray, "2 3"]) -> dict[str, float]:
    return {f"{name}_{i}": float(v) for i, v in enumerate(np.asarray(cv2.invertAffineTransform(matrix)).ravel())}


def draw_together(
    pictures: Sequence[UInt8[ndarray, "_ _ 3"]], steps: Sequence[Steps], generators: Sequence[np.random.Generator]
) -> Drawn:
    """Pictures of a batch with their plans, each by its own steps and generator."""
    each = zip(pictures, steps, generators, strict=True)
    plans = np.stack([step.draw(picture.shape[0], picture.shape[1], rng) for picture, step, rng in each])
    return Drawn(np.concatenate([picture.reshape(-1, 3) for picture in pictures]), plans)
