"""Thresholds for a wished rate: what each was measured to do, on how much, and how sure that is.

Four wishes are known:

- "fmr": a cosine from which at most a share of the pairs of different people match (one to one);
- "fpir": a cosine from which at most a share of the searches of strangers get an answer (one to many);
- "accept": a score from which at least a share of the faces is accepted;
- "fnmr": a score from which at most a share of the genuine pairs of accepted faces is missed, at a stated FMR.

A rate that fewer than `FEWEST` events decide is refused: with ten of them the truth lies within about half and twice
the rate (Poisson), with none anything up to three divided by their number would look the same.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.metrics.intervals import people_of, percentile_interval, person_weights
from vlrface.metrics.pairs import Pairs
from vlrface.metrics.resampled import resample_pairs
from vlrface.metrics.verification import accepted_at_far, just_above, tpr_at_far
from vlrface.types import VlrfaceError

Wish = Literal["fmr", "fpir", "accept", "fnmr"]

FEWEST: Final = 10
"""Events that must decide a rate, as in `rejection.FEWEST_IMPOSTORS`."""

_BLOCK: Final = 2**24


@dataclass(frozen=True)
class Point:
    """A threshold, and what it did on the people it was chosen on.

    Attributes:
        wish: which rate was wished for.
        wished: that rate, in (0, 1).
        threshold: the lowest cosine ("fmr", "fpir") or score ("accept", "fnmr") that is accepted.
        threshold_low: lower 95 % limit, other people having been drawn to choose it on; NaN with one person.
        threshold_high: upper limit; NaN where more than 2.5 % of the draws find no threshold at all ("fnmr").
        rate: the measured rate at the threshold.
        rate_low: lower 95 % limit of the rate at this threshold, other people having been drawn.
        rate_high: upper limit.
        cost: what it costs, a share: "fmr": missed genuine pairs (FNMR); "fpir": searches of enrolled people that are
            not answered with the right person first; "accept": accepted faces whose best match is wrong, searched among
            as many faces as the score is about; "fnmr": faces that are rejected. NaN where nothing tells.
        cost_low: lower 95 % limit of the cost.
        cost_high: upper limit.
        counted: of how many pairs, searches or faces `rate` is a share.
        people: whose they are.
        gallery_size: "fpir": people in the gallery that was searched; else 0.
        at_fmr: "fnmr": the false match rate at whose cosine pairs were judged; else 0.
    """

    wish: Wish
    wished: float
    threshold: float
    threshold_low: float
    threshold_high: float
    rate: float
    rate_low: float
    rate_high: float
    cost: float
    cost_low: float
    cost_high: float
    counted: int
    people: int
    gallery_size: int = 0
    at_fmr: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, null for NaN."""
        return {key: None if value != value else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Any) -> "Point":
        """What `to_json` gave.

        Raises:
            VlrfaceError: it is something else.
        """
        whole = {"counted", "people", "gallery_size"}
        if not isinstance(values, dict) or set(values) != {field.name for field in fields(cls)}:
            raise VlrfaceError("not a threshold of a calibration. Calibrate again (`vlrface calibrate`)")
        numbers = {key: float("nan") if value is None else value for key, value in values.items() if key != "wish"}
        if values["wish"] not in get_args(Wish) or any(
            isinstance(v, bool) or not isinstance(v, int | float) for v in numbers.values()
        ):
            raise VlrfaceError("not a threshold of a calibration. Calibrate again (`vlrface calibrate`)")
        typed: dict[str, Any] = {k: int(v) if k in whole else float(v) for k, v in numbers.items()}
        return cls(wish=values["wish"], **typed)


def fmr_point(pairs: Pairs, fmr: float, *, resamples: int = 1000, seed: int = 0) -> Point:
    """The lowest cosine that at most a share of the impostor pairs reaches (`verification.tpr_at_far`).

    Intervals draw people: an impostor pair weighs the product of its two people's weights (`resampled`).

    Raises:
        VlrfaceError: a rate outside (0, 1), no pairs of one kind, or too few impostor pairs.
    """
    _check_rate(fmr)
    allowed = accepted_at_far(fmr, len(pairs.impostor))
    if allowed < FEWEST:
        faces = int(np.ceil(np.sqrt(2 * FEWEST / fmr)))
        raise VlrfaceError(
            f"FMR {fmr:g} of {len(pairs.impostor):,} pairs of different people is {allowed} pairs, fewer than {FEWEST}:"
            f" take about {faces:,} faces or more, or a larger rate"
        )
    point = tpr_at_far(pairs.genuine, pairs.impostor, fmr)
    drawn = resample_pairs(pairs, fars=(fmr,), resamples=resamples, seed=seed)
    column = int(np.argmin(np.abs(drawn.threshold - point.threshold)))
    high, low, share = drawn.around(fmr)
    thresholds = high + share * (low - high)
    rate = float(np.mean(pairs.impostor >= point.threshold))
    values = np.array([point.threshold, rate, 1 - point.tpr])
    samples = np.stack([thresholds, drawn.far[:, column], 1 - drawn.tpr[:, column]], axis=1)
    found = percentile_interval(values, samples[1:] + (values - samples[0]), people=drawn.people.total)
    return _point("fmr", fmr, found.low, found.high, values, len(pairs.impostor), drawn.people.total)


