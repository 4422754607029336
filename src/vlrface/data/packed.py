"""One file that holds many pictures: opened for each read, and refused once it is not the file it was."""

import os
import threading
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from vlrface.types import VlrfaceError

MAX_PICTURE_BYTES: Final = 64 * 2**20
"""Encoded pictures above it are not read from an archive; the default limit of a picture file too."""


@dataclass(frozen=True)
class PackedFile:
    """A file as it was when its table of contents was made.

    Nothing stays open, so that it can be sent to other processes and read from several threads.

    Attributes:
        path: of the file.
        size: in bytes.
        mtime_ns: when it was last written to.
    """

    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def found(cls, path: Path) -> "PackedFile":
        """Look at a file.

        Raises:
            VlrfaceError: there is none, or it is not a regular file.
        """
        try:
            if not path.is_file():  # asked first: opening a pipe would wait
                reason = "not a regular file" if path.exists() else "no such file"
                raise VlrfaceError(f"{path}: {reason}. Give the path of the archive")
            state = path.stat()
        except OSError as error:
            raise VlrfaceError(f"{path}: cannot be read ({error.strerror}). Check its permissions") from error
        return cls(path, state.st_size, state.st_mtime_ns)

    def check(self, file: BinaryIO) -> None:
        """Check that an opened file is the one that was found.

        Raises:
            VlrfaceError: it changed since.
        """
        state = os.fstat(file.fileno())
        if (state.st_size, state.st_mtime_ns) != (self.size, self.mtime_ns):
            raise VlrfaceError(f"{self.path}: changed since it was opened. Start again with the whole file")

    @contextmanager
    def opened(self) -> Generator[BinaryIO]:
        """Open it to read.

        Raises:
            VlrfaceError: it cannot be read, or changed since it was found.
        """
        try:
            with self.path.open("rb") as file:
                self.check(file)
                yield file
        except OSError as error:
            raise VlrfaceError(f"{self.path}: cannot be read ({error.strerror}). Check its permissions") from error


class OpenFiles:
    """Packed files that stay open between reads: the last few, of this process alone. Threads may share it."""

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._files: OrderedDict[Path, BinaryIO] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def opened(self, packed: PackedFile) -> Generator[BinaryIO]:
        """A file to read, nobody else's for as long as that takes.

        Raises:
            VlrfaceError: it cannot be read, or changed since it was found.
        """
        with self._lock:
            try:
                file = self._files.pop(packed.path, None)
                if file is None:
                    if len(self._files) >= self._limit:
                        self._files.popitem(last=False)[1].close()
                    file = packed.path.open("rb")
                self._files[packed.path] = file
                packed.check(file)
                yield file
            except OSError as error:
                raise VlrfaceError(
                    f"{packed.path}: cannot be read ({error.strerror}). Check its permissions and its disk"
                ) from error

    def close(self) -> None:
        """Close all; they are opened again when asked for."""
        with self._lock:
            while self._files:
                self._files.popitem()[1].close()

    def __del__(self) -> None:
        self.close()
