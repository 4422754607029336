"""Pictures that stay in their files until a sample needs them: decoded in the worker, kept nowhere.

For sets of millions, whose decoded cache would need hundreds of GB. What is decoded is what the cache would hold.
"""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, SupportsIndex

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, UInt8
from numpy import ndarray

from vlrface.data.cache import MAX_SIDE, shrunk_to
from vlrface.data.manifest import Manifest
from vlrface.data.packed import PackedFile
from vlrface.data.record_index import Index
from vlrface.data.recordio import describe_records
from vlrface.data.stream_index import Described, StreamIndex, blocks, indexed, kept_array, mapped
from vlrface.images.decode import DEFAULT_LIMITS, DecodeLimits, decode_bytes
from vlrface.types import VlrfaceError

_SPLIT: Final = "train"


@dataclass(frozen=True, eq=False)
class StreamedCrops:
    """Pictures of an index, all or some. `crops[i]` decodes one of them, (h, w, 3) uint8 RGB.

    Attributes:
        index: where they lie.
        chosen: (n,) rows of the index; None for all.
        file: the .npy file that `chosen` maps, else None. Mapped rows are pickled by path, not by content.
        max_side: a picture whose longer side exceeds so many pixels is shrunk to it, with its aspect kept.
        limits: what one picture may cost.
    """

    index: StreamIndex
    chosen: Int[ndarray, " n"] | None = None
    file: Path | None = None
    max_side: int = MAX_SIDE
    limits: DecodeLimits = DEFAULT_LIMITS

    def __len__(self) -> int:
        return len(self.index) if self.chosen is None else len(self.chosen)

    def __getitem__(self, row: SupportsIndex) -> UInt8[ndarray, "_ _ 3"]:
        """Read and decode one picture.

        Raises:
            DecodeError: it is broken; the message names file, key and place.
            VlrfaceError: its file cannot be read, or changed since it was indexed.
        """
        at = self._at(row)
        picture = shrunk_to(decode_bytes(self.index.read(at), self.index.shown(at), self.limits), self.max_side)
        picture.flags.writeable = False
        return picture

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ if self.file is None else {**self.__dict__, "chosen": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.file is not None:
            self.__dict__["chosen"] = mapped(self.file)

    @property
    def failures(self) -> ndarray:
        """(n,) "": whether a picture is good is known when it is decoded."""
        return np.broadcast_to(np.array(""), len(self))

    @property
    def names(self) -> ndarray:
        """(n,) bytes, the key of each picture."""
        return self.index.names[self._all]

    @property
    def persons(self) -> Int32[ndarray, " n"]:
        """(n,) row of `index.labels`."""
        return self.index.persons[self._all]

    @property
    def identities(self) -> Int64[ndarray, " n"]:
        """(n,) label of each."""
        return self.index.labels[self.persons]

    def name(self, row: SupportsIndex) -> str:
        """How a message names a picture: file, key and place."""
        return self.index.shown(self._at(row))

    def rows(self, index: Bool[ndarray, " n"] | Int[ndarray, " m"]) -> "StreamedCrops":
        """Some of the pictures, by mask or by index."""
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        chosen = index if self.chosen is None else self.chosen[index]
        return replace(self, chosen=chosen.astype(np.int32), file=None)

    def kept(self, cache: Path) -> "StreamedCrops":
        """The same with its choice in a file of the cache folder, so that processes share it."""
        if self.chosen is None or self.file is not None:
            return self
        file = kept_array(self.chosen, cache, "rows")
        return replace(self, chosen=mapped(file), file=file)

    def will_need(self, rows: Int[ndarray, " m"]) -> None:
        """Ask the system to read these pictures ahead."""
        self.index.will_need(rows if self.chosen is None else self.chosen[rows])

    def fingerprint(self) -> str:
        """Changes with the files, their index and the choice. Reads no picture."""
        digest = hashlib.sha256(f"{self.index.fingerprint()} {self.max_side}".encode())
        if self.chosen is not None:
            digest.update(np.ascontiguousarray(self.chosen, np.int32).data)
        return digest.hexdigest()

    def manifest(self) -> Manifest:
        """The same pictures as a manifest, for what is made once of a few of them."""
        names = np.char.decode(self.names, "utf-8", "surrogateescape")
        if self.index.numbers is not None:
            files = np.array([os.path.relpath(each.path, self.index.root) for each in self.index.files])
            names = np.char.add(np.char.add(files[self.index.numbers[self._all]], "/"), names)
        archive = StreamArchive(self, {name: row for row, name in enumerate(names.tolist())})
        return Manifest(names, self.identities, np.full(len(self), _SPLIT), archive=archive)

    @property
    def _all(self) -> "Int[ndarray, ' n'] | slice":
        return slice(None) if self.chosen is None else self.chosen

    def _at(self, row: SupportsIndex) -> int:
        return row.__index__() if self.chosen is None else int(self.chosen[row])


@dataclass(frozen=True, eq=False)
class StreamArchive:
    """The pictures of streamed crops by name, as a manifest asks for them.

    Attributes:
        crops: the pictures.
        row_of: row of each by its name.
    """

    crops: StreamedCrops
    row_of: dict[str, int]

    @property
    def path(self) -> Path:
        """The file, or the folder of all files."""
        files = [each.path for each in self.crops.index.files]
        return files[0] if len(files) == 1 else Path(os.path.commonpath(files))

    def contents(self) -> bytes:
        """Which picture lies where."""
        return self.crops.fingerprint().encode()

    def read(self, source: str) -> bytes:
        """The encoded bytes of a picture.

        Raises:
            VlrfaceError: there is no such picture, or its file changed since it was indexed.
            DecodeError: its record is damaged.
        """
        row = self.row_of.get(source)
        if row is None:
            raise VlrfaceError(f"{self.path}: no picture {source!r} among {len(self.crops)}")
        chosen = self.crops.chosen
        return self.crops.index.read(row if chosen is None else int(chosen[row]))


def stream_records(rec: Path, cache: Path, *, root: Path | None = None, progress: bool = False) -> StreamedCrops:
    """Pictures of a .rec file; its index is made once and kept in the cache folder.

    Args:
        rec: as `vlrface.data.recordio.read_records` takes it, with its .idx and .lst file beside it.
        cache: folder of caches.
        root: folder to which its name is relative in fingerprints; the folder of the file by default.
        progress: show a progress bar where every record is looked at.

    Raises:
        VlrfaceError: as `read_records`.
    """
    beside = [path for path in (rec.with_suffix(".idx"), rec.with_suffix(".lst")) if path.is_file()]

    def describe() -> Described:
        found = describe_records(rec, progress=progress)
        known = found.identities
        names = _key_blocks(found.index) if found.names is None else map(_encoded, blocks(found.names))
        width = _key_width(found.index) if found.names is None else 4 * (found.names.dtype.itemsize // 4)
        return Described(
            len(found.index),
            np.unique(known),
            {
                "offsets": (np.dtype(np.int64), blocks(found.index.offsets)),
                "persons": (np.dtype(np.int32), blocks(known)),
                "names": (np.dtype(f"S{width}"), names),
            },
        )

    file = PackedFile.found(rec)
    return StreamedCrops(
        indexed(cache, root or rec.parent, "records", (file,), tuple(map(PackedFile.found, beside)), describe)
    )


def _key_width(index: Index) -> int:
    return len(str(int(index.keys.max())))


def _key_blocks(index: Index) -> "map[ndarray]":
    width = _key_width(index)
    return map(lambda keys: keys.astype(f"S{width}"), blocks(index.keys))  # noqa: C417 (lazily, block by block)


def _encoded(names: ndarray) -> ndarray:
    return np.char.encode(names, "utf-8")
