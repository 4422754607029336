"""Ctrl-C and SIGTERM: a wish that is granted where nothing is lost, in time for a scheduler that kills after 30 s.

The first signal is a wish. It is granted at the end of a step, or of a validation. What may take long and changes
nothing of the run (waiting for a batch, measuring the unrecognizable faces, a validation) is broken off after
`GRACE_SECONDS`, so that the run can be saved as it was before it. What is in the middle of a step, which cannot be
saved, is left after `LIMIT_SECONDS`: the last checkpoint stands. A second signal acts at once.

Of several ranks none breaks anything off alone, because the others would wait for it: they stop after a step, or at the
limit.
"""

import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final

from vlrface.train.ranks import one_process

GRACE_SECONDS: Final = 8.0
LIMIT_SECONDS: Final = 22.0
_ECHO_SECONDS: Final = 2.0
"""A signal to a whole job comes twice to each rank: from the scheduler, and passed on by torchrun."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM where no training runs that could save itself; like Ctrl-C nothing catches it by mistake."""


class OverdueError(BaseException):
    """What may be broken off took too long after a signal. Nothing but the loop catches it."""


class AbandonedError(BaseException):
    """A step took too long after a signal."""


class StopRequest:
    """Holds the wish to stop; a context manager around a training.

    Attributes:
        number: of the signal that was sent; None without one.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._since = 0.0
        self._previous: dict[int, Any] = {}
        self._breakable = False
        self._saving = False

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self.number is not None

    @property
    def exit_code(self) -> int:
        """As shells have it: 128 and the number of the signal; that of Ctrl-C without one."""
        return 128 + (self.number or signal.SIGINT)

    def __enter__(self) -> "StopRequest":
        for number in _SIGNALS:
            try:
                self._previous[number] = signal.signal(number, self._request)
            except ValueError:  # only the main thread may; elsewhere the caller decides
                break
        else:
            if hasattr(signal, "SIGALRM"):
                self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._alarm)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disarm()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def breakable(self) -> Generator[None]:
        """Around what changes nothing of the run.

        Raises:
            OverdueError: a signal came, and this took longer than `GRACE_SECONDS` from then on.
        """
        self._breakable = one_process()
        try:
            if self._breakable and self.requested and time.monotonic() - self._since >= GRACE_SECONDS:
                raise OverdueError
            yield
        finally:
            self._breakable = False

    @contextmanager
    def saving(self) -> Generator[None]:
        """Around writing a checkpoint, which is let come to its end."""
        self._saving = True
        try:
            yield
        finally:
            self._saving = False

    def disarm(self) -> None:
        """From now on nothing is broken off or left."""
        if hasattr(signal, "SIGALRM") and signal.SIGALRM in self._previous:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _request(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested and not one_process() and time.monotonic() - self._since < _ECHO_SECONDS:
            return
        if self.requested:  # a second one acts at once
            for each in _SIGNALS:
                signal.signal(each, self._previous[each])
            signal.raise_signal(number)
            return
        self.number, self._since = number, time.monotonic()
        if hasattr(signal, "SIGALRM"):
            # Again and again: the first alarm may find a step under way, which a later one leaves.
            signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS, 1.0)

    def _alarm(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._breakable:
            self._breakable = False
            raise OverdueError
        if not self._saving and time.monotonic() - self._since >= LIMIT_SECONDS:
            raise AbandonedError


@contextmanager
def terminable() -> Generator[None]:
    """Around a command: SIGTERM takes the way of Ctrl-C, so that half-written files go and workers end.

    Raises:
        TerminatedError: SIGTERM came where nothing else waited for it.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise TerminatedError

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
