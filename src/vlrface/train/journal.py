"""What a run tells: a progress bar, `log.jsonl` (read by the report), `log.txt`, `state.json`, TensorBoard, a hook."""

import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from tqdm import tqdm

from vlrface.files import cannot_write, written_atomically
from vlrface.run_folder import BOARD_NAME, SCALARS_NAME, State, begin_sitting
from vlrface.train.diary import Diary, here
from vlrface.train.errors import TrainingDivergedError, TrainingInterruptedError
from vlrface.train.hooks import Hook
from vlrface.types import Curve

LOG_NAME = SCALARS_NAME
VALIDATION_PREFIX = "validation/"
"""Of the names of what a validation found."""


class Journal:
    """Writes what one run tells; resuming at a step drops the scalars that had been written after it.

    Use as a context manager: how the block ends stands in `state.json` and `log.txt`. TensorBoard and the hook are
    conveniences: if they fail, the run goes on without them, and says so.

    Attributes:
        waiting: share of time that the last logged steps waited for data, in [0, 1]; shown by the bar.

    Args:
        folder: of the run.
        start_step: steps done so far.
        steps: of the whole run.
        batch_size: crops per step.
        progress: show a progress bar.
        validated: whether a validation that the log holds at `start_step` counts. False where the run was killed
            between it and the end of its epoch: the validation will be made, and written, again.
        hook: gets all scalars, too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        start_step: int,
        steps: int,
        batch_size: int,
        progress: bool,
        validated: bool = True,
        hook: Hook | None = None,
    ) -> None:
        self.waiting = 0.0
        self._folder, self._path = folder, folder / LOG_NAME
        self._step, self._steps = start_step, steps
        self._hook = hook
        self._diary = Diary(folder)
        kept = [line for line in read_log(self._path) if line["step"] <= start_step]
        if not validated:
            kept = [line for line in kept if line["step"] < start_step or not _is_validation(line)]
        with written_atomically(self._path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._sitting = begin_sitting(folder, step=start_step, steps=steps)
        # Unbuffered: what could not be written is not tried again when the file is closed.
        self._file = self._path.open("ab", buffering=0)
        self._board: Any = _NoBoard()
        # Counting crops, not steps, makes tqdm show img/s beside the time that is left.
        self._bar = tqdm(
            total=steps * batch_size,
            initial=start_step * batch_size,
            unit="img",
            unit_scale=True,
            smoothing=0.1,
            disable=not progress,
            dynamic_ncols=True,
        )
        self._batch_size = batch_size
        try:
            self._board = _board(folder / BOARD_NAME, start_step)
        except OSError as error:
            self._without_board(error)
        began = "begins" if start_step == 0 else f"goes on from step {start_step}"
        self._diary.write(f"{began}: {steps} steps of {batch_size} crops; {here()}")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._file.close()
        with suppress(OSError):
            self._board.close()
        state, message = _ending(value)
        self._diary.write(f"{state} at step {self._step} of {self._steps}{': ' if message else ''}{message}")
        with suppress(OSError):  # the disk may be what ended the run
            ended = replace(self._sitting, state=state, message=message, ended=time.time(), step=self._step)
            ended.write(self._folder)

    def advance(self, epoch: float, loss: float) -> None:
        """One step done."""
        self._step += 1
        self._bar.set_postfix_str(f"epoch {epoch:.1f} loss {loss:.3f} waiting {self.waiting:.0%}", refresh=False)
        self._bar.update(self._batch_size)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add scalars of a step; a value that is not finite stands as null in the log.

        Raises:
            OSError: the log cannot be written, as on a full disk; the message names it.
        """
        values = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        try:
            line = (json.dumps({"step": step, **values}) + "\n").encode()
            while line:  # a disk that fills up takes a part, and refuses the next
                line = line[self._file.write(line) :]
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._tell(step, scalars)

    def _tell(self, step: int, scalars: Mapping[str, float]) -> None:
        try:
            for name, value in scalars.items():
                self._board.add_scalar(name, value, step)
        except OSError as error:
            self._without_board(error)
        if self._hook is not None:
            try:
                self._hook(self._folder, step, scalars)
            except Exception as error:
                self.say(f"warning: the hook failed ({type(error).__name__}: {error}); the run goes on without it")
                self._hook = None

    def _without_board(self, error: OSError) -> None:
        self.say(f"warning: TensorBoard's events cannot be written ({error}); the run goes on without them")
        self._board = _NoBoard()

    def say(self, text: str) -> None:
        """A line above the progress bar, and in `log.txt`."""
        self._bar.write(text)
        self._diary.write(text)


class _NoBoard:
    """What stands for TensorBoard's writer once that has failed."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _board(folder: Path, start_step: int) -> Any:
    from torch.utils.tensorboard.writer import SummaryWriter

    return SummaryWriter(str(folder), purge_step=start_step + 1 if start_step else None)


def _ending(value: BaseException | None) -> tuple[State, str]:
    """How a run stands after its block ended so."""
    if value is None:
        return "finished", ""
    if isinstance(value, TrainingInterruptedError | KeyboardInterrupt):
        return "stopped", str(value)
    if isinstance(value, TrainingDivergedError):
        return "diverged", str(value)
    return "failed", str(value) or type(value).__name__


def _is_validation(line: Mapping[str, Any]) -> bool:
    return any(name.startswith(VALIDATION_PREFIX) for name in line)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a `log.jsonl`; empty without a file. Lines that a kill or a full disk cut short are left out."""
    if not path.is_file():
        return []
    lines: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and type(line.get("step")) is int:
            lines.append(line)
    return lines


def training_curves(folder: Path) -> dict[str, Curve]:
    """Every scalar of a run's log over its steps."""
    points: dict[str, list[tuple[int, float]]] = {}
    for line in read_log(folder / LOG_NAME):
        for name, value in line.items():
            if name != "step" and value is not None:
                points.setdefault(name, []).append((line["step"], value))
    return {
        name: Curve(name, np.array([s for s, _ in pairs], np.float64), np.array([v for _, v in pairs], np.float64))
        for name, pairs in points.items()
    }
