"""What a person sees of a run: a progress bar, `log.jsonl` (read by the report) and TensorBoard events."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from tqdm import tqdm

from vlrface.files import written_atomically
from vlrface.types import Curve

LOG_NAME = "log.jsonl"
VALIDATION_PREFIX = "validation/"
"""Of the names of what a validation found."""


class Journal:
    """Writes scalars of one run; resuming at a step drops what had been written after it.

    Use as a context manager.

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
    ) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.waiting = 0.0
        self._path = folder / LOG_NAME
        kept = [line for line in read_log(self._path) if line["step"] <= start_step]
        if not validated:
            kept = [line for line in kept if line["step"] < start_step or not _is_validation(line)]
        with written_atomically(self._path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start_step + 1 if start_step else None)
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

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._file.close()
        self._board.close()

    def advance(self, epoch: float, loss: float) -> None:
        """One step done."""
        self._bar.set_postfix_str(f"epoch {epoch:.1f} loss {loss:.3f} waiting {self.waiting:.0%}", refresh=False)
        self._bar.update(self._batch_size)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add scalars of a step; a value that is not finite stands as null in the log."""
        values = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def say(self, text: str) -> None:
        """A line above the progress bar."""
        self._bar.write(text)


def _is_validation(line: Mapping[str, Any]) -> bool:
    return any(name.startswith(VALIDATION_PREFIX) for name in line)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a `log.jsonl`; empty without a file. A last line that a kill cut short is left out."""
    lines: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                break
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
