"""Locks of files between processes: each goes with its process, however that ends."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

_POLL_SECONDS: Final = 0.1


class InUseError(Exception):
    """Another process holds the lock of a file."""


@contextmanager
def locked(path: Path, wait_seconds: float) -> Generator[None]:
    """Hold the lock of a file, which is made if needed; it ends with the block, or with the process.

    Where the file system has no locks, nothing is held.

    Args:
        path: the file; its folder is there. It stays.
        wait_seconds: for another process that holds it; infinity waits for its end.

    Raises:
        InUseError: another process holds it, and did not let go in time.
    """
    with path.open("ab") as file:
        until = time.monotonic() + wait_seconds
        while _lock(file) is False:
            if time.monotonic() >= until:
                raise InUseError(path)
            time.sleep(_POLL_SECONDS)
        yield


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock of a file; None where no lock can be asked for."""
    try:
        with path.open("rb") as file:
            got = _lock(file, shared=True)
    except OSError:
        return None
    return None if got is None else not got


if sys.platform == "win32":

    def _lock(file: IO[bytes], *, shared: bool = False) -> bool | None:
        del file, shared
        return None

else:
    import fcntl

    def _lock(file: IO[bytes], *, shared: bool = False) -> bool | None:
        """Whether the lock was had at once; None where there are none."""
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True
