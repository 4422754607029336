"""Manifests in a table: CSV, with commas, semicolons or tabs, or Parquet.

A table has a column `source` (or `path`, or `file`), and may have `identity` and `split`; titles count in any case.
Other columns that hold nothing but numbers become truths.
"""

import csv
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vlrface.data.lines import check_room, text_array, text_lines
from vlrface.data.listed import path_inside
from vlrface.data.manifest import Manifest
from vlrface.data.packed import PackedFile
from vlrface.data.parquet import parquet_rows
from vlrface.types import DISTRACTOR_IDENTITY, UNKNOWN_IDENTITY, VlrfaceError

SOURCE_TITLES: Final = ("source", "path", "file")
"""Titles of the column of pictures; the first of them that a table has is taken."""

_IDENTITY: Final = "identity"
_SPLIT: Final = "split"
_DELIMITERS: Final = (",", ";", "\t")
_MAX_BYTES: Final = 2 * 2**30
_MAX_LINE: Final = 2**16
_MAX_TEXT: Final = 4096
_MAX_ROWS: Final = 10_000_000
_MAX_COLUMNS: Final = 256
_LARGEST: Final = 2**63 - 1
_NUMBER: Final = re.compile(
    r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE
)
_WHOLE: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NO_IDENTITY: Final = (
    f"Give whole numbers ≥ 0 or names; leave it empty, or {UNKNOWN_IDENTITY}, for an unknown person, "
    f"{DISTRACTOR_IDENTITY} for a distractor"
)


def read_table(path: Path, root: Path | None = None, *, split: str = "train") -> Manifest:
    """Read a table of pictures; the pictures are not looked at.

    Args:
        path: CSV in UTF-8, or Parquet (told by its first bytes); at most 2 GiB, ten million rows, 256 columns.
        root: what the sources are relative to; the folder of the table if None.
        split: of rows for which the table names none.

    Returns:
        Rows in the order of the table. Identities that are all numbers stay what they are; otherwise all are names, and
        the identities count the names in sorted order from 0. An empty identity is `UNKNOWN_IDENTITY`, as is every one
        of a table without such a column. Truths are the other columns in which every value is a finite number or empty
        (NaN), and one at least a number; columns with anything else are left out.

    Raises:
        VlrfaceError: no such file, too large, or neither CSV nor Parquet; no column of sources (those that are there
            are named); a row with more or fewer fields than titles; an identity that is NaN, negative or not whole
            among numbers; a source that points outside the root, or occurs twice in a split.
    """
    with PackedFile.found(path).opened() as file:
        parquet = file.read(4) == b"PAR1"
    found = _read_parquet(path) if parquet else _read_csv(path)
    if not found.sources:
        raise VlrfaceError(f"{path}: the table has no rows")
    return Manifest(
        text_array(found.sources, str(path)),
        found.identities(),
        found.splits(split),
        found.truths(),
        path.parent if root is None else root,
    )


