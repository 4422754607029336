"""One file that holds many pictures: opened for each read, and refused once it is not the file it was."""

import os
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

    @contextmanager
    def opened(self) -> Generator[BinaryIO]:
        """Open it to read.

        Raises:
            VlrfaceError: it cannot be read, or changed since it was found.
        """
        try:
            with self.path.open("rb") as file:
                state = os.fstat(file.fileno())
                if (state.st_size, state.st_mtime_ns) != (self.size, self.mtime_ns):
                    raise VlrfaceError(f"{self.path}: changed since it was opened. Start again with the whole file")
                yield file
        except OSError as error:
            raise VlrfaceError(f"{self.path}: cannot be read ({error.strerror}). Check its permissions") from error
