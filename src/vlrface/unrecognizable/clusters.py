"""Clusters of embeddings at every level of a hierarchy, without a number of clusters to be guessed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy import ndarray

from vlrface.types import VlrfaceError
from vlrface.unrecognizable.neighbours import neighbours

Method = Literal["auto", "graph", "agglomerative"]
"""How the hierarchy is built; "auto" is "graph"."""

AGGLOMERATIVE_UP_TO: Final = 10_000
"""Rows up to which the distances of all pairs are held in memory: 0.4 GB, and as much again while they are merged."""

_CHUNK_ROWS: Final = 1024

_NEIGHBOURS: Final = 16
_CORE: Final = 5
_LEVELS: Final = 60
_LOWEST_SHARE: Final = 0.3


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """A tree of merges: cut at a height, it gives clusters.

    Attributes:
        method: how it was built.
        heights: (m,) cosine distance of each merge, ascending; in [0, 2] up to rounding.
        tree: what the cut needs: SciPy's linkage matrix, or the edges of a spanning forest.
        count: n, rows.
    """

    method: Literal["agglomerative", "graph"]
    heights: Float[ndarray, " m"]
    tree: Any
    count: int

    def cut(self, height: float) -> Int[ndarray, " n"]:
        """Number of the cluster of each row, from 0, when all merges up to a cosine distance are made."""
        if self.method == "agglomerative":
            from scipy.cluster.hierarchy import fcluster

            return fcluster(self.tree, height, criterion="distance").astype(np.int64) - 1
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        first, second = self.tree
        kept = self.heights <= height
        joined = coo_array((np.ones(kept.sum(), np.int8), (first[kept], second[kept])), (self.count, self.count))
        return connected_components(joined, directed=False)[1].astype(np.int64)

    def levels(self) -> Iterator[tuple[float, Int[ndarray, " n"]]]:
        """Heights at quantiles of the merges, from low to high, each with its clusters.

        Quantiles, since an embedding's cosines have no common scale: one network's strangers meet at 0.1, another's at
        0.5. The lowest 30 % of the merges join near copies and are skipped.
        """
        shares = np.linspace(_LOWEST_SHARE, 1.0, _LEVELS)
        for height in np.unique(np.quantile(self.heights, shares)) if len(self.heights) else ():
            yield float(height), self.cut(float(height))


def hierarchy(unit: Float32[ndarray, "n d"], method: Method = "auto") -> Hierarchy:
    """Build the tree of merges.

    - "agglomerative": average linkage. Two clusters merge at 1 - the mean cosine between their members. All pairs are
      compared: for thousands.
    - "graph": each row and its 16 nearest neighbours; an edge's height is the largest of its cosine distance and both
      ends' distance to their fifth neighbour (the mutual reachability of HDBSCAN, Campello et al., PAKDD 2013), so
      that a thin chain of rows between two clusters does not join them early. Merges are a minimum spanning forest, as
      HDBSCAN's on that graph. For thousands as for 100,000 and more.

    Args:
        unit: (n, d), n ≥ 2, rows of unit length.
        method: see above.

    Raises:
        VlrfaceError: fewer than two rows, too many for average linkage, or SciPy or faiss is missing.
    """
    if len(unit) < 2:
        raise VlrfaceError(f"{len(unit)} embeddings cannot be clustered: give more pictures")
    try:
        import scipy  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise VlrfaceError('clustering needs SciPy: pip install "vlrface[cluster]"') from error
    if method != "agglomerative":
        return _graph(unit)
    if len(unit) > AGGLOMERATIVE_UP_TO:
        raise VlrfaceError(
            f"agglomerative clustering compares all pairs, so it takes at most {AGGLOMERATIVE_UP_TO} embeddings, not "
            f"{len(unit)}: use the graph"
        )
    return _agglomerative(unit)


def _agglomerative(unit: ndarray) -> Hierarchy:
    from scipy.cluster.hierarchy import linkage

    n = len(unit)
    distances = np.empty(n * (n - 1) // 2)  # row after row of the upper triangle
    filled = 0
    for start in range(0, n, _CHUNK_ROWS):
        chunk = unit[start : start + _CHUNK_ROWS] @ unit[start:].T
        for place, row in enumerate(chunk):
            after = row[place + 1 :]
            distances[filled : filled + len(after)] = np.maximum(1.0 - after, 0.0)
            filled += len(after)
    tree = linkage(distances, "average")
    return Hierarchy("agglomerative", tree[:, 2], tree, n)


def _graph(unit: ndarray) -> Hierarchy:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    n = len(unit)
    rows, cosines = neighbours(unit, min(_NEIGHBOURS, n - 1))
    distances = np.maximum(1.0 - cosines, 0.0).astype(np.float64)
    core = distances[:, min(_CORE, distances.shape[1]) - 1]
    first = np.repeat(np.arange(n), rows.shape[1])
    second = rows.ravel()
    heights = np.maximum.reduce([distances.ravel(), core[first], core[second]])
    ends = np.sort(np.stack([first, second]), axis=0)
    kept = ends[0] != ends[1]
    # Each pair once: both ends may name it, and a sparse matrix would add them up.
    key, once = np.unique((ends[0] * n + ends[1])[kept], return_index=True)
    # SciPy takes an edge of weight 0 for none.
    weights = np.maximum(heights[kept][once], np.finfo(np.float64).tiny)
    forest = minimum_spanning_tree(coo_array((weights, (key // n, key % n)), (n, n)).tocsr()).tocoo()
    order = np.argsort(forest.data, kind="stable")
    return Hierarchy(
        "graph", forest.data[order], (forest.row[order].astype(np.int64), forest.col[order].astype(np.int64)), n
    )
