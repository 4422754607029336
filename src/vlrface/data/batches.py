"""Training batches from crops: which ones, in which order, augmented how.

Everything random about a sample comes from (seed, epoch, position in the epoch) alone. So batches are the same for any
number of workers, and a run that goes on in the middle of an epoch sees what an undisturbed one sees.
"""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray

from vlrface.data.order import EpochOrder, Shuffle, batches_in_order
from vlrface.data.parts import Batch as Batch
from vlrface.data.parts import BatchSource as BatchSource
from vlrface.data.parts import OnBroken as OnBroken
from vlrface.data.parts import Part as Part
from vlrface.data.parts import Transform as Transform
from vlrface.data.parts import samples_drawn as samples_drawn
from vlrface.data.streamed import StreamedCrops
from vlrface.data.workers import made_by_workers
from vlrface.images.decode import DecodeError
from vlrface.images.drawing import Steps, draw_together
from vlrface.types import WHOLE, Share, VlrfaceError

_TRIES: Final = 100  # pictures that are drawn in place of a broken one before it is given up
_REMEDY: Final = '; or set on_broken="skip" of its source, to draw others in place of broken pictures'
_REPLACED_STREAM: Final = 3  # of a sample whose picture is broken
_ORDER_STREAM: Final = 1  # the word of the Philox counter that tells the order of an epoch from its samples


class SampleError(RuntimeError):
    """One sample could not be made. The message names the crop, its part and row, and what went wrong."""


class Batches:
    """Shuffled, augmented batches of several parts; an incomplete last batch of an epoch is dropped.

    With workers, a program's main file needs the usual `if __name__ == "__main__":` around its work.

    Attributes:
        steps_per_epoch: batches per epoch, the same in each epoch.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        batch_size: int,
        height: int,
        width: int,
        seed: int,
        workers: int = 0,
        share: Share = WHOLE,
        *,
        drawn: bool = False,
        shuffle: Shuffle | None = None,
    ) -> None:
        """Check and keep what batches are made of; starts nothing.

        Args:
            parts: what to draw from.
            batch_size: samples per batch.
            height: of the images, in pixels; what each transform must give.
            width: of the images, in pixels.
            seed: 0 ≤ seed < 2**64.
            workers: processes that prepare batches ahead; 0 prepares each in the caller when it is asked for.
            share: which part of each batch to make; the samples are those that the whole batch has there.
            drawn: draw what the transforms would do, and leave doing it to the device.
            shuffle: None makes the whole order of an epoch at its beginning (`epoch_order`); else it is computed as it
                is needed (`vlrface.data.order.EpochOrder`), in memory that does not grow with the number of crops.

        Raises:
            VlrfaceError: a value is out of range, an epoch would have no batch, a transform cannot be sent to
                workers, or a device cannot do it.
        """
        if not parts:
            raise VlrfaceError("batches: no part to draw from")
        if min(batch_size, height, width) < 1 or workers < 0 or not 0 <= seed < 2**64:
            raise VlrfaceError(
                f"batches: batch_size={batch_size}, height={height}, width={width} must be at least 1, "
                f"workers={workers} at least 0, and seed={seed} in [0, 2**64)"
            )
        if workers:
            for index, part in enumerate(parts):
                _check_picklable(index, part.transform)
        self.steps_per_epoch = steps_of(sum(part.drawn for part in parts), batch_size)
        self._parts = tuple(parts)
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        self._share = share
        steps = tuple(Steps.of(part.transform) for part in parts) if drawn else None
        self._recipe = _Recipe(self._parts, height, width, seed, steps)
        self._shuffle = shuffle

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `start` on.

        Worker processes live as long as the iterator: until it is exhausted, closed or dropped. (The fork server they
        come from is one small process that ends with the program.)

        Raises:
            VlrfaceError: now, for an epoch or start out of range; while iterating, when a worker process dies.
            SampleError: while iterating, when a sample cannot be made.
        """
        if epoch < 0 or not 0 <= start <= self.steps_per_epoch:
            raise VlrfaceError(f"batches: no step {start} of epoch {epoch}; an epoch has {self.steps_per_epoch} steps")
        tasks = self._tasks(epoch, start)
        if self._workers == 0:
            return (self._recipe.batch(task) for task in tasks)
        return made_by_workers(self._recipe.batch, tasks, self._workers)

    def _tasks(self, epoch: int, start: int) -> "Iterator[_Task]":
        for first, parts, rows in self._whole_batches(epoch, start):
            mine = self._share.of(len(rows))
            yield _Task(epoch, first + mine.start, parts[mine], rows[mine])

    def _whole_batches(self, epoch: int, start: int) -> Iterator[tuple[int, Int[ndarray, " b"], Int[ndarray, " b"]]]:
        """Of each whole batch, its first position in the epoch, and part and row of its samples."""
        drawn = [(len(part.crops), part.drawn) for part in self._parts]
        size, end = self._batch_size, self.steps_per_epoch * self._batch_size
        if self._shuffle is not None:
            order = EpochOrder(drawn, self._shuffle, self._seed, epoch)
            yield from batches_in_order(order, size, start * size, end, self._read_ahead)
            return
        parts, rows = epoch_order(drawn, self._seed, epoch)
        for first in range(start * size, end, size):
            yield first, parts[first : first + size], rows[first : first + size]

    def _read_ahead(self, parts: Int[ndarray, " n"], rows: Int[ndarray, " n"]) -> None:
        for number, part in enumerate(self._parts):
            if isinstance(part.crops, StreamedCrops):
                part.crops.will_need(rows[parts == number])


