"""From the numbers of an identity to the measures and colours of a face.

Lengths are in half pictures: the picture spans -1…1 in both directions, with y downward.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.images.canvas import Colour

TRAITS: Final = (
    *("build", "age", "skin", "undertone", "face_width", "jaw", "chin", "cheeks", "ears"),
    *("eye_distance", "eye_size", "eye_open", "eye_tilt", "iris", "lashes", "brow_height", "brow_weight", "brow_arch"),
    *("brow_slope", "nose_width", "nose_length", "nose_height", "mouth_width", "lip_upper", "lip_lower", "lip_colour"),
    *("mouth_height", "mouth_curve", "hair_style", "hair_colour", "hair_shade", "hair_volume", "parting"),
    *("beard", "beard_density"),
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
_CLOTHES: Final[tuple[Colour, ...]] = (
    (44, 50, 66),
    (96, 36, 40),
    (220, 220, 216),
    (36, 74, 58),
    (24, 24, 28),
    (150, 140, 120),
)
_FRAMES: Final[tuple[Colour, ...]] = ((22, 20, 22), (84, 46, 26), (150, 150, 156), (176, 140, 70))
_GREY: Final = np.array((196, 194, 190), np.float32)


@dataclass(frozen=True)
class Hair:
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
    Hair(0.02, 0.01, -0.10, -0.62, cover=0.0),  # bald
    Hair(0.02, 0.01, -0.02, -0.60, cover=0.6),  # shaved
    Hair(0.06, 0.03, 0.02, -0.58),  # short
    Hair(0.15, 0.02, 0.00, -0.62, bend=0.4, skew=0.12, wave=0.03),  # brushed up
    Hair(0.10, 0.05, 0.04, -0.52, bend=0.3, skew=0.28),  # short, parted
    Hair(0.05, 0.04, 0.02, -0.86, bend=-0.5),  # receding
    Hair(0.20, 0.18, 0.14, -0.56, bend=0.8, wave=0.06),  # round and curly
    Hair(0.10, 0.08, 0.14, -0.32, bend=0.1, wave=0.02, inset=0.05),  # short with a fringe
    Hair(0.06, 0.03, -0.02, -0.62, bend=0.7, bun=0.20),  # bun
    Hair(0.10, 0.14, 0.60, -0.48, bend=0.7, skew=0.25, inset=0.08),  # chin-long, parted
    Hair(0.09, 0.13, 1.40, -0.60, bend=1.1, inset=0.08, wave=0.03),  # long, parted in the middle
    Hair(0.10, 0.11, 0.95, -0.32, bend=0.15, inset=0.07, wave=0.02),  # long with a fringe
    Hair(0.18, 0.26, 0.85, -0.54, bend=0.6, skew=0.15, inset=0.07, wave=0.07),  # long and curly
)
_OF_DELICATE: Final = (12, 11, 10, 9, 8, 7, 10, 11, 6, 9)
_OF_RUGGED: Final = (0, 1, 2, 3, 4, 5, 2, 3, 4, 6)


@dataclass(frozen=True, eq=False)
class Face:
    """What the parts of a face share.

    Attributes:
        t: the traits by name, for what one part alone needs.
        width, chin, neck: half width of the head, height of the chin, half width of the neck.
        eye_x, nose_x, mouth_x: half distance of the eyes, half widths of nose and mouth.
        nose_y, mouth_y: heights of the nose's tip and of the mouth.
        skin, hair, iris: (3,) float32 RGB, 0…255; `frame` of the glasses and `clothes` likewise.
        style: of the hair.
        rugged: the heavier of two builds; only it grows a beard, and each build has its own styles of hair.
    """

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
    style: Hair
    iris: ndarray
    frame: Colour
    clothes: Colour
    rugged: bool
    neck: float


def measured(identity: Float[ndarray, " k"]) -> Face:
    """The face of an identity vector, one value in [0, 1] per name in `TRAITS`."""
    t = dict(zip(TRAITS, identity.tolist(), strict=True))
    rugged = t["build"] > 0.5
    darkness = t["skin"]
    skin = _along(_SKINS, darkness) + np.array((8, -2, -10), np.float32) * (t["undertone"] - 0.5)
    # Fair hair goes with fair skin; old people grey.
    hair = _along(_HAIRS, t["hair_colour"] * (1 - 0.75 * darkness)) * np.float32(mixed(0.85, 1.2, t["hair_shade"]))
    grey = min(max((t["age"] - 0.7) / 0.2, 0.0), 1.0) * min(t["hair_shade"] * 1.5, 1.0)
    width = mixed(0.53, 0.655, t["face_width"])
    styles = _OF_RUGGED if rugged else _OF_DELICATE
    return Face(
        t=t,
        width=width,
        chin=mixed(0.76, 0.88, t["chin"]) + (0.02 if rugged else -0.01),
        eye_x=width * mixed(0.40, 0.50, t["eye_distance"]),
        nose_y=mixed(0.19, 0.29, t["nose_length"]),
        nose_x=mixed(0.085, 0.15, t["nose_width"]),
        mouth_y=mixed(0.44, 0.52, t["mouth_height"]),
        mouth_x=mixed(0.17, 0.26, t["mouth_width"]),
        skin=skin,
        hair=hair + (_GREY - hair) * np.float32(grey),
        style=_STYLES[styles[_index(styles, t["hair_style"])]],
        iris=_along(_IRISES, t["iris"] * (1 - 0.8 * darkness)),
        frame=_FRAMES[_index(_FRAMES, t["glasses_colour"])],
        clothes=_CLOTHES[_index(_CLOTHES, t["clothes"])],
        rugged=rugged,
        neck=width * (mixed(0.60, 0.74, t["jaw"]) if rugged else mixed(0.46, 0.56, t["jaw"])),
    )


def _index(choices: tuple[object, ...], share: float) -> int:
    return min(int(share * len(choices)), len(choices) - 1)


def mixed(a: float, b: float, share: float) -> float:
    """`a` for share 0, `b` for share 1, evenly between."""
    return a + (b - a) * share


def _along(colours: tuple[Colour, ...], share: float) -> ndarray:
    table = np.array(colours, np.float32)
    place = share * (len(table) - 1)
    low = min(int(place), len(table) - 2)
    return table[low] + (table[low + 1] - table[low]) * np.float32(place - low)
