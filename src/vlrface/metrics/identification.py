"""Closed-set identification: which rank does the right person take, among everybody in the gallery.

Ranks are counted, not sorted: the rank of a mate is one plus the number of other people's faces that score at least as
high. Ties therefore count against the system, the result does not depend on any sort, and one block of scores is all
that is ever held. The scores of mates are read from the same matrix product as everybody else's, because the same pair
may differ in the last bit between two products of different shape. Equal gallery faces may differ in the last bit even
within one product, on some processors, by the column they stand in: they are given one score, so that a tie is a tie.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from vlrface.metrics.cosine import UnitRows, check_same_width, copied_rows, unit_rows
from vlrface.types import DISTRACTOR_IDENTITY, Curve, VlrfaceError

_BLOCK_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Ranks:
    """What a search with each probe found. One row per probe, none dropped.

    Attributes:
        first_mate: (p,) rank of the best-placed mate, from 1; 0 if the probe was not encoded, has no mate, or none of
            its mates was encoded. 0 counts as a miss at every rank.
        average_precision: (p,) in [0, 1], over all mates, those that were not encoded included; 0 where `first_mate`
            is 0.
        identities: (p,) of the probes: the clusters of a bootstrap.
        mates: (p,) number of gallery faces of the same person, encoded or not.
    """

    first_mate: Int[ndarray, " p"]
    average_precision: Float[ndarray, " p"]
    identities: Int[ndarray, " p"]
    mates: Int[ndarray, " p"]

    def __len__(self) -> int:
        return len(self.first_mate)

    def rows(self, index: Bool[ndarray, " p"] | Int[ndarray, " q"]) -> "Ranks":
        """Some of the probes, by mask or by index. `ranks.rows(ranks.mates > 0)` leaves out those without a mate."""
        return Ranks(self.first_mate[index], self.average_precision[index], self.identities[index], self.mates[index])


def closed_set_ranks(
    probe_embeddings: Float[ndarray, "p d"],
    probe_identities: Int[ndarray, " p"],
    gallery_embeddings: Float[ndarray, "g e"],
    gallery_identities: Int[ndarray, " g"],
    *,
    block_bytes: int = _BLOCK_BYTES,
) -> Ranks:
    """Search each probe among all gallery faces by cosine similarity, exactly.

    Rank of a mate = 1 + number of non-mates scoring at least as high. Average precision = mean over all mates of
    i / (i + number of non-mates scoring at least as high), where the mate is the i-th best mate. Without ties this is
    the usual average precision; with ties it is the worst over their orders.

    Args:
        probe_embeddings: (p, d), any length; a NaN row was not encoded and is a miss.
        probe_identities: (p,); a negative identity has no mates.
        gallery_embeddings: (g, d) of mates and distractors; a NaN row is never found, but stays a mate that was missed.
        gallery_identities: (g,); a negative identity (distractor, unknown) is nobody's mate.
        block_bytes: memory for scores. The gallery is copied once beside it.

    Returns:
        One row per probe.

    Raises:
        VlrfaceError: no probes, no gallery faces, different dimensions, or an encoded row without direction.
    """
    if not len(probe_embeddings) or not len(gallery_embeddings):
        raise VlrfaceError(
            f"a search needs faces on both sides: {len(probe_embeddings)} probes, {len(gallery_embeddings)} in gallery"
        )
    check_same_width(probe_embeddings, gallery_embeddings)
    probes = unit_rows(probe_embeddings, "probe embeddings")
    gallery = unit_rows(gallery_embeddings, "gallery embeddings")
    return _search(probes, probe_identities, gallery, gallery_identities, block_bytes, leave_one_out=False)


def leave_one_out_ranks(
    embeddings: Float[ndarray, "n d"],
    identities: Int[ndarray, " n"],
    *,
    distractors: Float[ndarray, "m e"] | None = None,
    block_bytes: int = _BLOCK_BYTES,
) -> Ranks:
    """Search each face among all the others: more power than a fixed probe set on the same images.

    A face whose person has no other face keeps its row with `mates` 0 and counts as a miss; take
    `ranks.rows(ranks.mates > 0)` to judge only those that can be found.

    Args:
        embeddings: (n, d), any length; a NaN row was not encoded.
        identities: (n,); a negative identity is nobody's mate.
        distractors: (m, d) of faces that are searched among, and not searched for: nobody's mates. A NaN row is never
            found.
        block_bytes: memory for scores.

    Returns:
        One row per face; none per distractor.

    Raises:
        VlrfaceError: fewer than two faces, different dimensions, or an encoded row without direction.
    """
    if len(embeddings) < 2:
        raise VlrfaceError(f"leave-one-out needs at least two faces, not {len(embeddings)}")
    faces = unit_rows(embeddings)
    if distractors is None:
        return _search(faces, identities, faces, identities, block_bytes, leave_one_out=True)
    check_same_width(embeddings, distractors)
    others = unit_rows(distractors, "distractors")
    # The faces come first, so that each stands in the gallery where it stands among the probes.
    gallery = UnitRows(
        np.concatenate([faces.unit, others.unit]),
        np.concatenate([faces.rows, len(embeddings) + others.rows]),
        np.concatenate([faces.encoded, others.encoded]),
    )
    everybody = np.concatenate([identities, np.full(len(distractors), DISTRACTOR_IDENTITY)])
    return _search(faces, identities, gallery, everybody, block_bytes, leave_one_out=True)


def hits(ranks: Ranks, max_ranks: Int[ndarray, " k"]) -> Bool[ndarray, "p k"]:
    """Whether each probe has a mate within the top k, for several k. Misses (rank 0) are False everywhere.

    Raises:
        VlrfaceError: a rank below 1.
    """
    if (max_ranks < 1).any():
        raise VlrfaceError(f"ranks start at 1, not {max_ranks.min()}")
    return (ranks.first_mate[:, None] > 0) & (ranks.first_mate[:, None] <= max_ranks)


def rank_k(ranks: Ranks, k: int) -> float:
    """Share of all probes with a mate within the top k, in [0, 1].

    Raises:
        VlrfaceError: no probes, or k below 1.
    """
    return float(cmc(ranks, k).y[-1])


def cmc(ranks: Ranks, max_rank: int) -> Curve:
    """Cumulative match characteristic: rank-k over k = 1 … max_rank.

    Raises:
        VlrfaceError: no probes, or max_rank below 1.
    """
    _check_any(ranks)
    if max_rank < 1:
        raise VlrfaceError(f"ranks start at 1, not {max_rank}")
    found = ranks.first_mate[(ranks.first_mate > 0) & (ranks.first_mate <= max_rank)]
    counts = np.cumsum(np.bincount(found, minlength=max_rank + 1)[1:])
    return Curve("cmc", np.arange(1.0, max_rank + 1), counts / len(ranks))


def mean_average_precision(ranks: Ranks) -> float:
    """Mean over all probes of the average precision over all their mates, in [0, 1].

    Raises:
        VlrfaceError: no probes.
    """
    _check_any(ranks)
    return float(ranks.average_precision.mean())


def _check_any(ranks: Ranks) -> None:
    if not len(ranks):
        raise VlrfaceError("no probes: a share of nothing is undefined")


def _search(
    probes: UnitRows,
    probe_identities: Int[ndarray, " p"],
    gallery: UnitRows,
    gallery_identities: Int[ndarray, " g"],
    block_bytes: int,
    *,
    leave_one_out: bool,
) -> Ranks:
    count = len(probe_identities)
    first, precision = np.zeros(count, np.int64), np.zeros(count)
    order, start, stop = _mate_ranges(probe_identities[probes.rows], gallery_identities[gallery.rows])
    mates = _mate_counts(probe_identities, gallery_identities) - int(leave_one_out) * (probe_identities >= 0)
    copies, originals = copied_rows(gallery.unit)
    for position, scores in _score_rows(probes.unit, gallery.unit, block_bytes):
        scores[copies] = scores[originals]
        columns = order[start[position] : stop[position]]
        if leave_one_out:  # the same rows on both sides: a face is not its own mate, nor anybody's rival
            columns = columns[columns != position]
            scores[position] = -np.inf
        if not len(columns):
            continue
        row = probes.rows[position]
        ahead = _non_mates_ahead(scores, columns)
        nth = np.arange(1, len(ahead) + 1)
        first[row] = 1 + ahead[0]
        precision[row] = (nth / (nth + ahead)).sum() / mates[row]
    return Ranks(first, precision, np.asarray(probe_identities, np.int64), mates)


def _non_mates_ahead(scores: Float32[ndarray, " g"], columns: Int[ndarray, " m"]) -> Int[ndarray, " m"]:
    """Number of non-mates scoring at least as high as each mate, best mate first. Overwrites the mates' scores."""
    thresholds = np.sort(scores[columns])[::-1]
    scores[columns] = -np.inf
    return np.array([np.count_nonzero(scores >= threshold) for threshold in thresholds], np.int64)


