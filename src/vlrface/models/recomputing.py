"""Activation checkpointing: what a step of the trunk computes is forgotten, and computed again for its gradient."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.utils.checkpoint import checkpoint


def recomputed(step: nn.Module, maps: Tensor) -> Tensor:
    """`step(maps)`, of which only the input is kept for the backward pass. The same values and gradients.

    Costs a second forward pass of the step. Batch norms take the batch into their running statistics once, not twice.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_still(step)

    if torch.compiler.is_compiling():  # there the second pass is cut out of the first's graph and moves no statistics
        return checkpoint(step, maps, use_reentrant=False)
    return checkpoint(step, maps, use_reentrant=False, context_fn=contexts)


@contextmanager
def _statistics_still(step: nn.Module) -> Generator[None]:
    norms = [each for each in step.modules() if isinstance(each, _BatchNorm)]
    kept = [(each.momentum, each.num_batches_tracked) for each in norms]
    for norm in norms:
        norm.momentum = 0.0  # the running statistics stay, to the last bit
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked
