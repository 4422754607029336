"""MobileFaceNet: a million parameters, for phones and CPUs.

Chen et al., *MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices*, CCBR 2018.
"""

from dataclasses import dataclass
from typing import Final

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vlrface.models.backbone import Backbone, EmbeddingNorm, InputSpec, initialise

_STAGES: Final = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Bottlenecks: expansion, channels, repeats, stride of the first one (table 1 of the paper, as both public nets)."""

_WIDTH: Final = 512
"""Channels of the feature map."""


@dataclass(frozen=True)
class MobileFaceNetVariant:
    """In what the public MobileFaceNets differ; everything else is the same in both.

    Attributes:
        norm_epsilon: added to the variance in all batch norms but the last.
        embedding_norm_epsilon: added to the variance in the batch norm of the embedding.
        embedding_norm_scale: whether that batch norm has a learned scale; without, it stays 1.
    """

    norm_epsilon: float = 1e-5
    embedding_norm_epsilon: float = 1e-5
    embedding_norm_scale: bool = True


MS1M = MobileFaceNetVariant(norm_epsilon=1e-3, embedding_norm_epsilon=2e-5, embedding_norm_scale=False)
"""The network of `mobilefacenet_ms1m`: insightface's, trained with MXNet."""

CASIA = MobileFaceNetVariant()
"""The network of `mobilefacenet_casia`: PyTorch's own settings throughout."""


class ConvolutionUnit(nn.Module):
    """Convolution without bias → batch norm → PReLU, or no activation ("linear" in the paper)."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        epsilon: float,
        activated: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, out_channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=epsilon)
        self.activation = nn.PReLU(out_channels) if activated else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """The unit's output; sides are divided by the stride, rounded up."""
        return self.activation(self.norm(self._convolved(x)))

    def _convolved(self, x: Tensor) -> Tensor:
        conv = self.conv
        if not (self.training and conv.groups > 1 and conv.stride == (2, 2) and x.device.type == "cpu"):
            return conv(x)
        # The same values: every second one of the convolution without stride. On CPU the gradient of a strided
        # depthwise convolution takes ten times as long, four tenths of a whole training step.
        whole = functional.conv2d(x, conv.weight, padding=conv.padding[0], groups=conv.groups)
        return whole[:, :, ::2, ::2]


class Bottleneck(nn.Module):
    """Inverted residual: widen (1×1), filter each channel (3×3), narrow (1×1, linear); plus the input where it fits."""

    def __init__(self, channels: int, out_channels: int, expansion: int, stride: int, epsilon: float) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = ConvolutionUnit(channels, wide, 1, epsilon=epsilon)
        self.filter = ConvolutionUnit(wide, wide, 3, stride=stride, groups=wide, epsilon=epsilon)
        self.project = ConvolutionUnit(wide, out_channels, 1, epsilon=epsilon, activated=False)
        self.adds_input = stride == 1 and channels == out_channels

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """The block's output; sides are divided by the stride, rounded up."""
        inner = self.project(self.filter(self.expand(x)))
        return x + inner if self.adds_input else inner


class MobileFaceNet(Backbone):
    """A MobileFaceNet whose feature map is (512, ceil(height/16), ceil(width/16)).

    `embed` weighs each channel's cells by a kernel of the map's size (the paper's global depthwise convolution), then
    batch norm, a linear layer and batch norm.

    Args:
        spec: the input; None for 112×112 RGB, (pixel - 127.5) / 128, as both public networks want it.
        variant: details in which public networks differ.
        embedding_dim: length of the embedding.
        seed: of the initial weights.
    """

    def __init__(
        self,
        spec: InputSpec | None = None,
        *,
        variant: MobileFaceNetVariant = CASIA,
        embedding_dim: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__()
        epsilon = variant.norm_epsilon
        self.input = spec or mobilefacenet_input(112, 112)
        self.embedding_dim = embedding_dim
        self.feature_shape = (_WIDTH, *self.input.cells)
        self.stem = ConvolutionUnit(3, 64, 3, stride=2, epsilon=epsilon)
        self.stem_filter = ConvolutionUnit(64, 64, 3, groups=64, epsilon=epsilon)
        self.blocks = _bottlenecks(64, epsilon)
        self.widen = ConvolutionUnit(_STAGES[-1][1], _WIDTH, 1, epsilon=epsilon)
        self.gather = nn.Conv2d(_WIDTH, _WIDTH, self.input.cells, groups=_WIDTH, bias=False)
        self.gather_norm = EmbeddingNorm(_WIDTH, eps=epsilon)
        # No bias: the norm that follows would take it away again.
        self.linear = nn.Linear(_WIDTH, embedding_dim, bias=False)
        self.norm = EmbeddingNorm(embedding_dim, eps=variant.embedding_norm_epsilon)
        self.norm.weight.requires_grad_(variant.embedding_norm_scale)
        initialise(self, seed)

    def steps(self) -> tuple[nn.Module, ...]:
        """Two units of the stem, fifteen bottlenecks, and the widening unit: 18."""
        return (self.stem, self.stem_filter, *self.blocks, self.widen)

    def embed(self, features: Float[Tensor, "b c fh fw"], measured: int | None = None) -> Float[Tensor, "b d"]:
        """Global depthwise convolution, batch norm, linear layer, batch norm."""
        gathered = self.gather_norm(self.gather(features).flatten(1), measured)
        return self.norm(self.linear(gathered), measured)


def mobilefacenet_input(height: int, width: int) -> InputSpec:
    """RGB crops of the given size, normalised as both public MobileFaceNets want them: (pixel - 127.5) / 128."""
    return InputSpec(height, width, mean=127.5, scale=1 / 128, order="rgb")


def _bottlenecks(channels: int, epsilon: float) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for expansion, out_channels, repeats, stride in _STAGES:
        for index in range(repeats):
            blocks.append(Bottleneck(channels, out_channels, expansion, stride if index == 0 else 1, epsilon))
            channels = out_channels
    return nn.Sequential(*blocks)
