"""What a page may show beside a `Report`: faces, embeddings, attention maps, scored files. Numpy only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from vlrface.types import VlrfaceError

VERDICTS: Final[tuple[str, ...]] = ("recognizable", "doubtful", "unrecognizable")
"""What a score means for a person, from easy to hard."""

Images = Sequence[UInt8[ndarray, "_ _ 3"]] | UInt8[ndarray, "_ _ _ 3"]
"""RGB crops of any sizes, or one array of crops of one size (a memory map will do: only what is shown is read)."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Faces for the histogram of the recognizability index.

    Attributes:
        crops: n crops, or an empty sequence for a histogram without faces. Only the crops that are shown are read.
        recognizability: (n,) predicted index; NaN for a face that could not be encoded, which is counted, not drawn.
        names: n names, shown when the pointer rests on a face.
        reject_share: share of the faces that a rejection line leaves out, in (0, 1). Own choice: the lowest 30 %.
        unrecognizable: mean and standard deviation of the index of the unrecognizable identities, drawn as a band.

    Raises:
        VlrfaceError: the lengths differ, or `reject_share` is no share.
    """

    crops: Images
    recognizability: Float[ndarray, " n"]
    names: Sequence[str]
    reject_share: float = 0.3
    unrecognizable: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        n = len(self.recognizability)
        if len(self.crops) not in (0, n) or len(self.names) != n:
            raise VlrfaceError(
                f"Pictures: {n} recognizability values, {len(self.crops)} crops, {len(self.names)} names; "
                "give one of each for every face (crops may be empty)"
            )
        if not 0.0 < self.reject_share < 1.0:
            raise VlrfaceError(f"Pictures.reject_share is {self.reject_share}; give a share between 0 and 1, as 0.3")


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """Embeddings for a flat map; see `vlrface.report.flat_map`.

    Attributes:
        embeddings: (n, d), normalised or not; a row with NaN is left out.
        recognizability: (n,) index that colours the points; a row with NaN is left out.
        unrecognizable: (m, d) embeddings of the unrecognizable identities; m may be 0.
        center: (d,) centre of the unrecognizable identities, or None.

    Raises:
        VlrfaceError: lengths or dimensions differ.
    """

    embeddings: Float[ndarray, "n d"]
    recognizability: Float[ndarray, " n"]
    unrecognizable: Float[ndarray, "m d"]
    center: Float[ndarray, " d"] | None = None

    def __post_init__(self) -> None:
        dimensions = {self.embeddings.shape[1], self.unrecognizable.shape[1]}
        dimensions |= set() if self.center is None else {len(self.center)}
        if len(self.recognizability) != len(self.embeddings) or len(dimensions) > 1:
            raise VlrfaceError(
                f"EmbeddingMap: {len(self.embeddings)} embeddings, {len(self.recognizability)} recognizability values, "
                f"dimensions {sorted(dimensions)}; give one value for each embedding, and one dimension"
            )


@dataclass(frozen=True, eq=False)
class Attention:
    """Faces and the attention of the network on each.

    Attributes:
        faces: n crops of any sizes.
        maps: (n, h, w) attention in [0, 1], any resolution: h w need not be that of the crops.
        captions: n short texts under the faces, or empty.

    Raises:
        VlrfaceError: the lengths differ, or a map holds NaN or leaves [0, 1].
    """

    faces: Images
    maps: Float[ndarray, "n h w"]
    captions: Sequence[str] = ()

    def __post_init__(self) -> None:
        n = len(self.maps)
        if len(self.faces) != n or len(self.captions) not in (0, n):
            raise VlrfaceError(f"Attention: {n} maps, {len(self.faces)} faces, {len(self.captions)} captions")
        if n and not (np.min(self.maps) >= 0.0 and np.max(self.maps) <= 1.0):
            raise VlrfaceError("Attention.maps must lie in [0, 1] without NaN: give the sigmoid of the attention")


@dataclass(frozen=True, eq=False)
class Illustrations:
    """What is at hand to be shown beside the numbers; None for what is not."""

    pictures: Pictures | None = None
    embedding_map: EmbeddingMap | None = None
    attention: Attention | None = None


@dataclass(frozen=True, eq=False)
class ScoredFace:
    """One row of a score page.

    Attributes:
        path: the file, shown as given.
        recognizability: raw index, unbounded, larger is easier.
        score: calibrated score in [0, 1].
        verdict: what the score means, one of `VERDICTS`.
        thumbnail: the crop or a smaller copy; shrunk to 64 pixels for the page. None shows an empty box.
        reason: why this verdict, in a few words, or "".

    Raises:
        VlrfaceError: the verdict is none of `VERDICTS`.
    """

    path: Path
    recognizability: float
    score: float
    verdict: str
    thumbnail: UInt8[ndarray, "_ _ 3"] | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise VlrfaceError(f"{self.path}: verdict {self.verdict!r}; give one of {', '.join(VERDICTS)}")


Projection = Literal["pca", "tsne"]
"""How the embeddings of a searched pool are laid flat."""


@dataclass(frozen=True, eq=False)
class SearchedPool:
    """What a page shows beside a discovery among n faces.

    Attributes:
        embeddings: (n, d) of the pool.
        destroyed: (m, d) of destroyed pictures.
        names: (n,) str.
        sizes: (n,) shorter side in pixels.
        picture: opens the picture of a row; None where they are not at hand.

    Raises:
        VlrfaceError: the lengths differ.
    """

    embeddings: Float[ndarray, "n d"]
    destroyed: Float[ndarray, "m d"]
    names: ndarray
    sizes: Int[ndarray, " n"]
    picture: Callable[[int], UInt8[ndarray, "_ _ 3"]] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.embeddings), len(self.names), len(self.sizes)}
        if len(lengths) != 1:
            raise VlrfaceError(f"a searched pool has columns of {sorted(lengths)} rows: give all the same length")