def _score_rows(
    probes: Float32[ndarray, "p d"], gallery: Float32[ndarray, "g d"], block_bytes: int
) -> Iterator[tuple[int, Float32[ndarray, " g"]]]:
    """Position and scores of each probe. The scores lie in a buffer that the next block overwrites."""
    step = max(1, block_bytes // (4 * max(1, len(gallery))))
    buffer = np.empty((min(step, len(probes)), len(gallery)), np.float32)
    for start in range(0, len(probes), step):
        block = probes[start : start + step]
        scores = np.matmul(block, gallery.T, out=buffer[: len(block)])
        for offset in range(len(block)):
            yield start + offset, scores[offset]


def _mate_ranges(
    wanted: Int[ndarray, " p"], identities: Int[ndarray, " g"]
) -> tuple[Int[ndarray, " g"], Int[ndarray, " p"], Int[ndarray, " p"]]:
    """Gallery columns ordered by identity, and for each probe where its mates start and stop in that order."""
    order = np.argsort(identities, kind="stable")
    start = np.searchsorted(identities, wanted, "left", sorter=order)
    stop = np.searchsorted(identities, wanted, "right", sorter=order)
    return order, start, np.where(wanted < 0, start, stop)


def _mate_counts(wanted: Int[ndarray, " p"], identities: Int[ndarray, " g"]) -> Int[ndarray, " p"]:
    _, start, stop = _mate_ranges(wanted, identities)
    return stop - start
