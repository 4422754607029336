"""What there is to look at, one small description after the other: files, members of shards, rows of tables, frames.

Listing opens no picture and keeps nothing: ten million pictures are listed in the memory of one folder. Only videos are
passed over, to count their frames. The order is the same each time, so that a place in it says what has been done.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from vlrface.bulk.tables import picture_column
from vlrface.bulk.videos import frame_numbers
from vlrface.data.folder import is_image_name
from vlrface.data.packed import MAX_PICTURE_BYTES
from vlrface.data.tar import tar_members
from vlrface.types import VlrfaceError

Kind = Literal["file", "member", "row", "frame"]

VIDEOS: Final = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts"))
"""Endings of video files."""

_GLOB: Final = frozenset("*?[")


@dataclass(frozen=True)
class FrameOptions:
    """Which frames of a video are looked at.

    Attributes:
        every: each so-manieth, from the first.
        estimated: believe what videos say of their length, which is fast, and wrong for some: for an estimate only.
    """

    every: int = 1
    estimated: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise VlrfaceError(f"frames are taken one by one or each second, third, …: not each {self.every}.")


@dataclass(frozen=True)
class Item:
    """A picture, or what may become one.

    Attributes:
        kind: "file" on disk, "member" of a tar shard, "row" of a Parquet table, "frame" of a video.
        path: the file, the shard, the table or the video.
        place: member: byte where it begins; row: number in the table; frame: number in the video, from 0.
        size: member: bytes; frame: each so-manieth is taken.
        name: member: its name.
        reason: why there is no picture; "" if there may be one. A container that cannot be read is a "file" with its
            reason.
    """

    kind: Kind
    path: str
    place: int = 0
    size: int = 0
    name: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        """What results call it: PATH, SHARD#NAME, TABLE#ROW or VIDEO#FRAME."""
        if self.kind == "file":
            return self.path
        return f"{self.path}#{self.name if self.kind == 'member' else self.place}"


def list_items(sources: Sequence[str], frames: FrameOptions | None = None) -> Iterator[Item]:
    """Everything that sources hold, in their order, each folder's in the order of names.

    What cannot be read stops nothing unless it was named: in folders, patterns and lists it becomes one item with its
    reason, behind what could be read of it.

    Args:
        sources: files, folders with all that is below them, patterns (`*`, `?`, `[...]`, `**`), tar shards, Parquet
            tables, videos, and lists (.txt: a source a line, relative to the list). Within a folder, images, shards,
            tables and videos are taken; hidden entries and linked folders are not. A file that is named is taken as a
            picture whatever it is called.
        frames: of videos.

    Raises:
        VlrfaceError: a source does not exist, or cannot be listed or read.
    """
    for source in sources:
        yield from _listed(source, frames or FrameOptions())


def check_sources(sources: Sequence[str]) -> None:
    """Refuse sources that are not there, before a model is loaded; patterns are not looked at.

    Raises:
        VlrfaceError: as `list_items`.
    """
    for source in sources:
        if not os.path.exists(source) and not _GLOB & set(source):
            raise _missing(source)


def _missing(source: str) -> VlrfaceError:
    return VlrfaceError(f"{source}: no such file, folder or pattern")


def _listed(source: str, frames: FrameOptions) -> Iterator[Item]:
    if os.path.isdir(source):
        yield from _folder(source, frames)
    elif os.path.isfile(source):
        yield from _file(source, frames, named=True)
    elif _GLOB & set(source):
        found = sorted(glob.iglob(source, recursive=True))
        if not found:
            raise VlrfaceError(f"{source}: nothing fits this pattern")
        for each in found:
            if os.path.isfile(each):
                yield from _found(each, frames)
    else:
        raise _missing(source)


def _folder(folder: str, frames: FrameOptions) -> Iterator[Item]:
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    except OSError as error:
        raise VlrfaceError(f"{folder}: cannot be listed ({error.strerror})") from error
    for name, is_folder in found:
        if name.startswith("."):
            continue
        path = os.path.join(folder, name)
        if is_folder:
            yield from _failing(path, _folder(path, frames))
        else:
            yield from _found(path, frames)


def _found(path: str, frames: FrameOptions) -> Iterator[Item]:
    """A file that nobody named."""
    return _failing(path, _file(path, frames, named=False))


def _failing(path: str, items: Iterator[Item]) -> Iterator[Item]:
    """The items; where no more can be read, one that says so."""
    try:
        yield from items
    except VlrfaceError as error:
        yield Item("file", path, reason=str(error).removeprefix(f"{path}: "))


def _file(path: str, frames: FrameOptions, *, named: bool) -> Iterator[Item]:
    ending = os.path.splitext(path)[1].lower()
    if ending == ".tar":
        yield from _members(path)
    elif ending == ".parquet":
        yield from (Item("row", path, row) for row in range(picture_column(Path(path))[1]))
    elif ending in VIDEOS:
        numbers = frame_numbers(path, frames.every, estimated=frames.estimated)
        yield from (Item("frame", path, number, frames.every) for number in numbers)
    elif ending == ".txt" and named:
        yield from _list(path, frames)
    elif named or is_image_name(os.path.basename(path)):
        yield Item("file", path)


def _list(path: str, frames: FrameOptions) -> Iterator[Item]:
    base = os.path.dirname(path)
    try:
        # A name that is not UTF-8 stands there as its bytes, as `--accepted` writes it.
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:
            for number, line in enumerate(lines, 1):
                source = line.rstrip("\r\n")
                if "\0" in source:
                    raise VlrfaceError(f"{path}: not a list of files. One path a line, in UTF-8")
                if not source:
                    continue
                if source.endswith(".txt"):
                    raise VlrfaceError(f"{path}: line {number} names a list again. Name pictures, folders or shards")
                place = os.path.join(base, source)
                yield from _failing(place, _listed(place, frames))
    except OSError as error:
        raise VlrfaceError(f"{path}: not a list of files ({error}). One path a line, in UTF-8") from error


def _members(path: str) -> Iterator[Item]:
    try:
        # Uncompressed only: a member is read at its place.
        with open(path, "rb") as opened:
            for member in tar_members(opened, path):
                if is_image_name(os.path.basename(member.name)):
                    reason = "stored as a sparse file. Pack it again without" if member.issparse() else ""
                    if member.size > MAX_PICTURE_BYTES:
                        reason = f"has {member.size:,} bytes, more than {MAX_PICTURE_BYTES:,}. Save it smaller"
                    yield Item("member", path, member.offset_data, member.size, member.name, reason)
    except OSError as error:
        raise VlrfaceError(f"{path}: cannot be read ({error.strerror or error})") from error
