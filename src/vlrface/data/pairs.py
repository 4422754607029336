"""Lists of pairs in text files: LFW and XQLFW, CALFW and CPLFW, and plain lists of two paths.

Three forms are read, told apart by the first line or chosen by the caller:

- "lfw": a line "10 300" (folds, pairs of each kind in a fold) or "300"; then `name 1 2` for pictures 1 and 2 of a
  person and `name 1 other 2` for pictures of two, both kinds once per fold. The first line may be missing, as in RFW.
- "lines": two lines `file number` per pair, with the same number, 0 where the pair shows two persons. CALFW numbers the
  others by fold, CPLFW by 1.
- "paths": `path path 0|1` with an optional fold, between tabs, commas or blanks; a line of titles may go before.
"""

import os
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from vlrface.data.folder import file_names, is_image_name
from vlrface.data.lines import text_array, text_lines
from vlrface.data.listed import missing_below, name_inside, path_inside, refuse_missing
from vlrface.data.manifest import Benchmark, Manifest
from vlrface.data.persons import contradictions, persons_of_pairs
from vlrface.types import Pairing, VlrfaceError

Form = Literal["auto", "lfw", "lines", "paths"]
"""How a list is written; "auto" looks at its first line."""

FOLDS: Final = 10
"""Folds of the lists that have some without saying which pair is in which."""

_MAX_BYTES: Final = 256 * 2**20
_MAX_LINE: Final = 4096
_MAX_PAIRS: Final = 2_000_000
_BLANKS: Final = " \t\r\n"
_NUMBER: Final = re.compile("[0-9]{1,9}", re.ASCII)
_TRUTHS: Final = {"0": False, "1": True, "-1": False, "false": False, "true": True}
_TITLES: Final = ("same", "issame", "is_same", "label", "match", "genuine")
_FORMS: Final = (
    "Known forms: `10 300` and then `name 1 2` and `name 1 other 2` (lfw), two lines `file number` per pair (lines), "
    "`path path 0|1` (paths)"
)

_Row = tuple[str, list[str]]
"""Where a line stands, for messages, and its fields."""


def read_pairs(list_file: Path, root: Path, allow_missing: bool = False, *, form: Form = "auto") -> Benchmark:
    """Read a list of pairs and look for its pictures.

    Args:
        list_file: UTF-8 text of at most 256 MiB, lines of at most 4096 bytes, two million pairs.
        root: folder of the pictures: `root/<name>/<name>_0001.jpg` for "lfw", with any image ending; what the paths of
            the other forms are relative to.
        allow_missing: keep listed pictures that are not on disk in the manifest, and name them in `missing`, instead of
            refusing.
        form: how the list is written.

    Returns:
        A benchmark "pairs", split "face": each picture once, in the order in which the list names them. `pairing` has
        the pairs in list order. Folds count from 0, as the list says; a CALFW list says it of genuine pairs only, and a
        CPLFW or RFW list of none: pairs of a kind for which nothing is said fill the folds in list order, evenly, as
        the published protocols take them. Fold -1 for a plain list without folds, and where a list has one fold or too
        few pairs for ten. Identities are the names of an "lfw" list, counted in order of first occurrence; else the
        persons that genuine pairs join, see `persons_of_pairs`. Counts: `face`, `persons`, `positive_pairs`,
        `negative_pairs`, `contradictory_pairs` (of two faces of one person, yet listed as of two), `folds`, `missing`.

    Raises:
        VlrfaceError: no such list or folder; a line in another form, with its number; an entry that points outside the
            root; a list that is not whole; listed files are missing (the first ten are named) and `allow_missing` is
            not set.
    """
    if not root.is_dir():
        raise VlrfaceError(f"{root}: no such folder. Give the folder of the pictures that the list names")
    found = _Found()
    rows = _rows(list_file)
    head = next(rows, None)
    if head is None:
        raise VlrfaceError(f"{list_file}: the list is empty. {_FORMS}")
    form = _told_form(*head) if form == "auto" else form
    fold = _PARSERS[form](chain([head], rows), found)
    if not len(found):
        raise VlrfaceError(f"{list_file}: no pair in it. {_FORMS}")
    first, second, same = found.arrays()
    if form == "lfw":
        sources, missing = _on_disk(root, found.pictures)
        persons = np.unique([picture.split("/")[0] for picture in found.pictures], return_inverse=True)[1]
    else:
        sources = list(found.pictures)
        missing = missing_below(root, sources)
        persons = persons_of_pairs(len(sources), first, second, same)
    refuse_missing(root, missing, allow_missing)
    manifest = Manifest(
        text_array(sources, str(list_file)), _in_order(persons), np.full(len(sources), "face"), root=root
    )
    counts = {
        "face": len(manifest),
        "persons": len(np.unique(persons)),
        "positive_pairs": int(same.sum()),
        "negative_pairs": int((~same).sum()),
        "contradictory_pairs": contradictions(persons, first, second, same),
        "folds": len(np.unique(fold[fold >= 0])),
        "missing": len(missing),
    }
    return Benchmark("pairs", manifest, counts, {}, tuple(missing), pairing=Pairing(first, second, same, fold))


