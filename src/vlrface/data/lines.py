"""Text lists, line by line, within bounds."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy import ndarray

from vlrface.data.packed import PackedFile
from vlrface.types import VlrfaceError

_MAX_ARRAY_BYTES: Final = 2 * 2**30
_BOM: Final = b"\xef\xbb\xbf"


def text_lines(path: Path, *, max_bytes: int, max_line: int) -> Iterator[tuple[int, str]]:
    """Read a UTF-8 file, with or without a byte-order mark, line by line.

    Args:
        path: a regular file.
        max_bytes: of the file.
        max_line: bytes of a line, its end included.

    Yields:
        Number of the line, from 1, and its text with the line end that it has.

    Raises:
        VlrfaceError: no such file, too large, a line too long, or bytes that are no UTF-8; with the number of the line.
    """
    file = PackedFile.found(path)
    if file.size > max_bytes:
        raise VlrfaceError(f"{path}: {file.size:,} bytes are more than {max_bytes:,}, the limit of such a list. Cut it")
    with file.opened() as opened:
        number = 0
        while line := opened.readline(max_line + 1):
            number += 1
            if len(line) > max_line:
                raise VlrfaceError(f"{path}: line {number}: longer than {max_line:,} bytes. Give a text list")
            try:
                yield number, (line.removeprefix(_BOM) if number == 1 else line).decode()
            except UnicodeDecodeError as error:
                raise VlrfaceError(
                    f"{path}: line {number}: not UTF-8 text ({error.reason}). Save it as UTF-8"
                ) from error


def text_array(texts: Sequence[str], where: str) -> ndarray:
    """An array of str, within 2 GiB: numpy gives every text the room of the longest, so one long line costs much.

    Args:
        texts: what it holds.
        where: the list, for messages.

    Raises:
        VlrfaceError: it would need more.
    """
    check_room(len(texts), max(map(len, texts), default=0), where)
    return np.array(texts, np.str_)


def check_room(entries: int, longest: int, where: str) -> None:
    """Check that an array of str would stay within 2 GiB.

    Args:
        entries: of the array.
        longest: characters of the longest entry.
        where: the list, for messages.

    Raises:
        VlrfaceError: it would need more.
    """
    if 4 * longest * entries > _MAX_ARRAY_BYTES:
        raise VlrfaceError(
            f"{where}: {entries:,} entries of up to {longest:,} characters need more than "
            f"{_MAX_ARRAY_BYTES:,} bytes. Shorten the longest, or cut the list"
        )
