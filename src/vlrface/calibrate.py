"""From held-out faces to a calibration: how often is a face of this index found?"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.metrics.calibration import Calibration as Calibration
from vlrface.metrics.calibration import cross_fitted_error, fit_logistic
from vlrface.metrics.identification import leave_one_out_ranks
from vlrface.metrics.intervals import people_of
from vlrface.types import Faces, VlrfaceError

_DEVIATIONS = 2.0


def calibrate(
    faces: Faces, *, unrecognizable_mean: float | None = None, unrecognizable_deviation: float | None = None
) -> Calibration:
    """Search each held-out face among all the others, and fit how the index tells who is found first.

    Faces whose person has no other face, and faces that could not be encoded, are not fitted on; the former still
    stand in the gallery.

    Args:
        faces: of people the network was not trained on.
        unrecognizable_mean: mean index of unrecognizable identities, see `fit_calibration`.
        unrecognizable_deviation: its standard deviation.

    Returns:
        The calibration, for a gallery of all other encoded faces.

    Raises:
        VlrfaceError: no face has both an index and a mate, or only one of the two statistics is given.
    """
    encoded = faces.rows(faces.encoded)
    ranks = leave_one_out_ranks(encoded.embeddings, encoded.identities)
    fit = ranks.mates > 0
    if not fit.any():
        raise VlrfaceError("no person has two encoded faces: calibrate on held-out people with two faces or more")
    return fit_calibration(
        encoded.recognizability[fit],
        ranks.first_mate[fit] == 1,
        gallery_size=len(encoded) - 1,
        identities=encoded.identities[fit],
        unrecognizable_mean=unrecognizable_mean,
        unrecognizable_deviation=unrecognizable_deviation,
    )


def fit_calibration(
    recognizability: Float[ndarray, " n"],
    correct: Bool[ndarray, " n"],
    *,
    gallery_size: int,
    identities: Int[ndarray, " n"] | None = None,
    unrecognizable_mean: float | None = None,
    unrecognizable_deviation: float | None = None,
) -> Calibration:
    """Fit the map from index to probability; see `metrics.calibration.fit_logistic`.

    Args:
        recognizability: (n,) predicted index of faces that can be found, that is, have a mate; NaN is left out.
        correct: (n,) whether the best match was the right person.
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