@dataclass
class _Found:
    """Pairs as they are read: pictures by name and row."""

    pictures: dict[str, int] = field(default_factory=dict[str, int])
    rows: "array[int]" = field(default_factory=lambda: array("q"))
    same: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.same)

    def add(self, first: str, second: str, same: bool, where: str) -> None:
        if len(self) == _MAX_PAIRS:
            raise VlrfaceError(f"{where}: more than {_MAX_PAIRS:,} pairs. Cut the list")
        for picture in (first, second):
            self.rows.append(self.pictures.setdefault(picture, len(self.pictures)))
        self.same.append(same)

    def arrays(self) -> tuple[Int[ndarray, " m"], Int[ndarray, " m"], Bool[ndarray, " m"]]:
        """First and second row, and whether both show one person."""
        rows = np.array(self.rows, np.int64)
        return rows[0::2].copy(), rows[1::2].copy(), np.frombuffer(bytes(self.same), np.bool_)


def _rows(list_file: Path) -> Iterator[_Row]:
    """Lines that are not blank; the separator is that of the first of several fields: tabs, commas, or any blanks."""
    separator: str | None = None
    for number, text in text_lines(list_file, max_bytes=_MAX_BYTES, max_line=_MAX_LINE):
        line = text.strip(_BLANKS)
        if not line:
            continue
        if separator is None and not line.isdecimal():
            separator = "\t" if "\t" in line else "," if line.count(",") in (2, 3) else " "
        cells = line.split(separator) if separator in ("\t", ",") else re.split("[ \t]+", line)
        yield f"{list_file}: line {number}", [cell.strip(_BLANKS).strip('"') for cell in cells]


def _told_form(where: str, cells: list[str]) -> Form:
    numbers = [_NUMBER.fullmatch(cell) is not None for cell in cells]
    match numbers:
        case [True] | [True, True] | [False, True, True] | [False, True, False, True]:
            return "lfw"
        case [False, True]:
            return "lines"
        case [_, False, _] | [_, False, _, _]:
            return "paths"
        case _:
            raise VlrfaceError(f"{where}: in no known form. {_FORMS}")


def _read_lfw(rows: Iterator[_Row], found: _Found) -> Int[ndarray, " m"]:
    where, header = next(rows)
    if len(header) > 2:
        rows = chain([(where, header)], rows)
    for at, cells in rows:
        if len(cells) not in (3, 4):
            raise VlrfaceError(f"{at}: {len(cells)} fields; expected `name 1 2` or `name 1 other 2`")
        name, one, *other, two = cells
        first = _picture(name, one, at)
        found.add(first, _picture(other[0] if other else name, two, at), not other, at)
    same = found.arrays()[2]
    return _stated_folds(header, same, where) if len(header) <= 2 else _even_folds(same)


def _picture(name: str, number: str, where: str) -> str:
    """Source of a picture, without its ending."""
    if not _NUMBER.fullmatch(number):
        raise VlrfaceError(f"{where}: {number[:40]!r} where the number of a picture belongs")
    return f"{name_inside(name, where)}/{name}_{int(number):04}"


