"""Training sets in MXNet's RecordIO: `.rec` with the pictures, `.idx` with their places, `.lst` with their names.

Both kinds that are about are read: plain image records (`im2rec`), and those of insightface, whose record 0 says where
the records of the persons begin, each of which says which pictures are that person's.

The format: a record is a magic number, a word (length in 29 bits, part in 3), the bytes, and zeros up to four bytes; it
is cut in parts where its bytes hold the magic number themselves (dmlc-core, `include/dmlc/recordio.h`). The bytes begin
with flag, label, id and id2 (24 bytes); a flag above 0 says that so many labels follow, float32 each (MXNet,
`python/mxnet/recordio.py`).
"""

import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.data.manifest import Manifest
from vlrface.data.packed import MAX_PICTURE_BYTES, PackedFile
from vlrface.data.record_index import Index, read_index, read_names
from vlrface.images.decode import DecodeError
from vlrface.types import UNKNOWN_IDENTITY, VlrfaceError

_MAGIC: Final = 0xCED7230A
_WORDS: Final = struct.Struct("<II")
_HEADER: Final = struct.Struct("<IfQQ")
_HEAD: Final = np.dtype(
    {
        "names": ["magic", "word", "flag", "label", "id", "id2", "labels"],
        "formats": ["<u4", "<u4", "<u4", "<f4", "<u8", "<u8", "(2,)<f4"],
    }
)
"""The first 40 bytes of a record: all of a person's record, and all but the picture of a picture's."""

_WHOLE, _FIRST, _MIDDLE, _LAST = 0, 1, 2, 3
_LENGTH_MASK: Final = 2**29 - 1
_EXACT: Final = 2**24  # float32 holds all whole numbers up to here
_LARGEST: Final = 2**53
_BLOCK: Final = 2**16  # records that are looked at at once
_COPY_AGAIN: Final = "Copy or download it again"


def read_records(rec: Path, allow_missing: bool = False, *, progress: bool = False) -> Manifest:
    """Read who is on the pictures of a .rec file; the pictures stay in it.

    Where a set says which pictures are a person's, as those of insightface do, only the person's record and the first
    and last picture of each run are looked at; otherwise the head of every record is.

    Args:
        rec: the .rec file. The .idx file of the same name lies beside it; without one the records are walked through
            from the first to the last. A .lst file of `im2rec` beside it, which gives each key a path, names the
            pictures; one in another format is not looked at.
        allow_missing: keep pictures whose place lies outside the file, as after a broken download, instead of refusing.
            They cannot be decoded and so count as misses; their person is unknown unless a run tells it.
        progress: show a progress bar on stderr while every record is looked at.

    Returns:
        Split "train", with an archive; pictures in the order of the index, records of persons left out. Sources are the
        paths of the .lst file, else the keys. The identity is the label, the first one where a picture has several.

    Raises:
        VlrfaceError: no such file; the index is damaged or of another file; a record is damaged; a label is no whole
            number ≥ 0; or no picture.
    """
    described = describe_records(rec, allow_missing, progress=progress)
    index, names = described.index, described.names
    return Manifest(
        index.texts() if names is None else names,
        described.identities,
        np.full(len(index), "train"),
        archive=RecordArchive(described.file, index, names),
    )


@dataclass(frozen=True, eq=False)
class DescribedRecords:
    """Who is on the pictures of a .rec file.

    Attributes:
        file: the file.
        index: key and place of each picture.
        identities: (n,) the person of each.
        names: (n,) str, how the .lst file calls each; None without one.
    """

    file: PackedFile
    index: Index
    identities: Int[ndarray, " n"]
    names: ndarray | None


