"""What every backbone offers: normalised crops in, a feature map, and an embedding from that map."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from vlrface.models.recomputing import recomputed
from vlrface.types import VlrfaceError

STRIDE = 16
"""Input pixels per cell of the feature map, in every backbone of this room: four halvings, each rounding up."""


@dataclass(frozen=True)
class InputSpec:
    """What pixels a network takes: `x = (pixel - mean) * scale`, with pixels 0..255.

    Attributes:
        height: rows of a crop, in pixels, at least 16.
        width: columns of a crop, in pixels, at least 16.
        mean: subtracted from every channel, in pixel values. The default maps 0..255 to -1..1.
        scale: multiplied afterwards.
        order: the channel order the network was trained with; crops are RGB always and are turned round if needed.

    Raises:
        VlrfaceError: a side is under 16 pixels, the scale is not positive, or the order is none.
    """

    height: int
    width: int
    mean: float = 127.5
    scale: float = 1 / 127.5
    order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        if min(self.height, self.width) < STRIDE:
            raise VlrfaceError(
                f"an input of {self.height} x {self.width} pixels is too small: a side needs at least {STRIDE}. "
                "Crops of any size are enlarged to the input, so choose 32 or more"
            )
        if self.order not in ("rgb", "bgr"):
            raise VlrfaceError(f"the input's order of colours is {self.order!r}: give 'rgb' or 'bgr'")
        if not self.scale > 0:
            raise VlrfaceError(f"the input scale is {self.scale}, but must be above 0")

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the feature map: each side divided by 16, rounded up."""
        return math.ceil(self.height / STRIDE), math.ceil(self.width / STRIDE)

    def normalised(self, crops: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
        """Crops as the network takes them: float32, channels first in shape and last in memory.

        Args:
            crops: RGB pixels.

        Returns:
            The normalised pixels. Channels-last memory costs nothing here, and is what CPUs convolve fastest.
        """
        pixels = crops.flip(-1) if self.order == "bgr" else crops
        return (pixels.permute(0, 3, 1, 2).float() - self.mean) * self.scale


class Backbone(nn.Module, ABC):
    """A network in two halves, `embed(feature_map(x))`.

    The attention module works between the halves and sends its map through the same second half; so the second half is
    a method of its own, and its batch statistics have one owner (`measured` below).

    Attributes:
        input: the pixels it takes.
        embedding_dim: length of the embedding.
        feature_shape: (channels, rows, columns) of the feature map.
        checkpointing: in training, keep only what goes into each step, and compute the rest again for the gradient.
    """

    input: InputSpec
    embedding_dim: int
    feature_shape: tuple[int, int, int]
    checkpointing: bool = False

    @abstractmethod
    def steps(self) -> tuple[nn.Module, ...]:
        """What makes the feature map of pixels, one after another: layers and blocks, each from one map to the next."""

    def feature_map(
        self, maps: Float[Tensor, "b c h w"], *, first: int = 0, last: int | None = None
    ) -> Float[Tensor, "b c2 h2 w2"]:
        """The last feature map, or the way to it from one step to another.

        Args:
            maps: pixels as `InputSpec.normalised` gives them; what step `first - 1` gave, if `first` is above 0.
            first: steps that are done already.
            last: stop before this step; None goes to the end.

        Returns:
            The map, of shape `feature_shape` at the end; bfloat16 under bfloat16 autocast.
        """
        keeps_all = not (self.checkpointing and self.training and torch.is_grad_enabled())
        for step in self.steps()[first:last]:
            maps = step(maps) if keeps_all else recomputed(step, maps)
        return maps

    @abstractmethod
    def embed(self, features: Float[Tensor, "b c fh fw"], measured: int | None = None) -> Float[Tensor, "b d"]:
        """The embedding of a feature map, before normalisation.

        Args:
            features: maps of shape `feature_shape`.
            measured: while training, the statistics of batch norms come from the first `measured` rows alone, see
                `EmbeddingNorm`; None means from all. Without meaning in evaluation mode.

        Returns:
            The embeddings.
        """

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """`embed(feature_map(pixels))`."""
        return self.embed(self.feature_map(pixels))


class EmbeddingNorm(nn.BatchNorm1d):
    """Batch norm over vectors, of which some rows may be passengers.

    In a training step the embedding layer meets two maps of each crop: the plain one and the attended one. Were both
    to update the running statistics, these would describe neither. Were the attended rows normalised by statistics of
    their own, training would hide a shift or scale that evaluation, with its one set of running statistics, shows.
    So the plain rows alone set the statistics, and the attended rows go through the very map that these give: one
    layer for both, in training as in evaluation (own choice). The passengers' gradient treats the statistics as
    constants, as they are in evaluation.

    Weights and buffers have the names of `torch.nn.BatchNorm1d`.
    """

    def forward(self, input: Float[Tensor, "b d"], measured: int | None = None) -> Float[Tensor, "b d"]:  # noqa: A002  (torch's name)
        """Normalise.

        Args:
            input: vectors.
            measured: while training, how many rows, from the first, are measured; None for all.

        Returns:
            The normalised vectors.
        """
        if measured is None or not self.training:
            return super().forward(input)
        plain, passengers = input[:measured], input[measured:]
        with torch.no_grad():
            variance, mean = torch.var_mean(plain, dim=0, correction=0)
        carried = functional.batch_norm(
            passengers, mean, variance, self.weight, self.bias, training=False, eps=self.eps
        )
        return torch.cat([super().forward(plain), carried])


def initialise(module: nn.Module, seed: int, convolution_std: float | None = None) -> None:
    """Draw the weights of all convolutions and linear layers anew, from `seed` alone.

    Batch norms and PReLUs keep PyTorch's constants (1, 0 and 0.25). Linear weights are uniform in ±1/sqrt(inputs), as
    PyTorch draws them. Biases become 0.

    Args:
        module: changed in place.
        seed: of the generator; the same seed gives the same weights.
        convolution_std: standard deviation of convolution weights; None for sqrt(2 / fan-out) of each (He et al. 2015).
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.weight[:, 0].numel() / layer.groups
            std = math.sqrt(2 / fan_out) if convolution_std is None else convolution_std
            nn.init.normal_(layer.weight, std=std, generator=generator)
        elif isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
