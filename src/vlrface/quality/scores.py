"""Quality from a file: a user's own table of scores, or another model's Faces file.

`parse_measure` reads what stands on a command line: `sharpness`, `mine=scores.csv:quality`, `mine=scores.csv:-brisque`,
`magface=magface.npz:norm`.
"""

import csv
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.data.lines import text_lines
from vlrface.data.parquet import parquet_rows
from vlrface.quality.embeddings import from_faces
from vlrface.quality.joining import refuse_absent, shown
from vlrface.quality.measure import BUILT_IN
from vlrface.types import UNRECOGNIZABLE_ROLE, Faces, VlrfaceError

_NAME_COLUMNS: Final = ("name", "path", "file", "filename")
_ROLE_COLUMN: Final = "role"
_TABLES: Final = (".csv", ".tsv", ".parquet")
_RESERVED: Final = ("recognizability", "norm", "random", "oracle")
_NAMED: Final = 10
_MISSING: Final = ("", "nan", "none", "null", "na", "n/a")

_MAX_BYTES: Final = 256 * 2**20
_MAX_LINE: Final = 2**16


@dataclass(frozen=True)
class MeasureRequest:
    """One quality measure that a user asks for.

    Attributes:
        name: what figures call it.
        path: the file that holds it; None for a built-in measure.
        column: of the file, "-" before it if less is better; None for the only one of a table.
    """

    name: str
    path: Path | None = None
    column: str | None = None


def parse_measure(text: str) -> MeasureRequest:
    """Read `NAME`, `NAME=FILE` or `NAME=FILE:COLUMN`.

    Raises:
        VlrfaceError: an unknown built-in name, a name that figures cannot carry or that means something else, or a file
            of a kind that is not read.
    """
    name, equals, rest = text.partition("=")
    if not equals:
        if name not in BUILT_IN:
            raise VlrfaceError(
                f"no quality measure is called {name!r}: give one of {', '.join(BUILT_IN)}, or NAME=FILE[:COLUMN]"
            )
        return MeasureRequest(name)
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+", name) or name in _RESERVED:
        raise VlrfaceError(
            f"--measure {text}: {name!r} is no name for a measure from a file: use letters, digits and _ . + -, "
            f"but none of {', '.join(_RESERVED)}"
        )
    file, colon, column = rest.rpartition(":")
    if not colon or Path(column).suffix.lower() in (*_TABLES, ".npz"):  # no column, as in C:\scores.csv
        file, column = rest, ""
    if Path(file).suffix.lower() not in (*_TABLES, ".npz") or (colon and file != rest and not column.lstrip("-")):
        raise VlrfaceError(
            f"--measure {text}: give NAME=FILE:COLUMN with a file that ends in .csv, .tsv, .parquet or .npz"
        )
    return MeasureRequest(name, Path(file), column or None)


def from_file(request: MeasureRequest, onto: Faces) -> Float[ndarray, " n"]:
    """The values of a measure that lies in a file.

    Args:
        request: with a path. For a Faces file the column is "norm", "recognizability" or one of its measures.
        onto: the faces that get the values.

    Returns:
        (n,) one per face, larger is better; NaN for a face without one.

    Raises:
        VlrfaceError: the file cannot be read, has no such column, or lacks faces.
    """
    if request.path is None:
        raise VlrfaceError(f"measure {request.name} is no measure from a file")
    if request.path.suffix.lower() != ".npz":
        return read_scores(request.path, onto, request.column)
    other = Faces.load(request.path)
    if request.column is None:
        there = ", ".join(["norm", "recognizability", *other.measures])
        raise VlrfaceError(f"{request.path}: say which measure, {request.name}={request.path}:COLUMN, of {there}")
    return from_faces(other, request.column, onto, label=str(request.path))


def read_scores(path: Path, onto: Faces, column: str | None = None) -> Float[ndarray, " n"]:
    """Scores of a CSV, TSV or Parquet table, larger is better.

    The table has a column "name" (or "path", "file", "filename"), one or several of scores, and perhaps "role". A row
    belongs to the face of that name; where no face is called so, to the one whose name ends as the given one does, or
    the other way round, by whole folders: "Probe/7_1.jpg" is "Testing_Set/Probe/7_1.jpg". An empty cell or "nan" is a
    face without quality, which is rejected first. Rows of other pictures are ignored.

    Args:
        path: ends in .csv or .tsv (UTF-8, at most 256 MiB, lines of 64 KiB) or .parquet (see `parquet_rows`).
        onto: the faces that get the scores.
        column: name of the scores, "-" before it if less is better; None if there is only one.

    Returns:
        (n,) one per face. NaN where the table says so, and for an absent face that could not be encoded anyway or is a
        made unrecognizable one.

    Raises:
        VlrfaceError: no table or one too large, no such column, a score that is no number, a face that is absent,
            occurs twice, or a name that fits several faces.
    """
    header, rows = _table(path)
    sign, wanted = (-1, column[1:]) if column is not None and column.startswith("-") else (1, column)
    name_at, score_at, role_at = _columns(path, header, wanted)
    finder = _Finder(onto)
    seen = 0
    values, found_at = np.full(len(onto), np.nan), np.zeros(len(onto), np.int64)
    for line, cells in rows:
        where = f"{path}, row {line}"
        if len(cells) != len(header):
            raise VlrfaceError(f"{where}: {len(cells)} cells under {len(header)} column names")
        seen = line
        row = finder.row(cells[name_at], None if role_at is None else cells[role_at], where)
        if row is None:
            continue
        if found_at[row]:
            raise VlrfaceError(
                f"{where}: {onto.roles[row]} {onto.names[row]} had a score in row {found_at[row]} already"
            )
        found_at[row] = line
        values[row] = sign * _number(cells[score_at], where, header[score_at])
    if not seen:
        raise VlrfaceError(f"{path}: a table needs at least one row")
    absent = (found_at == 0) & onto.encoded & (onto.roles != UNRECOGNIZABLE_ROLE)
    refuse_absent(onto, absent, f"{path}: no row for", "Leave a cell empty where there is no score")
    if np.isnan(values).all():
        raise VlrfaceError(f"{path}: column {header[score_at]!r} has no score at all")
    return values


