"""A picture with a numbered box round each face, for people."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vlrface.images.detect import Detection

_BOX: Final = (255, 196, 0)
_INK: Final = (0, 0, 0)


def numbered(picture: UInt8[ndarray, "h w 3"], detections: Sequence[Detection]) -> UInt8[ndarray, "h w 3"]:
    """A copy of an RGB picture in which the first detection's box has the number 1, and so on.

    A number stands above its box, or below it where there is no room.
    """
    drawn = np.ascontiguousarray(picture).copy()
    height, width = drawn.shape[:2]
    stroke = max(1, round(max(height, width) / 1500))
    size = max(0.4, max(height, width) / 2600)
    for number, face in enumerate(detections, start=1):
        left, top, box_width, box_height = (round(value) for value in face.box)
        right, bottom = left + box_width, top + box_height
        cv2.rectangle(drawn, (left, top), (right, bottom), _BOX, stroke)
        (text_width, text_height), under = cv2.getTextSize(str(number), cv2.FONT_HERSHEY_SIMPLEX, size, stroke)
        label = text_height + under + 2
        y = top - label if top >= label else min(bottom, height - label)
        x = min(max(0, left), max(0, width - text_width - 4))
        cv2.rectangle(drawn, (x, y), (x + text_width + 4, y + label), _BOX, cv2.FILLED)
        at = (x + 2, y + text_height + 1)
        cv2.putText(drawn, str(number), at, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, stroke, cv2.LINE_AA)
    return drawn
