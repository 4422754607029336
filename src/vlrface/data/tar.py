"""Members of tar files, to be read at their place: a damaged file is told from one that ends."""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO, Final

from vlrface.types import VlrfaceError

_BLOCK: Final = 512  # of tar


def tar_members(opened: BinaryIO, name: str) -> Iterator[tarfile.TarInfo]:
    """The regular members of an uncompressed tar file, in their order; none is kept.

    Between two members the file may be read elsewhere.

    Args:
        opened: the file, at its beginning.
        name: what an error calls it.

    Raises:
        VlrfaceError: no tar file, a compressed one, or one that is damaged or cut off: the members before are given
            first.
    """
    try:
        with tarfile.open(fileobj=opened, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue] (it would keep them all)
                if member.isreg():
                    yield member
            end = tar.offset
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise VlrfaceError(
            f"{name}: no whole tar file ({error}). Copy or download it again; a compressed one must be unpacked "
            "(gunzip), so that samples can be read at their place"
        ) from error
    # To tarfile, a header that makes no sense is the end; a whole file ends with zeros.
    opened.seek(end)
    if opened.read(_BLOCK) != bytes(_BLOCK):
        raise VlrfaceError(f"{name}: damaged or cut off at byte {end}. Copy or download it again")
