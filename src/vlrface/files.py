"""Writing files so that nothing is lost: a temporary name first, then a rename."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_atomically(path: Path) -> Generator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block ends well, remove it if not.

    A reader sees the old file or the new one, never a part: the bytes are synced to disk before the rename.

    Args:
        path: the file to be made or replaced. Its folder is created if needed.

    Yields:
        The temporary path to write to, with the same suffix as `path`.

    Raises:
        OSError: the disk is full or the folder cannot be written; the message names `path`, and `path` is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    except OSError as error:
        raise _named(error, path) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise _named(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    # The only portable way to read the mask is to set it; mkstemp made the file private.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _named(error: OSError, path: Path) -> OSError:
    reason = error.strerror or str(error)
    return OSError(error.errno, f"cannot write {path}: {reason}. Free space or choose another place; nothing was lost")
