"""The verification sets that insightface publishes as .bin: LFW, CFP-FP, AgeDB-30, CALFW, CPLFW and others.

Such a file is a Python pickle of (encoded pictures, whether each pair of them shows one person). It is read here
without unpickling: a machine of its own knows the few opcodes that bytes, lists, tuples, truth values and whole numbers
need, and refuses every other one, so that nothing in the file can name, make or call anything.

The format: the module `pickletools` of Python's standard library.
"""

import hashlib
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vlrface.data.manifest import Benchmark, Manifest
from vlrface.data.packed import MAX_PICTURE_BYTES, PackedFile
from vlrface.data.persons import contradictions, persons_of_pairs
from vlrface.images.decode import DecodeError
from vlrface.types import Pairing, VlrfaceError

FOLDS: Final = 10

# Two opcodes for a picture and half of one for its pair: room for 400,000 pictures, thirty times the largest published
# file. It bounds the time, the stack and the memo, whatever the file says.
_MAX_OPCODES: Final = 2**20
_NAMES: Final = {each.code.encode("latin-1"): each.name for each in pickletools.opcodes}
_MAX_DIGITS: Final = 20  # of a number in text
_DAMAGED: Final = "Copy or download it again"
_SAVE_AGAIN: Final = (
    "Where you trust it, save it again with plain bytes: "
    "pickle.dump(([bytes(p) for p in pictures], [bool(s) for s in same]), file, protocol=4)"
)


def read_bin(path: Path) -> Benchmark:
    """Read the contents of a .bin file; the pictures stay in it.

    Pictures 2k and 2k + 1 of the file are pair k. Published files repeat a picture that occurs in several pairs; equal
    bytes are one picture here, so that it is encoded once and its pairs are known to share a person.

    Args:
        path: of the file, written by Python 2 or 3.

    Returns:
        A benchmark "pairs", split "face", whose manifest has an archive: each different picture once, called by the
        number, from 0, of its first occurrence. `pairing` has the pairs in ten folds of consecutive pairs, the first
        ones one pair larger where ten do not divide them, as insightface evaluates; fold -1 if there are fewer than
        ten. The file names no persons: identities are those that genuine pairs join, see `persons_of_pairs`. Counts:
        `images` of the file, `face` (different ones), `persons`, `positive_pairs`, `negative_pairs`,
        `contradictory_pairs` and `folds`.

    Raises:
        VlrfaceError: no such file; not a whole pickle; an opcode that does not belong in such a file; no pairs, or
            another number of pictures than two per pair.
    """
    file = PackedFile.found(path)
    with file.opened() as opened:
        blobs, same = _contents(_Machine(opened, file.size, str(path)).run(), str(path))
    rows = _rows_of_equal(blobs)
    firsts = np.unique(rows, return_index=True)[1]
    first, second = rows[0::2], rows[1::2]
    persons = persons_of_pairs(len(firsts), first, second, same)
    archive = BinArchive(
        file, np.array([blob.start for blob in blobs], np.int64), np.array([blob.length for blob in blobs], np.int64)
    )
    manifest = Manifest(
        np.array([str(row) for row in firsts.tolist()], np.str_),
        persons,
        np.full(len(firsts), "face"),
        archive=archive,
    )
    fold = _consecutive_folds(len(same))
    counts = {
        "images": len(blobs),
        "face": len(manifest),
        "persons": len(np.unique(persons)),
        "positive_pairs": int(same.sum()),
        "negative_pairs": int((~same).sum()),
        "contradictory_pairs": contradictions(persons, first, second, same),
        "folds": int(fold.max()) + 1,
    }
    return Benchmark("pairs", manifest, counts, {}, pairing=Pairing(first, second, same, fold))


@dataclass(frozen=True, eq=False)
class BinArchive:
    """The pictures of a .bin file, by number from 0.

    Attributes:
        file: the file.
        starts: (n,) where each picture begins, in bytes.
        lengths: (n,) how many bytes it has.
    """

    file: PackedFile
    starts: Int[ndarray, " n"]
    lengths: Int[ndarray, " n"]

    @property
    def path(self) -> Path:
        """The file, for messages and for the fingerprint."""
        return self.file.path

    def contents(self) -> bytes:
        """Where the pictures lie."""
        return self.starts.tobytes() + self.lengths.tobytes()

    def read(self, source: str) -> bytes:
        """The encoded bytes of a picture.

        Raises:
            VlrfaceError: there is no such picture, or the file changed since it was opened.
            DecodeError: the picture is larger than `MAX_PICTURE_BYTES`.
        """
        if not (source.isascii() and source.isdecimal() and len(source) <= _MAX_DIGITS) or int(source) >= len(
            self.starts
        ):
            raise VlrfaceError(f"{self.path}: no picture {source!r}; there are 0 to {len(self.starts) - 1}")
        length = int(self.lengths[int(source)])
        if length > MAX_PICTURE_BYTES:
            raise DecodeError(f"{self.path}: {source}: {length:,} bytes are more than {MAX_PICTURE_BYTES:,}, the limit")
        with self.file.opened() as opened:
            opened.seek(int(self.starts[int(source)]))
            return opened.read(length)


