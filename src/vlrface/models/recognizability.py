"""Perceptibility regression (PRM): how recognizable a face is, read from the feature map."""

import math
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vlrface.types import VlrfaceError

_STARTING_STD: Final = 0.1
_STARTING_INDEX: Final = 1.0


class PerceptibilityRegression(nn.Module):
    """Feature map → flatten → dropout → fully connected → one number (third-party reading of the paper).

    `ξ̂ = ⟨w, dropout(f)⟩ / sqrt(n) + b` for a map of n values. The division is only how the layer is stored (own
    choice): a map has 25,000 values at 112 pixels, and a plain layer would jump by 25,000 times the learning rate in
    a step; stored so, one learning rate suits every input size.

    Starting point (own choice): b = 1, about where the ratio of proximities lies for an untrained classifier (all
    cosine distances near 1), and w normal with deviation 0.1, so that faces start a little apart.

    Args:
        feature_shape: (channels, rows, columns) of the map.
        dropout: probability of dropping a value of the map, while training. The paper's is not known; own choice.
        gradient: share of the gradient of ξ̂ that reaches the feature map, and so the trunk, in [0, 1]. 1 is the
            poster's joint training; at 0 the module only reads the map. Own choice, because an index that the trunk
            learns to raise may cost it what tells people apart. The value of ξ̂ and the module's own gradient do not
            depend on it.
        seed: of the initial weights.

    Raises:
        VlrfaceError: the share is outside [0, 1].
    """

    def __init__(
        self, feature_shape: tuple[int, int, int], *, dropout: float = 0.4, gradient: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__()
        if not 0.0 <= gradient <= 1.0:
            raise VlrfaceError(f"the share of the index's gradient is {gradient}; it must lie in [0, 1]")
        self.feature_shape = feature_shape
        self.gradient = gradient
        values = math.prod(feature_shape)
        self.dropout = nn.Dropout(dropout)
        # Two dimensions, as a linear layer's: it is a weight to decay, not a scale.
        self.weight = nn.Parameter(torch.empty(1, values))
        self.bias = nn.Parameter(torch.full((1,), _STARTING_INDEX))
        nn.init.normal_(self.weight, std=_STARTING_STD, generator=torch.Generator().manual_seed(seed))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Predict the recognizability index.

        Args:
            features: maps of shape `feature_shape`.

        Returns:
            The predicted index ξ̂, unbounded; larger is easier to recognise.
        """
        if self.gradient < 1.0:
            features = torch.lerp(features.detach(), features, self.gradient)  # the same values
        values = self.dropout(features.flatten(1))
        weight = self.weight / math.sqrt(values.shape[1])
        return nn.functional.linear(values, weight, self.bias).squeeze(1)
