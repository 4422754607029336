"""Verification: do two faces show the same person. Exact order statistics, never a threshold grid.

A pair is accepted when its score is at least the threshold. Ties count against the system: a genuine pair that scores
the same as an impostor pair cannot be accepted without it.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.metrics.pairs import Pairs as Pairs
from vlrface.metrics.pairs import genuine_impostor as genuine_impostor
from vlrface.types import VlrfaceError


class OperatingPoint(NamedTuple):
    """What a verifier does at one threshold.

    Attributes:
        tpr: share of genuine pairs accepted, in [0, 1].
        threshold: the lowest score that is accepted; -inf accepts everything.
        accepted_impostors: number of impostor pairs accepted. Below ten, read `tpr` with its interval.
    """

    tpr: float
    threshold: float
    accepted_impostors: int


class Roc(NamedTuple):
    """Points of a receiver operating characteristic, in order of falling threshold.

    Attributes:
        far: (n,) share of impostor pairs accepted, ascending.
        tpr: (n,) share of genuine pairs accepted, ascending.
        threshold: (n,) lowest accepted score, descending.
    """

    far: Float[ndarray, " n"]
    tpr: Float[ndarray, " n"]
    threshold: Float[ndarray, " n"]


def accepted_at_far(far: float, impostors: int) -> int:
    """Number of impostor pairs that may be accepted: the largest whole number of pairs within `far`.

    The share is taken as it is written in decimals, so that 0.29 of 100 is 29.

    Raises:
        VlrfaceError: `far` outside [0, 1].
    """
    if not 0 <= far <= 1:
        raise VlrfaceError(f"a false accept rate lies in [0, 1], not {far}")
    return int(Fraction(repr(float(far))) * impostors)


def tpr_at_far(genuine: Float[ndarray, " g"], impostor: Float[ndarray, " i"], far: float) -> OperatingPoint:
    """Share of genuine pairs accepted at the lowest threshold that accepts at most `far` of the impostor pairs.

    With k = floor(far · i), the threshold lies just above the (k+1)-th highest impostor score, so genuine pairs are
    accepted when they score strictly higher than it.

    Args:
        genuine: (g,) scores of pairs of one person; -inf is a miss.
        impostor: (i,) scores of pairs of different people.
        far: allowed share of accepted impostors, in [0, 1].

    Raises:
        VlrfaceError: no pairs of one kind, a NaN score, or `far` outside [0, 1].
    """
    genuine, impostor = _comparable(genuine, impostor)
    allowed = accepted_at_far(far, len(impostor))
    if allowed == len(impostor):
        return OperatingPoint(1.0, -np.inf, allowed)
    place = len(impostor) - 1 - allowed
    threshold = just_above(np.partition(impostor, place)[place : place + 1])
    accepted = int(np.count_nonzero(impostor >= threshold))
    return OperatingPoint(float(np.mean(genuine >= threshold)), float(threshold[0]), accepted)


def roc(genuine: Float[ndarray, " g"], impostor: Float[ndarray, " i"]) -> Roc:
    """The whole curve, exactly, by its corners: two points for each distinct genuine score.

    Between two corners the curve is straight: no genuine score lies between their thresholds. A genuine score that an
    impostor shares gives a slanted piece, so the area below is the Mann-Whitney statistic with ties counted half.

    Args:
        genuine: (g,) scores of pairs of one person.
        impostor: (i,) scores of pairs of different people.

    Returns:
        2·(distinct genuine scores) + 2 points, from (0, 0) at +inf to (1, 1) at -inf.

    Raises:
        VlrfaceError: no pairs of one kind, or a NaN score.
    """
    genuine, impostor = _comparable(genuine, impostor)
    ordered, ordered_genuine = np.sort(impostor), np.sort(genuine)
    corners = np.unique(ordered_genuine)[::-1]
    threshold = np.stack([just_above(corners), corners], axis=1).ravel()
    far = _share_from(ordered, threshold)
    tpr = _share_from(ordered_genuine, threshold)
    return Roc(
        np.concatenate([[0.0], far, [1.0]]),
        np.concatenate([[0.0], tpr, [1.0]]),
        np.concatenate([[np.inf], threshold, [-np.inf]]).astype(np.float64),
    )


def roc_at(genuine: Float[ndarray, " g"], impostor: Float[ndarray, " i"], far: Float[ndarray, " n"]) -> Roc:
    """The curve at given false accept rates, each by the rule of `tpr_at_far`.

    Args:
        genuine: (g,) scores of pairs of one person.
        impostor: (i,) scores of pairs of different people.
        far: (n,) ascending, in [0, 1].

    Returns:
        One point per rate; its `far` is the share that is truly accepted, at most the one asked for.

    Raises:
        VlrfaceError: no pairs of one kind, a NaN score, or a rate outside [0, 1].
    """
    genuine, impostor = _comparable(genuine, impostor)
    ordered, ordered_genuine = np.sort(impostor), np.sort(genuine)
    allowed = np.array([accepted_at_far(rate, len(impostor)) for rate in far.tolist()], np.int64)
    place = len(impostor) - 1 - allowed
    threshold = np.where(place >= 0, just_above(ordered[np.maximum(place, 0)]), np.array(-np.inf, ordered.dtype))
    return Roc(_share_from(ordered, threshold), _share_from(ordered_genuine, threshold), threshold.astype(np.float64))


def auc(genuine: Float[ndarray, " g"], impostor: Float[ndarray, " i"]) -> float:
    """Area under the curve: chance that a genuine pair scores higher than an impostor pair, ties counted half.

    Raises:
        VlrfaceError: no pairs of one kind, or a NaN score.
    """
    genuine, impostor = _comparable(genuine, impostor)
    ordered, queries = np.sort(impostor), np.sort(genuine)
    below = np.searchsorted(ordered, queries, "left").sum(dtype=np.int64)
    not_above = np.searchsorted(ordered, queries, "right").sum(dtype=np.int64)
    return float(int(below + not_above) / (2 * len(genuine) * len(impostor)))


def eer(genuine: Float[ndarray, " g"], impostor: Float[ndarray, " i"]) -> float:
    """Equal error rate: where the curve of `roc`, drawn with straight lines, meets false accept = false reject.

    Raises:
        VlrfaceError: no pairs of one kind, or a NaN score.
    """
    curve = roc(genuine, impostor)
    return float(equal_error(curve.far[None], curve.tpr[None])[0])


def equal_error(far: Float[ndarray, "r n"], tpr: Float[ndarray, "r n"]) -> Float[ndarray, " r"]:
    """Equal error rates of many curves, each ascending from (0, ·) to (1, ·); NaN where a curve has NaN."""
    balance = far + tpr - 1  # from at most 0 up to at least 0, never falling
    after = np.argmax(balance >= 0, axis=1)[:, None]
    before = np.maximum(after - 1, 0)
    low, high = np.take_along_axis(balance, before, 1), np.take_along_axis(balance, after, 1)
    share = np.divide(-low, high - low, out=np.zeros(low.shape), where=high > low)
    start, stop = np.take_along_axis(far, before, 1), np.take_along_axis(far, after, 1)
    return (start + share * (stop - start))[:, 0]


def check_scores(genuine: Float[ndarray, " g"], impostor: Float[ndarray, " i"]) -> None:
    """Refuse what no rate is defined for.

    Raises:
        VlrfaceError: no pairs of one kind, or a NaN score.
    """
    for kind, scores in (("genuine", genuine), ("impostor", impostor)):
        if not len(scores):
            raise VlrfaceError(f"no {kind} pairs: give faces of at least two people, one of them with two faces")
        if np.isnan(scores).any():
            raise VlrfaceError(f"{np.isnan(scores).sum()} {kind} scores are NaN: use -inf for pairs without a score")


def _comparable(
    genuine: Float[ndarray, " g"], impostor: Float[ndarray, " i"]
) -> tuple[Float[ndarray, " g"], Float[ndarray, " i"]]:
    """Both in one precision, checked: "just above" must mean the same for both."""
    check_scores(genuine, impostor)
    dtype = np.result_type(genuine, impostor)
    return genuine.astype(dtype, copy=False), impostor.astype(dtype, copy=False)


def just_above(scores: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """The next larger number of the same precision."""
    return np.nextafter(scores, np.array(np.inf, scores.dtype))


def _share_from(ordered: Float[ndarray, " n"], threshold: Float[ndarray, " t"]) -> Float[ndarray, " t"]:
    """Share of ascending scores that are at least each threshold."""
    return (len(ordered) - np.searchsorted(ordered, threshold, "left")) / len(ordered)
