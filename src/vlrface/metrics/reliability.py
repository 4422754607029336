"""Reliability: of the faces that were given a score, how many were right?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.metrics.intervals import percentile_interval, person_weights


@dataclass(frozen=True, eq=False)
class Reliability:
    """Faces in bins of ascending score, equally many in each; faces of equal score share the bin of the first of them.

    Attributes:
        score: (b,) mean score of the faces of each bin.
        right: (b,) share of them whose best match is right (or their mean chance of it).
        low: (b,) lower 95 % limit of that share, people having been drawn; NaN with one person.
        high: (b,) upper limit.
        faces: (b,) how many.
        histogram: (20,) number of all faces by score, in equal steps from 0 to 1.
    """

    score: Float[ndarray, " b"]
    right: Float[ndarray, " b"]
    low: Float[ndarray, " b"]
    high: Float[ndarray, " b"]
    faces: Int[ndarray, " b"]
    histogram: Int[ndarray, " 20"]


def reliability(
    score: Float[ndarray, " n"],
    correct: Bool[ndarray, " n"] | Float[ndarray, " n"],
    person: Int[ndarray, " n"],
    *,
    bins: int = 10,
    resamples: int = 1000,
    seed: int = 0,
) -> Reliability:
    """Put faces into bins by score.

    Args:
        score: (n,) in [0, 1], n ≥ 1; best of `calibration.cross_fitted_scores`, or the fit judges itself.
        correct: (n,) whether the best match was right, or the chance that it is.
        person: (n,) numbers from 0.
        bins: number of bins, at most the number of faces.
        resamples: draws of people for the intervals.
        seed: of the draws.
    """
    place = np.searchsorted(np.sort(score), score, "left")
    _, part = np.unique(place * min(bins, len(score)) // len(score), return_inverse=True)
    count = np.bincount(part)
    people = int(person.max()) + 1
    weights = person_weights(people, resamples, seed).astype(np.float64)
    faces, right = np.zeros((people, len(count))), np.zeros((people, len(count)))
    np.add.at(faces, (person, part), 1)
    np.add.at(right, (person, part), correct)
    drawn = weights @ faces
    shares = np.divide(weights @ right, drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    value = np.bincount(part, correct) / count
    found = percentile_interval(value, shares, people=people)
    return Reliability(
        np.bincount(part, score) / count,
        value,
        found.low,
        found.high,
        count,
        np.histogram(score, np.linspace(0, 1, 21))[0],
    )
