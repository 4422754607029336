"""Perceptibility-aware attention (PAM): which channels and which places of the feature map speak for the identity."""

import math
from typing import Final, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vlrface.models.backbone import initialise
from vlrface.types import VlrfaceError

_CHANNEL_STD: Final = 0.01
_SPATIAL_STD: Final = 0.001  # smaller: it meets the largest of hundreds of channels


class Attended(NamedTuple):
    """A feature map after attention.

    Attributes:
        features: the weighted map, of the shape of the plain one.
        spatial_map: the weight of each place, in (0, 1); 0.5 leaves the place as it is.
    """

    features: Float[Tensor, "b c h w"]
    spatial_map: Float[Tensor, "b 1 h w"]


class PerceptibilityAttention(nn.Module):
    """CBAM attention: channels first, then places (Woo et al., *CBAM*, ECCV 2018, equations 1 to 3).

    `F' = 2σ(z_c)·F` with `z_c = MLP(mean over places) + MLP(maximum over places)`, then
    `F'' = 2σ(z_s)·F'` with `z_s = convolution(mean over channels of F', maximum over channels of F')`.
    That the method takes this form is a third-party reading of the paper.

    Starting point (own choice): a weight is 2σ(z) where CBAM has σ(z), and the last layers start small, so that z ≈ 0
    leaves the map as it is. With σ alone a fresh module would quarter the features that a pretrained embedding layer
    has its statistics for. `spatial_map` is σ(z_s) itself, in (0, 1).

    Args:
        channels: of the feature map.
        reduction: the hidden layer of the MLP has channels/reduction units (CBAM: 16), at least one.
        kernel: side of the spatial convolution, odd, zero-padded (CBAM: 7); see `spatial_kernel`.
        seed: of the initial weights.

    Raises:
        VlrfaceError: the kernel is even, or the reduction exceeds the channels.
    """

    def __init__(self, channels: int, *, reduction: int = 16, kernel: int = 7, seed: int = 0) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise VlrfaceError(f"the attention kernel is {kernel}, but must be odd: 3 or 7")
        if not 1 <= reduction <= channels:
            raise VlrfaceError(
                f"the attention reduction is {reduction}, but must lie between 1 and {channels} channels"
            )
        self.channels = channels
        hidden = channels // reduction
        self.narrow = nn.Linear(channels, hidden)
        self.widen = nn.Linear(hidden, channels)
        self.spatial = nn.Conv2d(2, 1, kernel, padding=kernel // 2)
        initialise(self, seed, convolution_std=_SPATIAL_STD)
        with torch.no_grad():
            # `initialise` drew it uniform in ±1/sqrt(hidden), of deviation 1/sqrt(3·hidden).
            self.widen.weight *= _CHANNEL_STD * math.sqrt(3)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Attended:
        """Weigh the channels, then the places.

        Args:
            features: the plain feature map.

        Returns:
            The weighted map and the map of weights.
        """
        scores = self._channel_scores(features.mean(dim=(2, 3))) + self._channel_scores(features.amax(dim=(2, 3)))
        weighted = features * (2 * torch.sigmoid(scores))[:, :, None, None]
        pooled = torch.cat([weighted.mean(dim=1, keepdim=True), weighted.amax(dim=1, keepdim=True)], dim=1)
        spatial_map = torch.sigmoid(self.spatial(pooled))
        return Attended(weighted * (2 * spatial_map), spatial_map)

    def _channel_scores(self, pooled: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        return self.widen(torch.relu(self.narrow(pooled)))


def spatial_kernel(feature_shape: tuple[int, int, int]) -> Literal[3, 7]:
    """The side of the spatial convolution that suits a map: CBAM's 7, or 3 for a map smaller than that (own choice).

    Args:
        feature_shape: (channels, rows, columns).

    Returns:
        7 for maps of at least 7 cells on each side, else 3.
    """
    return 7 if min(feature_shape[1:]) >= 7 else 3
