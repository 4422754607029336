"""From batches to tensors on the device, ahead of the step that needs them."""

import contextlib
import multiprocessing
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import torch
from torch import Tensor

from vlrface.data.batches import Batch
from vlrface.data.device_augment import augmented

_PATIENCE_SECONDS: Final = 5.0
_AHEAD: Final = 2
"""Batches on the device that no step has asked for yet: one would do, the second takes up an uneven loader."""


@dataclass(frozen=True, eq=False)
class Fed:
    """One batch on the device.

    Attributes:
        batch: as the loader gave it.
        images: (b, h, w, 3) crops or (b, mh, mw, c) maps.
        labels: (b,) int64.
        teacher: (b, d) teacher embeddings; None without a teacher.
        taught: (b,) bool, which rows have one.
    """

    batch: Batch
    images: Tensor
    labels: Tensor
    teacher: Tensor | None
    taught: Tensor | None


class Feeder:
    """The batches of an epoch on the device, in their order. Use as a context manager and iterate once.

    On CUDA a thread takes batches from the loader, gathers their teacher embeddings, copies all of it through pinned
    memory on a stream of its own, and augments there if the device is to do it, while the step before computes. On the
    CPU nothing is gained by that (worker processes prepare batches ahead already), and a batch is taken when it is
    asked for.

    Attributes:
        waited: seconds, so far, that a step was wanted but no batch was there; on CUDA only those in which the device
            had nothing left to do.

    Args:
        batches: of the loader.
        teachers: per part of the data the teacher embedding of each row (n, d) on the CPU, or None.
        device: where they go.
        height: of the images that the device augments.
        width: likewise.
        threaded: take batches ahead in a thread; None does so on CUDA.
    """

    def __init__(
        self,
        batches: Iterator[Batch],
        teachers: Sequence[Tensor | None],
        device: torch.device,
        *,
        height: int = 0,
        width: int = 0,
        threaded: bool | None = None,
    ) -> None:
        self.waited = 0.0
        self._batches = batches
        self._teachers = teachers
        self._device = device
        self._side = height, width
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._stopping = threading.Event()
        self._ready: queue.Queue[tuple[Fed, torch.cuda.Event | None] | BaseException | None] = queue.Queue(_AHEAD)
        self._thread: threading.Thread | None = None
        if self._stream is not None if threaded is None else threaded:
            self._thread = threading.Thread(target=self._work, name="feeder", daemon=True)
            self._thread.start()

    def __enter__(self) -> "Feeder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_SECONDS)
            if self._thread.is_alive():  # it waits for a worker process that hangs
                for worker in multiprocessing.active_children():
                    worker.kill()
                self._thread.join(_PATIENCE_SECONDS)
                return
        close = getattr(self._batches, "close", None)  # of a generator: ends its worker processes
        if close is not None:
            close()

    def __iter__(self) -> Iterator[Fed]:
        """The batches, each waited for if it is not ready."""
        while True:
            fed = self._next()
            if fed is None:
                return
            yield fed

    def _next(self) -> Fed | None:
        if self._thread is None:
            began = time.perf_counter()
            batch = next(self._batches, None)
            self.waited += time.perf_counter() - began
            return None if batch is None else self._fed(batch)
        got = self._awaited()
        if isinstance(got, BaseException):
            raise got
        if got is None:
            return None
        fed, copied = got
        if copied is not None:
            # The step's stream waits, not the host. Its memory came from the other stream: say who uses it now.
            current = torch.cuda.current_stream(self._device)
            current.wait_event(copied)
            for tensor in (fed.images, fed.labels, fed.teacher, fed.taught):
                if tensor is not None:
                    tensor.record_stream(current)
        return fed

    def _awaited(self) -> "tuple[Fed, torch.cuda.Event | None] | BaseException | None":
        with contextlib.suppress(queue.Empty):
            return self._ready.get_nowait()
        done = None
        if self._stream is not None:  # the steps asked for so far: until they are done, the device does not wait
            done = torch.cuda.Event()
            done.record(torch.cuda.current_stream(self._device))
        while done is not None and not done.query():
            with contextlib.suppress(queue.Empty):
                return self._ready.get(timeout=0.001)
        began = time.perf_counter()
        got = self._ready.get()
        self.waited += time.perf_counter() - began
        return got

    def _work(self) -> None:
        try:
            if self._stream is None:
                self._hand_over_all()
            else:
                with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
                    self._hand_over_all()
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _hand_over_all(self) -> None:
        for batch in self._batches:
            fed = self._fed(batch)
            copied = None
            if self._stream is not None:
                copied = torch.cuda.Event()
                copied.record(self._stream)
            if not self._put((fed, copied)):
                return

    def _put(self, item: "tuple[Fed, torch.cuda.Event | None] | BaseException | None") -> bool:
        while not self._stopping.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def _fed(self, batch: Batch) -> Fed:
        teacher, taught = _taught(batch, self._teachers)
        if batch.drawn is None:
            images = self._moved(torch.from_numpy(batch.images))
        else:
            images = augmented(self._moved(torch.from_numpy(batch.drawn.pixels)), batch.drawn.plans, *self._side)
        return Fed(
            batch,
            images,
            self._moved(torch.from_numpy(batch.labels)),
            None if teacher is None else self._moved(teacher),
            None if taught is None else self._moved(taught),
        )

    def _moved(self, tensor: Tensor) -> Tensor:
        if self._stream is None:
            return tensor.to(self._device)
        return tensor.pin_memory().to(self._device, non_blocking=True)


def _taught(batch: Batch, teachers: Sequence[Tensor | None]) -> tuple[Tensor | None, Tensor | None]:
    """Teacher embeddings of a batch, zeros where a row has none, and which rows have one."""
    width = next((t.shape[1] for t in teachers if t is not None), None)
    if width is None:
        return None, None
    target = torch.zeros(len(batch.rows), width)
    taught = torch.zeros(len(batch.rows), dtype=torch.bool)
    for part, embeddings in enumerate(teachers):
        if embeddings is not None:
            where = torch.from_numpy(batch.parts == part)
            target[where] = embeddings[torch.from_numpy(batch.rows)[where]]
            taught |= where
    return target, taught
