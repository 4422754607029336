"""The picture of docs/whole-pictures.md: drawn faces on a made background, found and numbered.

Made by `python docs/figures/numbered.py --detector FILE`.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from vlrface.files import written_atomically
from vlrface.images.annotating import numbered
from vlrface.images.detect import Detector
from vlrface.images.procedural import procedural_faces
from vlrface.images.resize import resize

SIDES = (190, 130, 96, 72, 56, 44, 36, 110, 64, 50, 40, 84)
HEIGHT, WIDTH = 460, 900


def scene(seed: int) -> np.ndarray:
    """Drawn people of many sizes in free places, their corners faded into a soft background."""
    rng = np.random.default_rng(seed)
    soft = rng.integers(70, 150, (6, 10, 3)).astype(np.uint8)
    picture = cv2.resize(soft, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    taken = np.zeros((HEIGHT, WIDTH), bool)
    faces = procedural_faces(len(SIDES), 1, size=224, seed=seed).images
    for face, side in zip(faces, SIDES, strict=True):
        free = [(x, y) for x, y in rng.integers((0, 0), (WIDTH - side, HEIGHT - side), (500, 2)).tolist()
                if not taken[y : y + side, x : x + side].any()]  # fmt: skip
        if not free:
            continue
        x, y = free[0]
        taken[y : y + side, x : x + side] = True
        rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
        weight = np.clip((1.05 - np.hypot(rows, columns)) * 8, 0, 1)[..., None]
        under = picture[y : y + side, x : x + side]
        under[:] = np.round(weight * resize(face, side, side) + (1 - weight) * under)
    return picture


def main() -> None:
    """Write the picture beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", type=Path, required=True)
    options = parser.parse_args()
    picture = scene(4)
    found = Detector(options.detector).detect(picture)
    shown = cv2.cvtColor(numbered(picture, found), cv2.COLOR_RGB2BGR)
    with written_atomically(Path(__file__).with_name("numbered.jpg")) as temporary:
        temporary.write_bytes(cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes())
    print(f"{len(found)} of {len(SIDES)} faces found")


if __name__ == "__main__":
    main()
