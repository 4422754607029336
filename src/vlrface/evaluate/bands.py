"""Figures split by face: bands of size in pixels, and fifths of recognizability.

A band holds whole items: a probe belongs to the band of its face, a pair to that of its smaller, or less recognizable,
face. A face of unknown size or without an index is in no band.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.evaluate.findings import Findings, index_of
from vlrface.evaluate.recognizability import SIZE_BANDS
from vlrface.metrics.identification import Ranks
from vlrface.metrics.intervals import bootstrap_means
from vlrface.metrics.pairs import Pairs
from vlrface.metrics.resampled import PairResamples
from vlrface.metrics.verification import tpr_at_far
from vlrface.types import Faces

BANDED_FAR: Final = 0.01
"""The one false accept rate whose figure is split."""

_SIZES: Final = ((1, SIZE_BANDS[0][0]), *SIZE_BANDS)
_PARTS: Final = 5


@dataclass(frozen=True, eq=False)
class Banding:
    """Faces sorted into bands of one property.

    Attributes:
        names: of the bands, as a figure's name has them, the hardest first.
        level: (n,) number of each face's band, -1 where it is in none.
    """

    names: tuple[str, ...]
    level: Int[ndarray, " n"]

    def filled(self) -> list[int]:
        """Numbers of the bands that hold anything."""
        return np.unique(self.level[self.level >= 0]).tolist()


def by_size(faces: Faces) -> Banding:
    """Bands "size=1-12", then those of `recognizability.SIZE_BANDS`: "size=12-16" … "size=32+"."""
    starts = np.array([low for low, _ in _SIZES])
    names = tuple(f"size={low}-{high}" if high else f"size={low}+" for low, high in _SIZES)
    return Banding(names, np.where(faces.sizes > 0, np.searchsorted(starts, faces.sizes, "right") - 1, -1))


def by_recognizability(faces: Faces) -> Banding:
    """Fifths "recognizability=1of5" (the lowest) … "recognizability=5of5" of the faces that have an index.

    Fifths are by rank among these faces; faces of equal index share the band of the first of them.
    """
    index = index_of(faces).astype(np.float64)
    known = np.isfinite(index)
    level = np.full(len(faces), -1, np.int64)
    place = np.searchsorted(np.sort(index[known]), index[known], "left")
    level[known] = place * _PARTS // max(1, int(known.sum()))
    return Banding(tuple(f"recognizability={k}of{_PARTS}" for k in range(1, _PARTS + 1)), level)


def bands_of(faces: Faces) -> list[tuple[str, Bool[ndarray, " n"]]]:
    """The bands of some faces that are worth a figure: those of each property that tells the faces apart.

    Args:
        faces: e.g. the probes.

    Returns:
        (name, (n,) mask) of each band that holds a face; none of a property that puts all its faces into one band.
    """
    return [
        (banding.names[k], banding.level == k)
        for banding in (by_size(faces), by_recognizability(faces))
        for k in _worth_a_figure(banding)
    ]


def measure_rank1_by_band(found: Findings, ranks: Ranks, probes: Faces) -> None:
    """Figures "rank1@size=A-B", "rank1@recognizability=Kof5" over the probes of each band; counts of them.

    Args:
        found: where they go.
        ranks: one row per probe.
        probes: the probes, in the same order.
    """
    first = (ranks.first_mate == 1).astype(np.float64)
    _note_unsplit(found, probes, "rank-1")
    for name, inside in bands_of(probes):
        found.counts[f"probes@{name}"] = int(inside.sum())
        found.add(
            f"rank1@{name}",
            bootstrap_means(first[inside, None], ranks.identities[inside], resamples=found.resamples, seed=found.seed),
        )


def measure_tpr_by_band(
    found: Findings, pairs: Pairs, drawn: PairResamples, faces: Faces, far: float = BANDED_FAR
) -> None:
    """Figures "tpr@far=F,size=A-B", "tpr@far=F,recognizability=Kof5"; counts of genuine pairs.

    Only genuine pairs are split; the threshold is the one at `far` on all pairs, in each resample too. Impostor pairs
    split by band would answer another question, each band then having a threshold of its own.

    Args:
        found: where they go.
        pairs: scored pairs.
        drawn: resamples of them, with thresholds placed at `far`.
        faces: the numbered faces of the pairs.
        far: false accept rate.
    """
    threshold = tpr_at_far(pairs.genuine, pairs.impostor, far).threshold
    accepted = (pairs.genuine >= threshold).astype(np.float64)
    person = drawn.people.number[pairs.genuine_faces[:, 0]]
    _note_unsplit(found, faces, f"TPR at FAR {far:g}")
    for banding in (by_size(faces), by_recognizability(faces)):
        # The harder of two bands is the one of the smaller number; -1 (in no band) takes the pair out.
        of_pair = Banding(banding.names, banding.level[pairs.genuine_faces].min(axis=1))
        for k in _worth_a_figure(of_pair):
            inside = of_pair.level == k
            name = f"tpr@far={far:g},{banding.names[k]}"
            found.counts[f"genuine_pairs@{banding.names[k]}"] = int(inside.sum())
            curves = replace(drawn, tpr=_resampled_tpr(drawn, pairs.genuine[inside], person[inside]))
            rate = drawn.sampled(np.array([accepted[inside].mean()]), curves.tpr_at(np.array([far])))
            found.add(name, rate._replace(people=len(np.unique(person[inside]))))


def _worth_a_figure(banding: Banding) -> list[int]:
    filled = banding.filled()
    return filled if len(filled) > 1 else []


def _note_unsplit(found: Findings, faces: Faces, what: str) -> None:
    for banding, kind, missing in (
        (by_size(faces), "size", "no face has a known size"),
        (by_recognizability(faces), "recognizability", "no face has an index"),
    ):
        filled = banding.filled()
        if len(filled) < 2:
            reason = f"all faces are in the band {banding.names[filled[0]]}" if filled else missing
            found.left_out.append(f"{what} by {kind}: {reason}")


def _resampled_tpr(
    drawn: PairResamples, genuine: Float[ndarray, " g"], person: Int[ndarray, " g"]
) -> Float[ndarray, "r t"]:
    """Share of some genuine pairs accepted at the thresholds of the resamples; NaN where none, or no impostor, is."""
    bins = len(drawn.threshold) - np.searchsorted(drawn.threshold[::-1], genuine, "right")
    counts = np.zeros((drawn.weights.shape[1], len(drawn.threshold) + 1))
    np.add.at(counts, (person, bins), 1)
    running = np.cumsum(drawn.weights.astype(np.float64) @ counts, axis=1)
    there = (running[:, -1:] > 0) & ~np.isnan(drawn.far[:, :1])
    return np.divide(running[:, :-1], running[:, -1:], out=np.full(running[:, :-1].shape, np.nan), where=there)
