"""Heads of a fixed margin, or of none."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vlrface.losses.head import Head, check_choices, check_scale
from vlrface.losses.margins import BeyondPi, Gradient, arcface, cosface, linear, normface
from vlrface.types import VlrfaceError


class CrossEntropy(Head):
    """Softmax cross entropy over a plain linear layer with bias: nothing is normalised, no scale, no margin.

    Attributes:
        bias: (k,) parameter, 0 at first.

    Args:
        dim: d, length of an embedding.
        classes: k, number of identities, ≥ 2.
        seed: of the first prototypes, which are the layer's weights.
    """

    bias: nn.Parameter

    def __init__(self, dim: int, classes: int, *, seed: int = 0) -> None:
        super().__init__(dim, classes, seed=seed)
        self.bias = nn.Parameter(torch.zeros(classes))

    def logits(
        self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """w_k·v + b_k for all classes."""
        return linear(cosine, norm, label, prototype_norm=self.prototypes.norm(dim=1), bias=self.bias)

    def class_parameters(self) -> dict[str, nn.Parameter]:
        """The prototypes, and a bias for each."""
        return {"prototypes": self.prototypes, "bias": self.bias}

    def class_values(self, parameters: Mapping[str, Float[Tensor, "k *n"]]) -> Float[Tensor, "k t"]:
        """‖w_k‖ and b_k."""
        return torch.stack([parameters["prototypes"].norm(dim=1), parameters["bias"]], dim=1)

    def logits_of(
        self,
        cosine: Float[Tensor, "b k"],
        norm: Float[Tensor, " b"],
        label: Int[Tensor, " b"],
        values: Float[Tensor, "b k t"],
    ) -> Float[Tensor, "b k"]:
        """w_k·v + b_k for any columns."""
        return linear(cosine, norm, label, prototype_norm=values[..., 0], bias=values[..., 1])


class NormFace(Head):
    """NormFace (Wang et al., ACM MM 2017): cross entropy over scaled cosines; see `normface`.

    Args:
        dim: d, length of an embedding.
        classes: k, number of identities, ≥ 2.
        scale: s, > 0.
        seed: of the first prototypes.

    Raises:
        VlrfaceError: a setting outside its range.
    """

    settings: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, dim: int, classes: int, scale: float = 64.0, *, seed: int = 0) -> None:
        super().__init__(dim, classes, seed=seed)
        check_scale("NormFace", scale)
        self.scale = scale

    def logits(
        self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """s·cos θ for all classes."""
        return normface(cosine, norm, label, scale=self.scale)


class CosFace(Head):
    """CosFace (Wang et al., CVPR 2018); see `cosface` for its equation.

    Args:
        dim: d, length of an embedding.
        classes: k, number of identities, ≥ 2.
        scale: s, > 0.
        margin: m, in [0, 2), a difference of cosines. 0.35 is the paper's.
        seed: of the first prototypes.

    Raises:
        VlrfaceError: a setting outside its range.
    """

    settings: ClassVar[tuple[str, ...]] = ("scale", "margin")

    def __init__(self, dim: int, classes: int, scale: float = 64.0, margin: float = 0.35, *, seed: int = 0) -> None:
        super().__init__(dim, classes, seed=seed)
        check_scale("CosFace", scale)
        if not 0.0 <= margin < 2.0:
            raise VlrfaceError(f"CosFace needs a margin in [0, 2), got margin {margin}")
        self.scale = scale
        self.margin = margin

    def logits(
        self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """s·(cos θ_y - m) for the true class, s·cos θ_j for the others."""
        return cosface(cosine, norm, label, scale=self.scale, margin=self.margin)


class ArcFace(Head):
    """ArcFace (Deng et al., CVPR 2019), the head that the poster chose; see `arcface` for its equation and options.

    Args:
        dim: d, length of an embedding.
        classes: k, number of identities, ≥ 2.
        scale: s, > 0. 64 is the paper's.
        margin_rad: m, in [0, π) radians. 0.5 is the paper's.
        gradient: how the gradient crosses the margin; the derivative of the equation is the default (own choice).
        beyond_pi: the true class where θ + m > π; kept falling by default (own choice).
        seed: of the first prototypes.

    Raises:
        VlrfaceError: a setting outside its range.
    """

    settings: ClassVar[tuple[str, ...]] = ("scale", "margin_rad", "gradient", "beyond_pi")

    def __init__(
        self,
        dim: int,
        classes: int,
        scale: float = 64.0,
        margin_rad: float = 0.5,
        *,
        gradient: Gradient = "differentiated",
        beyond_pi: BeyondPi = "linear",
        seed: int = 0,
    ) -> None:
        super().__init__(dim, classes, seed=seed)
        if not (0.0 < scale < math.inf and 0.0 <= margin_rad < math.pi):
            raise VlrfaceError(
                f"ArcFace needs scale > 0 and a margin in [0, π) rad, got scale {scale} and {margin_rad} rad"
            )
        check_choices("ArcFace", gradient=(gradient, Gradient), beyond_pi=(beyond_pi, BeyondPi))
        self.scale = scale
        self.margin_rad = margin_rad
        self.gradient: Gradient = gradient
        self.beyond_pi: BeyondPi = beyond_pi

    def logits(
        self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """s·cos(θ_y + m) for the true class, s·cos θ_j for the others."""
        return arcface(
            cosine,
            norm,
            label,
            scale=self.scale,
            margin_rad=self.margin_rad,
            gradient=self.gradient,
            beyond_pi=self.beyond_pi,
        )
