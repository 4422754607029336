"""TinyFace, and data sets in its layout: `Training_Set` and `Testing_Set` below one root.

The .mat lists decide which files are gallery and probe, and who they are; file names are never parsed. Distractors have
no list: they are the images in their folder.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from vlrface.data.folder import file_names, is_image_name, read_identity_folder
from vlrface.data.lines import text_array
from vlrface.data.listed import below, part, read_listed, refuse_missing
from vlrface.data.manifest import Benchmark, Manifest
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
    gallery_list, probe_list = testing / "gallery_match_img_ID_pairs.mat", testing / "probe_img_ID_pairs.mat"
    gallery = read_listed(root, part(testing, "Gallery_Match"), gallery_list, "gallery")
    probe = read_listed(root, part(testing, "Probe"), probe_list, "probe")
    folder = part(testing, "Gallery_Distractor")
    distractors = below(root, folder, [name for name in file_names(folder) if is_image_name(name)])
    missing, surplus = gallery.missing + probe.missing, gallery.surplus + probe.surplus
    refuse_missing(root, missing, allow_missing)
    manifest = Manifest(
        text_array(gallery.sources + probe.sources + distractors, str(root)),
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
        "surplus": len(surplus),
    }
    return Benchmark("tinyface", manifest, counts, PUBLISHED, tuple(missing), tuple(surplus))
