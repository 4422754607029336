"""What readers of protocol lists share: names that stay inside their folder, and lists compared with folders."""

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vlrface.data.folder import file_names, is_image_name
from vlrface.data.mat import read_mat
from vlrface.types import VlrfaceError

_ABSOLUTE: Final = re.compile(r"[/\\]|[A-Za-z]:")
_UNPRINTED: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_LONGEST_PATH: Final = 4096  # characters; more than any system takes
_LONGEST_NAME: Final = 255
_LARGEST: Final = 2**53  # a double holds all whole numbers up to here


def path_inside(entry: str, where: str) -> str:
    """Check that a path of a list stays inside the folder that it is relative to.

    Only the text is looked at: a link inside the folder may lead anywhere, it is the user's own.

    Args:
        entry: as the list has it, with forward slashes.
        where: the list, for messages.

    Returns:
        The path without "." and with ".." resolved.

    Raises:
        VlrfaceError: an absolute path, a drive letter, more ".." than folders, a backslash, a control character, half
            of a surrogate pair, more than 4096 characters, or no file at all.
    """
    shown = repr(entry if len(entry) <= 80 else entry[:77] + "...")
    if len(entry) > _LONGEST_PATH:
        raise VlrfaceError(f"{where}: {shown} is not a file name, it is too long. Take another copy of the list")
    if _UNPRINTED.search(entry):
        raise VlrfaceError(f"{where}: {shown} is not a file name. Take another copy of the list")
    plain = posixpath.normpath(entry)
    if _ABSOLUTE.match(entry) or plain.split("/")[0] == ".." or ".." in entry.split("\\"):
        raise VlrfaceError(f"{where}: {shown} points outside its root. Take the list of the data set")
    if "\\" in entry:
        raise VlrfaceError(f"{where}: {shown} is not a file name. Write / between folders")
    if plain == "." or entry.endswith(("/", "/.", "/..")):
        raise VlrfaceError(f"{where}: {shown} is not a file name. Take the list of the data set")
    return plain


def name_inside(entry: str, where: str) -> str:
    """Check that an entry of a list is the plain name of a file, without folders.

    Raises:
        VlrfaceError: it points outside its root, is no file name (see `path_inside`), or is longer than 255 characters.
    """
    plain = path_inside(entry, where)
    if len(entry) > _LONGEST_NAME:
        raise VlrfaceError(
            f"{where}: {entry[:77]!r}... is not a file name, it is too long. Take another copy of the list"
        )
    if plain != entry or "/" in entry:
        raise VlrfaceError(f"{where}: {entry!r} is not a file name. Take the list of the data set")
    return entry


def first_twice(entries: Iterable[str]) -> str | None:
    """The first entry that occurs more than once, in sorted order; None if all differ."""
    return min((entry for entry, times in Counter(entries).items() if times > 1), default=None)


def refuse_missing(root: Path, missing: Sequence[str], allow_missing: bool) -> None:
    """Raise the error of all readers for listed files that are not on disk, unless they are allowed.

    Raises:
        VlrfaceError: with the first ten and the number.
    """
    if missing and not allow_missing:
        listing = "\n  ".join(missing[:10])
        raise VlrfaceError(
            f"{root}: {len(missing)} files named by the lists are not on disk, first:\n  {listing}\n"
            "Complete the data set, or allow missing files (they then count as misses)"
        )


def missing_below(root: Path, sources: Iterable[str]) -> list[str]:
    """Which files are not there, in the given order. Each folder is listed once; no file is opened or stat'ed.

    Args:
        root: the folder that the sources are relative to.
        sources: paths with forward slashes.
    """
    there: dict[str, set[str]] = {}
    missing: list[str] = []
    for source in sources:
        folder, name = posixpath.split(source)
        if folder not in there:
            # Not Path.is_dir: it raises for what no system can have, a name too long among it.
            there[folder] = set(file_names(root / folder)) if os.path.isdir(root / folder) else set()
        if name not in there[folder]:
            missing.append(source)
    return missing


