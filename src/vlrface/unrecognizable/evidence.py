"""What speaks for a cluster, or a face, being unrecognizable. Nothing here is a label."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from vlrface.types import VlrfaceError

_MIXED: Final = 400
_MIXED_WITH: Final = 10


@dataclass(frozen=True, eq=False)
class Pool:
    """A pool of n faces and the destroyed copies of m of them, by one network.

    Attributes:
        embeddings: (n, d) as the network gives them, with flip fusion if its length is to count; NaN rows could not be
            encoded.
        destroyed: (m, d) of severely degraded copies.
        origins: (m,) row of the pool that each was made of; None where that is not known.
        recognizability: (n,) predicted recognizability; None or NaN for a network that predicts none.
        looks: (n, t) the pictures themselves as a few grey levels each, of unit length (see
            `vlrface.unrecognizable.looks_of`); NaN for one that could not be decoded; None where they are not at hand.

    Raises:
        VlrfaceError: lengths or dimensions differ, or an origin is no row of the pool.
    """

    embeddings: Float[ndarray, "n d"]
    destroyed: Float[ndarray, "m d"]
    origins: Int[ndarray, " m"] | None = None
    recognizability: Float[ndarray, " n"] | None = None
    looks: Float[ndarray, "n t"] | None = None

    def __post_init__(self) -> None:
        n, width = self.embeddings.shape
        if self.destroyed.shape[1] != width:
            raise VlrfaceError(
                f"the pool's embeddings have {width} dimensions, those of destroyed pictures "
                f"{self.destroyed.shape[1]}: encode both with the same model"
            )
        for name, column in (("recognizability", self.recognizability), ("looks", self.looks)):
            if column is not None and len(column) != n:
                raise VlrfaceError(f"{len(column)} rows of {name} for {n} faces")
        if self.origins is not None:
            if len(self.origins) != len(self.destroyed):
                raise VlrfaceError(f"{len(self.origins)} origins for {len(self.destroyed)} destroyed pictures")
            if len(self.origins) and not (self.origins.min() >= 0 and self.origins.max() < n):
                raise VlrfaceError(f"an origin of a destroyed picture is no row of a pool of {n}")


@dataclass(frozen=True)
class Evidence:
    """One observation on a cluster, beside the same on the rest of the pool.

    Attributes:
        value: of the cluster; NaN where it cannot be observed.
        rest: of all faces outside it.
        speaks_for: whether it says "unrecognizable".
    """

    value: float
    rest: float
    speaks_for: bool

    def to_json(self) -> dict[str, float | bool | None]:
        """Plain JSON values; NaN becomes null."""
        value, rest = (each if np.isfinite(each) else None for each in (self.value, self.rest))
        return {"value": value, "rest": rest, "speaks_for": self.speaks_for}


MEANINGS: Final[Mapping[str, str]] = {
    "destroyed": "share of all destroyed pictures that fall into it, beside its share of the pool",
    "mixing": "share of faces among the nearest neighbours of its destroyed pictures, beside their share in it",
    "nearness": "median cosine to the centre of the destroyed pictures",
    "response": "median cosine of a face to its own destroyed copy: who cannot be recognised has little to lose",
    "length": "median length of the embedding: short where little is seen, or mirror images disagree",
    "recognizability": "median predicted recognizability",
    "agreement": "mean cosine between two members, beyond what the likeness of their pictures explains",
}
"""What each piece of evidence is, in the words of a report."""


@dataclass(frozen=True)
class Cluster:
    """A cluster of the pool.

    Attributes:
        number: from 0.
        faces: members from the pool.
        destroyed: destroyed pictures in it.
        evidence: by name, in the order of `MEANINGS`; what could not be observed is missing.
        chosen: whether its members are taken for unrecognizable.
        likeness: mean correlation of two members' pictures, of the cluster and of the rest; NaN without pictures.
        separation: cosine distance of its centre to the nearest centre of another cluster; NaN for the only one.
    """

    number: int
    faces: int
    destroyed: int
    evidence: Mapping[str, Evidence] = field(default_factory=dict[str, Evidence])
    chosen: bool = False
    likeness: tuple[float, float] = (float("nan"), float("nan"))
    separation: float = float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes null."""
        return {
            "number": self.number,
            "faces": self.faces,
            "destroyed": self.destroyed,
            "chosen": self.chosen,
            "separation": self.separation if np.isfinite(self.separation) else None,
            "likeness": [each if np.isfinite(each) else None for each in self.likeness],
            "evidence": {name: each.to_json() for name, each in self.evidence.items()},
        }


