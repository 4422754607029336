"""Changes to a face while training that leave its identity: small frozen values, called as `(image, rng) -> image`.

All take pictures of any size; a result may have another size than its picture, and a framing step, as
`vlrface.images.framing.RandomFraming`, brings it to the network's input afterwards. All randomness comes from the `rng`
they are given. They can be pickled, so worker processes can have them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.random import Generator

from vlrface.images.degrade import Degradation, DegradationRange, degrade
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
    """An aligned face as a detector would have cut it: taller than wide, turned, nearer or farther, off the centre.

    What lies outside the picture is mirrored in, or its edge is repeated, each half the time. The defaults imitate
    crops of a face detector on an aligned picture of 112 pixels (own choice).

    Attributes:
        min_width: smallest width of the cut, as a share of the picture's, above 0.
        max_width: largest; widths are uniform in their logarithm.
        aspect: mean height of the cut over its width, above 0.
        aspect_deviation: its standard deviation, at least 0; the ratio stays within a quarter of the mean.
        center_y: where the picture's centre lies in the cut, as a share of its height from the top.
        rotation_rad: standard deviation of the turn, at least 0.
        squeeze: standard deviation of the logarithm by which the face's height is changed, at least 0.
        shift: standard deviation of the move of the centre, as a share of the picture's width, at least 0.

    Raises:
        VlrfaceError: a value is outside its range.
    """

    min_width: float = 0.72
    max_width: float = 0.96
    aspect: float = 1.38
    aspect_deviation: float = 0.09
    center_y: float = 0.44
    rotation_rad: float = 0.105
    squeeze: float = 0.05
    shift: float = 0.036

    def __post_init__(self) -> None:
        spreads = (self.aspect_deviation, self.rotation_rad, self.squeeze, self.shift)
        if not (0 < self.min_width <= self.max_width and self.aspect > 0 and min(spreads) >= 0):
            raise VlrfaceError(f"{self}: give 0 < min_width <= max_width, aspect > 0 and spreads of at least 0")

    def __call__(self, image: UInt8[ndarray, "h w 3"], rng: Generator) -> UInt8[ndarray, "a b 3"]:
        """The cut, in the picture's own scale."""
        cut = self.draw(image.shape[0], image.shape[1], rng)
        border = cv2.BORDER_REFLECT_101 if cut.reflected else cv2.BORDER_REPLICATE
        return np.asarray(cv2.warpAffine(image, cut.matrix, (cut.columns, cut.rows), borderMode=border), np.uint8)

    def draw(self, height: int, width: int, rng: Generator) -> "Cut":
        """One cut of a picture of this size."""
        share = math.exp(rng.uniform(math.log(self.min_width), math.log(self.max_width)))
        aspect = float(np.clip(rng.normal(self.aspect, self.aspect_deviation), 0.75 * self.aspect, 1.25 * self.aspect))
        columns = max(1, round(share * width))
        rows = max(1, round(columns * aspect))
        angle, squeeze = rng.normal(0.0, self.rotation_rad), math.exp(rng.normal(0.0, self.squeeze))
        cosine, sine = math.cos(angle), math.sin(angle)
        turn = np.array([[cosine, -sine * squeeze], [sine, cosine * squeeze]])
        center = np.array([width - 1, height - 1]) / 2 + rng.normal(0.0, self.shift, 2) * width
        offset = np.array([columns / 2 - 0.5, self.center_y * rows - 0.5]) - turn @ center
        return Cut(rows, columns, np.hstack([turn, offset[:, None]]), bool(rng.random() < 0.5))


@dataclass(frozen=True, eq=False)
class Cut:
    """One drawn cut.

    Attributes:
        rows: of the result.
        columns: of the result.
        matrix: (2, 3) from the picture's pixels to those of the result.
        reflected: whether the picture is mirrored in where the cut leaves it; else its edge is repeated.
    """

    rows: int
    columns: int
    matrix: Float[ndarray, "2 3"]
    reflected: bool


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
        drawn = self.draw(rng)
        return image if drawn is None else degrade(image, drawn)

    def draw(self, rng: Generator) -> Degradation | None:
        """One degradation; None for a picture that stays as it is."""
        return self.range.draw(rng) if rng.random() < self.probability else None


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
