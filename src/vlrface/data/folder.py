"""Readers for plain folders of images. Names only: nothing is opened, decoded or stat'ed."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from vlrface.data.manifest import Manifest
from vlrface.types import UNKNOWN_IDENTITY, VlrfaceError

IMAGE_SUFFIXES: Final = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pnm")
)
"""Names with these endings, in any case, are taken for images when a folder is listed."""

_LARGEST: Final = 2**63 - 1


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image. Hidden files (".DS_Store", "._1.jpg") are not."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def file_names(folder: Path) -> list[str]:
    """Names of all files directly in a folder, sorted.

    Raises:
        VlrfaceError: there is no such folder, or it cannot be listed.
    """
    return sorted(entry.name for entry in _entries(folder) if _is(entry.is_file))


def read_identity_folder(root: Path, split: str = "train") -> Manifest:
    """Read `root/<identity>/<any name>.jpg` (or another image format): one folder per person.

    Where all folder names are numbers, they are the identities, so that two data sets of the same persons agree, and
    rows are in numerical order. Otherwise identities count the folders in sorted order from 0. Within a person rows are
    sorted by file name. Files beside the folders, folders inside them and hidden entries are not looked at.

    Args:
        root: the folder of the persons.
        split: name of the split that all rows get.

    Raises:
        VlrfaceError: no such folder, no image in it, or two folder names are the same number ("7" and "007").
    """
    names = sorted(entry.name for entry in _entries(root) if _is(entry.is_dir) and not entry.name.startswith("."))
    numbers = _identity_numbers(names, root)
    sources: list[str] = []
    identities: list[int] = []
    for number, name in sorted(zip(numbers, names, strict=True)):
        images = [file for file in file_names(root / name) if is_image_name(file)]
        sources += [f"{name}/{file}" for file in images]
        identities += [number] * len(images)
    if not sources:
        raise VlrfaceError(
            f"{root}: no image in {len(names)} folders. Expected one folder per person: {root}/<identity>/<name>.jpg"
        )
    return _manifest(sources, identities, split, root)


def read_images(paths: Sequence[Path]) -> Manifest:
    """Read single files and folders (with all folders below) of faces whose persons are not known.

    A file that is named is taken whatever it is called; in folders, image names that are not hidden are. A linked
    folder is not entered unless it is named. What is given twice is taken once. Files of a folder are sorted by path.

    Args:
        paths: files and folders.

    Returns:
        Rows in the order of `paths`, split "image", identity `UNKNOWN_IDENTITY`. The root is the folder if one folder
        is given, else the deepest folder that holds everything.

    Raises:
        VlrfaceError: a path does not exist, or there is no image at all.
    """
    files: dict[str, None] = {}
    bases: list[str] = []
    for path in paths:
        absolute = os.path.abspath(path)
        if os.path.isdir(absolute):
            bases.append(absolute)
            files |= dict.fromkeys(_walk(absolute))
        elif os.path.isfile(absolute):
            bases.append(os.path.dirname(absolute))
            files[absolute] = None
        else:
            raise VlrfaceError(f"{path}: no such file or folder")
    if not files:
        where = ", ".join(str(path) for path in paths) or "nothing"
        raise VlrfaceError(f"no image found in {where}. Known endings: {' '.join(sorted(IMAGE_SUFFIXES))}")
    base = os.path.commonpath(bases)
    # Shown as the user wrote it where that says the same.
    root = paths[0] if len(paths) == 1 and os.path.isdir(paths[0]) else Path(base)
    sources = [os.path.relpath(file, base).replace(os.sep, "/") for file in files]
    return _manifest(sources, [UNKNOWN_IDENTITY] * len(sources), "image", root)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError as error:
        raise VlrfaceError(f"{folder}: no such folder") from error
    except OSError as error:
        raise VlrfaceError(f"{folder}: cannot be listed ({error.strerror}). Give a folder that you may read") from error


def _is(asked: Callable[[], bool]) -> bool:
    try:
        return asked()
    except OSError:  # a link that leads to itself, or to where nobody may look
        return False


def _identity_numbers(names: list[str], root: Path) -> list[int]:
    numeric = all(name.isascii() and name.isdecimal() and int(name) <= _LARGEST for name in names)
    if not numeric:
        return list(range(len(names)))
    by_number: dict[int, str] = {}
    for name in names:
        other = by_number.setdefault(int(name), name)
        if other != name:
            raise VlrfaceError(f"{root}: folders {other} and {name} are the same number. Rename or merge them")
    return list(by_number)


def _walk(folder: str) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise VlrfaceError(f"{error.filename}: cannot be listed ({error.strerror})") from error

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(parent, name) for name in sorted(names) if is_image_name(name))


def _manifest(sources: list[str], identities: list[int], split: str, root: Path) -> Manifest:
    return Manifest(
        np.array(sources, np.str_),
        np.array(identities, np.int64),
        np.full(len(sources), split),  # not dtype=str: that would keep one character
        root=root,
    )