def mixing_of(
    faces: Float32[ndarray, "n d"],
    destroyed: Float32[ndarray, "m d"],
    inside: Bool[ndarray, " n"],
    outside: Bool[ndarray, " m"],
) -> Evidence:
    """Are faces and destroyed pictures of a cluster one crowd, or two that touch?

    Destroyed pictures always gather somewhere, and some faces are always the nearest to them. Only where faces lie
    among them are these faces like them: then about as many of their neighbours are faces as the mixture has; fewer,
    since destroyed pictures lie closer together. A quarter is enough (own choice; it is half with a network that finds
    such faces, and none where a cluster was made of two).

    Args:
        faces: unit rows of the pool.
        destroyed: unit rows of destroyed pictures.
        inside: which faces are in the cluster, at least one.
        outside: which destroyed pictures are in it, at least one; 400 of them are looked at, evenly spaced.
    """
    rows = np.flatnonzero(outside)
    rows = rows[np.linspace(0, len(rows) - 1, min(_MIXED, len(rows))).round().astype(int)]
    cosines = np.concatenate([destroyed[rows] @ faces.T, destroyed[rows] @ destroyed.T], axis=1)
    cosines[np.arange(len(rows)), len(faces) + rows] = -np.inf
    count = min(_MIXED_WITH, cosines.shape[1] - 1)
    nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    share = float((nearest < len(faces)).mean())
    mixture = float(inside.sum() / (inside.sum() + outside.sum()))
    return Evidence(share, mixture, share >= mixture / 4)


@dataclass(frozen=True, eq=False)
class Observed:
    """What is observed of each face of a pool, once for all clusters.

    Attributes:
        unit: (n, d) rows of unit length; NaN where there is no embedding.
        looks: as the pool's.
        columns: by name, in the order of `MEANINGS`: (n,) values, NaN where unknown, and whether larger ones speak for
            an unrecognizable face.
    """

    unit: Float[ndarray, "n d"]
    looks: Float[ndarray, "n t"] | None
    columns: Mapping[str, tuple[Float[ndarray, " n"], bool]]

    @classmethod
    def of(cls, pool: Pool) -> "Observed":
        """Observe the faces of a pool."""
        rows = unit(pool.embeddings)
        copies = unit(pool.destroyed)
        center = np.nanmean(copies, axis=0, dtype=np.float64)
        center /= max(float(np.linalg.norm(center)), np.finfo(np.float64).tiny)
        columns: dict[str, tuple[ndarray, bool]] = {"nearness": (rows @ center.astype(rows.dtype), True)}
        if pool.origins is not None:
            columns["response"] = (_response(rows, copies, pool.origins), True)
        columns["length"] = (np.linalg.norm(pool.embeddings, axis=1), False)
        if pool.recognizability is not None:
            columns["recognizability"] = (pool.recognizability, False)
        return cls(rows, pool.looks, columns)


def evidence_of(observed: Observed, members: Bool[ndarray, " n"], others: Bool[ndarray, " n"]) -> dict[str, Evidence]:
    """All that can be observed of the faces of a cluster, beside the others.

    Args:
        observed: the faces of the pool.
        members: the cluster.
        others: the faces that it is compared with; all encoded, as the members are.
    """
    found: dict[str, Evidence] = {}
    for name, (values, larger) in observed.columns.items():
        inside, outside = _median(values[members]), _median(values[others])
        if np.isfinite(inside) and np.isfinite(outside):
            found[name] = Evidence(inside, outside, inside > outside if larger else inside < outside)
    inside, outside = mean_product(observed.unit[members]), mean_product(observed.unit[others])
    if np.isfinite(inside) and np.isfinite(outside):
        alike = likeness_of(observed, members) - likeness_of(observed, others)
        # A person's pictures are alike, and so are their embeddings; what counts is agreement beyond that.
        explained = max(alike, 0.0) if np.isfinite(alike) else 0.0
        found["agreement"] = Evidence(inside, outside, inside - outside > explained)
    return found


def likeness_of(observed: Observed, members: Bool[ndarray, " n"]) -> float:
    """Mean correlation between the pictures of two members; NaN without pictures."""
    if observed.looks is None:
        return float("nan")
    rows = observed.looks[members]
    return mean_product(rows[np.isfinite(rows).all(axis=1)])


def mean_product(rows: Float[ndarray, "m d"]) -> float:
    """Mean inner product of two different rows, without comparing them one by one; NaN for fewer than two."""
    m = len(rows)
    if m < 2:
        return float("nan")
    total = rows.sum(axis=0, dtype=np.float64)
    own = float(np.einsum("nd,nd->n", rows, rows).sum(dtype=np.float64))
    return (float(total @ total) - own) / (m * (m - 1))


def _response(rows: ndarray, copies: ndarray, origins: ndarray) -> ndarray:
    """Cosine of each face to its destroyed copy (the mean of several); NaN for a face without."""
    cosines = (rows[origins] * copies).sum(axis=1, dtype=np.float64)
    good = np.isfinite(cosines)
    count = np.bincount(origins[good], minlength=len(rows))
    total = np.bincount(origins[good], cosines[good], minlength=len(rows))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def unit(embeddings: Float[ndarray, "n d"]) -> Float[ndarray, "n d"]:
    """Rows of unit length; NaN stays NaN."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.maximum(lengths, np.finfo(embeddings.dtype).tiny)


def _median(values: ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
