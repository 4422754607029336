"""Verification under resampling of people: whole curves of all resamples at once.

Recomputing a curve from millions of pairs for each of a thousand resamples would take hours. Here the impostor pairs
are cut once at some tens of thresholds; between two of them only the number of pairs of each two people matters, and
the weighted number of pairs is a quadratic form in the weights: one matrix product a threshold. Curves are exact at the
thresholds and straight between them; intervals are shifted by what that costs on the data themselves, so that values
and intervals belong together.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, UInt16
from numpy import ndarray

from vlrface.metrics.intervals import People, Sampled, people_of, person_weights
from vlrface.metrics.pairs import Pairs
from vlrface.metrics.verification import accepted_at_far, check_scores, equal_error
from vlrface.types import VlrfaceError

_PRODUCTS_AT_ONCE = 2**23
_CLOSE = np.array([0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.25])
_GATHER_COST = 100  # one gathered pair costs as much as this many multiply-adds of a matrix product, measured


@dataclass(frozen=True, eq=False)
class PairResamples:
    """The verification curve of all resamples. Row 0 has all weights one: the data themselves.

    Attributes:
        people: person number of each face of the pairs.
        weights: (r, c) how often each person was drawn.
        threshold: (t,) descending; the last one accepts every impostor pair.
        far: (r, t) weighted share of impostor pairs accepted.
        tpr: (r, t) weighted share of genuine pairs accepted. Both NaN in a resample that drew no pair of one kind.
    """

    people: People
    weights: Float32[ndarray, "r c"]
    threshold: Float[ndarray, " t"]
    far: Float[ndarray, "r t"]
    tpr: Float[ndarray, "r t"]

    def tpr_at(self, far: Float[ndarray, " k"]) -> Float[ndarray, "r k"]:
        """True positive rate at false accept rates, on straight lines between the thresholds."""
        return np.stack([np.interp(far, x, y) for x, y in zip(self.far, self.tpr, strict=True)])

    def around(self, far: float) -> tuple[Float[ndarray, " r"], Float[ndarray, " r"], Float[ndarray, " r"]]:
        """The thresholds on both sides of a false accept rate, and how far between them it lies.

        Returns:
            Higher threshold, lower threshold, and the share in [0, 1] of the way to the lower one: what `tpr_at` mixes.
            NaN where the curve is.
        """
        lower = np.argmax(self.far > far, axis=1)  # 0 if the last threshold is still within the rate
        lower[self.far[:, -1] <= far] = len(self.threshold) - 1
        higher = np.maximum(lower - 1, 0)
        start, stop = (np.take_along_axis(self.far, place[:, None], 1)[:, 0] for place in (higher, lower))
        share = np.divide(far - start, stop - start, out=np.ones(len(start)), where=stop > start)
        share[np.isnan(start)] = np.nan
        return self.threshold[higher], self.threshold[lower], share

    def auc(self) -> Float[ndarray, " r"]:
        """Area under each curve."""
        far, tpr = self._with_ends()
        return np.trapezoid(tpr, far, axis=1)

    def eer(self) -> Float[ndarray, " r"]:
        """Equal error rate of each curve."""
        return np.where(np.isnan(self.far[:, 0]), np.nan, equal_error(*self._with_ends()))

    def sampled(self, value: Float[ndarray, " k"], samples: Float[ndarray, "r k"], *, largest: float = 1.0) -> Sampled:
        """Exact values with their resamples, row 0 being the approximation on the data themselves.

        Args:
            value: (k,) exact.
            samples: (r, k), one row per row of `weights`.
            largest: samples are kept within 0 and this.
        """
        shifted = np.clip(samples[1:] + (value - samples[0]), 0, largest)
        return Sampled(np.asarray(value, np.float64), shifted, self.people.total)

    def _with_ends(self) -> tuple[Float[ndarray, "r u"], Float[ndarray, "r u"]]:
        """The curves from (0, 0) to (1, 1)."""
        zero, one = np.zeros((len(self.far), 1)), np.ones((len(self.far), 1))
        return np.hstack([zero, self.far, one]), np.hstack([zero, self.tpr, one])


def resample_pairs(
    pairs: Pairs, *, fars: tuple[float, ...] = (), resamples: int = 1000, seed: int = 0
) -> PairResamples:
    """Draw people and compute the verification curve of each draw.

    A genuine pair weighs as much as its person, an impostor pair the product of its two people's weights. Faces of
    negative identity are people of their own.

    Args:
        pairs: at least one of each kind.
        fars: false accept rates that will be asked for: thresholds are placed there and close by.
        resamples: number of draws.
        seed: of the draw, as in `intervals.person_weights`.

    Raises:
        VlrfaceError: no pairs of one kind, a NaN score, a genuine pair of two people, or no resamples.
    """
    check_scores(pairs.genuine, pairs.impostor)
    people = people_of(pairs.identities)
    persons = people.number[pairs.genuine_faces]
    if (persons[:, 0] != persons[:, 1]).any():
        raise VlrfaceError("a genuine pair has faces of two people: check the identities of the pairs")
    weights = np.concatenate([np.ones((1, people.total), np.float32), person_weights(people.total, resamples, seed)])
    threshold = _thresholds(pairs.impostor, fars)
    genuine = np.zeros((people.total, len(threshold) + 1))
    np.add.at(genuine, (persons[:, 0], _bins(pairs.genuine, threshold)), 1)
    tpr = _cumulative_shares(weights.astype(np.float64) @ genuine)
    impostors = people.number.astype(np.int32)[pairs.impostor_faces]
    far = _cumulative_shares(_weighted_by_bin(impostors, _bins(pairs.impostor, threshold), len(threshold), weights))
    undefined = np.isnan(far[:, 0]) | np.isnan(tpr[:, 0])
    far[undefined] = tpr[undefined] = np.nan
    return PairResamples(people, weights, threshold, far, tpr)


def _thresholds(impostor: Float[ndarray, " i"], fars: tuple[float, ...]) -> Float[ndarray, " t"]:
    """Thresholds, descending: where few impostors are accepted, evenly, and close together at the rates asked for."""
    count = len(impostor)
    wanted = np.array([accepted_at_far(far, count) for far in fars], np.float64)
    accepted = np.concatenate([[0], np.geomspace(1, count, 25), np.linspace(0, count, 11), *np.outer(_CLOSE, wanted)])
    places = np.unique(np.minimum(np.round(accepted), count).astype(np.int64))
    ordered = np.sort(impostor)
    above = np.nextafter(ordered[count - 1 - places[places < count]], np.array(np.inf, ordered.dtype))
    return np.unique(np.append(above, ordered[0]))[::-1].astype(np.float64)


def _bins(scores: Float[ndarray, " n"], threshold: Float[ndarray, " t"]) -> UInt16[ndarray, " n"]:
    """Number of the first (highest) threshold that accepts each score; t for a score below all."""
    ascending = threshold[::-1].astype(scores.dtype)
    return (len(threshold) - np.searchsorted(ascending, scores, "right")).astype(np.uint16)


def _cumulative_shares(per_bin: Float[ndarray, "r b"]) -> Float[ndarray, "r t"]:
    """Share up to each bin; whatever is in the last bin (below all thresholds) only counts in the total."""
    running = np.cumsum(per_bin, axis=1)
    total = running[:, -1:]
    return np.divide(running[:, :-1], total, out=np.full(running[:, :-1].shape, np.nan), where=total > 0)


def _weighted_by_bin(
    persons: Int[ndarray, "i 2"], bins: UInt16[ndarray, " i"], count: int, weights: Float32[ndarray, "r c"]
) -> Float[ndarray, "r b"]:
    """Sum of w_a · w_b over the impostor pairs of each bin."""
    order = np.argsort(bins, kind="stable")
    stops = np.cumsum(np.bincount(bins, minlength=count + 1))
    totals = np.zeros((len(weights), count + 1))
    by_person = np.ascontiguousarray(weights.T)
    for column, (start, stop) in enumerate(zip(np.append(0, stops[:-1]), stops, strict=True)):
        if stop > start:
            totals[:, column] = weighted_pairs(persons[order[start:stop]], by_person)
    return totals


def weighted_pairs(persons: Int[ndarray, "p 2"], by_person: Float32[ndarray, "c r"]) -> Float[ndarray, " r"]:
    """Sum of w_a · w_b over pairs of people, for each resample.

    Few pairs are gathered one by one; many are counted into a matrix of people by people, whose quadratic form is the
    same sum.

    Args:
        persons: (p, 2) person numbers.
        by_person: (c, r) weights, a row per person.

    Returns:
        (r,) sums.
    """
    rows, first = _compact(persons[:, 0], len(by_person))
    columns, second = _compact(persons[:, 1], len(by_person))
    if len(persons) * _GATHER_COST < len(rows) * len(columns):
        return _gathered(persons, by_person)
    counts = np.bincount(first * len(columns) + second, minlength=len(rows) * len(columns))
    matrix = counts.reshape(len(rows), len(columns)).astype(np.float32)
    return np.einsum("cr,cr->r", by_person[rows], matrix @ by_person[columns], dtype=np.float64)


def _compact(persons: Int[ndarray, " p"], people: int) -> tuple[Int[ndarray, " q"], Int[ndarray, " p"]]:
    """The distinct persons, and the place of each among them. As `np.unique`, without a sort."""
    present = np.zeros(people, bool)
    present[persons] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[persons]


def _gathered(persons: Int[ndarray, "p 2"], by_person: Float32[ndarray, "c r"]) -> Float[ndarray, " r"]:
    total = np.zeros(by_person.shape[1])
    step = max(1, _PRODUCTS_AT_ONCE // by_person.shape[1])
    for start in range(0, len(persons), step):
        part = persons[start : start + step]
        total += np.einsum("pr,pr->r", by_person[part[:, 0]], by_person[part[:, 1]])
    return total
