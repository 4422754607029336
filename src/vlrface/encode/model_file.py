"""An ONNX file before anything runs it: its hash, and the files that it wants to be read with it.

ONNX may keep tensors in other files, named by the model ("external data"). Whoever wrote the model chose the names, so
they are read here, from the bytes, before ONNX Runtime may follow them. The format is protobuf; of its messages, those
that can hold a tensor are walked (onnx.proto3 of ONNX 1.17, the field numbers of which never change).
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vlrface.types import VlrfaceError

MAX_MODEL_BYTES: Final = 2**31 - 1
"""Protobuf takes no longer message."""

MAX_EXTERNAL_BYTES: Final = 8 * 2**30
"""Of all external files of a model together (own choice)."""

MAX_EXTERNAL_FILES: Final = 10_000
"""Of one model (own choice): exporters make one, or one per tensor."""

_MAX_DEPTH: Final = 100  # as protobuf's own readers

_GRAPH: Final = 7
_METADATA: Final = 14
"""Fields of a model."""

_ENTRY: Final = "entry"
_PARTS: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: _ENTRY},
}
"""Message → field → the message in that field, of all that may hold a tensor. An entry is a key (1) and a value (2)."""


@dataclass(frozen=True)
class ModelFile:
    """A model's bytes by their hashes.

    Attributes:
        path: the .onnx file.
        sha256: of it, in hexadecimal.
        external: name → hash of each file that it keeps tensors in; most models have none.
    """

    path: Path
    sha256: str
    external: Mapping[str, str]


def read_model_file(path: Path) -> ModelFile:
    """Hash a model and its external files; nothing in it is executed.

    Raises:
        VlrfaceError: no regular file, too large, not made like an ONNX file, with external data outside its folder, or
            one of these files cannot be read.
    """
    if not os.path.isfile(path):
        raise VlrfaceError(f"{path}: no such file. Give the path of an ONNX model")
    try:
        return _hashed_files(path)
    except OSError as error:
        raise VlrfaceError(f"{path}: cannot be read ({error.strerror}). Check its permissions") from error


def _hashed_files(path: Path) -> ModelFile:
    size = path.stat().st_size
    if not 0 < size <= MAX_MODEL_BYTES:
        reason = f"{size:,} bytes are more than {MAX_MODEL_BYTES:,}, the limit of the format" if size else "it is empty"
        raise VlrfaceError(f"{path}: not an ONNX model: {reason}")
    data = path.read_bytes()
    files = {name: _inside(path, name) for name in external_names(data, str(path))}
    total = sum(each.stat().st_size for each in files.values())
    if total > MAX_EXTERNAL_BYTES:
        raise VlrfaceError(f"{path}: {total:,} bytes of external data are more than {MAX_EXTERNAL_BYTES:,}, the limit")
    return ModelFile(path, hashlib.sha256(data).hexdigest(), {name: _hashed(each) for name, each in files.items()})


def external_names(data: bytes, name: str) -> list[str]:
    """The names of external files in a model's bytes, sorted.

    Args:
        data: the whole model.
        name: what an error calls it.

    Raises:
        VlrfaceError: not made like an ONNX model, or with more than `MAX_EXTERNAL_FILES`.
    """
    names: set[str] = set()
    # Messages that are open, outermost first: memory grows with the depth alone, whatever the file says.
    opened = [(_fields(memoryview(data)), "model")]
    try:
        while opened:
            fields, kind = opened[-1]
            inner = next(((v, _PARTS[kind][n]) for n, v in fields if n in _PARTS[kind]), None)
            if inner is None:
                opened.pop()
            elif inner[1] == _ENTRY:
                names |= _locations(inner[0])
            else:
                opened.append((_fields(inner[0]), inner[1]))
            if len(opened) > _MAX_DEPTH or len(names) > MAX_EXTERNAL_FILES:
                raise ValueError(f"deeper than {_MAX_DEPTH} messages, or more than {MAX_EXTERNAL_FILES} external files")
    except ValueError as error:
        raise VlrfaceError(f"{name}: not an ONNX model ({error}). Export it again") from error
    return sorted(names)


def metadata_of(data: bytes) -> dict[str, str]:
    """The texts that a model's maker wrote into it (metadata_props), by key; of a key that occurs twice, the last.

    Raises:
        ValueError: not a protobuf message, or no UTF-8.
    """
    found: dict[str, str] = {}
    for number, entry in _fields(memoryview(data)):
        if number == _METADATA:
            parts = {key: bytes(value) for key, value in _fields(entry)}
            found[parts.get(1, b"").decode("utf-8")] = parts.get(2, b"").decode("utf-8")
    return found


def with_metadata(data: bytes, key: str, text: str) -> bytes:
    """The model with one text among its metadata replaced, or added; every other byte stays.

    Raises:
        ValueError: not a protobuf message.
    """

    def other(number: int, content: memoryview | None) -> bool:
        if number != _METADATA or content is None:
            return True
        return key.encode() not in (bytes(value) for part, value in _fields(content) if part == 1)

    kept = [whole for number, content, whole in _spans(memoryview(data)) if other(number, content)]
    entry = _field(1, key.encode()) + _field(2, text.encode())
    return b"".join([*kept, _field(_METADATA, entry)])


def _field(number: int, content: bytes) -> bytes:
    """A field that has a length."""
    length, digits = len(content), bytearray()
    while length >= 0x80:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *digits, length]) + content


def graph_sha256(data: bytes) -> str:
    """Hash of a model's graph, weights included, in hexadecimal: what stays equal if only metadata change.

    Raises:
        ValueError: not a protobuf message.
    """
    digest = hashlib.sha256()
    for number, part in _fields(memoryview(data)):
        if number == _GRAPH:
            digest.update(part)
    return digest.hexdigest()


def _locations(entry: memoryview) -> set[str]:
    """The file named by a key-value pair of a tensor; nothing for its other pairs."""
    pairs = [(number, bytes(value)) for number, value in _fields(entry)]
    if not any(number == 1 and value == b"location" for number, value in pairs):
        return set()
    return {value.decode("utf-8") for number, value in pairs if number == 2}  # UnicodeDecodeError is a ValueError


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that have a length: number and content. All others are passed over.

    Raises:
        ValueError: not a protobuf message.
    """
    return ((number, content) for number, content, _ in _spans(message) if content is not None)


