"""Changes to a face while training that leave its identity: small frozen values, called as `(image, rng) -> image`.

All take pictures of any size; a result may have another size than its picture, and `vlrface.images.resize` brings it to
the network's input afterwards. All randomness comes from the `rng` they are given. They can be pickled, so worker
processes can have them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from numpy.random import Generator

from vlrface.images.degrade import DegradationRange, degrade
from vlrface.types import VlrfaceError

Step = Callable[[UInt8[ndarray, "h w 3"], Generator], UInt8[ndarray, "a b 3"]]
"""What every augmentation is. A step may give back its picture itself: nobody writes into either."""


@dataclass(frozen=True)
class Mirror:
    """Left and right exchanged.

    Attributes:
        probability: in [0, 1].
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        _check_probability("Mirror", self.probability)

    def __call__(self, image: UInt8[ndarray, "h w 3"], rng: Generator) -> UInt8[ndarray, "h w 3"]:
        """The picture, or its mirror image."""
        return np.ascontiguousarray(image[:, ::-1]) if rng.random() < self.probability else image


@dataclass(frozen=True)
class CropJitter:
    """A random window of the same shape: the face moves and comes nearer by a little.

    Attributes:
        min_scale: smallest side of the window, as a share of the picture's, above 0.
        max_scale: largest, at most 1.
    """

    min_scale: float = 0.8
    max_scale: float = 0.97

    def __post_init__(self) -> None:
        if not 0 < self.min_scale <= self.max_scale <= 1:
            raise VlrfaceError(f"CropJitter({self.min_scale}, {self.max_scale}): give 0 < min_scale <= max_scale <= 1")

    def __call__(self, image: UInt8[ndarray, "h w 3"], rng: Generator) -> UInt8[ndarray, "a b 3"]:
        """The pixels of the window."""
        scale = rng.uniform(self.min_scale, self.max_scale)
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        top, left = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
        return np.ascontiguousarray(image[top : top + height, left : left + width])


@dataclass(frozen=True)
class LooseCut:
    """An aligned face as a detector would have cut it: turned, larger or smaller, off the centre.

    What lies outside the picture is mirrored in.

    Attributes:
        rotation_rad: largest turn to either side, at least 0.
        min_scale: smallest size of the face in the result, relative to the picture, above 0; below 1 is a looser cut.
        max_scale: largest.
        shift: largest move of the centre to each side, as a share of the side, at least 0.

    Raises:
        VlrfaceError: a value is outside its range.
    """

    rotation_rad: float = 0.2
    min_scale: float = 0.75
    max_scale: float = 1.1
    shift: float = 0.08

    def __post_init__(self) -> None:
        if not (0 < self.min_scale <= self.max_scale and self.rotation_rad >= 0 and self.shift >= 0):
            raise VlrfaceError(f"{self}: give 0 < min_scale <= max_scale, rotation_rad >= 0 and shift >= 0")

    def __call__(self, image: UInt8[ndarray, "h w 3"], rng: Generator) -> UInt8[ndarray, "h w 3"]:
        """A picture of the same size."""
        height, width = image.shape[:2]
        angle = rng.uniform(-self.rotation_rad, self.rotation_rad)
        scale = rng.uniform(self.min_scale, self.max_scale)
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), math.degrees(angle), scale)
        matrix[:, 2] += rng.uniform(-self.shift, self.shift, 2) * (width, height)
        return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


@dataclass(frozen=True)
class RandomDegradation:
    """A degradation drawn anew for each picture.

    Attributes:
        range: what to draw from.
        probability: in [0, 1]; the other pictures stay as they are.
    """

    range: DegradationRange
    probability: float = 1.0

    def __post_init__(self) -> None:
        _check_probability("RandomDegradation", self.probability)

    def __call__(self, image: UInt8[ndarray, "h w 3"], rng: Generator) -> UInt8[ndarray, "a b 3"]:
        """The small picture, or the picture itself."""
        return degrade(image, self.range.draw(rng)) if rng.random() < self.probability else image


@dataclass(frozen=True)
class Erase:
    """A random rectangle painted over with one random colour (Zhong et al., Random Erasing, AAAI 2020).

    Attributes:
        probability: in [0, 1].
        min_share: smallest area of the rectangle, as a share of the picture's, above 0.
        max_share: largest, below 1.
        max_aspect: largest ratio of its sides, at least 1, where the picture is large enough for it.
    """

    probability: float = 0.5
    min_share: float = 0.02
    max_share: float = 0.2
    max_aspect: float = 3.0

    def __post_init__(self) -> None:
        _check_probability("Erase", self.probability)
        if not 0 < self.min_share <= self.max_share < 1 or self.max_aspect < 1:
            raise VlrfaceError(f"{self}: give 0 < min_share <= max_share < 1 and max_aspect >= 1")

    def __call__(self, image: UInt8[ndarray, "h w 3"], rng: Generator) -> UInt8[ndarray, "h w 3"]:
        """A copy with the rectangle, or the picture itself."""
        if rng.random() >= self.probability:
            return image
        area = rng.uniform(self.min_share, self.max_share) * image.shape[0] * image.shape[1]
        aspect = math.exp(rng.uniform(-1, 1) * math.log(self.max_aspect))
        height = min(max(1, round(math.sqrt(area * aspect))), image.shape[0])
        width = min(max(1, round(area / height)), image.shape[1])
        top, left = rng.integers(image.shape[0] - height + 1), rng.integers(image.shape[1] - width + 1)
        erased = image.copy()
        erased[top : top + height, left : left + width] = rng.integers(0, 256, 3)
        return erased


@dataclass(frozen=True)
class Chain:
    """Several steps, one after the other. Without steps it changes nothing."""

    steps: tuple[Step, ...] = ()

    def __call__(self, image: UInt8[ndarray, "h w 3"], rng: Generator) -> UInt8[ndarray, "a b 3"]:
        """The picture after the last step."""
        for step in self.steps:
            image = step(image, rng)
        return image


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise VlrfaceError(f"{name}.probability is {value}: give a value from 0 to 1")
