"""Margins that follow the norm of an embedding, as a sign of how good a face is, or how hard a negative is. Pure.

They have the signature of `vlrface.losses.margins.Margin`.
"""

from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlrface.losses.margins import BeyondPi, Gradient, crossed, of_true_class, sine, turned_away, with_true_class
from vlrface.losses.precision import at_least_float32

_DEVIATION_EPSILON: Final = 1e-3  # the authors'; keeps z finite where all norms are equal


def magface(
    cosine: Float[Tensor, "b k"],
    norm: Float[Tensor, " b"],
    label: Int[Tensor, " b"],
    *,
    scale: float,
    lowest_norm: float,
    highest_norm: float,
    lowest_margin_rad: float,
    highest_margin_rad: float,
    beyond_pi: BeyondPi = "easy",
) -> Float[Tensor, "b k"]:
    """MagFace (Meng et al., CVPR 2021): s·cos(θ_y + m(a)), a margin that grows with the norm a = ‖v‖.

    The gradient passes through m(a) into the norm, which the margin alone would make small; `magnitude_regularizer`
    pulls it up. With equal margins at both ends it is `arcface` of the same `beyond_pi`.

    Args:
        cosine: (b, k), in [-1, 1].
        norm: (b,) a ≥ 0.
        label: (b,), in [0, k).
        scale: s, > 0.
        lowest_norm: l_a > 0.
        highest_norm: u_a > l_a.
        lowest_margin_rad: l_m, at l_a and below, in [0, π).
        highest_margin_rad: u_m, at u_a and above, in [l_m, π).
        beyond_pi: the true class far from its prototype. "easy" is the default of the authors' code; "linear" is what
            that code does without its easy margin. See `turned_away`.

    Returns:
        (b, k) logits, float32 or finer; value and gradient finite everywhere.
    """
    cosine = at_least_float32(cosine)
    bounded = at_least_float32(norm).clamp(lowest_norm, highest_norm)
    slope = (highest_margin_rad - lowest_margin_rad) / (highest_norm - lowest_norm)
    margin_rad = (lowest_margin_rad + slope * (bounded - lowest_norm)).unsqueeze(1)
    own = turned_away(of_true_class(cosine, label), margin_rad, beyond_pi)
    return with_true_class(cosine, label, own) * scale


def magnitude_regularizer(norm: Float[Tensor, " b"], *, lowest_norm: float, highest_norm: float) -> Float[Tensor, ""]:
    """Mean of g(a) = a/u_a² + 1/a of the norm clamped to [l_a, u_a], MagFace's; smallest at u_a.

    Against the margin, which grows with the norm too, there is a best norm for each face inside the range if g's weight
    λ is above s·K·u_a²·l_a² / (u_a² - l_a²), K = (u_m - l_m)/(u_a - l_a) (the paper's bound; its code prints it).
    No gradient outside the range.
    """
    bounded = at_least_float32(norm).clamp(lowest_norm, highest_norm)
    return (bounded / highest_norm**2 + 1.0 / bounded).mean()


