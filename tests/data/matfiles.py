"""Writes MATLAB level 5 files byte by byte, of either byte order, also such as no program would write."""

import struct
import zlib

CELL, CHAR, DOUBLE, UINT8_CLASS = 1, 4, 6, 9
INT8, UINT8, INT16, UINT16, INT32, UINT32, DOUBLES, MATRIX, COMPRESSED, UTF8, UTF16, UTF32 = (
    1, 2, 3, 4, 5, 6, 9, 14, 15, 16, 17, 18,
)  # fmt: skip


def header(mark: str = "<", version: int = 0x0100) -> bytes:
    return (
        b"MATLAB 5.0 MAT-file, made by hand".ljust(124)
        + struct.pack(mark + "H", version)
        + (b"IM" if mark == "<" else b"MI")
    )


def element(kind: int, data: bytes, mark: str = "<", size: int | None = None) -> bytes:
    """One data element, padded to eight bytes; `size` states another size than there is."""
    tag = struct.pack(mark + "II", kind, len(data) if size is None else size)
    return tag + data + bytes(-len(data) % 8)


def short(kind: int, data: bytes, mark: str = "<") -> bytes:
    """An element of at most four bytes in the short form."""
    tag = struct.pack("<HH", kind, len(data)) if mark == "<" else struct.pack(">HH", len(data), kind)
    return tag + data.ljust(4, b"\0")


def array(
    array_class: int, shape: tuple[int, ...], content: bytes, *, name: str = "", mark: str = "<", flags: int = 0
) -> bytes:
    """One array with the elements of its content already made."""
    return element(
        MATRIX,
        element(UINT32, struct.pack(mark + "II", array_class | flags, 0), mark)
        + element(INT32, struct.pack(f"{mark}{len(shape)}i", *shape), mark)
        + element(INT8, name.encode(), mark)
        + content,
        mark,
    )


def text(value: str, *, name: str = "", mark: str = "<") -> bytes:
    """A text in one row, of UTF-16 units as MATLAB writes it."""
    data = value.encode("utf-16-le" if mark == "<" else "utf-16-be")
    return array(CHAR, (1, len(data) // 2), element(UINT16, data, mark), name=name, mark=mark)


def cells(values: list[bytes], *, name: str = "", mark: str = "<", shape: tuple[int, ...] | None = None) -> bytes:
    """A cell array of arrays already made, column by column."""
    return array(CELL, shape or (len(values), 1), b"".join(values), name=name, mark=mark)


def doubles(values: list[float], *, name: str = "", mark: str = "<") -> bytes:
    """A column of double numbers."""
    data = struct.pack(f"{mark}{len(values)}d", *values)
    return array(DOUBLE, (len(values), 1), element(DOUBLES, data, mark), name=name, mark=mark)


def compressed(variable: bytes, mark: str = "<") -> bytes:
    """A variable as a compressed element, which has no padding."""
    packed = zlib.compress(variable)
    return struct.pack(mark + "II", COMPRESSED, len(packed)) + packed
