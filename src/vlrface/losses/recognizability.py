"""How recognizable a face is: the target that the regression learns, and the losses around unrecognizable faces.

Chai et al., CVPR 2023. *UIs* are its unrecognizable identities: faces that nobody can recognise, and that a model puts
into one cluster, whose centre is û. v̂ is the normalised embedding, ŵ_k the normalised prototype of class k.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vlrface.losses.precision import at_least_float32, unit
from vlrface.types import VlrfaceError

RITarget = Literal["ratio", "log_ratio", "certainty_ratio", "ers"]
"""Forms of the recognizability index; see `recognizability_index`."""

Emphasis = Literal["equal", "recognizability"]
"""How much each face of a batch counts in a loss: all alike, or by its predicted index; see `emphasis`."""

_SMALLEST_RESIDUAL: Final = 1e-5  # below it, what is left of a projected float32 embedding is mostly rounding


class Proximities(NamedTuple):
    """Cosine distances of a batch of embeddings, each in [0, 2], float32 or finer.

    Attributes:
        positive: d_P, (b,) to the prototype of the true class.
        negative: d_N, (b,) to the nearest prototype of another class.
        unrecognizable: d_UI, (b,) to the centre of the unrecognizable identities; NaN where no centre was given.
    """

    positive: Float[Tensor, " b"]
    negative: Float[Tensor, " b"]
    unrecognizable: Float[Tensor, " b"]


def proximities(
    embedding: Float[Tensor, "b d"],
    cosine: Float[Tensor, "b k"],
    label: Int[Tensor, " b"],
    center: Float[Tensor, " d"] | None,
) -> Proximities:
    """Distances d_P = 1 - cos(v̂, ŵ_y), d_N = 1 - max over j ≠ y of cos(v̂, ŵ_j), d_UI = 1 - cos(v̂, û).

    Stated by the poster as intra-class and inter-class proximity and distance to the average UI.

    The true class is left out of the maximum by -inf. The public CR-FIQA code puts -1e-12 there, which becomes the
    "nearest negative" whenever all true ones are below 0, and its ratio explodes.

    Args:
        embedding: (b, d), of any norm.
        cosine: (b, k), plain cosines to the prototypes, without margin.
        label: (b,), in [0, k).
        center: (d,) û, of any norm above 0; None before the UIs were measured.

    Raises:
        VlrfaceError: there is one class only, so no nearest negative.
    """
    if cosine.shape[1] < 2:
        raise VlrfaceError("with one class there is no nearest other class: train on at least two identities")
    cosine = at_least_float32(cosine)
    column = label.long().unsqueeze(1)
    own = cosine.gather(1, column).squeeze(1)
    nearest_other = cosine.scatter(1, column, -torch.inf).amax(dim=1)
    to_center = torch.full_like(own, torch.nan) if center is None else _along(unit(embedding), unit(center))
    return Proximities(*(_distance(each) for each in (own, nearest_other, to_center)))


def with_teacher_as_positive(
    proximities: Proximities,
    embedding: Float[Tensor, "b d"],
    teacher: Float[Tensor, "b d"],
    mask: Bool[Tensor, " b"] | None = None,
) -> Proximities:
    """The proximities with d_P = 1 - cos(v̂, t̂), t the teacher's embedding of the very same face, sharp. Own choice.

    Prototypes of training classes come to fit the training samples, recognizable or not. How near a face comes to its
    own sharp picture says how much of it survived.

    Args:
        proximities: with d_P to the prototype.
        embedding: (b, d), of any norm.
        teacher: (b, d), of any norm.
        mask: (b,) True where the row has a teacher; the others, which may hold anything, keep their d_P. All rows
            without it.
    """
    to_teacher = _distance(_along(unit(embedding), unit(teacher)))
    positive = to_teacher if mask is None else torch.where(mask, to_teacher, proximities.positive)
    return proximities._replace(positive=positive)


def _along(vectors: Tensor, direction: Tensor) -> Tensor:
    return (vectors * direction).sum(dim=1)  # as a matrix product, autocast would take it to bfloat16


def _distance(cosine: Tensor) -> Tensor:
    return (1.0 - cosine).clamp(0.0, 2.0)  # clamped against rounding only


def recognizability_index(
    proximities: Proximities, form: RITarget = "ratio", epsilon: float = 1e-3
) -> Float[Tensor, " b"]:
    """The recognizability index ξ: large for an easy face. Without gradient.

    - "ratio": ξ = d_UI·d_N / (d_P + ε), as a third-party reading of the paper has it; the poster states its directions.
      In [0, 4/ε].
    - "log_ratio": log of it, own choice; ξ below ε counts as ε, so that a face on the UI centre has log ε, not -inf.
    - "certainty_ratio": cos(v̂, ŵ_y) / (max over j ≠ y of cos(v̂, ŵ_j) + 1 + ε), CR-FIQA (Boutros et al., CVPR 2023).
      Needs no UIs.
    - "ers": min(d_UI, 1), the embedding recognizability score (Deng et al., WACV 2023). Needs no classes.

    Args:
        proximities: the three distances.
        form: which of the four.
        epsilon: ε, > 0; 1e-3 is our own choice.

    Returns:
        (b,) float32 or finer; NaN where a distance that the form uses is NaN.

    Raises:
        VlrfaceError: an unknown form, or ε not above 0.
    """
    if not epsilon > 0.0:
        raise VlrfaceError(f"epsilon is {epsilon}, it must be above 0: it keeps the quotient finite at d_P = 0")
    positive, negative, unrecognizable = (at_least_float32(each.detach()) for each in proximities)
    ratio = unrecognizable * negative / (positive + epsilon)
    if form == "ratio":
        return ratio
    if form == "log_ratio":
        return ratio.clamp(min=epsilon).log()
    if form == "certainty_ratio":
        return (1.0 - positive) / (2.0 - negative + epsilon)
    if form == "ers":
        return unrecognizable.clamp(max=1.0)
    raise VlrfaceError(f"no recognizability index is called {form!r}: use ratio, log_ratio, certainty_ratio or ers")


def smooth_l1(predicted: Float[Tensor, " b"], target: Float[Tensor, " b"], beta: float = 0.75) -> Float[Tensor, ""]:
    """Mean smooth L1 loss of the regression: e²/(2β) where |e| < β, else |e| - β/2, e = ξ̂ - ξ.

    β = 0.75 as a third-party reading of the paper has it. Gradient reaches `predicted` only.
    """
    return F.smooth_l1_loss(at_least_float32(predicted), at_least_float32(target.detach()), beta=beta)


@dataclass(frozen=True, eq=False)
class UnrecognizableStatistics:
    """Where the unrecognizable identities lie now. They move as the network learns: measure again while training.

    Attributes:
        center: (d,) û at unit norm: the normalised mean of their normalised embeddings, stated by the poster.
        mean: μ_UI, of their predicted recognizability index.
        deviation: σ_UI ≥ 0, its standard deviation over n (own choice: one UI has 0, not NaN). 0 while the regression
            is untrained.

    Raises:
        VlrfaceError: a value is not finite, the centre is not of unit norm, or the deviation is negative.
    """

    center: Float[Tensor, " d"]
    mean: float
    deviation: float

    def __post_init__(self) -> None:
        if not abs(float(self.center.detach().double().norm()) - 1.0) < 1e-3:
            raise VlrfaceError("the UI centre must be finite and of norm 1: use UnrecognizableStatistics.measure")
        if not (math.isfinite(self.mean) and 0.0 <= self.deviation < math.inf):
            raise VlrfaceError(
                f"UI statistics must be finite and the deviation ≥ 0, got mean {self.mean}, deviation {self.deviation}"
            )

    @classmethod
    def measure(
        cls, embeddings: Float[Tensor, "n d"], recognizability: Float[Tensor, " n"]
    ) -> "UnrecognizableStatistics":
        """The statistics of the UIs, from one pass of the network over them in eval mode.

        Args:
            embeddings: (n, d), n ≥ 1, of any norm.
            recognizability: (n,) predicted index ξ̂.

        Returns:
            Statistics without gradient, summed in float64; the centre in float32 or finer, on the embeddings' device.

        Raises:
            VlrfaceError: no UI, a value that is not finite, or embeddings whose mean has no direction.
        """
        embeddings, recognizability = embeddings.detach(), recognizability.detach()
        if len(embeddings) == 0:
            raise VlrfaceError("no unrecognizable identity was given: find some in a pool of crops first")
        bad = ~(embeddings.isfinite().all(dim=1) & recognizability.isfinite())
        if bool(bad.any()):
            raise VlrfaceError(
                f"{int(bad.sum())} of {len(bad)} UIs have an embedding or index that is NaN or infinite: training has "
                "diverged, or a crop is damaged"
            )
        mean = unit(embeddings.double()).mean(dim=0)
        if float(mean.norm()) < 1e-6:
            raise VlrfaceError("the embeddings of the UIs cancel out, so they have no centre: they are not one cluster")
        index = recognizability.double()
        return cls(
            center=unit(mean).to(at_least_float32(embeddings[:1]).dtype),
            mean=float(index.mean()),
            deviation=float(index.std(correction=0)),
        )


def diversion(predicted: Float[Tensor, " b"], mean: float, deviation: float, floor: float = 0.1) -> Float[Tensor, " b"]:
    """div(ξ̂) = (ξ̂ - μ_UI) / max(σ_UI, floor): how many deviations a face lies above the UIs. Stated by the poster.

    The floor is our own choice: σ_UI is 0 while the regression is untrained, and 1/σ_UI makes everything NaN within an
    epoch.

    Args:
        predicted: (b,) ξ̂.
        mean: μ_UI, no gradient.
        deviation: σ_UI, no gradient.
        floor: > 0, in units of ξ̂.

    Raises:
        VlrfaceError: the floor is not above 0.
    """
    if not floor > 0.0:
        raise VlrfaceError(f"the floor of the UI deviation is {floor}, it must be above 0")
    return (at_least_float32(predicted) - mean) / max(deviation, floor)


def index_diversion_loss(
    predicted: Float[Tensor, " b"], statistics: UnrecognizableStatistics, tau: float = 3.0, floor: float = 0.1
) -> Float[Tensor, ""]:
    """Index diversion loss: mean of max(0, τ - div(ξ̂)). Stated by the poster.

    It lifts the predicted index of recognizable faces at least τ deviations above that of the UIs; faces beyond give no
    gradient. Gradient reaches `predicted` only, at most 1/floor per face.

    Args:
        predicted: (b,) ξ̂ of training faces, which are recognizable by assumption.
        statistics: of the UIs.
        tau: τ, in deviations; the default is our own choice.
        floor: see `diversion`.
    """
    return (tau - diversion(predicted, statistics.mean, statistics.deviation, floor)).clamp(min=0.0).mean()


def emphasis(
    predicted: Float[Tensor, " b"], statistics: UnrecognizableStatistics, tau: float = 3.0, floor: float = 0.1
) -> Float[Tensor, " b"]:
    """How much each face counts: w ∝ σ(2·(2·div(ξ̂)/τ - 1)), of mean 1 over the batch. Own choice, without gradient.

    A face that nobody can recognise teaches its label by heart, and nothing that holds for another picture of the
    person. The poster has the index but does not let it say so to the recognition loss. Here a face at the mean of the
    UIs has 12 % of the full weight, one halfway to τ deviations above them 50 %, one at τ, where the index diversion
    loss is satisfied, 88 %.

    Args:
        predicted: (b,) ξ̂ of training faces.
        statistics: of the UIs.
        tau: τ > 0 of the index diversion loss, in deviations.
        floor: see `diversion`.

    Returns:
        (b,) weights ≥ 0 that rise with ξ̂, float32 or finer; their mean is 1 wherever the batch lies.

    Raises:
        VlrfaceError: τ is not above 0.
    """
    if not tau > 0.0:
        raise VlrfaceError(f"tau is {tau}; faces are weighted by how near they come to it, so it must be above 0")
    above = diversion(predicted.detach(), statistics.mean, statistics.deviation, floor)
    # Normalised by its logarithm: far below the UIs every weight alone would round to 0.
    return F.logsigmoid(2.0 * (2.0 * above / tau - 1.0)).softmax(dim=0) * len(predicted)


def project_away(embedding: Float[Tensor, "b d"], center: Float[Tensor, " d"]) -> Float[Tensor, "b d"]:
    """v_p = normalize(v̂ - ⟨v̂, û⟩ û): the embedding without its part along the UI centre. Stated by the poster.

    Without gradient, as a target (own choice).

    Args:
        embedding: (b, d), of any norm.
        center: (d,) û, of any norm above 0.

    Returns:
        (b, d) unit vectors orthogonal to the centre, float32 or finer. An embedding that is all centre (v̂ = ±û, to
        1e-5) has no other direction: its row is zero, which in `projection_loss` is the constant 1 without gradient.
    """
    direction = unit(center.detach())
    residual = unit(embedding.detach())
    # The second pass removes what rounding left: near the centre, one pass is orthogonal to a few digits only.
    for _ in range(2):
        residual = residual - _along(residual, direction).unsqueeze(1) * direction
    length = residual.norm(dim=1, keepdim=True)
    # Asked this way round, a NaN is no degenerate case: it stays NaN and can be found.
    return torch.where(length <= _SMALLEST_RESIDUAL, 0.0, residual / length.clamp(min=_SMALLEST_RESIDUAL))


def projection_loss(
    attended: Float[Tensor, "b d"], embedding: Float[Tensor, "b d"], center: Float[Tensor, " d"]
) -> Float[Tensor, ""]:
    """Mean over the batch of ‖v̂_attn - v_p‖², the squared distance to `project_away(embedding)`, in [0, 4].

    The poster states the squared error; summed over d and averaged over the batch as ‖·‖² is written. Gradient reaches
    `attended` only.

    Args:
        attended: (b, d) embedding after attention, of any norm.
        embedding: (b, d) embedding before it, as the poster has it; or another that attention should come to.
        center: (d,) û.
    """
    return (unit(attended) - project_away(embedding, center)).square().sum(dim=1).mean()
