"""The same faces in several files: rows in one order, so that figures of two models can be paired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, Pairing, VlrfaceError

_NAMED = 10


@dataclass(frozen=True, eq=False)
class Matched:
    """Faces that describe the same crops, row by row.

    Attributes:
        faces: in the order they were given, rows in the order of the first.
        sizes_apart: number of crops whose known size differs between files; that of the first file is used.
    """

    faces: tuple[Faces, ...]
    sizes_apart: int


def matched(named: Mapping[str, Faces]) -> Matched:
    """Bring faces into the order of the first, and check that all describe the same crops.

    A crop is known by its role and name. Embeddings, recognizability, measures, failures and `meta` are each model's
    own; sizes are those of the first faces that know them, so that bands of size hold the same crops. Faces of the role
    "unrecognizable" are left out, as no figure counts them.

    Args:
        named: faces by what a message calls them.

    Raises:
        VlrfaceError: a crop is not in all of them, or its person differs, or the listed pairs do.
    """
    (label, first), *others = ((name, _counted(faces)) for name, faces in named.items())
    keys = _keys(first)
    aligned = [first]
    for name, faces in others:
        rows = _rows_of(keys, faces, label, name)
        aligned.append(with_rows(faces, rows))
        _check_people(first, aligned[-1], keys, label, name)
        _check_pairing(first.pairing, aligned[-1].pairing, label, name)
    sizes, apart = _sizes([faces.sizes for faces in aligned])
    return Matched(tuple(replace(faces, sizes=sizes) for faces in aligned), apart)


def with_rows(faces: Faces, rows: Int[ndarray, " m"]) -> Faces:
    """Some rows of faces, in the given order, with their listed pairs.

    Raises:
        VlrfaceError: a pair names a row that is left out.
    """
    chosen = faces.rows(rows)
    if faces.pairing is None:
        return chosen
    place = np.full(len(faces), -1, np.int64)
    place[rows] = np.arange(len(rows))
    first, second = place[faces.pairing.first], place[faces.pairing.second]
    if (first < 0).any() or (second < 0).any():
        lost = int(np.flatnonzero((first < 0) | (second < 0))[0])
        raise VlrfaceError(f"pair {lost} of the list names a face that is left out")
    return replace(chosen, pairing=replace(faces.pairing, first=first, second=second))


def _counted(faces: Faces) -> Faces:
    return with_rows(faces, np.flatnonzero(faces.roles != UNRECOGNIZABLE_ROLE))


def _keys(faces: Faces) -> list[tuple[str, str]]:
    return list(zip(faces.roles.tolist(), faces.names.tolist(), strict=True))


def _rows_of(keys: list[tuple[str, str]], faces: Faces, label: str, name: str) -> Int[ndarray, " n"]:
    """Where each crop of the first faces stands in others."""
    place = {key: row for row, key in enumerate(_keys(faces))}
    known = set(keys)
    for missing, has, lacks in (
        ([key for key in keys if key not in place], label, name),
        ([key for key in place if key not in known], name, label),
    ):
        if missing:
            shown = ", ".join(f"{role} {crop}" for role, crop in missing[:_NAMED])
            raise VlrfaceError(
                f"{has} and {lacks} do not describe the same crops: {len(missing)} of {has} are not in {lacks}: {shown}"
                f"{' ...' if len(missing) > _NAMED else ''}. Encode the same data set with both models"
            )
    return np.array([place[key] for key in keys], np.int64)


def _check_people(first: Faces, other: Faces, keys: list[tuple[str, str]], label: str, name: str) -> None:
    apart = np.flatnonzero(first.identities != other.identities)
    if len(apart):
        shown = ", ".join(
            f"{' '.join(keys[row])} ({first.identities[row]} and {other.identities[row]})"
            for row in apart[:_NAMED].tolist()
        )
        raise VlrfaceError(
            f"{label} and {name} number people differently: {len(apart)} crops, first {shown}. Encode the same data "
            "set with both models"
        )


def _check_pairing(first: Pairing | None, other: Pairing | None, label: str, name: str) -> None:
    if first is None and other is None:
        return
    if first is None or other is None:
        has, lacks = (label, name) if other is None else (name, label)
        raise VlrfaceError(f"{has} has listed pairs, {lacks} has none: encode the same pair list with both models")
    if len(first) != len(other):
        raise VlrfaceError(f"{label} lists {len(first)} pairs, {name} {len(other)}: encode the same list with both")
    apart = np.zeros(len(first), bool)
    for column in fields(Pairing):
        apart |= getattr(first, column.name) != getattr(other, column.name)
    if apart.any():
        raise VlrfaceError(
            f"{label} and {name} list different pairs: {apart.sum()} of {len(first)}, first pair "
            f"{int(np.flatnonzero(apart)[0])}. Encode the same list with both models"
        )


def _sizes(columns: Sequence[Int[ndarray, " n"]]) -> tuple[Int[ndarray, " n"], int]:
    """Sizes of the first column that knows them, and how many rows have two different ones."""
    sizes, apart = columns[0].copy(), np.zeros(len(columns[0]), bool)
    for column in columns[1:]:
        apart |= (column > 0) & (sizes > 0) & (column != sizes)
        sizes = np.where(sizes > 0, sizes, column).astype(sizes.dtype)
    return sizes, int(apart.sum())
