"""Pictures and a model for bulk work."""

import csv

import cv2
import numpy as np


def write_crops(root):
    """120 pictures in 3 folders, two of them broken."""
    draw = np.random.default_rng(0)
    for number in range(120):
        path = root / f"{number % 3}" / f"{number:03d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), draw.integers(0, 256, (20, 24, 3), np.uint8))
        if number in (5, 77):
            path.write_bytes(b"broken")
    return root


def rows_of(path):
    """The rows of a table."""
    with path.open() as file:
        return list(csv.DictReader(file))