def adaface(
    cosine: Float[Tensor, "b k"],
    norm: Float[Tensor, " b"],
    label: Int[Tensor, " b"],
    *,
    scale: float,
    margin: float,
    mean: float | Float[Tensor, ""],
    deviation: float | Float[Tensor, ""],
    concentration: float,
    gradient: Gradient,
) -> Float[Tensor, "b k"]:
    """AdaFace (Kim et al., CVPR 2022): s·(cos(θ_y - m·z) - (m + m·z)), z from the norm.

    z = clip(h·(‖v‖ - μ)/(σ + 1e-3), -1, 1), without gradient: 1 for the sharpest faces, -1 for the poorest. At z = -1
    it is `arcface` of margin m, at z = 0 `cosface` of margin m. The angle θ_y - m·z is kept in [0, π] as in the
    authors' code: no gradient beyond. That code also keeps every angle and cosine 1e-3 off its ends, for its arccosine;
    here the ends are finite without.

    Args:
        cosine: (b, k), in [-1, 1].
        norm: (b,) ≥ 0; no gradient reaches it.
        label: (b,), in [0, k).
        scale: s, > 0.
        margin: m, in [0, π/2): an angle in radians and a difference of cosines at once.
        mean: μ, running mean of the norms.
        deviation: σ ≥ 0, running standard deviation of the norms.
        concentration: h ≥ 0; at 0.333 about 99.7 % of normally distributed norms are not clipped.
        gradient: "differentiated" as the authors' code, "straight_through" as CVLface's, which applies the margin where
            no gradient is recorded.

    Returns:
        (b, k) logits, float32 or finer; value and gradient finite everywhere.
    """
    cosine = at_least_float32(cosine)
    own = of_true_class(cosine, label)
    centred = (at_least_float32(norm.detach()) - mean) / (deviation + _DEVIATION_EPSILON)
    z = (concentration * centred).clamp(-1.0, 1.0).unsqueeze(1)
    turn = margin * z
    turned = own * turn.cos() + sine(own) * turn.sin()
    turned = torch.where((turn > 0.0) & (own > turn.cos()), 1.0, turned)  # θ would pass 0
    turned = torch.where((turn < 0.0) & (own < -turn.cos()), -1.0, turned)  # θ would pass π
    return with_true_class(cosine, label, crossed(own, turned - margin * (1.0 + z), gradient)) * scale


def mv_softmax(
    cosine: Float[Tensor, "b k"],
    norm: Float[Tensor, " b"],
    label: Int[Tensor, " b"],
    *,
    scale: float,
    margin: float,
    hardness: float,
    easy: bool = True,
) -> Float[Tensor, "b k"]:
    """MV-Softmax (Wang et al., AAAI 2020), its AM form: CosFace with the negatives that beat the margin made harder.

    True class s·(cos θ_y - m); a negative with cos θ_j > cos θ_y - m gives s·(t·cos θ_j + t - 1), the others s·cos θ_j.
    With t = 1, and `easy` off, it is `cosface`. The gradient passes through t: the boundary is a step of the value.

    Args:
        cosine: (b, k), in [-1, 1].
        norm: (b,), not used.
        label: (b,), in [0, k).
        scale: s, > 0.
        margin: m ≥ 0, a difference of cosines.
        hardness: t ≥ 1. The authors' code calls t - 1 so.
        easy: no margin on a true class with cos θ_y ≤ 0, the default of the authors' code; which negatives are hard is
            asked with the margin all the same.

    Returns:
        (b, k) logits, float32 or finer.
    """
    del norm
    cosine = at_least_float32(cosine)
    own = of_true_class(cosine, label)
    beaten = own - margin
    negatives = torch.where(cosine > beaten, hardness * cosine + (hardness - 1.0), cosine)
    return with_true_class(negatives, label, torch.where(own > 0.0, beaten, own) if easy else beaten) * scale


def curricularface(
    cosine: Float[Tensor, "b k"],
    norm: Float[Tensor, " b"],
    label: Int[Tensor, " b"],
    *,
    scale: float,
    margin_rad: float,
    progress: float | Float[Tensor, ""],
) -> Float[Tensor, "b k"]:
    """CurricularFace (Huang et al., CVPR 2020): ArcFace whose hard negatives count more as training gets on.

    True class s·cos(θ_y + m) as `arcface` with "linear"; a negative with cos θ_j > cos(θ_y + m) gives
    s·cos θ_j·(t + cos θ_j), the others s·cos θ_j. Hard negatives are damped while t + cos θ_j < 1, then raised.

    Args:
        cosine: (b, k), in [-1, 1].
        norm: (b,), not used.
        label: (b,), in [0, k).
        scale: s, > 0.
        margin_rad: m, in [0, π).
        progress: t, the running mean of cos θ_y, in [-1, 1]; no gradient.

    Returns:
        (b, k) logits, float32 or finer; value and gradient finite everywhere.
    """
    del norm
    cosine = at_least_float32(cosine)
    own = of_true_class(cosine, label)
    hard = cosine > turned_away(own, margin_rad, "continued")
    negatives = torch.where(hard, cosine * (progress + cosine), cosine)
    return with_true_class(negatives, label, turned_away(own, margin_rad, "linear")) * scale
