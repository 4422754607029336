"""Cross-resolution from identity folders: a sharp gallery, and probes to be shrunk to several sizes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from vlrface.data.folder import read_identity_folder
from vlrface.data.manifest import Benchmark, Manifest, lot
from vlrface.types import VlrfaceError

SIDES: Final = (7, 14, 21, 28, 56)
"""Shorter sides that probes are shrunk to, in pixels. Own choice: sixteenths to halves of the usual 112."""


def read_cross_resolution(root: Path, sides: Sequence[int] = SIDES, seed: int = 0) -> Benchmark:
    """Read `root/<identity>/<any name>.jpg`: of each person one picture is gallery, the others are probes at each side.

    A person with a single picture is left out. Which picture is gallery depends on its path below the root and the seed
    alone, by `manifest.lot`.

    Args:
        root: folder of the persons, see `read_identity_folder`; best of sharp pictures, larger than the largest side: a
            picture is shrunk, never enlarged.
        sides: shorter sides in pixels.
        seed: any integer.

    Returns:
        A benchmark "cross-resolution" with splits "gallery", "side7", … in ascending order, each in the order of the
        folder. `truths["shrink_side"]` is the side that the encoder shrinks a picture to, NaN for the gallery, which
        stays as it is. Counts: `persons`, `persons_left_out`, `gallery`, `probes` (of one side), `sides`.

    Raises:
        VlrfaceError: no such folder, no side, a side that is no positive number or occurs twice, or nobody with two
            pictures.
    """
    if not sides or min(sides) < 1 or len(set(sides)) < len(sides):
        raise VlrfaceError(f"cross-resolution needs different sides of at least 1 pixel, not {list(sides)}")
    everybody = read_identity_folder(root)
    _, person, pictures = np.unique(everybody.identities, return_inverse=True, return_counts=True)
    drawn: dict[int, int] = {}
    for row in sorted(range(len(everybody)), key=lambda row: lot(seed, everybody.sources[row])):
        drawn.setdefault(int(person[row]), row)
    many = pictures[person] > 1
    if not many.any():
        raise VlrfaceError(f"{root}: nobody has two pictures; cross-resolution needs one for the gallery and a probe")
    is_gallery = np.zeros(len(everybody), bool)
    is_gallery[list(drawn.values())] = True
    gallery, probes = np.flatnonzero(many & is_gallery), np.flatnonzero(many & ~is_gallery)
    ordered = sorted(sides)
    rows = np.concatenate([gallery, *([probes] * len(ordered))])
    lengths = [len(gallery), *([len(probes)] * len(ordered))]
    manifest = Manifest(
        everybody.sources[rows],
        everybody.identities[rows],
        np.repeat(["gallery", *(f"side{side}" for side in ordered)], lengths),
        {"shrink_side": np.repeat([np.nan, *map(float, ordered)], lengths)},
        everybody.root,
    )
    counts = {
        "persons": len(gallery),
        "persons_left_out": int(np.count_nonzero(pictures < 2)),
        "gallery": len(gallery),
        "probes": len(probes),
        "sides": len(ordered),
    }
    return Benchmark("cross-resolution", manifest, counts, {})
