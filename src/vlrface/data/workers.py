"""Worker processes that make batches ahead of the trainer.

Plain processes of the standard library, started from a fork server: no torch in them (importing it takes seconds), and
nothing inherited from a process whose thread pools may be running. Ctrl-C and SIGTERM, which reach a whole group of
processes, do not touch them nor the server: the trainer decides when they end.
"""

import functools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import Any, Final, TypeVar

import cv2

from vlrface.types import VlrfaceError

Task = TypeVar("Task")
Made = TypeVar("Made")

_GROUP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_PATIENCE_SECONDS: Final = 5.0  # for workers to finish a last batch that nobody will take
_AHEAD: Final = 2  # finished or running batches per worker that the trainer has not asked for yet


def made_by_workers(make: Callable[[Task], Made], tasks: Iterator[Task], workers: int) -> Iterator[Made]:
    """What `make` gives for each task, in the order of the tasks.

    Worker processes live as long as the iterator: until it is exhausted, closed or dropped.

    Args:
        make: can be pickled; sent to every worker once.
        tasks: taken as workers become free, a few per worker ahead.
        workers: processes, at least 1.

    Raises:
        VlrfaceError: while iterating, when a worker process dies.
        Exception: while iterating, what `make` raises.
    """
    payload = pickle.dumps(make, protocol=pickle.HIGHEST_PROTOCOL)
    context = _context(make.__module__)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_adopt, initargs=(payload,))
    ahead: deque[Future[Made]] = deque()
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

    def _context(module: str) -> BaseContext:
        del module
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

    def _context(module: str) -> BaseContext:
        context = _Context()
        # Imported once by the server, so that a worker starts in 20 ms instead of 200; no effect on one that runs.
        context.set_forkserver_preload(["__main__", __name__, module])
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
def _make() -> Callable[[Any], Any]:
    return pickle.loads(_payload)  # noqa: S301 (bytes of our own parent process)


def _work(task: Any) -> Any:
    return _make()(task)
