"""`vlrface unrecognizable find`: a pool and an encoder in, the faces that nobody can recognise out."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from vlrface.data.folder import read_images
from vlrface.data.lines import text_array, text_lines
from vlrface.data.listed import path_inside
from vlrface.data.manifest import Manifest
from vlrface.data.table import read_table
from vlrface.encode import encode
from vlrface.experiment.encoding import encode_destroyed
from vlrface.experiment.layouts import data_set_name
from vlrface.experiment.model import Model, load_model
from vlrface.experiment.options import ModelOptions
from vlrface.files import printable, write_json, written_atomically
from vlrface.images.decode import DecodeError
from vlrface.images.degrade import UNRECOGNIZABLE, DegradationRange, degraded
from vlrface.metrics.cosine import unit_rows
from vlrface.report import Projection, SearchedPool, write_unrecognizable
from vlrface.types import UNKNOWN_IDENTITY, UNRECOGNIZABLE_ROLE, Faces, VlrfaceError
from vlrface.unrecognizable import LOOK_SIDE, MEANINGS, Discovery, Pool, Settings, discover, looks_of

NOTHING_LEFT: Final[DegradationRange] = replace(UNRECOGNIZABLE, side_px=(4, 9), blur_px=(6.0, 12.0))
"""The reference: so much is destroyed that nobody, and no network, tells people apart any more (own choice)."""

MAX_DESTROYED: Final = 4000
"""Pictures of which a destroyed copy is made, drawn by the seed."""

_MAX_LIST_BYTES: Final = 2**30
_MAX_LINE: Final = 2**14
_TABLES: Final = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True, eq=False)
class _Pool:
    """A pool: its pictures, and its faces where they were encoded before."""

    manifest: Manifest
    faces: Faces | None


def find_unrecognizable(
    pool: Path,
    encoder: Path,
    output: Path,
    *,
    pictures: Path | None = None,
    model_options: ModelOptions | None = None,
    settings: Settings | None = None,
    projection: Projection = "pca",
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> Discovery:
    """What `vlrface unrecognizable find` does; see there.

    Raises:
        VlrfaceError: the pool cannot be read, its faces are another model's, or nothing was found.
    """
    if output.exists() and not output.is_dir():
        raise VlrfaceError(f"{output}: give a folder")
    settings = settings or Settings()
    read = _read(pool, pictures)
    model = load_model(encoder, model_options or ModelOptions())
    faces = read.faces or encode(
        model.encoder, read.manifest, flip=True, batch_size=batch_size, progress=progress, meta=model.meta
    )
    _check_same_model(faces, model)
    flip = bool(faces.meta.get("flip", True))
    looks, nothing_left, origins = _seen(read.manifest, seed)
    destroyed = encode_destroyed(
        model.encoder, nothing_left, flip=flip, batch_size=batch_size, progress=progress
    ).embeddings
    predicted = faces.recognizability if np.isfinite(faces.recognizability[faces.encoded]).all() else None
    found = discover(Pool(faces.embeddings, destroyed, origins, predicted, looks), settings)
    facts = {
        "pool": data_set_name(pool),
        "encoder": {key: model.meta[key] for key in _IDENTIFYING if key in model.meta} | {"file": encoder.name},
        "flip": flip,
        "settings": {**vars(settings), "seed": seed},
        "reference": {"pictures": len(destroyed), "degradation": vars(NOTHING_LEFT)},
    }
    written = write_discovery(output, found, faces, facts)
    if find_spec("matplotlib") is not None:
        searched = SearchedPool(faces.embeddings, destroyed, faces.names, faces.sizes, read.manifest.picture)
        written += write_unrecognizable(output, found, searched, projection=projection, seed=seed)
    else:
        print('no pages without the extra "report": pip install "vlrface[report]"')
    _say(found, faces, written)
    return found


def _say(found: Discovery, faces: Faces, written: Sequence[Path]) -> None:
    failed = np.flatnonzero(~faces.encoded)
    known = len(faces) - len(failed)
    print(f"{found.found.sum()} of {known} faces found unrecognizable, {len(failed)} not decodable")
    for row in failed[:10]:
        print(f"  not encoded: {faces.failures[row]}")
    for cluster in found.clusters:
        if cluster.chosen:
            print(f"cluster {cluster.number}: {cluster.faces} faces, {cluster.destroyed} destroyed pictures")
            for name, each in cluster.evidence.items():
                sign = "for" if each.speaks_for else "against"
                print(f"  {name:<15} {each.value:8.3f}  rest {each.rest:8.3f}  {sign:<7}  {MEANINGS[name]}")
    print(f"written     {', '.join(path.name for path in written)} in {written[0].parent}")
    if found.doubt:
        print(f"doubtful    {found.doubt}")


def _seen(
    manifest: Manifest, seed: int
) -> tuple[Float[ndarray, "n t"], list[UInt8[ndarray, "_ _ 3"]], Int[ndarray, " m"]]:
    """A few grey levels of each picture, NaN where it cannot be decoded; the destroyed copies, and their rows."""
    drawn = set(np.random.default_rng(seed).permutation(len(manifest))[:MAX_DESTROYED].tolist())
    looks = np.full((len(manifest), LOOK_SIDE**2), np.nan, np.float32)
    origins: list[int] = []

    def pictures() -> Iterator[UInt8[ndarray, "_ _ 3"]]:
        for row in range(len(manifest)):
            with suppress(DecodeError):  # it is named among the faces
                picture = manifest.picture(row)
                looks[row] = looks_of([picture])[0]
                if row in drawn:
                    origins.append(row)
                    yield picture

    destroyed = degraded(pictures(), NOTHING_LEFT, seed)  # one at a time: whole pictures of a pool fill any memory
    if not destroyed:
        raise VlrfaceError("no picture of the pool can be decoded; `vlrface data check` says why")
    return looks, destroyed, np.array(origins)


_REMARKS: Final = ("name", "licence", "notes")
"""Of a card: change nothing in an embedding."""

_IDENTIFYING: Final = ("model", "sha256", "experiment", "seed", "fingerprint", "step")


def _check_same_model(faces: Faces, model: Model) -> None:
    """Refuse faces of another model, or of one that took its crops otherwise; what one side omits cannot differ."""
    saved, given = _said(faces.meta), _said(model.meta)
    for key in saved.keys() & given.keys():
        if saved[key] != given[key]:
            raise VlrfaceError(
                f"the Faces file was made by another model ({key} {saved[key]!s:.40}, the encoder has "
                f"{given[key]!s:.40}): give the encoder that made it, with the same options, or search the folder of "
                "the pictures"
            )


def _said(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What tells models apart, of the meta of faces: weights, windows, and of a foreign model how it takes crops."""
    said = {key: meta[key] for key in ("sha256", "fingerprint", "step") if meta.get(key) is not None}
    taken = {f"its {key}": value for key, value in (meta.get("card") or {}).items() if key not in _REMARKS}
    return said | json.loads(json.dumps(taken)) | {"views": meta.get("views", 1)}  # tuples are lists in a file