def steps_of(total: int, batch_size: int) -> int:
    """Whole batches in an epoch of so many samples.

    Raises:
        VlrfaceError: there is none.
    """
    if total < batch_size:
        raise VlrfaceError(f"batches: an epoch has {total} samples, fewer than one batch of {batch_size}")
    return total // batch_size


def epoch_order(
    drawn: Sequence[tuple[int, int]], seed: int, epoch: int
) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"]]:
    """Which samples an epoch has, shuffled.

    Args:
        drawn: of each part, how many crops it has and how many samples are drawn from it: all crops as often as that
            goes, and a random few once more.
        seed: 0 ≤ seed < 2**64.
        epoch: ≥ 0.

    Returns:
        Part and row of each sample.
    """
    rng = sample_generator(seed, epoch, stream=_ORDER_STREAM)
    rows: list[ndarray] = []
    for n, count in drawn:
        whole, rest = divmod(count, n)
        rows.append(np.concatenate([np.tile(np.arange(n), whole), rng.permutation(n)[:rest]]))
    parts = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    order = rng.permutation(len(parts))
    return parts[order], np.concatenate(rows)[order]


def in_order(
    part: Part, batch_size: int, height: int, width: int, *, seed: int, epoch: int = 0, workers: int = 0
) -> Iterator[Batch]:
    """Every crop of a part once, in its order, augmented; the last batch holds what is left.

    Args:
        part: the crops; its `copies` do not matter.
        batch_size: samples per batch.
        height: of the images, in pixels.
        width: of the images, in pixels.
        seed: 0 ≤ seed < 2**64.
        epoch: another epoch has other augmentation.
        workers: as in `Batches`.

    Raises:
        SampleError: while iterating, when a sample cannot be made.
        VlrfaceError: a transform cannot be sent to workers; while iterating, when a worker process dies.
    """
    if workers:
        _check_picklable(0, part.transform)
    recipe = _Recipe((part,), height, width, seed)
    n = len(part.crops)
    tasks = (
        _Task(epoch, first, np.zeros(last - first, np.int64), np.arange(first, last))
        for first, last in ((start, min(start + batch_size, n)) for start in range(0, n, batch_size))
    )
    return made_by_workers(recipe.batch, tasks, workers) if workers else map(recipe.batch, tasks)


@dataclass(frozen=True, eq=False)
class _Task:
    """One batch to make: positions first, first + 1, … of an epoch."""

    epoch: int
    first: int
    parts: Int[ndarray, " b"]
    rows: Int[ndarray, " b"]


