"""What a raw recognizability index means: a probability, and a word for it.

The index is unbounded and its scale changes with every training run. A calibration maps it to the probability that the
best match of the face is the right person, in a search among a stated number of gallery faces. A larger gallery makes
every face harder, so the number belongs to the score.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.metrics.operating import Point, Wish
from vlrface.types import VlrfaceError

RECOGNIZABLE: Final = "recognizable"
DOUBTFUL: Final = "doubtful"
UNRECOGNIZABLE: Final = "unrecognizable"
FAILED: Final = "failed"
"""Verdict on a face without an index: one that could not be encoded."""
_FLAT = 1e-12
_ADDED: Final = frozenset(("points", "space", "data"))
"""What is no number; calibrations of earlier versions have none of it."""


@dataclass(frozen=True)
class Calibration:
    """Index ξ to score: 1 / (1 + exp(-(slope · (ξ - mean) / scale + intercept))).

    Attributes:
        slope: per `scale` of the index, at least 0: a larger index never lowers the score. 0 where the index says
            nothing about finding the right person; every face then has the same score.
        intercept: log odds at `mean`.
        mean: of the index over the faces it was fitted on.
        scale: standard deviation of the index over the same, 1 if that is 0.
        gallery_size: number of faces that each face was searched among.
        faces: number of faces it was fitted on.
        rank1: share of them that were found first, in [0, 1].
        calibration_error: expected calibration error of the score on people that were left out of the fit, in [0, 1].
        recognizable_from: score from which a face is called recognizable. Own choice: 0.5, the best match is more
            likely right than wrong.
        unrecognizable_below: score below which a face is called unrecognizable. Own choice: 0.1.
        unrecognizable_index: index below which a face is not distinguishable from unrecognizable identities, whose
            mean plus two standard deviations it is (own choice: 98 of 100 lie below, if normal); None if unknown.
        points: thresholds for wished rates, see `point`.
        space: whose embeddings the points were measured on (`ServedModel.space`); "" where that was not noted.
        data: what it was fitted on, for people; "" where that was not noted.

    Raises:
        VlrfaceError: a negative slope, a scale that is not positive, a value that is not finite, no gallery, or
            thresholds that are not ordered within [0, 1].
    """

    slope: float
    intercept: float
    mean: float
    scale: float
    gallery_size: int
    faces: int
    rank1: float
    calibration_error: float
    recognizable_from: float = 0.5
    unrecognizable_below: float = 0.1
    unrecognizable_index: float | None = None
    points: tuple[Point, ...] = ()
    space: str = ""
    data: str = ""

    def __post_init__(self) -> None:
        values = [v for key, v in asdict(self).items() if v is not None and key not in _ADDED]
        if not np.isfinite(values).all() or self.slope < 0 or self.scale <= 0 or self.gallery_size < 1:
            raise VlrfaceError(f"no calibration: {self}. Slope ≥ 0, scale > 0, a gallery, and finite values are needed")
        if not 0 <= self.unrecognizable_below <= self.recognizable_from <= 1:
            raise VlrfaceError(
                "calibration: 0 ≤ unrecognizable_below ≤ recognizable_from ≤ 1 is needed, not "
                f"{self.unrecognizable_below} and {self.recognizable_from}"
            )

    def score(self, recognizability: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
        """Probability that the best match among `gallery_size` faces is right, in [0, 1]; NaN for NaN."""
        return sigmoid(self.slope * (recognizability.astype(np.float64) - self.mean) / self.scale + self.intercept)

    def verdict(self, recognizability: Float[ndarray, " n"]) -> ndarray:
        """One word per face.

        Two witnesses are heard. The score comes from people who could be found; it has never seen a face that nobody
        can recognise, and so may trust one too much. The index of unrecognizable identities knows only those. Each may
        cast doubt, neither alone overrules a clear word of the other:

        - "unrecognizable": the score is below `unrecognizable_below`, or it is below `recognizable_from` and the index
          is within the range of unrecognizable identities;
        - "recognizable": the score is at least `recognizable_from` and the index is above that range, where known;
        - "doubtful": anything else, a good score within that range included;
        - "failed": the index is NaN.

        Returns:
            (n,) str.
        """
        score = self.score(recognizability)
        lost = np.zeros(score.shape, bool)
        if self.unrecognizable_index is not None:
            lost = recognizability < self.unrecognizable_index
        good = score >= self.recognizable_from
        return np.select(
            [np.isnan(score), (score < self.unrecognizable_below) | (lost & ~good), good & ~lost],
            [FAILED, UNRECOGNIZABLE, RECOGNIZABLE],
            DOUBTFUL,
        )

    def why_unrecognizable(self, recognizability: float) -> str:
        """Why a face is called unrecognizable, as half a sentence; empty where it is not (see `verdict`)."""
        index = np.array([recognizability], np.float32)  # as the model gives it: the border is the same for both
        if self.verdict(index)[0] != UNRECOGNIZABLE:
            return ""
        score = float(self.score(index)[0])
        if score < self.unrecognizable_below or self.unrecognizable_index is None:
            return f"its score {score:.2f} is below {self.unrecognizable_below:.2f}"
        return (
            f"its score {score:.2f} is below {self.recognizable_from:.2f}, and its index {recognizability:.3f} is "
            f"within the range of unrecognizable faces, below {self.unrecognizable_index:.3f}"
        )

    def point(self, wish: Wish, wished: float) -> Point:
        """The threshold for a wished rate, as `vlrface calibrate` has measured it.

        Raises:
            VlrfaceError: that rate was not measured.
        """
        for point in self.points:
            if point.wish == wish and abs(point.wished - wished) <= _FLAT:
                return point
        known = ", ".join(f"{each.wish} {each.wished:g}" for each in self.points) or "none"
        raise VlrfaceError(
            f"the model has no threshold for {wish} {wished:g} (it has: {known}). Measure it: vlrface calibrate MODEL "
            f"HELD_OUT -o MODEL --{wish} {wished:g}, with all other rates that it is to have"
        )

    def check_space(self, space: str) -> None:
        """Refuse to use points on other embeddings than they were measured on.

        Raises:
            VlrfaceError: they are of other weights, another precision, or with another flip fusion.
        """
        if self.points and self.space and self.space != space:
            raise VlrfaceError(
                f"the thresholds were measured on embeddings of {self.space}, and this model gives {space} (other "
                "weights, precision or flip fusion). Measure them as it is used: vlrface calibrate MODEL HELD_OUT -o "
                "MODEL"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "points": [each.to_json() for each in self.points]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Calibration":
        """What `to_json` gave; of an earlier version without points or origin, too.

        Raises:
            VlrfaceError: a value is missing, unknown or not a number.
        """
        values = dict(values)
        points = values.pop("points", [])
        if not isinstance(points, list):
            raise VlrfaceError("not a calibration: its points are no list. Calibrate again")
        texts = {key: values.pop(key, "") for key in ("space", "data")}
        if not all(isinstance(each, str) for each in texts.values()):
            raise VlrfaceError("not a calibration: its origin is no text. Calibrate again")
        known = {field.name for field in fields(cls)} - _ADDED
        if set(values) != known:
            raise VlrfaceError(f"not a calibration: {sorted(set(values) ^ known)} missing or unknown. Calibrate again")
        numbers = {k: v for k, v in values.items() if not (k == "unrecognizable_index" and v is None)}
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in numbers.values()):
            raise VlrfaceError("not a calibration: its values are not numbers. Calibrate again")
        whole = {"gallery_size", "faces"}
        typed: dict[str, Any] = {k: int(v) if k in whole else float(v) for k, v in numbers.items()}
        return cls(**typed, **texts, points=tuple(Point.from_json(each) for each in points))


class Logistic(NamedTuple):
    """Log odds = slope · x + intercept."""

    slope: float
    intercept: float


def fit_logistic(x: Float[ndarray, " n"], correct: Bool[ndarray, " n"] | Float[ndarray, " n"]) -> Logistic:
    """Rising logistic curve of greatest likelihood, for targets that are drawn a little towards the middle.

    The targets are (n₊ + 1) / (n₊ + 2) for right and 1 / (n₋ + 2) for wrong (Platt 1999, "Probabilistic outputs for
    support vector machines", section 2.2): a prior of one face of each kind, which keeps the curve finite where right
    and wrong are separable, or one of them is missing, and vanishes with many faces. No other penalty. If the
    likelihood is greatest at a falling curve, the best that does not fall is the constant one.

    Args:
        x: (n,) finite; best of order 1.
        correct: (n,) whether it is right, or the chance that it is.

    Returns:
        Slope of at least 0, and intercept.

    Raises:
        VlrfaceError: no faces.
    """
    if not len(x):
        raise VlrfaceError("no faces to fit a calibration on")
    right = float(correct.sum())
    target = correct * ((right + 1) / (right + 2)) + (1 - correct) * (1 / (len(x) - right + 2))
    constant = Logistic(0.0, float(np.log(target.mean() / (1 - target.mean()))))
    if np.ptp(x) == 0:
        return constant
    design = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
    weights = np.array(constant)
    for _ in range(100):
        expected = sigmoid(design @ weights)
        gradient = design.T @ (target - expected)
        hessian = (design * np.maximum(expected * (1 - expected), 1e-12)[:, None]).T @ design
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        before = _log_likelihood(design @ weights, target)
        while _log_likelihood(design @ (weights + step), target) < before and np.abs(step).max() > 1e-12:
            step = step / 2  # Newton's step may overshoot far from the maximum
        weights = weights + step
        if np.abs(step).max() < 1e-10:
            break
    return Logistic(float(weights[0]), float(weights[1])) if weights[0] > _FLAT else constant


def calibration_error(
    score: Float[ndarray, " n"], correct: Bool[ndarray, " n"] | Float[ndarray, " n"], bins: int = 10
) -> float:
    """Expected calibration error: mean over bins of |mean score - share right|, each bin weighted by its faces.

    Bins hold equally many faces, in order of score; faces of equal score share the bin of the first of them.

    Args:
        score: (n,) in [0, 1].
        correct: (n,).
        bins: number of bins, at most the number of faces.

    Raises:
        VlrfaceError: no faces, or no bins.
    """
    if not len(score) or bins < 1:
        raise VlrfaceError(f"a calibration error needs faces and bins, not {len(score)} and {bins}")
    place = np.searchsorted(np.sort(score), score, "left")
    part = place * min(bins, len(score)) // len(score)
    excess = np.bincount(part, score - correct)
    return float(np.abs(excess).sum() / len(score))


def cross_fitted_scores(
    x: Float[ndarray, " n"],
    correct: Bool[ndarray, " n"] | Float[ndarray, " n"],
    person: Int[ndarray, " n"],
    folds: int = 5,
) -> Float[ndarray, " n"]:
    """Scores that come from curves fitted on other people.

    Args:
        x: (n,) finite.
        correct: (n,) whether it is right, or the chance that it is.
        person: (n,) numbers from 0; person number modulo `folds` is the fold. With one person, the scores are those of
            the fit itself.
        folds: number of parts.

    Raises:
        VlrfaceError: no faces.
    """
    fold = person % min(folds, int(person.max(initial=0)) + 1)
    score = np.empty(len(x))
    for part in np.unique(fold):
        test = fold == part
        curve = fit_logistic(x[~test], correct[~test]) if not test.all() else fit_logistic(x, correct)
        score[test] = sigmoid(curve.slope * x[test] + curve.intercept)
    return score


def cross_fitted_error(
    x: Float[ndarray, " n"],
    correct: Bool[ndarray, " n"] | Float[ndarray, " n"],
    person: Int[ndarray, " n"],
    folds: int = 5,
) -> float:
    """Calibration error of `cross_fitted_scores`."""
    score = cross_fitted_scores(x, correct, person, folds)
    return calibration_error(score, correct, bins=max(1, min(10, len(x) // 20)))


def sigmoid(log_odds: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(log_odds))
    return np.where(log_odds >= 0, 1, small) / (1 + small)


def _log_likelihood(log_odds: Float[ndarray, " n"], target: Float[ndarray, " n"]) -> float:
    return float((target * log_odds - np.logaddexp(0, log_odds)).sum())
