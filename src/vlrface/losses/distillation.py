"""Distillation: keep the embedding near that of a teacher, for example of the same face at high resolution."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlrface.losses.precision import unit
from vlrface.types import VlrfaceError


def cosine_distillation(
    embedding: Float[Tensor, "b d"],
    teacher: Float[Tensor, "b e"],
    mask: Bool[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of 1 - cos(embedding, teacher) over the rows that have a teacher, in [0, 2]. Own choice, not of the poster.

    Args:
        embedding: (b, d), not normalised.
        teacher: (b, d), not normalised; no gradient reaches it.
        mask: (b,), True where the row has a teacher; all rows without it. Rows that are False may hold anything, NaN
            too, and have no effect.

    Returns:
        The mean, float32 or finer; 0 without gradient where no row has a teacher. A zero vector counts as cosine 0.

    Raises:
        VlrfaceError: teacher and embedding differ in length: compute the teacher's with a model of the same d.
    """
    if embedding.shape[1] != teacher.shape[1]:
        raise VlrfaceError(
            f"teacher embeddings have {teacher.shape[1]} values, the trained ones {embedding.shape[1]}: "
            "use a teacher of the same embedding length"
        )
    if mask is None:
        return (1.0 - (unit(embedding) * unit(teacher.detach())).sum(dim=1)).mean()
    rows = mask.unsqueeze(1)
    # Rows without a teacher are emptied before the product: 0 · NaN would be NaN, in the value and in the gradient.
    distance = 1.0 - (unit(embedding) * unit(teacher.detach().masked_fill(~rows, 0.0))).sum(dim=1)
    return torch.where(mask, distance, 0.0).sum() / mask.sum().clamp(min=1)