class _Codes:
    """A column of texts that repeat: each kept once."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.rows = array("q")

    def add(self, text: str) -> None:
        self.rows.append(self.texts.setdefault(text, len(self.texts)))

    def of(self, numbers: Sequence[int]) -> Int[ndarray, " n"]:
        """The number of each row, given that of each text."""
        return np.array(numbers, np.int64)[np.array(self.rows, np.int64)]


class _Gathered:
    """Rows as they are read."""

    def __init__(self, path: Path, titles: Sequence[str]) -> None:
        self._path = path
        names = [title.strip().lower() for title in titles]
        self.place = _places(path, titles, names)
        self.sources: list[str] = []
        self._longest = 0
        self._codes = {name: _Codes() for name in (_IDENTITY, _SPLIT) if name in self.place}
        # A column is given up at the first value that is no number.
        self._numbers = {
            title.strip(): (at, array("d"))
            for at, title in enumerate(titles)
            if at not in self.place.values() and names[at].isprintable() and names[at]
        }

    def add(self, values: Sequence[str], where: str) -> None:
        """A row of texts, one per title."""
        if len(self.sources) == _MAX_ROWS:
            raise VlrfaceError(f"{where}: more than {_MAX_ROWS:,} rows. Cut the table")
        source = values[self.place["source"]]
        # As they come: a Parquet file can hold a long text a million times in a few bytes.
        self._longest = max(self._longest, len(source))
        check_room(len(self.sources) + 1, self._longest, where)
        self.sources.append(path_inside(source, where))
        for name, codes in self._codes.items():
            codes.add(values[self.place[name]].strip())
        for title, (at, numbers) in list(self._numbers.items()):
            number = _finite(values[at].strip())
            if number is None:
                del self._numbers[title]
            else:
                numbers.append(number)

    def identities(self) -> Int[ndarray, " n"]:
        """Number of the person of each row.

        Raises:
            VlrfaceError: one is NaN, negative or not whole among numbers.
        """
        codes = self._codes.get(_IDENTITY)
        if codes is None:
            return np.full(len(self.sources), UNKNOWN_IDENTITY, np.int64)
        texts = [text for text in codes.texts if text]
        if not all(_NUMBER.fullmatch(text) for text in texts):
            order = {text: number for number, text in enumerate(sorted(texts))}
            return codes.of([order.get(text, UNKNOWN_IDENTITY) for text in codes.texts])
        numbers: list[int] = []
        for code, text in enumerate(codes.texts):
            number = _identity(text)
            if number is None:
                row = codes.rows.index(code)
                raise VlrfaceError(
                    f"{self._path}: row {row + 1} ({self.sources[row]}): {text[:40]!r} is no identity. {_NO_IDENTITY}"
                )
            numbers.append(number)
        return codes.of(numbers)

    def splits(self, default: str) -> ndarray:
        """(n,) str, split of each row."""
        codes = self._codes.get(_SPLIT)
        if codes is None:
            return np.full(len(self.sources), default)
        texts = [text or default for text in codes.texts]
        return text_array([texts[code] for code in codes.rows], str(self._path))

    def truths(self) -> dict[str, ndarray]:
        """Columns that hold a number at least, and nothing else."""
        columns = {title: np.array(numbers, np.float64) for title, (_, numbers) in self._numbers.items()}
        return {title: numbers for title, numbers in columns.items() if not np.isnan(numbers).all()}


def _places(path: Path, titles: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Which column is the source, the identity and the split."""
    if len(names) > _MAX_COLUMNS:
        raise VlrfaceError(f"{path}: {len(names)} columns are more than {_MAX_COLUMNS}, the limit. Leave some out")
    for name in names:
        if name and names.count(name) > 1:
            raise VlrfaceError(f"{path}: column {name[:40]!r} comes more than once. Rename one")
    place = {name: names.index(name) for name in (_IDENTITY, _SPLIT) if name in names}
    source = next((name for name in SOURCE_TITLES if name in names), None)
    if source is None:
        there = ", ".join(repr(title[:40]) for title in titles[:20]) + (", …" if len(titles) > 20 else "")
        raise VlrfaceError(
            f"{path}: no column {', '.join(SOURCE_TITLES[:-1])} or {SOURCE_TITLES[-1]}; there are: {there}"
        )
    return place | {"source": names.index(source)}


def _finite(text: str) -> float | None:
    """A number; NaN for an empty text or "nan"; None for anything else."""
    if text in ("", "nan", "NaN"):
        return float("nan")
    number = float(text) if _NUMBER.fullmatch(text) else float("inf")
    return number if np.isfinite(number) else None


def _identity(text: str) -> int | None:
    """The number that a text of a numeric column stands for; None if it stands for no identity."""
    if not text:
        return UNKNOWN_IDENTITY
    if _WHOLE.fullmatch(text):
        number = int(text) if len(text) < 30 else -2
    else:
        value = float(text)
        number = int(value) if np.isfinite(value) and value.is_integer() else -2
    return number if 0 <= number <= _LARGEST or number in (UNKNOWN_IDENTITY, DISTRACTOR_IDENTITY) else None


def _read_csv(path: Path) -> _Gathered:
    line = 0

    def texts() -> Iterator[str]:
        nonlocal line
        for line, text in text_lines(path, max_bytes=_MAX_BYTES, max_line=_MAX_LINE):  # noqa: B007 (read outside)
            yield text

    source = texts()
    head = next((text for text in source if text.strip()), None)
    if head is None:
        raise VlrfaceError(f"{path}: the table is empty. Give one with a line of titles, `source` among them")
    delimiter = _told_delimiter(head)
    try:
        titles = next(csv.reader([head], delimiter=delimiter, strict=True))
        found = _Gathered(path, titles)
        for values in csv.reader(source, delimiter=delimiter, strict=True):
            if not values:
                continue
            if len(values) != len(titles):
                raise VlrfaceError(f"{path}: line {line}: {len(values)} fields under {len(titles)} titles")
            found.add(values, f"{path}: line {line}")
    except csv.Error as error:
        raise VlrfaceError(
            f"{path}: line {line}: not CSV ({error}). Quote fields that hold separators or quotes"
        ) from error
    return found


def _told_delimiter(head: str) -> str:
    """The delimiter that parts the titles so that one of them is a title of sources; else the most frequent."""
    parts = {each: [title.strip(' \t\r\n"').lower() for title in head.split(each)] for each in _DELIMITERS}
    fitting = [each for each in _DELIMITERS if any(title in SOURCE_TITLES for title in parts[each])]
    return max(fitting or _DELIMITERS, key=lambda each: len(parts[each]))


def _read_parquet(path: Path) -> _Gathered:
    titles, rows = parquet_rows(path)
    found = _Gathered(path, titles)
    for number, values in enumerate(rows, 1):
        found.add(values, f"{path}: row {number}")
    return found
