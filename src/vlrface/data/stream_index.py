"""Where millions of pictures lie in large files: an index on disk, memory-mapped, shared by all processes.

An index is a folder of columns, ordinary .npy files with one row per picture, and a card that is written last: without
it there is no index. Nothing of it is ever pickled but its path, and what is not looked at costs no memory.
"""

import hashlib
import json
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Int, Int32, Int64
from numpy import ndarray

from vlrface.data.packed import OpenFiles, PackedFile
from vlrface.data.recordio import read_picture
from vlrface.files import written_atomically
from vlrface.images.decode import DecodeError
from vlrface.types import VlrfaceError

StreamKind = Literal["records", "shards"]

_VERSION: Final = 1  # raise it when the same files give other columns
_CARD: Final = "card.json"
_ROWS: Final = 2**18  # that are written at once
_GAP: Final = 2**20  # bytes between two pictures that are still read ahead together
_TAIL: Final = 2**16  # bytes after the place of the last one


@dataclass(frozen=True, eq=False)
class StreamIndex:
    """Pictures inside files, and who is on them.

    Attributes:
        folder: of the index.
        root: folder to which the names of the files are relative.
        kind: how a picture is cut out: "records" of RecordIO, or members of tar "shards".
        files: that hold the pictures.
        offsets: (n,) where each begins, in bytes.
        lengths: (n,) of each, in bytes; None for records, which say it themselves.
        numbers: (n,) which of the files; None if there is one.
        persons: (n,) row of `labels`.
        labels: (k,) the label of each person, ascending.
        names: (n,) bytes, the key of each picture.
    """

    folder: Path
    root: Path
    kind: StreamKind
    files: tuple[PackedFile, ...]
    offsets: Int64[ndarray, " n"]
    lengths: Int32[ndarray, " n"] | None
    numbers: Int32[ndarray, " n"] | None
    persons: Int32[ndarray, " n"]
    labels: Int64[ndarray, " k"]
    names: ndarray
    _open: OpenFiles = field(default_factory=OpenFiles, repr=False)

    def __len__(self) -> int:
        return len(self.offsets)

    def __reduce__(self) -> tuple[Any, ...]:
        return StreamIndex.opened, (self.folder, self.root)

    @classmethod
    def opened(cls, folder: Path, root: Path) -> "StreamIndex":
        """Map an index.

        Raises:
            VlrfaceError: it is gone or damaged.
        """
        try:
            return _opened(folder, root)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise VlrfaceError(
                f"{folder}: the index of the pictures is gone or damaged ({error}). Do not clear the cache folder "
                "during a run; remove this folder to have it made again"
            ) from error

    def file(self, row: int) -> PackedFile:
        """The file that holds a picture."""
        return self.files[0 if self.numbers is None else int(self.numbers[row])]

    def shown(self, row: int) -> str:
        """How a message names a picture: file, key and place."""
        key = bytes(self.names[row]).decode("utf-8", "backslashreplace")
        return f"{self.file(row).path}: {key} at byte {int(self.offsets[row])}"

    def read(self, row: int) -> bytes:
        """The encoded bytes of a picture.

        Raises:
            DecodeError: it does not lie in its file, or its record is damaged.
            VlrfaceError: the file cannot be read, or changed since it was indexed.
        """
        packed, offset = self.file(row), int(self.offsets[row])
        with self._open.opened(packed) as file:
            if self.lengths is None:
                return read_picture(file, packed.size, offset, self.shown(row))
            file.seek(offset)
            data = file.read(int(self.lengths[row]))
        if len(data) < int(self.lengths[row]):
            raise DecodeError(f"{self.shown(row)}: beyond the end of the file. Copy or download it again")
        return data

    def will_need(self, rows: Int[ndarray, " m"]) -> None:
        """Ask the system to read these pictures ahead, in one go where they lie side by side. Nothing waits for it."""
        if len(rows) == 0 or not hasattr(os, "posix_fadvise"):  # a system without it reads when it must
            return
        numbers = np.zeros(len(rows), np.int32) if self.numbers is None else self.numbers[rows]
        order = np.lexsort((self.offsets[rows], numbers))
        numbers, places = numbers[order], self.offsets[rows][order]
        starts = np.flatnonzero((np.diff(numbers, prepend=-1) != 0) | (np.diff(places, prepend=0) > _GAP))
        for first, after in zip(starts, [*starts[1:], len(places)], strict=True):
            begin, end = int(places[first]), int(places[after - 1])
            with self._open.opened(self.files[int(numbers[first])]) as file:
                os.posix_fadvise(file.fileno(), begin, end - begin + _TAIL, os.POSIX_FADV_WILLNEED)

    def fingerprint(self) -> str:
        """Changes with the names, sizes and times of the files, and with what their index says. Reads no picture."""
        return self.folder.name


