"""From an item to its pictures. One reader per worker: it keeps the shard, table or video open that it read last."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vlrface.bulk.items import Item
from vlrface.images.decode import DecodeError, decode, decode_bytes
from vlrface.types import VlrfaceError

Raw = Path | bytes | ndarray
"""What is decoded: a file that is yet to be read, its bytes, or a frame."""

FindFaces = Callable[[UInt8[ndarray, "_ _ 3"]], Sequence[UInt8[ndarray, "_ _ 3"]]]
"""A detector: the faces of a whole picture, cut out, in order."""

COLUMNS: Final = ("image", "jpg", "png", "bytes", "path", "file")
"""Columns of a table that may hold pictures or their paths; the first that is there is taken."""


class Reader:
    """Reads items, best in their order."""

    def __init__(self) -> None:
        self._open: tuple[str, Any] | None = None
        self._closing = ExitStack()
        self._group: tuple[str, int, int, list[Any]] | None = None

    def read(self, item: Item) -> Raw:
        """What an item holds, not decoded; of a file, only where it is.

        Raises:
            DecodeError: nothing can be read there.
        """
        try:
            if item.kind == "file":
                return Path(item.path)
            if item.kind == "member":
                return self._member(item)
            return self._row(item) if item.kind == "row" else self._frame(item)
        except OSError as error:
            raise DecodeError(f"{item.key}: cannot be read ({error.strerror})") from error

    def close(self) -> None:
        """Close what is open."""
        self._closing.close()
        self._open = None

    def _opened(self, path: str, open_: Callable[[], tuple[Any, Callable[[], object]]]) -> Any:
        if self._open is None or self._open[0] != path:
            self.close()
            handle, close = open_()
            self._closing.callback(close)
            self._open = path, handle
        return self._open[1]

    def _member(self, item: Item) -> bytes:
        def open_() -> tuple[int, Callable[[], object]]:
            number = os.open(item.path, os.O_RDONLY)
            return number, lambda: os.close(number)

        data = os.pread(self._opened(item.path, open_), item.size, item.place)
        if len(data) < item.size:
            raise DecodeError(f"{item.key}: the shard is cut off")
        return data

    def _row(self, item: Item) -> Raw:
        if self._group is None or self._group[0] != item.path or not self._group[1] <= item.place < self._group[2]:
            self._group = item.path, *_group(Path(item.path), item.place)
        value = self._group[3][item.place - self._group[1]]
        if isinstance(value, dict):  # as Hugging Face's data sets write pictures
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return value
        if isinstance(value, str) and value:
            return Path(item.path).parent / value
        raise DecodeError(f"{item.key}: no picture in this row")

    def _frame(self, item: Item) -> ndarray:
        def open_() -> tuple[Any, Callable[[], object]]:
            video = cv2.VideoCapture(item.path)
            return video, video.release

        video = self._opened(item.path, open_)
        at = int(video.get(cv2.CAP_PROP_POS_FRAMES))
        if not 0 <= item.place - at <= 100:  # a few frames on are passed over faster than sought
            video.set(cv2.CAP_PROP_POS_FRAMES, item.place)
            at = int(video.get(cv2.CAP_PROP_POS_FRAMES))
        for _ in range(max(0, item.place - at)):
            video.grab()
        good, frame = video.read()
        if not good:
            raise DecodeError(f"{item.key}: the video has no such frame, or is damaged there")
        return np.ascontiguousarray(frame[:, :, ::-1])


def decoded(raw: Raw, key: str) -> UInt8[ndarray, "h w 3"]:
    """The picture as RGB.

    Raises:
        DecodeError: it is none that can be used.
    """
    if isinstance(raw, Path):
        return decode(raw)
    return decode_bytes(raw, key) if isinstance(raw, bytes) else raw


def picture_column(path: Path) -> tuple[str, int]:
    """Which column of a Parquet table has pictures or paths (`COLUMNS`), and how many rows there are.

    Raises:
        VlrfaceError: pyarrow is missing, no table, damaged, or no such column.
    """
    with _table(path) as file:
        names = file.schema_arrow.names
        found = next((name for name in COLUMNS if name in names), None)
        if found is None:
            raise VlrfaceError(f"{path}: no column of pictures. Name it {' or '.join(COLUMNS)}; there are {names[:20]}")
        return found, int(file.metadata.num_rows)


def _group(path: Path, row: int) -> tuple[int, int, list[Any]]:
    """First row, end and values of the row group that has a row."""
    column, _ = picture_column(path)
    with _table(path) as file:
        start = 0
        for number in range(file.num_row_groups):
            stop = start + file.metadata.row_group(number).num_rows
            if row < stop:
                return start, stop, file.read_row_group(number, columns=[column]).column(0).to_pylist()
            start = stop
    raise DecodeError(f"{path}#{row}: the table has no such row")


def _table(path: Path) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise VlrfaceError(f"{path}: reading Parquet needs pyarrow: pip install 'vlrface[parquet]'") from error
    try:
        return parquet.ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise VlrfaceError(f"{path}: damaged, or no Parquet table ({str(error).splitlines()[0][:200]})") from error
