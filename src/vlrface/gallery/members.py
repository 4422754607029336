"""The people of a gallery in memory: who they are, their templates, and the index that searches them."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int
from numpy import ndarray

from vlrface.gallery.answers import Candidate, Template
from vlrface.gallery.search import ExactIndex
from vlrface.metrics.templates import index_weights, person_template
from vlrface.types import VlrfaceError

_LISTED_MORE = 8


@dataclass
class Member:
    """One person.

    Attributes:
        number: of the store, unique for ever.
        name: unique.
        enrolled: seconds since 1970, UTC.
        face_ids: (m,) oldest first.
        recognizability: (m,) raw index, NaN where there is none.
    """

    __slots__ = ("enrolled", "face_ids", "name", "number", "recognizability")

    number: int
    name: str
    enrolled: float
    face_ids: Sequence[int]
    recognizability: Sequence[float]

    @property
    def best_face(self) -> int:
        """The most recognizable face, the oldest of equals."""
        values = [-np.inf if np.isnan(each) else each for each in self.recognizability]
        return int(self.face_ids[values.index(max(values))])

    @property
    def mean_recognizability(self) -> float:
        """Of the faces that have an index; NaN if none has."""
        known = [each for each in self.recognizability if not np.isnan(each)]
        return float(np.mean(known)) if known else float("nan")


def searched_by(embeddings: Float32[ndarray, "m d"], weights: Float64[ndarray, " m"]) -> Float32[ndarray, " d"]:
    """The template of a person; the oldest face where the faces cancel one another out.

    Such a person must stay searchable and removable, and no check of an enrolment can promise a direction: weights
    change with everybody who comes.

    Args:
        embeddings: of the faces, of unit length, oldest first.
        weights: of the faces, above 0.
    """
    try:
        return person_template(embeddings, weights)
    except VlrfaceError:
        return embeddings[0]


class Members:
    """Everybody, searchable. Not thread-safe: the caller holds a lock.

    Names are unique. Of people of one name in a damaged file, all but the first are called "NAME (person NUMBER)", so
    that each can be seen and removed.

    The template of one face is that face. With weights by recognizability, those of several faces depend on the ranks
    of all faces of the gallery: they are made anew before the first search after a change.
    """

    def __init__(self, dim: int, template: Template) -> None:
        self._kind: Template = template
        self._index = ExactIndex(dim)
        self._by_row: list[Member] = []
        self._row_of_number: dict[int, int] = {}
        self._row_of_name: dict[str, int] = {}
        self._several: dict[int, Float32[ndarray, "m d"]] = {}
        self._faces = 0
        self._stale = False
        self._names: list[str] | None = None

    def __len__(self) -> int:
        return len(self._by_row)

    def __contains__(self, name: str) -> bool:
        return name in self._row_of_name

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._by_row))

    @property
    def faces(self) -> int:
        """How many faces all people have."""
        return self._faces

    def named(self, name: str) -> Member | None:
        """A person by name."""
        row = self._row_of_name.get(name)
        return None if row is None else self._by_row[row]

    def numbered(self, number: int) -> Member | None:
        """A person by number."""
        row = self._row_of_number.get(number)
        return None if row is None else self._by_row[row]

    def names(self) -> list[str]:
        """All names, ascending. Not to be changed."""
        if self._names is None:
            self._names = sorted(self._row_of_name)
        return self._names

    def load(self, chunks: Iterable[tuple[Sequence[Member], Float32[ndarray, "p d"]]]) -> None:
        """Take in people of one face each, who are not there yet. Embeddings are indexed while the next are made."""
        with ThreadPoolExecutor(1) as pool:
            before: Future[None] | None = None
            for members, embeddings in chunks:
                if before is not None:
                    before.result()
                before = pool.submit(self._index.append, embeddings)
                for row, member in enumerate(members, len(self._by_row)):
                    self._row_of_number[member.number] = row
                    if self._row_of_name.setdefault(member.name, row) != row:
                        self._name_otherwise(member, row)
                self._by_row += members
                self._faces += len(members)
            if before is not None:
                before.result()
        self._changed()

    def put(self, member: Member, embeddings: Float32[ndarray, "m d"]) -> None:
        """Take in a person with all faces, in place of what was known under the number."""
        row = self._row_of_number.get(member.number)
        if row is None:
            self._row_of_number[member.number] = row = len(self._by_row)
            self._by_row.append(member)
            self._index.append(embeddings[:1])
            self._faces += len(embeddings)
        else:
            self._faces += len(embeddings) - len(self._by_row[row].face_ids)
            del self._row_of_name[self._by_row[row].name]
            self._by_row[row] = member
            self._index.replace(row, embeddings[0])
        if self._row_of_name.setdefault(member.name, row) != row:
            self._name_otherwise(member, row)
        if len(embeddings) > 1:
            self._several[member.number] = embeddings
            if self._kind == "mean":
                self._index.replace(row, searched_by(embeddings, np.ones(len(embeddings))))
        else:
            self._several.pop(member.number, None)
        self._changed()

    def drop(self, number: int) -> None:
        """Forget a person, if known."""
        row = self._row_of_number.pop(number, None)
        if row is None:
            return
        member = self._by_row[row]
        del self._row_of_name[member.name]
        self._faces -= len(member.face_ids)
        self._several.pop(number, None)
        last = self._index.remove(row)
        moved = self._by_row.pop()
        if row != last:
            self._by_row[row] = moved
            self._row_of_number[moved.number] = self._row_of_name[moved.name] = row
        self._changed()

    def faces_of(self, name: str) -> tuple[Sequence[int], Float32[ndarray, "m d"]]:
        """Ids and embeddings of a person's faces, oldest first; none of somebody who is not there."""
        row = self._row_of_name.get(name)
        if row is None:
            return (), np.empty((0, self._index.dim), np.float32)
        member = self._by_row[row]
        several = self._several.get(member.number)
        return member.face_ids, self._index[row][None] if several is None else several

    def template(self, name: str) -> Float32[ndarray, " d"]:
        """The vector that a person is searched by; KeyError if there is no such person."""
        self._refresh()
        return self._index[self._row_of_name[name]]

    def nearest(self, queries: Float32[ndarray, "n d"], count: int) -> list[list[Candidate]]:
        """The people nearest to each query, best first; equal cosines by name."""
        self._refresh()
        found = self._index.search(queries, count + _LISTED_MORE)  # more, so that equals at the end are seen
        answers: list[list[Candidate]] = []
        for scores, rows in zip(found.scores.tolist(), found.rows.tolist(), strict=True):
            best = sorted((-score, self._by_row[row].name, row) for score, row in zip(scores, rows, strict=True))
            answers.append([Candidate(name, -score, self._by_row[row].best_face) for score, name, row in best[:count]])
        return answers

    def _name_otherwise(self, member: Member, row: int) -> None:
        while member.name in self._row_of_name:
            member.name += f" (person {member.number})"
        self._row_of_name[member.name] = row

    def _changed(self) -> None:
        self._stale = self._kind == "recognizability"
        self._names = None

    def _refresh(self) -> None:
        """Make the templates of several faces anew, where the ranks of faces may have changed."""
        if not self._stale:
            return
        if self._several:
            weight, start = self._weights(), self._starts()
            for number, embeddings in self._several.items():
                row = self._row_of_number[number]
                weights = weight[start[row] : start[row] + len(embeddings)]
                self._index.replace(row, searched_by(embeddings, weights))
        self._stale = False

    def _starts(self) -> Int[ndarray, " p"]:
        counts = np.fromiter((len(each.face_ids) for each in self._by_row), np.int64, len(self._by_row))
        return np.cumsum(counts) - counts

    def _weights(self) -> Float64[ndarray, " g"]:
        """Weight of each face, person by person; alike where no face has an index."""
        values = (value for each in self._by_row for value in each.recognizability)
        indices = np.fromiter(values, np.float64, self._faces)
        return index_weights(indices) if np.isfinite(indices).any() else np.ones(self._faces)