def describe_records(rec: Path, allow_missing: bool = False, *, progress: bool = False) -> DescribedRecords:
    """What `read_records` reads, before it becomes a manifest. Same arguments, same errors."""
    file = PackedFile.found(rec)
    with file.opened() as opened:
        reader = _Reader(opened, file.size, str(rec))
        index_file = rec.with_suffix(".idx")
        index = read_index(index_file) if index_file.is_file() else _walked(reader, progress)
        inside = index.offsets + _WORDS.size + _HEADER.size <= file.size
        if not inside.all() and not allow_missing:
            key = int(index.keys[~inside][0])
            raise VlrfaceError(
                f"{rec}: {int((~inside).sum())} of {len(index)} records lie beyond its end, first {key}. "
                "Copy the whole file, or allow missing pictures (they then count as misses)"
            )
        found = _by_runs(reader, index, inside)
        if found is None:
            found = _by_heads(reader, index, inside, allow_missing, progress)
    pictures, identities = found
    if not pictures.any():
        raise VlrfaceError(f"{rec}: no picture in {len(index)} records. Give a .rec file of pictures")
    index = Index(index.keys[pictures], index.offsets[pictures])
    return DescribedRecords(file, index, identities[pictures], read_names(rec.with_suffix(".lst"), index))


@dataclass(frozen=True, eq=False)
class RecordArchive:
    """The pictures of a .rec file, by key or by name.

    Attributes:
        file: the file.
        index: key and place of each picture.
        names: (n,) str, how each is called; None if by its key.
    """

    file: PackedFile
    index: Index
    names: ndarray | None = None

    def __post_init__(self) -> None:
        order = np.argsort(self.index.keys if self.names is None else self.names, kind="stable")
        object.__setattr__(self, "_order", order)

    @property
    def path(self) -> Path:
        """The file, for messages and for the fingerprint."""
        return self.file.path

    def contents(self) -> bytes:
        """Which picture lies where, by the index beside the file."""
        return self.index.keys.tobytes() + self.index.offsets.tobytes()

    def read(self, source: str) -> bytes:
        """The encoded bytes of a picture.

        Raises:
            VlrfaceError: there is no such picture, or the file changed since it was opened.
            DecodeError: its record is damaged, or larger than `MAX_PICTURE_BYTES`.
        """
        row = self._row(source)
        where = f"{self.path}: {source}"
        with self.file.opened() as opened:
            return read_picture(opened, self.file.size, int(self.index.offsets[row]), where)

    def _row(self, source: str) -> int:
        order: ndarray = self.__dict__["_order"]
        names = self.index.keys if self.names is None else self.names
        if self.names is not None or (source.isascii() and source.isdecimal() and len(source) < 19):
            wanted = source if self.names is not None else int(source)
            at = int(np.searchsorted(names, wanted, sorter=order))
            if at < len(order) and str(names[order[at]]) == source:
                return int(order[at])
        raise VlrfaceError(f"{self.path}: no picture {source!r} among {len(self.index)}")


def read_picture(file: BinaryIO, size: int, offset: int, where: str) -> bytes:
    """The encoded picture of the record that begins at a place.

    Args:
        file: opened.
        size: of the file, in bytes.
        offset: where the record begins.
        where: how an error calls it.

    Raises:
        DecodeError: the record is damaged, or larger than `MAX_PICTURE_BYTES`.
    """
    record = _Reader(file, size, where).record(offset)
    return record[_body(record, where) :]


class _Reader:
    """Records of an opened file. A length is believed only as far as the file goes."""

    def __init__(self, file: BinaryIO, size: int, where: str) -> None:
        self._file = file
        self.size = size
        self.where = where

    def part(self, offset: int) -> tuple[int, int]:
        """Which part of a record begins at a place, and its length.

        Raises:
            DecodeError: none does, or it does not lie in the file.
        """
        if not 0 <= offset <= self.size - _WORDS.size:
            raise DecodeError(f"{self.where}: a record beyond the end of the file. {_COPY_AGAIN}")
        self._file.seek(offset)
        magic, word = _WORDS.unpack(self._file.read(_WORDS.size))
        length = word & _LENGTH_MASK
        if magic != _MAGIC or offset + _WORDS.size + length > self.size:
            raise DecodeError(f"{self.where}: no whole record at byte {offset}. {_COPY_AGAIN}, with its .idx file")
        return word >> 29, length

    def record(self, offset: int) -> bytes:
        """The bytes of a record, its parts joined.

        Raises:
            DecodeError: it is damaged, or larger than `MAX_PICTURE_BYTES`.
        """
        pieces: list[bytes] = []
        kind, total = _FIRST, 0
        while kind in (_FIRST, _MIDDLE):
            kind, length = self.part(offset)
            if (kind in (_WHOLE, _FIRST)) != (not pieces) or kind > _LAST:
                raise DecodeError(f"{self.where}: its parts are out of order. {_COPY_AGAIN}")
            total += length + _WORDS.size
            if total > MAX_PICTURE_BYTES:
                raise DecodeError(f"{self.where}: more than {MAX_PICTURE_BYTES:,} bytes, the limit")
            pieces.append(self._file.read(length))
            offset += _WORDS.size + length + -length % 4
        return _MAGIC.to_bytes(4, "little").join(pieces)

    def end(self, offset: int) -> int:
        """Where the record after this one begins."""
        kind = _FIRST
        while kind in (_FIRST, _MIDDLE):
            kind, length = self.part(offset)
            offset += _WORDS.size + length + -length % 4
        return offset

    def heads(self, offsets: Int[ndarray, " n"]) -> ndarray:
        """(n,) first bytes of the records at places in the file, see `_HEAD`; zeros where the file ends before."""
        file = self._file
        pieces: list[bytes] = []
        for offset in offsets.tolist():
            file.seek(offset)
            pieces.append(file.read(_HEAD.itemsize))
        if sum(map(len, pieces)) < len(pieces) * _HEAD.itemsize:
            pieces = [piece.ljust(_HEAD.itemsize, b"\0") for piece in pieces]
        return np.frombuffer(b"".join(pieces), _HEAD)


