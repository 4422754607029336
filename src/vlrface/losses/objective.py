"""The training objective: a weighted sum of named parts, of which each can be switched off, logged and blamed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vlrface.losses.distillation import TeacherMap, check_lengths, cosine_distillation
from vlrface.losses.head import Head, check_choices
from vlrface.losses.recognizability import (
    Emphasis,
    RITarget,
    UnrecognizableStatistics,
    emphasis,
    index_diversion_loss,
    projection_loss,
    proximities,
    recognizability_index,
    smooth_l1,
    with_teacher_as_positive,
)
from vlrface.types import VlrfaceError

PARTS: Final = ("recognition", "regression", "diversion", "projection", "distillation", "attended_recognition")
"""Names of all parts of `MethodObjective` that have a weight of their own."""

HEAD_REGULARIZER: Final = "head_regularizer"
"""Name of the head's own further term, in the parts of a head that has one. It shares the weight of recognition."""

Projected = Literal["own", "teacher"]
"""Which embedding is projected away from the UI centre, to be the attended one's target."""

Positive = Literal["prototype", "teacher"]
"""What d_P of the recognizability index is measured to."""


@dataclass(frozen=True)
class ObjectiveWeights:
    """How much each part counts. A part of weight 0 is not computed at all.

    The poster states L = L_cls + α·L_L1 + β·L_ID + γ·L_MSE; its α, β, γ were not readable, so the defaults are our own.

    Attributes:
        recognition: of L_cls, the head's loss on the embedding, and of the head's own regularizer if it has one.
        regression: α, of L_L1, the smooth L1 loss of the predicted recognizability index.
        diversion: β, of L_ID, the index diversion loss.
        projection: γ, of L_MSE, the attended embedding's distance to the projected one.
        distillation: of the cosine distance to a teacher's embedding; own addition.
        attended_recognition: of the head's loss on the attended embedding, with the same prototypes; own addition,
            which makes the attended embedding useful by itself.
        diversion_from_epoch: the diversion part begins at this epoch (own choice): before the regression has learned
            something, the index of the unrecognizable identities has no spread to compare with.

    Raises:
        VlrfaceError: a weight is negative or not finite, all are 0, or the epoch is negative.
    """

    recognition: float = 1.0
    regression: float = 1.0
    diversion: float = 0.1
    projection: float = 0.1
    distillation: float = 0.0
    attended_recognition: float = 0.0
    diversion_from_epoch: int = 1

    def __post_init__(self) -> None:
        for name, weight in self.by_part().items():
            if not 0.0 <= weight < math.inf:
                raise VlrfaceError(f"the weight of {name} is {weight}; weights are finite and at least 0")
        if not any(self.by_part().values()):
            raise VlrfaceError("all weights are 0: nothing would be trained")
        if self.diversion_from_epoch < 0:
            raise VlrfaceError(f"diversion_from_epoch is {self.diversion_from_epoch}; epochs count from 0")

    def by_part(self) -> dict[str, float]:
        """The weights under the names of `PARTS`."""
        return {name: getattr(self, name) for name in PARTS}

    def active(self, epoch: float) -> frozenset[str]:
        """Names of the parts that are computed at an epoch (0 at the start; 1.5 is halfway through the second)."""
        late = {"diversion"} if epoch < self.diversion_from_epoch else set[str]()
        return frozenset(name for name, weight in self.by_part().items() if weight > 0.0) - late


class Objective(NamedTuple):
    """A weighted sum and what it was made of.

    Attributes:
        total: the sum, with gradient.
        parts: every part before weighting, detached.
        weighted: every part times its weight, detached; `weighted[x] / weighted["recognition"]` is the share to log.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]
    weighted: dict[str, Tensor]


class ObjectiveOutput(NamedTuple):
    """What `MethodObjective` says of a batch.

    Attributes:
        total: the loss to minimise, with gradient.
        parts: every computed part before weighting, detached. A part of weight 0, or not begun, is absent: a 0 would
            look like a loss that is satisfied.
        weighted: every computed part times its weight, detached; its values add up to `total`.
        target: (b,) recognizability index ξ that the regression was given, detached; None without that part.
        cosine: (b, k) plain cosines to the prototypes, detached, for the training accuracy; None where neither
            recognition nor regression was computed. Of a head whose classes are spread, as in its `HeadOutput`.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]
    weighted: dict[str, Tensor]
    target: Float[Tensor, " b"] | None
    cosine: Float[Tensor, "b k"] | None


