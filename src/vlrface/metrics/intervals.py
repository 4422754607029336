"""Intervals by resampling people, not images: 95 % percentile bootstrap over identities.

Several images of one person are not independent, so whole people are drawn, with replacement. A resample is a vector of
weights, how often each person was drawn, and a statistic is computed under weights rather than on copied rows:

- an item of one person (a probe, a face, a genuine pair) has that person's weight w;
- an impostor pair of persons a and b has weight w_a · w_b.

A resample under which a statistic is undefined (nobody left to divide by) is left out of its percentiles. With one
person only there is nothing to draw from, and the interval is NaN. Where every item has the same value the interval has
width zero: resampling cannot see what never happened.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vlrface.types import Estimate, VlrfaceError

_LEVEL_PERCENT = (2.5, 97.5)
_BLOCK_WEIGHTS = 2**25


class Interval(NamedTuple):
    """Several values with their 95 % limits; NaN where no limit can be given."""

    value: Float[ndarray, " k"]
    low: Float[ndarray, " k"]
    high: Float[ndarray, " k"]

    def estimate(self, index: int = 0) -> Estimate:
        """One of the values."""
        return Estimate(float(self.value[index]), float(self.low[index]), float(self.high[index]))


class People(NamedTuple):
    """Who is drawn: the person number of every item, from 0, and how many people there are."""

    number: Int[ndarray, " n"]
    total: int


def people_of(identities: Int[ndarray, " n"]) -> People:
    """Number the people behind items. Each item of a negative identity is a person of its own."""
    known = identities >= 0
    _, inverse = np.unique(identities[known], return_inverse=True)
    named = int(inverse.max()) + 1 if len(inverse) else 0
    number = np.empty(len(identities), np.int64)
    number[known] = inverse
    strangers = int(np.count_nonzero(~known))
    number[~known] = named + np.arange(strangers)
    return People(number, named + strangers)


def person_weights(people: int, resamples: int, seed: int) -> Float[ndarray, "r c"]:
    """How often each person is drawn in each resample: multinomial, `people` draws, equal chances.

    Args:
        people: number of people c, at least 1.
        resamples: number of resamples r, at least 1.
        seed: of `np.random.default_rng`.

    Returns:
        (r, c) whole numbers as float32, each row adding up to c.

    Raises:
        VlrfaceError: no people or no resamples.
    """
    if people < 1 or resamples < 1:
        raise VlrfaceError(f"{resamples} resamples of {people} people: at least one of each is needed")
    rng = np.random.default_rng(seed)
    weights = np.empty((resamples, people), np.float32)
    step = max(1, _BLOCK_WEIGHTS // people)
    for start in range(0, resamples, step):
        rows = weights[start : start + step]
        rows[:] = rng.multinomial(people, np.full(people, 1 / people), size=len(rows))
    return weights


def percentile_interval(value: Float[ndarray, " k"], samples: Float[ndarray, "r k"], *, people: int) -> Interval:
    """Values with the 2.5 and 97.5 percentiles of their resamples, undefined (NaN) resamples left out.

    Args:
        value: (k,) measured on all items.
        samples: (r, k) the same under each resample.
        people: number of people drawn from; below two there is no interval.
    """
    low, high = np.full(len(value), np.nan), np.full(len(value), np.nan)
    for column in range(len(value)):
        defined = samples[np.isfinite(samples[:, column]), column]
        if people > 1 and len(defined):
            low[column], high[column] = np.percentile(defined, _LEVEL_PERCENT)
    return Interval(np.asarray(value, np.float64), low, high)


def bootstrap(
    statistic: Callable[[Float[ndarray, "r c"]], Float[ndarray, "r k"]],
    people: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Interval of any statistic that can be computed under weights.

    Args:
        statistic: takes weights (r, people), gives (r, k) values; called once with all weights one, then in blocks.
        people: number of people.
        resamples: number of resamples.
        seed: of the draw; the same seed draws the same people, which makes two calls comparable.

    Returns:
        Values with their limits.
    """
    value = np.asarray(statistic(np.ones((1, people), np.float32))[0], np.float64)
    if people < 2:
        return percentile_interval(value, np.empty((0, len(value))), people=people)
    weights = person_weights(people, resamples, seed)
    step = max(1, _BLOCK_WEIGHTS // people)
    blocks = [statistic(weights[start : start + step]) for start in range(0, resamples, step)]
    return percentile_interval(value, np.concatenate(blocks), people=people)


def bootstrap_means(
    values: Float[ndarray, "n k"], identities: Int[ndarray, " n"], *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Means of columns over all items, people drawn with all their items.

    Args:
        values: (n, k), one row per item.
        identities: (n,) whose item it is; each item of a negative identity stands alone.
        resamples: number of resamples.
        seed: of the draw.

    Raises:
        VlrfaceError: no items, or a NaN value: count a miss as 0 instead.
    """
    if not len(values):
        raise VlrfaceError("no items: a mean of nothing is undefined")
    if np.isnan(values).any():
        raise VlrfaceError(f"{np.isnan(values).sum()} values are NaN: count what could not be measured as a miss (0)")
    people = people_of(identities)
    sums = np.zeros((people.total, values.shape[1] + 1))
    np.add.at(sums, people.number, np.column_stack([values, np.ones(len(values))]).astype(np.float64))

    def means(weights: Float[ndarray, "r c"]) -> Float[ndarray, "r k"]:
        totals = weights.astype(np.float64) @ sums
        return totals[:, :-1] / totals[:, -1:]

    return bootstrap(means, people.total, resamples=resamples, seed=seed)


def bootstrap_shares(
    values: Float[ndarray, " n"], identities: Int[ndarray, " n"], *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Mean of a value per item, e.g. the share of probes that were found; see `bootstrap_means`."""
    return bootstrap_means(values[:, None], identities, resamples=resamples, seed=seed).estimate()


def paired_difference(
    first: Float[ndarray, " n"],
    second: Float[ndarray, " m"],
    identities: Int[ndarray, " n"],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Mean of `first` minus mean of `second` over the same items, resampled together.

    What both find or both miss cancels, so the interval is much narrower than the two intervals apart suggest.

    Raises:
        VlrfaceError: different lengths, no items, or a NaN value.
    """
    if len(first) != len(second):
        raise VlrfaceError(f"a paired difference needs the same items: {len(first)} and {len(second)} values")
    return bootstrap_shares(first - second, identities, resamples=resamples, seed=seed)


def bootstrap_spearman(
    x: Float[ndarray, " n"],
    y: Float[ndarray, " m"],
    identities: Int[ndarray, " n"],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Spearman's rank correlation, ties at their middle rank.

    Ranks are those of all items and stay fixed under resampling (own choice: re-ranking changes the interval by less
    than its Monte Carlo noise). NaN if one side is constant.

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
        varied = spread > 1e-18 * saa * sbb
        result = np.full(len(n), np.nan)
        np.divide(sab - sa * sb / n, np.sqrt(spread), out=result, where=varied)
        return np.clip(result, -1, 1)[:, None]

    return bootstrap(correlation, people.total, resamples=resamples, seed=seed).estimate()


def _middle_ranks(values: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """Ranks centred on zero and scaled to ±1/2, equal values sharing the middle of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return (middle[inverse] - (len(values) - 1) / 2) / max(1, len(values) - 1)
