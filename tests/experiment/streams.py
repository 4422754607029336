"""Writers of large files: RecordIO as insightface has it, and WebDataset shards."""

import io
import struct
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(seed: int, height: int = 24, width: int = 20) -> bytes:
    """A small picture."""
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    Image.fromarray(noise).resize((width, height)).save(file, "JPEG", quality=95)
    return file.getvalue()


def write_rec(rec: Path, people: Sequence[Sequence[bytes]], paths: Sequence[str] | None = None) -> Path:
    """Pictures of person after person with .idx, and with .lst if they have paths."""
    records = [(label, data) for label, pictures in enumerate(people) for data in pictures]
    rec.parent.mkdir(parents=True, exist_ok=True)
    index = ""
    with rec.open("wb") as file:

        def put(key: int, head: Sequence[float], data: bytes) -> None:
            nonlocal index
            index += f"{key}\t{file.tell()}\n"
            body = struct.pack(f"<IfQQ{len(head)}f", len(head), 0.0, key, 0, *head) + data
            assert b"\x0a\x23\xd7\xce" not in body  # it would have to be cut there
            file.write(struct.pack("<II", 0xCED7230A, len(body)) + body + bytes(-len(body) % 4))

        for key, (label, data) in enumerate(records, start=1):
            put(key, (label, 1.0), data)
        if paths is None:
            end = len(records) + 1
            put(0, (end, end + len(people)), b"")
            starts = np.cumsum([1, *map(len, people)])
            for label in range(len(people)):
                put(end + label, (starts[label], starts[label + 1]), b"")
    rec.with_suffix(".idx").write_text(index)
    if paths is not None:
        lines = [
            f"{key}\t{label}\t{path}\n"
            for key, ((label, _), path) in enumerate(zip(records, paths, strict=True), start=1)
        ]
        rec.with_suffix(".lst").write_text("".join(lines))
    return rec


def write_shard(path: Path, samples: Iterable[tuple[str, Mapping[str, bytes]]], mode: str = "w") -> Path:
    """Samples by key, each with its members by ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for key, members in samples:
            for ending, data in members.items():
                info = tarfile.TarInfo(f"{key}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def sample(label: int, seed: int) -> dict[str, bytes]:
    """A picture with its label."""
    return {"jpg": jpeg(seed), "cls": str(label).encode()}


def break_picture(path: Path, offset: int, magic: bytes = b"\xff\xd8") -> None:
    """Spoil the picture that begins at or after a place, leaving size and time of the file as they were."""
    data = bytearray(path.read_bytes())
    at = data.index(magic, offset)
    data[at : at + 12] = bytes(12)
    state = path.stat()
    path.write_bytes(data)
    import os

    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
