"""Several looks at a crop: windows moved a little, embedded one by one, and averaged.

Small faces are cut loosely, so the window that shows a face best is not known. The mean over a few windows is nearer to
the person than any one of them; docs/study.md has what it is worth.
"""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from vlrface.encode.faces import Encoder
from vlrface.images.framing import Jitter

Views = Literal[1, 5]
"""How many windows of a crop are seen: its own, or that and four moved ones."""

SHIFT: Final = 0.05
"""How far a window is moved, in widths (heights) of the crop."""

WINDOWS: Final = (
    Jitter(),
    *(Jitter(shift_x=x, shift_y=y) for x, y in ((SHIFT, 0.0), (-SHIFT, 0.0), (0.0, SHIFT), (0.0, -SHIFT))),
)
"""The first is the crop's own. Chosen on held-out people, among windows moved, zoomed and turned."""


class MovableEncoder(Encoder, Protocol):
    """An encoder whose window can be moved: `Recognizer`, `OnnxEncoder`."""

    def prepare(self, crop: UInt8[ndarray, "_ _ 3"], jitter: Jitter | None = None) -> UInt8[ndarray, "_ _ 3"]:
        """The input that the network sees of a crop, through a window that deviates from its own."""
        ...

    def attention_maps(self, images: UInt8[ndarray, "n h w 3"]) -> Float32[ndarray, "n fh fw"] | None:
        """Where the network looks; None if it does not say."""
        ...


@dataclass(frozen=True)
class StackSize:
    """Size of what several views are together: one below the other.

    Attributes:
        height: rows, in pixels.
        width: columns, in pixels.
    """

    height: int
    width: int


class SeveralViews:
    """An encoder that sees each crop through all `WINDOWS`: embeddings (not normalised) and indices are averaged.

    It costs as many passes of the network as there are windows.

    Args:
        encoder: sees one window at a time.
    """

    def __init__(self, encoder: MovableEncoder) -> None:
        self.encoder = encoder

    @property
    def input(self) -> StackSize:
        """Size of what `prepare` makes: the views of a crop, one below the other."""
        return StackSize(len(WINDOWS) * self.encoder.input.height, self.encoder.input.width)

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding."""
        return self.encoder.embedding_dim

    def prepare(self, crop: UInt8[ndarray, "_ _ 3"]) -> UInt8[ndarray, "_ _ 3"]:
        """All views of an RGB crop of any size, one below the other."""
        return np.concatenate([self.encoder.prepare(crop, window) for window in WINDOWS])

    def embed_crops(
        self, images: UInt8[ndarray, "n h w 3"], *, batch_size: int = 64, flip: bool = False
    ) -> tuple[Float[ndarray, "n d"], Float[ndarray, " n"]]:
        """Means over the views of prepared crops: embeddings, not normalised, and recognizability."""
        count = len(images), len(WINDOWS)
        views = images.reshape(count[0] * count[1], self.encoder.input.height, *images.shape[2:])
        embeddings, index = self.encoder.embed_crops(views, batch_size=batch_size, flip=flip)
        return embeddings.reshape(*count, self.embedding_dim).mean(axis=1), index.reshape(count).mean(axis=1)

    def attention_maps(self, images: UInt8[ndarray, "n h w 3"]) -> Float32[ndarray, "n fh fw"] | None:
        """Where the network looks in the crop's own window; None if it does not say."""
        return self.encoder.attention_maps(images[:, : self.encoder.input.height])


def space_of_views(space: str, views: Views) -> str:
    """The name of the space of embeddings that are means over so many views."""
    return space if views == 1 else f"{space}+views{views}"