@dataclass(frozen=True, eq=False)
class _Found:
    """Crops of a batch, with label and row of each, and what was broken."""

    crops: list[UInt8[ndarray, "_ _ 3"]]
    labels: Int[ndarray, " b"]
    rows: Int[ndarray, " b"]
    broken: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Recipe:
    """How a task becomes a batch; the same object works in the caller and in workers."""

    parts: tuple[Part, ...]
    height: int
    width: int
    seed: int
    steps: tuple[Steps, ...] | None = None

    def batch(self, task: _Task) -> Batch:
        if self.steps is not None:
            return self._drawn(task, self.steps)
        images = np.empty((len(task.rows), self.height, self.width, 3), np.uint8)
        found = self._found(task)
        for at, crop in enumerate(found.crops):
            position, part = task.first + at, int(task.parts[at])
            try:
                rng = sample_generator(self.seed, task.epoch, position=position)
                images[at] = self._sample(self.parts[part], crop, rng)
            except Exception as error:
                raise self._refused(task, at, int(found.rows[at]), error) from error
        return Batch(images, found.labels, task.parts, found.rows, broken=found.broken)

    def _drawn(self, task: _Task, steps: tuple[Steps, ...]) -> Batch:
        found = self._found(task)
        count = len(found.crops)
        generators = [sample_generator(self.seed, task.epoch, position=task.first + at) for at in range(count)]
        drawn = draw_together(found.crops, [steps[part] for part in task.parts.tolist()], generators)
        images = np.empty((count, 0, 0, 3), np.uint8)
        return Batch(images, found.labels, task.parts, found.rows, drawn, found.broken)

    def _found(self, task: _Task) -> "_Found":
        """The crops of a batch, others in place of broken ones that are to be skipped."""
        crops: list[UInt8[ndarray, "_ _ 3"]] = []
        rows = task.rows.copy()
        labels = np.empty(len(rows), np.int64)
        broken: list[str] = []
        for at, (number, row) in enumerate(zip(task.parts.tolist(), task.rows.tolist(), strict=True)):
            part = self.parts[number]
            try:
                try:
                    crops.append(part.crops[row])
                except DecodeError as error:
                    if part.on_broken == "stop":
                        raise
                    broken.append(str(error))
                    rows[at], crop = self._replacement(part, task.epoch, task.first + at)
                    crops.append(crop)
            except Exception as error:
                raise self._refused(task, at, row, error) from error
            labels[at] = part.labels[rows[at]]
        return _Found(crops, labels, rows, tuple(broken))

    def _refused(self, task: _Task, at: int, row: int, error: Exception) -> SampleError:
        part = int(task.parts[at])
        return SampleError(
            f"{self.parts[part].crops.name(row)} (part {part}, row {row}, epoch {task.epoch}, position "
            f"{task.first + at}): {type(error).__name__}: {error}{_REMEDY if isinstance(error, DecodeError) else ''}"
        )

    def _replacement(self, part: Part, epoch: int, position: int) -> tuple[int, UInt8[ndarray, "_ _ 3"]]:
        """Another picture of the part, the same one whenever this sample is made."""
        rng = sample_generator(self.seed, epoch, position=position, stream=_REPLACED_STREAM)
        for row in rng.integers(len(part.crops), size=_TRIES).tolist():
            try:
                return row, part.crops[row]
            except DecodeError:
                continue
        raise VlrfaceError(f"{_TRIES} pictures drawn in its place are broken too. Copy the files again")

    def _sample(self, part: Part, crop: UInt8[ndarray, "_ _ 3"], rng: np.random.Generator) -> UInt8[ndarray, "_ _ 3"]:
        image = part.transform(crop, rng)
        if image.dtype != np.uint8 or image.shape != (self.height, self.width, 3):
            raise ValueError(
                f"the transform gave {image.dtype} of shape {image.shape}, not uint8 ({self.height}, {self.width}, 3). "
                "Let its last step frame to the size of the batch"
            )
        return image


def sample_generator(seed: int, epoch: int, *, position: int = 0, stream: int = 0) -> np.random.Generator:
    """The random numbers of one sample: of position `position` in an epoch, or of what `stream` stands for."""
    # Philox is made for this: key and counter are the address of a stream. The counter is 256 bits, lowest word first,
    # and counts up by one per four numbers, so that no stream ever reaches the next.
    key = np.array([seed, epoch], np.uint64)
    counter = np.array([0, 0, stream, position], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def _check_picklable(index: int, transform: Transform) -> None:
    try:
        pickle.dumps(transform)
    except Exception as error:  # whatever an object's own pickling raises
        raise VlrfaceError(
            f"batches: the transform of part {index} cannot be sent to worker processes ({error}). "
            "Define it at the top level of a module, or use workers=0"
        ) from error
