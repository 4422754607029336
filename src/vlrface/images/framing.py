"""From a crop of any size and shape to the network's input: which window is seen, and how it is resampled.

Detections are cut loosely and taller than wide. Stretching them to a square distorts every face; a window with the
crop's aspect kept, as wide as the face, does not. Training and use share `frame`, so the same crop always gives the
same input.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vlrface.images.resize import resize
from vlrface.types import VlrfaceError


@dataclass(frozen=True)
class Framing:
    """The window of a crop that the network sees.

    Attributes:
        window: width of the window as a multiple of the crop's width, > 0; the window has the input's shape, and what
            it shows outside the crop repeats the crop's edge. None stretches the whole crop to the input, which is
            right for aligned faces.
        center_y: height of the window's centre as a share of the crop's height, from the top. Horizontally it is the
            crop's middle.
    """

    window: float | None = None
    center_y: float = 0.5

    def __post_init__(self) -> None:
        if self.window is not None and not 0 < self.window < 10:
            raise VlrfaceError(f"framing.window must lie in (0, 10) crop widths, is {self.window}")


@dataclass(frozen=True)
class Jitter:
    """A deviation from the exact window.

    Attributes:
        zoom: factor on the window's size; larger sees more.
        aspect: factor on the height of what is seen, against its width.
        rotation_rad: turn of the window, anticlockwise.
        shift_x: move of the window's centre, as a share of the crop's width.
        shift_y: the same of its height.
    """

    zoom: float = 1.0
    aspect: float = 1.0
    rotation_rad: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0


def frame(
    image: UInt8[ndarray, "_ _ 3"],
    framing: Framing,
    height: int,
    width: int,
    jitter: Jitter | None = None,
    *,
    interpolation: int = cv2.INTER_CUBIC,
) -> UInt8[ndarray, "_ _ 3"]:
    """The network's input of a crop.

    Args:
        image: the crop, RGB.
        framing: the window.
        height: of the result, in pixels.
        width: of the result, in pixels.
        jitter: deviation from the window, while training.
        interpolation: of OpenCV, where the crop is enlarged. Bicubic by default.

    Returns:
        (height, width, 3) uint8.
    """
    if framing.window is None and jitter is None:
        return resize(image, height, width)
    way = way_to_input(image.shape[0], image.shape[1], framing, height, width, jitter or Jitter())
    if way.smaller is not None:
        image = resize(image, *way.smaller)
    warped = cv2.warpAffine(image, way.matrix, (width, height), flags=interpolation, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


@dataclass(frozen=True, eq=False)
class Way:
    """How a crop becomes the input.

    Attributes:
        smaller: height and width to which it is shrunk by area first; None where that is not needed.
        matrix: (2, 3) from its pixels after that to those of the input.
    """

    smaller: tuple[int, int] | None
    matrix: Float[ndarray, "2 3"]


def way_to_input(rows: int, columns: int, framing: Framing, height: int, width: int, jitter: Jitter) -> Way:
    """How a crop of `rows` x `columns` pixels becomes the input of `height` x `width`."""
    smaller = None
    if framing.window is None:
        across, down = float(columns), float(rows)
    else:
        across = framing.window * columns
        down = across * height / width
    shrink = min(across / width, down / height)
    if shrink > 1.5:
        # An affine warp does not average what it skips: shrink by area first.
        smaller = max(1, round(rows / shrink)), max(1, round(columns / shrink))
        across, down = across * smaller[1] / columns, down * smaller[0] / rows
        rows, columns = smaller
    scale_x, scale_y = width / (across * jitter.zoom), height / (down * jitter.zoom * jitter.aspect)
    cosine, sine = math.cos(jitter.rotation_rad), math.sin(jitter.rotation_rad)
    turn = np.array([[cosine * scale_x, -sine * scale_y], [sine * scale_x, cosine * scale_y]])
    # Pixel centres lie at whole numbers in OpenCV, hence the halves.
    seen = np.array([columns * (0.5 + jitter.shift_x) - 0.5, rows * (framing.center_y + jitter.shift_y) - 0.5])
    offset = np.array([width / 2 - 0.5, height / 2 - 0.5]) - turn @ seen
    return Way(smaller, np.hstack([turn, offset[:, None]]))


@dataclass(frozen=True)
class RandomFraming:
    """The last step of a training transform: `frame` with a random jitter, mirrored half the time.

    Attributes:
        framing: the exact window, as at use.
        height: of the result, in pixels.
        width: of the result, in pixels.
        zoom: the window's size is multiplied by exp(u), u uniform in ±zoom.
        aspect: likewise for its height against its width.
        rotation_rad: standard deviation of its turn.
        shift: its centre moves by up to this share of the crop, uniformly.
        linear_share: share of the samples that are resampled bilinearly instead of bicubically.
    """

    framing: Framing
    height: int
    width: int
    zoom: float = 0.12
    aspect: float = 0.08
    rotation_rad: float = 0.087
    shift: float = 0.06
    linear_share: float = 0.4

    def __call__(self, image: UInt8[ndarray, "_ _ 3"], rng: np.random.Generator) -> UInt8[ndarray, "_ _ 3"]:
        """A random view of the crop, (height, width, 3)."""
        jitter, cubic, mirrored = self.draw(rng)
        kind = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
        seen = frame(image, self.framing, self.height, self.width, jitter, interpolation=kind)
        return np.ascontiguousarray(seen[:, ::-1]) if mirrored else seen

    def draw(self, rng: np.random.Generator) -> tuple[Jitter, bool, bool]:
        """One jitter, whether it is resampled bicubically, and whether it is mirrored."""
        jitter = Jitter(
            zoom=math.exp(rng.uniform(-self.zoom, self.zoom)),
            aspect=math.exp(rng.uniform(-self.aspect, self.aspect)),
            rotation_rad=float(rng.normal(0.0, self.rotation_rad)),
            shift_x=float(rng.uniform(-self.shift, self.shift)),
            shift_y=float(rng.uniform(-self.shift, self.shift)),
        )
        cubic = bool(rng.random() >= self.linear_share)
        return jitter, cubic, bool(rng.random() < 0.5)
