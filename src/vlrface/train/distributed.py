"""Several processes that train one network, as torchrun starts them: joining, waiting for one another, and losing one.

torchrun says by environment variables who is who; without them a process is alone. Rank 0 writes checkpoints and log,
and shows progress; the others are silent.
"""

import os
import re
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist

from vlrface.ranks import current
from vlrface.train.journal import Journal
from vlrface.train.ranks import expected, local_rank
from vlrface.types import Share, VlrfaceError

TIMEOUT: Final = timedelta(minutes=10)
"""How long a step may wait for another process that is still there. One that died is noticed within seconds."""

_POLL_SECONDS: Final = 0.2
_LOST: Final = (
    "connection closed",
    "connection reset",
    "broken pipe",
    "timed out",
    "connection refused",
    "gloo",
    "nccl",
)

_waits: dict[str, int] = {}


class RankLostError(VlrfaceError):
    """Another process of the run has ended, and this one cannot go on without it."""


class FirstRankLostError(RankLostError):
    """The first process, for which this one waited, has failed or ended."""


@contextmanager
def joined(timeout: timedelta = TIMEOUT) -> Generator[Share]:
    """Join the processes that torchrun started, for as long as the block lasts. Alone without torchrun.

    Args:
        timeout: how long a step waits for a process that is there but does not come.

    Raises:
        VlrfaceError: the others cannot be reached.
    """
    share = expected()
    if share.size == 1 or dist.is_initialized():
        yield current()
        return
    # Of tensors on the CPU (labels, what is saved) gloo takes care, whatever device trains.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=timeout, rank=share.rank, world_size=share.size)
    except (RuntimeError, ValueError) as error:
        raise VlrfaceError(
            f"process {share.rank} of {share.size} cannot join the others ({_first_line(error)}). Start all of them by "
            "`torchrun --nproc-per-node N -m vlrface train RECIPE`, and on several machines with the same --nnodes, "
            "--rdzv-endpoint and --rdzv-id"
        ) from error
    yield share
    # Not where something failed: the others may be gone, and saying goodbye to them would wait for an answer.
    agreed(False)  # nobody leaves, and takes its connections with it, while others still work
    dist.destroy_process_group()


def first_then_others(act: Callable[[], None], what: str) -> None:
    """Let rank 0 do something that may take long while the others wait; then all go on.

    Raises:
        FirstRankLostError: rank 0 failed at it, or has ended.
    """
    share = current()
    if share.size == 1:
        act()
        return
    key = _next_key("first")
    if share.rank == 0:
        _telling(key, act)
    else:
        _wait(key, what)


@contextmanager
def first_here_then_others(what: str) -> Generator[None]:
    """Let the first process of each machine do something before its others do the same, for example fill a cache.

    Raises:
        FirstRankLostError: it failed at it, or has ended.
    """
    share = current()
    if share.size == 1:
        yield
        return
    machine = (share.rank - local_rank()) if "LOCAL_RANK" in os.environ else 0
    key = _next_key(f"machine {machine}")
    if share.rank == machine:
        try:
            yield
        except BaseException:
            _store().set(key, "failed")
            raise
        _store().set(key, "done")
    else:
        _wait(key, what)
        yield


def agreed(wish: bool) -> bool:
    """Whether any rank wishes for something, asked of all in the same place."""
    if current().size == 1:
        return wish
    wishes = torch.tensor([int(wish)])
    dist.all_reduce(wishes, dist.ReduceOp.MAX)
    return bool(wishes.item())


def all_the_same(value: int) -> bool:
    """Whether all ranks have the same number."""
    if current().size == 1:
        return True
    ends = torch.tensor([value, -value])
    dist.all_reduce(ends, dist.ReduceOp.MAX)
    return int(ends[0]) == -int(ends[1])


def of_all(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names that any rank has."""
    share = current()
    if share.size == 1:
        return names
    if not agreed(bool(names)):  # nearly always
        return ()
    every: list[tuple[str, ...] | None] = [None] * share.size
    dist.all_gather_object(every, names)
    return tuple(dict.fromkeys(name for each in every if each is not None for name in each))


@contextmanager
def naming_lost_ranks(last: Path) -> Generator[None]:
    """Say in plain words what it means when a process of the run is gone.

    Args:
        last: the checkpoint from which the run can go on.
    """
    try:
        yield
    except RuntimeError as error:
        share = current()
        if share.size == 1 or not _is_loss(error):
            raise
        raise RankLostError(_lost_message(share, last, _first_line(error))) from error
    except FirstRankLostError as error:
        raise RankLostError(_lost_message(current(), last, str(error))) from error


class Silence(Journal):
    """The journal of a rank that writes none."""

    def __init__(self) -> None:
        pass

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, epoch: float, loss: float) -> None:
        """Nothing."""

    def write(self, step: int, scalars: object) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


def _lost_message(share: Share, last: Path, reason: str) -> str:
    kept = f"{last} is the last checkpoint" if last.is_file() else "nothing had been saved yet"
    return (
        f"process {share.rank} of {share.size} lost another process of this run ({reason}). See what that one said, or "
        f"whether it was killed for memory. {kept}: the same command goes on from there, with any number of processes"
    )


def _is_loss(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(each in text for each in _LOST)


def _first_line(error: BaseException) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    # Gloo begins with the place in its source, and ends with guesses.
    return re.sub(r"^\[[^\]]*\]\s*", "", line).split(" This is typically")[0].rstrip(".")[:200]


def _store() -> Any:
    return dist.distributed_c10d._get_default_store()  # pyright: ignore[reportPrivateUsage]


def _next_key(place: str) -> str:
    # Every rank comes to the same places in the same order, so that counting gives them the same key.
    _waits[place] = _waits.get(place, 0) + 1
    return f"vlrface {place} {_waits[place]}"


def _telling(key: str, act: Callable[[], None]) -> None:
    try:
        act()
    except BaseException:
        _store().set(key, "failed")
        raise
    _store().set(key, "done")


def _wait(key: str, what: str) -> None:
    # Asked again and again: one long wait inside torch would neither hear a signal nor notice that the store is gone.
    try:
        while not _store().check([key]):
            time.sleep(_POLL_SECONDS)
        done = _store().get(key) == b"done"
    except dist.DistError as error:
        raise FirstRankLostError(f"the first one ended during {what}: {_first_line(error)}") from error
    if not done:
        raise FirstRankLostError(f"the first one failed at {what}, and says why")
