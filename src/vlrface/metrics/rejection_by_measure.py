"""Error versus reject of many quality measures on the same pairs, under resampling: fast, in steps of quality.

`rejection.judge` and `judged_edc` give the curves, `rejection.resampled_edc` their resamples level by level. Here
quality is cut into a few hundred steps, each of them whole levels of quality; between two steps only the number of
pairs of each person counts, so that all resamples of a step are one matrix product. Curves are exact at the steps and
straight in numbers left and wrong between them; `PairResamples.sampled` takes away what that costs on the data
themselves.
"""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from vlrface.metrics.rejection import JudgedPairs, RejectMode, quality_levels, rejection_order
from vlrface.metrics.resampled import PairResamples

_STEPS: Final = 256


def resampled_judged_edc(
    judged: JudgedPairs,
    quality: Float[ndarray, " f"],
    shares: Float[ndarray, " k"],
    drawn: PairResamples,
    *,
    mode: RejectMode = "pairs",
) -> Float[ndarray, "r k"]:
    """The curve of one measure at given shares, under each resample, with the threshold that the resample gives.

    As `rejection.resampled_edc`, but for the steps that this module speaks of.

    Args:
        judged: the pairs.
        quality: (f,) as for `judged_edc`.
        shares: (k,) rejected shares.
        drawn: resamples of the same pairs, best made with a threshold at `judged.fmr`.
        mode: what is rejected.

    Returns:
        (r, k) false non-match rates, NaN where no genuine pair is left. Row 0 has all weights one.

    Raises:
        VlrfaceError: no quality at all, or lengths differ.
    """
    order = rejection_order(judged.pairs, judged.images, quality, mode)
    cut = _steps(order.unit, order.levels)
    item, steps = cut[order.item], int(cut[-1]) + 1
    pairs, number = judged.pairs, drawn.people.number
    persons = number[pairs.genuine_faces[:, 0]]

    def weighted(weights: Float32[ndarray, "s c"], who: ndarray, step: ndarray) -> Float32[ndarray, "s l"]:
        return weights @ _counted(who, step, weights.shape[1], steps)

    items = weighted(drawn.weights, persons, item)
    units = items if mode == "pairs" else weighted(drawn.weights, number[judged.images], cut[order.unit])
    high, low, share = drawn.around(judged.fmr)
    missed = np.zeros(items.shape)
    for threshold in np.unique(np.concatenate([high, low])):
        below = pairs.genuine < threshold
        part = np.where(high == threshold, 1 - share, 0) + np.where(low == threshold, share, 0)
        rows = np.flatnonzero(part)  # NaN, a resample without a threshold, is among them
        missed[rows] += part[rows, None] * weighted(drawn.weights[rows], persons[below], item[below])
    return _rates_at(shares, units, items, missed)


def resampled_hits(
    found: Bool[ndarray, " p"],
    quality: Float[ndarray, " q"],
    shares: Float[ndarray, " k"],
    weights: Float32[ndarray, "r c"],
    persons: Int[ndarray, " s"],
) -> Float[ndarray, "r k"]:
    """Share of probes that are found among those left, in steps: `rejection.resampled_rank1` for many measures.

    Args:
        found: (p,) whether a probe is found, for example at rank 1.
        quality: (p,) of the probes; NaN is rejected first.
        shares: (k,) rejected shares.
        weights: (r, c) how often each person counts.
        persons: (p,) person number of each probe, below c.

    Raises:
        VlrfaceError: no quality at all, or lengths differ.
    """
    level, levels = quality_levels(quality, len(found))
    step = _steps(level, levels)[level]
    items, hits = (
        weights @ _counted(persons[rows], step[rows], weights.shape[1], int(step.max()) + 1)
        for rows in (np.ones(len(found), bool), found)
    )
    return _rates_at(shares, items, items, hits)


def _steps(unit: Int[ndarray, " u"], levels: int) -> Int[ndarray, " l"]:
    """Step of each level: each step holds about as many units, at most `_STEPS` of them."""
    before = np.cumsum(np.bincount(unit, minlength=levels)) - 1
    step = np.clip(before * _STEPS // len(unit), 0, _STEPS - 1)
    return np.unique(step, return_inverse=True)[1].astype(np.int32)


def _counted(persons: Int[ndarray, " i"], step: Int[ndarray, " j"], people: int, steps: int) -> Float32[ndarray, "c l"]:
    """How many items each person has in each step."""
    cell = persons.astype(np.int64) * steps + step
    return np.bincount(cell, minlength=people * steps).reshape(people, steps).astype(np.float32)


def _rates_at(
    shares: Float[ndarray, " k"],
    units: Float[ndarray, "r l"],
    items: Float[ndarray, "r l"],
    marked: Float[ndarray, "r l"],
) -> Float[ndarray, "r k"]:
    """Share of marked items among those left, when so large a share of the units has gone, lowest step first."""
    gone_units, gone_items, gone_marked = (_gone(each) for each in (units, items, marked))
    rates = np.full((len(units), len(shares)), np.nan)
    for row, total in enumerate(gone_units[:, -1]):
        if total > 0:  # else a resample that drew nobody concerned
            at = shares * total
            left = gone_items[row, -1] - np.interp(at, gone_units[row], gone_items[row])
            rates[row] = _rate(left, gone_marked[row, -1] - np.interp(at, gone_units[row], gone_marked[row]))
    return rates


def _gone(counts: Float[ndarray, "*r l"] | Int[ndarray, "*r l"]) -> Float[ndarray, "*r m"]:
    """What has gone before each level and after the last: running sums from 0, in float64."""
    sums = np.zeros((*counts.shape[:-1], counts.shape[-1] + 1))
    np.cumsum(counts, axis=-1, dtype=np.float64, out=sums[..., 1:])
    return sums


def _rate(left: Float[ndarray, " k"], marked: Float[ndarray, " k"]) -> Float[ndarray, " k"]:
    rate = np.divide(marked, left, out=np.full(len(left), np.nan), where=left > 0)
    return np.clip(rate, 0, 1)