def fpir_point(
    best: Float[ndarray, " n"],
    found: Float[ndarray, " m"],
    identities: Int[ndarray, " n"],
    mated_identities: Int[ndarray, " m"],
    fpir: float,
    *,
    gallery_size: int,
    resamples: int = 1000,
    seed: int = 0,
) -> Point:
    """The lowest cosine that the best answer to at most a share of the searches of strangers reaches.

    Intervals draw the people who are searched for; the gallery stays, so that they are a little too narrow where it
    holds the same people: of 200 simulated samples of 60 people, 95 % intervals of the rate held the truth in 181 with
    a gallery of all the others, in 189 with one of 30.

    Args:
        best: (n,) highest cosine of each search of somebody who is not enrolled.
        found: (m,) cosine of the right answer of each search of somebody enrolled, where it comes first; else -inf.
        identities: (n,) who was searched for.
        mated_identities: (m,) likewise.
        fpir: the wished rate.
        gallery_size: people enrolled.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        VlrfaceError: a rate outside (0, 1), or too few searches.
    """
    _check_rate(fpir)
    allowed = accepted_at_far(fpir, len(best))
    if allowed < FEWEST:
        raise VlrfaceError(
            f"FPIR {fpir:g} of {len(best):,} searches is {allowed} answers, fewer than {FEWEST}: take "
            f"{int(np.ceil(FEWEST / fpir)):,} faces or more, or a larger rate"
        )
    threshold = float(just_above(np.sort(best)[len(best) - 1 - allowed, None])[0])
    people = people_of(np.concatenate([identities, mated_identities]))
    strangers, mates = people.number[: len(best)], people.number[len(best) :]
    answered = best >= threshold
    values = np.array([threshold, answered.mean(), (found < threshold).mean() if len(found) else np.nan])
    order = np.argsort(-best, kind="stable")

    def statistic(weights: Float[ndarray, "r c"]) -> Float[ndarray, "r 3"]:
        each = weights[:, strangers[order]].astype(np.float64)
        total = each.sum(axis=1, keepdims=True)
        # The first search that no longer fits within the rate sets the threshold.
        place = np.minimum((np.cumsum(each, axis=1) <= fpir * total + 1e-9).sum(axis=1), len(best) - 1)
        return np.stack(
            [
                just_above(best[order][place]),
                _share(each, answered[order]),
                _share(weights[:, mates].astype(np.float64), found < threshold),
            ],
            axis=1,
        )

    low, high = _limits(values, statistic, people.total, len(best) + len(found), resamples, seed)
    return _point("fpir", fpir, low, high, values, len(best), people.total, gallery_size=gallery_size)


