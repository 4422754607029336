"""What speaks for a cluster, or a face, being unrecognizable. Nothing here is a label."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.metrics.cosine import unit_rows
from vlrface.types import VlrfaceError

_SAMPLE: Final = 400
"""Members of a cluster whose pairs are compared; own choice."""


@dataclass(frozen=True, eq=False)
class Pool:
    """A pool of n faces and the destroyed copies of m of them, by one network.

    Attributes:
        embeddings: (n, d) as the network gives them, with flip fusion if its length is to count; NaN rows could not be
            encoded.
        destroyed: (m, d) of severely degraded copies.
        origins: (m,) row of the pool that each was made of; None where that is not known.
        recognizability: (n,) predicted recognizability; None or NaN for a network that predicts none.
        looks: (n, t) the pictures themselves as a few grey levels each, standardised per picture (see
            `vlrface.unrecognizable.looks.looks_of`); None where they are not at hand.

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
            if len(self.origins) and not (0 <= self.origins.min() and self.origins.max() < n):
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
        rest = self.rest if np.isfinite(self.rest) else None
        return {"value": self.value, "rest": rest, "speaks_for": self.speaks_for}


MEANINGS: Final[Mapping[str, str]] = {
    "destroyed": "share of all destroyed pictures that fall into it, beside its share of the pool",
    "nearness": "median cosine to the centre of the destroyed pictures",
    "response": "median cosine of a face to its own destroyed copy: who cannot be recognised has little to lose",
    "length": "median length of the flip-fused embedding: short where mirror images disagree or little is seen",
    "recognizability": "median predicted recognizability",
    "agreement": "mean cosine between two members, less what their pictures' likeness explains",
    "separation": "cosine distance of its centre to the nearest other cluster's; shown, decides nothing",
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
        separation: cosine distance of its centre to the nearest centre of another cluster; NaN for the only one.
    """

    number: int
    faces: int
    destroyed: int
    evidence: Mapping[str, Evidence] = field(default_factory=dict[str, Evidence])
    chosen: bool = False
    separation: float = float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes null."""
        return {
            "number": self.number,
            "faces": self.faces,
            "destroyed": self.destroyed,
            "chosen": self.chosen,
            "separation": self.separation if np.isfinite(self.separation) else None,
            "evidence": {name: each.to_json() for name, each in self.evidence.items()},
        }
