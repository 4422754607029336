"""A gallery in Milvus: for more people than one machine's memory holds, or for several services.

Three collections of one prefix hold it: PREFIX_people (a template each, and what is known of the faces), PREFIX_faces
(the embeddings) and PREFIX_log (the audit; its first row says what the gallery is for). Milvus has no transactions: an
enrolment writes the faces first and then all its people in one request, so that nobody is there by halves; faces that
no person names, of an enrolment that broke off, are never read, and go before the next enrolment or removal. Nothing is
flushed: what Milvus has acknowledged is in its log, and these collections are read with the consistency "Strong".

What it does not give: one program writes at a time; templates are means, for weights by rank would have to be made anew
for everybody with each enrolment; nothing is encrypted; a removal takes the person from every answer, and the bytes go
when Milvus compacts its segments. Use SQLite where that matters.
"""

import hashlib
import heapq
import json
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
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
)
from vlrface.gallery.duplicates import find_duplicates
from vlrface.gallery.members import searched_by
from vlrface.gallery.store import KeptFace, UnknownPersonError
from vlrface.types import VlrfaceError

PREFIX: Final = "vlrface"
"""Of the collections' names."""

_PEOPLE, _FACES, _LOG = "people", "faces", "log"
_AT_ONCE: Final = 1000
_LONGEST: Final = 65_000  # of a JSON value; Milvus takes 65,536 bytes


def create_milvus(uri: str, info: Info, *, prefix: str = PREFIX, token: str = "") -> None:
    """Make an empty gallery.

    Args:
        uri: of a server ("http://host:19530"), or a file of milvus-lite.
        info: what it is for; templates "mean", neither pictures nor encryption.
        prefix: of its collections.
        token: "user:password", or a key of the server.

    Raises:
        VlrfaceError: there is one already, or it is to have what Milvus does not give.
    """
    from pymilvus import DataType

    if info.template != "mean" or info.keeps_pictures or info.encrypted:
        raise VlrfaceError(
            'a gallery in Milvus has templates "mean", and neither pictures nor encryption: give --template mean, or '
            "use a file (SQLite)"
        )
    with _explained(uri):
        client = _client(uri, token)
        if client.has_collection(f"{prefix}_{_LOG}"):
            raise VlrfaceError(f"{uri}: there is a gallery {prefix} already. Give another name")
        kinds = {_PEOPLE: ("template", info.dim), _FACES: ("embedding", info.dim), _LOG: ("unused", 2)}
        for part, (vector, dim) in kinds.items():
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field(vector, DataType.FLOAT_VECTOR, dim=dim)
            if part == _PEOPLE:
                schema.add_field("key", DataType.VARCHAR, max_length=64)
            schema.add_field("person" if part == _FACES else "value", *_value(part, DataType))
            if part == _FACES:
                schema.add_field("digest", DataType.VARCHAR, max_length=64)
            index = client.prepare_index_params()
            index.add_index(vector, index_type="FLAT", metric_type="IP")  # exact
            client.create_collection(f"{prefix}_{part}", schema=schema, index_params=index, consistency_level="Strong")
        row = {"id": 0, "unused": [0.0, 0.0], "value": {**asdict(info), "next": 1}}
        client.insert(f"{prefix}_{_LOG}", [row])
        client.close()


def _value(part: str, kinds: Any) -> tuple[Any, ...]:
    """A face names its person; the rest is JSON."""
    return (kinds.INT64,) if part == _FACES else (kinds.JSON,)