def part(root: Path, name: str) -> Path:
    """A folder of a data set, whatever the case of its letters.

    Returns:
        Its path as it is spelt on disk.

    Raises:
        VlrfaceError: there is none, or several differ only in case and none is spelt as asked for.
    """
    if os.path.isdir(root / name):
        return root / name
    try:
        alike = [root / each for each in sorted(os.listdir(root)) if each.lower() == name.lower()]
    except OSError:  # no folder, or none that may be listed
        alike = []
    alike = [each for each in alike if os.path.isdir(each)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise VlrfaceError(f"{root}: folders {alike[0].name} and {alike[1].name} are both {name}. Keep one of them")
    raise VlrfaceError(f"{root}: no folder {name}. Give the folder that holds it, as the data set unpacks")


@dataclass(frozen=True, eq=False)
class Listed:
    """One protocol list, compared with its folder.

    Attributes:
        sources: (n) what the list names, relative to the root of the data set, in its order.
        identities: (n,) persons of the list.
        missing: sources that are not on disk.
        surplus: images of the folder that the list does not name.
    """

    sources: list[str]
    identities: Int[ndarray, " n"]
    missing: list[str]
    surplus: list[str]


def read_listed(root: Path, folder: Path, list_file: Path, key: str) -> Listed:
    """Read a list of names and persons, variables `<key>_set` and `<key>_ids`, and compare it with its folder.

    Args:
        root: of the data set.
        folder: of the pictures, below the root.
        list_file: a MATLAB file.
        key: "gallery", "probe", "mated_probe".

    Raises:
        VlrfaceError: the list cannot be read, lacks a variable, names a file twice or what is no file name, or numbers
            persons otherwise than by whole numbers ≥ 0; or there is no such folder.
    """
    names, identities = _names_and_identities(list_file, f"{key}_set", f"{key}_ids")
    missing, surplus = compared(folder, names)
    return Listed(below(root, folder, names), identities, below(root, folder, missing), below(root, folder, surplus))


def compared(folder: Path, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of a list that are not in its folder, and images of the folder that the list does not name."""
    there = file_names(folder)
    known, listed = set(there), set(names)
    return [name for name in names if name not in known], [
        name for name in there if name not in listed and is_image_name(name)
    ]


def below(root: Path, folder: Path, names: Iterable[str]) -> list[str]:
    """Names in a folder as sources relative to the root of a data set."""
    prefix = folder.relative_to(root).as_posix()
    return [f"{prefix}/{name}" for name in names]


def _names_and_identities(path: Path, names_key: str, ids_key: str) -> tuple[list[str], Int[ndarray, " n"]]:
    variables = read_mat(path)
    for key in (names_key, ids_key):
        if key not in variables:
            there = ", ".join(variables) or "none"
            raise VlrfaceError(f"{path}: no variable {key!r}; there are: {there}. Take the list of the data set")
    names = texts(variables[names_key], f"{path}: {names_key}")
    identities = whole_numbers(variables[ids_key], f"{path}: {ids_key}")
    if len(names) != len(identities):
        raise VlrfaceError(
            f"{path}: {len(names)} names but {len(identities)} identities. Take another copy of the list"
        )
    for name in names:
        name_inside(name, str(path))
    twice = first_twice(names)
    if twice is not None:
        raise VlrfaceError(f"{path}: {twice} is listed more than once. Take another copy of the list")
    return names, identities


def texts(value: ndarray, where: str) -> list[str]:
    """The texts of a cell array, column by column, or of a character matrix, whose rows MATLAB pads with blanks.

    Args:
        value: as `read_mat` gives it.
        where: the list and variable, for messages.

    Raises:
        VlrfaceError: there is none, or an entry is no single text.
    """
    found: list[str] = []
    for cell in value.ravel(order="F").tolist():
        text = cell.item() if isinstance(cell, ndarray) and cell.size == 1 else cell
        if not isinstance(text, str):
            raise VlrfaceError(f"{where}: entry {len(found) + 1} is not one text. Take the list of the data set")
        found.append(text.rstrip(" "))
    if not found:
        raise VlrfaceError(f"{where}: the list is empty. Take another copy of it")
    return found


def whole_numbers(value: ndarray, where: str) -> Int[ndarray, " n"]:
    """Identity numbers n×1, 1×n or 1×1; MATLAB stores whole numbers as float64 unless told otherwise.

    Args:
        value: as `read_mat` gives it.
        where: the list and variable, for messages.

    Raises:
        VlrfaceError: not whole, below 0, or so large that a double would round it.
    """
    numbers: Any = value.ravel(order="F")
    if (
        numbers.dtype.kind not in "iuf"
        or not (np.isfinite(numbers) & (numbers >= 0) & (numbers <= _LARGEST) & (numbers == np.floor(numbers))).all()
    ):
        raise VlrfaceError(f"{where}: identities must be whole numbers ≥ 0. Take the list of the data set")
    return numbers.astype(np.int64)
