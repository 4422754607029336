"""Reading the arrays of an .npz file within bounds, executing nothing.

`numpy.load` takes the shape in an array's head at its word, and parses the head as Python. Here a head must be what
numpy writes for the plain types, and its shape must fit the bytes that are there, before anything is allocated.

The format: NumPy Enhancement Proposal 1, "A Simple File Format for NumPy Arrays".
"""

import re
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy import ndarray

_HEAD: Final = re.compile(
    rb"\{'descr': '(\|[biu]1|[<>][iuf][248]|[<>]U[0-9]{1,6})', "
    rb"'fortran_order': (True|False), 'shape': \(([0-9, ]{0,200})\), \} *\n?"
)
_MAX_PACKED: Final = 2 * 2**30  # bytes of a compressed array; one that is stored as it is has no more than the file
_CHUNK: Final = 2**24
_LAST_CHARACTER: Final = 0x10FFFF
_DAMAGED: Final = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def read_arrays(path: Path) -> dict[str, ndarray]:
    """Read all arrays of a file: truth values, numbers or text, of any shape.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no .npz file, damaged, or holds other arrays.
    """
    if not path.is_file():  # asked first: opening a pipe would wait
        raise ValueError("not a regular file") if path.exists() else FileNotFoundError(path)
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            arrays: dict[str, ndarray] = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in arrays:
                    raise ValueError(f"{name[:40]!r} is in it twice")
                if info.compress_type == zipfile.ZIP_STORED and info.file_size > path.stat().st_size:
                    raise ValueError(f"{name[:40]!r} is longer than the file")
                if info.compress_type != zipfile.ZIP_STORED and info.file_size > _MAX_PACKED:
                    raise ValueError(f"{name[:40]!r} has {info.file_size:,} bytes packed; save it without compression")
                with archive.open(info) as member:
                    arrays[name] = _array(cast("zipfile.ZipExtFile", member), info.file_size, name[:40])
            return arrays
    except _DAMAGED as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _array(member: zipfile.ZipExtFile, size: int, name: str) -> ndarray:
    start = member.read(8)
    if start[:7] not in (b"\x93NUMPY\x01", b"\x93NUMPY\x02", b"\x93NUMPY\x03"):
        raise ValueError(f"{name!r} is no array")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(member.read(width), "little")
    match = _HEAD.fullmatch(member.read(length)) if length <= size else None
    if match is None:
        raise ValueError(f"{name!r} is no plain array of truth values, numbers or text")
    dtype, shape = np.dtype(match[1].decode()), tuple(int(each) for each in match[3].split(b",") if each.strip())
    wanted = prod(shape) * dtype.itemsize
    if len(shape) > 32 or dtype.itemsize == 0 or wanted != size - 8 - width - length:
        raise ValueError(f"{name!r} does not have the bytes that its shape {shape[:4]} needs")
    return _filled(member, dtype, shape, "F" if match[2] == b"True" else "C", name)


def _filled(member: zipfile.ZipExtFile, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any, name: str) -> ndarray:
    flat = np.empty(prod(shape), dtype)
    room = memoryview(cast("Any", flat.view(np.uint8))) if len(flat) else memoryview(b"")
    at = 0
    while at < len(room):
        piece = member.read(min(_CHUNK, len(room) - at))
        if not piece:
            raise ValueError(f"{name!r} ends early")
        room[at : at + len(piece)] = piece
        at += len(piece)
    if member.read(1):
        raise ValueError(f"{name!r} is longer than its shape")
    if (
        dtype.kind == "U"
        and flat.size
        and int(flat.view(dtype.byteorder.replace("|", "=") + "u4").max()) > _LAST_CHARACTER
    ):
        raise ValueError(f"{name!r} holds what is no character")
    if dtype.kind == "b" and flat.size and int(flat.view(np.uint8).max()) > 1:
        raise ValueError(f"{name!r} holds what is no truth value")
    return flat.reshape(shape, order=order)
