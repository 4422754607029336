"""Parquet tables row by row, as CSV would have them, within bounds."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from vlrface.types import VlrfaceError

_MAX_BYTES: Final = 2 * 2**30
_MAX_TEXT: Final = 4096
_MAX_ROWS: Final = 10_000_000
_BATCH: Final = 2**14  # rows that are made Python values at once


def parquet_rows(path: Path) -> tuple[list[str], Iterator[tuple[str, ...]]]:
    """Titles and rows of the columns of texts and numbers; others are left out.

    What the file says of its sizes is checked before it is believed; rows are read a few thousand at a time, and a text
    that is repeated a million times is in memory once.

    Args:
        path: at most ten million rows and 2 GiB unpacked, texts of at most 4096 bytes.

    Returns:
        The titles, and an iterator of rows, one text per title; empty where there is no value. It raises, too.

    Raises:
        VlrfaceError: pyarrow is not installed, no such file, damaged, or too large.
    """
    rows = _rows(path)
    return list(next(rows)), rows


def _rows(path: Path) -> Iterator[tuple[str, ...]]:
    """The titles, then the rows."""
    try:
        import pyarrow as pa
        from pyarrow import compute, parquet
    except ImportError as error:
        raise VlrfaceError(f"{path}: reading Parquet needs pyarrow: pip install 'vlrface[parquet]'") from error
    try:
        # Sizes in the file's own tables are limited too; they are read before anything else is known.
        opened = partial(parquet.ParquetFile, path, thrift_string_size_limit=2**20, thrift_container_size_limit=2**20)
        with opened() as file:
            _check_size(file.metadata, path)
            kinds: dict[str, Any] = {field.name: field.type for field in file.schema_arrow}
        texts = [name for name, kind in kinds.items() if _is_text(pa, kind)]
        titles = [name for name, kind in kinds.items() if name in texts or _is_number(pa, kind)]
        yield tuple(titles)
        with opened(read_dictionary=texts) as file:
            for batch in file.iter_batches(_BATCH, columns=titles, use_threads=False):
                columns = [_as_texts(pa, compute, batch.column(name), path) for name in titles]
                yield from zip(*columns, strict=True)
    except VlrfaceError:
        raise
    except Exception as error:  # a parser of foreign bytes may raise anything, MemoryError included
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise VlrfaceError(f"{path}: damaged Parquet ({reason}). Copy it again, or save it as CSV") from error


def _is_text(pa: Any, kind: Any) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(inner) or pa.types.is_large_string(inner)


def _is_number(pa: Any, kind: Any) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)


def _check_size(metadata: Any, path: Path) -> None:
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    unpacked = sum(max(group.total_byte_size, 0) for group in groups)
    if metadata.num_rows > _MAX_ROWS or unpacked > _MAX_BYTES:
        raise VlrfaceError(
            f"{path}: {metadata.num_rows:,} rows, {unpacked:,} bytes unpacked are more than {_MAX_ROWS:,} or "
            f"{_MAX_BYTES:,}, the limits. Cut the table"
        )


def _as_texts(pa: Any, compute: Any, column: Any, path: Path) -> list[str]:
    """A column of a batch as CSV would have it; empty where there is no value."""
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    if _is_text(pa, values.type) and len(values):
        longest = compute.max(compute.binary_length(values)).as_py() or 0
        if longest > _MAX_TEXT:
            raise VlrfaceError(f"{path}: a text of {longest:,} bytes, more than {_MAX_TEXT:,}, the limit. Shorten it")
    return ["" if value is None else str(value) for value in column.to_pylist()]