def _body(record: bytes, where: str) -> int:
    """Where the picture begins in the bytes of a record.

    Raises:
        DecodeError: the record is shorter than it says.
    """
    flag = _HEADER.unpack_from(record)[0] if len(record) >= _HEADER.size else 0
    if len(record) < _HEADER.size + 4 * flag:
        raise DecodeError(f"{where}: its record is shorter than it says. {_COPY_AGAIN}")
    return _HEADER.size + 4 * flag


@dataclass(frozen=True, eq=False)
class _Facts:
    """What the heads of records say.

    Attributes:
        whole: (n,) whether the record lies in the file and is long enough for its labels.
        labels: (n, 2) the first two; NaN where the record is not whole. The second counts only in a record of a person.
        person: (n,) whether it is the record of a person, or record 0: two labels or more, and no picture.
    """

    whole: Bool[ndarray, " n"]
    labels: Float[ndarray, "n 2"]
    person: Bool[ndarray, " n"]


def _facts(reader: _Reader, offsets: Int[ndarray, " n"]) -> _Facts:
    """Look at the heads of records that begin at least `_HEADER` and its words before the end of the file."""
    heads = reader.heads(offsets)
    kind, length = heads["word"] >> 29, (heads["word"] & _LENGTH_MASK).astype(np.int64)
    flag = heads["flag"].astype(np.int64)
    begins = (heads["magic"] == _MAGIC) & (offsets + _WORDS.size + length <= reader.size)
    short = length - _HEADER.size - 4 * flag  # bytes of the picture; below 0 if the labels do not fit
    whole = begins & (kind == _WHOLE) & (short >= 0)
    person = whole & (short == 0) & (flag >= 2)
    with np.errstate(invalid="ignore"):  # some of the bit patterns that are no number
        labels = np.where((flag > 0)[:, None], heads["labels"], heads["label"][:, None]).astype(np.float64)
    for row in np.flatnonzero(begins & (kind == _FIRST)).tolist():  # about one in 250,000: its head may be cut too
        label = _label_of_parts(reader, int(offsets[row]))
        whole[row], labels[row] = label is not None, np.nan if label is None else label
    labels[~whole] = np.nan
    return _Facts(whole, labels, person)


def _label_of_parts(reader: _Reader, offset: int) -> float | None:
    """The first label of a record in parts; None if it is damaged."""
    try:
        record = reader.record(offset)
        body = _body(record, reader.where)
    except DecodeError:
        return None
    return struct.unpack_from("<f", record, 4 if body == _HEADER.size else _HEADER.size)[0]


