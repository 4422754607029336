"""Faces to be enrolled that are there already, or that look like somebody else."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from vlrface.gallery.answers import Candidate, Duplicate, NewFace

Nearest = Callable[[Float32[ndarray, "n d"], int], list[list[Candidate]]]
SameValues = Callable[[Float32[ndarray, " d"]], list[tuple[str, int]]]
FacesOf = Callable[[str], tuple[Sequence[int], Float32[ndarray, "m d"]]]

SAME: Final = 1 - 1e-5
"""Cosine from which two faces of a person are one picture: engines differ in the last digits. Own choice."""


def find_duplicates(
    people: Sequence[tuple[str, Sequence[NewFace]]],
    nearest: Nearest,
    same_values: SameValues,
    faces_of: FacesOf,
    *,
    duplicate_at: float | None,
) -> list[tuple[Duplicate, ...]]:
    """What to report of an enrolment, for each person.

    - A face that reaches `SAME` to one that the person has, or gave before in the same enrolment: it is not stored
      again, so that an enrolment that broke off can be repeated, by another engine, too.
    - A face of the same values under another name, stored or given: both are kept, somebody must look.
    - A face that reaches `duplicate_at` to the template of another person, or to another person's face given with it.

    Args:
        people: names and faces.
        nearest: search among the templates.
        same_values: people and faces that hold exactly an embedding.
        faces_of: ids and embeddings of the faces that a person has; none of somebody who is not there.
        duplicate_at: least cosine of the third kind; None looks for none.
    """
    flat = [(who, name, number, face) for who, (name, faces) in enumerate(people) for number, face in enumerate(faces)]
    found: list[list[Duplicate]] = [[] for _ in people]
    if not flat:
        return [() for _ in people]
    embeddings = np.stack([face.embedding for *_, face in flat]).astype(np.float32)
    close = _close(flat, embeddings, nearest, duplicate_at)
    there = [each for name, faces in people for each in _there(faces, *faces_of(name))]
    given: dict[bytes, list[str]] = {}
    for (who, name, number, face), near, mine in zip(flat, close, there, strict=True):
        if mine is not None:
            found[who].append(Duplicate(number, name, *mine, enrolled=False))
            continue
        key = np.ascontiguousarray(face.embedding, np.float32).tobytes()
        same = same_values(face.embedding)
        others = {person: Duplicate(number, person, 1.0, face_id, enrolled=True) for person, face_id in same}
        for person in given.get(key, ()):
            others.setdefault(person, Duplicate(number, person, 1.0, None, enrolled=True))
        for person, cosine in near:
            others.setdefault(person, Duplicate(number, person, cosine, None, enrolled=True))
        found[who] += others.values()
        given.setdefault(key, []).append(name)
    return [tuple(each) for each in found]


def _there(
    faces: Sequence[NewFace], face_ids: Sequence[int], stored: Float32[ndarray, "m d"]
) -> list[tuple[float, int | None] | None]:
    """For each face of a person, cosine and id of the stored one that it is, if any; no id for one given before it."""
    if not faces:
        return []
    given = np.stack([face.embedding for face in faces]).astype(np.float32)
    every = np.concatenate([stored, given])
    found: list[tuple[float, int | None] | None] = []
    for row, face in enumerate(given, len(stored)):
        cosines = every[:row] @ face
        best = int(np.argmax(cosines)) if row else 0
        if not row or cosines[best] < SAME:
            found.append(None)
        else:
            found.append((min(1.0, float(cosines[best])), face_ids[best] if best < len(stored) else None))
    return found


def _close(
    flat: Sequence[tuple[int, str, int, NewFace]],
    embeddings: Float32[ndarray, "n d"],
    nearest: Nearest,
    duplicate_at: float | None,
) -> list[list[tuple[str, float]]]:
    """For each face, other people whose template, or face given before it, is near."""
    if duplicate_at is None:
        return [[] for _ in flat]
    close: list[list[tuple[str, float]]] = []
    for (_, name, _, _), candidates in zip(flat, nearest(embeddings, 3), strict=True):
        close.append([(c.person, c.cosine) for c in candidates if c.cosine >= duplicate_at and c.person != name])
    for row, (who, *_) in enumerate(flat):
        cosines = embeddings[:row] @ embeddings[row]
        for other in np.flatnonzero(cosines >= duplicate_at).tolist():
            if flat[other][0] != who:
                close[row].append((flat[other][1], float(cosines[other])))
    return close