def _stated_folds(header: list[str], same: Bool[ndarray, " m"], where: str) -> Int[ndarray, " m"]:
    if not all(_NUMBER.fullmatch(each) for each in header):
        raise VlrfaceError(f"{where}: expected the numbers of folds and pairs, such as `10 300`")
    size = int(header[-1])
    folds = int(header[0]) if len(header) == 2 else max(1, len(same) // max(1, 2 * size))
    if len(same) != folds * size * 2:
        raise VlrfaceError(
            f"{where}: promises {folds} folds of {size} genuine and {size} impostor pairs; {len(same)} pairs follow. "
            "Take another copy of the list"
        )
    genuine = same.reshape(folds, 2 * size).sum(axis=1)
    if (genuine != size).any():
        bad = int(np.flatnonzero(genuine != size)[0])
        raise VlrfaceError(f"{where}: fold {bad + 1} has {genuine[bad]} genuine pairs of {size}. Take another copy")
    return np.repeat(np.arange(folds), 2 * size) if folds > 1 else np.full(len(same), -1)


def _read_lines(rows: Iterator[_Row], found: _Found) -> Int[ndarray, " m"]:
    numbers = array("q")
    for where, cells in rows:
        last, others = next(rows, (where, ["", ""]))
        for at, each in ((where, cells), (last, others)):
            if len(each) != 2 or not _NUMBER.fullmatch(each[1]):
                raise VlrfaceError(f"{at}: expected two lines `file number` for each pair")
        if int(cells[1]) != int(others[1]):
            raise VlrfaceError(f"{last}: number {others[1]} after {cells[1]}; both lines of a pair have the same")
        numbers.append(int(cells[1]))
        found.add(path_inside(cells[0], where), path_inside(others[0], last), numbers[-1] > 0, last)
    same = found.arrays()[2]
    stated = np.array(numbers, np.int64)[same]
    fold = _even_folds(same)
    if len(stated) and stated.max() > 1:  # genuine pairs are numbered by fold
        there, fold[same] = np.unique(stated, return_inverse=True)
        fold[~same] = _stretches(int((~same).sum()), len(there))
    return fold


def _read_paths(rows: Iterator[_Row], found: _Found) -> Int[ndarray, " m"]:
    folds = array("q")
    columns = 0
    for where, cells in rows:
        if not columns and len(cells) in (3, 4) and cells[2].lower() in _TITLES:
            continue
        columns = columns or len(cells)
        if len(cells) != columns or columns not in (3, 4):
            raise VlrfaceError(
                f"{where}: {len(cells)} fields; expected `path path 0|1`, on all lines with a fold or none"
            )
        if cells[2].lower() not in _TRUTHS:
            raise VlrfaceError(f"{where}: {cells[2][:40]!r} where 1 (one person) or 0 (two) belongs")
        if columns == 4:
            if not _NUMBER.fullmatch(cells[3]):
                raise VlrfaceError(f"{where}: {cells[3][:40]!r} where the number of a fold belongs")
            folds.append(int(cells[3]))
        found.add(path_inside(cells[0], where), path_inside(cells[1], where), _TRUTHS[cells[2].lower()], where)
    return np.unique(np.array(folds, np.int64), return_inverse=True)[1] if folds else np.full(len(found), -1)


_PARSERS: Final[dict[str, Callable[[Iterator[_Row], _Found], Int[ndarray, " m"]]]] = {
    "lfw": _read_lfw,
    "lines": _read_lines,
    "paths": _read_paths,
}
"""Each reads all pairs and gives their folds."""


def _even_folds(same: Bool[ndarray, " m"]) -> Int[ndarray, " m"]:
    """Ten folds with a tenth of the genuine and of the impostor pairs each, in list order; -1 if one has too few."""
    fold = np.full(len(same), -1)
    if min(same.sum(), (~same).sum()) >= FOLDS:
        for kind in (same, ~same):
            fold[kind] = _stretches(int(kind.sum()), FOLDS)
    return fold


def _stretches(count: int, folds: int) -> Int[ndarray, " m"]:
    return np.arange(count) * folds // max(count, 1)


def _on_disk(root: Path, pictures: dict[str, int]) -> tuple[list[str], list[str]]:
    """Sources with the ending that each picture has on disk (.jpg if it is not there), and those that are not there."""
    there: dict[str, dict[str, str]] = {}
    sources: list[str] = []
    missing: list[str] = []
    for picture in pictures:
        person, stem = picture.split("/")
        if person not in there:
            names = file_names(root / person) if os.path.isdir(root / person) else []
            # Of several endings the first in the alphabet.
            there[person] = {name.rpartition(".")[0]: name for name in reversed(names) if is_image_name(name)}
        name = there[person].get(stem)
        sources.append(f"{person}/{name or stem + '.jpg'}")
        if name is None:
            missing.append(sources[-1])
    return sources, missing


def _in_order(persons: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
    """Persons renumbered from 0 in the order of first rows."""
    _, firsts, inverse = np.unique(persons, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts)).astype(np.int64)[inverse]
