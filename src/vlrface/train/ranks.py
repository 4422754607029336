"""Which of the processes that torchrun started this is, by its environment; a process started otherwise is alone."""

import os

from vlrface.types import WHOLE, Share, VlrfaceError


def expected() -> Share:
    """This process among those that torchrun started, also before it has joined them.

    Raises:
        VlrfaceError: the environment variables contradict each other.
    """
    size = _number("WORLD_SIZE", 1)
    return WHOLE if size == 1 else Share(_number("RANK", 0), size)


def local_rank() -> int:
    """Number of this process on its machine, from 0; its GPU."""
    return _number("LOCAL_RANK", 0)


def first_rank() -> bool:
    """Whether this process writes for all."""
    return expected().rank == 0


def one_process() -> bool:
    """Whether there are no others, which would wait for this one."""
    return expected().size == 1


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise VlrfaceError(f"the environment variable {name} is {text!r}, not a number: start with torchrun") from None
