"""What every classification head is: class prototypes, a margin, and the softmax cross entropy over them.

Every head is called as `(embedding, label) -> HeadOutput`. A new head gives its own `logits`; one with running
statistics keeps them as buffers, and takes each training batch in by `observe`; one with a loss term of its own gives
`regularizer`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, get_args

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from jaxtyping import Float, Int
from torch import Tensor, nn

from vlrface.losses.precision import at_least_float32, unit
from vlrface.types import VlrfaceError


class HeadOutput(NamedTuple):
    """What a head says of a batch, float32 or finer.

    Attributes:
        loss: mean cross entropy over the batch, weighted if weights were given, with gradient.
        cosine: (b, k) cosines to the prototypes, without margin or scale, in [-1, 1].
        logits: (b, k) what the cross entropy was taken of.
        regularizer: the head's own further term, weighted, with gradient; None for a head without one.
        column: (b,) where in `cosine` and `logits` the true class stands; None for the label itself. A head whose
            classes are spread (`vlrface.losses.spread`) has two columns only: the true class, and all others.
    """

    loss: Float[Tensor, ""]
    cosine: Float[Tensor, "b k"]
    logits: Float[Tensor, "b k"]
    regularizer: Float[Tensor, ""] | None = None
    column: Int[Tensor, " b"] | None = None

    @property
    def total(self) -> Float[Tensor, ""]:
        """What this head alone would minimise: the loss and its regularizer."""
        return self.loss if self.regularizer is None else self.loss + self.regularizer


class Spread(Protocol):
    """How the classes of a head are spread, over processes or by sampling; see `vlrface.losses.spread`."""

    classes: int
    """All of them, of which the head may hold a part."""

    def __call__(
        self,
        head: "Head",
        embedding: Tensor,
        label: Tensor,
        *,
        observed: bool,
        weight: Tensor | None,
        nearest: bool,
    ) -> HeadOutput:
        """What `Head.forward` gives."""
        ...


class Head(nn.Module, ABC):
    """A classifier by cosine to one prototype per class.

    Attributes:
        prototypes: (k, d) parameter, one row per class. Only directions count in values; the norm sets how far a step
            of the optimizer turns them. Drawn from N(0, 0.01²) at first, as arcface_torch does.
        spread: how the classes are spread; None where this process has them all, and uses them all.

    Args:
        dim: d, length of an embedding.
        classes: k, number of identities, ≥ 2.
        seed: of the first prototypes.

    Raises:
        VlrfaceError: a size is too small.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that `print` shows."""

    prototypes: nn.Parameter

    def __init__(self, dim: int, classes: int, *, seed: int = 0) -> None:
        super().__init__()
        self.spread: Spread | None = None
        if dim < 1 or classes < 2:
            raise VlrfaceError(f"a head needs dim ≥ 1 and at least 2 classes, got dim {dim} and {classes} classes")
        generator = torch.Generator().manual_seed(seed)
        self.prototypes = nn.Parameter(torch.empty(classes, dim).normal_(0.0, 0.01, generator=generator))

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.prototypes.shape[1]

    @property
    def classes(self) -> int:
        """Number of identities."""
        return self.prototypes.shape[0] if self.spread is None else self.spread.classes

    def class_parameters(self) -> dict[str, nn.Parameter]:
        """By name, the parameters that have a row for each class."""
        return {"prototypes": self.prototypes}

    def class_values(self, parameters: Mapping[str, Float[Tensor, "k *n"]]) -> Float[Tensor, "k t"]:
        """What the logits of a class depend on beside its cosine: t values of each, 0 for most heads.

        Args:
            parameters: as `class_parameters`, or some rows of them.
        """
        return parameters["prototypes"].new_empty(len(parameters["prototypes"]), 0)

    def logits_of(
        self,
        cosine: Float[Tensor, "b k"],
        norm: Float[Tensor, " b"],
        label: Int[Tensor, " b"],
        values: Float[Tensor, "b k t"],
    ) -> Float[Tensor, "b k"]:
        """`logits` of any columns, with the `class_values` of each."""
        del values
        return self.logits(cosine, norm, label)

    def initialise(self, prototypes: Float[Tensor, "k d"]) -> None:
        """Start from known directions, for example the mean embedding of each class; stored at unit norm.

        Raises:
            VlrfaceError: another shape than (classes, dim), a value that is not finite, or a row of zeros.
        """
        if prototypes.shape != self.prototypes.shape:
            raise VlrfaceError(
                f"prototypes have shape {tuple(prototypes.shape)}, this head needs {tuple(self.prototypes.shape)}"
            )
        usable = prototypes.isfinite().all(dim=1) & (prototypes != 0).any(dim=1)
        if not bool(usable.all()):
            first = int((~usable).nonzero()[0, 0])
            raise VlrfaceError(f"prototype of class {first} is zero or not finite: give it the mean of some embeddings")
        with torch.no_grad():
            self.prototypes.copy_(unit(prototypes))

    @abstractmethod
    def logits(
        self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]
    ) -> Float[Tensor, "b k"]:
        """The margin of this head, as `vlrface.losses.margins.Margin`."""

    def observe(self, cosine: Float[Tensor, "b k"], norm: Float[Tensor, " b"], label: Int[Tensor, " b"]) -> None:
        """Take a training batch into the running statistics, before its logits are computed. Without gradient."""

    def regularizer(self, norm: Float[Tensor, " b"]) -> Float[Tensor, ""] | None:
        """A loss term beside the cross entropy, with its weight in it; None for a head without one."""
        del norm
        return None

    def forward(
        self,
        embedding: Float[Tensor, "b d"],
        label: Int[Tensor, " b"],
        *,
        observed: bool = True,
        weight: Float[Tensor, " b"] | None = None,
        nearest: bool = True,
    ) -> HeadOutput:
        """Mean cross entropy of the embeddings' classes.

        Computed in float32 or finer even inside autocast: a bfloat16 product would round each cosine to 3 digits, and
        the scale multiplies that error.

        Args:
            embedding: (b, d), not normalised, any float format.
            label: (b,), in [0, k).
            observed: whether running statistics take this batch in, where the head is in training mode. False for a
                second kind of embedding of the same faces: statistics of both would describe neither.
            weight: (b,) ≥ 0, of mean 1: how much each face counts in the cross entropy, not in the head's own
                regularizer. All alike without it.
            nearest: whether `cosine` must hold the nearest other class. False spares a head that samples its classes to
                look at them all; the others do that anyway.

        Raises:
            VlrfaceError: a label outside [0, k). Looked for on the CPU only; an accelerator stops by its own assertion,
                and looking there would make the host wait at every step.
        """
        if label.device.type == "cpu":
            _check_labels(label, self.classes)
        with torch.autocast(embedding.device.type, enabled=False):
            if self.spread is not None:
                return self.spread(self, embedding, label, observed=observed, weight=weight, nearest=nearest)
            cosine, norm = cosine_to_prototypes(embedding, self.prototypes)
            if observed and self.training:
                self.observe(cosine.detach(), norm.detach(), label)
            logits = self.logits(cosine, norm, label)
            loss = mean_cross_entropy(logits, label, weight)
            return HeadOutput(loss, cosine, logits, self.regularizer(norm))

    def extra_repr(self) -> str:
        """Sizes and settings, for `print`."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in ("dim", "classes", *self.settings))


