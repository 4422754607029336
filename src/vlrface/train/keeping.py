"""Which checkpoints of a run are kept, and from which it goes on."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vlrface.checkpoint import Checkpoint, DamagedCheckpointError
from vlrface.files import written_atomically
from vlrface.run_folder import LAST_NAME, numbered, numbered_name
from vlrface.train.diary import Diary
from vlrface.train.ranks import first_rank
from vlrface.train.state import RunState
from vlrface.types import VlrfaceError


def keep_numbered(folder: Path, step: int, keep: int) -> None:
    """Give the last checkpoint, just written at a step, its number too; delete all but the newest.

    The number is a second name of the same file, which costs nothing; where the file system knows no second names, a
    copy. A number beyond `step` is of a future that a damaged checkpoint took away, and goes.

    Args:
        folder: of the run.
        step: of the last checkpoint.
        keep: how many numbered checkpoints stay.

    Raises:
        OSError: a copy cannot be written.
    """
    if keep:
        _second_name(folder / LAST_NAME, folder / numbered_name(step))
    past = [path for at, path in numbered(folder) if at <= step]
    for path in [*past[keep:], *(path for at, path in numbered(folder) if at > step)]:
        with suppress(OSError):  # what cannot be deleted does no harm
            path.unlink()


def _second_name(path: Path, name: Path) -> None:
    name.unlink(missing_ok=True)
    try:
        os.link(path, name)
    except OSError:
        with written_atomically(name) as temporary:
            shutil.copyfile(path, temporary)


def newest_readable(folder: Path, say: Callable[[str], None]) -> tuple[Path, Checkpoint] | None:
    """The checkpoint that a run goes on from: the last one, or the newest numbered one where that is damaged.

    Args:
        folder: of the run.
        say: told of what is damaged, and what is taken instead.

    Returns:
        Its path and what it holds; None where there is no checkpoint.

    Raises:
        VlrfaceError: there are checkpoints, and none can be read.
    """
    last = folder / LAST_NAME
    tried = [last] if last.is_file() else []
    tried += [path for _, path in numbered(folder)]
    damaged: list[str] = []
    for path in tried:
        try:
            checkpoint = Checkpoint.load(path)
        except DamagedCheckpointError as error:
            damaged.append(str(error))
            continue
        if path != last:
            reason = "; ".join(damaged) or f"{last} is not there"
            say(f"warning: {reason}. Going on from {path} instead: nothing else is lost than the steps since")
        return path, checkpoint
    if damaged:
        raise VlrfaceError(
            f"{'; '.join(damaged)}. No checkpoint of this run can be read: put back a copy, or remove {folder} to "
            "start afresh"
        )
    return None


def restored(state: RunState, folder: Path) -> Path | None:
    """The checkpoint that the state has become, of those in the folder; None where there is none."""
    said: list[str] = []
    found = newest_readable(folder, said.append)
    if found is not None:
        path, checkpoint = found
        said += [f"a setting is another from now on: {each}" for each in state.restore(path, checkpoint)]
    for each in said if first_rank() else ():
        print(each)
        Diary(folder).write(each)
    return None if found is None else found[0]
