"""`log.txt`: what happened to a run, for a person, a line each with its time; and the lock on its folder."""

import os
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vlrface.locks import InUseError, locked
from vlrface.run_folder import DIARY_NAME, Sitting
from vlrface.train.ranks import first_rank
from vlrface.types import VlrfaceError

LOCK_SECONDS: Final = 30.0
"""How long to wait for another process that may just be saving itself."""


class Diary:
    """Adds lines. A line that cannot be written, as on a full disk, is said on standard error: no run ends for it.

    Args:
        folder: of the run; made if needed.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / DIARY_NAME
        self._broken = False

    def write(self, text: str) -> None:
        """Add a line."""
        now = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
        try:
            with self._path.open("ab") as file:  # at once, so that it stands there whatever comes next
                # A kill may have cut the line before short.
                file.write(
                    (f"{self._unfinished()}{now}  " + " ".join(text.split()) + "\n").encode("utf-8", "backslashreplace")
                )
        except OSError as error:
            if not self._broken:
                print(f"warning: cannot write {self._path}: {error.strerror or error}", file=sys.stderr)
            self._broken = True

    def _unfinished(self) -> str:
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return ""
            file.seek(-1, os.SEEK_END)
            return "" if file.read(1) == b"\n" else "\n"


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """Keep other processes from training into a folder. Of several ranks the first holds it for all.

    Raises:
        VlrfaceError: another process trains there.
    """
    if not first_rank():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / DIARY_NAME, LOCK_SECONDS):
            yield
    except InUseError:
        who = Sitting.read(folder)
        named = "another process" if who is None else f"process {who.process} on {who.host}"
        raise VlrfaceError(
            f"{folder}: {named} trains there. Wait for it, stop it (kill {'PID' if who is None else who.process}), or "
            "choose another --out"
        ) from None


def here() -> str:
    """This process and its machine, for a line."""
    return f"process {os.getpid()} on {socket.gethostname()}"
