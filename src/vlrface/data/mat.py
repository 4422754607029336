"""A bounded reader for what protocol lists use of MATLAB's level 5 files: texts, cell arrays of texts, real numbers.

A list is foreign input. So every size that a file states is checked against the bytes that are there, unpacking stops
at a cap, and what is to be made of the bytes is counted against the same cap before it is made. Structures, objects,
sparse and complex arrays are refused: no list needs them.

The format: The MathWorks, "MAT-File Format", the chapter on level 5 (versions 5 to 7.2 of MATLAB).
"""

import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, Final

import numpy as np
from numpy import ndarray

from vlrface.types import VlrfaceError

MAX_BYTES: Final = 256 * 2**20
"""Cap of a file, and of all that is made of it: unpacked bytes, numbers, four bytes per character, 256 per cell."""

_HEADER: Final = 128
_INT8, _UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 2, 5, 6, 14, 15
_NUMBERS: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CHARACTERS: Final = {1: "ascii", 2: "ascii", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL_CLASS, _CHAR_CLASS, _NUMBER_CLASSES = 1, 4, range(6, 16)
_REFUSED_CLASSES: Final = {
    2: "a structure",
    3: "an object",
    5: "a sparse array",
    16: "a function",
    17: "an object, perhaps a string array, which cellstr makes a list",
}
_COMPLEX: Final = 0x0800
_CELL_COST: Final = 256  # bytes of memory that one cell takes at most, its text apart
_MAX_DEPTH: Final = 8  # of cells within cells; a list has one level
_MAX_DIMENSIONS: Final = 32
_CHUNK: Final = 2**16  # bytes that are unpacked at once
_EMPTY: Final = np.empty((0, 0), np.float64)


class _UnreadableError(Exception):
    """Why the bytes cannot be used; `read_mat` adds the file and the remedy."""


def read_mat(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, ndarray]:
    """Read the variables of a MATLAB file, executing nothing.

    Args:
        path: a file of MATLAB 5 to 7.2 ("-v6" or "-v7"), of either byte order.
        max_bytes: see `MAX_BYTES`. A file that needs more is refused.

    Returns:
        Arrays by name, shaped as in MATLAB. Numbers have the type in which they are stored: MATLAB stores whole ones in
        the smallest that holds them. A character matrix becomes an array of str with one text per row, (rows,), blanks
        at the end kept; a cell array becomes an array of objects, each again such an array.

    Raises:
        VlrfaceError: no such file, too large, or not whole and of this kind.
    """
    if not os.path.isfile(path):  # asked first: opening a pipe would wait
        raise VlrfaceError(f"{path}: no such list. Take it from the data set")
    try:
        with path.open("rb") as file:
            data = file.read(min(os.fstat(file.fileno()).st_size, max_bytes + 1))
    except OSError as error:
        raise VlrfaceError(f"{path}: cannot be read ({error.strerror}). Check its permissions") from error
    return parse_mat(data, str(path), max_bytes)


def parse_mat(data: bytes, name: str, max_bytes: int = MAX_BYTES) -> dict[str, ndarray]:
    """`read_mat` of bytes in memory.

    Args:
        data: the whole file.
        name: of the file, for messages.
        max_bytes: see `MAX_BYTES`.

    Raises:
        VlrfaceError: not a whole file of this kind, or too large.
    """
    try:
        if len(data) > max_bytes:
            raise _UnreadableError(f"larger than {max_bytes:,} bytes")
        return _variables(data, _Budget(max_bytes))
    except (_UnreadableError, UnicodeDecodeError, zlib.error) as error:
        raise VlrfaceError(
            f"{name}: not a MATLAB file that a list can be read from ({error}). "
            "Take another copy of it, or save its variables again in MATLAB with save(..., '-v7')"
        ) from error


@dataclass
class _Budget:
    """Bytes that may still be used."""

    left: int

    def spend(self, amount: int) -> None:
        if amount > self.left:
            raise _UnreadableError("it unpacks to more than the reader allows")
        self.left -= amount


@dataclass(frozen=True)
class _Order:
    """How numbers of a file are read: by its byte order, "<" or ">"."""

    mark: str
    pair: Struct  # two unsigned integers of 4 bytes

    @property
    def codec(self) -> str:
        return "-le" if self.mark == "<" else "-be"


def _variables(data: bytes, budget: _Budget) -> dict[str, ndarray]:
    order = _order(data)
    variables: dict[str, ndarray] = {}
    at = _HEADER
    while at < len(data):
        kind, start, end = _element(data, at, len(data), order)
        if kind == _COMPRESSED:
            whole = _unpacked(memoryview(data)[start:end], budget)
            kind, start, inner = _element(whole, 0, len(whole), order)
            block = memoryview(whole)[start:inner]
            at = end  # no padding follows what is compressed
        else:
            block = memoryview(data)[start:end]
            at = _padded(end, len(data))
        if kind != _MATRIX:
            raise _UnreadableError(f"data of type {kind} where a variable should begin")
        name, value = _matrix(block, order, budget, 0)
        if name in variables or not (name.isidentifier() or name == ""):
            raise _UnreadableError(f"a second variable {name!r}" if name in variables else f"a variable {name!r}")
        if name:  # MATLAB keeps what belongs to functions in one without a name
            variables[name] = value
    return variables


def _order(data: bytes) -> _Order:
    """Byte order of a file, from its header."""
    if data[:8] == b"\x89HDF\r\n\x1a\n" or data[:10] == b"MATLAB 7.3":
        raise _UnreadableError("a MATLAB 7.3 file, which is HDF5")
    mark = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if len(data) < _HEADER or mark is None:
        old = len(data) >= 4 and 0 in data[:4]  # level 4 begins with a small number, level 5 with text
        raise _UnreadableError("no header of MATLAB 5; perhaps of MATLAB 4" if old else "no header of MATLAB 5")
    version = int.from_bytes(data[124:126], "little" if mark == "<" else "big")
    if version != 0x0100:
        raise _UnreadableError(
            f"version {version:#06x}, not MATLAB 5" + " but 7.3, which is HDF5" * (version == 0x0200)
        )
    return _Order(mark, Struct(mark + "II"))


def _unpacked(packed: memoryview, budget: _Budget) -> bytearray:
    """Decompress piece by piece, so that no more than the budget is ever there."""
    stream = zlib.decompressobj()
    whole = bytearray()
    for begin in range(0, len(packed), _CHUNK):
        pending: bytes | memoryview = packed[begin : begin + _CHUNK]
        while len(pending) and not stream.eof:
            piece = stream.decompress(pending, _CHUNK)
            budget.spend(len(piece))
            whole += piece
            pending = stream.unconsumed_tail
    if not stream.eof:
        raise _UnreadableError("compressed data ends early")
    return whole


def _padded(end: int, limit: int) -> int:
    return min(end + -end % 8, limit)


def _element(data: bytes | bytearray | memoryview, at: int, limit: int, order: _Order) -> tuple[int, int, int]:
    """Type, begin and end of the data element at a place; its end is checked to lie within the limit."""
    if at + 8 > limit:
        raise _UnreadableError("it ends early")
    kind, size = order.pair.unpack_from(data, at)
    start = at + 8
    if kind >> 16:  # the short form: size and type share four bytes, up to four bytes of data follow
        size, kind, start = kind >> 16, kind & 0xFFFF, at + 4
        if size > 4:
            raise _UnreadableError(f"a short element of {size} bytes")
    if start + size > limit:
        raise _UnreadableError(f"an element of {size} bytes where {limit - start} are left")
    return kind, start, start + size


def _matrix(block: memoryview, order: _Order, budget: _Budget, depth: int) -> tuple[str, ndarray]:
    """Name and value of one array; a cell has no name."""
    limit = len(block)
    if limit == 0:  # how MATLAB writes a cell that was never filled
        return "", _EMPTY
    kind, start, end = _element(block, 0, limit, order)
    if kind != _UINT32 or end - start != 8:
        raise _UnreadableError("an array without flags")
    flags = order.pair.unpack_from(block, start)[0]
    array_class = flags & 0xFF
    if array_class in _REFUSED_CLASSES or flags & _COMPLEX:
        raise _UnreadableError(f"it holds {_REFUSED_CLASSES.get(array_class, 'complex numbers')}")
    kind, start, end = _element(block, _padded(end, limit), limit, order)
    shape = _shape(block[start:end], kind, order)
    kind, start, name_end = _element(block, _padded(end, limit), limit, order)
    if kind not in (_INT8, _UINT8):
        raise _UnreadableError("an array whose name is no text")
    name = bytes(block[start:name_end]).decode("ascii")
    rest = block[_padded(name_end, limit) :]
    if array_class == _CELL_CLASS:
        return name, _cells(rest, shape, order, budget, depth)
    if array_class == _CHAR_CLASS:
        return name, _characters(rest, shape, order, budget)
    if array_class in _NUMBER_CLASSES:
        return name, _numbers(rest, shape, order, budget)
    raise _UnreadableError(f"an array of the unknown class {array_class}")


def _shape(stated: memoryview, kind: int, order: _Order) -> tuple[int, ...]:
    count = len(stated) // 4
    if kind != _INT32 or len(stated) % 4 or not 2 <= count <= _MAX_DIMENSIONS:
        raise _UnreadableError("an array without dimensions")
    shape = tuple(np.frombuffer(stated, order.mark + "i4").tolist())
    # Of an empty array the other dimensions count too: numpy multiplies them.
    if min(shape) < 0 or math.prod(max(n, 1) for n in shape) >= 2**31:
        raise _UnreadableError(f"an array of {' x '.join(map(str, shape[:4]))} values")
    return shape


def _cells(block: memoryview, shape: tuple[int, ...], order: _Order, budget: _Budget, depth: int) -> ndarray:
    count, limit = math.prod(shape), len(block)
    if depth == _MAX_DEPTH:
        raise _UnreadableError(f"cells within cells, more than {_MAX_DEPTH} deep")
    if count > limit // 8:
        raise _UnreadableError(f"{count} cells in {limit} bytes")
    budget.spend(count * _CELL_COST)
    cells = np.empty(count, object)
    at = 0
    for i in range(count):
        kind, start, end = _element(block, at, limit, order)
        if kind != _MATRIX:
            raise _UnreadableError(f"a cell that holds data of type {kind}, no array")
        cells[i] = _matrix(block[start:end], order, budget, depth + 1)[1]
        at = _padded(end, limit)
    return cells.reshape(shape, order="F")


def _characters(block: memoryview, shape: tuple[int, ...], order: _Order, budget: _Budget) -> ndarray:
    """One text per row of a character matrix."""
    count = math.prod(shape)
    if count == 0:
        return np.empty(0, np.str_)
    if len(shape) != 2:
        raise _UnreadableError(f"characters in {len(shape)} dimensions")
    kind, start, end = _element(block, 0, len(block), order)
    codec = _CHARACTERS.get(kind)
    if codec is None:
        raise _UnreadableError(f"characters stored as data of type {kind}")
    budget.spend(4 * max(count, end - start))
    text = bytes(block[start:end]).decode(codec + order.codec if codec in ("utf-16", "utf-32") else codec)
    if len(text) != count:
        return np.array([_beyond_the_first_plane(text, shape)])
    rows, columns = shape
    if rows == 1:
        return np.array([text])
    grid = np.array([text]).view("U1").reshape(columns, rows)
    return np.ascontiguousarray(grid.T).view(f"U{columns}").reshape(rows)


def _beyond_the_first_plane(text: str, shape: tuple[int, ...]) -> str:
    """A single text whose characters count twice in MATLAB where UTF-16 needs two units."""
    if shape[0] != 1 or len(text) + sum(each > "\uffff" for each in text) != shape[1]:
        raise _UnreadableError(f"{len(text)} characters in an array of {' x '.join(map(str, shape))}")
    return text


def _numbers(block: memoryview, shape: tuple[int, ...], order: _Order, budget: _Budget) -> ndarray:
    kind, start, end = _element(block, 0, len(block), order)
    if kind not in _NUMBERS:
        raise _UnreadableError(f"numbers stored as data of type {kind}")
    stored: np.dtype[Any] = np.dtype(order.mark + _NUMBERS[kind])
    count = math.prod(shape)
    if count * stored.itemsize != end - start:
        raise _UnreadableError(f"{count} numbers in {end - start} bytes of {stored.name}")
    budget.spend(end - start)
    # A copy in the byte order of this machine: it does not hold the file, and may be written to.
    return np.frombuffer(block[start:end], stored).astype(stored.newbyteorder("=")).reshape(shape, order="F")
