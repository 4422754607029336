"""How valid bytes become hostile ones, from a seeded generator."""

import io
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence

Files = Mapping[str, bytes]
"""A case: the contents of files, by path below the folder of the case."""

NUMBERS = (0, 1, 2, 3, 8, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**29 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63)
OUTSIDE = (b"../../outside/secret.jpg", b"/etc/passwd", b"..", b"\\..\\", b"C:\\x", b"a/../../x", b"~/x")
TEXT = (b"\x00", b"\n", b"\r", b"\t", b",", b";", b'"', b" ", b"\xff\xfe", b"\xc3", b"-1", b"nan", b"1e999", b"9" * 30)
_WIDTHS = ("<H", ">H", "<I", ">I", "<Q", ">Q")


def mutated(data: bytes, rng: random.Random, words: Sequence[bytes] = ()) -> bytes:
    """One to eight random changes; rarely nothing but noise.

    Args:
        data: what is changed.
        rng: the only source of chance.
        words: what else may be put in: opcodes, separators, paths.
    """
    if rng.random() < 0.03:
        return rng.randbytes(rng.randrange(200))
    buffer = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        rng.choice(_CHANGES)(buffer, rng, words)
    return bytes(buffer)


def _bit(buffer: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    if buffer:
        buffer[rng.randrange(len(buffer))] ^= 1 << rng.randrange(8)


def _byte(buffer: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    if buffer:
        buffer[rng.randrange(len(buffer))] = rng.randrange(256)


def _number(buffer: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    form = rng.choice(_WIDTHS)
    width = struct.calcsize(form)
    value = (rng.choice(NUMBERS) + rng.choice((-1, 0, 0, 0, 1))) % 256**width
    at = rng.randrange(len(buffer) + 1)
    if rng.random() < 0.6:  # sizes mostly stand at multiples of four
        at -= at % 4
    buffer[at : at + width] = struct.pack(form, value)


def _decimal(buffer: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    spans = [match.span() for match in re.finditer(rb"[0-9]+", buffer)]
    if spans:
        begin, end = rng.choice(spans)
        buffer[begin:end] = str(rng.choice((*NUMBERS, -1, 10**30))).encode()


def _cut(buffer: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = rng.randrange(len(buffer) + 1)
    del buffer[at : at + rng.choice((1, 1, 4, 8, 40, 400))]


def _truncate(buffer: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    del buffer[rng.randrange(len(buffer) + 1) :]


def _repeat(buffer: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = rng.randrange(len(buffer) + 1)
    piece = bytes(buffer[at : at + rng.choice((1, 4, 8, 40, 400))])
    buffer[at:at] = piece * rng.choice((1, 1, 2, 30))


def _move(buffer: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at, to = rng.randrange(len(buffer) + 1), rng.randrange(len(buffer) + 1)
    length = rng.choice((1, 4, 8, 40))
    buffer[to : to + length] = bytes(buffer[at : at + length])


def _word(buffer: bytearray, rng: random.Random, words: Sequence[bytes]) -> None:
    at = rng.randrange(len(buffer) + 1)
    buffer[at : at + rng.choice((0, 0, 1, 4))] = rng.choice(words or TEXT)


_CHANGES: tuple[Callable[[bytearray, random.Random, Sequence[bytes]], None], ...] = (
    *(_bit, _byte, _number, _number, _decimal, _cut, _truncate, _repeat, _move, _word, _word),
)


def in_files(seeds: Sequence[Files], words: Sequence[bytes]) -> Callable[[random.Random], Files]:
    """Cases of a target that needs no more: the files of a seed, one or two of them changed, perhaps swapped."""

    def case(rng: random.Random) -> Files:
        files = dict(rng.choice(seeds))
        for name in rng.sample(sorted(files), min(len(files), rng.choice((1, 1, 2)))):
            data = files[name] if rng.random() < 0.95 else rng.choice(list(rng.choice(seeds).values()))
            files[name] = mutated(data, rng, words)
        return files

    return case


def matlab(data: bytes, rng: random.Random, words: Sequence[bytes]) -> bytes:
    """Changes of a MATLAB file; half the time its body is then packed, so that changes survive in packed elements."""
    changed = mutated(data, rng, words)
    if rng.random() < 0.5:
        return changed
    packed = zlib.compress(changed[128:])
    if rng.random() < 0.2:
        packed = mutated(packed, rng)
    return changed[:128] + struct.pack("<II", 15, len(packed)) + packed


def archive(members: Files, rng: random.Random, words: Sequence[bytes]) -> bytes:
    """A zip file with changed members and right check sums; rarely its own bytes are changed too."""
    members = dict(members)
    for name in rng.sample(sorted(members), rng.choice((1, 1, 2, 3))):
        change = rng.random()
        if change < 0.1:
            del members[name]
        elif change < 0.2:
            members[name] = members[rng.choice(sorted(members))]
        else:
            members[name] = mutated(members[name], rng, words)
    buffer = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, method)
    data = buffer.getvalue()
    return mutated(data, rng, words) if rng.random() < 0.2 else data
