"""Heads of more classes than one device holds, or than one step needs: prototypes over ranks, and sampled negatives.

Each rank holds the prototypes of its share of the classes, and sees the embeddings of the whole batch. The softmax's
denominator and the cosine to the true class are put together from all ranks, so that losses and gradients are those of
one process with all classes.

Sampling (An et al., *Partial FC*, CVPR 2022): in each step the classes of the batch, and of the others a random few,
stand for all. Which ones depends on (seed, step) alone, not on the number of ranks. The nearest other class, which the
recognizability index asks for, is looked for among all classes of all ranks even so.
"""

from collections.abc import Mapping
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vlrface.losses.head import Head, HeadOutput, mean_cross_entropy
from vlrface.losses.precision import at_least_float32, unit
from vlrface.ranks import copied, largest, stacked, summed
from vlrface.types import WHOLE, Share, VlrfaceError

_NOTHING: Final = -1e30
"""A logit that adds nothing to a sum of exponentials. Finite, unlike -inf: -inf - (-inf) in the gradient is NaN."""


class ClassSpread:
    """The classes of a head over ranks, and which of them a step uses. Made by `spread_classes`.

    Attributes:
        classes: of all ranks together.
        share: whose part this process holds.
        sampled: share of the classes that a step uses, in (0, 1].
        first: the first class here; the others follow it.
        rows: (m,) classes of this step among those here, counted from 0, in order; None for all.
        active: by name, the rows of the head's class parameters that this step trains; empty where all are.
    """

    def __init__(self, classes: int, share: Share, sampled: float, seed: int) -> None:
        """Use `spread_classes`."""
        self.classes = classes
        self.share = share
        self.sampled = sampled
        self.first, self._last = share.bounds(classes)
        self.rows: Tensor | None = None
        self.active: dict[str, nn.Parameter] = {}
        self._seed = seed

    def begin(self, head: Head, label: Int[Tensor, " b"], step: int) -> None:
        """Choose the classes of a step, before the head is asked.

        Args:
            head: whose classes these are.
            label: of the whole batch, of all ranks.
            step: number of the step, from 0.
        """
        if self.sampled == 1.0:
            return
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + step) % 2**63)
        score = torch.rand(self.classes, generator=generator)
        true = label.unique().cpu()
        score[true] = 2.0  # above every random one
        chosen = score.topk(max(len(true), round(self.sampled * self.classes))).indices.sort().values
        here = chosen[(chosen >= self.first) & (chosen < self._last)] - self.first
        self.rows = here.to(head.prototypes.device)
        # Leaves of their own: neither a gradient nor an optimizer ever touches a class that was not drawn.
        self.active = {
            name: nn.Parameter(whole.detach()[self.rows], requires_grad=whole.requires_grad)
            for name, whole in head.class_parameters().items()
        }

    def __call__(
        self,
        head: Head,
        embedding: Float[Tensor, "b d"],
        label: Int[Tensor, " b"],
        *,
        observed: bool,
        weight: Float[Tensor, " b"] | None,
        nearest: bool,
    ) -> HeadOutput:
        """What `Head.forward` gives, in two columns: the true class, and all others together.

        The second column of `cosine` is the nearest other class of all there are (of the sampled ones if `nearest` is
        False), that of `logits` the logarithm of the others' sum of exponentials.

        Raises:
            VlrfaceError: negatives are sampled, and `begin` has not chosen any.
        """
        if self.sampled < 1.0 and not self.active:
            raise VlrfaceError("a head with sampled classes needs `begin` before each step")
        parameters: Mapping[str, Tensor] = self.active or head.class_parameters()
        column, mine = self._columns(label)
        embedding = at_least_float32(embedding)
        norm = embedding.norm(dim=1)
        shared = copied(embedding)
        cosine = torch.nn.functional.linear(unit(shared), unit(parameters["prototypes"])).clamp(-1.0, 1.0)
        own = summed(_taken(cosine, column, mine))
        first = torch.zeros_like(label)
        if observed and head.training:
            head.observe(own.detach(), norm.detach(), first)
        own_logit, others = self._logits(head, parameters, own, cosine, norm, column, mine)
        logits = torch.cat([own_logit, stacked(others).logsumexp(dim=0)], dim=1)
        near = self._nearest(head, embedding, cosine, label, column, mine, exact=nearest)
        return HeadOutput(
            loss=mean_cross_entropy(logits, first, weight),
            cosine=torch.cat([own, near], dim=1),
            logits=logits,
            regularizer=head.regularizer(norm),
            column=first,
        )

    def _logits(
        self,
        head: Head,
        parameters: Mapping[str, Tensor],
        own: Tensor,
        cosine: Tensor,
        norm: Tensor,
        column: Tensor,
        mine: Tensor,
    ) -> tuple[Float[Tensor, "b 1"], Float[Tensor, "b 1"]]:
        """The logit of the true class, common to all ranks, and of the others that are here the log of their sum.

        A margin treats each negative by itself, given the true class: so a head is asked of the true class in the first
        column, and of whatever classes are here beside it.
        """
        batch, first = len(cosine), torch.zeros_like(column)
        values = head.class_values(parameters)
        own_values = summed(torch.where(mine.unsqueeze(1), _rows(values, column), 0.0)).unsqueeze(1)
        own_logit = head.logits_of(own, norm, first, own_values)
        # Asked twice: here own, norm and values are part of what this rank alone computes, and their gradients differ.
        columns = torch.cat([copied(own), cosine], dim=1)
        every = torch.cat([copied(own_values), values.expand(batch, *values.shape)], dim=1)
        here = head.logits_of(columns, copied(norm), first, every)
        # The true class is counted once, by its own logit.
        others = here.index_fill(1, first[:1], _NOTHING).scatter(1, _beside(column, mine), _NOTHING)
        return own_logit, others.logsumexp(dim=1, keepdim=True)

    @torch.no_grad()
    def _nearest(
        self,
        head: Head,
        embedding: Tensor,
        cosine: Tensor,
        label: Tensor,
        column: Tensor,
        mine: Tensor,
        *,
        exact: bool,
    ) -> Float[Tensor, "b 1"]:
        """The largest cosine to another class, of all ranks."""
        if exact and self.sampled < 1.0:
            cosine = torch.nn.functional.linear(unit(embedding), unit(head.prototypes)).clamp(-1.0, 1.0)
            column, mine = label.long() - self.first, (label >= self.first) & (label < self._last)
        # The first column is the lowest cosine there is, for where no other class was drawn.
        beside = torch.cat([cosine.new_full((len(cosine), 1), -1.0), cosine], dim=1)
        return largest(beside.scatter(1, _beside(column, mine), -1.0).amax(dim=1, keepdim=True))

    def _columns(self, label: Int[Tensor, " b"]) -> tuple[Int[Tensor, " b"], Bool[Tensor, " b"]]:
        """Where the true class of each face stands among this step's classes here, and whether it does; else 0."""
        local = label.long() - self.first
        mine = (label >= self.first) & (label < self._last)
        if self.rows is not None:
            at = torch.searchsorted(self.rows, local.clamp(min=0))
            # True classes are always drawn, so that whoever is here is found.
            local = at
        return torch.where(mine, local, 0), mine


