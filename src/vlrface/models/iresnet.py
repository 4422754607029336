"""IResNet, the residual network of ArcFace, with the parameter names of arcface_torch; and its sibling IR.

Deng et al., *ArcFace: Additive Angular Margin Loss for Deep Face Recognition*, CVPR 2019 (the network is called
LResNet-E-IR there); residual block after Duta et al., *Improved Residual Networks*, ICPR 2020. IR is the form of
face.evoLVe, AdaFace (Kim et al., CVPR 2022) and CVLface.
"""

from typing import Final, Literal

from jaxtyping import Float
from torch import Tensor, nn

from vlrface.models.backbone import Backbone, EmbeddingNorm, InputSpec, initialise

Depth = Literal[18, 34, 50, 100]
IRDepth = Literal[18, 34, 50, 101]

_BLOCKS: Final[dict[int, tuple[int, int, int, int]]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
}
_CHANNELS: Final = (64, 128, 256, 512)


class ResidualBlock(nn.Module):
    """norm → 3×3 → norm → PReLU → 3×3 (stride here) → norm, beside a shortcut; nothing after the sum.

    The attribute names are arcface_torch's, because its checkpoints are read as they are.

    Args:
        channels: of the input.
        out_channels: of the output.
        stride: of the block.
        picked: a block that changes the side alone, not the channels, takes every second place of its input for a
            shortcut, as IR does; otherwise it learns a 1×1 convolution for it, as IResNet does.
    """

    def __init__(self, channels: int, out_channels: int, stride: int, *, picked: bool = False) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        # Named as in the checkpoints; a block that keeps its shape adds its input itself.
        self.downsample: nn.Module = nn.Identity()
        if picked and stride != 1 and channels == out_channels:
            self.downsample = nn.MaxPool2d(1, stride)
        elif stride != 1 or channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """The block's output; sides are divided by the stride, rounded up."""
        inner = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(inner)) + self.downsample(x)


class IResNet(Backbone):
    """An IResNet whose feature map is the last one after its norm, (512, ceil(height/16), ceil(width/16)).

    `embed` flattens that map and applies dropout, the fully connected layer `fc` and the batch norm `features`, whose
    scale stays 1 as arcface_torch trains it. The public networks are 112×112; for another input only the shape of
    `fc.weight` differs.

    Args:
        blocks: residual blocks in each of the four stages.
        spec: the input.
        embedding_dim: length of the embedding.
        dropout: probability of dropping a value of the flattened map, while training.
        seed: of the initial weights: convolutions normal with deviation 0.1, as arcface_torch.
        ir: the sibling IR: shortcuts that change the side alone have no weights, and the last batch norm has neither a
            scale nor a shift to learn.
    """

    def __init__(
        self,
        blocks: tuple[int, int, int, int],
        spec: InputSpec,
        embedding_dim: int,
        dropout: float,
        seed: int,
        *,
        ir: bool = False,
    ) -> None:
        super().__init__()
        self.input = spec
        self.embedding_dim = embedding_dim
        rows, columns = spec.cells
        self.feature_shape = (_CHANNELS[-1], rows, columns)
        self.conv1 = nn.Conv2d(3, _CHANNELS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_CHANNELS[0])
        self.prelu = nn.PReLU(_CHANNELS[0])
        self.layer1 = _stage(_CHANNELS[0], _CHANNELS[0], blocks[0], ir)
        self.layer2 = _stage(_CHANNELS[0], _CHANNELS[1], blocks[1], ir)
        self.layer3 = _stage(_CHANNELS[1], _CHANNELS[2], blocks[2], ir)
        self.layer4 = _stage(_CHANNELS[2], _CHANNELS[3], blocks[3], ir)
        self.bn2 = nn.BatchNorm2d(_CHANNELS[3])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(_CHANNELS[3] * rows * columns, embedding_dim)
        self.features = EmbeddingNorm(embedding_dim)
        self.features.weight.requires_grad_(False)
        self.features.bias.requires_grad_(not ir)
        initialise(self, seed, convolution_std=0.1)

    def steps(self) -> tuple[nn.Module, ...]:
        """Convolution, norm and PReLU, the residual blocks of all stages, and the norm `bn2`: 4 + blocks."""
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        return (self.conv1, self.bn1, self.prelu, *(block for stage in stages for block in stage), self.bn2)

    def embed(self, features: Float[Tensor, "b c fh fw"], measured: int | None = None) -> Float[Tensor, "b d"]:
        """Flatten (channel by channel, as the public weights want it), dropout, `fc`, batch norm."""
        return self.features(self.fc(self.dropout(features.flatten(1))), measured)


def iresnet(
    depth: Depth,
    spec: InputSpec | None = None,
    *,
    embedding_dim: int = 512,
    dropout: float = 0.0,
    seed: int = 0,
) -> IResNet:
    """A new IResNet of the given depth.

    Args:
        depth: 18 (24 M parameters), 34 (34 M), 50 (44 M) or 100 (65 M).
        spec: the input; None for 112×112 RGB mapped to -1..1, as arcface_torch.
        embedding_dim: length of the embedding.
        dropout: probability of dropping a value of the flattened map, while training.
        seed: of the initial weights.

    Returns:
        The network, in training mode.
    """
    return IResNet(_BLOCKS[depth], spec or InputSpec(112, 112), embedding_dim, dropout, seed)


def irnet(
    depth: IRDepth,
    spec: InputSpec | None = None,
    *,
    embedding_dim: int = 512,
    dropout: float = 0.0,
    seed: int = 0,
) -> IResNet:
    """A new IR network, as face.evoLVe, AdaFace and CVLface have it.

    It has the blocks of an IResNet, and differs in two things: the first block of the first stage, which halves the
    side and keeps the channels, has a shortcut without weights; and the last batch norm has nothing to learn.

    Args:
        depth: 18, 34, 50 or 101 (the blocks of `iresnet(100)`; the authors count the embedding layer).
        spec: the input; None for 112×112 pixels mapped to -1..1, BGR, as AdaFace.
        embedding_dim: length of the embedding.
        dropout: probability of dropping a value of the flattened map, while training; the authors have 0.4.
        seed: of the initial weights.

    Returns:
        The network, in training mode.
    """
    blocks = _BLOCKS[100 if depth == 101 else depth]
    return IResNet(blocks, spec or InputSpec(112, 112, order="bgr"), embedding_dim, dropout, seed, ir=True)


def _stage(channels: int, out_channels: int, blocks: int, picked: bool) -> nn.Sequential:
    """Blocks of one resolution; the first halves it."""
    rest = (ResidualBlock(out_channels, out_channels, 1) for _ in range(blocks - 1))
    return nn.Sequential(ResidualBlock(channels, out_channels, 2, picked=picked), *rest)
