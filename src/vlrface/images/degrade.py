"""A sharp face as a far camera would give it: blurred, small, dark, noisy, compressed, partly hidden.

One `Degradation` describes one picture completely, its random parts by a seed: the same description gives the same
pixels on every machine. The filters and the resampling are sums of integers (weights in 4096ths), which no machine
rounds differently; libjpeg's integer DCT does the compression.

The way of a picture, as light takes it:

1. occlusion (something stands before the face)
2. Gaussian blur (defocus) and motion blur
3. resampling to the few pixels of the face
4. contrast (haze) and gain (exposure)
5. noise that grows with the light (shot) and noise that does not (read)
6. enlargement, where the picture had been even smaller and somebody enlarged it
7. JPEG compression

The scale of severity (own choice; see `Degradation.severity` for the formula):

| severity | a 112-pixel face after it |
|---|---|
| 0 | untouched |
| 0.2 | as from a good camera nearby: 80 pixels, a little noise |
| 0.4 | a low-resolution picture: 52 pixels, compression shows |
| 0.6 | 30 pixels and blurred: a person who knows the face recognises it |
| 0.7 | 21 pixels: a typical face of TinyFace |
| 0.8 | 15 pixels: the limit of networks trained on such faces |
| 0.9 | 10 pixels: skin, hair and outline only |
| 1 | four pixels or none: nothing left |
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vlrface.images.optics import Kernel, moved, resampled, to_bytes
from vlrface.types import VlrfaceError

Occluder = Literal["edge", "rectangle"]
"""What hides a part: something that comes in from one side, or a rectangle anywhere."""

FULL_PX: Final = 112
"""Side of a face that holds everything a recogniser uses. Blur is given in pixels of a picture this wide."""

LEAST_PX: Final = 4
"""Side of a face that holds nothing (own choice)."""

FACE_DEVIATION: Final = 50.0
"""Standard deviation of the grey levels of a well-lit face, to which noise and clipping are compared (own choice)."""

_QUANTISATION: Final = 1 / 12  # variance of rounding to whole grey levels
_MIDDLE: Final = 128.0


@dataclass(frozen=True)
class Degradation:
    """What happens to one picture. The defaults change nothing.

    Attributes:
        side_px: shorter side of the result, in pixels; 0, or a picture that is already as small, is not resampled.
        kernel: of the resampling, and of the enlargement.
        upscaled: ≥ 1; the picture was taken this many times smaller than `side_px` and then enlarged.
        blur_px: ≥ 0, standard deviation of the Gaussian, in pixels of a face `FULL_PX` wide.
        motion_px: 0…224, length of the motion, in the same pixels.
        motion_rad: direction of the motion, from the x axis towards the bottom.
        contrast: ≥ 0, factor around the middle grey.
        gain: ≥ 0, factor on the light after `contrast`; below 1 is dark.
        shot_noise: ≥ 0, standard deviation at white, in grey levels; falls with the root of the light.
        read_noise: ≥ 0, standard deviation everywhere, in grey levels.
        jpeg_quality: 1…100 as libjpeg counts; 0 for no compression.
        occlusion: 0…1, hidden share of the area.
        occluder: what hides it.
        seed: ≥ 0, of noise, occluder colour and place.

    Raises:
        VlrfaceError: a value is outside its range.
    """

    side_px: int = 0
    kernel: Kernel = "area"
    upscaled: float = 1.0
    blur_px: float = 0.0
    motion_px: float = 0.0
    motion_rad: float = 0.0
    contrast: float = 1.0
    gain: float = 1.0
    shot_noise: float = 0.0
    read_noise: float = 0.0
    jpeg_quality: int = 0
    occlusion: float = 0.0
    occluder: Occluder = "edge"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, str):
                if value not in _CHOICES[name]:
                    raise VlrfaceError(f"Degradation.{name} is {value!r}: give one of {', '.join(_CHOICES[name])}")
                continue
            low, high = _BOUNDS.get(name, (0.0, math.inf))
            if not low <= value <= high or value == math.inf:
                raise VlrfaceError(f"Degradation.{name} is {value}: give a finite value from {low:g} to {high:g}")

    @property
    def severity(self) -> float:
        """How much of the face is gone: 0 untouched, 1 nothing left (own choice).

        `1 - detail · signal · range · compression · (1 - occlusion)`, each factor the kept share in [0, 1]:

        - detail = ln(e / LEAST_PX) / ln(FULL_PX / LEAST_PX), with e the side in resolved pixels: FULL_PX / e is the
          root of (FULL_PX · upscaled / side_px)² + 12 blur_px² + motion_px² / 2, the width of a box of equal variance;
        - signal = S / (S + N), with S the variance of a face and N that of noise and rounding, both before contrast and
          gain: N = (read² + shot² · gain / 2 + 1/12) / (contrast · gain)² - 1/12;
        - range = share of normally distributed grey levels that neither end clips, relative to the untouched picture;
        - compression = 1 / (1 + q / 4), q = factor on the quantisation tables: 50 / quality, or 2 - quality / 50 from
          50 on.
        """
        kept = self._detail() * self._signal() * self._range() * self._compression() * (1 - self.occlusion)
        return min(max(1 - kept, 0.0), 1.0)

    def _detail(self) -> float:
        pixel = max(1.0, FULL_PX * self.upscaled / (self.side_px or FULL_PX))
        width = math.sqrt(pixel**2 + 12 * self.blur_px**2 + self.motion_px**2 / 2)
        return max(0.0, 1 - math.log(width) / math.log(FULL_PX / LEAST_PX))

    def _signal(self) -> float:
        light = self.contrast * self.gain
        if light == 0:
            return 0.0
        noise = (self.read_noise**2 + self.shot_noise**2 * self.gain / 2 + _QUANTISATION) / light**2 - _QUANTISATION
        return 1 / (1 + max(noise, 0.0) / FACE_DEVIATION**2)

    def _range(self) -> float:
        if self.contrast * self.gain == 0:
            return 0.0
        return min(1.0, _unclipped(self.contrast, self.gain) / _unclipped(1.0, 1.0))

    def _compression(self) -> float:
        if self.jpeg_quality == 0:
            return 1.0
        tables = 50 / self.jpeg_quality if self.jpeg_quality < 50 else 2 - self.jpeg_quality / 50
        return 1 / (1 + tables / 4)


_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {"kernel": get_args(Kernel), "occluder": get_args(Occluder)}
_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "upscaled": (1.0, math.inf),
    "motion_px": (0.0, 2.0 * FULL_PX),
    "motion_rad": (-math.inf, math.inf),
    "jpeg_quality": (0, 100),
    "occlusion": (0.0, 1.0),
}


def _unclipped(contrast: float, gain: float) -> float:
    high = (255 / gain - _MIDDLE) / contrast
    low = -_MIDDLE / contrast
    return (math.erf(high / (FACE_DEVIATION * math.sqrt(2))) - math.erf(low / (FACE_DEVIATION * math.sqrt(2)))) / 2


def degradation_at(severity: float, seed: int) -> Degradation:
    """One step of a ladder from untouched (0) to nothing left (1), for demonstrations and tests.

    Every value gets worse with severity; the seed chooses kernel, direction, occluder and noise, the same ones on
    every step. Of the kept share 1 - severity, detail takes the power 0.74, noise 0.08, compression 0.12 and occlusion
    0.06 (own choice), so that `degradation_at(s, seed).severity` is s up to the rounding to whole pixels.

    Args:
        severity: in [0, 1].
        seed: at least 0.

    Raises:
        VlrfaceError: a value is outside its range.
    """
    if not 0 <= severity <= 1:
        raise VlrfaceError(f"severity is {severity}: give a value from 0 (untouched) to 1 (nothing left)")
    if seed < 0:
        raise VlrfaceError(f"seed is {seed}: give at least 0")
    if severity == 0:
        return Degradation(seed=seed)
    chance = np.random.default_rng([seed, 2]).random(3)
    kept = max(1 - severity, 2e-3)  # below, noise would have to be infinite
    width = (FULL_PX / LEAST_PX) ** (1 - kept**0.74 if severity < 1 else 1)
    # The variance of that width: half by the pixel, a third by defocus, a sixth by motion.
    spread = width**2 - 1
    side = int(FULL_PX / math.sqrt(1 + spread / 2))
    gain, contrast = 1 - 0.5 * severity, 1 - 0.3 * severity
    noise = (FACE_DEVIATION**2 * (kept**-0.08 - 1) + _QUANTISATION) * (gain * contrast) ** 2 - _QUANTISATION
    tables = 4 * (kept**-0.12 - 1)
    quality = round(50 / tables if tables > 1 else 100 - 50 * tables)
    return Degradation(
        side_px=0 if side >= FULL_PX else side,
        kernel=("linear", "area", "cubic", "lanczos")[int(chance[0] * 4)],
        blur_px=math.sqrt(spread / 3 / 12),
        motion_px=math.sqrt(spread / 6 * 2),
        motion_rad=float(chance[1]) * math.pi,
        contrast=contrast,
        gain=gain,
        shot_noise=math.sqrt(max(noise, 0.0) / gain),
        read_noise=math.sqrt(max(noise, 0.0) / 2),
        jpeg_quality=0 if quality >= 100 else quality,
        occlusion=1 - kept**0.06,
        occluder="edge" if chance[2] < 0.5 else "rectangle",
        seed=seed,
    )


Span = tuple[float, float]


@dataclass(frozen=True)
class DegradationRange:
    """Degradations to draw from: every value uniform between (low, high), `side_px` uniform in its logarithm.

    What has a probability happens in that share of the pictures and is left out of the others.

    Attributes:
        side_px: low and high, both included; (0, 0) to keep the size.
        kernels: drawn with equal chances.
        upscaled_probability, motion_probability, jpeg_probability, occlusion_probability: in [0, 1].
        others: as in `Degradation`; the direction of a motion is any.

    Raises:
        VlrfaceError: a low end is above its high end, or either is outside the range of `Degradation`.
    """

    side_px: tuple[int, int] = (0, 0)
    kernels: tuple[Kernel, ...] = ("area",)
    upscaled: Span = (1.0, 1.0)
    upscaled_probability: float = 0.0
    blur_px: Span = (0.0, 0.0)
    motion_px: Span = (0.0, 0.0)
    motion_probability: float = 0.0
    contrast: Span = (1.0, 1.0)
    gain: Span = (1.0, 1.0)
    shot_noise: Span = (0.0, 0.0)
    read_noise: Span = (0.0, 0.0)
    jpeg_quality: tuple[int, int] = (0, 0)
    jpeg_probability: float = 1.0
    occlusion: Span = (0.0, 0.0)
    occlusion_probability: float = 0.0

    def __post_init__(self) -> None:
        if not self.kernels:
            raise VlrfaceError("DegradationRange.kernels is empty: name at least one")
        for kernel in self.kernels:
            Degradation(kernel=kernel)
        for each in fields(self):
            value: Any = getattr(self, each.name)
            if each.name.endswith("_probability"):
                if not 0 <= value <= 1:
                    raise VlrfaceError(f"DegradationRange.{each.name} is {value}: give a probability")
            elif each.name != "kernels":
                low, high = value
                if not low <= high:
                    raise VlrfaceError(f"DegradationRange.{each.name} is {value}: give (low, high)")
                for end in value:
                    Degradation(**{each.name: end})
        if self.side_px[0] == 0 < self.side_px[1]:
            raise VlrfaceError(f"DegradationRange.side_px is {self.side_px}: the low side must be at least 1")

    def draw(self, rng: np.random.Generator) -> Degradation:
        """One degradation. Always takes the same amount from `rng`."""
        chance = rng.random(17).tolist()
        (low, high), (worst, best) = self.side_px, self.jpeg_quality
        return Degradation(
            side_px=min(high, int(low * ((high + 1) / low) ** chance[0])) if high else 0,
            kernel=self.kernels[int(chance[1] * len(self.kernels))],
            upscaled=_between(self.upscaled, chance[2]) if chance[3] < self.upscaled_probability else 1.0,
            blur_px=_between(self.blur_px, chance[4]),
            motion_px=_between(self.motion_px, chance[5]) if chance[6] < self.motion_probability else 0.0,
            motion_rad=chance[7] * math.pi,
            contrast=_between(self.contrast, chance[8]),
            gain=_between(self.gain, chance[9]),
            shot_noise=_between(self.shot_noise, chance[10]),
            read_noise=_between(self.read_noise, chance[11]),
            jpeg_quality=worst + int((best - worst + 1) * chance[12]) if chance[13] < self.jpeg_probability else 0,
            occlusion=_between(self.occlusion, chance[14]) if chance[15] < self.occlusion_probability else 0.0,
            occluder="edge" if chance[16] < 0.5 else "rectangle",
            seed=int(rng.integers(2**31)),
        )


def _between(span: Span, share: float) -> float:
    return span[0] + (span[1] - span[0]) * share


def degrade(image: UInt8[ndarray, "h w 3"], degradation: Degradation) -> UInt8[ndarray, "a b 3"]:
    """The small picture that a camera would have given of a face.

    Args:
        image: a sharp RGB face, usually 112 x 112 pixels; both sides at least 1.
        degradation: what happens to it.

    Returns:
        A new array whose shorter side is `degradation.side_px`, with the aspect ratio kept to whole pixels.

    Raises:
        VlrfaceError: the picture is empty.
    """
    if 0 in image.shape:
        raise VlrfaceError(f"cannot degrade an empty picture of {image.shape[0]} x {image.shape[1]} pixels")
    shorter = min(image.shape[:2])
    (height, width), taken = sides_of(degradation, image.shape[0], image.shape[1])
    pixel = shorter / FULL_PX  # a pixel of a face FULL_PX wide, in pixels of this picture
    values = _occluded(image, degradation) if degradation.occlusion else image
    if degradation.motion_px:
        values = moved(values, degradation.motion_px * pixel, degradation.motion_rad)
    values = resampled(values, taken[0], taken[1], degradation.kernel, degradation.blur_px * pixel)
    sensed = _sensed(values, degradation)
    if taken != (height, width):
        sensed = to_bytes(resampled(sensed, height, width, degradation.kernel, 0.0))
    return _compressed(sensed, degradation.jpeg_quality) if degradation.jpeg_quality else sensed


def sides_of(degradation: Degradation, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width of the result of degrading a picture, and those at which it was taken before enlargement."""
    shorter = min(height, width)
    side = min(degradation.side_px or shorter, shorter)
    final = max(1, round(height * side / shorter)), max(1, round(width * side / shorter))
    return final, (max(1, round(final[0] / degradation.upscaled)), max(1, round(final[1] / degradation.upscaled)))


