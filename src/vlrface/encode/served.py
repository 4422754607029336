"""What answers: a model with all that is known of it, and what it sees of crops. Numpy only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from vlrface.encode.faces import Encoder
from vlrface.metrics.calibration import Calibration
from vlrface.metrics.cosine import unit_rows
from vlrface.types import VlrfaceError


@dataclass(frozen=True, eq=False)
class Looks:
    """What a model sees of n crops, in their order.

    Attributes:
        embeddings: (n, d) of unit length.
        norms: (n,) their lengths before.
        recognizability: (n,) raw index; NaN where the model gives none.
        scores: (n,) calibrated, in [0, 1]; NaN without calibration or index.
        verdicts: (n,) str, see `Calibration.verdict`; "" without calibration.
    """

    embeddings: Float32[ndarray, "n d"]
    norms: Float32[ndarray, " n"]
    recognizability: Float32[ndarray, " n"]
    scores: Float[ndarray, " n"]
    verdicts: ndarray


@dataclass(frozen=True, eq=False)
class ServedModel:
    """An encoder with what it needs to answer. Made by `experiment.served.load_served`.

    Attributes:
        encoder: crops to embeddings.
        name: for people.
        space: which embeddings may be compared: those of equal `space`.
        calibration: what the index means; None where nobody knows.
        flip: whether a crop and its mirror image are seen together.
        meta: JSON values for `Faces.meta`.
    """

    encoder: Encoder
    name: str
    space: str
    calibration: Calibration | None
    flip: bool
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def look(self, crops: Sequence[UInt8[ndarray, "_ _ 3"]], batch_size: int = 64) -> Looks:
        """See crops of any size, RGB.

        Raises:
            VlrfaceError: the network fails, or gives an embedding of length 0.
        """
        size = (self.encoder.input.height, self.encoder.input.width, 3)
        framed = [self.encoder.prepare(crop) for crop in crops]
        return self.look_framed(np.stack(framed) if framed else np.empty((0, *size), np.uint8), batch_size)

    def look_framed(self, images: UInt8[ndarray, "n h w 3"], batch_size: int = 64) -> Looks:
        """See what `encoder.prepare` made of crops.

        Raises:
            VlrfaceError: the network fails, or gives an embedding that is not finite or of length 0.
        """
        embeddings, index = self.encoder.embed_crops(images, batch_size=batch_size, flip=self.flip)
        broken = int(np.count_nonzero(~np.isfinite(embeddings).all(axis=1)))
        if broken:
            raise VlrfaceError(
                f"{self.name}: gave NaN or infinity for {broken} of {len(images)} faces. Take another checkpoint, or "
                "export the model in float32"
            )
        scores, verdicts = np.full(len(images), np.nan), np.full(len(images), "")
        if self.calibration is not None:
            scores, verdicts = self.calibration.score(index), self.calibration.verdict(index)
        return Looks(
            embeddings=unit_rows(embeddings).unit,
            norms=np.linalg.norm(embeddings, axis=1).astype(np.float32),
            recognizability=index.astype(np.float32),
            scores=scores,
            verdicts=verdicts,
        )

    def attention(self, crops: Sequence[UInt8[ndarray, "_ _ 3"]]) -> Float32[ndarray, "n fh fw"] | None:
        """Where the network looks: one map per crop; None where the encoder has no `attention`."""
        look = getattr(self.encoder, "attention_maps", None)
        return None if look is None or not crops else look(np.stack([self.encoder.prepare(crop) for crop in crops]))
