"""Processes that train together: who is there, and sums and gatherings over all of them, with their gradients.

A process alone is rank 0 of 1, for which every function here gives back what it got, without a copy or a wait.

Two rules make every gradient that of one process. What is computed alike everywhere ("common": losses of the whole
batch) has the full gradient on each rank. What each rank computes with its own part of something ("parted": class
prototypes) meets the common values through `copied` on its way in, and `summed` or `stacked` on its way out.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from vlrface.types import WHOLE, Share


def current() -> Share:
    """This process among those that train together."""
    if dist.is_available() and dist.is_initialized():
        return Share(dist.get_rank(), dist.get_world_size())
    return WHOLE


def copied(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """A common value on its way into what each rank computes with its own part: its gradient is summed over ranks."""
    return values if current().size == 1 or not values.numel() else _applied(_Copied, values)


def summed(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The sum over ranks of what each computed of its part: a common value, so its gradient is every rank's."""
    return values if current().size == 1 or not values.numel() else _applied(_Summed, values)


def stacked(values: Float[Tensor, "*n"]) -> Float[Tensor, "r *n"]:
    """What each rank computed of its part, one after another along a new first dimension: a common value."""
    return values.unsqueeze(0) if current().size == 1 else _applied(_Stacked, values)


@torch.no_grad()
def largest(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The largest over ranks, value by value. Without gradient."""
    if current().size > 1:
        values = values.clone()
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values


@torch.no_grad()
def total(values: Tensor) -> Tensor:
    """The sum over ranks. Without gradient."""
    if current().size > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


@torch.no_grad()
def joined(values: Tensor, counts: list[int]) -> Tensor:
    """The rows of all ranks, in their order. Without gradient.

    Args:
        values: (counts[rank], ...) one's own rows.
        counts: rows of every rank; they may differ.
    """
    if len(counts) == 1:
        return values
    longest = max(counts)
    # Collectives want equal sizes: the short ones are filled up, and cut again.
    mine = values.new_zeros((longest, *values.shape[1:]))
    mine[: len(values)] = values
    every = [torch.empty_like(mine) for _ in counts]
    dist.all_gather(every, mine)
    return torch.cat([each[:count] for each, count in zip(every, counts, strict=True)])


def gathered_outputs(outputs: tuple[Tensor, ...], counts: list[int]) -> tuple[Tensor, ...]:
    """What the network said of every rank's rows, in their order, as a common value.

    Backwards, each rank's rows get their own gradient times the number of ranks, because the gradients of the network's
    weights are then averaged over ranks, as `DistributedDataParallel` and FSDP do, where their sum is meant. All
    outputs always take part, so that no weight waits for a gradient that never comes.

    Args:
        outputs: each (counts[rank], ...).
        counts: rows of every rank.
    """
    return outputs if len(counts) == 1 else cast("tuple[Tensor, ...]", _GatheredOutputs.apply(counts, *outputs))


def _applied(function: type[torch.autograd.Function], values: Tensor) -> Tensor:
    return cast("Tensor", function.apply(values))


class _Copied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return total(gradients[0].contiguous())


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        return total(values.contiguous())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return gradients[0]


class _Stacked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        values = values.contiguous()
        every = [torch.empty_like(values) for _ in range(current().size)]
        dist.all_gather(every, values)
        return torch.stack(every)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return gradients[0][current().rank]


class _GatheredOutputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, counts: list[int], *outputs: Tensor) -> tuple[Tensor, ...]:
        rank = current().rank
        ctx.mine = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
        ctx.size = len(counts)
        return tuple(joined(output.contiguous(), counts) for output in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(ctx.size * gradient[ctx.mine] for gradient in gradients)