class MilvusStore:
    """A gallery in Milvus. Thread-safe; one program writes at a time."""

    def __init__(self, uri: str, *, prefix: str = PREFIX, token: str = "") -> None:
        """Open a gallery.

        Args:
            uri: see `create_milvus`.
            prefix: of its collections.
            token: of the server.

        Raises:
            VlrfaceError: no server, or no gallery there.
        """
        self._uri, self._prefix = uri, prefix
        self._lock = threading.RLock()
        with _explained(uri):
            self._client = _client(uri, token)
            if not self._client.has_collection(self._name(_LOG)):
                raise VlrfaceError(f"{uri}: no gallery {prefix}. Make one: vlrface gallery create milvus:{uri}")
            for part in (_PEOPLE, _FACES, _LOG):
                self._client.load_collection(self._name(part))
            values = self._first()
        self._info = Info(**{key: values[key] for key in asdict(Info("x", 1))})
        self._whole = False  # whether every face is known to be somebody's

    @property
    def info(self) -> Info:
        """What the gallery was made for."""
        return self._info

    def close(self) -> None:
        """Close the connection. Twice is allowed."""
        with self._lock:
            self._client.close()

    def enrol(
        self, people: Sequence[tuple[str, Sequence[NewFace]]], *, duplicate_at: float | None, actor: str
    ) -> list[Enrolment]:
        """Store faces of several people; see `Gallery.enrol`."""
        with self._lock, _explained(self._uri):
            self._clear()
            found = find_duplicates(people, self.nearest, self._same_values, self._faces_of, duplicate_at=duplicate_at)
            rows: list[dict[str, Any]] = []
            done: list[Enrolment] = []
            self._whole = False
            first = self._reserve(sum(len(faces) for _, faces in people) + len(people))
            for (name, faces), duplicates in zip(people, found, strict=True):
                first, row, enrolment = self._prepared(name, faces, duplicates, first)
                rows += [row] if row else []
                done.append(enrolment)
            if rows:
                self._client.upsert(self._name(_PEOPLE), rows)
            self._whole = True
            for each in done:
                self._note(actor, "enrol", each.person, f"{len(each.face_ids)} faces")
            return done

    def _prepared(
        self, name: str, faces: Sequence[NewFace], duplicates: tuple[Duplicate, ...], number: int
    ) -> tuple[int, dict[str, Any] | None, Enrolment]:
        """Write the faces of a person, and make the person's row; the next free number comes first."""
        skipped = {each.number for each in duplicates if not each.enrolled}
        new = [face for place, face in enumerate(faces) if place not in skipped]
        if not new:
            return number, None, Enrolment(name, (), duplicates)
        before = self._row(name)
        person = number if before is None else int(before["id"])
        number += before is None
        now = time.time()
        enrolled = now if before is None else float(before["value"]["enrolled"])
        known: list[dict[str, Any]] = [] if before is None else list(before["value"]["faces"])
        ids = tuple(range(number, number + len(new)))
        embeddings = np.concatenate([self._embeddings(person, known), np.stack([face.embedding for face in new])])
        for face_id, face in zip(ids, new, strict=True):
            index = None if np.isnan(face.recognizability) else float(face.recognizability)
            known.append({"id": face_id, "source": face.source, "index": index, "enrolled": now})
        value = {"name": name, "enrolled": enrolled, "faces": known}
        if len(json.dumps(value).encode()) > _LONGEST:
            raise VlrfaceError(
                f"{name!r}: {len(known):,} faces are more than Milvus keeps of a person ({_LONGEST:,} bytes of JSON). "
                "Enrol fewer, or keep the gallery in a file"
            )
        self._client.insert(
            self._name(_FACES),
            [
                {
                    "id": face_id,
                    "embedding": face.embedding.tolist(),
                    "person": person,
                    "digest": _digest(face.embedding),
                }
                for face_id, face in zip(ids, new, strict=True)
            ],
        )
        template = searched_by(embeddings.astype(np.float32), np.ones(len(embeddings)))
        row = {"id": person, "template": template.tolist(), "key": _key(name), "value": value}
        return number + len(new), row, Enrolment(name, ids, duplicates)

    def nearest(self, queries: Float32[ndarray, "n d"], count: int) -> list[list[Candidate]]:
        """The people whose templates are nearest to each query, best first."""
        with self._lock, _explained(self._uri):
            found: list[list[Candidate]] = []
            for start in range(0, len(queries), _AT_ONCE):
                block = queries[start : start + _AT_ONCE]
                hits = self._client.search(
                    self._name(_PEOPLE), block.tolist(), limit=count, output_fields=["value", "template"],
                    search_params={"metric_type": "IP"},
                )  # fmt: skip
                found += [self._candidates(query, hit) for query, hit in zip(block, hits, strict=True)]
            return found

    def _candidates(self, query: Float32[ndarray, " d"], hits: Any) -> list[Candidate]:
        """Cosines as SQLite's gallery sums them: in float64."""
        rows = [(hit["entity"], int(hit["id"])) for hit in hits]
        scored = [
            (float(query.astype(np.float64) @ np.asarray(row["template"], np.float32).astype(np.float64)), number, row)
            for row, number in rows
        ]
        scored.sort(key=lambda each: (-each[0], each[1]))
        return [Candidate(row["value"]["name"], cosine, _best_face(row["value"])) for cosine, _, row in scored]

    def template(self, person: str) -> Float32[ndarray, " d"]:
        """One vector of unit length; UnknownPersonError for somebody who is not there."""
        return np.asarray(self._known(person)["template"], np.float32)

    def remove(self, person: str, *, actor: str) -> Removal:
        """Delete a person with all faces; the bytes go when Milvus compacts."""
        with self._lock, _explained(self._uri):
            row = self._known(person)
            self._clear()
            number = int(row["id"])
            self._client.delete(self._name(_PEOPLE), ids=[number])
            self._client.delete(self._name(_FACES), filter=f"person == {number}")
            self._write_log(actor, "remove", f"person {number}", f"{len(row['value']['faces'])} faces")
            return Removal(person, len(row["value"]["faces"]), erased=False)

    def people(self, after: str, limit: int, containing: str) -> list[Person]:
        """People by name: Milvus has no order of texts, so all names are read."""
        wanted = containing.casefold()
        rows = (
            row
            for row in self._everybody()
            if row["value"]["name"] > after and wanted in row["value"]["name"].casefold()
        )
        return [_person(row) for row in heapq.nsmallest(limit, rows, key=lambda row: row["value"]["name"])]

    def person(self, name: str) -> Person:
        """One of them; UnknownPersonError for somebody who is not there."""
        return _person(self._known(name))

    def faces(self, person: str) -> list[StoredFace]:
        """Faces of a person, oldest first; UnknownPersonError for somebody who is not there."""
        return [_stored(face) for face in self._known(person)["value"]["faces"]]

    def picture(self, face_id: int) -> bytes | None:
        """None: Milvus keeps none."""
        del face_id

    def counts(self) -> tuple[int, int]:
        """People and faces; those of an enrolment that broke off are counted until they go."""
        with self._lock, _explained(self._uri):
            return self._counted(_PEOPLE), self._counted(_FACES)

    def _counted(self, part: str) -> int:
        (row,) = self._client.query(self._name(part), filter="", output_fields=["count(*)"])
        return int(row["count(*)"])

    def kept(self) -> Iterator[KeptFace]:
        """All faces, person by person."""
        for row in sorted(self._everybody(), key=lambda each: each["value"]["name"]):
            known = row["value"]["faces"]
            for face, embedding in zip(known, self._embeddings(int(row["id"]), known), strict=True):
                yield KeptFace(_person(row), _stored(face), embedding)

    def record(self, actor: str, action: str, person: str, outcome: str) -> None:
        """Write to the audit; a person who is not there is not named."""
        self._note(actor, action, person, outcome)

    def audit(self, limit: int) -> list[AuditEntry]:
        """The newest entries, newest first."""
        with self._lock, _explained(self._uri):
            rows = heapq.nlargest(limit, self._all(_LOG, "id > 0", ["id", "value"]), key=lambda row: row["id"])
        return [
            AuditEntry(
                _utc(row["value"]["time"]), *(row["value"][key] for key in ("actor", "action", "subject", "outcome"))
            )
            for row in rows
        ]

    def _note(self, actor: str, action: str, person: str, outcome: str) -> None:
        with self._lock, _explained(self._uri):
            row = self._row(person) if person else None
            self._write_log(actor, action, "" if row is None else f"person {row['id']}", outcome)

    def _write_log(self, actor: str, action: str, subject: str, outcome: str) -> None:
        value = {"time": time.time(), "actor": actor, "action": action, "subject": subject, "outcome": outcome}
        self._client.insert(self._name(_LOG), [{"id": time.time_ns(), "unused": [0.0, 0.0], "value": value}])

    def _reserve(self, count: int) -> int:
        """The first of so many numbers that nobody has had."""
        values = self._first()
        row = {
            "id": 0,
            "unused": [0.0, 0.0],
            "value": {**values, "next": values["next"] + count, "reserved": values["next"]},
        }
        self._client.upsert(self._name(_LOG), [row])
        return int(values["next"])

    def _clear(self) -> None:
        """Delete the faces that no person names, of an enrolment that broke off: they are among those it reserved.

        Only who writes may do it: to others an enrolment that goes on looks the same.
        """
        if self._whole:
            return
        rows = self._all(_FACES, f"id >= {int(self._first().get('reserved', 0))}", ["id", "person"])
        whose = {int(row["id"]): int(row["person"]) for row in rows}
        people = sorted(set(whose.values()))
        named: set[int] = set()
        for start in range(0, len(people), _AT_ONCE):
            condition = f"id in {people[start : start + _AT_ONCE]}"
            for row in self._client.query(self._name(_PEOPLE), filter=condition, output_fields=["value"]):
                named.update(int(face["id"]) for face in row["value"]["faces"])
        nobodys = sorted(set(whose) - named)
        for start in range(0, len(nobodys), _AT_ONCE):
            self._client.delete(self._name(_FACES), ids=nobodys[start : start + _AT_ONCE])
        self._whole = True

    def _first(self) -> dict[str, Any]:
        rows = self._client.query(self._name(_LOG), filter="id == 0", output_fields=["value"])
        if len(rows) != 1:
            raise VlrfaceError(f"{self._uri}: the gallery {self._prefix} is damaged: nothing says what it is for")
        return dict(rows[0]["value"])

    def _row(self, name: str) -> dict[str, Any] | None:
        rows = self._client.query(
            self._name(_PEOPLE), filter=f'key == "{_key(name)}"', output_fields=["id", "value", "template"]
        )
        return dict(rows[0]) if rows else None

    def _known(self, person: str) -> dict[str, Any]:
        with self._lock, _explained(self._uri):
            row = self._row(person)
        if row is None:
            raise UnknownPersonError(
                f"{person!r} is not in the gallery {self._uri}. `vlrface gallery list` shows who is"
            )
        return row

    def _everybody(self) -> Iterator[dict[str, Any]]:
        with self._lock, _explained(self._uri):
            yield from self._all(_PEOPLE, "id >= 0", ["id", "value"])

    def _all(self, part: str, condition: str, fields: list[str]) -> Iterator[dict[str, Any]]:
        pages = self._client.query_iterator(
            self._name(part), batch_size=_AT_ONCE, filter=condition, output_fields=fields
        )
        while page := pages.next():
            yield from (dict(row) for row in page)
        pages.close()

    def _embeddings(self, person: int, faces: Sequence[dict[str, Any]]) -> Float32[ndarray, "m d"]:
        """Of a person's faces, in their order."""
        if not faces:
            return np.empty((0, self._info.dim), np.float32)
        rows = self._all(_FACES, f"person == {person}", ["id", "embedding"])
        by_id = {int(row["id"]): row["embedding"] for row in rows}
        return np.array([by_id[face["id"]] for face in faces], np.float32)

    def _same_values(self, embedding: Float32[ndarray, " d"]) -> list[tuple[str, int]]:
        condition = f'digest == "{_digest(embedding)}"'
        found: list[tuple[str, int]] = []
        for row in self._client.query(self._name(_FACES), filter=condition, output_fields=["id", "person"]):
            people = self._client.query(
                self._name(_PEOPLE), filter=f"id == {int(row['person'])}", output_fields=["value"]
            )
            named = {int(face["id"]) for each in people for face in each["value"]["faces"]}
            found += [(each["value"]["name"], int(row["id"])) for each in people if int(row["id"]) in named]
        return sorted(found, key=lambda each: each[1])

    def _faces_of(self, name: str) -> tuple[list[int], Float32[ndarray, "m d"]]:
        """Ids and embeddings of a person's faces; none of somebody who is not there."""
        row = self._row(name)
        known = [] if row is None else row["value"]["faces"]
        return [int(face["id"]) for face in known], self._embeddings(0 if row is None else int(row["id"]), known)

    def _name(self, part: str) -> str:
        return f"{self._prefix}_{part}"


