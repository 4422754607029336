"""Figures of the recognizability index itself: how it follows the size of a face, and what verdicts it leads to."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from vlrface.evaluate.findings import Findings, banded_curve, index_of
from vlrface.metrics.calibration import DOUBTFUL, FAILED, RECOGNIZABLE, UNRECOGNIZABLE, Calibration
from vlrface.metrics.correlation import bootstrap_spearman
from vlrface.metrics.intervals import Interval, bootstrap_means
from vlrface.types import Estimate, Faces

SIZE_BANDS: Final = ((12, 16), (16, 20), (20, 26), (26, 32), (32, None))
"""Shorter side of a face in pixels, from the first number up to, but not, the second."""


def measure_index_by_size(found: Findings, faces: Faces) -> None:
    """Figures "recognizability@size=A-B" (mean index per band) and "spearman_recognizability_size"; a curve of them."""
    usable = np.isfinite(index_of(faces)) & (faces.sizes > 0)
    if not usable.any():
        found.left_out.append("recognizability by size: no face has both an index and a size")
        return
    index, size, people = (
        each[usable] for each in (faces.recognizability.astype(np.float64), faces.sizes, faces.identities)
    )
    options = {"resamples": found.resamples, "seed": found.seed}
    found.add("spearman_recognizability_size", bootstrap_spearman(index, size.astype(np.float64), people, **options))
    means: list[Estimate] = []
    sizes: list[float] = []
    for low, high in SIZE_BANDS:
        inside = (size >= low) & (size < (high or np.inf))
        band = f"{low}-{high}" if high else f"{low}+"
        found.counts[f"faces@size={band}"] = int(inside.sum())
        if inside.any():
            mean = bootstrap_means(index[inside][:, None], people[inside], **options)
            sizes.append(float(size[inside].mean()))
            means.append(mean.estimate())
            found.add(f"recognizability@size={band}", mean)
    values = Interval(*(np.array([getattr(each, part) for each in means]) for part in ("value", "low", "high")))
    found.curves["recognizability_by_size"] = (banded_curve("recognizability", np.array(sizes), values),)


def count_verdicts(found: Findings, faces: Faces, roles: Mapping[str, str]) -> None:
    """How many faces of each role get which verdict of the calibration they were encoded with.

    Args:
        found: where the counts go.
        faces: with `meta["calibration"]`, or nothing is counted.
        roles: role to the word that a count begins with, e.g. "probe" to "probes".
    """
    calibration = faces.meta.get("calibration")
    if calibration is None:
        found.left_out.append("verdicts: the faces carry no calibration")
        return
    verdicts = Calibration.from_json(calibration).verdict(index_of(faces))
    for role, name in roles.items():
        for verdict in (RECOGNIZABLE, DOUBTFUL, UNRECOGNIZABLE, FAILED):
            found.counts[f"{name}_{verdict}"] = int(np.count_nonzero((faces.roles == role) & (verdicts == verdict)))