def _occluded(image: ndarray, degradation: Degradation) -> ndarray:
    rows, columns, colour = occlusion_of(degradation, *image.shape[:2])
    out = image.copy()
    out[slice(*rows), slice(*columns)] = colour
    return out


def occlusion_of(degradation: Degradation, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int], ndarray]:
    """What is hidden of a picture: rows and columns, each from and to, and the colour (3,) that stands there."""
    rng = np.random.default_rng([degradation.seed, 0])
    where, shape = rng.random(2), rng.random(2)
    colour = rng.integers(30, 170) + rng.integers(-20, 21, 3)
    share = degradation.occlusion
    if degradation.occluder == "edge":
        across = bool(where[0] < 0.5)  # a strip over the whole width, or over the whole height
        tall, wide = (share, 1.0) if across else (1.0, share)
        corner = (where[1] < 0.5) * (1 - share)
        top, left = (corner, 0.0) if across else (0.0, corner)
    else:
        tall = share ** (0.3 + 0.4 * shape[0])  # the exponents of both sides sum to 1: the area is the share
        wide = share / tall
        top, left = where[0] * (1 - tall), where[1] * (1 - wide)
    rows = round(height * top), round(height * (top + tall))
    columns = round(width * left), round(width * (left + wide))
    return rows, columns, colour


