"""From held-out faces to a score: how often is a face of this index found?"""

from dataclasses import dataclass
from math import lgamma

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.metrics.calibration import Calibration as Calibration
from vlrface.metrics.calibration import cross_fitted_error, cross_fitted_scores, fit_logistic
from vlrface.metrics.identification import Ranks, leave_one_out_ranks
from vlrface.metrics.intervals import people_of
from vlrface.metrics.reliability import Reliability, reliability
from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, VlrfaceError

_DEVIATIONS = 2.0


@dataclass(frozen=True, eq=False)
class Searched:
    """Held-out faces, each searched among the others.

    Attributes:
        index: (n,) recognizability of the faces that have a mate.
        correct: (n,) chance that the best match is right among `gallery_size` faces, in [0, 1].
        identities: (n,) whose faces.
        gallery_size: number of faces that each was searched among.
    """

    index: Float[ndarray, " n"]
    correct: Float[ndarray, " n"]
    identities: Int[ndarray, " n"]
    gallery_size: int


def calibrate(
    faces: Faces,
    *,
    unrecognizable_mean: float | None = None,
    unrecognizable_deviation: float | None = None,
    gallery_size: int | None = None,
) -> Calibration:
    """Search each held-out face among the others, and fit how the index tells who is found first.

    Faces whose person has no other face, and faces that could not be encoded, are not fitted on; the former still
    stand in the gallery.

    Args:
        faces: of people the network was not trained on.
        unrecognizable_mean: mean index of unrecognizable identities, see `fit_calibration`.
        unrecognizable_deviation: its standard deviation.
        gallery_size: faces to search among; default all other encoded faces. With fewer, the chance to be found first
            is that over all drawings of so few from them, computed exactly.

    Returns:
        The calibration for a gallery of that size.

    Raises:
        VlrfaceError: no face has both an index and a mate, more gallery faces are asked for than there are, or only
            one of the two statistics is given.
    """
    searched = search_held_out(faces, gallery_size)
    return fit_calibration(
        searched.index,
        searched.correct,
        gallery_size=searched.gallery_size,
        identities=searched.identities,
        unrecognizable_mean=unrecognizable_mean,
        unrecognizable_deviation=unrecognizable_deviation,
    )


def known_people(faces: Faces) -> int:
    """How many people are known to be on them: distractors are no people that anything is measured on."""
    return len(np.unique(faces.identities[faces.identities >= 0]))


def described(faces: Faces, where: str) -> str:
    """How many faces of how many people, and from where, for people: `Calibration.data`."""
    people = known_people(faces)
    missing = int(np.count_nonzero(~faces.encoded))
    return f"{len(faces):,} faces of {people:,} people, {where}" + (f" ({missing:,} not decodable)" if missing else "")


def search_held_out(faces: Faces, gallery_size: int | None = None) -> Searched:
    """Search each held-out face among the others; see `calibrate`.

    Raises:
        VlrfaceError: no face has a mate, or there are fewer faces than the gallery is to have.
    """
    encoded = faces.rows(faces.encoded & (faces.roles != UNRECOGNIZABLE_ROLE))  # destroyed ones are counted nowhere
    ranks = leave_one_out_ranks(encoded.embeddings, encoded.identities)
    mated = ranks.mates > 0
    if not mated.any():
        raise VlrfaceError("no person has two encoded faces: calibrate on held-out people with two faces or more")
    everybody = len(encoded) - 1
    size = everybody if gallery_size is None else gallery_size
    if not int(ranks.mates.max()) < size <= everybody:
        raise VlrfaceError(
            f"a gallery of {size} faces cannot be drawn from {everybody} held-out ones with up to {ranks.mates.max()} "
            "of one person. What happens in a larger gallery, only a larger one can tell"
        )
    found = ranks.rows(mated)
    correct = (found.first_mate == 1).astype(np.float64) if size == everybody else _chances(found, everybody, size)
    return Searched(encoded.recognizability[mated], correct, encoded.identities[mated], size)


def _chances(ranks: Ranks, everybody: int, size: int) -> Float[ndarray, " n"]:
    """Chance that none of the strangers who score higher than the best mate is drawn into a smaller gallery.

    Of M strangers, a of them ahead, K are drawn: C(M - a, K) / C(M, K).
    """
    ahead, strangers = ranks.first_mate - 1, everybody - ranks.mates
    drawn = size - ranks.mates
    log = np.vectorize(lgamma, otypes=[np.float64])
    possible = strangers - ahead >= drawn
    left = np.where(possible, strangers - ahead - drawn, 0)
    chance = np.exp(log(strangers - ahead + 1) - log(left + 1) - log(strangers + 1) + log(strangers - drawn + 1))
    return np.where(possible, chance, 0.0)


def judged_reliability(calibration: Calibration, searched: Searched, *, seed: int = 0) -> Reliability:
    """How reliable the scores are on people left out of the fit (five folds), in up to ten bins.

    Args:
        calibration: fitted on `searched`.
        searched: of `search_held_out`.
        seed: of the intervals.
    """
    x = (searched.index.astype(np.float64) - calibration.mean) / calibration.scale
    known = np.isfinite(x)
    person = people_of(searched.identities[known]).number
    scores = cross_fitted_scores(x[known], searched.correct[known], person)
    bins = max(1, min(10, len(scores) // 20))
    return reliability(scores, searched.correct[known], person, bins=bins, seed=seed)


def fit_calibration(
    recognizability: Float[ndarray, " n"],
    correct: Bool[ndarray, " n"] | Float[ndarray, " n"],
    *,
    gallery_size: int,
    identities: Int[ndarray, " n"] | None = None,
    unrecognizable_mean: float | None = None,
    unrecognizable_deviation: float | None = None,
) -> Calibration:
    """Fit the map from index to probability; see `metrics.calibration.fit_logistic`.

    Args:
        recognizability: (n,) predicted index of faces that can be found, that is, have a mate; NaN is left out.
        correct: (n,) whether the best match was the right person, or the chance of it.
        gallery_size: number of faces that each was searched among.
        identities: (n,) whose faces: the calibration error is then measured on people left out of the fit, else on
            faces left out.
        unrecognizable_mean: mean index of unrecognizable identities; None if unknown.
        unrecognizable_deviation: its standard deviation; given exactly when the mean is.

    Raises:
        VlrfaceError: no face has an index, or only one of the two statistics is given.
    """
    if (unrecognizable_mean is None) != (unrecognizable_deviation is None):
        raise VlrfaceError("give both the mean and the deviation of the unrecognizable identities, or neither")
    known = np.isfinite(recognizability)
    if not known.any():
        raise VlrfaceError("no face has a recognizability index: train with regression, or leave the calibration out")
    index, correct = recognizability[known].astype(np.float64), correct[known]
    mean, scale = float(index.mean()), float(index.std()) if np.ptp(index) > 0 else 1.0
    x = (index - mean) / scale
    curve = fit_logistic(x, correct)
    person = np.arange(len(x)) if identities is None else people_of(identities[known]).number
    limit = None
    if unrecognizable_mean is not None and unrecognizable_deviation is not None:
        limit = float(unrecognizable_mean + _DEVIATIONS * unrecognizable_deviation)
    return Calibration(
        slope=curve.slope,
        intercept=curve.intercept,
        mean=mean,
        scale=scale,
        gallery_size=gallery_size,
        faces=len(x),
        rank1=float(correct.mean()),
        calibration_error=cross_fitted_error(x, correct, person),
        unrecognizable_index=limit,
    )
