"""Crops → `Faces`, by any network: the only bridge from networks to what measures them. No torch here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from tqdm import tqdm

from vlrface.data.cache import Crops
from vlrface.data.manifest import Manifest
from vlrface.images.decode import DecodeError, DecodeLimits
from vlrface.images.resize import resize
from vlrface.types import Faces, VlrfaceError

SHRINK_SIDE: Final = "shrink_side"
"""Column of `Manifest.truths`: the shorter side, in pixels, to which a picture is shrunk before it is framed."""


@runtime_checkable
class InputSize(Protocol):
    """How large the pictures are that a network takes."""

    @property
    def height(self) -> int:
        """Rows, in pixels."""
        ...

    @property
    def width(self) -> int:
        """Columns, in pixels."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """What turns crops into embeddings: our `Recognizer`, somebody's ONNX model, or any object with these members."""

    @property
    def input(self) -> InputSize:
        """Size of the pictures that `prepare` makes and `embed_crops` takes."""
        ...

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding."""
        ...

    def prepare(self, crop: UInt8[ndarray, "_ _ 3"]) -> UInt8[ndarray, "_ _ 3"]:
        """The input that the network sees of an RGB crop of any size: (height, width, 3)."""
        ...

    def embed_crops(
        self, images: UInt8[ndarray, "n h w 3"], *, batch_size: int = 64, flip: bool = False
    ) -> tuple[Float[ndarray, "n d"], Float[ndarray, " n"]]:
        """Embeddings, not normalised, and recognizability (NaN where the network gives none) of prepared crops.

        A crop's result does not depend on its batch, up to rounding. `flip` adds the un-normalised embedding of the
        mirrored crop, and takes the mean of both recognizabilities.
        """
        ...


@dataclass(frozen=True, eq=False)
class _Loaded:
    images: UInt8[ndarray, "b h w 3"]
    sizes: Int[ndarray, " b"]
    failures: list[str]


def encode(
    encoder: Encoder,
    manifest: Manifest,
    *,
    flip: bool = False,
    batch_size: int = 64,
    limits: DecodeLimits | None = None,
    progress: bool = True,
    meta: Mapping[str, Any] | None = None,
) -> Faces:
    """Decode, frame and encode the pictures of a manifest, in its order.

    Memory holds two batches of pictures: one is decoded while the other is in the network.

    Args:
        encoder: the network; it says how a picture becomes its input.
        manifest: paths, identities and splits; the split becomes the role. A row whose truth `SHRINK_SIDE` is finite is
            shrunk by area, aspect kept, until its shorter side has so many pixels; a picture that is no larger stays.
            `Faces.sizes` then says the side after shrinking.
        flip: add the un-normalised embedding of the mirrored crop (flip fusion), average the two indices.
        batch_size: crops per call of the network; does not change the result beyond rounding.
        limits: what may be decoded.
        progress: show a progress bar.
        meta: JSON values kept in the result, beside "flip".

    Returns:
        One row per manifest row. A picture that cannot be decoded has NaN values and its reason in `failures`.

    Raises:
        VlrfaceError: a `SHRINK_SIDE` below 1 or not whole, or the network cannot be run.
    """
    checked = limits or DecodeLimits()
    sides = _shrink_sides(manifest)

    def load(rows: ndarray) -> _Loaded:
        return _decoded(encoder, manifest, rows, sides, checked)

    return _encoded(encoder, manifest, load, flip, batch_size, progress, meta)


def encode_crops(
    encoder: Encoder,
    crops: Crops,
    manifest: Manifest,
    *,
    flip: bool = False,
    batch_size: int = 64,
    progress: bool = False,
    meta: Mapping[str, Any] | None = None,
) -> Faces:
    """The same for crops that are decoded already, for example by the training cache."""
    sides = _shrink_sides(manifest)

    def load(rows: ndarray) -> _Loaded:
        images = np.zeros((len(rows), encoder.input.height, encoder.input.width, 3), np.uint8)
        failures = [str(reason) for reason in crops.failures[rows]]
        for position, row in enumerate(rows):
            if not failures[position]:
                images[position] = encoder.prepare(shrunk(crops[row], float(sides[row])))
        # A failure has size 0 and keeps it.
        return _Loaded(images, np.fmin(crops.sizes[rows].min(axis=1), sides[rows]).astype(np.int32), failures)

    return _encoded(encoder, manifest, load, flip, batch_size, progress, meta)


def _encoded(
    encoder: Encoder,
    manifest: Manifest,
    load: Callable[[ndarray], _Loaded],
    flip: bool,
    batch_size: int,
    progress: bool,
    meta: Mapping[str, Any] | None,
) -> Faces:
    """Load the rows of a manifest batch by batch, and encode them."""
    order = np.arange(len(manifest))
    if batch_size < 1:
        raise VlrfaceError(f"batches of {batch_size} crops: give a whole number from 1")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    parts: list[tuple[ndarray, ndarray]] = []
    sizes: list[ndarray] = []
    failures: list[str] = []
    with tqdm(total=len(manifest), unit="img", desc="encode", disable=not progress) as bar:
        for each in _ahead(load, batches):
            parts.append(_embed(encoder, each.images, np.array(each.failures) == "", flip))
            sizes.append(each.sizes)
            failures += each.failures
            bar.update(len(each.sizes))
    return Faces(
        embeddings=np.concatenate([p[0] for p in parts]),
        recognizability=np.concatenate([p[1] for p in parts]),
        identities=manifest.identities.astype(np.int64),
        roles=manifest.splits.astype(np.str_),
        names=np.asarray(manifest.sources, np.str_),
        sizes=np.concatenate(sizes),
        failures=np.array(failures, np.str_),
        meta={**(meta or {}), "flip": flip},
    )


def _ahead(load: Callable[[ndarray], _Loaded], batches: Sequence[ndarray]) -> Iterator[_Loaded]:
    """Load each batch while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = None
        for rows in batches:
            following = pool.submit(load, rows)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()


