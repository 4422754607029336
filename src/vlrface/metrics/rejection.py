"""Error versus reject: how fast errors vanish when the faces of lowest quality are turned away.

The quality of a pair is the lower of its two faces'. A face without a quality (NaN) is turned away first. What has
equal quality cannot be told apart and goes together, the curve being drawn straight in the numbers left and wrong: the
expectation over all orders. A constant quality thus gives the flat line of rejecting at random.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.metrics.pairs import Pairs
from vlrface.metrics.resampled import PairResamples
from vlrface.metrics.verification import OperatingPoint, accepted_at_far, check_scores, tpr_at_far
from vlrface.types import VlrfaceError

RejectMode = Literal["pairs", "images"]

FEWEST_IMPOSTORS = 10
"""An operating point that rests on fewer accepted impostor pairs is refused unless asked for."""

_DRAWN = np.linspace(0, 1, 1001)


@dataclass(frozen=True, eq=False)
class EDC:
    """False non-match rate over the share that was rejected: error versus discard characteristic.

    Attributes:
        rejected: (n,) share of genuine pairs (mode "pairs") or of images (mode "images") rejected, ascending from 0,
            as far as a genuine pair is left. With a recomputed threshold: share of all pairs.
        fnmr: (n,) share of the remaining genuine pairs that are not accepted, in [0, 1].
        threshold: lowest accepted score, on all pairs.
        fmr: the false match rate that was asked for.
        mode: what is rejected.
        recomputed: whether the threshold was recomputed on the remaining pairs, as published code does.
        genuine: number of genuine pairs.
        impostors: number of impostor pairs.
        accepted_impostors: number of impostor pairs that the threshold accepts, on all pairs.
    """

    rejected: Float[ndarray, " n"]
    fnmr: Float[ndarray, " n"]
    threshold: float
    fmr: float
    mode: RejectMode
    recomputed: bool
    genuine: int
    impostors: int
    accepted_impostors: int

    def at(self, shares: Float[ndarray, " k"]) -> Float[ndarray, " k"]:
        """False non-match rate at given shares; NaN beyond the end, where no genuine pair is left."""
        return np.interp(shares, self.rejected, self.fnmr, right=np.nan)


def edc(
    pairs: Pairs,
    quality: Float[ndarray, " f"],
    fmr: float,
    *,
    mode: RejectMode = "pairs",
    allow_few_impostors: bool = False,
) -> EDC:
    """Error versus reject at one false match rate.

    The threshold is fixed once, at `fmr` on all pairs (`verification.tpr_at_far`). Then the lowest quality is rejected:
    pair by pair (mode "pairs": share of genuine pairs), or image by image (mode "images": share of the images that
    occur in a pair; a pair goes when either of its images goes). Published code recomputes the threshold instead:
    `rejection_recomputed.recomputed_edc`.

    Args:
        pairs: at least one of each kind.
        quality: (f,) of each numbered face, larger is better.
        fmr: false match rate, in (0, 1].
        mode: what is rejected.
        allow_few_impostors: accept a threshold that fewer than ten impostor pairs decide.

    Raises:
        VlrfaceError: no pairs of one kind, no quality at all, lengths differ, or too few impostor pairs.
    """
    return judged_edc(judge(pairs, fmr, allow_few_impostors=allow_few_impostors), quality, mode=mode)


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
    return JudgedPairs(pairs, fmr, point, pairs.genuine < point.threshold, faces_in(pairs))


def judged_edc(judged: JudgedPairs, quality: Float[ndarray, " f"], *, mode: RejectMode = "pairs") -> EDC:
    """`edc` of one of several measures, whose pairs were judged once.

    Args:
        judged: the pairs.
        quality: (f,) of each numbered face, larger is better; NaN is rejected first.
        mode: what is rejected.

    Raises:
        VlrfaceError: no quality at all, or lengths differ.
    """
    order = rejection_order(judged.pairs, judged.images, quality, mode)
    remaining = _remaining(order, None, None, judged.missed)
    shares = np.union1d(remaining.rejected, _DRAWN)
    fnmr = remaining.rate_at(shares)
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


def resampled_edc(
    pairs: Pairs,
    quality: Float[ndarray, " f"],
    fmr: float,
    shares: Float[ndarray, " k"],
    resamples: PairResamples,
    *,
    mode: RejectMode = "pairs",
) -> Float[ndarray, "r k"]:
    """The curve of `edc` at given shares, under each resample, with the threshold that the resample gives.

    Where the rate lies between two thresholds of the resampled curve, misses are mixed as `PairResamples.tpr_at` mixes
    acceptances, so that at share 0 this is one minus that.

    Args:
        pairs: as for `edc`.
        quality: (f,) as for `edc`.
        fmr: false match rate; best one of the rates that `resamples` was made for.
        shares: (k,) rejected shares.
        resamples: of the same pairs.
        mode: what is rejected.

    Returns:
        (r, k) false non-match rates, NaN where no genuine pair is left. Row 0 has all weights one.

    Raises:
        VlrfaceError: no quality at all, or lengths differ.
    """
    images = faces_in(pairs)
    order = rejection_order(pairs, images, quality, mode)
    persons = resamples.people.number[pairs.genuine_faces[:, 0]]
    unit_persons = persons if mode == "pairs" else resamples.people.number[images]
    rates = np.empty((len(resamples.weights), len(shares)))
    for row, (weights, high, low, share) in enumerate(zip(resamples.weights, *resamples.around(fmr), strict=True)):
        missed = (1 - share) * (pairs.genuine < high) + share * (pairs.genuine < low)
        rates[row] = _remaining(order, weights[unit_persons], weights[persons], missed).rate_at(shares)
    return rates


def partial_auc(curve: EDC, upper: float = 0.3, *, normalised: bool = False) -> float:
    """Area under the curve from rejecting nothing to rejecting a share `upper`, by straight lines.

    Args:
        curve: of `edc`.
        upper: in (0, 1). Usual: 0.2, 0.3, and 0.95 for published tables.
        normalised: divide by the false non-match rate at zero reject; rejecting at random then gives `upper`. NaN if
            that rate is 0.

    Raises:
        VlrfaceError: the curve ends before `upper`, or `upper` is not positive.
    """
    if not 0 < upper <= curve.rejected[-1]:
        raise VlrfaceError(
            f"no area up to {upper:g}: the curve goes from 0 to {curve.rejected[-1]:.3g} rejected, as far as a genuine "
            "pair is left"
        )
    x = np.append(curve.rejected[curve.rejected < upper], upper)
    area = float(np.trapezoid(curve.at(x), x))
    if not normalised:
        return area
    return area / float(curve.fnmr[0]) if curve.fnmr[0] > 0 else float("nan")


def random_line(fnmr: float, shares: Float[ndarray, " k"]) -> Float[ndarray, " k"]:
    """Rejecting at random changes nothing: the false non-match rate at zero reject, everywhere."""
    return np.full(len(shares), fnmr)


def oracle_line(fnmr: float, shares: Float[ndarray, " k"]) -> Float[ndarray, " k"]:
    """The customary line of perfect rejection: max(fnmr - r, 0), each rejected pair an error.

    In mode "pairs" no quality goes below it; an all-knowing one reaches (fnmr - r) / (1 - r), on or above it, because
    the rate is taken over the pairs that remain. In mode "images" it is no bound: one image may take many failing pairs
    with it.
    """
    return np.maximum(fnmr - shares, 0)


def rank1_after_reject(first_mate: Int[ndarray, " p"], quality: Float[ndarray, " q"], share: float) -> float:
    """Rank-1 of closed-set identification among the probes that remain when the lowest-quality share is rejected.

    Args:
        first_mate: (p,) rank of the first mate, 0 for a miss (`identification.Ranks.first_mate`).
        quality: (p,) of the probes, larger is better; NaN is rejected first.
        share: of all probes, in [0, 1). Where it is no whole number of probes, or cuts through equal qualities, the
            result is the expectation.

    Raises:
        VlrfaceError: no probes, no quality at all, lengths differ, or a share outside [0, 1).
    """
    weights = np.ones((1, len(first_mate)), np.float32)
    return float(resampled_rank1(first_mate, quality, np.array([share]), weights)[0, 0])


def resampled_rank1(
    first_mate: Int[ndarray, " p"],
    quality: Float[ndarray, " q"],
    shares: Float[ndarray, " k"],
    weights: Float[ndarray, "r p"],
) -> Float[ndarray, "r k"]:
    """`rank1_after_reject` at several shares and under several weightings of the probes.

    Args:
        first_mate: (p,) rank of the first mate, 0 for a miss.
        quality: (p,) of the probes.
        shares: (k,) rejected shares, in [0, 1).
        weights: (r, p) how often each probe counts.

    Raises:
        VlrfaceError: as for `rank1_after_reject`.
    """
    if not len(first_mate):
        raise VlrfaceError("no probes: a share of nothing is undefined")
    if ((shares < 0) | (shares >= 1)).any():
        raise VlrfaceError(f"rejected shares lie in [0, 1), not {shares.min():g} … {shares.max():g}")
    level, levels = quality_levels(quality, len(first_mate))
    order = RejectionOrder(level, level, levels)
    found = first_mate == 1
    return np.stack([_remaining(order, row, row, found).rate_at(shares) for row in weights])


class RejectionOrder(NamedTuple):
    """In which order things go: the quality level of each rejected unit, and of each item that goes with one."""

    unit: Int[ndarray, " u"]
    item: Int[ndarray, " i"]
    levels: int


def rejection_order(
    pairs: Pairs, images: Int[ndarray, " u"], quality: Float[ndarray, " f"], mode: RejectMode
) -> RejectionOrder:
    """The units that are rejected in a mode, and the genuine pairs that go with them.

    Args:
        pairs: the pairs.
        images: `faces_in` of them.
        quality: (f,) of each numbered face; NaN is rejected first.
        mode: what is rejected.

    Raises:
        VlrfaceError: no quality at all, or lengths differ.
    """
    level, levels = quality_levels(quality, len(pairs.identities))
    first, second = pairs.genuine_faces.T
    item = np.minimum(level[first], level[second])
    return RejectionOrder(item if mode == "pairs" else level[images], item, levels)


def quality_levels(quality: Float[ndarray, " f"], faces: int) -> tuple[Int[ndarray, " f"], int]:
    """Rank of each quality among the distinct ones, from 0, NaN lowest; and how many there are.

    Raises:
        VlrfaceError: no quality at all, or not one for each of `faces`.
    """
    if len(quality) != faces:
        raise VlrfaceError(f"{len(quality)} qualities for {faces} faces")
    if np.isnan(quality).all():
        raise VlrfaceError("no face has a quality: use a model that predicts recognizability, or another measure")
    values, level = np.unique(np.where(np.isnan(quality), -np.inf, quality), return_inverse=True)
    return level.astype(np.int32), len(values)


def faces_in(pairs: Pairs) -> Int[ndarray, " u"]:
    """Numbers of the faces that occur in a pair, ascending."""
    used = np.zeros(len(pairs.identities), bool)
    for column in (*pairs.genuine_faces.T, *pairs.impostor_faces.T):
        used[column] = True
    return np.flatnonzero(used)


class _Remaining(NamedTuple):
    """What is left after rejecting everything up to each level; straight lines between them are expectations."""

    rejected: Float[ndarray, " l"]
    left: Float[ndarray, " l"]
    marked: Float[ndarray, " l"]

    def rate_at(self, shares: Float[ndarray, " k"]) -> Float[ndarray, " k"]:
        """Share of marked items among those left; NaN where none is left."""
        left = np.interp(shares, self.rejected, self.left)
        marked = np.interp(shares, self.rejected, self.marked)
        rate = np.divide(marked, left, out=np.full(len(shares), np.nan), where=left > 0)
        return np.minimum(rate, 1)


def _remaining(
    order: RejectionOrder,
    unit_weight: Float[ndarray, " u"] | None,
    item_weight: Float[ndarray, " i"] | None,
    marked: Bool[ndarray, " i"] | Float[ndarray, " i"],
) -> _Remaining:
    """What is left at each level; without weights everything counts once."""
    units = np.bincount(order.unit, unit_weight, order.levels)
    items = np.bincount(order.item, item_weight, order.levels)
    marks = np.bincount(order.item, marked if item_weight is None else item_weight * marked, order.levels)
    gone = [np.append(0.0, np.cumsum(each)) for each in (units, items, marks)]
    if not gone[0][-1] > 0:  # a resample that drew nobody concerned
        return _Remaining(np.zeros(1), np.zeros(1), np.zeros(1))
    return _Remaining(gone[0] / gone[0][-1], gone[1][-1] - gone[1], gone[2][-1] - gone[2])
