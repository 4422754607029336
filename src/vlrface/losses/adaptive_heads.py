"""Heads whose margin follows the norm of an embedding, or how hard a negative is; some with running statistics."""

import math
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlrface.losses.adaptive_margins import adaface, curricularface, magface, magnitude_regularizer, mv_softmax
from vlrface.losses.head import Head, check_choices, check_scale
from vlrface.losses.margins import BeyondPi, Gradient, of_true_class
from vlrface.types import VlrfaceError


class MagFace(Head):
    """MagFace (Meng et al., CVPR 2021): the norm learns to say how good a face is; see `magface` for its equation.

    The defaults are those of the authors' run script, for embeddings of 512 values. What norms a network has is given
    by its last layer: under a batch norm of scale 1 their root mean square is near √d, so a range for other d is theirs
    times √(d/512).

    Args:
        dim: d, length of an embedding.
        classes: k, number of identities, ≥ 2.
        scale: s, > 0.
        lowest_norm: l_a > 0; norms are clamped to [l_a, u_a], and get no gradient outside.
        highest_norm: u_a > l_a.
        lowest_margin_rad: l_m, in [0, π) radians.
        highest_margin_rad: u_m, in [l_m, π) radians.
        magnitude_weight: λ ≥ 0, of the regularizer g; see `magnitude_regularizer` for its lower bound.
        beyond_pi: the true class far from its prototype.
        seed: of the first prototypes.

    Raises:
        VlrfaceError: a setting outside its range.
    """

    settings: ClassVar[tuple[str, ...]] = (
        "scale",
        "lowest_norm",
        "highest_norm",
        "lowest_margin_rad",
        "highest_margin_rad",
        "magnitude_weight",
        "beyond_pi",
    )

    def __init__(
        self,
        dim: int,
        classes: int,
        scale: float = 64.0,
        *,
        lowest_norm: float = 10.0,
        highest_norm: float = 110.0,
        lowest_margin_rad: float = 0.45,
        highest_margin_rad: float = 0.8,
        magnitude_weight: float = 35.0,
        beyond_pi: BeyondPi = "easy",
        seed: int = 0,
    ) -> None:
        super().__init__(dim, classes, seed=seed)
        check_scale("MagFace", scale)
        if not 0.0 <= magnitude_weight < math.inf:
            raise VlrfaceError(f"MagFace needs a finite magnitude_weight ≥ 0, got {magnitude_weight}")
        if not 0.0 < lowest_norm < highest_norm < math.inf:
            raise VlrfaceError(f"MagFace needs norms 0 < lowest < highest, got {lowest_norm} and {highest_norm}")
        if not 0.0 <= lowest_margin_rad <= highest_margin_rad < math.pi:
            raise VlrfaceError(
                "MagFace needs margins 0 ≤ lowest ≤ highest < π rad, got "
                f"{lowest_margin_rad} and {highest_margin_rad} rad"
            )
        check_choices("MagFace", beyond_pi=(beyond_pi, BeyondPi))
        self.scale = scale
        self.lowest_norm = lowest_norm
        self.highest_norm = highest_norm
        self.lowest_margin_rad = lowest_margin_rad
        self.highest_margin_rad = highest_margin_rad
        self.magnitude_weight = magnitude_weight
        self.beyond_pi: BeyondPi = beyond_pi

    def logits(
        self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """s·cos(θ_y + m(‖v‖)) for the true class, s·cos θ_j for the others."""
        return magface(
            cosine,
            norm,
            label,
            scale=self.scale,
            lowest_norm=self.lowest_norm,
            highest_norm=self.highest_norm,
            lowest_margin_rad=self.lowest_margin_rad,
            highest_margin_rad=self.highest_margin_rad,
            beyond_pi=self.beyond_pi,
        )

    def regularizer(self, norm: Float[Tensor, " b"]) -> Float[Tensor, ""]:
        """λ·g, which rewards a large norm."""
        return self.magnitude_weight * magnitude_regularizer(
            norm, lowest_norm=self.lowest_norm, highest_norm=self.highest_norm
        )


class AdaFace(Head):
    """AdaFace (Kim et al., CVPR 2022): poor faces, by their norm, are pushed less; see `adaface` for its equation.

    Running mean and deviation of the norms are buffers, saved with the state. They start at fixed values and forget
    them at `momentum` per batch: with a short run, or norms that are far from the authors' 20 and 100, start them at
    the network's own.

    Attributes:
        norm_mean: μ.
        norm_deviation: σ, of samples (n - 1). A batch of one has none and leaves it as it is; the authors' code gets
            NaN there.

    Args:
        dim: d, length of an embedding.
        classes: k, number of identities, ≥ 2.
        scale: s, > 0.
        margin: m, in [0, π/2). 0.4 is the paper's.
        concentration: h ≥ 0. 0.333 is the paper's.
        momentum: of the running statistics, in (0, 1]. 0.01 is the paper's.
        first_mean: of `norm_mean`; the authors' code starts at 20.
        first_deviation: of `norm_deviation`, ≥ 0; the authors' code starts at 100.
        highest_norm: norms are clamped to it, > 0, so that one wild embedding does not carry the statistics away.
        gradient: how the gradient crosses the margin.
        seed: of the first prototypes.

    Raises:
        VlrfaceError: a setting outside its range.
    """

    settings: ClassVar[tuple[str, ...]] = ("scale", "margin", "concentration", "momentum", "highest_norm", "gradient")

    norm_mean: Tensor
    norm_deviation: Tensor

    def __init__(
        self,
        dim: int,
        classes: int,
        scale: float = 64.0,
        margin: float = 0.4,
        *,
        concentration: float = 0.333,
        momentum: float = 0.01,
        first_mean: float = 20.0,
        first_deviation: float = 100.0,
        highest_norm: float = 100.0,
        gradient: Gradient = "differentiated",
        seed: int = 0,
    ) -> None:
        super().__init__(dim, classes, seed=seed)
        check_scale("AdaFace", scale)
        if not (0.0 <= margin < math.pi / 2 and 0.0 <= concentration < math.inf):
            raise VlrfaceError(
                "AdaFace needs a margin in [0, π/2) and concentration ≥ 0, "
                f"got margin {margin} and concentration {concentration}"
            )
        if not (0.0 <= first_mean < math.inf and 0.0 <= first_deviation < math.inf and highest_norm > 0.0):
            raise VlrfaceError(
                "AdaFace needs a first mean and deviation of the norms that are finite and ≥ 0, and a highest norm "
                f"> 0, got {first_mean}, {first_deviation} and {highest_norm}"
            )
        if not 0.0 < momentum <= 1.0:
            raise VlrfaceError(f"AdaFace needs a momentum in (0, 1], got {momentum}")
        check_choices("AdaFace", gradient=(gradient, Gradient))
        self.scale = scale
        self.margin = margin
        self.concentration = concentration
        self.momentum = momentum
        self.highest_norm = highest_norm
        self.gradient: Gradient = gradient
        self.register_buffer("norm_mean", torch.tensor(first_mean))
        self.register_buffer("norm_deviation", torch.tensor(first_deviation))

    @torch.no_grad()
    def observe(self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]) -> None:
        """Move the running statistics of the norms towards this batch's."""
        del cosine, label
        norm = self._clamped(norm)
        self.norm_mean.lerp_(norm.mean().to(self.norm_mean.dtype), self.momentum)
        if len(norm) > 1:
            self.norm_deviation.lerp_(norm.std().to(self.norm_deviation.dtype), self.momentum)

    def logits(
        self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """s·(cos(θ_y - m·z) - (m + m·z)) for the true class, s·cos θ_j for the others."""
        return adaface(
            cosine,
            self._clamped(norm),
            label,
            scale=self.scale,
            margin=self.margin,
            mean=self.norm_mean,
            deviation=self.norm_deviation,
            concentration=self.concentration,
            gradient=self.gradient,
        )

    def _clamped(self, norm: Tensor) -> Tensor:
        return norm.clamp(max=self.highest_norm)


class MVSoftmax(Head):
    """MV-Softmax (Wang et al., AAAI 2020), its AM form; see `mv_softmax` for its equation.

    Args:
        dim: d, length of an embedding.
        classes: k, number of identities, ≥ 2.
        scale: s, > 0. 32 is the authors'.
        margin: m, in [0, 2), a difference of cosines. 0.35 is the authors'.
        hardness: t ≥ 1, of negatives that beat the margin.
        easy: no margin on a true class with cos θ_y ≤ 0, as the authors' code has it.
        seed: of the first prototypes.

    Raises:
        VlrfaceError: a setting outside its range.
    """

    settings: ClassVar[tuple[str, ...]] = ("scale", "margin", "hardness", "easy")

    def __init__(
        self,
        dim: int,
        classes: int,
        scale: float = 32.0,
        margin: float = 0.35,
        *,
        hardness: float = 1.12,
        easy: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, classes, seed=seed)
        check_scale("MVSoftmax", scale)
        if not (0.0 <= margin < 2.0 and 1.0 <= hardness < math.inf):
            raise VlrfaceError(
                f"MVSoftmax needs a margin in [0, 2) and hardness ≥ 1, got margin {margin} and hardness {hardness}"
            )
        self.scale = scale
        self.margin = margin
        self.hardness = hardness
        self.easy = easy

    def logits(
        self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """s·(cos θ_y - m) for the true class, s·(t·cos θ_j + t - 1) for hard negatives, s·cos θ_j for the others."""
        return mv_softmax(
            cosine, norm, label, scale=self.scale, margin=self.margin, hardness=self.hardness, easy=self.easy
        )


class CurricularFace(Head):
    """CurricularFace (Huang et al., CVPR 2020); see `curricularface` for its equation.

    Attributes:
        progress: t, a buffer saved with the state: running mean of cos θ_y, 0 at first.

    Args:
        dim: d, length of an embedding.
        classes: k, number of identities, ≥ 2.
        scale: s, > 0.
        margin_rad: m, in [0, π) radians. 0.5 is the paper's.
        momentum: of t, in (0, 1]. 0.01 is the paper's.
        seed: of the first prototypes.

    Raises:
        VlrfaceError: a setting outside its range.
    """

    settings: ClassVar[tuple[str, ...]] = ("scale", "margin_rad", "momentum")

    progress: Tensor

    def __init__(
        self,
        dim: int,
        classes: int,
        scale: float = 64.0,
        margin_rad: float = 0.5,
        *,
        momentum: float = 0.01,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, classes, seed=seed)
        check_scale("CurricularFace", scale)
        if not (0.0 <= margin_rad < math.pi and 0.0 < momentum <= 1.0):
            raise VlrfaceError(
                "CurricularFace needs a margin in [0, π) rad and a momentum in (0, 1], "
                f"got {margin_rad} rad and momentum {momentum}"
            )
        self.scale = scale
        self.margin_rad = margin_rad
        self.momentum = momentum
        self.register_buffer("progress", torch.tensor(0.0))

    @torch.no_grad()
    def observe(self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]) -> None:
        """Move t towards this batch's mean cosine of the true class."""
        del norm
        self.progress.lerp_(of_true_class(cosine, label).mean().to(self.progress.dtype), self.momentum)

    def logits(
        self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """s·cos(θ_y + m) for the true class, s·cos θ_j·(t + cos θ_j) for hard negatives, s·cos θ_j for the others."""
        return curricularface(cosine, norm, label, scale=self.scale, margin_rad=self.margin_rad, progress=self.progress)