def _spans(message: memoryview) -> Iterator[tuple[int, memoryview | None, memoryview]]:
    """Every field of a message: number, content if it has a length, and all its bytes.

    Raises:
        ValueError: not a protobuf message.
    """
    at = 0
    while at < len(message):
        began = at
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if number == 0 or tag >= 2**32:  # other readers drop the bits beyond, and would see another field than this one
            raise ValueError(f"field {number}")
        length = 0
        if wire == 0:
            _, at = _varint(message, at)
        elif wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"its bytes make no sense from {at} on")
        if length > len(message) - at:
            raise ValueError(f"a field of {length} bytes where {len(message) - at} are left")
        yield number, message[at : at + length] if wire == 2 else None, message[began : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for position in range(10):
        if at + position >= len(message):
            raise ValueError("it ends within a number")
        byte = message[at + position]
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            return value, at + position + 1
    raise ValueError("a number of more than 10 bytes")


def _inside(model: Path, name: str) -> Path:
    """The external file of that name, which must lie in the model's folder or below it."""
    parts = name.split("/")
    # "*" marks an address in memory for ONNX Runtime; a colon or backslash leads elsewhere on Windows.
    if name.startswith("/") or ".." in parts or any(sign in name for sign in "*:\\\0") or not name:
        raise VlrfaceError(f"{model}: external data {name[:200]!r} lie outside the model's folder; they are not read")
    folder, path = model.resolve().parent, model.parent / name
    try:
        there = path.is_file()
        target = path.resolve()
    except OSError as error:
        raise VlrfaceError(f"{model}: external data {name[:200]!r} cannot be read ({error.strerror})") from error
    if not there:
        raise VlrfaceError(f"{model}: external data {name[:200]!r} are missing: put them beside the model")
    if not target.is_relative_to(folder):
        raise VlrfaceError(
            f"{model}: external data {name[:200]!r} are a link out of the model's folder: copy the file itself there"
        )
    return path


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