def weighted_sum(parts: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, float]) -> Objective:
    """Add up scalar parts by the weights of the same names. Weights without a part are passed over.

    Raises:
        VlrfaceError: there is no part, or a part has no weight.
    """
    if not parts:
        raise VlrfaceError("no part of the objective is active: give one a weight above 0, or start it earlier")
    unknown = sorted(set(parts) - set(weights))
    if unknown:
        raise VlrfaceError(f"no weight was given for {', '.join(unknown)}")
    weighted = {name: weights[name] * value for name, value in parts.items()}
    total = torch.stack(list(weighted.values())).sum()
    return Objective(total, _detached(parts), _detached(weighted))


def _detached(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in values.items()}


def nonfinite(parts: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the parts that hold NaN or infinity, in their order: what to blame when training diverges.

    One transfer from the device for all parts together.
    """
    if not parts:
        return ()
    finite = torch.stack([value.detach().isfinite().all() for value in parts.values()]).tolist()
    return tuple(name for name, good in zip(parts, finite, strict=True) if not good)


class MethodObjective(nn.Module):
    """L = L_cls + α·L_L1 + β·L_ID + γ·L_MSE, the objective of Chai et al., with our own optional parts.

    It holds the head and the statistics of the unrecognizable identities, which move as the network learns: call
    `refresh` every some steps. They are buffers (`ui_center`, `ui_mean`, `ui_deviation`; NaN before the first refresh),
    saved with the state dict.

    The defaults are the poster's version, but for what it leaves open. The forms of "teacher" need a teacher's
    embeddings of the sharp picture of the same face; rows without one are treated as in the poster's version.

    Attributes:
        head: the classification head; its prototypes also define the recognizability index.
        weights: of the parts.
        fixed: whether the statistics were given, and are not to be refreshed.

    Args:
        head: for example `ArcFace`.
        weights: of the parts.
        target: form of the recognizability index; see `recognizability_index`.
        epsilon: ε of the index, > 0.
        smooth_l1_beta: β of the smooth L1 loss, > 0.
        tau: τ of the index diversion loss, in deviations.
        deviation_floor: lower bound of σ_UI there, > 0.
        projected: "own" v̂ as the poster has it, or the "teacher"'s (own choice): v̂ is nearly orthogonal to û for most
            faces, so that its projection is v̂ almost, and asks nothing of the attention; the teacher's holds what
            attention should bring back.
        positive: d_P of the index to the class "prototype" as the poster has it, or to the "teacher"'s embedding (own
            choice); see `with_teacher_as_positive`.
        emphasis: of faces in both recognition parts: "equal" as the poster has it, or by predicted "recognizability"
            (own choice); see `emphasis`. Equal until diversion begins and statistics are there.
        distillation_emphasis: likewise, of the faces with a teacher in distillation.
        teacher_dim: length of the teacher's embeddings, to distil through a learned linear map to them (own choice);
            None for a teacher whose embeddings are compared with the network's as they are.
        statistics: of unrecognizable identities, to be kept from the first step to the last; None to refresh them.

    Raises:
        VlrfaceError: a setting outside its range.
    """

    ui_center: Tensor
    ui_mean: Tensor
    ui_deviation: Tensor

    def __init__(
        self,
        head: Head,
        weights: ObjectiveWeights,
        *,
        target: RITarget = "ratio",
        epsilon: float = 1e-3,
        smooth_l1_beta: float = 0.75,
        tau: float = 3.0,
        deviation_floor: float = 0.1,
        projected: Projected = "own",
        positive: Positive = "prototype",
        emphasis: Emphasis = "equal",
        distillation_emphasis: Emphasis = "equal",
        teacher_dim: int | None = None,
        statistics: UnrecognizableStatistics | None = None,
    ) -> None:
        super().__init__()
        check_choices(
            "MethodObjective",
            projected=(projected, Projected),
            positive=(positive, Positive),
            emphasis=(emphasis, Emphasis),
            distillation_emphasis=(distillation_emphasis, Emphasis),
        )
        if target not in get_args(RITarget):
            raise VlrfaceError(f"no recognizability index is called {target!r}: use one of {get_args(RITarget)}")
        for name, value in (
            ("epsilon", epsilon),
            ("smooth_l1_beta", smooth_l1_beta),
            ("deviation_floor", deviation_floor),
        ):
            if not 0.0 < value < math.inf:
                raise VlrfaceError(f"{name} is {value}, it must be finite and above 0")
        emphasised = "recognizability" in (emphasis, distillation_emphasis)
        if not math.isfinite(tau) or (emphasised and tau <= 0.0):
            raise VlrfaceError(f"tau is {tau}, it must be finite, and above 0 for an emphasis by recognizability")
        self.head = head
        self.weights = weights
        self.target: RITarget = target
        self.epsilon = epsilon
        self.smooth_l1_beta = smooth_l1_beta
        self.tau = tau
        self.deviation_floor = deviation_floor
        self.projected: Projected = projected
        self.positive: Positive = positive
        self.emphasis: Emphasis = emphasis
        self.distillation_emphasis: Emphasis = distillation_emphasis
        self.teacher_map = None if teacher_dim is None else TeacherMap(head.dim, teacher_dim)
        self.fixed = statistics is not None
        self.register_buffer("ui_center", torch.full((head.dim,), torch.nan))
        self.register_buffer("ui_mean", torch.tensor(torch.nan))
        self.register_buffer("ui_deviation", torch.tensor(torch.nan))
        self._statistics: UnrecognizableStatistics | None = None
        self.register_load_state_dict_post_hook(self._loaded)
        if statistics is not None:
            self.refresh(statistics)

    @property
    def statistics(self) -> UnrecognizableStatistics | None:
        """Of the unrecognizable identities, as last refreshed or loaded, on the module's device; None before."""
        known = self._statistics
        return None if known is None else replace(known, center=self.ui_center.clone())

    def refresh(self, statistics: UnrecognizableStatistics) -> None:
        """Use these statistics from now on.

        Raises:
            VlrfaceError: the centre has another length than the embeddings.
        """
        if statistics.center.shape != self.ui_center.shape:
            raise VlrfaceError(
                f"the UI centre has {len(statistics.center)} values, the embeddings have {self.head.dim}: "
                "measure it with the model in training"
            )
        with torch.no_grad():
            self.ui_center.copy_(statistics.center)
            self.ui_mean.fill_(statistics.mean)
            self.ui_deviation.fill_(statistics.deviation)
        self._read_statistics()

    def forward(
        self,
        embedding: Float[Tensor, "b d"],
        attended: Float[Tensor, "b d"],
        recognizability: Float[Tensor, " b"],
        label: Int[Tensor, " b"],
        *,
        epoch: float,
        teacher: Float[Tensor, "b e"] | None = None,
        teacher_mask: Bool[Tensor, " b"] | None = None,
    ) -> ObjectiveOutput:
        """The objective of a batch. Inputs may have any float format; the losses are float32 or finer.

        Args:
            embedding: (b, d) v, not normalised.
            attended: (b, d) v_attn, not normalised.
            recognizability: (b,) predicted index ξ̂.
            label: (b,), in [0, k).
            epoch: 0 at the start, fractions count; says which parts have begun.
            teacher: (b, d) a teacher's embeddings, needed by distillation and by the forms of "teacher".
            teacher_mask: (b,) True where the row has a teacher; all rows without it.

        Raises:
            VlrfaceError: a part needs statistics before the first `refresh` (regression, unless its target is the
                certainty ratio; diversion; projection) or teacher embeddings that were not given; no part is active; or
                a label is outside [0, k).
        """
        active = self.weights.active(epoch)
        parts: dict[str, Tensor] = {}
        target = cosine = None
        counted = self._counted(recognizability, epoch)
        if active & {"recognition", "regression"}:
            nearest = "regression" in active
            output = self.head(embedding, label, weight=counted[self.emphasis], nearest=nearest)
            cosine = output.cosine.detach()
            if "recognition" in active:
                parts["recognition"] = output.loss
                if output.regularizer is not None:
                    parts[HEAD_REGULARIZER] = output.regularizer
            if "regression" in active:
                column = label if output.column is None else output.column
                target = self._index(embedding, cosine, column, teacher, teacher_mask)
                parts["regression"] = smooth_l1(recognizability, target, self.smooth_l1_beta)
        if "diversion" in active:
            statistics = self._measured("diversion")
            parts["diversion"] = index_diversion_loss(recognizability, statistics, self.tau, self.deviation_floor)
        if "projection" in active:
            self._measured("projection")
            aim = embedding
            if self.projected == "teacher":
                aim = _where_taught(_given("projection", embedding, teacher), embedding, teacher_mask)
            parts["projection"] = projection_loss(attended, aim, self.ui_center)
        if "distillation" in active:
            own = embedding if self.teacher_map is None else self.teacher_map(embedding)
            taught, weight = _given("distillation", own, teacher), counted[self.distillation_emphasis]
            parts["distillation"] = cosine_distillation(own, taught, teacher_mask, weight)
        if "attended_recognition" in active:
            output = self.head(attended, label, observed=False, weight=counted[self.emphasis], nearest=False)
            parts["attended_recognition"] = output.total
        weights = self.weights.by_part() | {HEAD_REGULARIZER: self.weights.recognition}
        total, plain, weighted = weighted_sum(parts, weights)
        return ObjectiveOutput(total, plain, weighted, target, cosine)

    def _read_statistics(self) -> None:
        # Always read back from the buffers: a resumed training then has the same numbers, to the last bit, as one that
        # went on. Kept as plain floats, so that no step waits for the device.
        mean, deviation = float(self.ui_mean), float(self.ui_deviation)
        measured = not (math.isnan(mean) or math.isnan(deviation))
        self._statistics = UnrecognizableStatistics(self.ui_center.clone(), mean, deviation) if measured else None

    @staticmethod
    def _loaded(module: nn.Module, _incompatible_keys: object) -> None:
        if isinstance(module, MethodObjective):
            module._read_statistics()

    def _counted(self, recognizability: Tensor, epoch: float) -> dict[Emphasis, Tensor | None]:
        """How much each face counts, by emphasis; None where all count alike."""
        statistics = self._statistics
        wanted = "recognizability" in (self.emphasis, self.distillation_emphasis)
        if not wanted or statistics is None or epoch < self.weights.diversion_from_epoch:
            return {"equal": None, "recognizability": None}
        weight = emphasis(recognizability, statistics, self.tau, self.deviation_floor)
        return {"equal": None, "recognizability": weight}

    def _index(
        self, embedding: Tensor, cosine: Tensor, column: Tensor, teacher: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        center = None
        if self.target != "certainty_ratio":  # the only form that knows nothing of unrecognizable identities
            self._measured("regression")
            center = self.ui_center
        with torch.no_grad():
            distances = proximities(embedding, cosine, column, center)
            if self.positive == "teacher":
                taught = _given("regression", embedding, teacher)
                distances = with_teacher_as_positive(distances, embedding, taught, mask)
            return recognizability_index(distances, self.target, self.epsilon)

    def _measured(self, part: str) -> UnrecognizableStatistics:
        if self._statistics is None:
            raise VlrfaceError(
                f"{part} needs the statistics of the unrecognizable identities: refresh the statistics first, with "
                "refresh(UnrecognizableStatistics.measure(embeddings, recognizability)), or give this part weight 0"
            )
        return self._statistics


def _given(part: str, embedding: Tensor, teacher: Tensor | None) -> Tensor:
    if teacher is None:
        raise VlrfaceError(
            f"{part} asks for a teacher but no teacher embeddings were given: pass teacher, or give {part} weight 0"
        )
    check_lengths(embedding, teacher)
    return teacher


def _where_taught(teacher: Tensor, own: Tensor, mask: Tensor | None) -> Tensor:
    return teacher if mask is None else torch.where(mask.unsqueeze(1), teacher, own)
