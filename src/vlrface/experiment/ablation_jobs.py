"""Processes side by side: started as others end, stopped together, each with a log file of its own.

A process stops when whoever started it is gone, even killed: it holds the reading end of a pipe that closes then (see
`stop_with_parent`). It lives in a session of its own, so that Ctrl-C reaches the parent alone, which passes it on once.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Final

_POLL_SECONDS: Final = 0.2
_SINGLE_THREAD: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
INTERRUPTED: Final = 130


@dataclass(frozen=True)
class Task:
    """A command to run.

    Attributes:
        name: for a person.
        command: program and arguments.
        log: gets what it prints, after what is there.
    """

    name: str
    command: tuple[str, ...]
    log: Path


@dataclass(eq=False)
class Running:
    """A task that runs."""

    task: Task
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.began


def run_tasks(
    tasks: Sequence[Task],
    parallel: int,
    *,
    ended: Callable[[Running, int], None],
    watch: Callable[[Sequence[Running]], None],
) -> None:
    """Run commands in order, several at a time. One that fails does not keep others from running.

    Args:
        tasks: what to run.
        parallel: how many at a time; more than one have one thread each for their sums.
        ended: told of each task that has ended, with its exit code (negative for a signal).
        watch: told again and again what runs.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; what ran was asked to stop, and has stopped.
    """
    waiting = list(tasks)
    running: list[Running] = []
    with _terminate_as_interrupt():
        try:
            while waiting or running:
                while waiting and len(running) < parallel:
                    running.append(_start(waiting.pop(0), single_thread=parallel > 1))
                time.sleep(_POLL_SECONDS)
                for each in [each for each in running if each.process.poll() is not None]:
                    running.remove(each)
                    _close(each)
                    ended(each, each.process.returncode)
                watch(running)
        finally:
            _stop(running)


def _start(task: Task, *, single_thread: bool) -> Running:
    task.log.parent.mkdir(parents=True, exist_ok=True)
    log = task.log.open("ab")
    threads = dict.fromkeys(_SINGLE_THREAD, "1") if single_thread else {}
    process = subprocess.Popen(  # noqa: S603 (our own command)
        task.command,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, **threads},
        start_new_session=True,
    )
    return Running(task, process, log)


def _stop(running: Sequence[Running]) -> None:
    """Ask once, and wait: a training ends its step and saves itself; a second signal would not let it."""
    for each in running:
        each.process.send_signal(signal.SIGTERM)
    for each in running:
        each.process.wait()
        _close(each)


def _close(running: Running) -> None:
    running.log.close()
    if running.process.stdin is not None:
        running.process.stdin.close()


@contextmanager
def _terminate_as_interrupt() -> Generator[None]:
    """SIGTERM does what Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only there may signals be caught
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def stop_with_parent() -> None:
    """In a process that `run_tasks` started: ask oneself to stop as soon as the parent is gone."""

    def wait() -> None:
        # Not through sys.stdin, whose lock a waiting thread would hold when the process ends.
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