class _Finder:
    """Which face a name of a table means."""

    def __init__(self, faces: Faces) -> None:
        self._faces = faces
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._by_end: dict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(faces.names.tolist()):
            self._exact[name].append(row)
            self._by_end[_parts(name)[-1]].append(row)

    def row(self, name: str, role: str | None, where: str) -> int | None:
        """The row of a face; None for a picture that is none of them.

        Raises:
            VlrfaceError: several faces fit.
        """
        parts = _parts(name)
        near = (
            row for row in self._by_end.get(parts[-1], ()) if _one_ends_other(parts, _parts(self._faces.names[row]))
        )
        for candidates in (self._exact.get(name, ()), near):
            fitting = [row for row in candidates if role is None or self._faces.roles[row] == role]
            if len(fitting) > 1:
                named = shown(self._faces, fitting[:_NAMED])
                raise VlrfaceError(
                    f"{where}: {name} fits several faces: {named}. Write more of the path, or a column role"
                )
            if fitting:
                return fitting[0]
        return None


def _parts(name: str) -> list[str]:
    return name.replace("\\", "/").removeprefix("./").split("/")


def _one_ends_other(first: Sequence[str], second: Sequence[str]) -> bool:
    length = min(len(first), len(second))
    return first[len(first) - length :] == second[len(second) - length :]


def _columns(path: Path, header: Sequence[str], wanted: str | None) -> tuple[int, int, int | None]:
    """Places of name, score and role."""
    twice = [column for place, column in enumerate(header) if column in header[:place]]
    if twice:
        raise VlrfaceError(f"{path}: two columns are called {twice[0]!r}")
    name = next((each for each in _NAME_COLUMNS if each in header), None)
    if name is None:
        raise VlrfaceError(f"{path}: no column {' or '.join(_NAME_COLUMNS)}; there are {', '.join(header)}")
    scores = [each for each in header if each not in (*_NAME_COLUMNS, _ROLE_COLUMN)]
    if wanted is None and len(scores) == 1:
        wanted = scores[0]
    if wanted not in scores:
        which = "say which column holds the scores" if wanted is None else f"no column {wanted!r} of scores"
        raise VlrfaceError(f"{path}: {which}; there are {', '.join(scores) or 'none'}. Give FILE:COLUMN")
    role = header.index(_ROLE_COLUMN) if _ROLE_COLUMN in header else None
    return header.index(name), header.index(wanted), role


def _number(cell: str, where: str, column: str) -> float:
    if cell.strip().lower() in _MISSING:
        return math.nan
    try:
        value = float(cell)
    except ValueError as error:
        raise VlrfaceError(f"{where}: {column} is {cell[:40]!r}, not a number") from error
    if math.isinf(value):
        raise VlrfaceError(f"{where}: {column} is infinite. Leave the cell empty for a face without quality")
    return value


def _table(path: Path) -> tuple[list[str], Iterable[tuple[int, Sequence[str]]]]:
    """Column names, and numbered rows of cells."""
    suffix = path.suffix.lower()
    if suffix not in _TABLES:
        raise VlrfaceError(f"{path}: scores are read from .csv, .tsv or .parquet")
    if not os.path.isfile(path):
        raise VlrfaceError(f"{path}: no such file")
    if suffix == ".parquet":
        header, rows = parquet_rows(path)
        return header, enumerate(rows, 1)
    return _separated(path, "\t" if suffix == ".tsv" else ",")


def _separated(path: Path, delimiter: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Rows are numbered as lines are where no cell holds a line break; the header is row 1."""
    texts = (text for _, text in text_lines(path, max_bytes=_MAX_BYTES, max_line=_MAX_LINE))
    try:
        lines = [(number, cells) for number, cells in enumerate(csv.reader(texts, delimiter=delimiter), 1) if cells]
    except csv.Error as error:
        raise VlrfaceError(f"{path}: not a table ({error}). Save it as CSV") from error
    if not lines:
        raise VlrfaceError(f"{path}: a table needs column names and at least one row")
    return [name.strip() for name in lines[0][1]], lines[1:]