def write_discovery(output: Path, found: Discovery, faces: Faces, facts: Mapping[str, Any]) -> list[Path]:
    """Write unrecognizable.csv, unrecognizable.json and statistics.safetensors.

    Args:
        output: the folder; made if needed.
        found: what was found among the faces.
        faces: of the pool.
        facts: what else the JSON file says.

    Returns:
        The files written.
    """
    from safetensors.numpy import save_file

    order = np.flatnonzero(found.found)[np.argsort(-found.scores[found.found], kind="stable")]
    listed = [row for row in order.tolist() if printable(str(faces.names[row])) == str(faces.names[row])]
    if len(listed) < len(order):
        print(
            f"{len(order) - len(listed)} of the found files have names that are not UTF-8: they are not listed, for "
            "training could not read them. Rename them"
        )
    with (
        written_atomically(output / "unrecognizable.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "score"))
        writer.writerows((str(faces.names[row]), f"{found.scores[row]:.4f}") for row in listed)
    index, what = _index(found, faces)
    statistics = {"mean": float(index.mean()), "deviation": float(index.std())}
    tensors = {"center": found.center.astype(np.float32)}
    tensors |= {name: np.array(value, np.float32) for name, value in statistics.items()}
    with written_atomically(output / "statistics.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"index": what})
    write_json(
        output / "unrecognizable.json",
        {
            **facts,
            "counts": {
                "faces": len(faces),
                "not_encoded": int((~faces.encoded).sum()),
                "found": int(found.found.sum()),
            },
            "statistics": {**statistics, "index": what},
            **found.to_json(),
            "meanings": dict(MEANINGS),
        },
    )
    return [output / name for name in ("unrecognizable.csv", "unrecognizable.json", "statistics.safetensors")]


def _index(found: Discovery, faces: Faces) -> tuple[ndarray, str]:
    """The recognizability index of the found faces: predicted, or else their distance to their centre."""
    predicted = faces.recognizability[found.found].astype(np.float64)
    if np.isfinite(predicted).all():
        return predicted, "predicted recognizability"
    rows = unit_rows(faces.embeddings[found.found]).unit
    return np.clip(1.0 - rows @ found.center, 0.0, 1.0), "cosine distance to the centre, at most 1 (ERS)"


def _read(pool: Path, pictures: Path | None) -> _Pool:
    """A folder of pictures, a list of them, or a Faces file with its pictures."""
    if not pool.exists():
        raise VlrfaceError(f"{pool}: no such folder, list or Faces file")
    if pool.suffix == ".npz":
        if pictures is None:
            raise VlrfaceError(f"{pool}: its pictures are needed, too: give the folder that was encoded as --pictures")
        faces = Faces.load(pool)
        faces = faces.rows(faces.roles != UNRECOGNIZABLE_ROLE)
        return _Pool(_pictures_of(faces, pictures), faces)
    if pool.is_dir():
        if pictures is not None:
            raise VlrfaceError(f"{pool} holds pictures itself: leave out --pictures")
        return _Pool(read_images([pool]), None)
    if pool.suffix.lower() in _TABLES:
        table = read_table(pool, pictures)
        return _Pool(_manifest(table.sources, table.root), None)
    return _Pool(_listed(pool, pictures or pool.parent), None)


def _listed(path: Path, root: Path) -> Manifest:
    """A text list: one picture a line, relative to a folder; empty lines and lines that start with # do not count."""
    sources: list[str] = []
    for number, line in text_lines(path, max_bytes=_MAX_LIST_BYTES, max_line=_MAX_LINE):
        text = line.strip()
        if text and not text.startswith("#"):
            sources.append(path_inside(text, f"{path}: line {number}"))
    if not sources:
        raise VlrfaceError(f"{path}: names no picture. Write one a line, relative to {root}")
    return _manifest(text_array(sources, str(path)), root)


def _manifest(sources: ndarray, root: Path | None) -> Manifest:
    n = len(sources)
    return Manifest(sources, np.full(n, UNKNOWN_IDENTITY, np.int64), np.full(n, "image"), root=root)


def _pictures_of(faces: Faces, folder: Path) -> Manifest:
    """The pictures of faces that were encoded before, by their names below a folder."""
    if not folder.is_dir():
        raise VlrfaceError(f"{folder}: no such folder. --pictures takes the folder that was encoded")
    missing = [name for name in faces.names.tolist() if not (folder / path_inside(name, "the Faces file")).is_file()]
    if missing:
        raise VlrfaceError(
            f"{folder}: {len(missing)} of {len(faces)} encoded pictures are not there, first {missing[0]}. "
            "--pictures takes the folder that was encoded"
        )
    if len(np.unique(faces.names)) < len(faces):
        raise VlrfaceError("a picture was encoded twice, with two roles: encode the pool as a folder of pictures")
    return _manifest(faces.names.astype(np.str_), folder)
