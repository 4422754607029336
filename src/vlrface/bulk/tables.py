"""Parquet tables of pictures, read a few rows at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from vlrface.data.listed import path_inside
from vlrface.images.decode import DecodeError
from vlrface.types import VlrfaceError

COLUMNS: Final = ("image", "jpg", "png", "bytes", "path", "file")
"""Columns of a table that may hold pictures or their paths; the first that is there is taken."""

_ROWS: Final = 16  # in memory at a time
_BUFFER: Final = 2**20  # bytes; without it a column is read whole, however large its row group


def picture_column(path: Path) -> tuple[str, int]:
    """Which column of a Parquet table has pictures or paths (`COLUMNS`), and how many rows there are.

    Raises:
        VlrfaceError: pyarrow is missing, no table, damaged, or no such column.
    """
    with _opened(path) as file:
        names = file.schema_arrow.names
        found = next((name for name in COLUMNS if name in names), None)
        if found is None:
            raise VlrfaceError(f"{path}: no column of pictures. Name it {' or '.join(COLUMNS)}; there are {names[:20]}")
        return found, int(file.metadata.num_rows)


class PictureTable:
    """A table that is read row by row, fastest in order.

    Raises:
        VlrfaceError: as `picture_column`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._column, _ = picture_column(path)
        self._file = _opened(path)
        counts = [self._file.metadata.row_group(number).num_rows for number in range(self._file.num_row_groups)]
        self._stops = [sum(counts[: number + 1]) for number in range(len(counts))]
        self._group = -1
        self._batches: Iterator[Any] = iter(())
        self._batch: Any = ()
        self._start = 0
        self._failed = ""

    def picture(self, row: int) -> bytes | Path:
        """What a row has: the bytes of a picture, or where it lies, within the table's folder.

        Raises:
            DecodeError: neither, no such row, or the table is damaged there.
        """
        where = f"{self._path}#{row}"
        try:
            value = self._value(row)
            if isinstance(value, dict):  # as Hugging Face's data sets write pictures
                value = value.get("bytes") or value.get("path")
            if isinstance(value, str) and value:
                return self._path.parent / path_inside(value, where)
        except DecodeError:
            raise
        except VlrfaceError as error:
            raise DecodeError(str(error)) from error
        except Exception as error:  # a parser of foreign bytes may raise anything, MemoryError included
            raise DecodeError(f"{where}: cannot be read ({_reason(error)})") from error
        if isinstance(value, bytes):
            return value
        raise DecodeError(f"{where}: no picture in this row")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _value(self, row: int) -> Any:
        group = next((number for number, stop in enumerate(self._stops) if row < stop), None)
        if group is None:
            raise DecodeError(f"{self._path}#{row}: the table has no such row")
        if group != self._group or row < self._start:
            self._begin(group)
        while row >= self._start + len(self._batch):
            if self._failed:  # nothing behind the damage can be found
                raise DecodeError(f"{self._path}#{row}: cannot be read ({self._failed})")
            self._start += len(self._batch)
            self._batch = ()
            try:
                self._batch = next(self._batches).column(0)
            except Exception as error:  # as above
                self._failed = _reason(error)
        return self._batch[row - self._start].as_py()

    def _begin(self, group: int) -> None:
        self._group, self._failed, self._batch = group, "", ()
        self._start = self._stops[group - 1] if group else 0
        self._batches = self._file.iter_batches(_ROWS, row_groups=[group], columns=[self._column], use_threads=False)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _opened(path: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise VlrfaceError(f"{path}: reading Parquet needs pyarrow: pip install 'vlrface[parquet]'") from error
    try:
        return parquet.ParquetFile(path, buffer_size=_BUFFER)
    except Exception as error:  # a parser of foreign bytes may raise anything, MemoryError included
        raise VlrfaceError(f"{path}: damaged, or no Parquet table ({_reason(error)})") from error
