"""Pairs of faces and their scores: what verification and error-versus-reject are measured on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray

from vlrface.metrics.cosine import check_same_width, unit_rows
from vlrface.types import UNKNOWN_IDENTITY, Pairing, VlrfaceError

_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class Pairs:
    """Scored pairs of faces, genuine and impostor apart. Faces are numbered; both columns use the same numbers.

    Attributes:
        genuine: (g,) scores of pairs of one person; -inf where a face was not encoded, so that the pair is a miss.
        genuine_faces: (g, 2) numbers of the two faces.
        impostor: (i,) scores of pairs of different people, encoded ones only: a failure must not look like a
            correct rejection.
        impostor_faces: (i, 2) numbers of the two faces.
        identities: (f,) person of every numbered face, negative where no person is meant.
        failed_impostors: number of impostor pairs left out because a face was not encoded.

    Raises:
        VlrfaceError: a face number is outside 0 … f-1, or the scores differ in precision.
    """

    genuine: Float[ndarray, " g"]
    genuine_faces: Int[ndarray, "g 2"]
    impostor: Float[ndarray, " i"]
    impostor_faces: Int[ndarray, "i 2"]
    identities: Int[ndarray, " f"]
    failed_impostors: int = 0

    def __post_init__(self) -> None:
        if self.genuine.dtype != self.impostor.dtype:
            raise VlrfaceError(
                f"genuine scores are {self.genuine.dtype}, impostor scores {self.impostor.dtype}: give one precision"
            )
        for faces in (self.genuine_faces, self.impostor_faces):
            if faces.size and not 0 <= faces.min() <= faces.max() < len(self.identities):
                raise VlrfaceError(f"a pair names a face outside 0 … {len(self.identities) - 1}")


def genuine_impostor(
    embeddings: Float[ndarray, "n d"],
    identities: Int[ndarray, " n"],
    gallery_embeddings: Float[ndarray, "m e"] | None = None,
    gallery_identities: Int[ndarray, " m"] | None = None,
) -> Pairs:
    """Cosine similarity of all pairs within one set, or of all pairs between probes and a gallery.

    A face of unknown identity is in no pair. A distractor is an impostor to everybody. Memory: 12 bytes a pair, twice
    that for a moment.

    Args:
        embeddings: (n, d), any length; a NaN row was not encoded.
        identities: (n,).
        gallery_embeddings: (m, d); None pairs each face of the first set with each later one.
        gallery_identities: (m,), given exactly when `gallery_embeddings` is.

    Returns:
        The pairs. Faces are numbered 0 … n-1, gallery faces n … n+m-1.

    Raises:
        VlrfaceError: no face on a side, different dimensions, an encoded row without direction, or only one of the two
            gallery arrays.
    """
    left = right = _side(embeddings, identities, first_number=0)
    everybody, within = identities, True
    if gallery_embeddings is not None and gallery_identities is not None:
        check_same_width(embeddings, gallery_embeddings)
        right = _side(gallery_embeddings, gallery_identities, first_number=len(embeddings))
        everybody, within = np.concatenate([identities, gallery_identities]), False
    elif gallery_embeddings is not None or gallery_identities is not None:
        raise VlrfaceError("give both gallery_embeddings and gallery_identities, or neither")
    step = max(1, _BLOCK_BYTES // (4 * len(right.unit)))
    blocks = [_paired(left, slice(i, i + step), right, later_only=within) for i in range(0, len(embeddings), step)]
    return Pairs(
        genuine=np.concatenate([block.genuine for block in blocks]),
        genuine_faces=np.concatenate([block.genuine_faces for block in blocks]),
        impostor=np.concatenate([block.impostor for block in blocks]),
        impostor_faces=np.concatenate([block.impostor_faces for block in blocks]),
        identities=everybody,
        failed_impostors=sum(block.failed_impostors for block in blocks),
    )


def listed_pairs(embeddings: Float[ndarray, "n d"], identities: Int[ndarray, " n"], pairing: Pairing) -> Pairs:
    """Cosine similarity of the pairs of a list; the list says which are genuine.

    An impostor pair of two faces that other pairs of the list join to one person stays an impostor pair: lists have
    such mistakes, and published numbers count them.

    Args:
        embeddings: (n, d), any length; a NaN row was not encoded.
        identities: (n,) persons, for the resampling; a negative one is a person alone.
        pairing: rows and kinds of the pairs.

    Returns:
        The pairs, each kind in the order of the list. Faces are numbered as the rows.

    Raises:
        VlrfaceError: a pair names a row that is not there, a genuine pair has faces of two persons, or an encoded row
            has no direction.
    """
    faces = np.column_stack([pairing.first, pairing.second]).astype(np.int64)
    scores = listed_scores(embeddings, pairing)
    people = np.asarray(identities, np.int64)[faces]
    one_person = (faces[:, 0] == faces[:, 1]) | ((people[:, 0] == people[:, 1]) & (people[:, 0] >= 0))
    broken = np.flatnonzero(pairing.same & ~one_person)
    if len(broken):
        pair, rows = int(broken[0]), faces[broken[0]]
        raise VlrfaceError(
            f"{len(broken)} genuine pairs have faces of two persons, first pair {pair} of the list: rows {rows[0]} and "
            f"{rows[1]} are of identities {people[pair, 0]} and {people[pair, 1]}. Give both faces of a genuine pair "
            "one identity of at least 0"
        )
    scored = np.isfinite(scores)
    impostor = ~pairing.same & scored
    return Pairs(
        genuine=scores[pairing.same],
        genuine_faces=faces[pairing.same],
        impostor=scores[impostor],
        impostor_faces=faces[impostor],
        identities=np.asarray(identities, np.int64),
        failed_impostors=int(np.count_nonzero(~pairing.same & ~scored)),
    )


def listed_scores(embeddings: Float[ndarray, "n d"], pairing: Pairing) -> Float32[ndarray, " m"]:
    """Cosine similarity of each pair of a list, in its order; -inf where a face was not encoded.

    Products are summed in float64, so that equal faces give equal scores wherever they stand.

    Raises:
        VlrfaceError: a pair names a row that is not there, or an encoded row has no direction.
    """
    if len(pairing) and max(pairing.first.max(), pairing.second.max()) >= len(embeddings):
        last = max(pairing.first.max(), pairing.second.max())
        raise VlrfaceError(f"a pair names row {last}, there are {len(embeddings)} faces")
    rows = unit_rows(embeddings)
    place = np.full(len(embeddings), -1, np.int64)
    place[rows.rows] = np.arange(len(rows.rows))
    first, second = place[pairing.first], place[pairing.second]
    scores = np.full(len(pairing), -np.inf, np.float32)
    scored = np.flatnonzero((first >= 0) & (second >= 0))
    step = max(1, _BLOCK_BYTES // (16 * embeddings.shape[1]))
    for start in range(0, len(scored), step):
        part = scored[start : start + step]
        left, right = (rows.unit[each[part]].astype(np.float64) for each in (first, second))
        scores[part] = np.einsum("md,md->m", left, right)
    return scores


@dataclass(frozen=True, eq=False)
class _Side:
    """One side of a pairing: unit rows, zero where not encoded; who they are; their face numbers."""

    unit: Float32[ndarray, "n d"]
    encoded: Bool[ndarray, " n"]
    identities: Int[ndarray, " n"]
    numbers: Int[ndarray, " n"]


def _side(embeddings: Float[ndarray, "n d"], identities: Int[ndarray, " n"], first_number: int) -> _Side:
    if not len(embeddings):
        raise VlrfaceError("pairs need at least one face on each side")
    rows = unit_rows(embeddings)
    unit = np.zeros(embeddings.shape, np.float32)
    unit[rows.rows] = rows.unit
    numbers = np.arange(first_number, first_number + len(embeddings), dtype=np.int32)
    return _Side(unit, rows.encoded, np.asarray(identities, np.int64), numbers)


def _paired(left: _Side, part: slice, right: _Side, *, later_only: bool) -> Pairs:
    """All pairs of some faces of the left side with the right side."""
    identities, numbers = left.identities[part, None], left.numbers[part, None]
    encoded = left.encoded[part, None] & right.encoded
    scores = left.unit[part] @ right.unit.T
    scores[~encoded] = -np.inf
    wanted = (identities != UNKNOWN_IDENTITY) & (right.identities != UNKNOWN_IDENTITY)
    if later_only:
        wanted &= numbers < right.numbers
    same = (identities == right.identities) & (identities >= 0)
    genuine, impostor = wanted & same, wanted & ~same
    failed = int(np.count_nonzero(impostor & ~encoded))
    impostor &= encoded
    faces = np.stack(np.broadcast_arrays(numbers, right.numbers), axis=2)
    return Pairs(scores[genuine], faces[genuine], scores[impostor], faces[impostor], _everybody(left, right), failed)


def _everybody(left: _Side, right: _Side) -> Int[ndarray, " f"]:
    return left.identities if left is right else np.concatenate([left.identities, right.identities])
