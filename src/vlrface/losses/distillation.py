"""Distillation: keep the embedding near that of a teacher, for example of the same face at high resolution."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vlrface.losses.precision import at_least_float32, unit
from vlrface.types import VlrfaceError


def cosine_distillation(
    embedding: Float[Tensor, "b d"],
    teacher: Float[Tensor, "b e"],
    mask: Bool[Tensor, " b"] | None = None,
    weight: Float[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of 1 - cos(embedding, teacher) over the rows that have a teacher, in [0, 2]. Own choice, not of the poster.

    Args:
        embedding: (b, d), not normalised.
        teacher: (b, d), not normalised; no gradient reaches it.
        mask: (b,), True where the row has a teacher; all rows without it. Rows that are False may hold anything, NaN
            too, and have no effect.
        weight: (b,) ≥ 0, how much each row counts in the mean; all alike without it.

    Returns:
        The mean, float32 or finer; 0 without gradient where no row has a teacher. A zero vector counts as cosine 0.

    Raises:
        VlrfaceError: teacher and embedding differ in length: compute the teacher's with a model of the same d.
    """
    check_lengths(embedding, teacher)
    if mask is None:
        if weight is None:
            return (1.0 - (unit(embedding) * unit(teacher.detach())).sum(dim=1)).mean()
        mask = torch.ones(len(teacher), dtype=torch.bool, device=teacher.device)
    # Rows without a teacher are emptied before the product: 0 · NaN would be NaN, in the value and in the gradient.
    distance = 1.0 - (unit(embedding) * unit(teacher.detach().masked_fill(~mask.unsqueeze(1), 0.0))).sum(dim=1)
    if weight is None:
        return torch.where(mask, distance, 0.0).sum() / mask.sum().clamp(min=1)
    counted = weight.masked_fill(~mask, 0.0)
    return (counted * distance).sum() / counted.sum().clamp(min=torch.finfo(counted.dtype).tiny)


def check_lengths(embedding: Float[Tensor, "b d"], teacher: Float[Tensor, "b e"]) -> None:
    """Refuse a teacher whose embeddings have another length: no distance to them is defined.

    Raises:
        VlrfaceError: says both lengths.
    """
    if embedding.shape[1] != teacher.shape[1]:
        raise VlrfaceError(
            f"teacher embeddings have {teacher.shape[1]} values, the trained ones {embedding.shape[1]}: "
            "use a teacher of the same embedding length, or, to distil from it, a learned map to its own "
            "(objective.teacher_map=true)"
        )


class TeacherMap(nn.Module):
    """A learned linear map from an embedding to a teacher's of another length. Own choice, not of the poster.

    Without bias; it starts orthogonal, so that cosines among embeddings are at first as they were, where the teacher's
    are no shorter.

    Attributes:
        weight: (e, d).

    Args:
        dim: d, length of an embedding.
        teacher_dim: e, length of the teacher's.
        seed: of the first weight.
    """

    def __init__(self, dim: int, teacher_dim: int, *, seed: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(teacher_dim, dim))
        nn.init.orthogonal_(self.weight, generator=torch.Generator().manual_seed(seed))

    def forward(self, embedding: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        """The embedding in the teacher's space, float32 or finer."""
        with torch.autocast(embedding.device.type, enabled=False):
            embedding = at_least_float32(embedding)
            return nn.functional.linear(embedding, self.weight.to(embedding.dtype))
