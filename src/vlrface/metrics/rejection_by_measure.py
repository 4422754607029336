"""Error versus reject of several quality measures on the same pairs: what they share is computed once.

Values are those of `vlrface.metrics.rejection.edc`, number for number. Under resampling, quality is cut into a few
hundred steps, each of them whole levels of quality; between two steps only the number of pairs of each person counts,
so that all resamples of a step are one matrix product. Curves are exact at the steps and straight in numbers left and
wrong between them; `PairResamples.sampled` takes away what that costs on the data themselves.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from vlrface.metrics.pairs import Pairs
from vlrface.metrics.rejection import EDC, FEWEST_IMPOSTORS, RejectMode
from vlrface.metrics.resampled import PairResamples
from vlrface.metrics.verification import OperatingPoint, accepted_at_far, check_scores, tpr_at_far
from vlrface.types import VlrfaceError

_DRAWN: Final = np.linspace(0, 1, 1001)
_STEPS: Final = 256


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """Pairs with the verdict of one operating point, and all else that no quality changes.

    Attributes:
        pairs: at least one of each kind.
        fmr: false match rate that was asked for.
        point: the threshold that it gives on all pairs (`verification.tpr_at_far`).
        missed: (g,) genuine pairs below the threshold.
        images: (u,) numbers of the faces that occur in a pair, ascending.
    """

    pairs: Pairs
    fmr: float
    point: OperatingPoint
    missed: Bool[ndarray, " g"]
    images: Int[ndarray, " u"]


def judge(pairs: Pairs, fmr: float, *, allow_few_impostors: bool = False) -> JudgedPairs:
    """Fix the threshold once, at a false match rate on all pairs.

    Raises:
        VlrfaceError: no pairs of one kind, a NaN score, a rate outside [0, 1], or fewer than `FEWEST_IMPOSTORS`
            impostor pairs that would decide the threshold.
    """
    check_scores(pairs.genuine, pairs.impostor)
    allowed = accepted_at_far(fmr, len(pairs.impostor))
    if allowed < FEWEST_IMPOSTORS and not allow_few_impostors:
        raise VlrfaceError(
            f"FMR {fmr:g} of {len(pairs.impostor)} impostor pairs is {allowed} pairs, fewer than {FEWEST_IMPOSTORS}: "
            "take a larger FMR, or allow few impostors (--allow-few-impostors)"
        )
    point = tpr_at_far(pairs.genuine, pairs.impostor, fmr)
    used = np.zeros(len(pairs.identities), bool)
    for column in (*pairs.genuine_faces.T, *pairs.impostor_faces.T):
        used[column] = True
    return JudgedPairs(pairs, fmr, point, pairs.genuine < point.threshold, np.flatnonzero(used))


def judged_edc(judged: JudgedPairs, quality: Float[ndarray, " f"], *, mode: RejectMode = "pairs") -> EDC:
    """`rejection.edc` of one measure.

    Args:
        judged: the pairs.
        quality: (f,) of each numbered face, larger is better; NaN is rejected first.
        mode: what is rejected.

    Raises:
        VlrfaceError: no quality at all, or lengths differ.
    """
    order = _order(judged, quality, mode)
    rejected, left, missed = (
        _gone(np.bincount(level, weight, order.levels))
        for level, weight in ((order.unit, None), (order.item, None), (order.item, judged.missed))
    )
    rejected, left, missed = rejected / rejected[-1], left[-1] - left, missed[-1] - missed
    shares = np.union1d(rejected, _DRAWN)
    fnmr = _rate(np.interp(shares, rejected, left), np.interp(shares, rejected, missed))
    defined = ~np.isnan(fnmr)
    return EDC(
        rejected=shares[defined],
        fnmr=fnmr[defined],
        threshold=judged.point.threshold,
        fmr=judged.fmr,
        mode=mode,
        recomputed=False,
        genuine=len(judged.pairs.genuine),
        impostors=len(judged.pairs.impostor),
        accepted_impostors=judged.point.accepted_impostors,
    )


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
    order = _order(judged, quality, mode)
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
    _check(quality, len(found))
    level, levels = _levels(quality)
    step = _steps(level, levels)[level]
    items, hits = (
        weights @ _counted(persons[rows], step[rows], weights.shape[1], int(step.max()) + 1)
        for rows in (np.ones(len(found), bool), found)
    )
    return _rates_at(shares, items, items, hits)


class _Order(NamedTuple):
    """Quality level of each rejected unit, and of each genuine pair, which goes with one."""

    unit: Int[ndarray, " u"]
    item: Int[ndarray, " g"]
    levels: int


def _order(judged: JudgedPairs, quality: Float[ndarray, " f"], mode: RejectMode) -> _Order:
    _check(quality, len(judged.pairs.identities))
    level, levels = _levels(quality)
    first, second = judged.pairs.genuine_faces.T
    item = np.minimum(level[first], level[second])
    return _Order(item if mode == "pairs" else level[judged.images], item, levels)


def _check(quality: Float[ndarray, " f"], faces: int) -> None:
    if len(quality) != faces:
        raise VlrfaceError(f"{len(quality)} qualities for {faces} faces")
    if np.isnan(quality).all():
        raise VlrfaceError("no face has a quality: use a model that predicts recognizability, or another measure")


def _levels(quality: Float[ndarray, " f"]) -> tuple[Int[ndarray, " f"], int]:
    """Rank of each quality among the distinct ones, from 0, NaN lowest; and how many there are."""
    values, level = np.unique(np.where(np.isnan(quality), -np.inf, quality), return_inverse=True)
    return level.astype(np.int32), len(values)


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
