"""Faces out of numbers, for the demo, the tests and the documentation: no person, no licence, no download.

An identity is a vector of traits (face shape, skin, eyes, brows, nose, mouth, hair, beard, ...). It is drawn once as a
relief with colours (`vlrface.images.portrait`); each picture of it then has its own pose, light, expression, glasses
and background. One core makes about 2,000 pictures of 112 pixels a second with ten of each person, 4,000 of one person
and 500 with one of each (`benchmarks/procedural.py`). Own construction, in the manner of 2.5-D animation: a turned head
is the frontal one with every point moved by its depth, which looks right up to about 35 degrees.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from vlrface.images.anatomy import TRAITS
from vlrface.images.degrade import degradation_at, degrade
from vlrface.images.portrait import REACH, Portrait, draw_portrait
from vlrface.images.resize import resize
from vlrface.types import VlrfaceError

SMALLEST_PX: Final = 16
"""Least side of a picture that is drawn; smaller faces are degraded ones."""

_CELL: Final = 4  # pixels between the points at which a warp is computed; it is smooth enough to interpolate
_SEED_IDENTITY, _SEED_VIEW = 1, 2


@dataclass(frozen=True)
class View:
    """How one picture of a person is taken. The defaults are a frontal, neutral, evenly lit portrait.

    Attributes:
        yaw_rad: turn to the viewer's right, within ±0.7.
        pitch_rad: nod downward, within ±0.6.
        roll_rad: tilt, clockwise.
        zoom: size of the face, above 0; 1 is the usual.
        shift_x: of the face, in half pictures, to the right.
        shift_y: downward.
        light_azimuth_rad: direction the light comes from, 0 is the viewer, positive the viewer's right.
        light_elevation_rad: positive is from above.
        ambient: share of the light that comes from everywhere, in [0, 1].
        exposure: factor on the brightness of the person, at least 0.
        warmth: colour of the light, -1 blue to 1 orange.
        smile: -0.3 (sour) to 1.
        mouth_open: 0 closed, 1 open; drawn in three steps.
        brows: -1 lowered to 1 raised.
        glasses: worn or not.
        background: seed of what is behind, at least 0.

    Raises:
        VlrfaceError: a value is out of its range.
    """

    yaw_rad: float = 0.0
    pitch_rad: float = 0.0
    roll_rad: float = 0.0
    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    light_azimuth_rad: float = -0.4
    light_elevation_rad: float = 0.5
    ambient: float = 0.5
    exposure: float = 1.0
    warmth: float = 0.0
    smile: float = 0.0
    mouth_open: float = 0.0
    brows: float = 0.0
    glasses: bool = False
    background: int = 0

    def __post_init__(self) -> None:
        if not (self.zoom > 0 and 0 <= self.ambient <= 1 and 0 <= self.mouth_open <= 1 and self.exposure >= 0):
            raise VlrfaceError(f"{self}: give zoom > 0, ambient and mouth_open in [0, 1], exposure >= 0")
        if self.background < 0:
            raise VlrfaceError(f"View.background is {self.background}: give a seed of at least 0")


@dataclass(frozen=True, eq=False)
class ProceduralFaces:
    """Pictures and the truth about them: identity after identity, `per_identity` pictures each.

    Attributes:
        images: (n, size, size, 3) RGB.
        identities: (n,) int64, from `first_identity` on.
        truths: (n,) float64 each: `yaw_rad`, `pitch_rad`, `roll_rad`, `light_azimuth_rad`, `light_elevation_rad`,
            `ambient`, `exposure`, `smile`, `mouth_open`, `glasses` (0 or 1), and `severity` of the degradation.
    """

    images: UInt8[ndarray, "n h w 3"]
    identities: Int[ndarray, " n"]
    truths: Mapping[str, Float[ndarray, " n"]]

    def __len__(self) -> int:
        return len(self.images)


_POSE: Final = (*("yaw_rad", "pitch_rad", "roll_rad", "zoom", "shift_x", "shift_y", "smile", "mouth_open", "brows"),)
_TRUTHS: Final = (
    *("yaw_rad", "pitch_rad", "roll_rad", "light_azimuth_rad", "light_elevation_rad"),
    *("ambient", "exposure", "smile", "mouth_open", "glasses"),
)


def identity_vectors(count: int, seed: int, *, first_identity: int = 0) -> Float[ndarray, "{count} k"]:
    """Traits of invented people. The vector of identity i depends on the seed and i alone.

    Args:
        count: how many, at least 0.
        seed: at least 0; another seed gives other people.
        first_identity: number of the first, at least 0.

    Returns:
        float64 in [0, 1), one column per name of `vlrface.images.anatomy.TRAITS`.

    Raises:
        VlrfaceError: a number is negative.
    """
    _check(count=count, seed=seed, first_identity=first_identity)
    vectors = np.empty((count, len(TRAITS)))
    for row in range(count):
        vectors[row] = np.random.default_rng([seed, first_identity + row, _SEED_IDENTITY]).random(len(TRAITS))
    return vectors


def procedural_faces(
    identities: int,
    per_identity: int,
    *,
    size: int = 112,
    seed: int = 0,
    first_identity: int = 0,
    severity: tuple[float, float] = (0.0, 0.0),
) -> ProceduralFaces:
    """Several pictures each of several invented people.

    A picture depends on the seed, the number of its identity, its own number and the options alone: asking for more of
    either never changes the others. Another kind of processor may round single pixels differently, by up to two levels.

    Args:
        identities: number of people, at least 1.
        per_identity: pictures of each, at least 1.
        size: side of the square pictures in pixels, at least `SMALLEST_PX`.
        seed: at least 0; another seed gives other people.
        first_identity: number of the first person; people below it belong to another split, for example.
        severity: each picture is degraded by `degradation_at` with a severity drawn between these, then brought back
            to `size`. For small pictures call `vlrface.images.degrade.degrade` on sharp ones.

    Raises:
        VlrfaceError: a number is out of its range.
    """
    _check(seed=seed, first_identity=first_identity)
    if identities < 1 or per_identity < 1:
        raise VlrfaceError(f"{identities} identities with {per_identity} pictures each: give at least 1 of both")
    if not 0 <= severity[0] <= severity[1] <= 1:
        raise VlrfaceError(f"severity is {severity}: give (low, high) with 0 <= low <= high <= 1")
    images = np.empty((identities * per_identity, size, size, 3), np.uint8)
    severities = np.empty(len(images))
    views: list[View] = []
    for row, identity in enumerate(identity_vectors(identities, seed, first_identity=first_identity)):
        own = slice(row * per_identity, (row + 1) * per_identity)
        drawn, shares = _views(identity, seed, first_identity + row, per_identity)
        images[own] = render(identity, drawn, size)
        severities[own] = severity[0] + (severity[1] - severity[0]) * shares
        views += drawn
    if severity[1] > 0:
        for at, view in enumerate(views):
            small = degrade(images[at], degradation_at(float(severities[at]), view.background))
            images[at] = resize(small, size, size)
    numbers = np.arange(first_identity, first_identity + identities, dtype=np.int64)
    truths = {name: np.array([getattr(view, name) for view in views], np.float64) for name in _TRUTHS}
    return ProceduralFaces(images, np.repeat(numbers, per_identity), {**truths, "severity": severities})


def render(
    identity: Float[ndarray, " k"], views: Sequence[View], size: int = 112
) -> UInt8[ndarray, "n {size} {size} 3"]:
    """Photograph one identity.

    Args:
        identity: a row of `identity_vectors`.
        views: one for each picture. The person is drawn once for all.
        size: side of the square pictures in pixels, at least `SMALLEST_PX`.

    Returns:
        One RGB picture per view.

    Raises:
        VlrfaceError: the size is too small, or the vector is not one of an identity.
    """
    if size < SMALLEST_PX:
        raise VlrfaceError(f"size is {size}: faces are drawn from {SMALLEST_PX} pixels on; degrade them for less")
    if len(identity) != len(TRAITS) or not ((identity >= 0) & (identity <= 1)).all():
        raise VlrfaceError(f"an identity has {len(TRAITS)} traits in [0, 1]; take a row of identity_vectors()")
    images = np.empty((len(views), size, size, 3), np.uint8)
    portrait = draw_portrait(identity, size, glasses=any(view.glasses for view in views))
    no_second_map = cast(ndarray, None)  # OpenCV's types do not know that one map may hold both coordinates
    scenes = zip(images, views, _places(portrait, views, size), _backgrounds(views, size), strict=True)
    for image, view, places, background in scenes:
        lit = _lit(portrait, view)
        seen = cv2.remap(lit, places, no_second_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        through = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(seen, 3)), cv2.COLOR_GRAY2RGB)
        behind = cv2.multiply(background, through, scale=1 / 255)
        cv2.add(cv2.cvtColor(seen, cv2.COLOR_RGBA2RGB), behind, dst=image)
    return images


def _views(identity: ndarray, seed: int, number: int, count: int) -> tuple[list[View], ndarray]:
    """The first views of an identity, and a number in [0, 1) for each by which its severity is drawn."""
    # One row for each view, filled row by row: more rows never change the first ones.
    chance = np.random.default_rng([seed, number, _SEED_VIEW]).random((count, 29))
    bell = chance[:, :24:2] + chance[:, 1:24:2] - 1  # a triangle within ±1, most often near 0
    habit = float(identity[TRAITS.index("glasses_habit")])
    wears = 0.0 if habit < 0.6 else 0.5 if habit < 0.75 else 0.9
    views = [
        View(
            yaw_rad=0.6 * b[0],
            pitch_rad=0.35 * b[1],
            roll_rad=0.25 * b[2],
            zoom=1 + 0.08 * b[3],
            shift_x=0.06 * b[4],
            shift_y=0.06 * b[5],
            light_azimuth_rad=1.3 * b[6],
            light_elevation_rad=0.35 + 0.6 * b[7],
            ambient=0.55 + 0.2 * b[8],
            exposure=0.97 + 0.25 * b[9],
            warmth=0.8 * b[10],
            smile=max(-0.3, 1.3 * u[0] - 0.35),
            mouth_open=0.0 if u[1] < 0.5 else 0.5 if u[1] < 0.8 else 1.0,
            brows=b[11],
            glasses=u[2] < wears,
            background=int(u[3] * 2**31),
        )
        for b, u in zip(bell.tolist(), chance[:, 24:].tolist(), strict=True)
    ]
    return views, chance[:, 28]


def _places(portrait: Portrait, views: Sequence[View], size: int) -> Iterator[ndarray]:
    """For each view the (size, size, 2) places on the canvas that its pixels see, in canvas pixels."""
    side = round(size * REACH)
    cells = -(-size // _CELL) + 2  # one cell more on every side: nothing is extrapolated
    axis = (((np.arange(cells) - 0.5) * _CELL - 0.5 - (size - 1) / 2) / (size / 2)).astype(np.float32)
    v = {name: np.array([getattr(view, name) for view in views], np.float32)[:, None, None] for name in _POSE}
    cosine, sine = np.cos(v["roll_rad"]) / v["zoom"], np.sin(v["roll_rad"]) / v["zoom"]
    across, down = axis[None, None, :] - v["shift_x"], axis[None, :, None] - v["shift_y"]
    x, y = _unposed(portrait, v, cosine * across + sine * down, cosine * down - sine * across)
    coarse = np.stack([x, y], axis=3) * np.float32(side / (2 * REACH)) + np.float32((side - 1) / 2)
    for places in coarse:
        fine = cv2.resize(places, (cells * _CELL, cells * _CELL), interpolation=cv2.INTER_LINEAR)
        yield fine[_CELL : _CELL + size, _CELL : _CELL + size]


def _unposed(portrait: Portrait, v: Mapping[str, ndarray], x: ndarray, y: ndarray) -> tuple[ndarray, ndarray]:
    """Where on the frontal, neutral portrait the points of the posed and smiling one lie."""
    reach = portrait.width * 1.2
    depth = np.maximum(0, 1 - (x / reach) ** 2 - (y / 1.05) ** 2)
    turn, nod = np.sin(v["yaw_rad"]), np.sin(v["pitch_rad"])
    x, y = x - 0.55 * reach * turn * depth, y - 0.30 * nod * depth
    nose = np.maximum(0, 1 - (x / 0.24) ** 2 - ((y - 0.17) / 0.34) ** 2)
    x, y = x - 0.13 * turn * nose, y - 0.10 * nod * nose
    lips = np.maximum(0, 1 - (x / 0.48) ** 2 - ((y - portrait.mouth_y) / 0.34) ** 2) ** 2
    y = y + v["smile"] * (1.5 * x * x - 0.02) * lips
    x = x * (1 - 0.16 * v["smile"] * lips)
    jaw = v["mouth_open"] * 0.05 * np.clip((y - portrait.mouth_y + 0.05) / 0.2, 0, 1) * np.minimum(3 * depth, 1)
    brow = np.maximum(0, 1 - (x / 0.55) ** 2 - ((y + 0.25) / 0.14) ** 2)
    return x, y - jaw + 0.03 * v["brows"] * brow


def _lit(portrait: Portrait, view: View) -> ndarray:
    """(c, c, 4) the portrait under the light of a view; alpha stays."""
    surface = portrait.glasses if view.glasses and portrait.glasses else portrait.bare
    side, colour = len(surface.colour), surface.colour.copy()
    colour[portrait.mouth_at] = portrait.mouths[round(view.mouth_open * 2)]
    light = _direction(view.light_azimuth_rad - view.yaw_rad, view.light_elevation_rad + view.pitch_rad)
    halfway = light + _direction(-view.yaw_rad, view.pitch_rad)
    halfway /= np.linalg.norm(halfway)
    cosines = np.stack([light, halfway]).astype(np.float32) @ portrait.normals
    facing, mirrored = cv2.convertScaleAbs(cosines, alpha=127, beta=128).reshape(2, side, side)
    matte, shiny = _responses()
    strength = view.exposure * (view.ambient + (1 - view.ambient) * matte)
    gains = np.array([[1 + 0.12 * view.warmth], [1.0], [1 - 0.16 * view.warmth]])
    tables = np.minimum(128 * gains * strength, 255).astype(np.uint8)
    unchanged = np.full_like(facing, 128)
    lit = cv2.multiply(colour, cv2.merge([*(cv2.LUT(facing, table) for table in tables), unchanged]), scale=1 / 128)
    gleam = np.minimum(shiny * (160 * view.exposure * (1 - view.ambient)), 255).astype(np.uint8)
    shine = cv2.LUT(mirrored, gleam)
    shine = cv2.multiply(shine, surface.gloss, scale=1 / 255)
    return cv2.add(lit, cv2.merge([shine, shine, shine, np.zeros_like(shine)]))


def _direction(azimuth: float, elevation: float) -> ndarray:
    flat = math.cos(elevation)
    return np.array([flat * math.sin(azimuth), -math.sin(elevation), flat * math.cos(azimuth)])


@lru_cache(maxsize=1)
def _responses() -> tuple[ndarray, ndarray]:
    """Brightness by the cosine that `_lit` stored in a byte: matte skin, whose shadows are soft, and gloss."""
    cosine = (np.arange(256) - 128) / 127
    return 1.25 * np.clip((cosine + 0.15) / 1.15, 0, 1), np.clip(cosine, 0, 1) ** 24


def _backgrounds(views: Sequence[View], size: int) -> Iterator[ndarray]:
    """For each view something blurred: patches between two colours."""
    chance = np.empty((len(views), 7 + 25))
    for row, view in enumerate(views):
        np.random.default_rng(view.background).random(out=chance[row])
    first = 30 + 190 * chance[:, :1] + 40 * (chance[:, 1:4] - 0.5)
    change = 130 * (chance[:, 4:7] - 0.5)
    patches = first[:, None, None] + change[:, None, None] * chance[:, 7:].reshape(-1, 5, 5, 1)
    for small in np.clip(patches, 0, 255).astype(np.uint8):
        yield cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)


def _check(**values: int) -> None:
    for name, value in values.items():
        if value < 0:
            raise VlrfaceError(f"{name} is {value}: give at least 0")
