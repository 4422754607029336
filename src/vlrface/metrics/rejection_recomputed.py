"""Error versus reject with the threshold recomputed at each ratio, as published tables have it, for many measures.

The way of the published evaluation code of CR-FIQA, so that its tables and those made like them can be compared:
rejected is a share of all pairs, genuine and impostor, at the 20 ratios 0, 0.05 … 0.95; at each, the threshold is the
observed score whose false match rate among the remaining pairs is nearest to the one asked for (of two as near, the
lower score), and genuine pairs are accepted strictly above it. Pairs of equal quality are ordered by a fixed shuffle.

Scores are sorted once; a measure then only says at which of the ratios each pair is still there.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from vlrface.metrics.pairs import Pairs
from vlrface.metrics.rejection import EDC, RejectMode, faces_in, quality_levels
from vlrface.metrics.resampled import PairResamples, weighted_pairs
from vlrface.metrics.verification import check_scores

RATIOS: Final = np.arange(0, 0.98, 0.05)
"""Rejected shares of all pairs, or images, of published tables."""

_NEAR: Final = np.array([0.4, 0.6, 0.75, 0.88, 1, 1.14, 1.35, 1.7, 2.5])
_SEED: Final = 0


@dataclass(frozen=True, eq=False)
class SortedPairs:
    """Pairs by falling score.

    Attributes:
        pairs: as they came.
        genuine_order: (g,) places of the genuine pairs, highest score first.
        impostor_order: (i,) places of the impostor pairs, likewise.
        genuine: (g,) scores, falling.
        impostor: (i,) scores, falling.
        images: (u,) numbers of the faces that occur in a pair.
    """

    pairs: Pairs
    genuine_order: Int[ndarray, " g"]
    impostor_order: Int[ndarray, " i"]
    genuine: Float[ndarray, " g"]
    impostor: Float[ndarray, " i"]
    images: Int[ndarray, " u"]


class LastRatio(NamedTuple):
    """At how many of the ratios, from the first, each pair is still there; in the order of falling score."""

    genuine: UInt8[ndarray, " g"]
    impostor: UInt8[ndarray, " i"]


def sort_pairs(pairs: Pairs) -> SortedPairs:
    """Sort the scores of pairs.

    Raises:
        VlrfaceError: no pairs of one kind, or a NaN score.
    """
    check_scores(pairs.genuine, pairs.impostor)
    genuine, impostor = (np.argsort(scores)[::-1] for scores in (pairs.genuine, pairs.impostor))
    return SortedPairs(pairs, genuine, impostor, pairs.genuine[genuine], pairs.impostor[impostor], faces_in(pairs))


def last_ratios(ordered: SortedPairs, quality: Float[ndarray, " f"], *, mode: RejectMode = "pairs") -> LastRatio:
    """When each pair goes. Equal qualities go in a fixed shuffled order.

    Args:
        ordered: the pairs.
        quality: (f,) of each numbered face, larger is better; NaN goes first.
        mode: what is rejected.

    Raises:
        VlrfaceError: no quality at all, or lengths differ.
    """
    pairs = ordered.pairs
    level, _ = quality_levels(quality, len(pairs.identities))
    rng = np.random.default_rng(_SEED)
    if mode == "images":
        turn = level + rng.random(len(level))
        last = _counted_cuts(turn, turn[ordered.images])
        genuine, impostor = (
            np.minimum(last[faces[:, 0]], last[faces[:, 1]]) for faces in (pairs.genuine_faces, pairs.impostor_faces)
        )
    else:
        levels = [np.minimum(level[faces[:, 0]], level[faces[:, 1]]) for faces in _faces(pairs)]
        turn = np.concatenate(levels) + rng.random(len(pairs.genuine) + len(pairs.impostor))
        last = _counted_cuts(turn, turn)
        genuine, impostor = last[: len(pairs.genuine)], last[len(pairs.genuine) :]
    return LastRatio(genuine[ordered.genuine_order], impostor[ordered.impostor_order])


def recomputed_edc(ordered: SortedPairs, last: LastRatio, fmr: float, *, mode: RejectMode = "pairs") -> EDC:
    """The curve of one measure, as far as a pair of each kind is left.

    Args:
        ordered: the pairs.
        last: when they go, of the same mode.
        fmr: false match rate, in (0, 1].
        mode: what is rejected.
    """
    fnmr: list[float] = []
    thresholds: list[float] = []
    for place in range(len(RATIOS)):
        genuine = ordered.genuine[last.genuine > place]
        count = int(np.count_nonzero(last.impostor > place))
        if not len(genuine) or not count:
            break
        index = min(int(fmr * count), count - 1)
        top = ordered.impostor[_highest(ordered.impostor, last.impostor > place, index + 1)]
        thresholds.append(_nearest(genuine, top, index, count, fmr))
        fnmr.append(float(np.mean(genuine <= thresholds[-1])))
    return EDC(
        rejected=RATIOS[: len(fnmr)],
        fnmr=np.array(fnmr),
        threshold=float(np.nextafter(thresholds[0], np.inf)),
        fmr=fmr,
        mode=mode,
        recomputed=True,
        genuine=len(ordered.genuine),
        impostors=len(ordered.impostor),
        accepted_impostors=int(np.count_nonzero(ordered.impostor > thresholds[0])),
    )


def resampled_recomputed(
    ordered: SortedPairs, last: LastRatio, fmr: float, drawn: PairResamples
) -> Float[ndarray, "r 20"]:
    """The curve of `recomputed_edc` under each resample of people.

    Which pairs are rejected at a ratio stays as it is on the data; the threshold is found anew, on straight lines
    between some thresholds near that of the data.

    Args:
        ordered: the pairs.
        last: when they go.
        fmr: false match rate.
        drawn: resamples of the same pairs.

    Returns:
        (r, 20) false non-match rates; NaN where no pair of a kind is left. Row 0 has all weights one.
    """
    rates = np.full((len(drawn.weights), len(RATIOS)), np.nan)
    by_person = np.ascontiguousarray(drawn.weights.T)
    number = drawn.people.number.astype(np.int32)
    impostors = number[ordered.pairs.impostor_faces][ordered.impostor_order]
    genuine = number[ordered.pairs.genuine_faces[:, 0]][ordered.genuine_order]
    # Weighted number of impostor pairs that are there up to each ratio and no longer.
    goes = [
        weighted_pairs(impostors[last.impostor == place + 1], by_person) if (last.impostor == place + 1).any() else 0
        for place in range(len(RATIOS))
    ]
    left = np.zeros(len(drawn.weights))
    for place in reversed(range(len(RATIOS))):
        left = left + goes[place]
        alive = last.impostor > place
        count = int(np.count_nonzero(alive))
        if count and (last.genuine > place).any():
            near = np.unique(np.clip(np.round(_NEAR * fmr * count), 0, count - 1).astype(np.int64))
            top = _highest(ordered.impostor, alive, int(near[-1]) + 1)
            thresholds = np.unique(ordered.impostor[top[near]])[::-1]
            far = _accepted(ordered.impostor[top], impostors[top], thresholds, by_person)
            there = np.flatnonzero(last.genuine > place)
            found = _weighted_accepted(ordered.genuine[there], genuine[there], thresholds, drawn)
            rates[:, place] = _at_rate(fmr, far, left, found)
    return rates


def _faces(pairs: Pairs) -> tuple[Int[ndarray, "g 2"], Int[ndarray, "i 2"]]:
    return pairs.genuine_faces, pairs.impostor_faces


def _counted_cuts(turn: Float[ndarray, " n"], units: Float[ndarray, " u"]) -> UInt8[ndarray, " n"]:
    """How many of the ratios each turn survives, when so large a share of the units goes."""
    places = [int(ratio * len(units)) for ratio in RATIOS.tolist()]
    cuts = np.partition(units, np.unique(places))[places]
    return np.searchsorted(cuts, turn, "right").astype(np.uint8)


def _highest(falling: Float[ndarray, " i"], alive: ndarray, wanted: int) -> Int[ndarray, " k"]:
    """Places of the highest scores that are still there: `wanted` of them, and all down to the next lower score."""
    length = max(1024, 4 * wanted)
    while True:
        top = np.flatnonzero(alive[:length])
        whole = length >= len(falling)
        if whole or (len(top) > wanted and falling[top[-1]] < falling[top[wanted - 1]]):
            return top
        length *= 4


def _nearest(genuine: Float[ndarray, " g"], top: Float[ndarray, " k"], index: int, count: int, fmr: float) -> float:
    """The observed score whose false match rate is nearest to `fmr`, the lower of two as near.

    Args:
        genuine: falling scores.
        top: falling impostor scores, as far as the next one below the score at `index`.
        index: where the rate passes `fmr`.
        count: number of impostor pairs.
        fmr: false match rate.
    """
    v = top[index]
    above, from_v = (len(top) - int(np.searchsorted(top[::-1], v, side)) for side in ("right", "left"))
    higher_genuine = genuine[genuine > v]
    higher = [float(each[-1]) for each in (top[:above], higher_genuine) if len(each)]
    if higher and abs(above / count - fmr) < abs(from_v / count - fmr):
        return min(higher)
    # Scores between the next lower impostor and v accept the same impostors as v: the lowest of them is taken.
    lower = float(top[from_v]) if from_v < len(top) else -np.inf
    between = genuine[genuine > lower]
    return min(float(v), float(between[-1]) if len(between) else np.inf)


def _accepted(
    falling: Float[ndarray, " k"],
    persons: Int[ndarray, "k 2"],
    thresholds: Float[ndarray, " t"],
    by_person: ndarray,
) -> Float[ndarray, "r t"]:
    """Weighted number of impostor pairs above each threshold, of falling thresholds."""
    stops = len(falling) - np.searchsorted(falling[::-1], thresholds, "right")
    parts = np.zeros((by_person.shape[1], len(thresholds)))
    for column, (start, stop) in enumerate(zip([0, *stops[:-1].tolist()], stops.tolist(), strict=True)):
        if stop > start:
            parts[:, column] = weighted_pairs(persons[start:stop], by_person)
    return np.cumsum(parts, axis=1)


def _weighted_accepted(
    falling: Float[ndarray, " g"], persons: Int[ndarray, " g"], thresholds: Float[ndarray, " t"], drawn: PairResamples
) -> Float[ndarray, "r t"]:
    """Weighted share of genuine pairs above each threshold; NaN where none has weight."""
    bins = len(thresholds) - np.searchsorted(thresholds[::-1], falling, "left")
    table = np.zeros((drawn.people.total, len(thresholds) + 1))
    np.add.at(table, (persons, bins), 1)
    running = np.cumsum(drawn.weights @ table, axis=1)
    return np.divide(
        running[:, :-1], running[:, -1:], out=np.full(running[:, :-1].shape, np.nan), where=running[:, -1:] > 0
    )


def _at_rate(
    fmr: float, accepted: Float[ndarray, "r t"], left: Float[ndarray, " r"], found: Float[ndarray, "r t"]
) -> Float[ndarray, " r"]:
    """False non-match rate where the accepted share reaches `fmr`; the nearest threshold's beyond all of them."""
    rates = np.full(len(left), np.nan)
    for row in np.flatnonzero(left > 0):
        rates[row] = 1 - np.interp(fmr, accepted[row] / left[row], found[row])
    return rates
