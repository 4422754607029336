"""Which face of one list is which of another: joined by role and name."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, VlrfaceError

_NAMED = 10


def rows_in(faces: Faces, roles: Iterable[str], names: Iterable[str], problem: str, remedy: str) -> Int[ndarray, " n"]:
    """Where each face stands in a list that is given by its roles and names.

    Args:
        faces: whose places are asked for.
        roles: of the list.
        names: of the list, in the same order.
        problem: how the error begins, for example "other.npz lacks".
        remedy: how it ends.

    Returns:
        (n,) places; -1 for a made unrecognizable face that is absent, which no figure counts.

    Raises:
        VlrfaceError: another face is absent.
    """
    place = {key: row for row, key in enumerate(zip(roles, names, strict=True))}
    own = zip(faces.roles.tolist(), faces.names.tolist(), strict=True)
    rows = np.array([place.get(key, -1) for key in own], np.int64)
    refuse_absent(faces, (rows < 0) & (faces.roles != UNRECOGNIZABLE_ROLE), problem, remedy)
    return rows


def refuse_absent(faces: Faces, absent: Bool[ndarray, " n"], problem: str, remedy: str) -> None:
    """Name the first ten faces that are absent.

    Raises:
        VlrfaceError: one is.
    """
    rows = np.flatnonzero(absent)
    if len(rows):
        more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
        raise VlrfaceError(
            f"{problem} {len(rows)} of {len(faces)} faces: {shown(faces, rows[:_NAMED].tolist())}{more}. {remedy}"
        )


def shown(faces: Faces, rows: Iterable[int]) -> str:
    """How a message names faces: "probe a.jpg, gallery b.jpg"."""
    return ", ".join(f"{faces.roles[row]} {faces.names[row]}" for row in rows)
