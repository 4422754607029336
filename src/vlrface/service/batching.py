"""Requests share calls of the network: one thread runs it, on the faces of whoever waits."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.service.errors import ServiceError, overloaded
from vlrface.service.parts import Model, Picture
from vlrface.service.settings import Batching

_JOIN_S: Final = 60.0


@dataclass(frozen=True, eq=False)
class Sight:
    """What the model saw of one crop.

    Attributes:
        embedding: (d,) of unit length.
        recognizability: raw index; NaN where the model gives none.
        score: calibrated, in [0, 1]; NaN without calibration.
        verdict: a word; empty without calibration.
        attention: (fh, fw); None where it was not asked for or the model gives none.
    """

    embedding: Float[ndarray, " d"]
    recognizability: float
    score: float
    verdict: str
    attention: Float[ndarray, "fh fw"] | None = None


@dataclass(frozen=True, eq=False)
class _Job:
    crops: Sequence[Picture]
    attention: bool
    future: Future[list[Sight]]


class Batcher:
    """The thread that runs the model. Jobs are taken in order; those that wait together are run together."""

    def __init__(self, model: Model, settings: Batching, on_batch: Callable[[int, float], None]) -> None:
        """Start nothing yet; the thread starts with the first job.

        Args:
            model: looks at crops.
            settings: how many at once, and how long to wait for them.
            on_batch: told the faces and the seconds of every call.
        """
        self._model = model
        self._settings = settings
        self._on_batch = on_batch
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._waiting = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Faces that were taken and that the model has not begun with."""
        return self._waiting

    @property
    def sound(self) -> bool:
        """Whether a job would be taken and run."""
        return not self._closed and (self._thread is None or self._thread.is_alive())

    def submit(self, crops: Sequence[Picture], *, attention: bool = False) -> Future[list[Sight]]:
        """Have the model look at crops; one result for each, in order.

        Raises:
            ServiceError: 503, too many wait or the service stops.
        """
        job = _Job(crops, attention, Future())
        with self._changed:
            if self._closed:
                raise ServiceError(503, "stopping", "The service is stopping. Ask another one", retry_after=1.0)
            if self._waiting + len(crops) > self._settings.waiting:
                raise overloaded(f"{self._waiting} faces wait already. Come again in a second")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="model", daemon=True)
                self._thread.start()
            self._jobs.append(job)
            self._waiting += len(crops)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Take no more, finish what was taken, end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(_JOIN_S)

    def open(self) -> None:
        """Take jobs again, after a `close`."""
        with self._changed:
            if self._closed:
                self._closed, self._thread = False, None

    def _run(self) -> None:
        while jobs := self._next():
            alive = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if alive:
                self._answer(alive)

    def _next(self) -> list[_Job]:
        """Jobs of the next call; none if closed and all done."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            until = time.monotonic() + self._settings.wait_ms / 1000
            while self._waiting < self._settings.faces and not self._closed:
                if not self._changed.wait(until - time.monotonic()) or time.monotonic() >= until:
                    break
            jobs: list[_Job] = []
            count = 0
            while self._jobs and (not jobs or count + len(self._jobs[0].crops) <= self._settings.faces):
                jobs.append(self._jobs.popleft())
                count += len(jobs[-1].crops)
            self._waiting -= count
            return jobs

    def _answer(self, jobs: list[_Job]) -> None:
        try:
            seen = self._look(jobs)
        except Exception as error:  # whatever a network may raise belongs to whoever asked, not to this thread
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
            else:  # one bad crop must not fail the requests of others
                for job in jobs:
                    self._answer([job])
            return
        for job, sights in zip(jobs, seen, strict=True):
            job.future.set_result(sights)

    def _look(self, jobs: list[_Job]) -> list[list[Sight]]:
        crops = [crop for job in jobs for crop in job.crops]
        began = time.monotonic()
        looks = self._model.look(crops, self._settings.faces)
        wanted = [crop for job in jobs if job.attention for crop in job.crops]
        # By the same number at once as the looks: memory must not grow with a request.
        size = self._settings.faces
        parts = [self._model.attention(wanted[start : start + size]) for start in range(0, len(wanted), size)]
        maps = iter([each for part in parts if part is not None for each in np.asarray(part)])
        self._on_batch(len(crops), time.monotonic() - began)
        seen: list[list[Sight]] = []
        row = 0
        for job in jobs:
            rows = range(row, row + len(job.crops))
            row += len(job.crops)
            seen.append(
                [
                    Sight(
                        looks.embeddings[i],
                        float(looks.recognizability[i]),
                        float(looks.scores[i]),
                        str(looks.verdicts[i]),
                        next(maps, None) if job.attention else None,
                    )
                    for i in rows
                ]
            )
        return seen
