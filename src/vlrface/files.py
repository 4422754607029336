"""Writing files so that nothing is lost: a temporary name first, then a rename."""

import errno
import json
import os
import secrets
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def written_atomically(path: Path, *, mode: int | None = None) -> Generator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block ends well, remove it if not.

    A reader sees the old file or the new one, never a part: the bytes are synced to disk before the rename.

    Args:
        path: the file to be made or replaced. Its folder is created if needed.
        mode: who may read it, from the first byte on; None as any other file of the user, by the mask.

    Yields:
        The temporary path to write to, with the same suffix as `path`.

    Raises:
        OSError: the disk is full or the folder cannot be written; the message names `path`, and `path` is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{path.suffix}")
        # Unlike tempfile's, this file is as readable as any other of the user, by the mask.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else mode & 0o600))
        if mode is not None:
            temporary.chmod(mode)  # which the mask does not change
    except OSError as error:
        raise cannot_write(path, error) from error
    made = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(made)  # some writers put a private file of their own in its place
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def table_written_atomically(path: Path) -> Generator[IO[str]]:
    """A text file for a writer of CSV, as `written_atomically`; what is not UTF-8 in a name is escaped."""
    with (
        written_atomically(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        yield file


def printable(text: str) -> str:
    """The text, with what is not UTF-8 in the name of a file escaped, as `backslashreplace` does."""
    return text.encode("utf-8", "backslashreplace").decode()


def cannot_write(path: Path, error: OSError) -> OSError:
    """The error of writing a file, with its name, the reason and what to do."""
    reason = error.strerror or str(error)
    remedy = "Free space, or choose" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "Choose"
    return OSError(error.errno, f"cannot write {path}: {reason}. {remedy} another place; nothing was lost")


def checksum(path: Path) -> str:
    """CRC-32 of a file's bytes: tells one that rotted, which a length does not; read in small pieces.

    Raises:
        OSError: it cannot be read.
    """
    found, piece = 0, memoryview(bytearray(1 << 17))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            found = zlib.crc32(piece[:count], found)
    return f"{found:08x}"


def write_json(path: Path, values: Any) -> None:
    """Write JSON values to a file, atomically. NaN and infinity are refused: they are no JSON.

    Raises:
        OSError: as `written_atomically`.
    """
    with written_atomically(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