def _sensed(values: ndarray, degradation: Degradation) -> ndarray:
    values = ((values - _MIDDLE) * degradation.contrast + _MIDDLE) * degradation.gain
    if degradation.shot_noise or degradation.read_noise:
        noise = np.random.default_rng([degradation.seed, 1]).standard_normal(values.shape)
        light = np.clip(values, 0, None) / 255
        values = values + np.sqrt(degradation.shot_noise**2 * light + degradation.read_noise**2) * noise
    return to_bytes(values)


def degraded(
    pictures: Iterable[UInt8[ndarray, "_ _ 3"]], drawn_from: "DegradationRange", seed: int
) -> list[UInt8[ndarray, "_ _ 3"]]:
    """Pictures as cameras drawn from a range would give them, one camera each, seeded by (seed, place).

    They are asked for one by one, and none is kept.
    """
    return [
        degrade(np.ascontiguousarray(picture), drawn_from.draw(np.random.default_rng([seed, i])))
        for i, picture in enumerate(pictures)
    ]


def _compressed(image: ndarray, quality: int) -> ndarray:
    turned = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.cvtColor(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)


SURVEILLANCE: Final = DegradationRange(
    side_px=(12, 40),
    kernels=("nearest", "linear", "area", "cubic", "lanczos"),
    upscaled=(1.0, 1.8),
    upscaled_probability=0.25,
    blur_px=(0.0, 3.0),
    motion_px=(2.0, 10.0),
    motion_probability=0.3,
    contrast=(0.8, 1.15),
    gain=(0.55, 1.15),
    shot_noise=(0.0, 8.0),
    read_noise=(0.0, 5.0),
    jpeg_quality=(30, 95),
    jpeg_probability=0.8,
    occlusion=(0.05, 0.25),
    occlusion_probability=0.1,
)
"""Faces of 12 to 40 pixels (median 22) as TinyFace and SurvFace have them, for training and for probes."""

UNRECOGNIZABLE: Final = DegradationRange(
    side_px=(7, 18),
    kernels=("nearest", "linear", "area", "cubic", "lanczos"),
    upscaled=(1.0, 2.0),
    upscaled_probability=0.4,
    blur_px=(4.0, 8.0),
    motion_px=(4.0, 16.0),
    motion_probability=0.5,
    contrast=(0.5, 1.0),
    gain=(0.3, 1.0),
    shot_noise=(0.0, 15.0),
    read_noise=(0.0, 8.0),
    jpeg_quality=(15, 60),
    occlusion=(0.1, 0.4),
    occlusion_probability=0.25,
)
"""Faces of which nobody could tell whose they are: unrecognizable identities, made from sharp faces (own choice)."""
