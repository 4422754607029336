"""WebDataset shards: tar files of samples, each a picture and its label under one key.

A shard is walked once; where its pictures lie is kept in the cache folder, shard by shard, so that an interrupted walk
goes on where it was and another list of shards walks the new ones alone. Samples are then read at their place, in any
order.
"""

import glob
import hashlib
import itertools
import json
import re
import tarfile
import zipfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from jaxtyping import Int32, Int64
from numpy import ndarray

from vlrface.data.packed import MAX_PICTURE_BYTES, PackedFile
from vlrface.data.stream_index import Described, indexed
from vlrface.data.streamed import StreamedCrops
from vlrface.data.tar import tar_members
from vlrface.files import written_atomically
from vlrface.types import VlrfaceError

PICTURES: Final = frozenset(("jpg", "jpeg", "png", "webp"))
"""Endings of pictures in a shard."""

_VERSION: Final = 1
_SHARDS: Final = 20_000
_KEY: Final = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)  # as WebDataset: up to the first dot of the name
_RANGE: Final = re.compile(r"\{(\d{1,12})\.\.(\d{1,12})\}")
_CHOICE: Final = re.compile(r"\{([^{}]*,[^{}]*)\}")
_LONGEST_KEY: Final = 1024  # bytes
_LARGEST_LABEL: Final = 2**53
_LARGEST_JSON: Final = 2**20


def stream_shards(pattern: str, root: Path, cache: Path, *, progress: bool = False) -> StreamedCrops:
    """Pictures of tar shards; each shard's index is made once and kept in the cache folder.

    Args:
        pattern: of the shards below `root`: with braces, `train-{0000..0099}.tar` or `{a,b}.tar`, all of which must be
            there, or with `*`, `?` and `[...]`, sorted by name.
        root: folder of the shards.
        cache: folder of caches.
        progress: show a progress bar while shards are walked.

    Returns:
        Pictures in the order of shards and of samples in them. A sample is what has one key: a picture (`PICTURES`),
        and its label in `.cls` (a whole number) or in `.json` (an object with a whole "label"). Other members are not
        looked at.

    Raises:
        VlrfaceError: no shard, one is missing, damaged, cut off or compressed, or a sample lacks picture or label; the
            message names shard, key and place.
    """
    files = tuple(PackedFile.found(root / name) for name in shard_names(pattern, root))

    def describe() -> Described:
        return _joined([_known(file, cache) for file in _shown(files, progress)])

    return StreamedCrops(indexed(cache, root, "shards", files, (), describe))


def shard_names(pattern: str, root: Path) -> list[str]:
    """The files that a pattern means, relative to `root`.

    Raises:
        VlrfaceError: there is none, or more than 20,000.
    """
    names = list(itertools.islice(_braces(pattern), _SHARDS + 1))
    if len(names) > _SHARDS:
        raise VlrfaceError(f"{pattern}: more than {_SHARDS:,} shards. Give fewer")
    found: list[str] = []
    for name in names:
        if glob.has_magic(name):
            found += sorted(glob.glob(name, root_dir=root, recursive=True))
        else:
            found.append(name)
    if not found:
        raise VlrfaceError(f"{root / pattern}: no shard of this name. Give the pattern of tar files, as in train-*.tar")
    twice = len(found) - len(set(found))
    if twice:
        raise VlrfaceError(f"{root / pattern}: {twice} shards come twice. Give a pattern that names each once")
    return found


def _braces(pattern: str) -> Iterator[str]:
    span = _RANGE.search(pattern)
    if span is not None:
        width = len(span[1]) if span[1].startswith("0") else 1
        inside: Iterator[str] = (f"{number:0{width}}" for number in range(int(span[1]), int(span[2]) + 1))
    else:
        span = _CHOICE.search(pattern)
        if span is None:
            yield pattern
            return
        inside = iter(span[1].split(","))
    for each in inside:
        yield from _braces(pattern[: span.start()] + each + pattern[span.end() :])


@dataclass(frozen=True, eq=False)
class _Shard:
    """Samples of one shard: place and length of the picture in bytes, label, key (bytes)."""

    offsets: Int64[ndarray, " n"]
    lengths: Int32[ndarray, " n"]
    labels: Int64[ndarray, " n"]
    names: ndarray


def _shown(files: Sequence[PackedFile], progress: bool) -> Iterator[PackedFile]:
    from tqdm import tqdm

    return iter(tqdm(files, desc="shards", unit="tar", disable=not progress, dynamic_ncols=True))


