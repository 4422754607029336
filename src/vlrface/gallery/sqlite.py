"""A gallery in one SQLite file, searched exactly in memory.

Other processes may change the file: before each answer, a look at `data_version` says whether one did, and the audit
says whose rows to read again. Answers therefore follow every change that was acknowledged before they were asked for.
"""

import math
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

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
    Template,
)
from vlrface.gallery.database import (
    blank_person,
    compact,
    connect,
    create_database,
    empty_log,
    explained,
    finish_compacting,
    is_blank,
    transaction,
)
from vlrface.gallery.duplicates import find_duplicates
from vlrface.gallery.loading import Rows, about, stored_index
from vlrface.gallery.members import Member, Members
from vlrface.gallery.sealing import KEY_VARIABLE, AesGcm, Plain, Seal
from vlrface.gallery.store import KeptFace, UnknownPersonError
from vlrface.types import VlrfaceError

_KNOWN_TEXT: Final = b"vlrface gallery"
_PARAMETERS = 500
_LEAST_BLANK = 256


def create_sqlite(path: Path, info: Info, key: bytes | None) -> None:
    """Make an empty gallery.

    Raises:
        VlrfaceError: there is a file already, or the key is none.
        OSError: it cannot be written.
    """
    settings: dict[str, str | int | bytes] = {
        "space": info.space,
        "dim": info.dim,
        "model_name": info.model_name,
        "template": info.template,
        "keeps_pictures": int(info.keeps_pictures),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if key is not None:
        settings["key_check"] = AesGcm(key).close(_KNOWN_TEXT, b"key_check")
    create_database(path, settings)


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
                self._seal = _seal(path, settings.get("key_check"), key)
                self._info = _info(path, settings)
                self._rows = Rows(path, self._seal, self._info.dim)
                self._members = Members(self._info.dim, self._info.template)
                self._seen, self._version = 0, -1
                self._blank = 0  # faces of removed people, now zeros
                if not read_only:
                    self._writer = connect(path, read_only=False)
                    finish_compacting(self._writer)
                    empty_log(self._writer)  # which an interrupted removal left
                self._load()
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
                with self._memory:
                    self._refresh()
                    duplicates = find_duplicates(
                        people, self._members.nearest, self._same_values, duplicate_at=duplicate_at
                    )
                done = [
                    self._insert(writer, name, faces, found, actor)
                    for (name, faces), found in zip(people, duplicates, strict=True)
                ]
            with self._memory:
                self._refresh()
            return done

    def _insert(
        self,
        writer: sqlite3.Connection,
        name: str,
        faces: Sequence[NewFace],
        duplicates: tuple[Duplicate, ...],
        actor: str,
    ) -> Enrolment:
        now = time.time()
        skipped = {each.number for each in duplicates if not each.enrolled}
        number = self._number(writer, name, now) if len(skipped) < len(faces) else None
        ids = tuple(
            self._insert_face(writer, number, face, now)
            for place, face in enumerate(faces)
            if number is not None and place not in skipped
        )
        member = self._members.named(name)
        number = member.number if number is None and member is not None else number
        outcome = f"{len(ids)} faces" + (f", {len(skipped)} there already" if skipped else "")
        _audit(writer, actor, "enrol", number, outcome)
        return Enrolment(name, ids, duplicates)

    def _number(self, writer: sqlite3.Connection, name: str, now: float) -> int:
        """Number of a person, who is made if new."""
        member = self._members.named(name)
        if member is not None:
            return member.number
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
        found = [(self._members.numbered(person), face) for person, face in rows]
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
                self._refresh()
                erased = empty_log(writer)
                self._blank += faces
                if self._blank > max(_LEAST_BLANK, self._members.faces // 2) or not len(self._members):
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
            member = self._known(person) if person in self._current() else None
            _audit(self._writing(), actor, action, None if member is None else member.number, outcome)

    def _writing(self) -> sqlite3.Connection:
        if self._writer is None:
            raise VlrfaceError(f"{self._path}: opened for reading only")
        return self._writer

    # What answers from memory.

    def nearest(self, queries: Float32[ndarray, "n d"], count: int) -> list[list[Candidate]]:
        """The nearest people, exactly."""
        with self._memory:
            return self._current().nearest(queries, count)

    def template(self, person: str) -> Float32[ndarray, " d"]:
        """The vector that a person is searched by."""
        with self._memory:
            return self._members.template(self._known(person).name)

    def people(self, after: str, limit: int) -> list[Person]:
        """People by name."""
        import bisect

        with self._memory:
            members = self._current()
            names = members.names()
            start = bisect.bisect_right(names, after)
            return [_person(self._known(name)) for name in names[start : start + limit]]

    def person(self, name: str) -> Person:
        """One person."""
        with self._memory:
            return _person(self._known(name))

    def counts(self) -> tuple[int, int]:
        """People and faces."""
        with self._memory:
            members = self._current()
            return len(members), members.faces

    # What is read from the file.

    def faces(self, person: str) -> list[StoredFace]:
        """Faces of a person."""
        with self._memory, explained(self._path):
            return [face for face, _ in self._stored(self._known(person))]

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
        with self._memory, explained(self._path):
            row = self._reader.execute(
                "SELECT person, jpeg FROM picture JOIN face ON face.id = picture.face WHERE picture.face = ?",
                (face_id,),
            ).fetchone()
            return None if row is None else self._seal.open(row[1], about("picture", row[0]))

    def kept(self) -> Iterator[KeptFace]:
        """All faces, by name; somebody who is removed meanwhile is left out."""
        with self._memory:
            names = list(self._current().names())
        for name in names:
            with self._memory, explained(self._path):
                member = self._current().named(name)
                stored = [] if member is None else self._stored(member)
                person = None if member is None else _person(member)
            for face, sealed in stored:
                assert person is not None and member is not None  # noqa: PT018, S101
                yield KeptFace(person, face, self._rows.embeddings([sealed], [member.number])[0])

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

    # What keeps memory and file together.

    def _current(self) -> Members:
        with self._memory, explained(self._path):
            self._refresh()
            return self._members

    def _known(self, person: str) -> Member:
        member = self._current().named(person)
        if member is None:
            raise UnknownPersonError(
                f"{person!r} is not in the gallery {self._path}. `vlrface gallery list` shows who is"
            )
        return member

    def _refresh(self) -> None:
        """Read again whoever was changed since the last look."""
        (version,) = self._reader.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        self._version = version
        changed = self._reader.execute(
            "SELECT person, max(id) FROM audit WHERE id > ? GROUP BY person", (self._seen,)
        ).fetchall()
        self._seen = max([self._seen, *(last for _, last in changed)])
        people = [person for person, _ in changed if person is not None]
        for start in range(0, len(people), _PARAMETERS):
            self._read_again(people[start : start + _PARAMETERS])

    def _read_again(self, people: list[int]) -> None:
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
                embeddings = self._rows.embeddings(values, [number] * len(mine))
                self._members.put(self._rows.member(number, name, enrolled, ids, indices), embeddings)

    def _load(self) -> None:
        """Read everything, in one state of the file."""
        reader = self._reader
        (self._version,) = reader.execute("PRAGMA data_version").fetchone()
        reader.execute("BEGIN")
        try:
            (seen,) = reader.execute("SELECT coalesce(max(id), 0) FROM audit").fetchone()
            self._blank = self._rows.load(reader, self._members)
        finally:
            reader.execute("COMMIT")
        self._seen = seen


def _seal(path: Path, check: bytes | None, key: bytes | None) -> Seal:
    if check is None:
        return Plain()
    if key is None:
        raise VlrfaceError(f"{path}: an encrypted gallery. Give its key in the environment variable {KEY_VARIABLE}")
    seal = AesGcm(key)
    try:
        seal.open(check, b"key_check")
    except VlrfaceError as error:
        raise VlrfaceError(f"{path}: encrypted with another key than the one in {KEY_VARIABLE}") from error
    return seal


def _info(path: Path, settings: dict[str, Any]) -> Info:
    try:
        template: Template = "recognizability" if settings["template"] == "recognizability" else "mean"
        return Info(
            space=str(settings["space"]),
            dim=int(settings["dim"]),
            model_name=str(settings["model_name"]),
            template=template,
            keeps_pictures=bool(settings["keeps_pictures"]),
            encrypted="key_check" in settings,
        )
    except (KeyError, ValueError) as error:
        raise VlrfaceError(f"{path}: a damaged gallery (setting {error}). Restore it from a copy") from error


def _audit(writer: sqlite3.Connection, actor: str, action: str, person: int | None, outcome: str) -> None:
    writer.execute(
        "INSERT INTO audit (time, actor, action, person, outcome) VALUES (?, ?, ?, ?, ?)",
        (time.time(), actor, action, person, outcome),
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _person(member: Member) -> Person:
    return Person(member.name, member.number, len(member.face_ids), _utc(member.enrolled), member.mean_recognizability)
