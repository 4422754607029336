"""What keeps a gallery: SQLite in one file by default, Milvus beyond one machine."""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float32
from numpy import ndarray

from vlrface.gallery.answers import AuditEntry, Candidate, Enrolment, Info, NewFace, Person, Removal, StoredFace
from vlrface.types import VlrfaceError

_LONGEST_NAME: Final = 200


class UnknownPersonError(VlrfaceError):
    """Nobody of the name is in the gallery."""


class KeptFace(NamedTuple):
    """A face with all that an export takes."""

    person: Person
    face: StoredFace
    embedding: Float32[ndarray, " d"]


@runtime_checkable
class Store(Protocol):
    """People and their faces, durable. Thread-safe. Embeddings that are given have unit length."""

    @property
    def info(self) -> Info:
        """What the gallery was made for."""
        ...

    def enrol(
        self, people: Sequence[tuple[str, Sequence[NewFace]]], *, duplicate_at: float | None, actor: str
    ) -> list[Enrolment]:
        """Store faces of several people: all of them or, after an error, none. Durable when it returns."""
        ...

    def nearest(self, queries: Float32[ndarray, "n d"], count: int) -> list[list[Candidate]]:
        """The people whose templates are nearest to each query, best first."""
        ...

    def template(self, person: str) -> Float32[ndarray, " d"]:
        """One vector of unit length; UnknownPersonError for somebody who is not there."""
        ...

    def remove(self, person: str, *, actor: str) -> Removal:
        """Delete a person with all faces; UnknownPersonError for somebody who is not there."""
        ...

    def people(self, after: str, limit: int, containing: str) -> list[Person]:
        """People by name: those behind `after` whose name has the part `containing`, in capitals or not."""
        ...

    def person(self, name: str) -> Person:
        """One of them; UnknownPersonError for somebody who is not there."""
        ...

    def faces(self, person: str) -> list[StoredFace]:
        """Faces of a person, oldest first; UnknownPersonError for somebody who is not there."""
        ...

    def picture(self, face_id: int) -> bytes | None:
        """The JPEG of a face, if there is one."""
        ...

    def counts(self) -> tuple[int, int]:
        """People and faces."""
        ...

    def kept(self) -> Iterator[KeptFace]:
        """All faces, person by person."""
        ...

    def record(self, actor: str, action: str, person: str, outcome: str) -> None:
        """Write to the audit."""
        ...

    def audit(self, limit: int) -> list[AuditEntry]:
        """The newest entries, newest first."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


def kept_name(name: str) -> str:
    """A name as it is kept: composed characters (Unicode NFC), so that é is one letter whoever wrote it."""
    return unicodedata.normalize("NFC", name.strip())


def check_name(name: str) -> str:
    """A new person's name as it is kept.

    Raises:
        VlrfaceError: it is empty, longer than 200 characters, or could not stand in an address or a list: it holds a
            slash or control characters, or is "." or "..".
    """
    kept = kept_name(name)
    if not kept or len(kept) > _LONGEST_NAME or not kept.isprintable() or "/" in kept or kept in (".", ".."):
        raise VlrfaceError(
            f"{name[:40]!r} is no name for a person: give 1 to {_LONGEST_NAME} printable characters without a slash"
        )
    return kept
