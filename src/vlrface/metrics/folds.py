"""Accuracy on pair lists by folds (LFW and its kin): each fold is judged with the threshold that is best on the others.

Thresholds are all that separate the training scores, not a grid; of equally accurate ones the highest is taken (own
choice, the strictest), midway between two neighbouring scores. A pair without a score (-inf) is never accepted: a
genuine one is a mistake. An impostor one would look like a correct rejection: leave it out before.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.metrics.resampled import PairResamples
from vlrface.metrics.verification import check_scores
from vlrface.types import VlrfaceError

_PRODUCTS_AT_ONCE = 2**23


class FoldAccuracy(NamedTuple):
    """Accuracy by folds: mean and sample standard deviation over folds, and each fold's value."""

    mean: float
    deviation: float
    folds: Float[ndarray, " k"]


class FoldDecisions(NamedTuple):
    """What each fold's threshold decides.

    Attributes:
        fold: (n,) number of each pair's fold among those that occur, from 0.
        right: (n,) whether the pair is judged rightly.
        threshold: (k,) lowest accepted score of each fold, from the pairs of the others; +inf accepts nothing.
    """

    fold: Int[ndarray, " n"]
    right: Bool[ndarray, " n"]
    threshold: Float[ndarray, " k"]

    def accuracy(self) -> FoldAccuracy:
        """Share of right decisions by fold."""
        folds = np.bincount(self.fold, self.right) / np.bincount(self.fold)
        return FoldAccuracy(float(folds.mean()), float(folds.std(ddof=1)), folds)


def accuracy_10_fold(scores: Float[ndarray, " n"], same: Bool[ndarray, " n"], folds: int = 10) -> FoldAccuracy:
    """Accuracy with folds that are consecutive stretches of the list, sizes differing by at most one.

    Args:
        scores: (n,) in the order of the list; -inf for a pair that could not be scored.
        same: (n,) whether the pair shows one person.
        folds: number of folds; 10 by custom.

    Raises:
        VlrfaceError: fewer pairs than folds, fewer than two folds, one kind of pair only, or a NaN score.
    """
    if not 2 <= folds <= len(scores):
        raise VlrfaceError(f"{len(scores)} pairs cannot make {folds} folds: at least two folds of one pair are needed")
    parts = np.array_split(np.arange(len(scores)), folds)
    fold = np.repeat(np.arange(folds), [len(part) for part in parts])
    return decide_by_folds(scores, same, fold).accuracy()


def dealt_folds(same: Bool[ndarray, " n"], folds: int = 10) -> Int[ndarray, " n"]:
    """Folds of a list that states none: the genuine pairs in consecutive stretches of the list, the impostors likewise.

    Own choice. On a list that is written fold by fold, with as many genuine as impostor pairs in each (LFW, CFP and the
    other lists of insightface), these are its own folds; on one that has all genuine pairs first (QMUL-SurvFace) every
    fold has its share of both kinds, which consecutive stretches of the whole list would not. Pairs of one person
    mostly stand together, and so share a fold.

    Args:
        same: (n,) whether the pair shows one person, in the order of the list.
        folds: number of folds.

    Returns:
        (n,) from 0; sizes of each kind differ by at most one.

    Raises:
        VlrfaceError: fewer than two folds, or fewer pairs of a kind than folds.
    """
    fewest = min(int(same.sum()), int((~same).sum()))
    if not 2 <= folds <= fewest:
        raise VlrfaceError(f"{fewest} pairs of a kind cannot make {folds} folds: at least one of each kind is needed")
    fold = np.empty(len(same), np.int64)
    for kind in (same, ~same):
        parts = np.array_split(np.flatnonzero(kind), folds)
        for number, part in enumerate(parts):
            fold[part] = number
    return fold


def decide_by_folds(scores: Float[ndarray, " n"], same: Bool[ndarray, " n"], fold: Int[ndarray, " n"]) -> FoldDecisions:
    """Judge every pair with the threshold that is most accurate on the pairs of all other folds.

    Args:
        scores: (n,); -inf for a pair that could not be scored.
        same: (n,) whether the pair shows one person.
        fold: (n,) any numbers.

    Raises:
        VlrfaceError: fewer than two folds, one kind of pair only, or a NaN score.
    """
    check_scores(scores[same], scores[~same])
    scores = scores.astype(np.float64)  # so that a middle between two neighbours lies between them
    numbers, fold = np.unique(fold, return_inverse=True)
    if len(numbers) < 2:
        raise VlrfaceError("accuracy by folds needs at least two folds")
    scored = ~np.isneginf(scores)
    right = np.empty(len(scores), bool)
    threshold = np.empty(len(numbers))
    for k in range(len(numbers)):
        train, test = scored & (fold != k), fold == k
        threshold[k] = _most_accurate_threshold(scores[train], same[train])
        right[test] = (scored[test] & (scores[test] >= threshold[k])) == same[test]
    return FoldDecisions(fold, right, threshold)


def resampled_accuracy(
    decisions: FoldDecisions, same: Bool[ndarray, " n"], faces: Int[ndarray, "n 2"], drawn: PairResamples
) -> Float[ndarray, "r 1"]:
    """Mean accuracy of the folds under each resample; the thresholds stay those found on the data (own choice).

    A threshold rests on nine tenths of all pairs and moves little; choosing it anew in each resample would reward pairs
    that were drawn twice for being on both sides. A fold of which nothing was drawn is left out.

    Args:
        decisions: on the data.
        same: (n,) whether the pair shows one person.
        faces: (n, 2) numbers of its faces.
        drawn: resamples of people; a genuine pair weighs as its person, an impostor pair the product.

    Returns:
        One row per row of `drawn.weights`; NaN where nothing was drawn.
    """
    by_person = np.ascontiguousarray(drawn.weights.T)
    persons = drawn.people.number[faces]
    resamples, folds = by_person.shape[1], len(decisions.threshold)
    right, total = np.zeros((folds, resamples)), np.zeros((folds, resamples))
    step = max(1, _PRODUCTS_AT_ONCE // resamples)
    for k in range(folds):
        inside = np.flatnonzero(decisions.fold == k)
        for start in range(0, len(inside), step):
            rows = inside[start : start + step]
            weight = by_person[persons[rows, 0]]
            weight = np.where(same[rows, None], weight, weight * by_person[persons[rows, 1]])
            right[k] += weight[decisions.right[rows]].sum(axis=0, dtype=np.float64)
            total[k] += weight.sum(axis=0, dtype=np.float64)
    there = total > 0
    share = np.divide(right, total, out=np.zeros(right.shape), where=there).sum(axis=0)
    count = there.sum(axis=0)
    return np.divide(share, count, out=np.full(resamples, np.nan), where=count > 0)[:, None]


def _most_accurate_threshold(scores: Float[ndarray, " n"], same: Bool[ndarray, " n"]) -> float:
    values, inverse = np.unique(scores, return_inverse=True)
    genuine = np.bincount(inverse, weights=same, minlength=len(values))
    impostor = np.bincount(inverse, weights=~same, minlength=len(values))
    # Right decisions if everything from value k on is accepted; k = len(values) accepts nothing.
    right = np.cumsum(np.append(0, impostor)) + np.append(np.cumsum(genuine[::-1])[::-1], 0)
    best = len(values) - int(np.argmax(right[::-1]))
    if best == len(values):
        return float("inf")
    return float(values[best] if best == 0 else (values[best - 1] + values[best]) / 2)
