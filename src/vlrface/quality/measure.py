"""Fill `Faces.measures`, so that a saved file can be compared later without pictures and without a network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from tqdm import tqdm

from vlrface.data.manifest import Manifest
from vlrface.encode import SHRINK_SIDE, shrunk
from vlrface.images.decode import DEFAULT_LIMITS, DecodeError, DecodeLimits
from vlrface.quality.embeddings import center_of, norms, recognizability_score
from vlrface.quality.joining import rows_in
from vlrface.quality.pictures import sharpness, sizes
from vlrface.types import Faces, VlrfaceError

BUILT_IN: Final = ("size", "sharpness", "sharpness_native", "norm", "ers", "serfiq")
"""Measures that need no other file."""

NEEDS_PICTURES: Final = ("sharpness", "sharpness_native", "serfiq")
"""Those that need the pictures once more."""

PictureMeasure = Callable[[Sequence[UInt8[ndarray, "_ _ 3"]]], Float[ndarray, " n"]]
"""RGB crops → one number each, larger is better."""

_BATCH = 64


def measure_faces(
    faces: Faces,
    names: Sequence[str],
    *,
    manifest: Manifest | None = None,
    serfiq: PictureMeasure | None = None,
    center: Float[ndarray, " d"] | None = None,
    limits: DecodeLimits = DEFAULT_LIMITS,
    progress: bool = True,
) -> Faces:
    """The faces with built-in measures added; a measure of that name is replaced.

    Args:
        faces: of a matcher.
        names: of `BUILT_IN`. "size" is `Faces.sizes` where known, "norm" and "ers" come from the embeddings.
        manifest: the pictures of the faces, for `NEEDS_PICTURES`: its splits and sources are their roles and names.
        serfiq: for "serfiq": `vlrface.quality.stochastic.SerFiq` of the matcher.
        center: for "ers", of the unrecognizable faces; None takes those among the faces.
        limits: what may be decoded.
        progress: show a progress bar.

    Raises:
        VlrfaceError: an unknown name, no pictures or network where one is needed, or pictures of another data set.
    """
    unknown = [name for name in names if name not in BUILT_IN]
    if unknown:
        raise VlrfaceError(
            f"no quality measure is called {unknown[0]!r}; there are {', '.join(BUILT_IN)}, and NAME=FILE[:COLUMN] for "
            "one from a file"
        )
    values: dict[str, Float[ndarray, " n"]] = {}
    known = faces.encoded & (faces.sizes > 0)
    if "size" in names and known.any():
        values["size"] = np.where(known, faces.sizes, np.nan).astype(np.float64)
    if "norm" in names:
        values["norm"] = norms(faces)
    if "ers" in names:
        values["ers"] = recognizability_score(faces, center_of(faces) if center is None else center)
    seen = _picture_measures([name for name in names if name not in values], serfiq)
    if seen:
        if manifest is None:
            raise VlrfaceError(f"{', '.join(seen)}: the pictures are needed once more, give them with --data")
        values |= measure_pictures(faces, manifest, seen, limits=limits, progress=progress)
    ordered = {name: values[name] for name in names}
    return replace(faces, measures={**faces.measures, **ordered})


def measure_pictures(
    faces: Faces,
    manifest: Manifest,
    measures: Mapping[str, PictureMeasure],
    *,
    limits: DecodeLimits = DEFAULT_LIMITS,
    progress: bool = True,
) -> dict[str, Float[ndarray, " n"]]:
    """Measure the pictures of faces, each decoded once and seen as it was encoded.

    Args:
        faces: whose pictures they are, joined by role and name. Made unrecognizable faces have no picture.
        manifest: of the pictures, rows in any order.
        measures: by name.
        limits: what may be decoded.
        progress: show a progress bar.

    Returns:
        (n,) values by name, one per face; NaN for a face without a picture or that could not be encoded.

    Raises:
        VlrfaceError: a face is not in the manifest, its size is another, or its picture cannot be decoded any more.
    """
    source = picture_rows(faces, manifest)
    rows = np.flatnonzero((source >= 0) & faces.encoded)
    values = {name: np.full(len(faces), np.nan) for name in measures}
    with tqdm(total=len(rows), unit="img", desc="measure", disable=not progress) as bar:
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            pictures = [_picture(faces, manifest, int(row), int(source[row]), limits) for row in part]
            for name, measure in measures.items():
                values[name][part] = measure(pictures)
            bar.update(len(part))
    return values


def picture_rows(faces: Faces, manifest: Manifest) -> Int[ndarray, " n"]:
    """Which row of a manifest is the picture of each face; -1 for a made unrecognizable face, which has none.

    Raises:
        VlrfaceError: a face is not in the manifest.
    """
    return rows_in(
        faces,
        manifest.splits.tolist(),
        manifest.sources.tolist(),
        "--data is not the data set of these faces: it lacks",
        "Give the folder that was encoded",
    )


def _picture_measures(names: Sequence[str], serfiq: PictureMeasure | None) -> dict[str, PictureMeasure]:
    if "serfiq" in names and serfiq is None:
        raise VlrfaceError(
            "serfiq: it drops values inside the network, so it needs a checkpoint; neither saved embeddings nor an "
            "ONNX file will do"
        )
    known = {"size": sizes, "sharpness": sharpness, "sharpness_native": _native_sharpness, "serfiq": serfiq}
    return {name: measure for name in names if (measure := known[name]) is not None}


def _native_sharpness(pictures: Sequence[UInt8[ndarray, "_ _ 3"]]) -> Float[ndarray, " n"]:
    return sharpness(pictures, side=None)


def _picture(faces: Faces, manifest: Manifest, row: int, source: int, limits: DecodeLimits) -> UInt8[ndarray, "_ _ 3"]:
    """The picture of a face, shrunk where it was shrunk to be encoded."""
    try:
        picture = manifest.picture(source, limits)
    except DecodeError as error:
        raise VlrfaceError(f"{error}. It was decoded when the faces were encoded: has the file changed?") from error
    if SHRINK_SIDE in manifest.truths:
        picture = shrunk(picture, float(manifest.truths[SHRINK_SIDE][source]))
    shorter = min(picture.shape[:2])
    if faces.sizes[row] not in (0, shorter):
        raise VlrfaceError(
            f"{manifest.shown(source)}: its shorter side is {shorter} pixels, but {faces.sizes[row]} in the faces. "
            "Give the pictures that were encoded"
        )
    return picture
