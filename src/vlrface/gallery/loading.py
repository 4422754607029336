"""From the rows of a gallery's file to people in memory."""

import gc
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from vlrface.gallery.database import is_blank
from vlrface.gallery.members import Member, Members
from vlrface.gallery.sealing import Plain, Seal
from vlrface.gallery.store import kept_name
from vlrface.types import VlrfaceError

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class _Kept:
    """Somebody of several faces, until all are read: id, index and embedding of each."""

    name: bytes
    enrolled: float
    faces: list[tuple[int, float | None, bytes]]


@dataclass(frozen=True)
class Rows:
    """How stored values become people and embeddings.

    Attributes:
        path: the file, for errors.
        seal: what the values are sealed by.
        dim: length of an embedding.
    """

    path: Path
    seal: Seal
    dim: int

    def member(
        self, number: int, name: bytes, enrolled: float, face_ids: Sequence[int], stored: Sequence[float | None]
    ) -> Member:
        """Somebody from the stored name and time, and ids and stored indices of the faces."""
        if not isinstance(self.seal, Plain):
            name = self.seal.open(name, about("name", number))
        return Member(number, kept_name(name.decode()), enrolled, tuple(face_ids), tuple(map(stored_index, stored)))

    def embeddings(self, stored: Sequence[bytes], numbers: Sequence[int]) -> Float32[ndarray, "m d"]:
        """Embeddings from their stored bytes, each of the person with that number. Not to be changed.

        Raises:
            VlrfaceError: they have another length, or do not open.
        """
        if not isinstance(self.seal, Plain):
            stored = [
                self.seal.open(value, about("embedding", number)) for value, number in zip(stored, numbers, strict=True)
            ]
        if any(len(value) != 4 * self.dim for value in stored):
            raise VlrfaceError(f"{self.path}: an embedding has another length than {self.dim}. Restore a copy")
        return np.frombuffer(b"".join(stored), "<f4").reshape(len(stored), self.dim).astype(np.float32, copy=False)

    def load(self, reader: sqlite3.Connection, members: Members) -> int:
        """Take everybody in who is in the file.

        Args:
            reader: within a transaction, so that all is of one state.
            members: nobody yet.

        Returns:
            How many faces are those of removed people.
        """
        several = reader.execute(
            "SELECT id, name, enrolled FROM person "
            "WHERE id IN (SELECT person FROM face GROUP BY person HAVING count(*) > 1)"
        )
        kept = {number: _Kept(name, enrolled, []) for number, name, enrolled in several if not is_blank(name)}
        blank = 0

        def singles() -> Iterator[tuple[list[Member], Float32[ndarray, "p d"]]]:
            nonlocal blank
            rows = reader.execute(
                "SELECT person, face.id, recognizability, embedding, name, person.enrolled "
                "FROM face CROSS JOIN person ON person.id = face.person ORDER BY face.id"
            )
            while chunk := rows.fetchmany(_ROWS_AT_ONCE):
                alive = [row for row in chunk if not is_blank(row[4])]
                blank += len(chunk) - len(alive)
                single = [row for row in alive if row[0] not in kept] if kept else alive
                for row in alive if kept else ():
                    if row[0] in kept:
                        kept[row[0]].faces.append(row[1:4])
                if single:
                    found = [self.member(n, name, time, (i,), (index,)) for n, i, index, _, name, time in single]
                    yield found, self.embeddings([row[3] for row in single], [row[0] for row in single])

        with _no_garbage_collection():
            members.load(singles())
        for number, each in kept.items():
            ids, indices, values = zip(*each.faces, strict=True)
            embeddings = self.embeddings(values, [number] * len(values))
            members.put(self.member(number, each.name, each.enrolled, ids, indices), embeddings)
        return blank


@contextmanager
def _no_garbage_collection() -> Generator[None]:
    """All that is made stays: looking for what does not would take a sixth of the time of opening a large gallery."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def about(column: str, number: int) -> bytes:
    """What a sealed value says it is about."""
    return f"{column} {number}".encode()


def stored_index(stored: float | None) -> float:
    """The index of a face: NaN for none."""
    return float("nan") if stored is None else stored
