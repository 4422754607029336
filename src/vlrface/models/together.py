"""Layers that see the whole batch though each process has only its rows: batch norm and dropout.

Torch's own SyncBatchNorm is for GPUs only, and knows no passengers (`EmbeddingNorm`). Here the statistics are those of
the rows of all ranks, forwards and backwards, on any device, and a row of the batch is dropped out as it would be in
one process. A network on several ranks then learns what it learns on one.
"""

from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from vlrface.models.backbone import EmbeddingNorm
from vlrface.ranks import current, total

Layer = TypeVar("Layer", bound=nn.Module)


def work_together(network: nn.Module) -> None:
    """Put layers that see the whole batch in place of a network's batch norms and dropouts.

    Weights, buffers, names and modes stay the same objects; in evaluation mode nothing changes.

    Args:
        network: changed in place.
    """
    batch = _Batch()
    network.register_forward_pre_hook(batch.met)
    for module in list(network.modules()):
        for name, child in module.named_children():
            kind = _TOGETHER.get(type(child))
            if kind is not None:
                made = _as(kind, child)
                if isinstance(made, TogetherDropout):
                    made.batch = batch
                setattr(module, name, made)


class _Batch:
    """How many rows the network was called with last; 0 before."""

    def __init__(self) -> None:
        self.rows = 0

    def met(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """A hook before the network is called."""
        del network
        self.rows = len(inputs[0])


def _as(kind: type[Layer], layer: nn.Module) -> Layer:
    made = kind.__new__(kind)
    made.__dict__.update(layer.__dict__)  # the same parameters, buffers and settings
    return made


class TogetherNorm2d(nn.BatchNorm2d):
    """Batch norm of maps over the rows of all ranks."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:  # noqa: A002  (torch's name)
        """Normalise; while training, by the statistics of all ranks' rows."""
        return super().forward(input) if not self.training else _normalised(self, input)


class TogetherEmbeddingNorm(EmbeddingNorm):
    """`EmbeddingNorm` over the rows of all ranks; passengers go by the statistics of the others, of all ranks too."""

    def forward(self, input: Float[Tensor, "b d"], measured: int | None = None) -> Float[Tensor, "b d"]:  # noqa: A002  (torch's name)
        """Normalise; see `EmbeddingNorm.forward`."""
        if not self.training:
            return super().forward(input)
        if measured is None:
            return _normalised(self, input)
        plain, passengers = input[:measured], input[measured:]
        with torch.no_grad():
            mean, variance, _ = _moments(plain)
        carried = nn.functional.batch_norm(
            passengers, mean, variance, self.weight, self.bias, training=False, eps=self.eps
        )
        return torch.cat([_normalised(self, plain), carried])


class TogetherNorm1d(nn.BatchNorm1d):
    """Batch norm of vectors over the rows of all ranks."""

    def forward(self, input: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:  # noqa: A002  (torch's name)
        """Normalise; while training, by the statistics of all ranks' rows."""
        return super().forward(input) if not self.training else _normalised(self, input)


class TogetherDropout(nn.Dropout):
    """Dropout that draws for the whole batch on every rank, from the same seed, and uses the rows of its own.

    The batch must be split as `vlrface.types.Share` does. Drawing costs a rank as much as one process. Where a layer
    meets two maps of each crop (plain and attended), one process has all plain rows first, and so has the drawing.
    """

    batch: _Batch

    def forward(self, input: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:  # noqa: A002  (torch's name)
        """Drop values, while training."""
        if not self.training or self.p == 0.0:
            return input
        return input * _mask(input, self.p, self.batch.rows or len(input))


_TOGETHER: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: TogetherNorm2d,
    nn.BatchNorm1d: TogetherNorm1d,
    EmbeddingNorm: TogetherEmbeddingNorm,
    nn.Dropout: TogetherDropout,
}


@torch.compiler.disable()  # pyright: ignore[reportUntypedFunctionDecorator]
def _mask(values: Tensor, probability: float, rows: int) -> Tensor:
    """What one's own rows are multiplied by: 0, or 1/(1 - p)."""
    share = current()
    counts = torch.tensor([0] * share.size)
    counts[share.rank] = rows
    counts = total(counts)
    first, everybody, passes = int(counts[: share.rank].sum()), int(counts.sum()), len(values) // rows
    drawn = nn.functional.dropout(values.new_ones((passes * everybody, *values.shape[1:])), probability)
    return drawn.unflatten(0, (passes, everybody))[:, first : first + rows].flatten(0, 1)


def _normalised(norm: nn.BatchNorm1d | nn.BatchNorm2d, values: Tensor) -> Tensor:
    result, mean, variance, count = _together(values, norm.weight, norm.bias, norm.eps)
    if norm.running_mean is not None and norm.running_var is not None:
        with torch.no_grad():
            # As torch has it: no momentum means the plain average of all batches.
            momentum = 0.0 if norm.momentum is None else norm.momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(1)
                momentum = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else momentum
            norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
            unbiased = variance * (count / (count - 1).clamp(min=1))
            norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), momentum)
    return result