@dataclass(frozen=True, slots=True)
class _Blob:
    """Bytes in the file."""

    start: int
    length: int
    digest: bytes


class _Mark:
    """What the opcode MARK leaves on the stack."""


class _Machine:
    """Runs a pickle that holds nothing but bytes, truth values, whole numbers, lists and tuples."""

    def __init__(self, file: BinaryIO, size: int, path: str) -> None:
        self._file = file
        self._left = size
        self._path = path
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value that the file holds; bytes stand as `_Blob`."""
        for _ in range(_MAX_OPCODES):
            code = self._bytes(1)
            if code == b".":  # STOP
                return self._pop()
            action = _ACTIONS.get(code)
            if action is None:
                raise self._foreign(code)
            action(self)
        raise VlrfaceError(f"{self._path}: more than {_MAX_OPCODES:,} opcodes; no verification set is so large")

    # Reading: whatever a length says, no more is asked for than is left.

    def _bytes(self, count: int) -> bytes:
        if count > self._left:
            raise VlrfaceError(f"{self._path}: ends early, or a length in it is wrong. {_DAMAGED}")
        self._left -= count
        data = self._file.read(count)
        if len(data) != count:
            raise VlrfaceError(f"{self._path}: changed while it was read. {_DAMAGED}")
        return data

    def _size(self, width: int) -> int:
        return int.from_bytes(self._bytes(width), "little")

    def _line(self) -> bytes:
        digits = b""
        while (each := self._bytes(1)) != b"\n":
            digits += each
            if len(digits) > _MAX_DIGITS:
                raise VlrfaceError(f"{self._path}: a number of more than {_MAX_DIGITS} digits. {_DAMAGED}")
        return digits

    def _number(self) -> int:
        digits = self._line()
        if not digits.isdigit():
            raise VlrfaceError(f"{self._path}: {digits!r} where a number belongs. {_DAMAGED}")
        return int(digits)

    # The stack.

    def _pop(self) -> Any:
        if not self._stack or isinstance(self._stack[-1], _Mark):
            raise VlrfaceError(f"{self._path}: takes a value that is not there. {_DAMAGED}")
        return self._stack.pop()

    def _popped_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while self._stack:
            value = self._stack.pop()
            if isinstance(value, _Mark):
                return values[::-1]
            values.append(value)
        raise VlrfaceError(f"{self._path}: a mark is not there. {_DAMAGED}")

    def _list(self) -> list[Any]:
        if not self._stack or not isinstance(self._stack[-1], list):
            raise VlrfaceError(f"{self._path}: appends to what is no list. {_DAMAGED}")
        return self._stack[-1]

    # Opcodes.

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def blob(self, width: int) -> None:
        """Bytes after their length, which has `width` bytes itself."""
        length = self._size(width)
        start = self._file.tell()
        self._stack.append(_Blob(start, length, hashlib.blake2b(self._bytes(length), digest_size=16).digest()))

    def whole(self, width: int) -> None:
        """A whole number of `width` bytes."""
        self._stack.append(self._size(width))

    def written(self) -> None:
        """A whole number in text; "00" and "01" are how Python 2 writes truth values."""
        self._stack.append(self._number())

    def append(self) -> None:
        """One value to a list."""
        value = self._pop()
        self._list().append(value)

    def appends(self) -> None:
        """All values since the mark to a list."""
        values = self._popped_to_mark()
        self._list().extend(values)

    def gathered(self, kind: Callable[[list[Any]], Any]) -> None:
        """All values since the mark as a list or tuple."""
        self._stack.append(kind(self._popped_to_mark()))

    def tuple_of(self, count: int) -> None:
        """The last values as a tuple."""
        self._stack.append(tuple([self._pop() for _ in range(count)][::-1]))

    def keep(self, width: int | None) -> None:
        """Remember the last value under a number of `width` bytes, under one in text (0), or under the next (None)."""
        value = self._pop()
        number = len(self._memo) if width is None else self._size(width) if width else self._number()
        self._memo[number] = value
        self._stack.append(value)

    def recall(self, width: int) -> None:
        """A remembered value again."""
        number = self._size(width) if width else self._number()
        if number not in self._memo:
            raise VlrfaceError(f"{self._path}: recalls a value that it did not keep. {_DAMAGED}")
        self._stack.append(self._memo[number])

    def skip(self, width: int) -> None:
        """The version of the format, or the length of a frame: says nothing about the value."""
        self._bytes(width)

    def _foreign(self, code: bytes) -> VlrfaceError:
        name = _NAMES.get(code)
        if name is None:
            return VlrfaceError(f"{self._path}: not a pickle of pictures and pairs (byte {code.hex()}). {_DAMAGED}")
        at = self._file.tell() - 1
        start = f"{self._path}: refused: the opcode {name} at byte {at}"
        if b"numpy" in self._file.read(64):
            return VlrfaceError(f"{start} begins a numpy array; only plain bytes are read. {_SAVE_AGAIN}")
        return VlrfaceError(
            f"{start} does not belong in a file of pictures and pairs: it may run code. "
            f"Only bytes, lists, tuples, truth values and whole numbers are read. {_SAVE_AGAIN}"
        )


def _opcode(action: Callable[..., None], *values: Any) -> Callable[[_Machine], None]:
    return lambda machine: action(machine, *values)


_ACTIONS: Final[Mapping[bytes, Callable[[_Machine], None]]] = {
    b"\x80": _opcode(_Machine.skip, 1),  # PROTO
    b"\x95": _opcode(_Machine.skip, 8),  # FRAME
    b"C": _opcode(_Machine.blob, 1),  # SHORT_BINBYTES
    b"B": _opcode(_Machine.blob, 4),  # BINBYTES
    b"\x8e": _opcode(_Machine.blob, 8),  # BINBYTES8
    b"\x96": _opcode(_Machine.blob, 8),  # BYTEARRAY8
    b"U": _opcode(_Machine.blob, 1),  # SHORT_BINSTRING
    b"T": _opcode(_Machine.blob, 4),  # BINSTRING
    b"\x88": _opcode(_Machine.push, True),  # NEWTRUE
    b"\x89": _opcode(_Machine.push, False),  # NEWFALSE
    b"I": _Machine.written,  # INT
    b"K": _opcode(_Machine.whole, 1),  # BININT1
    b"M": _opcode(_Machine.whole, 2),  # BININT2
    b"J": _opcode(_Machine.whole, 4),  # BININT
    b"(": lambda machine: machine.push(_Mark()),  # MARK
    b"]": lambda machine: machine.push([]),  # EMPTY_LIST
    b")": lambda machine: machine.push(()),  # EMPTY_TUPLE
    b"l": _opcode(_Machine.gathered, list),  # LIST
    b"t": _opcode(_Machine.gathered, tuple),  # TUPLE
    b"\x85": _opcode(_Machine.tuple_of, 1),  # TUPLE1
    b"\x86": _opcode(_Machine.tuple_of, 2),  # TUPLE2
    b"\x87": _opcode(_Machine.tuple_of, 3),  # TUPLE3
    b"a": _Machine.append,  # APPEND
    b"e": _Machine.appends,  # APPENDS
    b"p": _opcode(_Machine.keep, 0),  # PUT
    b"q": _opcode(_Machine.keep, 1),  # BINPUT
    b"r": _opcode(_Machine.keep, 4),  # LONG_BINPUT
    b"\x94": _opcode(_Machine.keep, None),  # MEMOIZE
    b"g": _opcode(_Machine.recall, 0),  # GET
    b"h": _opcode(_Machine.recall, 1),  # BINGET
    b"j": _opcode(_Machine.recall, 4),  # LONG_BINGET
}
"""What each opcode does; STOP is told apart before."""


def _contents(value: Any, path: str) -> tuple[list[_Blob], ndarray]:
    """Pictures and (n,) truth values, from what the file holds."""
    parts = list(value) if isinstance(value, (list, tuple)) else []
    if len(parts) != 2 or not all(isinstance(part, (list, tuple)) for part in parts):
        raise VlrfaceError(f"{path}: not a pickle of two lists, pictures and pairs. Give a .bin file of insightface")
    blobs, same = (list(part) for part in parts)
    if not all(isinstance(each, _Blob) for each in blobs):
        raise VlrfaceError(f"{path}: an entry of the list of pictures is no bytes. {_SAVE_AGAIN}")
    # A Python of version 2 pickles truth values as 0 and 1 in its oldest formats.
    if not all(isinstance(each, int) and each in (0, 1) for each in same):
        raise VlrfaceError(f"{path}: an entry of the list of pairs is neither true nor false. {_SAVE_AGAIN}")
    if not same or len(blobs) != 2 * len(same):
        raise VlrfaceError(f"{path}: {len(blobs)} pictures and {len(same)} pairs; each pair needs two. {_DAMAGED}")
    return blobs, np.array(same, np.bool_)


def _rows_of_equal(blobs: list[_Blob]) -> Int[ndarray, " n"]:
    """The row of each picture, equal ones sharing a row; rows in the order of first occurrence."""
    rows: dict[bytes, int] = {}
    return np.array([rows.setdefault(blob.digest, len(rows)) for blob in blobs], np.int64)


def _consecutive_folds(pairs: int) -> Int[ndarray, " m"]:
    if pairs < FOLDS:
        return np.full(pairs, -1)
    return np.repeat(np.arange(FOLDS), [len(each) for each in np.array_split(np.arange(pairs), FOLDS)])
