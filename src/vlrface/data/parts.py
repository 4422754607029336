"""What a run trains on: parts of crops with labels and augmentation, and the batches that are made of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Float16, Int, UInt8
from numpy import ndarray

from vlrface.data.cache import Pictures
from vlrface.data.stream_index import mapped
from vlrface.images.drawing import Drawn
from vlrface.types import VlrfaceError

Transform = Callable[[UInt8[ndarray, "_ _ 3"], np.random.Generator], UInt8[ndarray, "_ _ 3"]]
"""What becomes of a crop on its way into a batch: (crop, the sample's own generator) → image of the batch's size.

It must not write to the crop. Its last step frames, see `vlrface.images.framing.RandomFraming`. For worker processes it
must be picklable: a function at the top level of a module, or an object of a class there.
"""

OnBroken = Literal["stop", "skip"]
"""What a picture does that turns out broken when it is drawn: "stop" the run, or be skipped and told."""


@dataclass(frozen=True, eq=False)
class Part:
    """One data set among those that a run trains on.

    Attributes:
        crops: its pictures, all decoded, or streamed.
        labels: (n,) what the trainer is told about each crop.
        transform: augmentation of each sample, down to the size of the batch.
        copies: how many times each crop is drawn per epoch. 2.5 draws all twice and a random half, another one in each
            epoch, a third time; each time with other augmentation.
        on_broken: of streamed pictures. "skip" draws another picture of the part in its place, chosen by seed, epoch
            and position.
        labels_file: the .npy file that `labels` maps, else None. Mapped labels are pickled by path, not by content.

    Raises:
        VlrfaceError: another number of labels than crops, a crop that could not be decoded, or `copies` draws nothing.
    """

    crops: Pictures
    labels: Int[ndarray, " n"]
    transform: Transform
    copies: float = 1.0
    on_broken: OnBroken = "stop"
    labels_file: Path | None = None

    def __post_init__(self) -> None:
        if self.on_broken not in get_args(OnBroken):
            raise VlrfaceError(f"part: on_broken is {self.on_broken!r}: give one of {', '.join(get_args(OnBroken))}")
        if len(self.labels) != len(self.crops):
            raise VlrfaceError(f"part: {len(self.labels)} labels for {len(self.crops)} crops")
        failed = np.flatnonzero(self.crops.failures != "")
        if len(failed):
            first = f"{self.crops.name(failed[0])}: {self.crops.failures[failed[0]]}"
            raise VlrfaceError(
                f"part: {len(failed)} of {len(self.crops)} crops could not be decoded, first {first}. "
                'Leave them out: crops.rows(crops.failures == ""), and their labels'
            )
        if not (np.isfinite(self.copies) and self.drawn >= 1):
            raise VlrfaceError(f"part: copies={self.copies} of {len(self.crops)} crops draws none; give more")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ if self.labels_file is None else {**self.__dict__, "labels": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.labels_file is not None:
            self.__dict__["labels"] = mapped(self.labels_file)

    @property
    def drawn(self) -> int:
        """Samples per epoch: copies times the number of crops, rounded half up."""
        return samples_drawn(self.copies, len(self.crops))


@dataclass(frozen=True, eq=False)
class Batch:
    """One training step's samples.

    Attributes:
        images: (b, h, w, 3) RGB; or the maps that frozen first steps of a network make of them, see
            `vlrface.data.views`.
        labels: (b,) int64.
        parts: (b,) int64, the part that each sample comes from.
        rows: (b,) int64, its row in that part.
        drawn: pictures and what is to become of them, where the device augments; `images` is (b, 0, 0, 3) then.
        broken: of each picture that was skipped, what was wrong; another stands in its place.
    """

    images: UInt8[ndarray, "b h w 3"] | Float16[ndarray, "b h w c"]
    labels: Int[ndarray, " b"]
    parts: Int[ndarray, " b"]
    rows: Int[ndarray, " b"]
    drawn: Drawn | None = None
    broken: tuple[str, ...] = ()


@runtime_checkable
class BatchSource(Protocol):
    """What a run trains on: `Batches`, or `vlrface.data.views.ViewBatches`."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch, the same in each epoch."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `start` on; they depend on the epoch and the step alone."""
        ...


def samples_drawn(copies: float, count: int) -> int:
    """Samples per epoch of so many crops: copies times the number of crops, rounded half up."""
    return int(np.floor(copies * count + 0.5)) if copies > 0 else 0
