"""A gallery in one SQLite file, searched exactly in memory: `mirror` keeps both together."""

import math
import sqlite3
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from vlrface.gallery.answers import (
    AuditEntry,
    Candidate,
    Duplicate,
    Enrolment,
    Info,
    NewFace,
    Person,
    Removal,
    StoredFace,
)
from vlrface.gallery.database import (
    blank_person,
    compact,
    connect,
    empty_log,
    explained,
    finish_compacting,
    transaction,
)
from vlrface.gallery.duplicates import find_duplicates
from vlrface.gallery.loading import about, stored_index
from vlrface.gallery.members import Member, Members
from vlrface.gallery.mirror import Mirror
from vlrface.gallery.settings import info_of, seal_of
from vlrface.gallery.store import KeptFace, UnknownPersonError
from vlrface.types import VlrfaceError

_LEAST_BLANK = 256


class SqliteStore:
    """A gallery in one file. Thread-safe; several processes may use one file."""

    def __init__(self, path: Path, *, key: bytes | None = None, read_only: bool = False) -> None:
        """Open a gallery and read it into memory.

        Args:
            path: the file.
            key: 32 bytes, for an encrypted one.
            read_only: refuse changes.

        Raises:
            VlrfaceError: no such file, no gallery, damaged, or the key is missing or wrong.
        """
        self._path = path
        self._write, self._memory = threading.RLock(), threading.RLock()  # taken in this order
        self._reader = connect(path, read_only=read_only)
        self._writer: sqlite3.Connection | None = None
        try:
            with explained(path):
                settings = dict(self._reader.execute("SELECT name, value FROM setting"))
                self._seal = seal_of(path, settings, key)
                self._info = info_of(path, settings)
                if not read_only:
                    self._writer = connect(path, read_only=False)
                    finish_compacting(self._writer)
                    empty_log(self._writer)  # which an interrupted removal left
                self._mirror = Mirror(path, self._reader, self._info, self._seal)
                self._blank = self._mirror.blank
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> Info:
        """What the gallery was made for."""
        return self._info

    def close(self) -> None:
        """Close the file. Twice is allowed."""
        with self._write, self._memory:
            self._reader.close()
            if self._writer is not None:
                self._writer.close()

    # What changes the gallery.

    def enrol(
        self, people: Sequence[tuple[str, Sequence[NewFace]]], *, duplicate_at: float | None, actor: str
    ) -> list[Enrolment]:
        """Store faces of several people in one transaction; see `Gallery.enrol`."""
        with self._write, explained(self._path):
            writer = self._writing()
            with transaction(writer):
                with self._memory:  # as the file is: nobody else writes to it now
                    members = self._mirror.members()
                    duplicates = find_duplicates(
                        people, members.nearest, self._same_values, members.faces_of, duplicate_at=duplicate_at
                    )
                    known = [members.named(name) for name, _ in people]
                return [
                    self._insert(writer, name, member, faces, found, actor)
                    for (name, faces), member, found in zip(people, known, duplicates, strict=True)
                ]

    def _insert(
        self,
        writer: sqlite3.Connection,
        name: str,
        member: Member | None,
        faces: Sequence[NewFace],
        duplicates: tuple[Duplicate, ...],
        actor: str,
    ) -> Enrolment:
        now = time.time()
        skipped = {each.number for each in duplicates if not each.enrolled}
        new = [face for place, face in enumerate(faces) if place not in skipped]
        number = None if member is None else member.number
        if number is None and new:
            number = self._new_person(writer, name, now)
        ids = tuple(self._insert_face(writer, number, face, now) for face in new if number is not None)
        outcome = f"{len(ids)} faces" + (f", {len(skipped)} there already" if skipped else "")
        _audit(writer, actor, "enrol", number, outcome)
        return Enrolment(name, ids, duplicates)

    def _new_person(self, writer: sqlite3.Connection, name: str, now: float) -> int:
        """The number of somebody who is made."""
        last = writer.execute("SELECT seq FROM sqlite_sequence WHERE name = 'person'").fetchone()
        number = 1 + (last[0] if last else 0)
        sealed = self._seal.close(name.encode(), about("name", number))
        writer.execute("INSERT INTO person VALUES (?, ?, ?)", (number, sealed, now))
        return number

    def _insert_face(self, writer: sqlite3.Connection, number: int, face: NewFace, now: float) -> int:
        values = np.ascontiguousarray(face.embedding, "<f4").tobytes()
        cursor = writer.execute(
            "INSERT INTO face (person, recognizability, enrolled, digest, source, embedding) VALUES (?, ?, ?, ?, ?, ?)",
            (
                number,
                None if math.isnan(face.recognizability) else float(face.recognizability),
                now,
                self._seal.digest(values),
                self._seal.close(face.source.encode(), about("source", number)),
                self._seal.close(values, about("embedding", number)),
            ),
        )
        face_id = int(cursor.lastrowid or 0)
        if face.picture is not None and self._info.keeps_pictures:
            sealed = self._seal.close(face.picture, about("picture", number))
            writer.execute("INSERT INTO picture VALUES (?, ?)", (face_id, sealed))
        return face_id

    def _same_values(self, embedding: Float32[ndarray, " d"]) -> list[tuple[str, int]]:
        """People and faces of the same embedding, value for value."""
        digest = self._seal.digest(np.ascontiguousarray(embedding, "<f4").tobytes())
        rows = self._reader.execute("SELECT person, id FROM face WHERE digest = ? ORDER BY id", (digest,)).fetchall()
        members = self._mirror.members()
        found = [(members.numbered(person), face) for person, face in rows]
        return [(member.name, face) for member, face in found if member is not None]

    def remove(self, person: str, *, actor: str) -> Removal:
        """Delete a person, and the bytes from the files; see `Gallery.remove`."""
        with self._write, explained(self._path):
            writer = self._writing()
            with transaction(writer):
                number = self._known(person).number
                faces = blank_person(writer, number)
                _audit(writer, actor, "remove", number, f"{faces} faces")
            with self._memory:
                erased = empty_log(writer)
                self._blank += faces
                members = self._mirror.members()
                if self._blank > max(_LEAST_BLANK, members.faces // 2) or not len(members):
                    erased = self._compact(writer)
            return Removal(person, faces, erased)

    def _compact(self, writer: sqlite3.Connection) -> bool:
        """Give the space of removed people back; later, if another process is in the way."""
        with suppress(sqlite3.OperationalError):
            compact(writer)
            self._blank = 0
        return empty_log(writer)

    def record(self, actor: str, action: str, person: str, outcome: str) -> None:
        """Write to the audit; a person who is not there is not named."""
        with self._write, explained(self._path):
            with self._memory:
                member = self._mirror.members().named(person)
            _audit(self._writing(), actor, action, None if member is None else member.number, outcome)

    def _writing(self) -> sqlite3.Connection:
        if self._writer is None:
            raise VlrfaceError(f"{self._path}: opened for reading only")
        return self._writer

    # What answers from memory.

    def nearest(self, queries: Float32[ndarray, "n d"], count: int) -> list[list[Candidate]]:
        """The nearest people, exactly."""
        with self._memory:
            return self._mirror.members().nearest(queries, count)

    def template(self, person: str) -> Float32[ndarray, " d"]:
        """The vector that a person is searched by."""
        with self._memory:
            members = self._mirror.members()
            return members.template(_named(members, person, self._path).name)

    def people(self, after: str, limit: int, containing: str) -> list[Person]:
        """People by name; somebody who is removed meanwhile is left out."""
        with self._memory:
            names = self._mirror.members().names()
        behind = range(bisect_right(names, after), len(names))
        wanted = containing.casefold()
        found = (names[i] for i in behind if not wanted or wanted in names[i].casefold())  # searches go on meanwhile
        listed = list(islice(found, limit))
        with self._memory:
            members = self._mirror.members()
            return [_person(member) for name in listed if (member := members.named(name)) is not None]

    def person(self, name: str) -> Person:
        """One person."""
        with self._memory:
            return _person(self._known(name))

    def counts(self) -> tuple[int, int]:
        """People and faces."""
        with self._memory:
            members = self._mirror.members()
            return len(members), members.faces

    # What is read from the file.

    def faces(self, person: str) -> list[StoredFace]:
        """Faces of a person."""
        with self._memory, self._mirror.state() as members:
            return [face for face, _ in self._stored(_named(members, person, self._path))]

    def _stored(self, member: Member) -> list[tuple[StoredFace, bytes]]:
        rows = self._reader.execute(
            "SELECT id, source, recognizability, enrolled, picture.face IS NOT NULL, embedding FROM face "
            "LEFT JOIN picture ON picture.face = face.id WHERE person = ? ORDER BY id",
            (member.number,),
        ).fetchall()
        whose = about("source", member.number)
        return [
            (
                StoredFace(
                    face,
                    self._seal.open(source, whose).decode(),
                    stored_index(index),
                    _utc(enrolled),
                    bool(has_picture),
                ),
                embedding,
            )
            for face, source, index, enrolled, has_picture, embedding in rows
        ]

    def picture(self, face_id: int) -> bytes | None:
        """The JPEG of a face."""
        with self._memory, self._mirror.state() as members:
            row = self._reader.execute(
                "SELECT person, jpeg FROM picture JOIN face ON face.id = picture.face WHERE picture.face = ?",
                (face_id,),
            ).fetchone()
            if row is None or members.numbered(row[0]) is None:  # rows of removed people are zeros for a while
                return None
            return self._seal.open(row[1], about("picture", row[0]))

    def kept(self) -> Iterator[KeptFace]:
        """All faces, by name; somebody who is removed meanwhile is left out."""
        with self._memory:
            names = self._mirror.members().names()
        for name in names:
            with self._memory, self._mirror.state() as members:
                member = members.named(name)
                stored = [] if member is None else self._stored(member)
                person = None if member is None else _person(member)
            for face, sealed in stored:
                assert person is not None and member is not None  # noqa: PT018, S101
                yield KeptFace(person, face, self._mirror.rows.embeddings([sealed], [member.number])[0])

    def audit(self, limit: int) -> list[AuditEntry]:
        """The newest entries, newest first."""
        with self._memory, explained(self._path):
            rows = self._reader.execute(
                "SELECT time, actor, action, person, outcome FROM audit ORDER BY id DESC LIMIT ?", (limit,)
            ).fetchall()
        return [
            AuditEntry(_utc(when), actor, action, "" if person is None else f"person {person}", outcome)
            for when, actor, action, person, outcome in rows
        ]

    def _known(self, person: str) -> Member:
        """Somebody who is there now."""
        with self._memory:
            return _named(self._mirror.members(), person, self._path)


def _named(members: Members, person: str, path: Path) -> Member:
    member = members.named(person)
    if member is None:
        raise UnknownPersonError(f"{person!r} is not in the gallery {path}. `vlrface gallery list` shows who is")
    return member


def _audit(writer: sqlite3.Connection, actor: str, action: str, person: int | None, outcome: str) -> None:
    writer.execute(
        "INSERT INTO audit (time, actor, action, person, outcome) VALUES (?, ?, ?, ?, ?)",
        (time.time(), actor, action, person, outcome),
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _person(member: Member) -> Person:
    return Person(member.name, member.number, len(member.face_ids), _utc(member.enrolled), member.mean_recognizability)
