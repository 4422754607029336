"""Faces by score on one picture: the contact sheet as a PNG."""

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw

from vlrface.report.inputs import SearchedPool
from vlrface.report.unrecognizable import bands

_CELL: Final = 72
_COLUMNS: Final = 20
_HEAD: Final = 18
_PAPER: Final = (250, 250, 250)
_INK: Final = (20, 20, 20)


def contact_sheet(scores: Float[ndarray, " n"], pool: SearchedPool) -> Image.Image:
    """A heading and rows of faces for every band that has any.

    Every face is enlarged to fill its cell, since a picture of five pixels shows nothing at its own size.

    Args:
        scores: of all faces, NaN for one that is not shown.
        pool: with pictures.
    """
    assert pool.picture is not None  # noqa: S101 (asked by the caller)
    shown = [band for band in bands(scores) if band.rows]
    heights = [_HEAD + _CELL * -(-len(band.rows) // _COLUMNS) for band in shown]
    sheet = Image.new("RGB", (_COLUMNS * _CELL, max(sum(heights), 1)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = 0
    for band, height in zip(shown, heights, strict=True):
        draw.text((4, top + 3), f"score {band.title}: {band.count} faces, {len(band.rows)} shown", fill=_INK)
        for place, row in enumerate(band.rows):
            corner = (_CELL * (place % _COLUMNS), top + _HEAD + _CELL * (place // _COLUMNS))
            face = Image.fromarray(_enlarged(pool.picture(row), _CELL - 14))
            sheet.paste(face, (corner[0] + 2, corner[1]))
            draw.text((corner[0] + 2, corner[1] + _CELL - 13), f"{scores[row]:.2f}", fill=_INK)
        top += height
    return sheet


def _enlarged(picture: UInt8[ndarray, "_ _ 3"], side: int) -> UInt8[ndarray, "_ _ 3"]:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), size, interpolation=how))