def accept_point(
    scores: Float[ndarray, " n"],
    correct: Bool[ndarray, " n"] | Float[ndarray, " n"],
    identities: Int[ndarray, " n"],
    share: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Point:
    """The highest score that at least a share of the faces reaches.

    Args:
        scores: (n,) in [0, 1]; a face that could not be encoded is left out before.
        correct: (n,) whether the best match of the face is right, or the chance that it is.
        identities: (n,) whose faces.
        share: the wished share of accepted faces.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        VlrfaceError: a share outside (0, 1), too few faces, or the same score for all.
    """
    _check_rate(share)
    _check_scores(scores)
    if min(share, 1 - share) * len(scores) < FEWEST:
        raise VlrfaceError(
            f"a share of {share:g} of {len(scores):,} faces leaves fewer than {FEWEST} on one side: take "
            f"{int(np.ceil(FEWEST / min(share, 1 - share) - 1e-9)):,} faces or more"
        )
    order = np.argsort(-scores, kind="stable")
    needed = int(np.ceil(share * len(scores) - 1e-9))
    threshold = float(scores[order[needed - 1]])
    accepted = scores >= threshold
    people = people_of(identities)
    wrong = 1.0 - correct
    values = np.array([threshold, accepted.mean(), wrong[accepted].mean()])

    def statistic(weights: Float[ndarray, "r c"]) -> Float[ndarray, "r 3"]:
        each = weights[:, people.number].astype(np.float64)
        running = np.cumsum(each[:, order], axis=1)
        place = np.minimum((running < share * running[:, -1:] - 1e-9).sum(axis=1), len(scores) - 1)
        cost = _share(each * accepted, wrong)
        return np.stack([scores[order][place], _share(each, accepted), cost], axis=1)

    low, high = _limits(values, statistic, people.total, len(scores), resamples, seed)
    return _point("accept", share, low, high, values, len(scores), people.total)


def fnmr_point(
    pairs: Pairs,
    scores: Float[ndarray, " f"],
    fnmr: float,
    *,
    at_fmr: float,
    resamples: int = 1000,
    seed: int = 0,
) -> Point:
    """The lowest score at which at most a share of the genuine pairs, both faces accepted, is missed.

    Pairs are judged at the cosine of a false match rate on all pairs, whatever is accepted later.

    Args:
        pairs: of both kinds.
        scores: (f,) of each numbered face, in [0, 1].
        fnmr: the wished rate.
        at_fmr: the false match rate.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        VlrfaceError: a rate outside (0, 1), too few pairs, the same score for all, or a rate that no score reaches.
    """
    _check_rate(fnmr)
    _check_scores(scores)
    cosine = fmr_point(pairs, at_fmr, resamples=1, seed=seed).threshold
    quality = scores[pairs.genuine_faces].min(axis=1)
    missed = pairs.genuine < cosine
    order = np.argsort(-quality, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(quality[order])), len(order) - 1)  # equal scores go together
    enough = ends + 1 >= FEWEST / fnmr
    if not enough.any():
        raise VlrfaceError(
            f"FNMR {fnmr:g} needs {int(np.ceil(FEWEST / fnmr)):,} genuine pairs or more, not {len(quality):,}"
        )
    rates = np.cumsum(missed[order])[ends] / (ends + 1)
    reached = np.flatnonzero(enough & (rates <= fnmr))
    if not len(reached):
        raise VlrfaceError(
            f"no score brings the FNMR of the accepted down to {fnmr:g} at FMR {at_fmr:g}: the least is "
            f"{rates[enough].min():.3g}, of {len(quality):,} genuine pairs. Wish for more, or take a larger FMR"
        )
    threshold = float(quality[order][ends[reached[-1]]])
    people = people_of(pairs.identities)
    persons = people.number[pairs.genuine_faces[:, 0]]
    faces = np.unique(np.concatenate([pairs.genuine_faces.ravel(), pairs.impostor_faces.ravel()]))
    accepted, face_persons = quality >= threshold, people.number[faces]
    rejected = scores[faces] < threshold
    values = np.array([threshold, missed[accepted].mean(), rejected.mean()])

    def statistic(weights: Float[ndarray, "r c"]) -> Float[ndarray, "r 3"]:
        each = weights[:, persons].astype(np.float64)
        kept, lost = np.cumsum(each[:, order], axis=1)[:, ends], np.cumsum((each * missed)[:, order], axis=1)[:, ends]
        good = enough & (lost <= fnmr * kept) & (kept > 0)
        last = len(ends) - 1 - np.argmax(good[:, ::-1], axis=1)
        chosen = np.where(good.any(axis=1), quality[order][ends[last]], np.inf)  # no score would do
        rate = _share(each * accepted, missed)
        return np.stack([chosen, rate, _share(weights[:, face_persons].astype(np.float64), rejected)], axis=1)

    low, high = _limits(values, statistic, people.total, len(quality) + len(faces), resamples, seed)
    return _point("fnmr", fnmr, low, high, values, int(accepted.sum()), people.total, at_fmr=at_fmr)


def _point(
    wish: Wish,
    wished: float,
    low: Float[ndarray, " 3"],
    high: Float[ndarray, " 3"],
    values: Float[ndarray, " 3"],
    counted: int,
    people: int,
    *,
    gallery_size: int = 0,
    at_fmr: float = 0.0,
) -> Point:
    (threshold, rate, cost), (t0, r0, c0), (t1, r1, c1) = values.tolist(), low.tolist(), high.tolist()
    return Point(wish, wished, threshold, t0, t1, rate, r0, r1, cost, c0, c1, counted, people, gallery_size, at_fmr)


def _limits(
    values: Float[ndarray, " 3"], statistic: Any, people: int, items: int, resamples: int, seed: int
) -> tuple[Float[ndarray, " 3"], Float[ndarray, " 3"]]:
    """95 % limits of a statistic under weights of people, computed in blocks of bounded memory."""
    weights = person_weights(people, resamples, seed)
    step = max(1, _BLOCK // max(items, people))
    samples = np.concatenate([statistic(weights[start : start + step]) for start in range(0, resamples, step)])
    found = percentile_interval(values, samples, people=people)
    if np.isposinf(samples[:, 0]).any():  # left out of percentiles they would make the threshold look surer than it is
        ordered = np.sort(samples[:, 0])
        low, high = ordered[int(0.025 * (resamples - 1))], ordered[int(np.ceil(0.975 * (resamples - 1)))]
        found.low[0], found.high[0] = (each if np.isfinite(each) else np.nan for each in (low, high))
    return found.low, found.high


def _share(weights: Float[ndarray, "r n"], marked: Bool[ndarray, " n"] | Float[ndarray, " n"]) -> Float[ndarray, " r"]:
    """Weighted share of what is marked, by halves too; NaN without weight."""
    total = weights.sum(axis=1)
    return np.divide(weights @ marked, total, out=np.full(len(weights), np.nan), where=total > 0)


def _check_rate(rate: float) -> None:
    if not 0 < rate < 1:
        raise VlrfaceError(f"a wished rate lies between 0 and 1, not at {rate:g}")


def _check_scores(scores: Float[ndarray, " n"]) -> None:
    if not len(scores) or np.ptp(scores) == 0:
        raise VlrfaceError("all faces have the same score, so no threshold tells them apart")
