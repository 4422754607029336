"""The page of `vlrface unrecognizable find`: which clusters hold the unrecognizable faces, why, and the faces."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.report.crops import data_address
from vlrface.report.inputs import SearchedPool
from vlrface.report.svg import Drawing
from vlrface.report.template import render
from vlrface.unrecognizable import MEANINGS, Cluster, Discovery

EDGES: Final = (0.98, 0.9, 0.75, 0.5, 0.25, 0.1, 0.02, 0.0)
"""Lower ends of the bands of the contact sheet, from surely unrecognizable to surely recognizable."""

PER_BAND: Final = 40
_SIDE: Final = 64


@dataclass(frozen=True)
class Band:
    """A band of scores: how many faces have one, and the rows that are shown, from surely unrecognizable downwards."""

    low: float
    high: float
    count: int
    rows: tuple[int, ...]

    @property
    def title(self) -> str:
        """The band in words."""
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class ShownFace:
    """A face of the page."""

    source: str
    text: str


@dataclass(frozen=True)
class ShownBand:
    """A band of the page."""

    title: str
    count: str
    found: bool
    faces: tuple[ShownFace, ...] = field(default=())


@dataclass(frozen=True)
class Line:
    """A piece of evidence of one cluster, as the page shows it."""

    name: str
    meaning: str
    value: str
    rest: str
    verdict: str


@dataclass(frozen=True)
class ShownCluster:
    """A cluster of the page."""

    title: str
    chosen: bool
    lines: tuple[Line, ...]


def bands(scores: Float[ndarray, " n"], per_band: int = PER_BAND) -> list[Band]:
    """Faces by score: of each band evenly spaced by rank. Faces without a score are in none.

    Args:
        scores: in [0, 1], or NaN.
        per_band: rows of each band, at most.
    """
    found: list[Band] = []
    high = 1.0
    for low in EDGES:
        inside = (scores >= low) & ((scores < high) | (high == 1.0))
        rows = np.flatnonzero(inside)[np.argsort(-scores[inside], kind="stable")]
        shown = rows[np.linspace(0, len(rows) - 1, min(per_band, len(rows))).round().astype(int)]
        found.append(Band(low, high, len(rows), tuple(shown.tolist())))
        high = low
    return found


def render_unrecognizable(found: Discovery, pool: SearchedPool, drawing: Drawing) -> str:
    """The page as text; see `vlrface.report.html.write_unrecognizable`."""
    return render(
        "unrecognizable.html.j2",
        title="Unrecognizable faces",
        summary=_summary(found),
        doubt=found.doubt,
        clusters=[_cluster(each) for each in found.clusters if each.chosen],
        others=[_cluster(each) for each in found.clusters if not each.chosen],
        map=drawing,
        bands=[_band(each, found, pool) for each in bands(found.scores)],
        pictures=pool.picture is not None,
    )


def _summary(found: Discovery) -> str:
    known = int(np.isfinite(found.scores).sum())
    count = int(found.found.sum())
    chosen = sum(each.chosen for each in found.clusters)
    return (
        f"{count:,} of {known:,} faces ({100 * count / max(known, 1):.1f} %) are found unrecognizable, from "
        f"{chosen} cluster{'s' if chosen != 1 else ''} in which destroyed pictures end up."
    )


def _cluster(cluster: Cluster) -> ShownCluster:
    lines = [
        Line(name, MEANINGS[name], f"{each.value:.3g}", f"{each.rest:.3g}", "for" if each.speaks_for else "against")
        for name, each in cluster.evidence.items()
    ]
    inside, outside = cluster.likeness
    if np.isfinite(inside):
        lines.append(
            Line("likeness", "mean correlation of two members' pictures", f"{inside:.3g}", f"{outside:.3g}", "–")
        )
    if np.isfinite(cluster.separation):
        lines.append(
            Line("separation", "cosine distance to the nearest other cluster", f"{cluster.separation:.3g}", "–", "–")
        )
    title = f"Cluster {cluster.number}: {cluster.faces:,} faces, {cluster.destroyed:,} destroyed pictures"
    return ShownCluster(title, cluster.chosen, tuple(lines))


def _band(band: Band, found: Discovery, pool: SearchedPool) -> ShownBand:
    faces: list[ShownFace] = []
    if pool.picture is not None:
        for row in band.rows:
            text = f"{pool.names[row]}, {pool.sizes[row]} pixels, score {found.scores[row]:.3f}"
            faces.append(ShownFace(data_address(pool.picture(row), _SIDE, exact=False), text))
    return ShownBand(band.title, f"{band.count:,}", band.low >= 0.5, tuple(faces))