def spread_classes(head: Head, share: Share = WHOLE, sampled: float = 1.0, seed: int = 0) -> None:
    """Let a head hold the classes of one rank, and use a sample of all classes in each step.

    Args:
        head: with all classes; keeps its share of the rows of its class parameters. Its state dict, too, then has those
            only.
        share: this rank's.
        sampled: share of the classes in a step, in (0, 1].
        seed: of the samples.

    Raises:
        VlrfaceError: the sampled share is out of range, there are fewer classes than ranks, or the head is spread
            already.
    """
    if not 0.0 < sampled <= 1.0:
        raise VlrfaceError(f"the share of sampled classes is {sampled}; it must lie in (0, 1]")
    if head.spread is not None:
        raise VlrfaceError("the classes of this head are spread already")
    if head.classes < share.size:
        raise VlrfaceError(f"{head.classes} classes cannot be spread over {share.size} processes: start fewer")
    spread = ClassSpread(head.classes, share, sampled, seed)
    rows = share.of(spread.classes)
    for name, whole in head.class_parameters().items():
        mine = nn.Parameter(whole.detach()[rows].clone(), requires_grad=whole.requires_grad)
        setattr(head, name, mine)
    head.spread = spread


def _taken(cosine: Tensor, column: Tensor, mine: Tensor) -> Float[Tensor, "b 1"]:
    if cosine.shape[1] == 0:
        return cosine.sum(dim=1, keepdim=True)  # no class here: 0, on the way of the gradient
    return torch.where(mine.unsqueeze(1), cosine.gather(1, column.unsqueeze(1)), 0.0)


def _beside(column: Tensor, mine: Tensor) -> Int[Tensor, "b 1"]:
    """Where the true class stands with one column before the classes here; that one where it is not here."""
    return torch.where(mine, column + 1, 0).unsqueeze(1)


def _rows(values: Tensor, column: Tensor) -> Tensor:
    return values[column] if len(values) else values.new_zeros(len(column), values.shape[1])
