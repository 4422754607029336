"""From an item to its pictures. One reader per worker: it keeps the shard, table or video open that it read last."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from vlrface.bulk.items import Item
from vlrface.bulk.tables import PictureTable
from vlrface.bulk.videos import Video
from vlrface.images.decode import DecodeError, decode, decode_bytes
from vlrface.types import VlrfaceError

Raw = Path | bytes | ndarray
"""What is decoded: a file that is yet to be read, its bytes, or a frame."""

FindFaces = Callable[[UInt8[ndarray, "_ _ 3"]], Sequence[UInt8[ndarray, "_ _ 3"]]]
"""A detector: the faces of a whole picture, cut out, in order."""


class Reader:
    """Reads items, best in their order."""

    def __init__(self) -> None:
        self._open: tuple[str, Any] | None = None
        self._closing = ExitStack()

    def read(self, item: Item) -> Raw:
        """What an item holds, not decoded; of a file, only where it is.

        Raises:
            DecodeError: nothing can be read there.
        """
        if item.reason:
            raise DecodeError(f"{item.key}: {item.reason}")
        try:
            if item.kind == "file":
                return Path(item.path)
            if item.kind == "member":
                return self._member(item)
            if item.kind == "row":
                table = self._opened(item.path, lambda: _closed_by_itself(PictureTable(Path(item.path))))
                return table.picture(item.place)
            video = self._opened(item.path, lambda: _closed_by_itself(Video(item.path)))
            return video.frame(item.place, item.size)
        except DecodeError:
            raise
        except VlrfaceError as error:
            raise DecodeError(str(error)) from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise DecodeError(f"{item.key}: cannot be read ({reason or error})") from error

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


def _closed_by_itself(opened: Any) -> tuple[Any, Callable[[], object]]:
    return opened, opened.close


def decoded(raw: Raw, key: str) -> UInt8[ndarray, "h w 3"]:
    """The picture as RGB.

    Raises:
        DecodeError: it is none that can be used.
    """
    if isinstance(raw, Path):
        return decode(raw)
    return decode_bytes(raw, key) if isinstance(raw, bytes) else raw