def _walked(reader: _Reader, progress: bool) -> Index:
    """The index of a file that has none: keys are the ids of the records, or their numbers if ids come twice."""
    from tqdm import tqdm

    if reader.size == 0:
        raise VlrfaceError(f"{reader.where}: the file is empty. {_COPY_AGAIN}")
    offsets = array("q")
    at = 0
    with tqdm(total=reader.size, desc="records", unit="B", unit_scale=True, disable=not progress) as bar:
        while at < reader.size:
            offsets.append(at)
            after = reader.end(at)
            bar.update(after - at)
            at = after
    places = np.array(offsets, np.int64)
    room = places + _WORDS.size + _HEADER.size <= reader.size
    ids = np.concatenate([reader.heads(places[room][i : i + _BLOCK])["id"] for i in range(0, len(places), _BLOCK)])
    usable = room.all() and (ids < 2**62).all() and len(np.unique(ids)) == len(ids)
    return Index(ids.astype(np.int64) if usable else np.arange(len(places)), places)


_Found = tuple[Bool[ndarray, " n"], Int[ndarray, " n"]]
"""Which records are pictures, and the identity of each record."""


def _by_runs(reader: _Reader, index: Index, inside: Bool[ndarray, " n"]) -> _Found | None:
    """Who is who by the records of persons; None where they do not tell it, beyond doubt, for every picture."""
    rows = np.argsort(index.keys, kind="stable")
    if len(rows) < 3 or index.keys[rows[0]] != 0 or index.keys[rows[-1]] != len(rows) - 1 or not inside[rows[0]]:
        return None  # keys all differ, so that these are 0, 1, 2, …
    zero = _facts(reader, index.offsets[rows[:1]])
    begin, end = zero.labels[0].tolist()
    if not (zero.person[0] and 1 < begin < end == len(rows) <= _EXACT and begin.is_integer()):
        return None
    persons = rows[int(begin) :]
    if not inside[persons].all():
        return None
    runs = _facts(reader, index.offsets[persons])
    starts, ends = runs.labels[np.argsort(runs.labels[:, 0])].T
    if not (runs.person.all() and starts[0] == 1 and (starts[1:] == ends[:-1]).all() and ends[-1] == begin):
        return None
    starts, ends = starts.astype(np.int64), ends.astype(np.int64)
    edges = rows[np.concatenate([starts, ends - 1])]
    if not ((starts < ends).all() and inside[edges].all()):
        return None
    told = _facts(reader, index.offsets[edges])
    first, last = told.labels[:, 0].reshape(2, -1)
    if not (told.whole.all() and _are_identities(first).all() and (first == last).all()):
        return None
    pictures = np.zeros(len(rows), np.bool_)
    pictures[rows[1 : int(begin)]] = True
    identities = np.full(len(rows), UNKNOWN_IDENTITY, np.int64)
    identities[rows[1 : int(begin)]] = np.repeat(first.astype(np.int64), ends - starts)
    return pictures, identities


def _by_heads(
    reader: _Reader, index: Index, inside: Bool[ndarray, " n"], allow_missing: bool, progress: bool
) -> _Found:
    """Who is who by the head of every record."""
    from tqdm import tqdm

    pictures = np.ones(len(index), np.bool_)
    identities = np.full(len(index), UNKNOWN_IDENTITY, np.int64)
    rows = np.flatnonzero(inside)
    with tqdm(total=len(rows), desc="records", unit="rec", disable=not progress, dynamic_ncols=True) as bar:
        for block in (rows[i : i + _BLOCK] for i in range(0, len(rows), _BLOCK)):
            facts = _facts(reader, index.offsets[block])
            if not (facts.whole.all() or allow_missing):
                key = int(index.keys[block[~facts.whole][0]])
                raise VlrfaceError(
                    f"{reader.where}: record {key} is damaged, or the .idx file is of another .rec file. {_COPY_AGAIN}"
                )
            labels = facts.labels[:, 0]
            wrong = facts.whole & ~facts.person & ~_are_identities(labels)
            if wrong.any():
                raise VlrfaceError(
                    f"{reader.where}: record {int(index.keys[block[wrong][0]])} has label {labels[wrong][0]}, "
                    "no whole number ≥ 0. Give a set whose labels are persons"
                )
            pictures[block] = ~facts.person
            named = facts.whole & ~facts.person
            identities[block[named]] = labels[named].astype(np.int64)
            bar.update(len(block))
    return pictures, identities


def _are_identities(labels: Float[ndarray, " n"]) -> Bool[ndarray, " n"]:
    return (labels >= 0) & (labels <= _LARGEST) & (labels == np.floor(labels))