def mean_cross_entropy(
    logits: Float[Tensor, "b k"], label: Int[Tensor, " b"], weight: Float[Tensor, " b"] | None
) -> Float[Tensor, ""]:
    """The cross entropy's mean over a batch, in which faces may count differently."""
    if weight is None:
        return F.cross_entropy(logits, label.long())
    return (weight * F.cross_entropy(logits, label.long(), reduction="none")).mean()


def check_scale(head: str, scale: float) -> None:
    """Refuse a scale that is not finite and above 0.

    Raises:
        VlrfaceError: names the head and the scale.
    """
    if not 0.0 < scale < math.inf:
        raise VlrfaceError(f"{head} needs a finite scale > 0, got scale {scale}")


def check_choices(head: str, **chosen: tuple[str, Any]) -> None:
    """Refuse a word that its `Literal` does not have; the annotations bind a type checker only.

    Args:
        head: its name, for the message.
        chosen: per setting the word and the `Literal`.

    Raises:
        VlrfaceError: names the setting, the word and what there is.
    """
    for setting, (word, known) in chosen.items():
        if word not in get_args(known):
            raise VlrfaceError(f"{head} knows {setting} {get_args(known)}, got {word!r}")


def cosine_to_prototypes(
    embedding: Float[Tensor, "b d"], prototypes: Float[Tensor, "k d"]
) -> tuple[Float[Tensor, "b k"], Float[Tensor, " b"]]:
    """Cosine of every embedding to every prototype, and the norm of each embedding, in float32 or finer.

    Call it with autocast off: the matrix product would fall back to bfloat16.

    Returns:
        (b, k) cosines in [-1, 1], (b,) norms ≥ 0.
    """
    embedding = at_least_float32(embedding)
    cosine = F.linear(unit(embedding), unit(prototypes))
    return cosine.clamp(-1.0, 1.0), embedding.norm(dim=1)


def _check_labels(label: Tensor, classes: int) -> None:
    outside = (label < 0) | (label >= classes)
    if bool(outside.any()):
        wrong = sorted(set(label[outside].tolist()))[:10]
        raise VlrfaceError(
            f"labels {wrong} lie outside the {classes} classes 0..{classes - 1} of this head: number the training "
            "identities from 0, and leave out distractors and unknown persons"
        )
