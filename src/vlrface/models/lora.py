"""LoRA: convolutions and linear layers that learn a change of low rank, while their weights stay as they are.

Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, ICLR 2022, equation 3, carried over to convolutions:
the weight W of a layer, read as a matrix of `outputs` rows and `inputs · kernel` columns, becomes W + (α/r)·U·D with U
(outputs, r) and D (r, inputs · kernel). The layer computes with this very sum, so that a merged network gives, to the
last bit, what the adapted one gave. (The library peft has another form, two convolutions one after the other, which
does not fit depthwise ones; and it wants transformers and accelerate.)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vlrface.models.backbone import Backbone
from vlrface.types import VlrfaceError

_INSIDE = ".parametrizations.weight."
"""How torch names what an adapted layer holds in place of its weight."""


@dataclass(frozen=True)
class LoraConfig:
    """Which layers of the trunk learn by a change of low rank, and of which.

    Norms, biases and slopes, all of them vectors, learn as they do without LoRA.

    Attributes:
        rank: r, at least 1. A layer for which a change of this rank would have no fewer numbers than its weight (a
            depthwise convolution of few channels) learns whole instead.
        alpha: α, above 0: the change is α/r·U·D. D starts with orthonormal rows and U at 0, so that with α = r a first
            step is the step of plain training at the same rate, projected on r directions.
        first_step: the first of the trunk's steps (`Backbone.steps`) that is adapted. Earlier ones learn whole unless
            `model.frozen_steps` freezes them; frozen ones are never adapted.
        last_step: adapt the steps before this one; later ones learn whole. None for all to the end.
        embedding: whether the embedding layer, behind the last step, is adapted too; it learns whole otherwise.
        seed: of the first D.

    Raises:
        VlrfaceError: a value out of range.
    """

    rank: int = 8
    alpha: float = 8.0
    first_step: int = 0
    last_step: int | None = None
    embedding: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or not 0.0 < self.alpha < math.inf:
            raise VlrfaceError(
                f"lora has rank {self.rank} and alpha {self.alpha}: the rank is at least 1, alpha finite and above 0"
            )
        if self.first_step < 0 or (self.last_step is not None and self.last_step < self.first_step):
            raise VlrfaceError(
                f"lora adapts steps {self.first_step} to {self.last_step}: the first is at least 0, the last no smaller"
            )


class LowRankChange(nn.Module):
    """A weight plus a learned change of low rank; see the module's text.

    Attributes:
        up: U (outputs, rank), 0 at first.
        down: D (rank, inputs · kernel), with orthonormal rows at first.
        scale: α/rank, a buffer, so that a file of weights holds all that merging needs.
    """

    scale: Tensor

    def __init__(self, weight: Float[Tensor, "o *rest"], rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        columns = weight[0].numel()
        drawn = torch.randn(columns, rank, generator=generator)
        self.up = nn.Parameter(torch.zeros(len(weight), rank))
        self.down = nn.Parameter(torch.linalg.qr(drawn).Q.T.contiguous())
        self.register_buffer("scale", torch.tensor(alpha / rank))

    def forward(self, weight: Float[Tensor, "o *rest"]) -> Float[Tensor, "o *rest"]:
        """The weight with its change."""
        return merged(weight, self.up, self.down, self.scale)


def merged(
    weight: Float[Tensor, "o *rest"], up: Float[Tensor, "o r"], down: Float[Tensor, "r c"], scale: Float[Tensor, ""]
) -> Float[Tensor, "o *rest"]:
    """W + scale·U·D, of W's shape; float32 even under autocast, so that what is merged later is the same."""
    with torch.autocast(weight.device.type, enabled=False):
        return weight + (scale * (up @ down)).view_as(weight)


def adapt(backbone: Backbone, config: LoraConfig, *, frozen_steps: int = 0) -> None:
    """Let the backbone's layers learn by a change of low rank; what it computes is as before.

    Args:
        backbone: changed in place, with its starting weights.
        config: which layers, and of which rank.
        frozen_steps: how many of the first steps are frozen, and so not adapted.

    Raises:
        VlrfaceError: there are not so many steps, or no layer to adapt is left.
    """
    steps = backbone.steps()
    last = len(steps) if config.last_step is None else config.last_step
    if last > len(steps):
        raise VlrfaceError(f"lora.last_step is {last}; {type(backbone).__name__} has {len(steps)} steps")
    chosen = [layer for step in steps[max(config.first_step, frozen_steps) : last] for layer in step.modules()]
    if config.embedding:
        in_steps = {layer for step in steps for layer in step.modules()}
        chosen += [layer for layer in backbone.modules() if layer not in in_steps]
    layers = [layer for layer in chosen if _fits(layer, config.rank)]
    if not layers:
        raise VlrfaceError("lora adapts no layer: lower lora.rank, lora.first_step or model.frozen_steps")
    generator = torch.Generator().manual_seed(config.seed)
    for layer in layers:
        weight = layer.get_parameter("weight")
        change = LowRankChange(weight.detach(), config.rank, config.alpha, generator)
        parametrize.register_parametrization(layer, "weight", change)
        weight.requires_grad_(False)


def _fits(layer: nn.Module, rank: int) -> bool:
    """Whether a change of this rank has fewer numbers than the layer's weight, and the layer has none yet."""
    if not isinstance(layer, nn.Conv2d | nn.Linear) or parametrize.is_parametrized(layer):
        return False
    rows, columns = len(layer.weight), layer.weight[0].numel()
    return rank <= columns and rank * (rows + columns) < rows * columns


def plain_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict that serves: changes of low rank merged into their weights, under the names of a plain network."""
    return merged_state(module.state_dict())


def merged_state(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of an adapted network, as of the plain one with the same function; other tensors as they are."""
    plain: dict[str, Tensor] = {}
    for name, value in tensors.items():
        layer, inside, part = name.partition(_INSIDE)
        if not inside:
            plain[name] = value
        elif part == "original":
            up, down, scale = (tensors[f"{layer}{_INSIDE}0.{each}"] for each in ("up", "down", "scale"))
            plain[f"{layer}.weight"] = merged(value.detach(), up.detach(), down.detach(), scale)
    return plain
