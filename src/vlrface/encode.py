"""Crops → `Faces`: the only bridge from the network to numpy."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from tqdm import tqdm

from vlrface.data.cache import Crops
from vlrface.data.manifest import Manifest
from vlrface.images.decode import DecodeError, DecodeLimits
from vlrface.models.recognizer import Recognizer
from vlrface.types import Faces


@dataclass(frozen=True, eq=False)
class _Loaded:
    images: UInt8[ndarray, "b h w 3"]
    sizes: Int[ndarray, " b"]
    failures: list[str]


def encode(
    recognizer: Recognizer,
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
        recognizer: the network; it says how a picture becomes its input.
        manifest: paths, identities and splits; the split becomes the role.
        flip: add the un-normalised embedding of the mirrored crop (flip fusion), average the two indices.
        batch_size: crops per call of the network; does not change the result beyond rounding.
        limits: what may be decoded.
        progress: show a progress bar.
        meta: JSON values kept in the result, beside "flip".

    Returns:
        One row per manifest row. A picture that cannot be decoded has NaN values and its reason in `failures`.
    """
    checked = limits or DecodeLimits()

    def load(rows: ndarray) -> _Loaded:
        return _decoded(recognizer, manifest, rows, checked)

    return _encoded(recognizer, manifest, load, flip, batch_size, progress, meta)


def encode_crops(
    recognizer: Recognizer,
    crops: Crops,
    manifest: Manifest,
    *,
    flip: bool = False,
    batch_size: int = 64,
    progress: bool = False,
    meta: Mapping[str, Any] | None = None,
) -> Faces:
    """The same for crops that are decoded already, for example by the training cache."""

    def load(rows: ndarray) -> _Loaded:
        images = np.zeros((len(rows), recognizer.input.height, recognizer.input.width, 3), np.uint8)
        failures = [str(reason) for reason in crops.failures[rows]]
        for position, row in enumerate(rows):
            if not failures[position]:
                images[position] = recognizer.prepare(crops[row])
        return _Loaded(images, crops.sizes[rows].min(axis=1).astype(np.int32), failures)

    return _encoded(recognizer, manifest, load, flip, batch_size, progress, meta)


def _encoded(
    recognizer: Recognizer,
    manifest: Manifest,
    load: Callable[[ndarray], _Loaded],
    flip: bool,
    batch_size: int,
    progress: bool,
    meta: Mapping[str, Any] | None,
) -> Faces:
    """Load the rows of a manifest batch by batch, and encode them."""
    order = np.arange(len(manifest))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    parts: list[tuple[ndarray, ndarray]] = []
    sizes: list[ndarray] = []
    failures: list[str] = []
    with tqdm(total=len(manifest), unit="img", desc="encode", disable=not progress) as bar:
        for each in _ahead(load, batches):
            parts.append(_embed(recognizer, each.images, np.array(each.failures) == "", flip))
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


def _decoded(recognizer: Recognizer, manifest: Manifest, rows: Int[ndarray, " b"], limits: DecodeLimits) -> _Loaded:
    images = np.zeros((len(rows), recognizer.input.height, recognizer.input.width, 3), np.uint8)
    sizes = np.zeros(len(rows), np.int32)
    failures: list[str] = []
    for position, row in enumerate(rows):
        try:
            picture = manifest.picture(int(row), limits)
        except DecodeError as error:
            failures.append(str(error))
            continue
        sizes[position] = min(picture.shape[:2])
        images[position] = recognizer.prepare(picture)
        failures.append("")
    return _Loaded(images, sizes, failures)


def _embed(
    recognizer: Recognizer, images: UInt8[ndarray, "b h w 3"], good: ndarray, flip: bool
) -> tuple[Float[ndarray, "b d"], Float[ndarray, " b"]]:
    """Embeddings and indices of a batch; NaN where `good` is false."""
    embeddings = np.full((len(images), recognizer.embedding_dim), np.nan, np.float32)
    indices = np.full(len(images), np.nan, np.float32)
    if good.any():
        embeddings[good], indices[good] = recognizer.embed_crops(np.ascontiguousarray(images[good]), flip=flip)
    return embeddings, indices
