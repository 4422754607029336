"""`vlrface encode`: a model and pictures in, a Faces file out."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vlrface.bulk import check_sources
from vlrface.bulk.parts import SUMMARY, write_parquet
from vlrface.data.cache import crops_in_memory
from vlrface.data.manifest import Benchmark, Manifest
from vlrface.encode import Encoder, encode, encode_crops
from vlrface.encode.views import Views
from vlrface.experiment.bulk import BulkTask, alone, finish, loaded, run_bulk
from vlrface.experiment.layouts import data_set_name, read_layout
from vlrface.experiment.measures import add_measures
from vlrface.experiment.model import Model, load_model
from vlrface.experiment.model_files import check_there
from vlrface.experiment.options import BulkOptions, Layout, ModelOptions
from vlrface.experiment.outputs import check_suffix
from vlrface.files import write_json
from vlrface.images.decode import DecodeError
from vlrface.images.degrade import UNRECOGNIZABLE, degraded
from vlrface.types import UNKNOWN_IDENTITY, UNRECOGNIZABLE_ROLE, Faces, VlrfaceError

_DESTROYED = 200


def encode_pictures(
    source: Path,
    data: Path,
    output: Path,
    *,
    layout: Layout = "auto",
    list_file: Path | None = None,
    model_options: ModelOptions | None = None,
    measures: Sequence[str] = (),
    flip: bool = True,
    views: Views = 1,
    batch_size: int = 64,
    allow_missing: bool = False,
    progress: bool = True,
) -> Faces:
    """What `vlrface encode` does; see there."""
    check_suffix(output, ".npz")
    check_there(data)
    model = load_model(source, model_options or ModelOptions(), views=views)
    benchmark = read_layout(data, layout, list_file, allow_missing=allow_missing)
    faces = encode_benchmark(model, benchmark, data, flip=flip, batch_size=batch_size, progress=progress)
    faces = add_measures(faces, measures, benchmark, model, progress=progress)
    faces.save(output)
    failed = np.flatnonzero(~faces.encoded)
    print(f"{len(faces)} faces, {len(failed)} of them not decodable, in {output}")
    for row in failed[:10]:
        print(f"  not encoded: {faces.failures[row]}")
    return faces


def encode_bulk(
    model: Path,
    sources: Sequence[str],
    output: Path,
    *,
    options: BulkOptions | None = None,
    model_options: ModelOptions | None = None,
    flip: bool = True,
    batch_size: int = 64,
    progress: bool = True,
) -> int:
    """`vlrface encode` of any number of pictures, into a .parquet file or a folder of Parquet parts.

    Returns:
        How many pictures could not be encoded.

    Raises:
        VlrfaceError: no picture among the sources, or an unknown kind of output.
    """
    if output.suffix not in ("", ".parquet"):
        raise VlrfaceError(f"{output}: give a name that ends in .npz or .parquet, or a folder for parts")
    check_sources(sources)
    task = BulkTask(
        model, tuple(sources), "embeddings", options or BulkOptions(), flip=flip, batch_size=batch_size,
        progress=progress, model_options=model_options or ModelOptions(),
    )  # fmt: skip
    whole = output.suffix != ""
    with alone(output):
        parts = run_bulk(task, loaded(task), output)
        faces = failed = 0
        for table in parts.read():
            faces += len(table)
            failed += sum(verdict == "failed" for verdict in table.texts["verdict"])
        if whole:
            write_parquet(output, parts.read())
            finish(output, parts)
        else:
            write_json(output / SUMMARY, {"faces": faces, "parts": parts.count(), "failed": failed})
    print(f"{faces:,} faces, {failed:,} pictures not encoded, in {output}")
    return failed


def encode_benchmark(
    model: Model, benchmark: Benchmark, data: Path, *, flip: bool, batch_size: int, progress: bool
) -> Faces:
    """Encode pictures with their pairs; where there is a gallery, made unrecognizable faces are added."""
    manifest = benchmark.manifest
    meta = {**model.meta, "data": data_set_name(data), "crops": "as given, unaligned"}
    faces = encode(model.encoder, manifest, flip=flip, batch_size=batch_size, progress=progress, meta=meta)
    faces = replace(faces, pairing=benchmark.pairing)
    shown = np.flatnonzero(np.isin(manifest.splits, ("gallery", "face")))
    chosen = np.random.default_rng(0).permutation(shown)[:_DESTROYED]
    destroyed = degraded(_readable(manifest, chosen.tolist()), UNRECOGNIZABLE, 0)
    return faces.joined(encode_destroyed(model.encoder, destroyed, flip=flip)) if destroyed else faces


def _readable(manifest: Manifest, rows: Sequence[int]) -> Iterator[UInt8[ndarray, "_ _ 3"]]:
    for row in rows:
        with suppress(DecodeError):  # named among the faces already; another picture serves as well
            yield manifest.picture(row)


def encode_destroyed(
    encoder: Encoder,
    destroyed: Sequence[UInt8[ndarray, "_ _ 3"]],
    *,
    flip: bool,
    batch_size: int = 64,
    progress: bool = False,
) -> Faces:
    """Faces with the role "unrecognizable": pictures destroyed by severe degradation (`images.degrade.degraded`).

    They show where the network puts what nobody can recognise; no figure counts them.

    Args:
        encoder: the network.
        destroyed: the pictures, at least one.
        flip: flip fusion.
        batch_size: crops per call of the network.
        progress: show a progress bar.
    """
    n = len(destroyed)
    manifest = Manifest(
        sources=np.array([f"#{i}" for i in range(n)]),
        identities=np.full(n, UNKNOWN_IDENTITY, np.int64),
        splits=np.full(n, UNRECOGNIZABLE_ROLE),
        truths={},
        root=None,
    )
    crops = crops_in_memory(destroyed)
    return encode_crops(encoder, crops, manifest, flip=flip, batch_size=batch_size, progress=progress)
