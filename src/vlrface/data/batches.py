"""Training batches from crops: which ones, in which order, augmented how.

Everything random about a sample comes from (seed, epoch, position in the epoch) alone. So batches are the same for any
number of workers, and a run that goes on in the middle of an epoch sees what an undisturbed one sees.

Workers are plain processes of the standard library, started from a fork server: no torch in them (importing it takes
seconds), and nothing inherited from a process whose thread pools may be running. Ctrl-C and SIGTERM, which reach a
whole group of processes, do not touch them nor the server: the trainer decides when they end.
"""

import functools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import Any, Final, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float16, Int, UInt8
from numpy import ndarray

from vlrface.data.cache import Crops
from vlrface.images.drawing import Drawn, Steps, draw_together
from vlrface.types import VlrfaceError

Transform = Callable[[UInt8[ndarray, "_ _ 3"], np.random.Generator], UInt8[ndarray, "_ _ 3"]]
"""What becomes of a crop on its way into a batch: (crop, the sample's own generator) → image of the batch's size.

It must not write to the crop. Its last step frames, see `vlrface.images.framing.RandomFraming`. For worker processes it
must be picklable: a function at the top level of a module, or an object of a class there.
"""

_GROUP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_PATIENCE_SECONDS: Final = 5.0  # for workers to finish a last batch that nobody will take
_AHEAD: Final = 2  # finished or running batches per worker that the trainer has not asked for yet
_ORDER_STREAM: Final = 1  # the word of the Philox counter that tells the order of an epoch from its samples


class SampleError(RuntimeError):
    """One sample could not be made. The message names the crop, its part and row, and what went wrong."""


@dataclass(frozen=True, eq=False)
class Part:
    """One data set among those that a run trains on.

    Attributes:
        crops: its pictures, all decoded.
        labels: (n,) what the trainer is told about each crop.
        transform: augmentation of each sample, down to the size of the batch.
        copies: how many times each crop is drawn per epoch. 2.5 draws all twice and a random half, another one in each
            epoch, a third time; each time with other augmentation.

    Raises:
        VlrfaceError: another number of labels than crops, a crop that could not be decoded, or `copies` draws nothing.
    """

    crops: Crops
    labels: Int[ndarray, " n"]
    transform: Transform
    copies: float = 1.0

    def __post_init__(self) -> None:
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
    """

    images: UInt8[ndarray, "b h w 3"] | Float16[ndarray, "b h w c"]
    labels: Int[ndarray, " b"]
    parts: Int[ndarray, " b"]
    rows: Int[ndarray, " b"]
    drawn: Drawn | None = None


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
        *,
        drawn: bool = False,
    ) -> None:
        """Check and keep what batches are made of; starts nothing.

        Args:
            parts: what to draw from.
            batch_size: samples per batch.
            height: of the images, in pixels; what each transform must give.
            width: of the images, in pixels.
            seed: 0 ≤ seed < 2**64.
            workers: processes that prepare batches ahead; 0 prepares each in the caller when it is asked for.
            drawn: draw what the transforms would do, and leave doing it to the device.

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
        steps = tuple(Steps.of(part.transform) for part in parts) if drawn else None
        self._recipe = _Recipe(self._parts, height, width, seed, steps)

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
        return _from_workers(self._recipe, tasks, self._workers)

    def _tasks(self, epoch: int, start: int) -> "Iterator[_Task]":
        parts, rows = epoch_order([(len(part.crops), part.drawn) for part in self._parts], self._seed, epoch)
        for step in range(start, self.steps_per_epoch):
            first = step * self._batch_size
            chosen = slice(first, first + self._batch_size)
            yield _Task(epoch, first, parts[chosen], rows[chosen])


def samples_drawn(copies: float, count: int) -> int:
    """Samples per epoch of so many crops: copies times the number of crops, rounded half up."""
    return int(np.floor(copies * count + 0.5)) if copies > 0 else 0


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
    return _from_workers(recipe, tasks, workers) if workers else map(recipe.batch, tasks)


