"""Angular margins: what a head does to the cosine of the true class. Pure functions of tensors.

Every margin has the signature of `Margin`, whether it uses the norm or not, so that heads differ by one call.
"""

import math
from typing import Final, Literal, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlrface.losses.precision import at_least_float32

Gradient = Literal["differentiated", "straight_through"]
"""How the gradient crosses a margin: by its derivative, or as if the margin were not there."""

BeyondPi = Literal["linear", "continued"]
"""What ArcFace's true class gets where θ + m is above π."""

_SMALLEST_SINE: Final = 1e-6


class Margin(Protocol):
    """The one signature of all margins; `functools.partial` fixes the settings of each."""

    def __call__(
        self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"], /
    ) -> Float[Tensor, "b k"]:
        """Scaled logits.

        Args:
            cosine: (b, k) cosines to the class prototypes, in [-1, 1].
            norm: (b,) norms of the embeddings before they were normalised, ≥ 0.
            label: (b,) true classes, in [0, k).

        Returns:
            (b, k) logits for a softmax cross entropy.
        """
        ...


def arcface(
    cosine: Float[Tensor, "b k"],
    norm: Float[Tensor, " b"],
    label: Int[Tensor, " b"],
    *,
    scale: float,
    margin_rad: float,
    gradient: Gradient,
    beyond_pi: BeyondPi = "linear",
) -> Float[Tensor, "b k"]:
    """ArcFace (Deng et al., CVPR 2019, equation 3): s·cos(θ_y + m) for the true class, s·cos θ_j for the others.

    Public codes of this one name train in different ways; both differences are options.

    - `gradient`: "differentiated" is the derivative of the equation, s·sin(θ + m)/sin θ with respect to cos θ, as in
      pytorch-metric-learning. "straight_through" is s for every class, as in insightface's arcface_torch since the end
      of 2022, which applies the margin in place where no gradient is recorded.
    - `beyond_pi`: cos(θ + m) turns upwards where θ + m > π, and its derivative would push a sample there away from its
      own class. "linear" puts cos θ - m·sin m in its place, as arcface_torch did until then and
      pytorch-metric-learning does: the value falls all the way to θ = π (for m up to 2.3), with one step down of
      cos m + m·sin m - 1 (0.12 at m 0.5) where the two meet. "continued" keeps cos(θ + m), as arcface_torch does now.

    With m = 0 the result is s·cos θ for all classes (NormFace).

    Args:
        cosine: (b, k), in [-1, 1]; above 1 by rounding is allowed.
        norm: (b,), not used: ArcFace treats all norms alike.
        label: (b,), in [0, k).
        scale: s, > 0.
        margin_rad: m, in [0, π).
        gradient: how the gradient crosses the margin.
        beyond_pi: the true class where θ + m > π.

    Returns:
        (b, k) logits, float32 or finer. Values and gradients are finite at |cos θ| = 1, where the value is off by at
        most 1e-6·s and the differentiated gradient is s·cos m, without the sine's infinite part (s where "linear"
        holds).
    """
    del norm
    cosine = at_least_float32(cosine)
    column = label.long().unsqueeze(1)
    own = cosine.gather(1, column)
    shifted = _shifted(own, margin_rad, beyond_pi)
    if gradient == "straight_through":
        shifted = shifted.detach() + (own - own.detach())  # the bracket is exactly 0: only its gradient counts
    return cosine.scatter(1, column, shifted) * scale


def _shifted(cosine: Tensor, margin_rad: float, beyond_pi: BeyondPi) -> Tensor:
    # (1 - c)(1 + c) keeps the digits that 1 - c² loses near 1; the floor stops the square root's infinite slope at 0.
    sine = ((1.0 - cosine) * (1.0 + cosine)).clamp(min=_SMALLEST_SINE**2).sqrt()
    shifted = cosine * math.cos(margin_rad) - sine * math.sin(margin_rad)
    if beyond_pi == "continued":
        return shifted
    return torch.where(cosine > -math.cos(margin_rad), shifted, cosine - margin_rad * math.sin(margin_rad))
