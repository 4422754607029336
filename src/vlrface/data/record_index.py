"""What lies beside a .rec file: the .idx file with the place of each record, and the .lst file with names."""

import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vlrface.data.lines import text_array
from vlrface.data.listed import path_inside
from vlrface.data.packed import PackedFile
from vlrface.types import VlrfaceError

_MAX_INDEX_BYTES: Final = 2 * 2**30  # a hundred million records
_MAX_NAMES_BYTES: Final = 256 * 2**20
_MAX_LINE: Final = 4096
_BLOCK: Final = 4 * 2**20
_LINES: Final = re.compile(rb"(?:[0-9]{1,18}+[\t ]++[0-9]{1,18}+[\t ]*+\r?+\n)*+")
_COPY_AGAIN: Final = "Copy or download it again"


@dataclass(frozen=True, eq=False)
class Index:
    """Records by key.

    Attributes:
        keys: (n,) all different, at least 0.
        offsets: (n,) where each record begins, in bytes.
    """

    keys: Int[ndarray, " n"]
    offsets: Int[ndarray, " n"]

    def __len__(self) -> int:
        return len(self.keys)

    def texts(self) -> ndarray:
        """(n,) str, the keys in decimal, in as little memory as they need."""
        digits = len(str(int(self.keys.max()))) if len(self) else 1
        return self.keys.astype(f"U{digits}")


def read_index(path: Path) -> Index:
    """Read an .idx file: lines of key and place, both whole numbers.

    Args:
        path: at most 2 GiB. It is read in blocks: 16 bytes per record stay.

    Raises:
        VlrfaceError: too large, a line that is not of this form (its number is given), or a key that comes twice.
    """
    file = PackedFile.found(path)
    if file.size > _MAX_INDEX_BYTES:
        raise VlrfaceError(f"{path}: {file.size:,} bytes are more than {_MAX_INDEX_BYTES:,}, the limit of an index")
    blocks: list[ndarray] = []
    line = 1
    with file.opened() as opened:
        while block := opened.read(_BLOCK):
            block += opened.readline(_MAX_LINE)
            if not block.endswith(b"\n"):  # the last line of a file may lack it
                block += b"\n"
            match = _LINES.match(block)
            if match is None or match.end() < len(block):
                line += block.count(b"\n", 0, match.end() if match else 0)
                raise VlrfaceError(f"{path}: line {line}: not a key and a place. {_COPY_AGAIN}")
            line += block.count(b"\n")
            blocks.append(np.fromstring(block.decode("ascii"), np.int64, sep=" "))
    table = np.concatenate([np.empty(0, np.int64), *blocks]).reshape(-1, 2)
    blocks.clear()  # as large as the table itself
    if len(table) == 0:
        raise VlrfaceError(f"{path}: the index is empty. {_COPY_AGAIN}, or remove it to have the records counted")
    keys = np.ascontiguousarray(table[:, 0])
    if not (np.diff(keys) > 0).all():
        numbers, times = np.unique(keys, return_counts=True)
        if (times > 1).any():
            raise VlrfaceError(f"{path}: key {numbers[times > 1][0]} comes more than once. {_COPY_AGAIN}")
    return Index(keys, np.ascontiguousarray(table[:, 1]))


def read_names(path: Path, index: Index) -> ndarray | None:
    """Read what a .lst file of `im2rec` calls the records: lines of key, labels and path, tabs between them.

    Args:
        path: UTF-8, at most 256 MiB.
        index: the records to be named; others in the list are not looked at.

    Returns:
        (n,) str, in the order of the index; None where there is no such file or it has another format, as those of
        insightface do, which name no keys.

    Raises:
        VlrfaceError: it lacks a record of the index, or a path points outside its root.
    """
    if not path.is_file():
        return None
    file = PackedFile.found(path)
    if file.size > _MAX_NAMES_BYTES:
        return None
    names: dict[int, str] = {}
    with file.opened() as opened:
        for line in count(1):
            text = opened.readline(_MAX_LINE)
            if not text:
                break
            entry = _entry(text)
            if entry is None:
                return None
            names[entry[0]] = path_inside(entry[1], f"{path}: line {line}")
    lacking = [key for key in index.keys.tolist() if key not in names]
    if lacking:
        raise VlrfaceError(
            f"{path}: no line for {len(lacking)} of {len(index)} records, first {lacking[0]}. "
            "Take the list of these records, or remove it"
        )
    return text_array([names[key] for key in index.keys.tolist()], str(path))


def _entry(line: bytes) -> tuple[int, str] | None:
    """Key and path of a line; None if it is not one of `im2rec`."""
    try:
        fields = line.decode().rstrip("\r\n").split("\t")
        for label in fields[1:-1]:
            float(label)
    except ValueError:
        return None
    key = fields[0]
    whole = key.isascii() and key.isdecimal() and len(key) < 19
    return (int(key), fields[-1]) if whole and len(fields) >= 3 and line.endswith(b"\n") else None