@dataclass(frozen=True, eq=False)
class _Task:
    """One batch to make: positions first, first + 1, … of an epoch."""

    epoch: int
    first: int
    parts: Int[ndarray, " b"]
    rows: Int[ndarray, " b"]


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
        labels = np.empty(len(task.rows), np.int64)
        for at, (part, row) in enumerate(zip(task.parts.tolist(), task.rows.tolist(), strict=True)):
            rng = sample_generator(self.seed, task.epoch, position=task.first + at)
            try:
                images[at] = self._sample(self.parts[part], row, rng)
            except Exception as error:
                name = self.parts[part].crops.name(row)
                raise SampleError(
                    f"{name} (part {part}, row {row}, epoch {task.epoch}, position {task.first + at}): "
                    f"{type(error).__name__}: {error}"
                ) from error
            labels[at] = self.parts[part].labels[row]
        return Batch(images, labels, task.parts, task.rows)

    def _drawn(self, task: _Task, steps: tuple[Steps, ...]) -> Batch:
        places = list(zip(task.parts.tolist(), task.rows.tolist(), strict=True))
        generators = [sample_generator(self.seed, task.epoch, position=task.first + at) for at in range(len(places))]
        pictures = [self.parts[part].crops[row] for part, row in places]
        drawn = draw_together(pictures, [steps[part] for part, _ in places], generators)
        labels = np.array([self.parts[part].labels[row] for part, row in places], np.int64)
        return Batch(np.empty((len(places), 0, 0, 3), np.uint8), labels, task.parts, task.rows, drawn)

    def _sample(self, part: Part, row: int, rng: np.random.Generator) -> UInt8[ndarray, "_ _ 3"]:
        image = part.transform(part.crops[row], rng)
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


def _from_workers(recipe: _Recipe, tasks: Iterator[_Task], workers: int) -> Iterator[Batch]:
    payload = pickle.dumps(recipe, protocol=pickle.HIGHEST_PROTOCOL)
    context = _context()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_adopt, initargs=(payload,))
    ahead: deque[Future[Batch]] = deque()
    try:
        for task in tasks:
            ahead.append(pool.submit(_work, task))
            if len(ahead) > workers * _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except (BrokenProcessPool, ConnectionError, EOFError) as error:
        raise VlrfaceError(
            "batches: a worker process died. It may have run out of memory, or the program starts its work outside "
            '`if __name__ == "__main__":`. See the output above, or use workers=0'
        ) from error
    finally:
        # A worker that hangs, in a file system that does not answer, must not keep its trainer from ending.
        late = threading.Timer(_PATIENCE_SECONDS, _kill_children, [context])
        late.daemon = True
        late.start()
        pool.shutdown(wait=True, cancel_futures=True)
        late.cancel()


if sys.platform == "win32":

    def _context() -> BaseContext:
        return multiprocessing.get_context("spawn")

    def _kill_children(context: BaseContext) -> None:
        del context

else:
    from multiprocessing import forkserver
    from multiprocessing.context import ForkServerContext, ForkServerProcess

    class _Worker(ForkServerProcess):
        def terminate(self) -> None:
            # A pool that lost one worker terminates the others and waits for them, and they ignore SIGTERM.
            self.kill()

    class _Context(ForkServerContext):
        """Knows the workers that were started through it."""

        def __init__(self) -> None:
            super().__init__()
            self.workers: list[_Worker] = []

        def Process(  # noqa: N802  # pyright: ignore[reportIncompatibleVariableOverride] (pools only call it)
            self, *args: Any, **kwargs: Any
        ) -> _Worker:
            self.workers.append(_Worker(*args, **kwargs))
            return self.workers[-1]

    def _kill_children(context: BaseContext) -> None:
        for worker in context.workers if isinstance(context, _Context) else ():
            if worker.is_alive():
                worker.kill()

    def _context() -> BaseContext:
        context = _Context()
        # Imported once by the server, so that a worker starts in 20 ms instead of 200; no effect on one that runs.
        context.set_forkserver_preload(["__main__", __name__])
        # The server inherits the blocked signals, and a worker from it, before `_adopt` can ignore them. If the server
        # died, its workers would count as dead. (The tracker starts first, because starting it unblocks both.)
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return context


# From here on: what runs in a worker process.

_payload = b""


def _adopt(payload: bytes) -> None:
    global _payload
    # Read at the first task, not here, so that an error of unpickling reaches the caller like any other.
    _payload = payload
    # Both may go to the whole group of processes; the trainer decides when workers end.
    for number in _GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A killed trainer says no goodbye, and its workers would wait for tasks for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@functools.cache
def _recipe() -> _Recipe:
    return pickle.loads(_payload)  # noqa: S301 (bytes of our own parent process)


def _work(task: _Task) -> Batch:
    return _recipe().batch(task)
