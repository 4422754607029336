"""SCface, and data sets in its layout: frontal mugshots and surveillance pictures at three distances.

There is no list: the data set says by its names what is there, so names are read here, as the protocol defines them.
Subjects are numbered 1 to 130, visible cameras 1 to 5. Infra-red cameras (6, 7, and 8 for mugshots) lie beside them and
are left out. Suffixes may have any case: the archive has `001_frontal.JPG` beside `001_cam1_1.jpg`.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vlrface.data.folder import file_names, is_image_name
from vlrface.data.listed import below, part, refuse_missing
from vlrface.data.manifest import Benchmark, Manifest, lot
from vlrface.types import VlrfaceError

PUBLISHED: Final[Mapping[str, int]] = MappingProxyType(
    {"subjects": 130, "gallery": 130, "distance1": 650, "distance2": 650, "distance3": 650}
)
"""Counts that the authors of SCface state."""

SUBJECTS: Final = 130
TEST_SUBJECTS: Final = 80
"""Subjects to test in the variant that fine-tunes on the other 50."""

_CAMERAS: Final = range(1, 6)
_INFRARED: Final = range(6, 9)
_DISTANCES: Final = (1, 2, 3)
_MUGSHOTS: Final = "mugshot_frontal_cropped_all"
_INFRARED_MUGSHOTS: Final = "surveillance_cameras_IR_cam8"
_MUGSHOT: Final = re.compile(r"0{0,2}([0-9]{1,3})_frontal\.[a-z]+", re.ASCII | re.IGNORECASE)
_PROBE: Final = re.compile(r"0{0,2}([0-9]{1,3})_cam([1-8])(?:_([1-3]))?\.[a-z]+", re.ASCII | re.IGNORECASE)


def read(root: Path, allow_missing: bool = False) -> Benchmark:
    """Read mugshots and visible probes of all subjects.

    Args:
        root: the folder that holds `mugshot_frontal_cropped_all` and `surveillance_cameras_distance_1` to `_3`. Probes
            lie there in folders `cam_1` to `cam_5`, or, in some copies, directly.
        allow_missing: keep pictures that the naming implies and that are not on disk in the manifest, and name them in
            `missing`, instead of refusing.

    Returns:
        A benchmark "scface" with splits "gallery" (mugshots), "distance1" (4.2 m), "distance2" (2.6 m) and "distance3"
        (1.0 m), by subject and camera; the identity is the number of the subject. Counts: `subjects`, rows of each
        split, `infrared_excluded`: pictures of cameras 6, 7 and 8, `missing`, and `surplus`: other images in these
        folders, which are not used.

    Raises:
        VlrfaceError: a folder is missing; pictures are missing (the first ten are named) and `allow_missing` is not
            set.
    """
    found, surplus, infrared = _mugshots(root)
    sources: list[str] = []
    identities: list[int] = []
    missing: list[str] = []
    lengths = [SUBJECTS]
    for subject in range(1, SUBJECTS + 1):
        _take(found.get(subject), f"{_MUGSHOTS}/{subject:03}_frontal.jpg", sources, missing)
        identities.append(subject)
    for distance in _DISTANCES:
        probes, others, excluded = _probes(root, distance)
        surplus += others
        infrared += excluded
        for subject in range(1, SUBJECTS + 1):
            for camera in _CAMERAS:
                expected = f"{_folder(distance)}/cam_{camera}/{subject:03}_cam{camera}_{distance}.jpg"
                _take(probes.get((subject, camera)), expected, sources, missing)
                identities.append(subject)
        lengths.append(SUBJECTS * len(_CAMERAS))
    refuse_missing(root, missing, allow_missing)
    splits = ["gallery", *(f"distance{k}" for k in _DISTANCES)]
    manifest = Manifest(
        np.array(sources, np.str_), np.array(identities, np.int64), np.repeat(splits, lengths), root=root
    )
    counts = {
        "subjects": SUBJECTS,
        **dict(zip(splits, lengths, strict=True)),
        "infrared_excluded": infrared,
        "missing": len(missing),
        "surplus": len(surplus),
    }
    return Benchmark("scface", manifest, counts, PUBLISHED, tuple(missing), tuple(surplus))


def subjects_to_test(identities: Int[ndarray, " n"], count: int = TEST_SUBJECTS, seed: int = 0) -> Int[ndarray, " m"]:
    """Who is tested in the variant "50 to fine-tune, 80 to test": a seeded choice of persons.

    It depends on the numbers of the persons and the seed alone, by `manifest.lot`.

    Args:
        identities: of any rows; each person counts once, unknown persons and distractors do not.
        count: how many persons to choose.
        seed: any integer.

    Returns:
        (count,) numbers of the chosen, ascending.

    Raises:
        VlrfaceError: there are not so many persons.
    """
    numbers = np.unique(identities[identities >= 0]).tolist()
    if not 0 < count <= len(numbers):
        raise VlrfaceError(f"cannot test {count} of {len(numbers)} subjects: ask for between 1 and {len(numbers)}")
    drawn = sorted(numbers, key=lambda number: lot(seed, number))[:count]
    return np.array(sorted(drawn), np.int64)


def read_finetuning(root: Path, seed: int = 0) -> Manifest:
    """Mugshots and visible probes of the 50 subjects that `subjects_to_test` leaves with this seed, split "train".

    Raises:
        VlrfaceError: a folder or picture is missing.
    """
    whole = read(root).manifest
    tested = subjects_to_test(whole.identities, TEST_SUBJECTS, seed)
    kept = whole.rows(~np.isin(whole.identities, tested))
    return Manifest(kept.sources, kept.identities, np.full(len(kept), "train"), root=root)


def _folder(distance: int) -> str:
    return f"surveillance_cameras_distance_{distance}"


def _take(found: str | None, expected: str, sources: list[str], missing: list[str]) -> None:
    """Add a picture that the naming implies: as it is spelt on disk, or, if it is not there, as it should be."""
    sources.append(found or expected)
    if found is None:
        missing.append(expected)


def _mugshots(root: Path) -> tuple[dict[int, str], list[str], int]:
    """Sources of the mugshots by subject, images that are none, and how many infra-red mugshots lie beside them."""
    mugshots: dict[int, str] = {}
    surplus: list[str] = []
    for source, name in _images(root, part(root, _MUGSHOTS)):
        match = _MUGSHOT.fullmatch(name)
        subject = int(match[1]) if match else 0
        if 1 <= subject <= SUBJECTS and subject not in mugshots:
            mugshots[subject] = source
        else:
            surplus.append(source)
    infrared = root / _INFRARED_MUGSHOTS
    return mugshots, surplus, len(_images(root, infrared)) if os.path.isdir(infrared) else 0


def _probes(root: Path, distance: int) -> tuple[dict[tuple[int, int], str], list[str], int]:
    """Sources of a distance by subject and visible camera, other images, and how many infra-red ones."""
    top = part(root, _folder(distance))
    probes: dict[tuple[int, int], str] = {}
    surplus: list[str] = []
    infrared = 0
    for camera in (*_CAMERAS, *_INFRARED, None):  # None: directly in the folder of the distance
        folder = top if camera is None else top / f"cam_{camera}"
        for source, name in _images(root, folder) if os.path.isdir(folder) else ():
            match = _PROBE.fullmatch(name)
            subject, seen_by, seen_at = (int(each or 0) for each in match.groups()) if match else (0, 0, 0)
            fits = 1 <= subject <= SUBJECTS and camera in (seen_by, None)
            if fits and seen_by in _INFRARED:
                infrared += 1
            elif fits and seen_at == distance and (subject, seen_by) not in probes:
                probes[subject, seen_by] = source
            else:
                surplus.append(source)
    return probes, surplus, infrared


def _images(root: Path, folder: Path) -> list[tuple[str, str]]:
    """Source and name of each image directly in a folder, by name."""
    names = [name for name in file_names(folder) if is_image_name(name)]
    return list(zip(below(root, folder, names), names, strict=True))