def _shrink_sides(manifest: Manifest) -> Float[ndarray, " n"]:
    """To which shorter side each row's picture is shrunk; NaN for a row that stays as it is."""
    sides = np.asarray(manifest.truths.get(SHRINK_SIDE, np.full(len(manifest), np.nan)), np.float64)
    bad = ~np.isnan(sides) & ~((sides >= 1) & (sides < 2**31) & (sides == np.floor(sides)))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise VlrfaceError(
            f"{manifest.shown(row)}: {SHRINK_SIDE} is {sides[row]}: give a whole number of pixels from 1, or NaN"
        )
    return sides


def shrunk(picture: UInt8[ndarray, "_ _ 3"], side: float) -> UInt8[ndarray, "_ _ 3"]:
    """The picture with a shorter side of at most `side`, by area; as it is for NaN, or if it is no larger."""
    shorter = min(picture.shape[:2])
    if not side < shorter:
        return picture
    height, width = (round(length * side / shorter) for length in picture.shape[:2])
    return resize(picture, height, width)


def _decoded(
    encoder: Encoder,
    manifest: Manifest,
    rows: Int[ndarray, " b"],
    sides: Float[ndarray, " n"],
    limits: DecodeLimits,
) -> _Loaded:
    images = np.zeros((len(rows), encoder.input.height, encoder.input.width, 3), np.uint8)
    sizes = np.zeros(len(rows), np.int32)
    failures: list[str] = []
    for position, row in enumerate(rows):
        try:
            picture = manifest.picture(int(row), limits)
        except DecodeError as error:
            failures.append(str(error))
            continue
        picture = shrunk(picture, float(sides[row]))
        sizes[position] = min(picture.shape[:2])
        images[position] = encoder.prepare(picture)
        failures.append("")
    return _Loaded(images, sizes, failures)


def _embed(
    encoder: Encoder, images: UInt8[ndarray, "b h w 3"], good: ndarray, flip: bool
) -> tuple[Float[ndarray, "b d"], Float[ndarray, " b"]]:
    """Embeddings and indices of a batch; NaN where `good` is false."""
    embeddings = np.full((len(images), encoder.embedding_dim), np.nan, np.float32)
    indices = np.full(len(images), np.nan, np.float32)
    if good.any():
        embeddings[good], indices[good] = encoder.embed_crops(
            np.ascontiguousarray(images[good]), batch_size=len(images), flip=flip
        )
    return embeddings, indices
