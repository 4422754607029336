"""`vlrface encode`: a checkpoint and pictures in, a Faces file out."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vlrface.data.cache import crops_in_memory
from vlrface.data.folder import is_image_name, read_identity_folder, read_images
from vlrface.data.manifest import Manifest
from vlrface.data.tinyface import read_testing
from vlrface.encode import encode, encode_crops
from vlrface.experiment.config import FolderSource, UnrecognizableConfig
from vlrface.experiment.network import Trained, load_trained
from vlrface.experiment.sources import make_unrecognizable
from vlrface.images.decode import DecodeError
from vlrface.types import UNKNOWN_IDENTITY, UNRECOGNIZABLE_ROLE, Faces, VlrfaceError

_DESTROYED = 200


def encode_folder(
    checkpoint: Path,
    data: Path,
    output: Path,
    layout: str,
    *,
    flip: bool,
    batch_size: int,
    allow_missing: bool,
    progress: bool,
) -> Faces:
    """What `vlrface encode` does; see there."""
    if output.suffix != ".npz":
        raise VlrfaceError(f"{output}: give a name that ends in .npz")
    trained = load_trained(checkpoint)
    manifest = _manifest(data, layout, allow_missing)
    faces = encode_manifest(trained, manifest, data, flip=flip, batch_size=batch_size, progress=progress)
    faces.save(output)
    failed = np.flatnonzero(~faces.encoded)
    print(f"{len(faces)} faces, {len(failed)} of them not decodable, in {output}")
    for row in failed[:10]:
        print(f"  not encoded: {faces.failures[row]}")
    return faces


def encode_manifest(
    trained: Trained, manifest: Manifest, data: Path, *, flip: bool, batch_size: int, progress: bool
) -> Faces:
    """Encode pictures; those of a benchmark get made unrecognizable faces with them."""
    meta = {**trained.meta(), "data": "/".join(data.resolve().parts[-2:]), "crops": "as given, unaligned"}
    faces = encode(trained.recognizer, manifest, flip=flip, batch_size=batch_size, progress=progress, meta=meta)
    gallery = np.flatnonzero(manifest.splits == "gallery")
    chosen = np.random.default_rng(0).permutation(gallery)[:_DESTROYED]
    pictures: list[UInt8[ndarray, "_ _ 3"]] = []
    for row in chosen.tolist():
        with suppress(DecodeError):  # named among the faces already; another picture serves as well
            pictures.append(manifest.picture(row))
    return faces.joined(encode_destroyed(trained, pictures, flip=flip)) if pictures else faces


def encode_destroyed(trained: Trained, pictures: Sequence[UInt8[ndarray, "_ _ 3"]], *, flip: bool) -> Faces:
    """Faces with the role "unrecognizable": pictures destroyed by severe degradation (seed 0).

    They show where the network puts what nobody can recognise; no figure counts them.
    """
    destroyed = make_unrecognizable(pictures, UnrecognizableConfig(FolderSource("gallery"), count=len(pictures)))
    n = len(destroyed)
    manifest = Manifest(
        sources=np.array([f"#{i}" for i in range(n)]),
        identities=np.full(n, UNKNOWN_IDENTITY, np.int64),
        splits=np.full(n, UNRECOGNIZABLE_ROLE),
        truths={},
        root=None,
    )
    return encode_crops(trained.recognizer, crops_in_memory(destroyed), manifest, flip=flip)


def _manifest(data: Path, layout: str, allow_missing: bool) -> Manifest:
    if data.is_file():
        return read_images([data])
    if not data.is_dir():
        raise VlrfaceError(f"{data}: no such folder")
    if layout == "auto":
        entries = list(data.iterdir())
        # A folder with loose pictures is no folder of identities, whatever else it holds: nothing is left out.
        loose = not any(each.is_dir() for each in entries) or any(is_image_name(each.name) for each in entries)
        layout = "tinyface" if (data / "Testing_Set").is_dir() else "pictures" if loose else "identities"
        print(f"layout: {layout}")
    if layout == "tinyface":
        return read_testing(data, allow_missing=allow_missing).manifest
    return read_identity_folder(data) if layout == "identities" else read_images([data])
