"""Which of the processes that torchrun started this is, by its environment; a process started otherwise is alone."""

import os


def first_rank() -> bool:
    """Whether this process writes for all."""
    return one_process() or (os.environ.get("RANK") or "0") == "0"


def one_process() -> bool:
    """Whether there are no others, which would wait for this one."""
    return (os.environ.get("WORLD_SIZE") or "1") == "1"
