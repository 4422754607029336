"""The list of accepted pictures, `vlrface score --accepted`: a source for the next command as it is."""

import os
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from vlrface.bulk import Parts
from vlrface.files import written_atomically

_ESCAPED: Final = re.compile(r"\\udc([89a-f][0-9a-f])")
_BREAK: Final = frozenset("\r\n")


def write_accepted(path: Path, parts: Parts, least_score: float, *, whole_pictures: bool) -> None:
    """One picture a line, each once, that has a face of at least this score.

    Memory is 8 bytes a picture that is accepted.

    Args:
        path: the list.
        parts: what was scored.
        least_score: from which a face is accepted.
        whole_pictures: a picture may have several faces, each a row of its own.
    """
    beside = os.path.abspath(path.parent) == os.getcwd()
    first = _first(parts, least_score, whole_pictures)
    count = unlisted = 0
    with (
        written_atomically(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape") as file,
    ):
        for number, name in enumerate(_accepted(parts, least_score, whole_pictures)):
            if first[number] and _BREAK & set(name):
                unlisted += 1
            elif first[number]:
                file.write(f"{_listed(name, beside)}\n")
                count += 1
    print(f"accepted    {count:,} with a score of {least_score:g} or more, in {path}")
    if unlisted:
        print(f"            and {unlisted:,} with a line break in the name, which no list can hold")


def _accepted(parts: Parts, least_score: float, whole_pictures: bool) -> Iterator[str]:
    """Pictures with a good face, in order; one that was given twice comes twice."""
    for table in parts.read():
        good = table.numbers["score"] >= least_score
        item, faces, told = "", 0, False
        for row, key in enumerate(table.texts["path"]):
            # The faces of a picture stand together, in one part: photo.jpg, photo.jpg@2, ...
            if whole_pictures and faces and key == f"{item}@{faces + 1}":
                faces += 1
            else:
                item, faces, told = key, 1, False
            if good[row] and not told:
                told = True
                yield _real(item)


def _first(parts: Parts, least_score: float, whole_pictures: bool) -> Bool[ndarray, " n"]:
    """Of each accepted picture, whether it comes for the first time."""
    told = array("q", (hash(os.path.abspath(name)) for name in _accepted(parts, least_score, whole_pictures)))
    values = np.frombuffer(told, np.int64) if told else np.empty(0, np.int64)
    first = np.zeros(len(values), np.bool_)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def _real(name: str) -> str:
    """The name on disk: Parquet has no place for bytes that are not UTF-8, and parts show an escape in their place."""
    if _ESCAPED.search(name) is None or os.path.lexists(name):
        return name
    return _ESCAPED.sub(lambda found: chr(0xDC00 + int(found[1], 16)), name)


def _listed(name: str, beside: bool) -> str:
    """As the list has it, which is read relative to its own folder; `..` would lead out of a folder of copies."""
    if os.path.isabs(name) or (beside and ".." not in name.split(os.sep)):
        return name
    return os.path.join(os.getcwd(), name)
