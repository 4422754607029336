"""The parts of a face, painted one over the other. Each function paints one part of a `Face` on a `Canvas`."""

from functools import lru_cache

import cv2
import numpy as np
from numpy import ndarray

from vlrface.images.anatomy import Face, mixed
from vlrface.images.canvas import WHOLE, Canvas, Colour, Window

_DARK: Colour = (34, 18, 16)


def distance(a: ndarray, b: ndarray) -> ndarray:
    """Root of the sum of the squares; np.hypot guards against overflow, at twenty times the price."""
    return np.sqrt(a * a + b * b)


def half_width(canvas: Canvas, face: Face) -> ndarray:
    """(side, 1) half width of the head at each height; 0 above and below it."""
    t, top, widest = face.t, -0.93, -0.14
    up = np.clip((canvas.y - widest) / (top - widest), 0, 1) ** np.float32(2.4)
    down = np.clip((canvas.y - widest) / (face.chin - widest), 0, 1)
    square = t["jaw"] * 0.7 + (0.3 if face.rugged else 0.0)
    lower = (1 - down ** np.float32(mixed(2.0, 3.4, square))) ** np.float32(mixed(0.78, 0.56, square))
    return np.float32(face.width) * np.where(canvas.y < widest, np.sqrt(1 - up), lower)


def hair_outline(canvas: Canvas, face: Face, outline: ndarray) -> tuple[ndarray, ndarray]:
    """Distances to the outline of the hair and to the opening in which the face is seen, positive inside."""
    style, x, y = face.style, canvas.x, canvas.y
    volume = np.float32(mixed(0.7, 1.3, face.t["hair_volume"]))
    middle = np.float32(-0.22)
    wide, high = face.width + style.side * volume, 0.71 + style.top * volume
    outer = np.empty((canvas.side, canvas.side), np.float32)
    above = np.searchsorted(y[:, 0], middle)
    outer[:above] = (1 - distance(x / wide, (y[:above] - middle) / high)) * min(wide, high)
    hanging = y[above:]
    np.minimum(
        wide * (1 + np.float32(0.12) * (hanging - middle)) - np.abs(x), style.length - hanging, out=outer[above:]
    )
    if style.bun:
        np.maximum(outer, style.bun * volume - distance(x, y + np.float32(1.04)), out=outer)
    clouds = textures(canvas.side)[1]
    outer += np.float32(style.wave) * (clouds - 1)
    direction = 1.0 if face.t["parting"] > 0.5 else -1.0
    line = style.line + style.bend * x * x + style.skew * direction * x
    ragged = np.float32(0.02 + style.wave * 0.5) * (clouds - 1)
    opening = np.minimum(y - line + ragged, outline - np.float32(style.inset) - np.abs(x))
    return outer, opening


def locks(canvas: Canvas, face: Face) -> ndarray:
    """(side, side) brightness of the hair around 1: strands that run from the crown, or curls."""
    grain, clouds, turn = textures(canvas.side)
    if face.style.wave > 0.05:
        return np.float32(0.6) + np.float32(0.32) * clouds + np.float32(0.08) * grain
    first = int(face.t["texture"] * 100)
    return _strands()[turn + first]


