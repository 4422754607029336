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


class Sampled(NamedTuple):
    """Several values and what each becomes under every resample.

    Two figures that were measured on the same people with the same seed and number of resamples have rows that belong
    together, so that their difference is a paired one.

    Attributes:
        value: (k,) measured on all items.
        samples: (r, k) the same under each resample; NaN where it is undefined.
        people: number of people drawn from; below two there is no interval.
    """

    value: Float[ndarray, " k"]
    samples: Float[ndarray, "r k"]
    people: int

    def interval(self) -> Interval:
        """The values with their 95 % limits."""
        return percentile_interval(self.value, self.samples, people=self.people)

    def columns(self, index: slice | Int[ndarray, " m"]) -> "Sampled":
        """Some of the values."""
        return Sampled(self.value[index], self.samples[:, index], self.people)

    def estimate(self, index: int = 0) -> Estimate:
        """One of the values with its limits."""
        column = np.array([index])
        return self.columns(column).interval().estimate()

    def minus(self, other: "Sampled") -> "Sampled":
        """The paired difference; `other` has as many values, or one that is taken from each.

        Raises:
            VlrfaceError: the two were not resampled alike.
        """
        if len(self.samples) != len(other.samples) or self.people != other.people:
            raise VlrfaceError(
                f"figures of {len(self.samples)} resamples of {self.people} people and {len(other.samples)} of "
                f"{other.people} cannot be paired: measure both on the same faces, with the same seed and resamples"
            )
        return Sampled(self.value - other.value, self.samples - other.samples, self.people)


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
) -> Sampled:
    """Any statistic that can be computed under weights, measured and resampled.

    Args:
        statistic: takes weights (r, people), gives (r, k) values; called once with all weights one, then in blocks.
        people: number of people.
        resamples: number of resamples.
        seed: of the draw; the same seed draws the same people, which makes two calls comparable.

    Returns:
        The values and their samples.
    """
    value = np.asarray(statistic(np.ones((1, people), np.float32))[0], np.float64)
    if people < 2:
        return Sampled(value, np.empty((0, len(value))), people)
    weights = person_weights(people, resamples, seed)
    step = max(1, _BLOCK_WEIGHTS // people)
    blocks = [statistic(weights[start : start + step]) for start in range(0, resamples, step)]
    return Sampled(value, np.concatenate(blocks), people)


def bootstrap_means(
    values: Float[ndarray, "n k"], identities: Int[ndarray, " n"], *, resamples: int = 1000, seed: int = 0
) -> Sampled:
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
