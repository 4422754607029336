"""Test sets of a search: a listed gallery, listed probes, and a folder of strangers without a list."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vlrface.data.folder import file_names, is_image_name
from vlrface.data.lines import text_array
from vlrface.data.listed import Listed, below, refuse_missing
from vlrface.data.manifest import Benchmark, Manifest


def search_benchmark(
    name: str,
    root: Path,
    listed: Mapping[str, Listed],
    strangers: tuple[str, Path, int],
    published: Mapping[str, int],
    *,
    allow_missing: bool,
) -> Benchmark:
    """The benchmark of two lists and a folder.

    Args:
        name: of the benchmark.
        root: of the data set.
        listed: by split, the gallery first, then the probes.
        strangers: split, folder below the root, and the identity that all its images get; they are sorted by name.
        published: counts that the authors state.
        allow_missing: keep listed files that are not on disk in the manifest, and name them in `missing`.

    Returns:
        Rows in this order of splits. Counts: rows of each split, `<gallery>_identities`, `<probe>_identities`,
        `<probe>_without_mate`, `missing` and `surplus`.

    Raises:
        VlrfaceError: listed files are missing (the first ten are named) and `allow_missing` is not set.
    """
    (gallery_split, gallery), (probe_split, probes) = listed.items()
    split, folder, identity = strangers
    others = below(root, folder, [each for each in file_names(folder) if is_image_name(each)])
    missing, surplus = gallery.missing + probes.missing, gallery.surplus + probes.surplus
    refuse_missing(root, missing, allow_missing)
    rows = {gallery_split: len(gallery.sources), probe_split: len(probes.sources), split: len(others)}
    manifest = Manifest(
        text_array(gallery.sources + probes.sources + others, str(root)),
        np.concatenate([gallery.identities, probes.identities, np.full(len(others), identity, np.int64)]),
        np.repeat(list(rows), list(rows.values())),
        root=root,
    )
    counts = {
        **rows,
        f"{gallery_split}_identities": len(np.unique(gallery.identities)),
        f"{probe_split}_identities": len(np.unique(probes.identities)),
        f"{probe_split}_without_mate": int((~np.isin(probes.identities, gallery.identities)).sum()),
        "missing": len(missing),
        "surplus": len(surplus),
    }
    return Benchmark(name, manifest, counts, published, tuple(missing), tuple(surplus))
