"""A gallery: people who are enrolled, and answers to who a face may show."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from vlrface.files import printable
from vlrface.gallery.answers import (
    Answer,
    AuditEntry,
    Enrolment,
    Info,
    NewFace,
    Person,
    Removal,
    Rules,
    StoredFace,
    Template,
    not_recognizable,
    searched,
)
from vlrface.gallery.settings import create_sqlite
from vlrface.gallery.sqlite import SqliteStore
from vlrface.gallery.store import Store, check_name, kept_name
from vlrface.metrics.cosine import unit_rows
from vlrface.types import Faces, VlrfaceError

DUPLICATE_AT = 0.9
"""Cosine from which a new face is reported to resemble somebody else. Own choice."""

_UNIT = 1e-6


class Gallery:
    """People and their faces in one space of embeddings. Thread-safe."""

    def __init__(self, store: Store) -> None:
        """A gallery on an open store; `create` and `open` are the usual ways."""
        self._store = store

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        space: str,
        dim: int,
        model_name: str = "",
        keep_pictures: bool = False,
        key: bytes | None = None,
        template: Template = "recognizability",
    ) -> "Gallery":
        """Make an empty gallery in a file, and open it.

        Args:
            path: the file; it must not exist.
            space: which embeddings it takes (`ServedModel.space`).
            dim: their length.
            model_name: for people.
            keep_pictures: store the pictures that come with faces.
            key: 32 bytes to encrypt names, embeddings, sources and pictures with; None does not encrypt.
            template: how several faces of a person become one vector.

        Raises:
            VlrfaceError: there is a file already, no space, no dimension, or the key is none.
            OSError: it cannot be written.
        """
        if not space or dim < 1:
            raise VlrfaceError(f"a gallery needs a space and a dimension, not {space!r} and {dim}")
        create_sqlite(path, Info(space, dim, model_name, template, keep_pictures, key is not None), key)
        return cls(SqliteStore(path, key=key))

    @classmethod
    def open(
        cls, path: Path, *, space: str | None = None, key: bytes | None = None, read_only: bool = False
    ) -> "Gallery":
        """Open a gallery file.

        Args:
            path: the file.
            space: of the embeddings that will be given; None does not check.
            key: 32 bytes, for an encrypted one.
            read_only: refuse changes.

        Raises:
            VlrfaceError: no such file, no gallery, damaged, another space, or the key is missing or wrong.
        """
        gallery = cls(SqliteStore(path, key=key, read_only=read_only))
        try:
            gallery.check_space(space)
        except VlrfaceError:
            gallery.close()
            raise
        return gallery

    def check_space(self, space: str | None) -> None:
        """Refuse embeddings of another model.

        Raises:
            VlrfaceError: the space is given and another.
        """
        info = self.info
        if space is not None and space != info.space:
            raise VlrfaceError(
                f"the gallery holds embeddings of the space {info.space} (model {info.model_name or 'unnamed'}), the "
                f"model gives {space}: they cannot be compared. Use that model, or enrol the pictures in a new gallery"
            )

    @property
    def info(self) -> Info:
        """What the gallery was made for."""
        return self._store.info

    def enrol(
        self,
        person: str,
        faces: Sequence[NewFace],
        *,
        duplicate_at: float | None = DUPLICATE_AT,
        actor: str = "",
    ) -> Enrolment:
        """Add faces to a person, who is made if new. Durable when it returns.

        Args:
            person: the name.
            faces: at least one.
            duplicate_at: cosine to another person from which a face is reported; None looks for equal faces only.
            actor: who asks, for the audit.

        Raises:
            VlrfaceError: no name, no faces, or an embedding of another length or without direction.
        """
        return self.enrol_people([(person, faces)], duplicate_at=duplicate_at, actor=actor)[0]

    def enrol_people(
        self,
        people: Iterable[tuple[str, Sequence[NewFace]]],
        *,
        duplicate_at: float | None = DUPLICATE_AT,
        actor: str = "",
    ) -> list[Enrolment]:
        """The same for several people at once: all are stored or, after an error, none. A name may occur once."""
        checked = [(check_name(name), self._checked(name, faces)) for name, faces in people]
        if len({name for name, _ in checked}) < len(checked):
            raise VlrfaceError("a name occurs twice in one enrolment: give all faces of a person together")
        return self._store.enrol(checked, duplicate_at=duplicate_at, actor=actor)

    def _checked(self, name: str, faces: Sequence[NewFace]) -> list[NewFace]:
        if not faces:
            raise VlrfaceError(f"no faces to enrol for {name!r}: give at least one")
        for face in faces:
            self._check_length(face.embedding)
        unit = _unit(np.stack([face.embedding for face in faces]), f"faces of {name!r}")
        if len(unit) < len(faces) or any(np.isinf(face.recognizability) for face in faces):
            raise VlrfaceError(f"a face of {name!r} was not encoded (NaN), or its index is infinite: leave it out")
        return [
            NewFace(row, float(face.recognizability), printable(face.source), face.picture)
            for row, face in zip(unit, faces, strict=True)
        ]

    def _check_length(self, embedding: Float[ndarray, "*n d"]) -> None:
        if embedding.shape[-1] != self.info.dim:
            raise VlrfaceError(
                f"embeddings of {embedding.shape[-1]} dimensions, the gallery holds {self.info.dim}: use its model"
            )

    def identify(
        self,
        embeddings: Float[ndarray, "n d"],
        recognizability: Float[ndarray, " n"],
        scores: Float[ndarray, " n"],
        rules: Rules,
    ) -> list[Answer]:
        """Who each face may show: candidates, unknown, or not recognizable, with the reason.

        Args:
            embeddings: (n, d), any length; a row of NaN could not be encoded.
            recognizability: (n,) raw index, NaN where the model gives none.
            scores: (n,) calibrated, NaN without calibration.
            rules: what is asked of a face and of a candidate.

        Raises:
            VlrfaceError: another dimension, or the rules ask for what the model does not give.
        """
        self._check_length(embeddings)
        answers: list[Answer | None] = [
            not_recognizable(embedding, float(index), float(score), rules)
            for embedding, index, score in zip(embeddings, recognizability, scores, strict=True)
        ]
        open_ = [row for row, answer in enumerate(answers) if answer is None]
        if open_:
            found = self._store.nearest(_unit(embeddings[open_], "searched faces"), rules.candidates)
            people, _ = self._store.counts()
            for row, candidates in zip(open_, found, strict=True):
                answers[row] = searched(candidates, people, rules)
        return [answer for answer in answers if answer is not None]

    def verify(self, person: str, embedding: Float[ndarray, " d"]) -> float:
        """Cosine of a face to the template of a person.

        Raises:
            VlrfaceError: nobody of the name, another dimension, or an embedding without direction.
        """
        self._check_length(embedding)
        unit = _unit(embedding[None], "the face to verify")
        if not len(unit):
            raise VlrfaceError("the face to verify was not encoded (NaN)")
        template = self._store.template(kept_name(person))
        return float(np.einsum("d,d->", unit[0].astype(np.float64), template.astype(np.float64)))

    def remove(self, person: str, *, actor: str = "") -> Removal:
        """Delete a person with all faces, from the files too.

        Raises:
            UnknownPersonError: nobody of the name.
        """
        return self._store.remove(kept_name(person), actor=actor)

    def people(self, *, after: str = "", limit: int = 100, containing: str = "") -> list[Person]:
        """People by name, in order of code points.

        Args:
            after: only those behind this name.
            limit: at most so many.
            containing: only those whose name has this part, in capitals or not.
        """
        return self._store.people(after, limit, kept_name(containing))

    def person(self, name: str) -> Person:
        """One person; UnknownPersonError if there is nobody of the name."""
        return self._store.person(kept_name(name))

    def faces(self, person: str) -> list[StoredFace]:
        """Faces of a person, oldest first; UnknownPersonError if there is nobody of the name."""
        return self._store.faces(kept_name(person))

    def picture(self, face_id: int) -> bytes | None:
        """The JPEG of a face; None if there is no such face or none is kept."""
        return self._store.picture(face_id)

    @property
    def counts(self) -> tuple[int, int]:
        """People and faces."""
        return self._store.counts()

    def record(self, actor: str, action: str, *, person: str = "", outcome: str = "") -> None:
        """Write to the audit what is no enrolment or removal (those write their own entry): a search, a refusal.

        Args:
            actor: who, for example the name of an API key.
            action: what, in one word.
            person: whom it concerned; kept as a number, and only if there is such a person.
            outcome: how it ended, without a name.
        """
        self._store.record(actor, action, kept_name(person), outcome)

    def audit(self, *, limit: int = 100) -> list[AuditEntry]:
        """The newest entries of the audit, newest first."""
        return self._store.audit(limit)

    def export(self, path: Path) -> Faces:
        """Write all faces as a Faces file: role "gallery", identity the person's number, name "PERSON/FACE_ID".

        Raises:
            OSError: it cannot be written.
        """
        kept = list(self._store.kept())
        faces = Faces(
            embeddings=np.stack([k.embedding for k in kept]) if kept else np.empty((0, self.info.dim), np.float32),
            recognizability=np.array([k.face.recognizability for k in kept], np.float32),
            identities=np.array([k.person.number for k in kept], np.int64),
            roles=np.full(len(kept), "gallery"),
            names=np.array([f"{k.person.name}/{k.face.face_id}" for k in kept], np.str_),
            sizes=np.zeros(len(kept), np.int32),
            failures=np.full(len(kept), "", np.str_),
            meta={
                "model": self.info.model_name,
                "fingerprint": self.info.space,
                "people": json.loads(json.dumps({str(k.person.number): k.person.name for k in kept})),
            },
        )
        faces.save(path)
        return faces

    def close(self) -> None:
        """Release the file."""
        self._store.close()

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _unit(embeddings: Float[ndarray, "n d"], what: str) -> Float32[ndarray, "m d"]:
    """The encoded rows, of unit length: those that are it already stay value for value."""
    found = unit_rows(embeddings, what)
    given = embeddings[found.rows].astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", given.astype(np.float64), given.astype(np.float64)))
    return np.where((np.abs(lengths - 1) < _UNIT)[:, None], given, found.unit)
