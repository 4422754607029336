"""The pairs on which quality measures are compared: those of the list, or all that a gallery gives."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from vlrface.evaluate.findings import embeddings_of
from vlrface.evaluate.matching import with_rows
from vlrface.metrics.pairs import Pairs, genuine_impostor, listed_pairs, listed_scores
from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, Pairing, VlrfaceError

MOST_PAIRS: Final = 20_000_000
"""Above this, impostor pairs are those of a drawn part of the probes: 20 M pairs hold 240 MB."""

GALLERY: Final = "gallery"
_NO_PROBES: Final = (GALLERY, "distractor", "unmated_probe", UNRECOGNIZABLE_ROLE)
_SEED: Final = 0


@dataclass(frozen=True, eq=False)
class MeasuredPairs:
    """Scored pairs and the faces behind their numbers.

    Attributes:
        pairs: the pairs.
        rows: (f,) row of each numbered face in the faces they were made of.
        kind: "listed", "probe_gallery" or "within".
        impostor_probes: number of probes whose impostor pairs are among them; 0 where that says nothing.
    """

    pairs: Pairs
    rows: Int[ndarray, " f"]
    kind: str
    impostor_probes: int = 0


def is_probe(faces: Faces) -> Bool[ndarray, " n"]:
    """Faces that are searched for: every role but gallery, distractors, strangers and made unrecognizable faces.

    So probes of TinyFace, mated probes of SurvFace, all distances of SCface, all sizes of a cross-resolution test.
    """
    return ~np.isin(faces.roles, _NO_PROBES)


def measured_pairs(faces: Faces, most: int = MOST_PAIRS) -> MeasuredPairs:
    """The pairs of faces.

    - with a list: its pairs;
    - with a gallery: each probe (`is_probe`) with each gallery face. If these are more than `most`, all genuine pairs,
      and the impostor pairs of so many probes as `most` allows, drawn with a fixed seed;
    - else: all pairs of the faces.

    Raises:
        VlrfaceError: no faces to pair, or more than `most` pairs within one set.
    """
    if faces.pairing is not None:
        rows = np.unique(np.concatenate([faces.pairing.first, faces.pairing.second]))
        return MeasuredPairs(_listed(with_rows(faces, rows)), rows, "listed")
    probes, gallery = np.flatnonzero(is_probe(faces)), np.flatnonzero(faces.roles == GALLERY)
    if not len(probes):
        there = ", ".join(sorted(map(str, np.unique(faces.roles)))) or "none"
        raise VlrfaceError(f"error versus reject needs probes, or a list of pairs; the roles of the faces are {there}")
    if not len(gallery):
        return _within(faces, probes, most)
    return _probe_gallery(faces, probes, gallery, most)


def _listed(faces: Faces) -> Pairs:
    if faces.pairing is None or not len(faces.pairing):
        raise VlrfaceError("error versus reject: the list of pairs is empty")
    return listed_pairs(embeddings_of(faces), faces.identities, faces.pairing)


def _within(faces: Faces, rows: Int[ndarray, " f"], most: int) -> MeasuredPairs:
    count = len(rows) * (len(rows) - 1) // 2
    if count > most:
        raise VlrfaceError(
            f"{len(rows)} faces without a gallery make {count} pairs, more than {most}. Give some of them the role "
            f"{GALLERY!r}, or a list of pairs"
        )
    chosen = faces.rows(rows)
    return MeasuredPairs(genuine_impostor(embeddings_of(chosen), chosen.identities), rows, "within")


def _probe_gallery(faces: Faces, probes: Int[ndarray, " p"], gallery: Int[ndarray, " g"], most: int) -> MeasuredPairs:
    embeddings, people = embeddings_of(faces), faces.identities
    drawn = np.arange(len(probes))
    allowed = max(1, most // len(gallery))
    if allowed < len(probes):
        drawn = np.sort(np.random.default_rng(_SEED).permutation(len(probes))[:allowed])
    some = probes[drawn]
    pairs = genuine_impostor(embeddings[some], people[some], embeddings[gallery], people[gallery])
    rows = np.concatenate([probes, gallery])
    if allowed < len(probes):
        # Numbers of the drawn probes become those of all probes, with the gallery after them.
        number = np.concatenate([drawn, len(probes) + np.arange(len(gallery))]).astype(np.int32)
        genuine_faces = _genuine_faces(people[probes], people[gallery])
        first, second = genuine_faces.T
        everybody = Pairing(first, second, np.ones(len(first), bool), np.full(len(first), -1))
        genuine = listed_scores(embeddings[rows], everybody)
        pairs = Pairs(
            genuine, genuine_faces, pairs.impostor, number[pairs.impostor_faces], people[rows], pairs.failed_impostors
        )
    return MeasuredPairs(pairs, rows, "probe_gallery", len(drawn))


def _genuine_faces(probes: Int[ndarray, " p"], gallery: Int[ndarray, " g"]) -> Int[ndarray, "m 2"]:
    """Numbers of all pairs of one known person, gallery faces numbered after the probes, in the order of the probes."""
    order = np.argsort(gallery, kind="stable")
    first, stop = (np.searchsorted(gallery[order], probes, side) for side in ("left", "right"))
    mates = np.where(probes >= 0, stop - first, 0)
    probe = np.repeat(np.arange(len(probes)), mates)
    # Counting from 0 within each probe, then from its first mate.
    place = np.arange(len(probe)) - np.repeat(np.cumsum(mates) - mates, mates) + np.repeat(first, mates)
    return np.column_stack([probe, len(probes) + order[place]]).astype(np.int32)
