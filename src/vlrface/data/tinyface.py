"""TinyFace, and data sets in its layout: `Training_Set` and `Testing_Set` below one root.

The .mat lists decide which files are gallery and probe, and who they are; file names are never parsed. Distractors have
no list: they are the images in their folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vlrface.data.folder import file_names, is_image_name, read_identity_folder
from vlrface.data.manifest import Benchmark, Manifest
from vlrface.types import DISTRACTOR_IDENTITY, VlrfaceError

PUBLISHED: Final[Mapping[str, int]] = MappingProxyType(
    {"gallery": 4443, "probe": 3728, "distractor": 153428, "train_identities": 2570, "train_images": 7804}
)
"""Counts that the authors of TinyFace state."""


def read_training(root: Path) -> Manifest:
    """Read `root/Training_Set/<identity>/*.jpg`, split "train". See `read_identity_folder`."""
    return read_identity_folder(_part(root, "Training_Set"), split="train")


def read_testing(root: Path, allow_missing: bool = False) -> Benchmark:
    """Read the test set of the TinyFace layout.

    Args:
        root: the folder that holds `Testing_Set`.
        allow_missing: keep listed files that are not on disk in the manifest, and name them in `missing`, instead of
            refusing.

    Returns:
        A benchmark "tinyface" with splits "gallery", "probe" and "distractor"; list order, distractors sorted by name.
        Sources begin with `Testing_Set/<folder>/`, so equal names in two folders do not meet. Counts: rows of each
        split, `gallery_identities`, `probe_identities`, `probe_without_mate`, `missing`, and `surplus`: images in the
        gallery or probe folder that no list names, which are not used.

    Raises:
        VlrfaceError: a folder or list is missing; a list cannot be read; listed files are missing (the first ten are
            named) and `allow_missing` is not set.
    """
    testing = _part(root, "Testing_Set")
    gallery = _read_listed(testing, "Gallery_Match", "gallery_match_img_ID_pairs.mat", "gallery")
    probe = _read_listed(testing, "Probe", "probe_img_ID_pairs.mat", "probe")
    folder = "Gallery_Distractor"
    distractors = [f"Testing_Set/{folder}/{n}" for n in file_names(_part(testing, folder)) if is_image_name(n)]
    missing = gallery.missing + probe.missing
    if missing and not allow_missing:
        listing = "\n  ".join(missing[:10])
        raise VlrfaceError(
            f"{root}: {len(missing)} files named by the lists are not on disk, first:\n  {listing}\n"
            "Complete the data set, or allow missing files (they then count as misses)"
        )
    manifest = Manifest(
        np.array(gallery.sources + probe.sources + distractors, np.str_),
        np.concatenate(
            [gallery.identities, probe.identities, np.full(len(distractors), DISTRACTOR_IDENTITY, np.int64)]
        ),
        np.repeat(["gallery", "probe", "distractor"], [len(gallery.sources), len(probe.sources), len(distractors)]),
        root=root,
    )
    counts = {
        "gallery": len(gallery.sources),
        "probe": len(probe.sources),
        "distractor": len(distractors),
        "gallery_identities": len(np.unique(gallery.identities)),
        "probe_identities": len(np.unique(probe.identities)),
        "probe_without_mate": int((~np.isin(probe.identities, gallery.identities)).sum()),
        "missing": len(missing),
        "surplus": gallery.surplus + probe.surplus,
    }
    return Benchmark("tinyface", manifest, counts, PUBLISHED, tuple(missing))


@dataclass(frozen=True, eq=False)
class _Listed:
    """One protocol list, compared with its folder."""

    sources: list[str]
    identities: Int[ndarray, " n"]
    missing: list[str]
    surplus: int


def _read_listed(testing: Path, folder: str, list_name: str, key: str) -> _Listed:
    names, identities = _read_list(testing / list_name, f"{key}_set", f"{key}_ids")
    there = set(file_names(_part(testing, folder)))
    return _Listed(
        [f"Testing_Set/{folder}/{name}" for name in names],
        identities,
        [f"Testing_Set/{folder}/{name}" for name in names if name not in there],
        sum(is_image_name(name) for name in there.difference(names)),
    )


def _read_list(path: Path, names_key: str, ids_key: str) -> tuple[list[str], Int[ndarray, " n"]]:
    variables = _load_mat(path)
    for key in (names_key, ids_key):
        if key not in variables:
            there = ", ".join(name for name in variables if not name.startswith("__")) or "none"
            raise VlrfaceError(f"{path}: no variable {key!r}; there are: {there}. Take the list of the data set")
    names = _strings(variables[names_key], f"{path}: {names_key}")
    identities = _whole_numbers(variables[ids_key], f"{path}: {ids_key}")
    if len(names) != len(identities):
        raise VlrfaceError(
            f"{path}: {len(names)} names but {len(identities)} identities. Take another copy of the list"
        )
    for name in names:
        # A list is foreign input: it must not lead out of its folder.
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise VlrfaceError(f"{path}: {name!r} is not a file name")
    if len(set(names)) != len(names):
        twice = next(name for name in sorted(names) if names.count(name) > 1)
        raise VlrfaceError(f"{path}: {twice} is listed more than once. Take another copy of the list")
    return names, identities


def _load_mat(path: Path) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise VlrfaceError("reading .mat lists needs scipy: pip install 'vlrface[benchmarks]'") from error
    if not path.is_file():
        raise VlrfaceError(f"{path}: no such list. Take it from the data set")
    try:
        return loadmat(path)
    except NotImplementedError as error:
        raise VlrfaceError(f"{path}: a MATLAB 7.3 file. Save it again in MATLAB with save(..., '-v7')") from error
    except Exception as error:  # the parser raises nearly anything on a damaged file
        raise VlrfaceError(f"{path}: not a MATLAB file ({error}). Take another copy of the list") from error


def _strings(value: Any, where: str) -> list[str]:
    """The text of a cell array n×1, 1×n or 1×1, or of a character matrix, whose rows MATLAB pads with blanks."""
    texts: list[str] = []
    for cell in np.asarray(value).ravel():
        inner = np.asarray(cell).ravel()
        if inner.dtype.kind != "U" or len(inner) != 1:
            raise VlrfaceError(f"{where}: entry {len(texts) + 1} is not one text. Take the list of the data set")
        texts.append(str(inner[0]).rstrip(" "))
    if not texts:
        raise VlrfaceError(f"{where}: the list is empty. Take another copy of it")
    return texts


def _whole_numbers(value: Any, where: str) -> Int[ndarray, " n"]:
    """Identity numbers n×1, 1×n or 1×1; MATLAB stores whole numbers as float64 unless told otherwise."""
    numbers = np.asarray(value).ravel()
    if (
        numbers.dtype.kind not in "iuf"
        or not (np.isfinite(numbers) & (numbers >= 0) & (numbers == np.floor(numbers))).all()
    ):
        raise VlrfaceError(f"{where}: identities must be whole numbers ≥ 0. Take the list of the data set")
    return numbers.astype(np.int64)


def _part(root: Path, name: str) -> Path:
    if not (root / name).is_dir():
        raise VlrfaceError(f"{root}: no folder {name}. Give the folder that holds it, as the data set unpacks")
    return root / name