def _known(file: PackedFile, cache: Path) -> _Shard:
    """The samples of a shard, walked now or before."""
    state = [_VERSION, str(file.path.resolve()), file.size, file.mtime_ns]
    path = cache / "shards" / f"{hashlib.sha256(json.dumps(state).encode()).hexdigest()[:24]}.npz"
    try:
        with path.open("rb") as opened, np.load(opened) as kept:
            return _Shard(kept["offsets"], kept["lengths"], kept["labels"], kept["names"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        shard = _walked(file)
    try:
        with written_atomically(path) as temporary, temporary.open("wb") as opened:
            np.savez(opened, offsets=shard.offsets, lengths=shard.lengths, labels=shard.labels, names=shard.names)
    except OSError as error:
        raise VlrfaceError(f"the index of the pictures: {error.strerror or error}") from error
    return shard


def _walked(file: PackedFile) -> _Shard:
    samples = _Samples(str(file.path))
    with file.opened() as opened:
        for member in tar_members(opened, str(file.path)):
            if not member.issparse():
                samples.add(member, opened)
    return samples.finished()


class _Samples:
    """Samples in the making: members come one after another, those of one key together."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._key: str | None = None
        self._picture: tuple[int, int] | None = None
        self._label: int | None = None
        self._at = 0
        self._places, self._lengths, self._labels = array("q"), array("i"), array("q")
        self._names: list[bytes] = []

    def add(self, member: tarfile.TarInfo, opened: BinaryIO) -> None:
        match = _KEY.fullmatch(member.name.removeprefix("./"))
        if match is None:
            return
        key, ending = match[1], match[2].lower()
        if key != self._key:
            self._end_sample()
            self._key, self._at = key, member.offset
        if ending in PICTURES:
            if self._picture is not None:
                raise self._refused("has more than one picture. Keep one of them")
            if member.size > MAX_PICTURE_BYTES:
                raise self._refused(f"has {member.size:,} bytes, more than {MAX_PICTURE_BYTES:,}. Save it smaller")
            self._picture = (member.offset_data, member.size)
        elif ending == "cls" or (ending == "json" and self._label is None):
            self._label = self._read_label(member, ending, opened)

    def finished(self) -> _Shard:
        self._end_sample()
        if not self._names:
            raise VlrfaceError(f"{self._where}: no sample in it. Give shards of pictures with labels")
        seen = set(self._names)
        if len(seen) < len(self._names):
            twice = min(name for name in seen if self._names.count(name) > 1)
            raise VlrfaceError(f"{self._where}: sample {twice.decode()!r} comes twice. Give each a key of its own")
        columns = (
            np.array(self._places, np.int64),
            np.array(self._lengths, np.int32),
            np.array(self._labels, np.int64),
        )
        return _Shard(*columns, np.array(self._names, np.bytes_))

    def _end_sample(self) -> None:
        if self._key is None or (self._picture is None and self._label is None):
            return
        if self._picture is None:
            raise self._refused(f"has no picture ({', '.join(sorted(PICTURES))})")
        if self._label is None:
            raise self._refused('has no label: give it a .cls, or a .json with "label", beside the picture')
        name = self._key.encode("utf-8", "surrogateescape")
        if len(name) > _LONGEST_KEY:
            raise self._refused(f"has a key of {len(name)} bytes, more than {_LONGEST_KEY}")
        self._places.append(self._picture[0])
        self._lengths.append(self._picture[1])
        self._labels.append(self._label)
        self._names.append(name)
        self._picture = self._label = None

    def _read_label(self, member: tarfile.TarInfo, ending: str, opened: BinaryIO) -> int | None:
        if member.size > _LARGEST_JSON:
            raise self._refused(f".{ending} has {member.size:,} bytes. Give the label alone")
        opened.seek(member.offset_data)
        data = opened.read(member.size)
        try:
            label: Any = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._refused(f"has a .{ending} that cannot be read ({error}). Number the persons") from error
        if ending == "json":
            label = label.get("label") if isinstance(label, dict) else None
            if label is None:
                return None  # the label may stand in a .cls
        if type(label) is not int or not 0 <= label <= _LARGEST_LABEL:
            raise self._refused(f"has label {label!r} in its .{ending}, no whole number ≥ 0. Number the persons")
        return label

    def _refused(self, why: str) -> VlrfaceError:
        return VlrfaceError(f"{self._where}: sample {self._key!r} at byte {self._at} {why}")


def _joined(shards: Sequence[_Shard]) -> Described:
    width = max(shard.names.dtype.itemsize for shard in shards)
    numbers = (np.full(len(shard.labels), number) for number, shard in enumerate(shards))
    int32 = np.dtype(np.int32)
    return Described(
        sum(len(shard.labels) for shard in shards),
        np.unique(np.concatenate([np.unique(shard.labels) for shard in shards])),
        {
            "offsets": (np.dtype(np.int64), (shard.offsets for shard in shards)),
            "lengths": (int32, (shard.lengths for shard in shards)),
            "persons": (int32, (shard.labels for shard in shards)),
            "names": (np.dtype(f"S{width}"), (shard.names for shard in shards)),
            "numbers": (int32, numbers),
        },
    )
