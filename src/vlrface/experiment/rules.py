"""From options and calibration to the rules by which a gallery answers."""

from vlrface.metrics.calibration import Calibration
from vlrface.types import VlrfaceError


def match_threshold(
    calibration: Calibration | None,
    *,
    match: float | None,
    fmr: float | None,
    fpir: float | None,
    space: str | None = None,
) -> float | None:
    """The least cosine of a match: as given, or as measured for a wished rate; None if nothing is given.

    Args:
        calibration: of the model.
        match: the cosine.
        fmr: or a false match rate.
        fpir: or a false positive identification rate.
        space: of the embeddings that are compared; None does not ask whether the threshold is theirs.

    Raises:
        VlrfaceError: several are given, the model has no threshold for the rate, or one of other embeddings.
    """
    if sum(each is not None for each in (match, fmr, fpir)) > 1:
        raise VlrfaceError("give one of --match, --fmr and --fpir")
    if fmr is None and fpir is None:
        return match
    if calibration is None:
        raise VlrfaceError("the model has no calibration: vlrface calibrate MODEL HELD_OUT -o MODEL, or give --match")
    if space is not None:
        calibration.check_space(space)
    point = calibration.point("fmr", fmr) if fmr is not None else calibration.point("fpir", fpir or 0.0)
    return point.threshold


def beyond_measured(calibration: Calibration | None, fpir: float | None, people: int) -> str:
    """What to know where a gallery has more people than the one in which a rate was measured; else nothing.

    Args:
        calibration: of the model, with a threshold for the rate.
        fpir: the wished false positive identification rate; None where the rules come from elsewhere.
        people: in the gallery.
    """
    measured = 0 if calibration is None or fpir is None else calibration.point("fpir", fpir).gallery_size
    if not 0 < measured < people:
        return ""
    return (
        f"warning: {people:,} people are enrolled, and the threshold for fpir {fpir:g} was measured in a gallery of "
        f"{measured:,}: more strangers than wished will get an answer. Calibrate on more held-out people"
    )


def service_thresholds(
    calibration: Calibration | None, *, match: float | None, fmr: float | None, fpir: float | None, space: str
) -> tuple[float | None, float | None]:
    """The least cosine of a candidate in a search, and that of two faces that are called the same.

    With both rates each has its own; one threshold alone serves both. Arguments and errors as `match_threshold`.
    """
    if match is None and fmr is not None and fpir is not None:
        search = match_threshold(calibration, match=None, fmr=None, fpir=fpir, space=space)
        return search, match_threshold(calibration, match=None, fmr=fmr, fpir=None, space=space)
    one = match_threshold(calibration, match=match, fmr=fmr, fpir=fpir, space=space)
    return one, one


def asked_of_faces(given: float | None, calibration: Calibration | None) -> tuple[float | None, Calibration | None]:
    """What is asked of a face that is searched or enrolled: a least score, or the word of a calibration, or nothing.

    Args:
        given: the least score; 0 asks for nothing.
        calibration: of the model; where no score is given, a face must not be one that it calls unrecognizable.

    Returns:
        Score and calibration for `gallery.Rules`; one of them at most is not None.
    """
    if given is not None:
        return given if given > 0 else None, None
    return None, calibration