@lru_cache(maxsize=4)
def textures(side: int) -> tuple[ndarray, ndarray, ndarray]:
    """Fine grain and coarse clouds, around 1, and the number of the strand that each point lies on.

    The same for everybody: skin and hair have a texture, not a pattern to be recognised by.
    """
    rng = np.random.default_rng(20)
    grain = cv2.GaussianBlur(rng.random((side, side), np.float32), (3, 3), 0)
    cells = max(side // 6, 4)
    clouds = cv2.resize(rng.random((cells, cells), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    axis = np.linspace(-1.3, 1.3, side)
    angle = np.arctan2(axis[:, None] + 1.25, axis[None, :] * 1.5) / (2 * np.pi) % 1
    turn = (angle * 760 + clouds * 8).astype(np.intp)
    return grain * np.float32(2), np.clip(clouds, 0, 1) * np.float32(2), turn


@lru_cache(maxsize=1)
def _strands() -> ndarray:
    rng = np.random.default_rng(21)
    coarse = np.interp(np.arange(900), np.arange(0, 909, 9), rng.random(101))
    return (0.68 + 0.42 * coarse + 0.16 * rng.random(900)).astype(np.float32)


def neck_and_clothes(canvas: Canvas, face: Face) -> None:
    """What is below the head and does not turn with it."""
    at = canvas.window(0.0, 0.85, 1.4, 0.40)
    x, y = canvas.at(at)
    wide = np.abs(x)
    half = np.float32(face.neck)
    flare = np.maximum(y - np.float32(0.72), 0)
    neck = canvas.cover(half + np.float32(0.8) * flare * flare - wide)
    chin = np.clip((y - np.float32(face.chin - 0.1)) * np.float32(2.2), 0, 1)  # its shadow
    canvas.body(at, neck, face.skin[:, None, None] * (np.float32(0.5) + np.float32(0.38) * chin), 10.0)
    slope = np.maximum(wide - half, 0)
    shoulder = y - np.float32(0.80) - np.float32(0.34) * slope
    collar = y - (np.float32(1.12) - (np.float32(0.9) if face.t["clothes"] * 7 % 1 > 0.5 else np.float32(0.3)) * wide)
    cloth = canvas.cover(np.minimum(shoulder, collar))
    fold = np.float32(0.85) + np.float32(0.3) * np.clip(collar * 8, 0, 0.5)
    canvas.body(at, cloth, np.asarray(face.clothes, np.float32)[:, None, None] * fold, 5.0)


def ears(canvas: Canvas, face: Face) -> None:
    """Half hidden behind the head."""
    reach = np.float32(mixed(0.06, 0.11, face.t["ears"]))
    at = canvas.window(0.0, 0.02, face.width + 0.12, 0.2)
    x, y = canvas.at(at)
    radius = distance((np.abs(x) - np.float32(face.width * 0.97)) / reach, (y - np.float32(0.02)) / np.float32(0.16))
    canvas.body(at, canvas.cover((1 - radius) * reach), face.skin * np.float32(0.93), 30.0)
    inner = canvas.cover((np.float32(0.55) - radius) * reach) * np.float32(0.6)
    canvas.paint(at, inner, face.skin * np.float32(0.6))


def complexion(canvas: Canvas, face: Face, opening: ndarray, head: ndarray) -> None:
    """Blood, folds, shadows that no light reaches, freckles, a mole."""
    t = face.t
    blush = [(0.0, face.nose_y, 0.07, 0.06, 0.35)]
    dark = [
        (0.0, face.nose_y + 0.075, face.nose_x * 0.9, 0.025, 0.26),  # under the nose
        (0.0, face.mouth_y + 0.115, 0.11, 0.025, 0.14),  # under the lower lip
        (0.0, face.chin + 0.02, 0.4, 0.05, 0.25),
    ]
    age = max(t["age"] - 0.35, 0.0)
    for side in (-1.0, 1.0):
        blush.append((side * 0.33, 0.20, 0.13, 0.10, 0.5))
        dark += [
            (side * (face.eye_x - 0.085), -0.10, 0.05, 0.07, 0.16),  # beside the root of the nose
            (side * face.eye_x, -0.145, 0.12, 0.035, 0.16),  # above the lid
            (side * face.eye_x, 0.015, 0.09, 0.022, 0.08 + 0.25 * age),  # bags
            (side * (face.nose_x + 0.015), face.nose_y, 0.022, 0.05, 0.16),
            (side * (face.mouth_x + 0.07), face.mouth_y - 0.09, 0.025, 0.09, 0.05 + 0.22 * age),  # fold
            (side * 0.36, 0.36, 0.09, 0.13, 0.14 * (1 - t["cheeks"])),  # hollow cheek
        ]
    for line in range(3 if age > 0.2 else 0):
        dark.append((0.0, -0.34 - 0.09 * line, 0.25, 0.011, 0.28 * age))
    red = head * bells(canvas, blush)
    shade = 1 - bells(canvas, dark)
    if face.style.cover == 1:
        shade *= 1 - np.float32(0.3) * np.clip(1 - np.abs(opening) / np.float32(0.08), 0, 1)  # of the hair
    grain = textures(canvas.side)[0]
    shade *= np.float32(0.94) + np.float32(0.06) * grain
    if t["freckles"] > 0.82:
        dots = np.clip((grain - np.float32(1.2)) * 4, 0, 1) * np.clip(red * 6, 0, 1)
        shade *= 1 - np.float32(0.22) * dots
    canvas.shade(WHOLE, 1 - head * (1 - shade))
    canvas.colour[1:] *= 1 - np.float32(0.16) * red
    if t["mole_x"] > 0.7:
        x, y = mixed(-0.9, 0.9, (t["mole_x"] - 0.7) / 0.3) * face.width * 0.7, mixed(0.1, 0.6, t["mole_y"])
        at = canvas.window(x, y, 0.05, 0.05)
        spot = canvas.cover(np.float32(0.016) - distance(canvas.x[:, at[1]] - x, canvas.y[at[0]] - y))
        canvas.paint(at, spot * 0.8, face.skin * np.float32(0.35))


def bells(canvas: Canvas, bumps: list[tuple[float, float, float, float, float]]) -> ndarray:
    """(side, side) sum of Gaussians given as x, y, half width, half height and height; one matrix product."""
    b = np.array(bumps, np.float32).T[:, :, None]
    across = np.exp(np.float32(-0.5) * ((canvas.x - b[0]) / b[2]) ** 2)
    down = np.exp(np.float32(-0.5) * ((canvas.y[:, 0] - b[1]) / b[3]) ** 2) * b[4]
    return down.T @ across


def beard(canvas: Canvas, face: Face, outline: ndarray) -> None:
    """None, stubble, moustache, goatee or full; only on rugged faces."""
    kind = face.t["beard"]
    if not face.rugged or kind < 0.45:
        return
    at = canvas.window(0.0, 0.55, 0.75, 0.5)
    x, y = canvas.at(at)
    wide = np.abs(x)
    line = np.maximum(
        np.float32(face.nose_y + 0.09) - np.float32(0.1) * np.clip(wide - np.float32(0.05), 0, 1),
        np.float32(0.47) - np.float32(0.75) * np.maximum(wide - np.float32(0.1), 0),
    )
    edge = outline[at[0]] - wide
    full = np.minimum(y - line, edge)
    lip = np.minimum(
        np.minimum(y - np.float32(face.nose_y + 0.07), np.float32(face.mouth_y) - y + np.float32(0.2) * wide),
        np.float32(face.mouth_x + 0.05) - wide,
    )
    tuft = (1 - distance(x / np.float32(0.24), (y - np.float32(face.mouth_y + 0.16)) / np.float32(0.22))) * np.float32(
        0.2
    )
    tuft = np.minimum(tuft, edge)
    if kind < 0.58:
        depth, strength = np.maximum(full, lip), 0.38
    elif kind < 0.70:
        depth, strength = lip, 0.9
    elif kind < 0.83:
        depth, strength = np.maximum(lip, tuft), 0.88
    else:
        depth, strength = np.maximum(full, lip), 0.92
    grain = textures(canvas.side)[0][at]
    soft = np.clip(depth * np.float32(14) + np.float32(0.3), 0, 1)
    mask = soft * np.float32(strength) * (np.float32(0.55) + np.float32(0.45) * grain)
    hair = face.hair * np.float32(0.85) if strength > 0.5 else np.minimum(face.hair, face.skin * np.float32(0.6))
    canvas.paint(at, np.clip(mask * np.float32(mixed(0.75, 1.0, face.t["beard_density"])), 0, 1), hair, 10.0)


def eyes(canvas: Canvas, face: Face) -> None:
    """Ball, iris, pupil, a reflection, lids and lashes, of both at once."""
    t = face.t
    wide = mixed(0.105, 0.145, t["eye_size"])
    high = wide * mixed(0.34, 0.56, t["eye_open"])
    at = canvas.window(0.0, -0.08, face.eye_x + 0.2, 0.15)
    x, y = canvas.at(at)
    side, x = np.sign(x), np.abs(x) - np.float32(face.eye_x)  # x runs outward on both sides
    y = y + np.float32(0.08) + x * np.float32(mixed(-0.10, 0.22, t["eye_tilt"]))
    arch = 1 - (x / wide) ** 2
    upper, lower = y + high * arch, high * np.float32(0.72) * arch - y
    lash = np.float32(mixed(0.012, 0.024, t["lashes"]) * (0.8 if face.rugged else 1.15))
    crease = canvas.cover(np.float32(0.009) - np.abs(upper + np.float32(0.035))) * (arch > -0.2)
    canvas.paint(at, crease * np.float32(0.45), face.skin * np.float32(0.5))
    inside = canvas.cover(np.minimum(upper, lower))
    shadow = np.float32(0.72) + np.float32(0.28) * np.clip(upper / np.float32(0.05), 0, 1)
    canvas.paint(at, inside, np.array((238, 234, 230), np.float32)[:, None, None] * shadow, 120.0)
    radius = distance(x, y + np.float32(0.008))
    iris = wide * 0.50
    canvas.paint(at, inside * canvas.cover(iris - radius), face.iris * np.float32(0.55))
    canvas.paint(at, inside * canvas.cover(iris * np.float32(0.82) - radius), face.iris)
    canvas.paint(at, inside * canvas.cover(iris * np.float32(0.42) - radius), (10, 8, 8))
    gleam = distance(x * side + np.float32(0.02), y + np.float32(0.028))
    canvas.paint(at, inside * canvas.cover(np.float32(0.013) - gleam), (250, 250, 250))
    line = canvas.cover(lash - np.abs(upper)) * (arch > -0.12)
    canvas.paint(at, line * np.float32(0.9), _DARK, 10.0)
    under = canvas.cover(np.float32(0.007) - np.abs(lower)) * (arch > 0)
    canvas.paint(at, under * np.float32(0.55), face.skin * np.float32(0.42))


def brows(canvas: Canvas, face: Face) -> None:
    """Arches of hair over the eyes."""
    t = face.t
    height = -0.08 - mixed(0.115, 0.175, t["brow_height"])
    wide = mixed(0.14, 0.185, t["eye_size"])
    thick = mixed(0.016, 0.040, t["brow_weight"]) * (1.15 if face.rugged else 0.8)
    at = canvas.window(0.0, height, face.eye_x + 0.24, 0.13)
    x, y = canvas.at(at)
    x = np.abs(x) - np.float32(face.eye_x - 0.01)
    arch = mixed(0.0, 0.05, t["brow_arch"]) * (1 - ((x - np.float32(0.04)) / wide) ** 2)
    middle = height - arch + x * np.float32(mixed(-0.22, 0.18, t["brow_slope"]))
    taper = thick * np.clip(1 - (np.abs(x) / wide) ** 3, 0, 1) * (1 - np.float32(1.4) * np.maximum(x, 0))
    grain = textures(canvas.side)[0][at]
    mask = canvas.cover(taper - np.abs(y - middle)) * (taper > 0.002)
    canvas.paint(
        at, np.clip(mask * (np.float32(0.6) + np.float32(0.3) * grain), 0, 0.95), face.hair * np.float32(0.7), 10.0
    )


def nostrils(canvas: Canvas, face: Face) -> None:
    """Two openings and the edge of the wings."""
    at = canvas.window(0.0, face.nose_y + 0.03, 0.25, 0.12)
    x, y = canvas.at(at)
    wide = np.abs(x)
    y = y - np.float32(face.nose_y)
    hole = distance(
        (wide - face.nose_x * 0.48) / np.float32(face.nose_x * 0.33), (y - np.float32(0.048)) / np.float32(0.022)
    )
    canvas.paint(at, canvas.cover((1 - hole) * np.float32(0.022)) * np.float32(0.75), face.skin * np.float32(0.28))
    wing = distance((wide - face.nose_x * 0.72) / np.float32(face.nose_x * 0.4), y / np.float32(0.06))
    rim = canvas.cover(np.float32(0.009) - np.abs(wing - 1) * np.float32(0.05)) * (wide > face.nose_x * 0.8)
    canvas.paint(at, rim * np.float32(0.4), face.skin * np.float32(0.5))


def mouths(canvas: Canvas, face: Face, at: Window) -> ndarray:
    """(3, 3, h, w) what a window shows with the mouth closed, parted and open; colour planes of each.

    Only the gloss of the closed lips is painted on the canvas itself.
    """
    t = face.t
    x, y = canvas.at(at)
    y = y - np.float32(face.mouth_y) + x * x * np.float32(mixed(-0.1, 0.8, t["mouth_curve"]))
    arch = np.maximum(1 - (x / np.float32(face.mouth_x)) ** 2, 0)
    full = 0.8 if face.rugged else 1.15
    bow = 1 - np.float32(0.35) * np.exp(-((x / np.float32(0.035)) ** 2))
    gap = np.array([0.008, 0.038, 0.068], np.float32)[:, None, None] * arch
    bite = np.array([0.0, 0.9, 0.35], np.float32)[:, None, None]  # how far down the upper teeth are seen
    above = gap * np.float32(0.6) + np.float32(mixed(0.022, 0.052, t["lip_upper"]) * full) * arch * bow
    below = gap * np.float32(1.3) + np.float32(mixed(0.03, 0.068, t["lip_lower"]) * full) * np.sqrt(arch)
    within = (arch > 0).astype(np.float32)
    lips = canvas.cover(np.minimum(y + above, below - y)) * within
    hollow = canvas.cover(np.minimum(y + gap * np.float32(0.6), gap * np.float32(1.3) - y)) * within
    teeth = canvas.cover(np.minimum(y + gap * np.float32(0.5), gap * bite - y)) * hollow * (bite > 0)
    pale = face.skin * np.float32(0.84)
    red = np.array((150, 62, 62), np.float32) + (face.skin - 170) * np.float32(0.35)
    tone = pale + (red - pale) * np.float32(mixed(0.25, 0.5 if face.rugged else 0.95, t["lip_colour"]))
    shown = np.repeat(canvas.colour[None, :, at[0], at[1]], 3, axis=0)
    lower_lighter = np.where(y < 0, np.float32(0.84), np.float32(1.0))
    shown += lips[:, None] * (tone[:, None, None] * lower_lighter - shown)
    for mask, colour in ((hollow * np.float32(0.9), (52, 16, 18)), (teeth, (228, 222, 210))):
        shown += mask[:, None] * (np.array(colour, np.float32)[:, None, None] - shown)
    shine = canvas.gloss[at]
    shine += lips[0] * (90 - shine)
    return shown


def glasses(canvas: Canvas, face: Face) -> None:
    """Two rims, a bridge and the arms to the ears."""
    t = face.t
    at = canvas.window(0.0, -0.06, face.width + 0.03, 0.26)
    x, y = canvas.at(at)
    wide, y = np.abs(x), y + np.float32(0.06)
    half_x, half_y, corner = ((0.16, 0.11, 0.05), (0.14, 0.14, 0.139), (0.175, 0.135, 0.10))[
        min(int(t["glasses_shape"] * 3), 2)
    ]
    thick = np.float32(mixed(0.010, 0.026, t["glasses_shape"] * 3 % 1))
    from_corner = distance(
        np.maximum(np.abs(wide - face.eye_x) - np.float32(half_x - corner), 0),
        np.maximum(np.abs(y) - np.float32(half_y - corner), 0),
    )
    rim = from_corner - np.float32(corner)
    lens = canvas.cover(-rim)
    canvas.paint(at, lens * np.float32(0.10), (215, 225, 235), 110.0)
    bridge = np.maximum(
        np.abs(y + np.float32(0.03) - np.float32(0.4) * wide * wide) - thick, wide - (face.eye_x - half_x)
    )
    arms = np.maximum(np.abs(y + np.float32(0.04)) - thick, face.eye_x + half_x - wide)
    frame = canvas.cover(np.maximum(np.maximum(thick - np.abs(rim), -bridge), -arms))
    canvas.paint(at, frame, face.frame, 160.0)