def indexed(
    cache: Path,
    root: Path,
    kind: StreamKind,
    files: tuple[PackedFile, ...],
    beside: tuple[PackedFile, ...],
    describe: "Callable[[], Described]",
) -> StreamIndex:
    """The index of these files, from the cache or described now.

    Args:
        cache: folder of caches.
        root: folder to which the names of the files are relative.
        kind: of the files.
        files: with the pictures.
        beside: files whose change also makes another index, such as the .idx of a .rec.
        describe: says what is in the files; it is asked only if that is not known yet.

    Raises:
        VlrfaceError: as `describe`, or the index cannot be written.
    """
    states = [[_relative(each.path, root), each.size, each.mtime_ns] for each in (*files, *beside)]
    key = hashlib.sha256(json.dumps([_VERSION, kind, len(files), states]).encode()).hexdigest()[:24]
    folder = cache / f"index-{key}"
    if (folder / _CARD).is_file():
        try:
            return _checked(folder, root)
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{folder}: damaged index ({error}); it is made again", stacklevel=2)
    described = describe()
    try:
        sums = _write(folder, described)
        facts = {"kind": kind, "count": described.count, "files": states[: len(files)], "checksums": sums}
        with written_atomically(folder / _CARD) as temporary:
            temporary.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    except OSError as error:
        raise VlrfaceError(f"the index of the pictures: {error.strerror or error}") from error
    return StreamIndex.opened(folder, root)


@dataclass(frozen=True, eq=False)
class Described:
    """What an index is made of, block by block, so that no column need be in memory at once.

    Attributes:
        count: pictures, n.
        labels: (k,) labels of the persons, ascending, all different.
        columns: by name, how a column is stored, and its blocks. "persons" holds labels here.
    """

    count: int
    labels: Int64[ndarray, " k"]
    columns: Mapping[str, tuple[np.dtype[Any], Iterable[ndarray]]]


def blocks(values: ndarray) -> Iterator[ndarray]:
    """A column in blocks."""
    return (values[first : first + _ROWS] for first in range(0, len(values), _ROWS))


def kept_array(values: ndarray, cache: Path, name: str) -> Path:
    """Write an array into the cache folder, once: its name has the hash of what it holds."""
    digest = hashlib.sha256(f"{values.dtype} {values.shape} ".encode() + np.ascontiguousarray(values).data)
    path = cache / f"{name}-{digest.hexdigest()[:24]}.npy"
    if not path.is_file():
        try:
            with written_atomically(path) as temporary, temporary.open("wb") as file:
                np.save(file, values)
        except OSError as error:
            raise VlrfaceError(f"{name} of the training pictures: {error.strerror or error}") from error
    return path


def mapped(path: Path) -> ndarray:
    """An array on disk, read where it is looked at, not writable.

    Raises:
        VlrfaceError: it is gone or damaged.
    """
    try:
        return np.load(path, mmap_mode="r").view(ndarray)
    except (OSError, ValueError) as error:
        raise VlrfaceError(f"{path}: gone or damaged ({error}). Do not clear the cache folder during a run") from error


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _write(folder: Path, described: Described) -> dict[str, int]:
    """Write the columns; returns the checksum of each."""
    (folder / _CARD).unlink(missing_ok=True)
    sums = {"labels": _checksum(described.labels)}
    for name, (dtype, parts) in described.columns.items():
        if name == "persons":
            parts = (np.searchsorted(described.labels, part) for part in parts)
        # Written, not mapped: a full disk is then an error instead of a crash of the process.
        with written_atomically(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            shape = (described.count,)
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            sums[name] = 0
            for part in parts:
                block = np.ascontiguousarray(part.astype(dtype, copy=False))
                sums[name] = _checksum(block, sums[name])
                file.write(block.data)
    with written_atomically(folder / "labels.npy") as temporary, temporary.open("wb") as file:
        np.save(file, described.labels)
    return sums


def _checksum(column: ndarray, before: int = 0) -> int:
    for block in blocks(column):
        before = zlib.crc32(np.ascontiguousarray(block).data, before)
    return before


def _checked(folder: Path, root: Path) -> StreamIndex:
    """The index, if every column is what was written."""
    index = _opened(folder, root)
    for name, expected in json.loads((folder / _CARD).read_text(encoding="utf-8"))["checksums"].items():
        column = getattr(index, name)
        if column is not None and _checksum(column) != expected:  # that of one file's numbers is not asked for
            raise ValueError(f"the checksum of {name} is another")
    return index


def _opened(folder: Path, root: Path) -> StreamIndex:
    facts = json.loads((folder / _CARD).read_text(encoding="utf-8"))
    count = int(facts["count"])

    def column(name: str, rows: int | None = count) -> Any:
        values = np.load(folder / f"{name}.npy", mmap_mode="r").view(ndarray)
        if values.ndim != 1 or rows not in (None, len(values)):
            raise ValueError(f"{name} has shape {values.shape}, not ({rows},)")
        return values

    files = tuple(PackedFile(root / name, int(size), int(mtime)) for name, size, mtime in facts["files"])
    shards = facts["kind"] == "shards"
    return StreamIndex(
        folder,
        root,
        "shards" if shards else "records",
        files,
        column("offsets"),
        column("lengths") if shards else None,
        column("numbers") if len(files) > 1 else None,
        column("persons"),
        column("labels", None),
        column("names"),
    )
