"""The number format of every loss: float32 or finer, whatever the network computes in."""

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from jaxtyping import Float
from torch import Tensor


def at_least_float32(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The values as float32; float64 stays, so that gradients can be checked. Gradients pass through.

    A loss in bfloat16 has 3 digits: a cosine of 0.999 and one of 1 are the same number there.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def unit(vectors: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """The vectors at L2 norm 1, float32 or finer. A zero vector stays zero: its cosine to anything is 0."""
    return F.normalize(at_least_float32(vectors), dim=-1)
