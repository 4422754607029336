"""One invented person, drawn once: colours, relief and gloss of a head that looks straight ahead, under no light yet.

`vlrface.images.procedural` turns, lights and photographs it. Everything is made of formulas; there is no picture of
anybody behind it. Lengths are in half pictures: the picture spans -1…1 with y downward, the canvas `REACH` times that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from vlrface.images.canvas import WHOLE, Canvas, Colour, Window

REACH: Final = 1.3
"""Half side of the canvas: more than is seen, because heads turn and move."""

TRAITS: Final = (
    *("build", "age", "skin", "undertone", "face_width", "jaw", "chin", "cheeks", "ears"),
    *("eye_distance", "eye_size", "eye_open", "eye_tilt", "iris", "lashes", "brow_height", "brow_weight", "brow_arch"),
    *("brow_slope", "nose_width", "nose_length", "nose_height", "mouth_width", "lip_upper", "lip_lower", "lip_colour"),
    *("mouth_height", "hair_style", "hair_colour", "hair_shade", "hair_volume", "parting", "beard", "beard_density"),
    *("freckles", "mole_x", "mole_y", "glasses_habit", "glasses_shape", "glasses_colour", "clothes", "texture"),
)
"""What an identity vector holds, in order. Each trait is a number in [0, 1)."""

_SKINS: Final[tuple[Colour, ...]] = (
    *((250, 218, 198), (238, 196, 168), (222, 174, 138)),
    *((196, 144, 106), (152, 104, 74), (100, 68, 52)),
)
_HAIRS: Final[tuple[Colour, ...]] = (
    *((26, 22, 22), (46, 32, 26), (80, 54, 36), (116, 72, 42), (158, 76, 38), (180, 140, 84), (222, 192, 132)),
)
_IRISES: Final[tuple[Colour, ...]] = ((52, 32, 20), (88, 56, 32), (112, 96, 48), (80, 112, 72), (84, 124, 160))
_CLOTHES: Final[tuple[Colour, ...]] = ((44, 50, 66), (96, 36, 40), (220, 220, 216), (36, 74, 58), (24, 24, 28), (150, 140, 120))
_FRAMES: Final[tuple[Colour, ...]] = ((22, 20, 22), (84, 46, 26), (150, 150, 156), (176, 140, 70))
_GREY: Final = np.array((196, 194, 190), np.float32)
_DARK: Final[Colour] = (34, 18, 16)


@dataclass(frozen=True)
class _Hair:
    """A style.

    `top` and `side` are the thickness over the skull, `length` the lowest point; over the face the hair ends at
    `line + bend·x² ± skew·x`, and `inset` further in than the head at the sides. `cover` below 1 is stubble.
    """

    top: float
    side: float
    length: float
    line: float
    bend: float = 0.6
    skew: float = 0.0
    inset: float = 0.025
    wave: float = 0.015
    cover: float = 1.0
    bun: float = 0.0


_STYLES: Final = (
    _Hair(0.02, 0.01, -0.10, -0.62, cover=0.0),  # bald
    _Hair(0.02, 0.01, -0.02, -0.60, cover=0.6),  # shaved
    _Hair(0.06, 0.03, 0.02, -0.58),  # short
    _Hair(0.15, 0.02, 0.00, -0.62, bend=0.4, skew=0.12, wave=0.03),  # brushed up
    _Hair(0.10, 0.05, 0.04, -0.52, bend=0.3, skew=0.28),  # short, parted
    _Hair(0.05, 0.04, 0.02, -0.86, bend=-0.5),  # receding
    _Hair(0.20, 0.18, 0.14, -0.56, bend=0.8, wave=0.06),  # round and curly
    _Hair(0.10, 0.08, 0.14, -0.32, bend=0.1, wave=0.02, inset=0.05),  # short with a fringe
    _Hair(0.06, 0.03, -0.02, -0.62, bend=0.7, bun=0.20),  # bun
    _Hair(0.10, 0.14, 0.60, -0.48, bend=0.7, skew=0.25, inset=0.08),  # chin-long, parted
    _Hair(0.09, 0.13, 1.40, -0.60, bend=1.1, inset=0.08, wave=0.03),  # long, parted in the middle
    _Hair(0.10, 0.11, 0.95, -0.32, bend=0.15, inset=0.07, wave=0.02),  # long with a fringe
    _Hair(0.18, 0.26, 0.85, -0.54, bend=0.6, skew=0.15, inset=0.07, wave=0.07),  # long and curly
)
_OF_DELICATE: Final = (12, 11, 10, 9, 8, 7, 10, 11, 6, 9)
_OF_RUGGED: Final = (0, 1, 2, 3, 4, 5, 2, 3, 4, 6)


@dataclass(frozen=True, eq=False)
class Portrait:
    """A drawn head, under no light.

    Attributes:
        colour: what reflects, RGB, multiplied by `alpha`.
        with_glasses: the same with glasses on.
        mouths: the window `mouth_at` of either, with the mouth closed, parted and open.
        mouth_at: rows and columns of that window.
        alpha: 255 where the person is, 0 where the background is seen.
        gloss: how much light is mirrored, 0…255.
        normals: unit vectors, x to the right, y down, z to the viewer; one column per pixel in row order.
        width: half width of the head.
        mouth_y: height of the mouth.
    """

    colour: UInt8[ndarray, "c c 3"]
    with_glasses: UInt8[ndarray, "c c 3"]
    mouths: tuple[UInt8[ndarray, "a b 3"], ...]
    mouth_at: Window
    alpha: UInt8[ndarray, "c c"]
    gloss: UInt8[ndarray, "c c"]
    normals: Float32[ndarray, "3 c*c"]
    width: float
    mouth_y: float


@dataclass(frozen=True, eq=False)
class _Face:
    """The measures and colours that several parts share."""

    t: Mapping[str, float]
    width: float
    chin: float
    eye_x: float
    nose_y: float
    nose_x: float
    mouth_y: float
    mouth_x: float
    skin: ndarray
    hair: ndarray
    style: _Hair


def draw_portrait(identity: Float[ndarray, " k"], size: int) -> Portrait:
    """Draw one identity for pictures of `size` x `size` pixels.

    Args:
        identity: one value in [0, 1] per name in `TRAITS`.
        size: of the pictures, in pixels.
    """
    face = _measured(dict(zip(TRAITS, identity.tolist(), strict=True)))
    canvas = Canvas(round(size * REACH), REACH)
    outline = _half_width(canvas, face)
    head = cv2.GaussianBlur(canvas.cover(outline - np.abs(canvas.x)), (3, 3), 0)
    outer, opening = _hair_outline(canvas, face, outline)
    locks = face.hair[:, None, None] * _locks(canvas, face)
    if face.style.cover == 1:
        canvas.body(WHOLE, canvas.cover(outer), locks * np.float32(0.55), 20.0)
    _neck_and_clothes(canvas, face)
    _ears(canvas, face)
    canvas.body(WHOLE, head, face.skin, 70.0)
    _complexion(canvas, face, opening, head)
    _beard(canvas, face, outline)
    for side in (-1.0, 1.0):
        _eye(canvas, face, side)
        _brow(canvas, face, side)
    _nostrils(canvas, face)
    front = canvas.cover(np.minimum(outer, -opening)) * np.float32(face.style.cover)
    if face.style.cover:
        canvas.body(WHOLE, front, locks, 50.0)
    relief = _relief(canvas, face, outline, head) + front * (np.float32(0.06) + locks[0] * np.float32(0.0004))
    return _finished(canvas, face, relief)


def _finished(canvas: Canvas, face: _Face, relief: ndarray) -> Portrait:
    at = canvas.window(0.0, face.mouth_y, 0.36, 0.2)
    clean = canvas.colour.copy()
    mouths: list[ndarray] = []
    for opened in (0.0, 0.5, 1.0):
        canvas.colour[:, at[0], at[1]] = clean[:, at[0], at[1]]
        _mouth(canvas, face, at, opened)
        mouths.append(_bytes(canvas.colour[:, at[0], at[1]], canvas.alpha[at]))
    plain = _bytes(clean, canvas.alpha)
    _glasses(canvas, face)
    slope = np.float32(canvas.pixels / 8)  # Sobel sums eight differences of neighbours over two pixels' distance
    x, y = cv2.Sobel(relief, cv2.CV_32F, 1, 0) * slope, cv2.Sobel(relief, cv2.CV_32F, 0, 1) * slope
    length = 1 / np.sqrt(x * x + y * y + 1)
    normals = np.stack([-x * length, -y * length, length]).reshape(3, -1)
    return Portrait(
        colour=plain,
        with_glasses=_bytes(canvas.colour, canvas.alpha),
        mouths=tuple(mouths),
        mouth_at=at,
        alpha=cv2.convertScaleAbs(canvas.alpha, alpha=255),
        gloss=cv2.convertScaleAbs(canvas.gloss * canvas.alpha),
        normals=normals,
        width=face.width,
        mouth_y=face.mouth_y,
    )


def _bytes(planes: ndarray, alpha: ndarray) -> ndarray:
    return cv2.convertScaleAbs(cv2.merge(list(planes * alpha)))


def _measured(t: Mapping[str, float]) -> _Face:
    rugged = t["build"] > 0.5
    darkness = t["skin"]
    skin = _along(_SKINS, darkness) + np.array((8, -2, -10), np.float32) * (t["undertone"] - 0.5)
    # Fair hair goes with fair skin; old people grey.
    hair = _along(_HAIRS, t["hair_colour"] * (1 - 0.75 * darkness)) * np.float32(_mix(0.85, 1.2, t["hair_shade"]))
    grey = min(max((t["age"] - 0.62) / 0.25, 0.0), 1.0) * min(t["hair_shade"] * 1.5, 1.0)
    width = _mix(0.53, 0.655, t["face_width"])
    styles = _OF_RUGGED if rugged else _OF_DELICATE
    return _Face(
        t=t,
        width=width,
        chin=_mix(0.76, 0.88, t["chin"]) + (0.02 if rugged else -0.01),
        eye_x=width * _mix(0.40, 0.50, t["eye_distance"]),
        nose_y=_mix(0.19, 0.29, t["nose_length"]),
        nose_x=_mix(0.085, 0.15, t["nose_width"]),
        mouth_y=_mix(0.44, 0.52, t["mouth_height"]),
        mouth_x=_mix(0.17, 0.26, t["mouth_width"]),
        skin=skin,
        hair=hair + (_GREY - hair) * np.float32(grey),
        style=_STYLES[styles[_index(styles, t["hair_style"])]],
    )


def _half_width(canvas: Canvas, face: _Face) -> ndarray:
    """(side, 1) half width of the head at each height; 0 above and below it."""
    t, top, widest = face.t, -0.93, -0.14
    up = np.clip((canvas.y - widest) / (top - widest), 0, 1) ** np.float32(2.4)
    down = np.clip((canvas.y - widest) / (face.chin - widest), 0, 1)
    square = min(max(t["jaw"] * 0.7 + (0.3 if t["build"] > 0.5 else 0.0), 0.0), 1.0)
    lower = (1 - down ** np.float32(_mix(2.0, 3.4, square))) ** np.float32(_mix(0.78, 0.56, square))
    return np.float32(face.width) * np.where(canvas.y < widest, np.sqrt(1 - up), lower)


def _relief(canvas: Canvas, face: _Face, outline: ndarray, head: ndarray) -> ndarray:
    """(side, side) height towards the viewer."""
    t, x, y = face.t, canvas.x, canvas.y
    across = np.clip(x / np.maximum(outline, np.float32(0.02)), -1, 1)
    along = np.clip(y / np.float32(1.0), -0.98, 0.98)
    skull = np.sqrt(1 - across * across) * np.sqrt(1 - along * along) * np.float32(0.62)
    rough = 1.0 if t["build"] > 0.5 else 0.45
    ridge = 0.10 + 0.16 * t["nose_height"]
    # Each bump: x, y, half width, half height, height. Sums of Gaussians are one matrix product.
    bumps = [
        (0.0, -0.24, 0.36, 0.07, 0.03 * rough),  # brow ridge
        (0.0, face.nose_y - 0.01, face.nose_x * 0.55, 0.07, ridge),  # tip of the nose
        (0.0, face.nose_y - 0.15, 0.05, 0.12, ridge * 0.75),  # its back
        (0.0, face.mouth_y - 0.035, face.mouth_x * 0.7, 0.03, 0.02),  # lips
        (0.0, face.mouth_y + 0.045, face.mouth_x * 0.6, 0.035, 0.03),
        (0.0, face.mouth_y + 0.11, 0.12, 0.03, -0.03),  # below the lower lip
        (0.0, face.chin - 0.11, 0.11, 0.08, 0.05 * rough),
    ]
    for side in (-1.0, 1.0):
        bumps += [
            (side * face.eye_x, -0.09, 0.13, 0.08, -0.06),  # socket
            (side * face.eye_x, -0.08, 0.07, 0.05, 0.035),  # ball
            (side * face.nose_x * 0.8, face.nose_y + 0.01, 0.04, 0.04, 0.05),  # wing of the nose
            (side * 0.34, 0.12, 0.15, 0.12, 0.02 + 0.05 * t["cheeks"]),
        ]
    return head * (skull + np.float32(0.3) + _bells(canvas, bumps)) - np.float32(0.12) * x * x


def _bells(canvas: Canvas, bumps: list[tuple[float, float, float, float, float]]) -> ndarray:
    b = np.array(bumps, np.float32).T[:, :, None]
    across = np.exp(-0.5 * ((canvas.x - b[0]) / b[2]) ** 2)
    down = np.exp(-0.5 * ((canvas.y[:, 0] - b[1]) / b[3]) ** 2) * b[4]
    return down.T @ across
