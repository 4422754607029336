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

BeyondPi = Literal["linear", "continued", "easy"]
"""What the true class of an angular margin gets where θ + m is above π; see `turned_away`."""

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


def linear(
    cosine: Float[Tensor, "b k"],
    norm: Float[Tensor, " b"],
    label: Int[Tensor, " b"],
    *,
    prototype_norm: Float[Tensor, " k"] | Float[Tensor, "b k"],
    bias: Float[Tensor, " k"] | Float[Tensor, "b k"],
) -> Float[Tensor, "b k"]:
    """A linear layer, w_k·v + b_k, written by its cosines: ‖v‖·‖w_k‖·cos θ_k + b_k. No margin, nothing normalised.

    Args:
        cosine: (b, k), in [-1, 1].
        norm: (b,) ‖v‖ ≥ 0.
        label: (b,), not used.
        prototype_norm: (k,) ‖w_k‖ ≥ 0; (b, k) where a column stands for another class in each row.
        bias: (k,) b_k, or (b, k) likewise.

    Returns:
        (b, k) logits, float32 or finer.
    """
    del label
    return at_least_float32(cosine) * at_least_float32(norm).unsqueeze(1) * prototype_norm + bias


def normface(
    cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"], *, scale: float
) -> Float[Tensor, "b k"]:
    """NormFace (Wang et al., ACM MM 2017): s·cos θ for all classes, no margin.

    Args:
        cosine: (b, k), in [-1, 1].
        norm: (b,), not used.
        label: (b,), not used.
        scale: s, > 0.

    Returns:
        (b, k) logits, float32 or finer.
    """
    del norm, label
    return at_least_float32(cosine) * scale


def cosface(
    cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"], *, scale: float, margin: float
) -> Float[Tensor, "b k"]:
    """CosFace (Wang et al., CVPR 2018; the same as AM-Softmax): s·(cos θ_y - m) for the true class, else s·cos θ_j.

    The derivative of the margin is 1, so its gradient is the same differentiated and straight through.

    Args:
        cosine: (b, k), in [-1, 1].
        norm: (b,), not used.
        label: (b,), in [0, k).
        scale: s, > 0.
        margin: m ≥ 0, a difference of cosines.

    Returns:
        (b, k) logits, float32 or finer.
    """
    del norm
    cosine = at_least_float32(cosine)
    return with_true_class(cosine, label, of_true_class(cosine, label) - margin) * scale


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
    - `beyond_pi`: "linear" as arcface_torch did until then and pytorch-metric-learning does, "continued" as
      arcface_torch does now; see `turned_away`.

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
    own = of_true_class(cosine, label)
    return with_true_class(cosine, label, crossed(own, turned_away(own, margin_rad, beyond_pi), gradient)) * scale


def turned_away(
    cosine: Float[Tensor, "b 1"], margin_rad: float | Float[Tensor, "b 1"], beyond_pi: BeyondPi
) -> Float[Tensor, "b 1"]:
    """cos(θ + m) of angles θ in [0, π], and what stands for it where the angle is large.

    cos(θ + m) turns upwards where θ + m > π, and its derivative would push a sample there away from its own class.

    - "linear" puts cos θ - m·sin m in its place: the value falls all the way to θ = π (for m up to 2.3), with one step
      down of cos m + m·sin m - 1 (0.12 at m 0.5) where the two meet.
    - "continued" keeps cos(θ + m).
    - "easy" gives cos θ, no margin at all, already from θ = π/2 on, as the MagFace code does: a face that is farther
      than 90° from its class is not pushed harder for its margin. The value steps up by sin m there.

    Args:
        cosine: (b, 1) cos θ; above 1 by rounding is allowed.
        margin_rad: m, in [0, π), one for all or one for each; gradient reaches it.
        beyond_pi: which of the three.

    Returns:
        (b, 1), finite with its gradient also at |cos θ| = 1.
    """
    if isinstance(margin_rad, Tensor):
        cosine_m, sine_m = margin_rad.cos(), margin_rad.sin()
    else:
        cosine_m, sine_m = math.cos(margin_rad), math.sin(margin_rad)
    shifted = cosine * cosine_m - sine(cosine) * sine_m
    if beyond_pi == "continued":
        return shifted
    if beyond_pi == "easy":
        return torch.where(cosine > 0.0, shifted, cosine)
    return torch.where(cosine > -cosine_m, shifted, cosine - margin_rad * sine_m)


def sine(cosine: Float[Tensor, "b 1"]) -> Float[Tensor, "b 1"]:
    """Sine ≥ 1e-6 of an angle in [0, π], from its cosine; value and gradient are finite everywhere."""
    # (1 - c)(1 + c) keeps the digits that 1 - c² loses near 1; the floor stops the square root's infinite slope at 0.
    return ((1.0 - cosine) * (1.0 + cosine)).clamp(min=_SMALLEST_SINE**2).sqrt()


def crossed(own: Float[Tensor, "b 1"], shifted: Float[Tensor, "b 1"], gradient: Gradient) -> Float[Tensor, "b 1"]:
    """The shifted cosine with the gradient that was asked for: its own, or that of the cosine before the margin."""
    if gradient == "straight_through":
        return shifted.detach() + (own - own.detach())  # the bracket is exactly 0: only its gradient counts
    return shifted


def of_true_class(cosine: Float[Tensor, "b k"], label: Int[Tensor, " b"]) -> Float[Tensor, "b 1"]:
    """The true class's column of every row."""
    return cosine.gather(1, label.long().unsqueeze(1))


def with_true_class(
    cosine: Float[Tensor, "b k"], label: Int[Tensor, " b"], own: Float[Tensor, "b 1"]
) -> Float[Tensor, "b k"]:
    """A copy with another value for the true class of every row."""
    return cosine.scatter(1, label.long().unsqueeze(1), own)
