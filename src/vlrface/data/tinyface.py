"""TinyFace, and data sets in its layout: `Training_Set` and `Testing_Set` below one root.

The .mat lists decide which files are gallery and probe, and who they are; file names are never parsed. Distractors have
no list: they are the images in their folder.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from vlrface.data.folder import read_identity_folder
from vlrface.data.listed import part, read_listed
from vlrface.data.manifest import Benchmark, Manifest
from vlrface.data.searched import search_benchmark
from vlrface.types import DISTRACTOR_IDENTITY

PUBLISHED: Final[Mapping[str, int]] = MappingProxyType(
    {"gallery": 4443, "probe": 3728, "distractor": 153428, "train_identities": 2570, "train_images": 7804}
)
"""Counts that the authors of TinyFace state."""


def read_training(root: Path) -> Manifest:
    """Read `root/Training_Set/<identity>/*.jpg`, split "train". See `read_identity_folder`."""
    return read_identity_folder(part(root, "Training_Set"), split="train")


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
    testing = part(root, "Testing_Set")
    listed = {
        "gallery": read_listed(
            root, part(testing, "Gallery_Match"), testing / "gallery_match_img_ID_pairs.mat", "gallery"
        ),
        "probe": read_listed(root, part(testing, "Probe"), testing / "probe_img_ID_pairs.mat", "probe"),
    }
    distractors = ("distractor", part(testing, "Gallery_Distractor"), DISTRACTOR_IDENTITY)
    return search_benchmark("tinyface", root, listed, distractors, PUBLISHED, allow_missing=allow_missing)
