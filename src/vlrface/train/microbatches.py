"""One optimiser step from several micro-batches: memory of a small batch, gradient of the large one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vlrface.losses.objective import ObjectiveOutput
from vlrface.models.recognizer import Output


def gradients_in_parts(
    network: nn.Module,
    forward: Callable[[Tensor], Any],
    images: Tensor,
    count: int,
    lose: Callable[[Output], ObjectiveOutput],
    reseed: Callable[[int], None],
) -> ObjectiveOutput:
    """Add the gradients of a batch, of which the network sees one micro-batch at a time.

    The objective is computed of the whole batch, on embeddings of a first pass that keeps nothing else; a second pass
    takes its gradient through one micro-batch after another. So the objective is that of one large step in every part,
    means over the rows that have a teacher, emphasis and running statistics included; only batch norms see
    micro-batches. The price is one more forward pass, about a third of a step's time. (The trick is known as gradient
    caching: Gao et al., *Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup*, RepL4NLP 2021.)

    Args:
        network: whose buffers are the running statistics; they move once per micro-batch.
        forward: calls the network.
        images: the batch on the device.
        count: of micro-batches; divides the batch.
        lose: the objective of the whole batch's output.
        reseed: called with the number of the micro-batch before each of its passes, so that both drop the same.

    Returns:
        The objective's output. Its total has no gradient left.
    """
    parts = images.chunk(count)
    with torch.no_grad():
        seen: list[Output] = []
        for number, part in enumerate(parts):
            reseed(number)
            seen.append(forward(part))
    whole = Output(*(torch.cat(each).requires_grad_() for each in zip(*seen, strict=True)))
    result = lose(whole)
    result.total.backward()
    gradients = [None if value.grad is None else value.grad.chunk(count) for value in whole]
    buffers = list(network.buffers())
    after_first = [each.clone() for each in buffers]
    for number, part in enumerate(parts):
        reseed(number)
        output: Output = forward(part)
        wanted = [
            (value, gradient[number])
            for value, gradient in zip(output, gradients, strict=True)
            if gradient is not None and value.requires_grad
        ]
        torch.autograd.backward([value for value, _ in wanted], [gradient for _, gradient in wanted])
    # The second pass saw the same micro-batches; they count once.
    with torch.no_grad():
        for buffer, kept in zip(buffers, after_first, strict=True):
            buffer.copy_(kept)
    return result