@torch.compiler.disable()  # pyright: ignore[reportUntypedFunctionDecorator]
def _together(values: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> tuple[Tensor, ...]:
    return cast("tuple[Tensor, ...]", _BatchNorm.apply(values, weight, bias, epsilon))


def _moments(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance per channel over all ranks' rows, and how many values each is of."""
    axes = [axis for axis in range(values.ndim) if axis != 1]
    variance, mean = torch.var_mean(values.to(torch.promote_types(values.dtype, torch.float32)), axes, correction=0)
    count = mean.new_full((1,), values.numel() / values.shape[1])
    if current().size == 1:
        return mean, variance, count
    # Of each rank its own mean and variance, combined (Chan et al.): sums of squares would lose digits.
    mine = torch.cat([mean, variance, count])
    every = [torch.empty_like(mine) for _ in range(current().size)]
    dist.all_gather(every, mine)
    means, variances, counts = torch.stack(every).split([len(mean), len(mean), 1], dim=1)
    everything = counts.sum()
    mean = (counts * means).sum(dim=0) / everything
    variance = (counts * (variances + (means - mean).square())).sum(dim=0) / everything
    return mean, variance, everything.reshape(1)


class _BatchNorm(torch.autograd.Function):
    """Batch norm by the statistics of all ranks, whose gradient crosses them too."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float
    ) -> tuple[Tensor, ...]:
        mean, variance, count = _moments(values)
        inverse = (variance + epsilon).rsqrt()
        shape = [1, -1] + [1] * (values.ndim - 2)
        scale = inverse if weight is None else inverse * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        result = torch.addcmul(shift.view(shape), values, scale.view(shape)).to(values.dtype)
        ctx.save_for_backward(values, weight, mean, inverse, count)
        ctx.has_bias = bias is not None
        ctx.mark_non_differentiable(mean, variance, count)
        return result, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, inverse, count = ctx.saved_tensors
        gradient = gradients[0].to(mean.dtype)
        axes = [axis for axis in range(values.ndim) if axis != 1]
        shape = [1, -1] + [1] * (values.ndim - 2)
        standard = (values.to(mean.dtype) - mean.view(shape)) * inverse.view(shape)
        of_bias = gradient.sum(axes)
        of_weight = (gradient * standard).sum(axes)
        # The statistics are of all ranks' rows: so is what flows back through them.
        every = total(torch.cat([of_bias, of_weight])) / count
        centre, slope = every.chunk(2)
        scale = inverse if weight is None else inverse * weight
        of_values = (gradient - centre.view(shape) - standard * slope.view(shape)) * scale.view(shape)
        return (
            of_values.to(values.dtype),
            None if weight is None else of_weight,
            of_bias if ctx.has_bias else None,
            None,
        )
