"""Open-set identification: find the people who are enrolled, and nobody else. Exact order statistics, no grid.

A mated probe shows an enrolled person, an unmated probe a stranger. Both are searched among the templates of the
gallery, one per person, and candidates scoring at least a threshold t are reported:

- FPIR(t), false positive identification rate: share of unmated probes with any template scoring at least t;
- TPIR_r(t), true positive identification rate: share of **all** mated probes whose mate is among the best r templates
  and scores at least t.

Ties count against the system: a template of somebody else that scores the same as the mate ranks before it, and a mate
that scores the same as a stranger's best template cannot be accepted without it. A mated probe that was not encoded, or
whose person has no template, is a miss at every threshold. An unmated probe that was not encoded is left out of FPIR
and counted: a failure must not look like a stranger rightly refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from vlrface.metrics.cosine import UnitRows, check_same_width, copied_rows, unit_rows
from vlrface.metrics.templates import Templates
from vlrface.metrics.verification import accepted_at_far, just_above
from vlrface.types import VlrfaceError

_BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True, eq=False)
class OpenSetSearch:
    """What a search with each probe found. One row per probe, none dropped.

    Attributes:
        rank: (m,) place of the mate of each mated probe among all templates, from 1; 0 if there is none, or one of both
            was not encoded: a miss.
        mate_score: (m,) cosine of probe and mate; -inf for a miss.
        identities: (m,) of the mated probes.
        mates: (m,) number of templates of the same person, 0 or 1, encoded or not.
        best: (u,) highest score of each unmated probe; NaN if it was not encoded, -inf if no template was.
        strangers: (u,) identities of the unmated probes; negative where not known.

    Raises:
        VlrfaceError: a score of a mated probe is NaN.
    """

    rank: Int[ndarray, " m"]
    mate_score: Float[ndarray, " m"]
    identities: Int[ndarray, " m"]
    mates: Int[ndarray, " m"]
    best: Float[ndarray, " u"]
    strangers: Int[ndarray, " u"]

    def __post_init__(self) -> None:
        if np.isnan(self.mate_score).any():
            raise VlrfaceError(f"{np.isnan(self.mate_score).sum()} scores of mates are NaN: use -inf for a miss")

    @property
    def left_out(self) -> int:
        """Number of unmated probes that were not encoded and count nowhere."""
        return int(np.count_nonzero(np.isnan(self.best)))

    def found(self, rank: int) -> Bool[ndarray, " m"]:
        """Mated probes whose mate is among the best `rank` templates.

        Raises:
            VlrfaceError: a rank below 1.
        """
        if rank < 1:
            raise VlrfaceError(f"ranks start at 1, not {rank}")
        return (self.rank > 0) & (self.rank <= rank)

    def rows(self, mated: Bool[ndarray, " m"], unmated: Bool[ndarray, " u"]) -> "OpenSetSearch":
        """The search of some of the probes."""
        return OpenSetSearch(
            self.rank[mated],
            self.mate_score[mated],
            self.identities[mated],
            self.mates[mated],
            self.best[unmated],
            self.strangers[unmated],
        )


class OpenSetPoint(NamedTuple):
    """What a search with a threshold does.

    Attributes:
        tpir: share of mated probes found, in [0, 1].
        threshold: the lowest score that is reported; -inf reports everything.
        accepted_unmated: number of unmated probes with a report. Below ten, read `tpir` with its interval.
    """

    tpir: float
    threshold: float
    accepted_unmated: int


class OpenSetCurve(NamedTuple):
    """Points of TPIR over FPIR, in order of falling threshold.

    Attributes:
        fpir: (n,) share of unmated probes with a report, ascending.
        tpir: (n,) share of mated probes found, ascending.
        threshold: (n,) lowest reported score, descending.
    """

    fpir: Float[ndarray, " n"]
    tpir: Float[ndarray, " n"]
    threshold: Float[ndarray, " n"]


def search_open_set(
    mated_embeddings: Float[ndarray, "m d"],
    mated_identities: Int[ndarray, " m"],
    unmated_embeddings: Float[ndarray, "u e"],
    unmated_identities: Int[ndarray, " u"],
    templates: Templates,
    *,
    block_bytes: int = _BLOCK_BYTES,
) -> OpenSetSearch:
    """Search all probes among the templates by cosine similarity, exactly.

    Rank of a mate = number of templates scoring at least as high, itself included. No score is sorted; a block of them
    is all that is held.

    Args:
        mated_embeddings: (m, d) of probes of enrolled people, any length; a NaN row was not encoded.
        mated_identities: (m,); one that is not enrolled, or negative, is a miss.
        unmated_embeddings: (u, d) of probes of strangers; a NaN row was not encoded.
        unmated_identities: (u,) negative where not known.
        templates: at most one for each known identity.
        block_bytes: memory for scores. Probes are copied once beside it.

    Returns:
        One row per probe.

    Raises:
        VlrfaceError: no mated probes, no unmated probes or no templates, different dimensions, an encoded row without
            direction, two templates of one person, or an unmated probe of an enrolled person.
    """
    if not (len(mated_embeddings) and len(unmated_embeddings) and len(templates)):
        raise VlrfaceError(
            f"open-set identification needs mated probes, unmated probes and templates: {len(mated_embeddings)}, "
            f"{len(unmated_embeddings)} and {len(templates)} given"
        )
    for probes in (mated_embeddings, unmated_embeddings):
        check_same_width(probes, templates.embeddings)
    _check_people(templates.identities, unmated_identities)
    gallery = unit_rows(templates.embeddings, "templates")
    mated, unmated = unit_rows(mated_embeddings, "mated probes"), unit_rows(unmated_embeddings, "unmated probes")
    rank, score = _mates_found(mated, mated_identities, gallery, templates.identities[gallery.rows], block_bytes)
    return OpenSetSearch(
        rank,
        score,
        np.asarray(mated_identities, np.int64),
        (np.isin(mated_identities, templates.identities) & (mated_identities >= 0)).astype(np.int64),
        _best_scores(unmated, gallery, block_bytes),
        np.asarray(unmated_identities, np.int64),
    )


def rates_at(search: OpenSetSearch, threshold: float, rank: int = 20) -> tuple[float, float]:
    """TPIR and FPIR at a given threshold.

    Raises:
        VlrfaceError: no mated probe, or no encoded unmated probe.
    """
    scores = comparable_scores(search, rank)
    tpir = np.count_nonzero(scores.found >= threshold) / len(search.rank)
    return tpir, float(np.mean(scores.best >= threshold))


def tpir_at_fpir(search: OpenSetSearch, fpir: float, rank: int = 20) -> OpenSetPoint:
    """Share of mated probes found at the lowest threshold that reports at most `fpir` of the unmated probes.

    With k = floor(fpir · u), the threshold lies just above the (k+1)-th highest best score of an unmated probe. With
    k = u there is no threshold, and TPIR is the share found of closed-set identification.

    Args:
        search: of `search_open_set`.
        fpir: allowed share of unmated probes with a report, in [0, 1].
        rank: the mate must be among so many best templates.

    Raises:
        VlrfaceError: no mated probe, no encoded unmated probe, a rank below 1, or `fpir` outside [0, 1].
    """
    curve = open_set_at(search, np.array([fpir]), rank)
    accepted = round(float(curve.fpir[0]) * (len(search.best) - search.left_out))
    return OpenSetPoint(float(curve.tpir[0]), float(curve.threshold[0]), accepted)


def open_set_at(search: OpenSetSearch, fpir: Float[ndarray, " n"], rank: int = 20) -> OpenSetCurve:
    """The curve at given rates, each by the rule of `tpir_at_fpir`.

    Args:
        search: of `search_open_set`.
        fpir: (n,) ascending, in [0, 1].
        rank: the mate must be among so many best templates.

    Returns:
        One point per rate; its `fpir` is the share that is truly reported, at most the one asked for.

    Raises:
        VlrfaceError: as for `tpir_at_fpir`.
    """
    found, best = comparable_scores(search, rank)
    allowed = np.array([accepted_at_far(rate, len(best)) for rate in fpir.tolist()], np.int64)
    ordered = np.sort(best)
    place = len(best) - 1 - allowed
    threshold = np.where(place >= 0, just_above(ordered[np.maximum(place, 0)]), np.array(-np.inf, ordered.dtype))
    return _points(np.sort(found), ordered, threshold, len(search.rank))


def open_set_curve(search: OpenSetSearch, rank: int = 20) -> OpenSetCurve:
    """The whole curve, exactly, by its corners: two points for each distinct score of a mate that was found.

    Between two corners the curve is straight: no mate scores between their thresholds. A mate that scores the same as
    a stranger gives a slanted piece (as in `verification.roc`).

    Args:
        search: of `search_open_set`.
        rank: the mate must be among so many best templates.

    Returns:
        2·(distinct scores) + 2 points, from FPIR and TPIR 0 at +inf to FPIR 1 and the share found at -inf.

    Raises:
        VlrfaceError: no mated probe, no encoded unmated probe, or a rank below 1.
    """
    found, best = comparable_scores(search, rank)
    corners = np.unique(found)[::-1]
    threshold = np.stack([just_above(corners), corners], axis=1).ravel()
    whole = np.concatenate([[np.inf], threshold, [-np.inf]]).astype(found.dtype)
    return _points(np.sort(found), np.sort(best), whole, len(search.rank))


def tpir_area(search: OpenSetSearch, rank: int = 20) -> float:
    """Area under the curve of `open_set_curve`, FPIR from 0 to 1, by its straight lines.

    That is the chance that a mated probe finds its mate among the best `rank` with a score higher than the best score
    of an unmated probe, both drawn at random; a tie counts half, a miss never.

    Raises:
        VlrfaceError: no mated probe, no encoded unmated probe, or a rank below 1.
    """
    found, best = comparable_scores(search, rank)
    ordered = np.sort(best)
    below, not_above = (np.searchsorted(ordered, found, side).sum(dtype=np.int64) for side in ("left", "right"))
    return float(int(below + not_above) / (2 * len(search.rank) * len(best)))


class ComparableScores(NamedTuple):
    """Scores that a threshold decides on, in one precision.

    Attributes:
        found: (f,) of the mates that were found.
        best: (e,) of the unmated probes that were encoded.
    """

    found: Float[ndarray, " f"]
    best: Float[ndarray, " e"]


def comparable_scores(search: OpenSetSearch, rank: int) -> ComparableScores:
    """What a threshold decides on.

    Raises:
        VlrfaceError: no mated probe, no encoded unmated probe, or a rank below 1.
    """
    if not len(search.rank):
        raise VlrfaceError("no mated probes: TPIR is a share of nothing")
    best = search.best[~np.isnan(search.best)]
    if not len(best):
        raise VlrfaceError(f"none of {len(search.best)} unmated probes was encoded: FPIR is a share of nothing")
    dtype = np.result_type(search.mate_score, best)  # "just above" must mean the same for both
    return ComparableScores(search.mate_score[search.found(rank)].astype(dtype), best.astype(dtype))


def _points(
    found: Float[ndarray, " f"], best: Float[ndarray, " e"], threshold: Float[ndarray, " n"], mated: int
) -> OpenSetCurve:
    """Rates at thresholds, of ascending scores."""
    tpir = (len(found) - np.searchsorted(found, threshold, "left")) / mated
    fpir = (len(best) - np.searchsorted(best, threshold, "left")) / len(best)
    return OpenSetCurve(fpir, tpir, threshold.astype(np.float64))


def _check_people(enrolled: Int[ndarray, " t"], unmated: Int[ndarray, " u"]) -> None:
    known = enrolled[enrolled >= 0]
    unique, counts = np.unique(known, return_counts=True)
    if (counts > 1).any():
        raise VlrfaceError(f"identity {unique[counts > 1][0]} has {counts.max()} templates: give one for each person")
    mated = np.isin(unmated, unique)
    if mated.any():
        row = int(np.flatnonzero(mated)[0])
        raise VlrfaceError(
            f"{mated.sum()} unmated probes show an enrolled person, first row {row} (identity {unmated[row]}): "
            "check the lists of mated and unmated probes"
        )


def _mates_found(
    probes: UnitRows,
    identities: Int[ndarray, " m"],
    gallery: UnitRows,
    enrolled: Int[ndarray, " t"],
    block_bytes: int,
) -> tuple[Int[ndarray, " m"], Float32[ndarray, " m"]]:
    rank, score = np.zeros(len(identities), np.int64), np.full(len(identities), -np.inf, np.float32)
    order = np.argsort(enrolled, kind="stable")
    wanted = np.asarray(identities)[probes.rows]
    place = np.minimum(np.searchsorted(enrolled, wanted, sorter=order), max(0, len(enrolled) - 1))
    column = order[place] if len(enrolled) else place
    searched = np.flatnonzero((enrolled[column] == wanted) & (wanted >= 0)) if len(enrolled) else place[:0]
    for part, scores in _score_blocks(probes.unit, searched, gallery.unit, block_bytes):
        rows, mate = probes.rows[part], scores[np.arange(len(part)), column[part]]
        score[rows] = mate
        rank[rows] = np.count_nonzero(scores >= mate[:, None], axis=1)
    return rank, score


def _best_scores(probes: UnitRows, gallery: UnitRows, block_bytes: int) -> Float32[ndarray, " u"]:
    best = np.where(probes.encoded, np.float32(-np.inf), np.float32(np.nan))
    if len(gallery.unit):
        everybody = np.arange(len(probes.unit))
        for part, scores in _score_blocks(probes.unit, everybody, gallery.unit, block_bytes):
            best[probes.rows[part]] = scores.max(axis=1)
    return best


def _score_blocks(
    probes: Float32[ndarray, "p d"], rows: Int[ndarray, " q"], gallery: Float32[ndarray, "t d"], block_bytes: int
) -> Iterator[tuple[Int[ndarray, " b"], Float32[ndarray, "b t"]]]:
    """Row numbers and scores of some probes. The scores lie in a buffer that the next block overwrites.

    Equal templates may differ in the last bit by the column they stand in: they are given one score.
    """
    step = max(1, block_bytes // (4 * max(1, len(gallery))))
    buffer = np.empty((min(step, len(rows)), len(gallery)), np.float32)
    copies, originals = copied_rows(gallery)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        scores = np.matmul(probes[part], gallery.T, out=buffer[: len(part)])
        scores[:, copies] = scores[:, originals]
        yield part, scores
