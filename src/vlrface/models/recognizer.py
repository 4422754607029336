"""The whole network: crops in, embedding and recognizability index out."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray
from torch import Tensor, nn

from vlrface.images.framing import Framing, Jitter, frame
from vlrface.models.attention import PerceptibilityAttention
from vlrface.models.backbone import Backbone, InputSpec
from vlrface.models.recognizability import PerceptibilityRegression
from vlrface.types import UNKNOWN_IDENTITY, Faces, VlrfaceError

CROP_ROLE: Final = "crop"
"""Role of the rows of `Recognizer.faces`."""

Serve = Literal["plain", "attended", "fused"]
"""Which embedding is used at inference: v, v_attn, or the sum of both at unit norm; see `Recognizer.served`."""


class Output(NamedTuple):
    """What the network says about a batch; float32, embeddings not normalised.

    Attributes:
        embedding: of the plain feature map, v.
        attended: of the attended feature map, v_attn; NaN for a network without attention.
        recognizability: predicted index ξ̂, unbounded, larger is easier; NaN for a network that predicts none.
        attention: spatial attention in (0, 1), one value per cell of the feature map; NaN without attention.
    """

    embedding: Float32[Tensor, "b d"]
    attended: Float32[Tensor, "b d"]
    recognizability: Float32[Tensor, " b"]
    attention: Float32[Tensor, "b 1 fh fw"]


class Recognizer(nn.Module):
    """A backbone with the heads of the method: crop → embedding and recognizability index.

    Normalisation is inside, so the same bytes give the same embedding wherever the network runs. The trunk (all up to
    the feature map) follows the caller's autocast; everything after it is computed in float32.

    A head that is None costs nothing: plain ArcFace has neither.

    Args:
        backbone: trunk and embedding layer; its `input` says what crops are taken.
        regression: predicts the recognizability index.
        attention: weighs the feature map for a second embedding by the same embedding layer.
        serve: which embedding is used at inference: "plain" v, "attended" v_attn, or "fused" v̂ + v̂_attn.
        framing: which window of a crop the network sees; None stretches the whole crop to the input.
        frozen_steps: how many of the backbone's first steps are frozen: without gradient, and in evaluation mode
            always. What they make of a crop (`stem_maps`) may then be kept, and given in its place. All of them may be:
            the embedding layer and the heads go on learning.
        frozen_norms: whether the backbone's batch norms keep the statistics that they have, and normalise by them in
            training, too. Their scales and shifts go on learning.

    Raises:
        VlrfaceError: a head was made for another feature map, "attended" or "fused" is served without attention, or the
            backbone has not as many steps.
    """

    def __init__(
        self,
        backbone: Backbone,
        regression: PerceptibilityRegression | None = None,
        attention: PerceptibilityAttention | None = None,
        *,
        serve: Serve = "plain",
        framing: Framing | None = None,
        frozen_steps: int = 0,
        frozen_norms: bool = False,
    ) -> None:
        super().__init__()
        shape = backbone.feature_shape
        if regression is not None and regression.feature_shape != shape:
            raise VlrfaceError(f"the regression takes maps of {regression.feature_shape}, the backbone gives {shape}")
        if attention is not None and attention.channels != shape[0]:
            raise VlrfaceError(f"the attention takes {attention.channels} channels, the backbone gives {shape[0]}")
        if serve != "plain" and attention is None:
            raise VlrfaceError(f'serve="{serve}" needs an attention module: give one, or serve "plain"')
        self.backbone = backbone
        self.regression = regression
        self.attention = attention
        self.serve: Serve = serve
        self.framing = framing or Framing()
        steps = backbone.steps()
        if not 0 <= frozen_steps <= len(steps):
            raise VlrfaceError(f"frozen_steps is {frozen_steps}; {type(backbone).__name__} has {len(steps)} steps")
        self.frozen_steps = frozen_steps
        self.frozen_norms = frozen_norms
        for step in steps[:frozen_steps]:
            step.requires_grad_(False)
        self._keep_frozen()
        # The faster layout for convolutions, on CPU and GPU. (Torch's annotations do not know this call.)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @property
    def input(self) -> InputSpec:
        """Size and normalisation of the input."""
        return self.backbone.input

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding."""
        return self.backbone.embedding_dim

    def prepare(self, crop: UInt8[ndarray, "_ _ 3"], jitter: Jitter | None = None) -> UInt8[ndarray, "_ _ 3"]:
        """The input that the network sees of an RGB crop of any size: (height, width, 3); by a moved window, if any."""
        return frame(crop, self.framing, self.input.height, self.input.width, jitter)

    def train(self, mode: bool = True) -> "Recognizer":
        """Training or evaluation mode, in which frozen steps and norms stay."""
        super().train(mode)
        self._keep_frozen()
        return self

    def _keep_frozen(self) -> None:
        for step in self.backbone.steps()[: self.frozen_steps]:
            step.eval()
        if self.frozen_norms:
            for layer in self.backbone.modules():
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                    layer.eval()

    def forward(self, crops: UInt8[Tensor, "b h w 3"] | Float[Tensor, "b mh mw c"]) -> Output:
        """Everything the network says about a batch of crops.

        Args:
            crops: RGB pixels of the input's size, as the data gives them; or, of a network with frozen steps, what
                `stem_maps` made of them.

        Returns:
            Embeddings, recognizability and attention.

        Raises:
            VlrfaceError: the crops are no uint8 pixels of the input's size.
        """
        return self.heads(self.features(crops))

    def features(self, crops: UInt8[Tensor, "b h w 3"] | Float[Tensor, "b mh mw c"]) -> Float32[Tensor, "b d fh fw"]:
        """What the trunk makes of a batch of crops, or of what `stem_maps` made of them.

        Raises:
            VlrfaceError: see `forward`.
        """
        maps = crops if self.frozen_steps and crops.is_floating_point() else self.stem_maps(crops)
        # Kept maps are float16; computed is in float32 or the caller's autocast.
        return self.backbone.feature_map(maps.permute(0, 3, 1, 2).float(), first=self.frozen_steps).float()

    def heads(self, features: Float32[Tensor, "b c fh fw"]) -> Output:
        """What the network says about a batch of feature maps, computed in float32 under any autocast."""
        with torch.autocast(features.device.type, enabled=False):
            return self._heads(features)

    def stem_maps(self, crops: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b mh mw c"]:
        """What the frozen steps make of crops, channels last; with none frozen, the normalised pixels.

        Raises:
            VlrfaceError: the crops are no uint8 pixels of the input's size.
        """
        spec = self.backbone.input
        if crops.dtype != torch.uint8 or tuple(crops.shape[1:]) != (spec.height, spec.width, 3):
            raise VlrfaceError(
                f"crops are {crops.dtype} of shape {tuple(crops.shape)}, the network takes "
                f"uint8 of (n, {spec.height}, {spec.width}, 3): make them with Recognizer.prepare"
            )
        return self.backbone.feature_map(spec.normalised(crops), last=self.frozen_steps).permute(0, 2, 3, 1)

    def _heads(self, features: Float32[Tensor, "b c fh fw"]) -> Output:
        count = features.shape[0]  # not len, which would fix the batch of an exported graph
        undefined = features.new_full((), torch.nan)
        if self.attention is None:
            embedding = self.backbone.embed(features)
            attended = undefined.expand_as(embedding)
            attention = undefined.expand(count, 1, *features.shape[2:])
        else:
            weighted, attention = self.attention(features)
            both = self.backbone.embed(torch.cat([features, weighted]), measured=count if self.training else None)
            embedding, attended = both[:count], both[count:]
        recognizability = undefined.expand(count) if self.regression is None else self.regression(features)
        return Output(embedding, attended, recognizability, attention)

    def served(self, output: Output) -> Float32[Tensor, "b d"]:
        """The embedding that inference uses, as `serve` says.

        "fused" is v̂ + v̂_attn (own choice): each at unit norm, so that neither outweighs the other, and both are right
        where one of them errs. Its norm, in [0, 2], says how far the two agree.
        """
        if self.serve == "fused":
            normalize = torch.nn.functional.normalize
            return normalize(output.embedding, dim=1) + normalize(output.attended, dim=1)
        return output.attended if self.serve == "attended" else output.embedding

    def embed_crops(
        self, images: UInt8[ndarray, "n h w 3"], *, batch_size: int = 64, flip: bool = False
    ) -> tuple[Float32[ndarray, "n d"], Float32[ndarray, " n"]]:
        """Served embeddings and recognizability of crops of the input's size.

        Runs in evaluation mode without gradients, and leaves the mode as it was. A crop's result does not depend on
        its batch (up to float32 rounding).

        Args:
            images: RGB pixels of the input's size; may be memory-mapped, a batch is read at a time.
            batch_size: crops per forward pass.
            flip: flip fusion: the sum of the un-normalised embeddings of a crop and its mirror image, and the mean of
                both indices. Twice the time.

        Returns:
            The embeddings, not normalised, and the predicted indices (NaN without a regression).

        Raises:
            VlrfaceError: the images have not the input's size.
        """
        embeddings = np.empty((len(images), self.backbone.embedding_dim), np.float32)
        recognizability = np.empty(len(images), np.float32)
        device = next(self.parameters()).device
        with self._evaluating(), torch.inference_mode():
            for start in range(0, len(images), batch_size):
                rows = slice(start, start + batch_size)
                # A copy, because a memory-mapped array is read-only and a tensor is not.
                crops = torch.from_numpy(np.array(images[rows])).to(device)
                embedding, index = self._served_and_index(crops)
                if flip:
                    mirrored, mirrored_index = self._served_and_index(crops.flip(2))
                    embedding, index = embedding + mirrored, (index + mirrored_index) / 2
                embeddings[rows] = embedding.cpu().numpy()
                recognizability[rows] = index.cpu().numpy()
        return embeddings, recognizability

    def attention_maps(self, images: UInt8[ndarray, "n h w 3"]) -> Float32[ndarray, "n fh fw"] | None:
        """Where the network looks, in (0, 1), on crops of the input's size; None if it has no attention."""
        if self.attention is None:
            return None
        device = next(self.parameters()).device
        with self._evaluating(), torch.inference_mode():
            output: Output = self(torch.from_numpy(np.array(images)).to(device))
        return output.attention[:, 0].float().cpu().numpy()

    def faces(
        self,
        crops: Sequence[ndarray],
        *,
        names: Sequence[str] | None = None,
        batch_size: int = 64,
        flip: bool = False,
    ) -> Faces:
        """Encode crops of any size.

        Args:
            crops: RGB uint8, each (h, w, 3) of its own size; framed by `prepare`.
            names: of the crops, all different; None for "0", "1", ...
            batch_size: crops per forward pass.
            flip: flip fusion, see `embed_crops`.

        Returns:
            One row per crop, in order, with role "crop" and unknown identity.

        Raises:
            VlrfaceError: a crop is no uint8 image of shape (h, w, 3), or the names do not fit.
        """
        count = len(crops)
        names = [str(i) for i in range(count)] if names is None else names
        if len(names) != count:
            raise VlrfaceError(f"{len(names)} names were given for {count} crops")
        for name, crop in zip(names, crops, strict=True):
            if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3 or crop.size == 0:
                raise VlrfaceError(
                    f"crop {name}: {crop.dtype} of shape {crop.shape}, but RGB uint8 (h, w, 3) is needed"
                )
        spec = self.backbone.input
        embeddings = np.empty((count, self.backbone.embedding_dim), np.float32)
        recognizability = np.empty(count, np.float32)
        for start in range(0, count, batch_size):
            rows = slice(start, start + batch_size)
            images = np.stack([self.prepare(crop) for crop in crops[rows]])
            embeddings[rows], recognizability[rows] = self.embed_crops(images, batch_size=batch_size, flip=flip)
        return Faces(
            embeddings=embeddings,
            recognizability=recognizability,
            identities=np.full(count, UNKNOWN_IDENTITY, np.int64),
            roles=np.full(count, CROP_ROLE),
            names=np.array(names, dtype=np.str_),
            sizes=np.array([min(crop.shape[:2]) for crop in crops], np.int32),
            failures=np.full(count, ""),
            meta={
                "network": type(self.backbone).__name__,
                "input": [spec.height, spec.width],
                "framing": asdict(self.framing),
                "serve": self.serve,
                "flip": flip,
            },
        )

    def _served_and_index(self, crops: UInt8[Tensor, "b h w 3"]) -> tuple[Tensor, Tensor]:
        output: Output = self(crops)
        return self.served(output), output.recognizability

    @contextmanager
    def _evaluating(self) -> Generator[None]:
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)
