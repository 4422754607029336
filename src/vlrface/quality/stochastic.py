"""SER-FIQ: a face whose embedding hardly moves under dropout is a good one.

Terhörst, Kolf, Damer, Kirchbuchner, Kuijper, *SER-FIQ: Unsupervised Estimation of Face Image Quality Based on
Stochastic Embedding Robustness*, CVPR 2020; the variant that takes the recognition network itself ("same model").
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray
from torch import Tensor

from vlrface.models.recognizer import Recognizer
from vlrface.types import VlrfaceError

_BYTES_AT_ONCE = 16 * 2**20  # about what stays in a processor's cache: three times as fast as 64 MiB


class SerFiq:
    """Quality of crops, `2·sigmoid(-mean distance)` over stochastic embeddings; the same crop always gets the same.

    Dropout falls on the last feature map, the input of the embedding layer. In both backbones everything after the map
    is one affine map in evaluation mode (a fully connected layer and a norm; for MobileFaceNet its global depthwise
    convolution too), so the map is the input of the last layer, where the paper puts its dropout. A network that
    serves attended embeddings drops values of the attended map. The trunk runs once for each crop.

    Every crop meets the same drawn masks (own choice). Its quality then depends on neither order nor batch nor
    neighbours, and two crops are compared under the same draws; the authors draw anew for each, so that theirs differs
    from run to run.

    Published scores crowd together, as 0.86 to 0.90: for short distances 2·sigmoid(-d) is nearly the line 1 - d/2, and
    those two numbers are mean distances of 0.28 and 0.20. The authors' code now stretches its result about 0.88 by a
    second sigmoid, and a rewrite of theirs multiplies the distance. Here the paper's formula stays: a comparison uses
    nothing but the order of faces, which no stretching changes.

    Args:
        recognizer: the matcher.
        passes: stochastic embeddings of each crop, at least 2. The authors' default is 100.
        dropout: probability of dropping a value, in (0, 1). The authors' is 0.5.
        seed: of the masks.
        batch_size: crops per call of the trunk.

    Raises:
        VlrfaceError: fewer than 2 passes, or a dropout outside (0, 1).
    """

    def __init__(
        self, recognizer: Recognizer, *, passes: int = 100, dropout: float = 0.5, seed: int = 0, batch_size: int = 64
    ) -> None:
        if passes < 2 or not 0 < dropout < 1:
            raise VlrfaceError(
                f"SER-FIQ compares at least 2 passes under a dropout in (0, 1), not {passes} under {dropout}"
            )
        self.recognizer = recognizer
        self.dropout = dropout
        self.batch_size = batch_size
        shape = (passes, *recognizer.backbone.feature_shape)
        self.kept: Bool[ndarray, "t c fh fw"] = np.random.default_rng(seed).random(shape, np.float32) >= dropout

    def __call__(self, pictures: Sequence[UInt8[ndarray, "_ _ 3"]]) -> Float[ndarray, " n"]:
        """Quality of crops of any size, in (0, 1], larger is better."""
        quality = np.empty(len(pictures))
        for start in range(0, len(pictures), self.batch_size):
            part = slice(start, start + self.batch_size)
            images = np.stack([self.recognizer.prepare(picture) for picture in pictures[part]])
            quality[part] = self.of_inputs(images)
        return quality

    def of_inputs(self, images: UInt8[ndarray, "n h w 3"]) -> Float[ndarray, " n"]:
        """Quality of crops that are prepared already: (n, height, width, 3) of the network's input."""
        recognizer = self.recognizer
        was_training = recognizer.training
        recognizer.eval()
        try:
            with torch.inference_mode():
                return self._of_maps(served_maps(recognizer, images))
        finally:
            recognizer.train(was_training)

    def _of_maps(self, maps: Float32[Tensor, "n c fh fw"]) -> Float[ndarray, " n"]:
        # Survivors are enlarged as dropout does, so that the expected map is the map.
        masks = torch.from_numpy(self.kept).to(maps.device, torch.float32) / (1 - self.dropout)
        # As the maps lie in memory: a product of two layouts takes six times as long.
        masks = masks.contiguous(memory_format=torch.channels_last)
        step = max(1, _BYTES_AT_ONCE // (4 * masks.numel()))
        quality = np.empty(len(maps))
        for start in range(0, len(maps), step):
            stochastic = stochastic_embeddings(self.recognizer, maps[start : start + step], masks)
            quality[start : start + step] = robustness(stochastic).cpu().numpy()
        return quality


def served_maps(recognizer: Recognizer, images: UInt8[ndarray, "n h w 3"]) -> Float32[Tensor, "n c fh fw"]:
    """The feature maps whose embedding the network serves: plain, or attended; plain where it serves both fused."""
    crops = torch.from_numpy(np.array(images)).to(next(recognizer.parameters()).device)
    maps = recognizer.backbone.feature_map(recognizer.input.normalised(crops)).float()
    if recognizer.serve == "attended" and recognizer.attention is not None:
        maps = recognizer.attention(maps)[0]
    return maps


def stochastic_embeddings(
    recognizer: Recognizer, maps: Float32[Tensor, "n c fh fw"], masks: Float32[Tensor, "t c fh fw"]
) -> Float[Tensor, "n t d"]:
    """The embedding of every map under every mask, not normalised.

    Args:
        recognizer: in evaluation mode.
        maps: as `served_maps` gives them.
        masks: 0 where a value is dropped, else what it is multiplied by.
    """

    def embeddings(maps: Tensor) -> Tensor:
        masked = (maps[:, None] * masks).flatten(0, 1)
        return recognizer.backbone.embed(masked).unflatten(0, (len(maps), len(masks)))

    if recognizer.serve == "fused" and recognizer.attention is not None:
        plain, attended = embeddings(maps), embeddings(recognizer.attention(maps)[0])  # the same values are dropped
        return torch.nn.functional.normalize(plain, dim=2) + torch.nn.functional.normalize(attended, dim=2)
    return embeddings(maps)


def robustness(embeddings: Float[Tensor, "n t d"]) -> Float[Tensor, " n"]:
    """2·sigmoid(-d), d the mean Euclidean distance between the normalised embeddings of a face.

    Args:
        embeddings: t ≥ 2 of each face, of any length.

    Returns:
        (n,) in (0, 1] in float64; 1 if all of a face have one direction. d is at most 2, so that 0.24 is the least.
    """
    unit = torch.nn.functional.normalize(embeddings.double(), dim=2)
    first, second = torch.triu_indices(unit.shape[1], unit.shape[1], offset=1, device=unit.device)
    cosine = (unit @ unit.transpose(1, 2))[:, first, second]
    distance = (2 - 2 * cosine).clamp(min=0).sqrt().mean(dim=1)
    return 2 * torch.sigmoid(-distance)
