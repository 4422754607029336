"""A gallery's file in memory, as it is now.

Other processes may change the file: before each answer, a look at `data_version` says whether one did, and the audit
says whose rows to read again. Answers therefore follow every change that was acknowledged before they were asked for.
"""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlrface.gallery.answers import Info
from vlrface.gallery.database import explained, is_blank
from vlrface.gallery.loading import Rows
from vlrface.gallery.members import Members
from vlrface.gallery.sealing import Seal

_PARAMETERS = 500


class Mirror:
    """Everybody in a gallery's file. Not thread-safe: the caller holds a lock.

    Attributes:
        rows: how stored values become people and embeddings.
        blank: faces of removed people, zeros by now, that the file held when it was first read.
    """

    def __init__(self, path: Path, reader: sqlite3.Connection, info: Info, seal: Seal) -> None:
        """Read everything, in one state of the file.

        Args:
            path: the file, for errors.
            reader: a connection of this alone.
            info: what the gallery is for.
            seal: of its values.

        Raises:
            VlrfaceError: a value does not open, or has another length.
        """
        self._path, self._reader = path, reader
        self.rows = Rows(path, seal, info.dim)
        self._members = Members(info.dim, info.template)
        with _one_state(reader):
            self._version = self._version_now()
            self._seen = self._last_entry()
            self.blank = self.rows.load(reader, self._members)

    def members(self) -> Members:
        """Everybody who is enrolled now."""
        with explained(self._path):
            if self._version_now() != self._version:
                with _one_state(self._reader):
                    self._follow()
            return self._members

    @contextmanager
    def state(self) -> Generator[Members]:
        """Everybody; what the block reads from the file is of the same state of it."""
        with explained(self._path), _one_state(self._reader):
            self._follow()
            yield self._members

    def _follow(self) -> None:
        """Read again whoever was changed since the last look, within a transaction.

        What was seen is noted when all of it is in memory: after an error the next look begins where this one did.
        """
        version = self._version_now()
        if version == self._version:
            return
        seen = self._last_entry()
        changed = self._reader.execute(
            "SELECT DISTINCT person FROM audit WHERE id > ? AND person IS NOT NULL ORDER BY person", (self._seen,)
        ).fetchall()
        people = [person for (person,) in changed]  # ascending: who had a name before is dropped before who has it now
        for start in range(0, len(people), _PARAMETERS):
            self._read_again(people[start : start + _PARAMETERS])
        self._version, self._seen = version, seen

    def _read_again(self, people: Sequence[int]) -> None:
        marks = ",".join("?" * len(people))
        named = self._reader.execute(f"SELECT id, name, enrolled FROM person WHERE id IN ({marks})", people).fetchall()  # noqa: S608
        rows = self._reader.execute(
            f"SELECT person, id, recognizability, embedding FROM face WHERE person IN ({marks}) ORDER BY id",  # noqa: S608
            people,
        ).fetchall()
        faces: dict[int, list[Any]] = {}
        for person, *rest in rows:
            faces.setdefault(person, []).append(rest)
        there = {number for number, name, _ in named if not is_blank(name)}
        for gone in set(people) - there:
            self._members.drop(gone)
        for number, name, enrolled in named:
            mine = faces.get(number)
            if mine and number in there:
                ids, indices, values = zip(*mine, strict=True)
                embeddings = self.rows.embeddings(values, [number] * len(mine))
                self._members.put(self.rows.member(number, name, enrolled, ids, indices), embeddings)

    def _version_now(self) -> int:
        return int(self._reader.execute("PRAGMA data_version").fetchone()[0])

    def _last_entry(self) -> int:
        return int(self._reader.execute("SELECT coalesce(max(id), 0) FROM audit").fetchone()[0])


@contextmanager
def _one_state(reader: sqlite3.Connection) -> Generator[None]:
    """All that is read within is of one state of the file."""
    reader.execute("BEGIN")
    try:
        yield
    finally:
        if reader.in_transaction:  # some errors of SQLite end it
            reader.execute("COMMIT")
