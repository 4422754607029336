"""Rank correlation: whether two measures order faces alike."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vlrface.metrics.intervals import Sampled, bootstrap, people_of
from vlrface.types import VlrfaceError


def spearman(x: Float[ndarray, " n"], y: Float[ndarray, " m"]) -> float:
    """Spearman's rank correlation in [-1, 1], ties at their middle rank; NaN if one side is constant.

    Raises:
        VlrfaceError: different lengths, no items, or a NaN value.
    """
    return float(bootstrap_spearman(x, y, np.zeros(len(x), np.int64)).value[0])


def bootstrap_spearman(
    x: Float[ndarray, " n"],
    y: Float[ndarray, " m"],
    identities: Int[ndarray, " n"],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Sampled:
    """`spearman` with its resamples, for an interval over people.

    Ranks are those of all items and stay fixed under resampling (own choice: re-ranking changes the interval by less
    than its Monte Carlo noise).

    Args:
        x: (n,) values.
        y: (n,) values of the same items.
        identities: (n,) whose item it is; each item of a negative identity stands alone.
        resamples: number of resamples.
        seed: of the draw.

    Raises:
        VlrfaceError: different lengths, no items, or a NaN value.
    """
    if len(x) != len(y):
        raise VlrfaceError(f"a correlation needs pairs: {len(x)} and {len(y)} values")
    if not len(x) or np.isnan(x).any() or np.isnan(y).any():
        raise VlrfaceError("a correlation needs at least one item, and no NaN")
    a, b = _middle_ranks(x), _middle_ranks(y)
    people = people_of(identities)
    moments = np.zeros((people.total, 6))
    np.add.at(moments, people.number, np.column_stack([np.ones(len(a)), a, b, a * a, b * b, a * b]))

    def correlation(weights: Float[ndarray, "r c"]) -> Float[ndarray, "r k"]:
        n, sa, sb, saa, sbb, sab = (weights.astype(np.float64) @ moments).T
        spread = np.maximum(saa - sa * sa / n, 0) * np.maximum(sbb - sb * sb / n, 0)
        result = np.full(len(n), np.nan)
        np.divide(sab - sa * sb / n, np.sqrt(spread), out=result, where=spread > 1e-18 * saa * sbb)
        return np.clip(result, -1, 1)[:, None]

    return bootstrap(correlation, people.total, resamples=resamples, seed=seed)


def _middle_ranks(values: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """Ranks centred on zero and scaled to ±1/2, equal values sharing the middle of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return (middle[inverse] - (len(values) - 1) / 2) / max(1, len(values) - 1)
