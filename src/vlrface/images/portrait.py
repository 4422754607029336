"""One invented person, drawn once: colours, relief and gloss of a head that looks straight ahead, under no light yet.

`vlrface.images.procedural` turns, lights and photographs it. Everything is made of formulas; there is no picture of
anybody behind it. Lengths are in half pictures: the picture spans -1…1 with y downward, the canvas `REACH` times that.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from vlrface.images import features
from vlrface.images.anatomy import Face, measured
from vlrface.images.canvas import WHOLE, Canvas, Window

REACH: Final = 1.2
"""Half side of the canvas: more than is seen, because heads turn and move."""


@dataclass(frozen=True, eq=False)
class Surface:
    """What light does to each pixel of a head.

    Attributes:
        colour: what reflects, RGB, and alpha: 255 where the person is, 0 where the background is seen. The colours are
            multiplied by alpha.
        gloss: how much light is mirrored, 0…255.
    """

    colour: UInt8[ndarray, "c c 4"]
    gloss: UInt8[ndarray, "c c"]


@dataclass(frozen=True, eq=False)
class Portrait:
    """A drawn head, under no light.

    Attributes:
        bare: without glasses.
        glasses: the same with glasses on; None if they were not asked for.
        mouths: the window `mouth_at` of the colour of either, with the mouth closed, parted and open.
        mouth_at: rows and columns of that window.
        normals: unit vectors, x to the right, y down, z to the viewer; one column per pixel in row order.
        width: half width of the head.
        mouth_y: height of the mouth.
    """

    bare: Surface
    glasses: Surface | None
    mouths: tuple[UInt8[ndarray, "a b 4"], ...]
    mouth_at: Window
    normals: Float32[ndarray, "3 p"]
    width: float
    mouth_y: float


def draw_portrait(identity: Float[ndarray, " k"], size: int, *, glasses: bool) -> Portrait:
    """Draw one identity for pictures of `size` x `size` pixels.

    Args:
        identity: one value in [0, 1] per name in `TRAITS`.
        size: of the pictures, in pixels.
        glasses: whether glasses will be needed.
    """
    face = measured(identity)
    canvas = Canvas(round(size * REACH), REACH)
    outline = features.half_width(canvas, face)
    head = cv2.GaussianBlur(canvas.cover(outline - np.abs(canvas.x)), (3, 3), 0)
    outer, opening = features.hair_outline(canvas, face, outline)
    locks = features.locks(canvas, face)
    hair = [value * locks for value in face.hair]
    if face.style.cover == 1:
        canvas.body(WHOLE, canvas.cover(outer), [plane * np.float32(0.55) for plane in hair], 20.0)
    features.neck_and_clothes(canvas, face)
    features.ears(canvas, face)
    canvas.body(WHOLE, head, face.skin, 70.0)
    features.complexion(canvas, face, opening, head)
    features.beard(canvas, face, outline)
    features.eyes(canvas, face)
    features.brows(canvas, face)
    features.nostrils(canvas, face)
    front = canvas.cover(np.minimum(outer, -opening)) * np.float32(face.style.cover)
    if face.style.cover:
        canvas.body(WHOLE, front, hair, 50.0)
    # Smoother than the colours: a step would shine like an edge of metal.
    wide = 2 * round(canvas.pixels * 0.045) + 1
    relief = _relief(canvas, face, outline, head) + cv2.blur(front, (wide, wide)) * np.float32(0.08)
    return _finished(canvas, face, relief, glasses=glasses)


def _finished(canvas: Canvas, face: Face, relief: ndarray, *, glasses: bool) -> Portrait:
    at = canvas.window(0.0, face.mouth_y, 0.36, 0.2)
    mouths = tuple(_bytes(shown, canvas.alpha[at]) for shown in features.mouths(canvas, face, at))
    bare = _surface(canvas)
    if glasses:
        features.glasses(canvas, face)
    slope = -canvas.pixels / 8  # Sobel sums eight differences of neighbours over two pixels' distance
    x, y = (cv2.Sobel(relief, cv2.CV_32F, *along, scale=slope) for along in ((1, 0), (0, 1)))
    normals = np.stack([x, y, np.ones_like(x)])
    normals /= np.sqrt(x * x + y * y + 1)
    return Portrait(
        bare=bare,
        glasses=_surface(canvas) if glasses else None,
        mouths=mouths,
        mouth_at=at,
        normals=normals.reshape(3, -1),
        width=face.width,
        mouth_y=face.mouth_y,
    )


def _surface(canvas: Canvas) -> Surface:
    return Surface(_bytes(canvas.colour, canvas.alpha), cv2.convertScaleAbs(canvas.gloss * canvas.alpha))


def _bytes(planes: ndarray, alpha: ndarray) -> ndarray:
    opaque = cv2.convertScaleAbs(alpha, alpha=255)
    return cv2.merge([*(cv2.convertScaleAbs(plane * alpha) for plane in planes), opaque])


def _relief(canvas: Canvas, face: Face, outline: ndarray, head: ndarray) -> ndarray:
    """(side, side) height towards the viewer."""
    t, x, y = face.t, canvas.x, canvas.y
    across = np.clip(x / np.maximum(outline, np.float32(0.02)), -1, 1)
    along = np.clip(y / np.float32(1.0), -0.98, 0.98)
    skull = np.sqrt(1 - across * across) * np.sqrt(1 - along * along) * np.float32(0.62)
    rough = 1.0 if face.rugged else 0.45
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
    round_neck = np.sqrt(np.maximum(1 - (x / np.float32(face.neck * 1.05)) ** 2, 0)) * np.clip(y * 3 - 1, 0, 1)
    behind = np.float32(0.25) * round_neck - np.float32(0.12) * x * x
    return head * (skull + np.float32(0.3) + features.bells(canvas, bumps)) + (1 - head) * behind
