"""What lies in a run's folder, and what can be said of a run without its weights. Neither numpy nor torch.

Whether a run is going on cannot be read from a file that it left: a process that was killed says no goodbye, and the
number of a process means nothing on another machine. So a run holds a lock on its `log.txt`, which goes with the
process however that ends. Where the lock cannot be seen (another machine, a file system without locks) the answer is
"unknown", with the machine's name and the age of the last line.
"""

import json
import os
import re
import socket
import struct
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from vlrface.files import write_json
from vlrface.locks import is_locked

BEST_NAME: Final = "best.safetensors"
LAST_NAME: Final = "last.safetensors"
CONFIG_NAME: Final = "config.json"
ENVIRONMENT_NAME: Final = "environment.json"
SCALARS_NAME: Final = "log.jsonl"
DIARY_NAME: Final = "log.txt"
STATE_NAME: Final = "state.json"
PAGE_NAME: Final = "report.html"
BOARD_NAME: Final = "tensorboard"
CARD_KEY: Final = "vlrface"
"""Of a checkpoint's header: what holds its card."""

_NUMBERED: Final = re.compile(r"step-(\d{6,})\.safetensors")
_HEADER_LIMIT: Final = 100_000_000

State = Literal["running", "stopped", "finished", "diverged", "failed", "killed", "unknown"]
"""How a run stands: asked to stop, and saved; all its epochs done; a loss that was not finite; an error; ended without
a word; no telling from here."""


def numbered_name(step: int) -> str:
    """Name of the checkpoint that is kept of a step."""
    return f"step-{step:06}.safetensors"


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """The numbered checkpoints of a run with their steps, newest first."""
    found = [(_NUMBERED.fullmatch(path.name), path) for path in folder.glob("step-*.safetensors")]
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def holds_checkpoint(folder: Path) -> bool:
    """Whether there is anything that a run could go on from."""
    return (folder / LAST_NAME).is_file() or bool(numbered(folder))


@dataclass(frozen=True)
class Sitting:
    """`state.json`: what a run says of itself when it begins, goes on and ends.

    Attributes:
        run: tells one run from another; the same through all sittings.
        state: "running" until it ends; of one that was killed for ever.
        message: how it ended, in a sentence.
        host: name of the machine.
        process: its number there.
        began: of the first sitting, seconds since 1970.
        sat: of this sitting.
        ended: of this sitting; None until then.
        sittings: how many there were, this one counted.
        step: steps done when this was written.
        steps: of the whole run.
    """

    run: str
    state: State
    message: str
    host: str
    process: int
    began: float
    sat: float
    ended: float | None
    sittings: int
    step: int
    steps: int

    def write(self, folder: Path) -> None:
        """Write the file, atomically."""
        write_json(folder / STATE_NAME, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Sitting | None":
        """Read the file; None where there is none, or a damaged one."""
        try:
            values = json.loads((folder / STATE_NAME).read_text(encoding="utf-8"))
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError):
            return None


def begin_sitting(folder: Path, *, step: int, steps: int) -> Sitting:
    """Write that a run begins, or goes on, at a step."""
    before, now = Sitting.read(folder), time.time()
    sitting = Sitting(
        run=os.urandom(8).hex() if before is None else before.run,
        state="running",
        message="",
        host=socket.gethostname(),
        process=os.getpid(),
        began=now if before is None else before.began,
        sat=now,
        ended=None,
        sittings=1 if before is None else before.sittings + 1,
        step=step,
        steps=steps,
    )
    sitting.write(folder)
    return sitting


def state_of(folder: Path, *, done: bool) -> tuple[State, str]:
    """How a run stands, and a remark on it.

    Args:
        folder: of the run.
        done: whether its last checkpoint says that all epochs are done.
    """
    sitting = Sitting.read(folder)
    held = is_locked(folder / DIARY_NAME)
    if held:
        return "running", "" if sitting is None else f"process {sitting.process} on {sitting.host}"
    if sitting is None:
        return ("finished" if done else "stopped"), ""
    if sitting.state != "running":
        return sitting.state, sitting.message
    if done:
        return "finished", ""
    if held is None or sitting.host != socket.gethostname():
        return "unknown", f"begun on {sitting.host}, last sign of life {_ago(last_sign(folder))} ago"
    return "killed", f"process {sitting.process} ended without a word"


def last_sign(folder: Path) -> float:
    """When a run last wrote anything, seconds since 1970; 0 where there is nothing."""
    latest = 0.0
    for name in (LAST_NAME, SCALARS_NAME, DIARY_NAME, STATE_NAME):
        with suppress(OSError):
            latest = max(latest, (folder / name).stat().st_mtime)
    return latest


def _ago(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def read_header(path: Path) -> dict[str, Any]:
    """The card of a checkpoint, without torch, its tensors unread.

    Raises:
        OSError: it cannot be read.
        ValueError: no checkpoint of ours, or a truncated one.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, _HEADER_LIMIT):
            raise ValueError("truncated, or not a safetensors file")
        header = json.loads(file.read(length))
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise ValueError("no checkpoint of vlrface")
    end = max((each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"), default=0)
    if size != 8 + length + end:
        raise ValueError(f"{size:,} bytes instead of {8 + length + end:,}: truncated")
    if CARD_KEY not in header["__metadata__"]:
        raise ValueError("no checkpoint of vlrface")
    return json.loads(header["__metadata__"][CARD_KEY])
