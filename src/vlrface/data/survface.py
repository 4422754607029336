"""QMUL-SurvFace, and data sets in its layout: two test sets and a training set below one root.

The .mat lists decide which files are gallery and mated probe, and who they are; file names are never parsed. Unmated
probes have no list: they are the images in their folder. Some copies keep the lists one folder up, beside the folder of
the test set: both places are looked at. Folders may be spelt in any case: the archive has `training_set`.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from vlrface.data.folder import read_identity_folder
from vlrface.data.lines import text_array
from vlrface.data.listed import below, compared, name_inside, part, read_listed, refuse_missing, texts
from vlrface.data.manifest import Benchmark, Manifest
from vlrface.data.mat import read_mat
from vlrface.data.persons import contradictions, persons_of_pairs
from vlrface.data.searched import search_benchmark
from vlrface.types import UNKNOWN_IDENTITY, Pairing, VlrfaceError

PUBLISHED: Final[Mapping[str, int]] = MappingProxyType(
    {
        "mated_probe": 60423,
        "test_images": 242617,
        "test_identities": 10254,
        "train_identities": 5319,
        "train_images": 220890,
    }
)
"""Counts that the authors of QMUL-SurvFace state of identification and training. Archives differ from them."""

PUBLISHED_VERIFICATION: Final[Mapping[str, int]] = MappingProxyType({"positive_pairs": 5320, "negative_pairs": 5320})
"""Counts that the authors state of verification."""

_IDENTIFICATION: Final = "Face_Identification_Test_Set"
_VERIFICATION: Final = "Face_Verification_Test_Set"


def read_training(root: Path) -> Manifest:
    """Read `root/Training_Set/<identity>/*.jpg`, split "train". See `read_identity_folder`."""
    return read_identity_folder(part(root, "Training_Set"), split="train")


def read_identification(root: Path, allow_missing: bool = False) -> Benchmark:
    """Read the open-set identification test.

    Args:
        root: the folder that holds `Face_Identification_Test_Set`.
        allow_missing: keep listed files that are not on disk in the manifest, and name them in `missing`, instead of
            refusing.

    Returns:
        A benchmark "survface-id" with splits "gallery", "mated_probe" and "unmated_probe"; list order, unmated probes
        sorted by name, of `UNKNOWN_IDENTITY`. Sources begin with `Face_Identification_Test_Set/<folder>/`. Counts: rows
        of each split, `test_images` of all three, `gallery_identities`, `mated_probe_identities`,
        `mated_probe_without_mate`, `missing`, and `surplus`: images in a listed folder that the list does not name,
        which are not used.

    Raises:
        VlrfaceError: a folder or list is missing; a list cannot be read; listed files are missing (the first ten are
            named) and `allow_missing` is not set.
    """
    testing = part(root, _IDENTIFICATION)
    gallery_list = _list(testing, "gallery_img_ID_pairs.mat")
    mated_list = _list(testing, "mated_probe_img_ID_pairs.mat")
    listed = {
        "gallery": read_listed(root, part(testing, "gallery"), gallery_list, "gallery"),
        "mated_probe": read_listed(root, part(testing, "mated_probe"), mated_list, "mated_probe"),
    }
    unmated = ("unmated_probe", part(testing, "unmated_probe"), UNKNOWN_IDENTITY)
    found = search_benchmark("survface-id", root, listed, unmated, PUBLISHED, allow_missing=allow_missing)
    return replace(found, counts={**found.counts, "test_images": len(found.manifest)})


def read_verification(root: Path, allow_missing: bool = False) -> Benchmark:
    """Read the verification test.

    Args:
        root: the folder that holds `Face_Verification_Test_Set`.
        allow_missing: keep listed files that are not on disk in the manifest, and name them in `missing`, instead of
            refusing.

    Returns:
        A benchmark "survface-verif", split "face": each listed image once, in the order in which the positive pairs and
        then the negative ones name it. `pairing` has the pairs, fold -1. The lists name no persons: identities are the
        persons that positive pairs join, see `persons_of_pairs`. Counts: `face`, `persons`, `positive_pairs`,
        `negative_pairs`, `contradictory_pairs` (negative pairs of two faces that positive ones join), `missing`, and
        `surplus`: images of the folder that no pair names, which are not used.

    Raises:
        VlrfaceError: a folder or list is missing; a list cannot be read; listed files are missing (the first ten are
            named) and `allow_missing` is not set.
    """
    testing = part(root, _VERIFICATION)
    folder = part(testing, "verification_images")
    positive = _pairs(_list(testing, "positive_pairs_names.mat"))
    negative = _pairs(_list(testing, "negative_pairs_names.mat"))
    pairs = positive + negative
    rows: dict[str, int] = {}
    for names in pairs:
        for name in names:
            rows.setdefault(name, len(rows))
    absent, unnamed = compared(folder, list(rows))
    missing, surplus = below(root, folder, absent), below(root, folder, unnamed)
    refuse_missing(root, missing, allow_missing)
    first, second = np.array([[rows[one], rows[other]] for one, other in pairs], np.int64).T
    same = np.arange(len(pairs)) < len(positive)
    persons = persons_of_pairs(len(rows), first, second, same)
    manifest = Manifest(
        text_array(below(root, folder, rows), str(root)), persons, np.full(len(rows), "face"), root=root
    )
    counts = {
        "face": len(manifest),
        "persons": len(np.unique(persons)),
        "positive_pairs": len(positive),
        "negative_pairs": len(negative),
        "contradictory_pairs": contradictions(persons, first, second, same),
        "missing": len(missing),
        "surplus": len(surplus),
    }
    pairing = Pairing(first, second, same, np.full(len(pairs), -1))
    return Benchmark(
        "survface-verif", manifest, counts, PUBLISHED_VERIFICATION, tuple(missing), tuple(surplus), pairing
    )


def _list(testing: Path, name: str) -> Path:
    """A list in the folder of its test set, or one folder up."""
    above = testing.parent / name
    return above if os.path.isfile(above) and not os.path.isfile(testing / name) else testing / name


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Pairs of names: the only variable of a list, n×2, whatever it is called."""
    variables = read_mat(path)
    if len(variables) != 1:
        there = ", ".join(variables) or "none"
        raise VlrfaceError(f"{path}: one variable with pairs is expected; there are: {there}. Take another copy of it")
    ((key, value),) = variables.items()
    where = f"{path}: {key}"
    if value.dtype.kind != "O" or value.ndim != 2 or value.shape[1] != 2:
        shape = " x ".join(map(str, value.shape))
        raise VlrfaceError(f"{where}: not a cell array of n x 2 names but {shape}. Take the list of the data set")
    names = [name_inside(name, where) for name in texts(value, where)]
    return list(zip(names[: len(value)], names[len(value) :], strict=True))