def _client(uri: str, token: str) -> Any:
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise VlrfaceError('a gallery in Milvus needs pymilvus: pip install "vlrface[milvus]"') from error
    return MilvusClient(uri=uri, token=token)


@contextmanager
def _explained(uri: str) -> Generator[None]:
    """Milvus's errors as ours."""
    try:
        yield
    except VlrfaceError:
        raise
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("pymilvus", "grpc", "milvus_lite"):
            raise
        reason = str(error).strip().splitlines()[0][:300]
        raise VlrfaceError(f"{uri}: Milvus says: {reason}. Is the server there, and may you use it?") from error


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _digest(embedding: Float32[ndarray, " d"]) -> str:
    return hashlib.sha256(np.ascontiguousarray(embedding, "<f4").tobytes()).hexdigest()


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _stored(face: dict[str, Any]) -> StoredFace:
    index = float("nan") if face["index"] is None else float(face["index"])
    return StoredFace(int(face["id"]), face["source"], index, _utc(face["enrolled"]), has_picture=False)


def _person(row: dict[str, Any]) -> Person:
    value = row["value"]
    known = [face["index"] for face in value["faces"] if face["index"] is not None]
    mean = float(np.mean(known)) if known else float("nan")
    return Person(value["name"], int(row["id"]), len(value["faces"]), _utc(value["enrolled"]), mean)


def _best_face(value: dict[str, Any]) -> int:
    """The most recognizable face, the oldest of equals."""
    values = [-np.inf if face["index"] is None else face["index"] for face in value["faces"]]
    return int(value["faces"][values.index(max(values))]["id"])
