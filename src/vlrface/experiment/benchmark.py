"""`vlrface encode` and `vlrface evaluate`: a data set in, saved faces, numbers and a page out."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray

from vlrface import __version__
from vlrface.data.cache import crops_in_memory
from vlrface.data.folder import read_identity_folder, read_images
from vlrface.data.manifest import Benchmark, Manifest
from vlrface.data.tinyface import read_testing
from vlrface.encode import encode, encode_crops
from vlrface.evaluate import evaluate_tinyface
from vlrface.experiment.config import FolderSource, UnrecognizableConfig
from vlrface.experiment.network import Trained, load_trained
from vlrface.experiment.sources import make_unrecognizable
from vlrface.experiment.training import environment
from vlrface.images.decode import DecodeError, decode
from vlrface.report import Attention, EmbeddingMap, Pictures, write_report
from vlrface.train.journal import training_curves
from vlrface.types import UNKNOWN_IDENTITY, Curve, Faces, Report, VlrfaceError

UNRECOGNIZABLE_ROLE = "unrecognizable"
_UNRECOGNIZABLE_COUNT = 200
_ATTENTION_FACES = 8


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
    trained = load_trained(checkpoint)
    manifest = _manifest(data, layout, allow_missing)
    faces = encode(
        trained.recognizer, manifest, flip=flip, batch_size=batch_size, progress=progress, meta=trained.meta()
    )
    if layout == "tinyface" or _is_tinyface(data):
        faces = faces.joined(encode_unrecognizable(trained, [manifest.path(i) for i in _gallery_rows(manifest)], flip))
    faces.save(output)
    failed = int((~faces.encoded).sum())
    print(f"{len(faces)} faces, {failed} of them not decodable, in {output}")
    return faces


def _is_tinyface(data: Path) -> bool:
    return (data / "Testing_Set").is_dir()


def _manifest(data: Path, layout: str, allow_missing: bool) -> Manifest:
    if not data.is_dir():
        raise VlrfaceError(f"{data}: no such folder")
    if layout == "tinyface" or (layout == "auto" and _is_tinyface(data)):
        return read_testing(data, allow_missing=allow_missing).manifest
    if layout == "identities" or (layout == "auto" and any(each.is_dir() for each in data.iterdir())):
        return read_identity_folder(data)
    return read_images([data])


def evaluate_benchmark(
    source: Path,
    name: str,
    data: Path | None,
    *,
    json_path: Path | None,
    report_path: Path | None,
    faces_path: Path | None,
    flip: bool,
    batch_size: int,
    resamples: int,
    seed: int,
    allow_missing: bool,
    progress: bool,
) -> Report:
    """What `vlrface evaluate` does; see there."""
    saved = source.suffix == ".npz"
    benchmark = read_testing(data, allow_missing=allow_missing) if data is not None else None
    if benchmark is not None:
        say_counts(benchmark)
    trained = None
    if saved:
        faces = Faces.load(source)
    else:
        if benchmark is None:
            raise VlrfaceError(f"a checkpoint is measured on pictures: give --data DIR with the {name} layout")
        trained = load_trained(source)
        faces = encode(
            trained.recognizer,
            benchmark.manifest,
            flip=flip,
            batch_size=batch_size,
            progress=progress,
            meta={**trained.meta(), "crops": "as given, unaligned"},
        )
        gallery = [benchmark.manifest.path(i) for i in _gallery_rows(benchmark.manifest)]
        faces = faces.joined(encode_unrecognizable(trained, gallery, flip))
    if faces_path is not None:
        faces.save(faces_path)
    context: dict[str, Any] = {"version": __version__, "environment": environment(), "faces": dict(faces.meta)}
    if trained is not None:
        context["config"] = trained.card["config"]
    if benchmark is not None:
        context["found"] = dict(benchmark.counts)
        context["published"] = dict(benchmark.published)
    report = evaluate_tinyface(faces, seed=seed, resamples=resamples, context=context)
    folder = source if source.is_dir() else source.parent
    json_path, report_path = json_path or folder / f"{name}.json", report_path or folder / f"{name}.html"
    opener = _opener(benchmark)
    write_pages(report, faces, report_path, json_path, trained=trained, open_crop=opener)
    summarise(report)
    print(f"numbers  {json_path}\nreport   {report_path}")
    return report


def say_counts(benchmark: Benchmark) -> None:
    """Print what was found beside what the authors of the data set say there is."""
    for name, count in benchmark.counts.items():
        published = benchmark.published.get(name)
        print(f"{name:<20} {count:>8,}" + (f"   (published: {published:,})" if published is not None else ""))
    for name in benchmark.missing[:10]:
        print(f"  missing: {name}")


def summarise(report: Report) -> None:
    """Print the figures that a person looks for first."""
    for name in ("rank1", "rank5", "rank20", "mAP", "tpr@far=0.1", "tpr@far=0.01", "auc", "rank1@reject=0.3"):
        if name in report.figures:
            value = report.figures[name]
            print(f"{name:<18} {100 * value.value:5.1f} %   [{100 * value.low:.1f}, {100 * value.high:.1f}]")


def _gallery_rows(manifest: Manifest) -> list[int]:
    rows = np.flatnonzero(manifest.splits == "gallery")
    return np.random.default_rng(0).permutation(rows)[:_UNRECOGNIZABLE_COUNT].tolist()


def encode_unrecognizable(trained: Trained, paths: Sequence[Path], flip: bool) -> Faces:
    """Faces with the role "unrecognizable": gallery pictures destroyed by severe degradation (seed 0).

    They show where the network puts what nobody can recognise; no figure counts them.
    """
    pictures: list[UInt8[ndarray, "_ _ 3"]] = []
    for path in paths:
        with suppress(DecodeError):  # already named among the faces; any other picture serves as well
            pictures.append(decode(path))
    if not pictures:
        raise VlrfaceError("no gallery picture can be decoded: is this the data set?")
    return encode_destroyed(trained, pictures, flip)


def encode_destroyed(trained: Trained, pictures: Sequence[UInt8[ndarray, "_ _ 3"]], flip: bool) -> Faces:
    """The same for pictures at hand."""
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


@dataclass(frozen=True, eq=False)
class _Crops(Sequence[UInt8[ndarray, "_ _ 3"]]):
    """Crops that are opened when looked at: a report shows some dozens of thousands."""

    names: Sequence[tuple[str, str]]
    open_crop: Callable[[str, str], UInt8[ndarray, "_ _ 3"]]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> UInt8[ndarray, "_ _ 3"]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[UInt8[ndarray, "_ _ 3"]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return _Crops(self.names[index], self.open_crop)
        return self.open_crop(*self.names[index])


OpenCrop = Callable[[str, str], UInt8[ndarray, "_ _ 3"]]


def _opener(benchmark: Benchmark | None) -> OpenCrop | None:
    """(role, name) → picture, where the data set is at hand."""
    if benchmark is None:
        return None
    manifest = benchmark.manifest
    keys = zip(map(str, manifest.splits), map(str, manifest.sources), strict=True)
    position = {key: row for row, key in enumerate(keys)}
    return lambda role, name: decode(manifest.path(position[role, name]))


def write_pages(
    report: Report,
    faces: Faces,
    html: Path,
    json: Path,
    *,
    trained: Trained | None,
    open_crop: OpenCrop | None,
    curves: dict[str, Curve] | None = None,
) -> None:
    """The page and its JSON, with all pictures that the inputs allow."""
    shown = faces.role("probe", "gallery")
    shown = shown.rows(shown.encoded)
    has_index = bool(np.isfinite(shown.recognizability).all()) and len(shown) > 0
    pictures = embedding_map = attention = None
    statistics = faces.meta.get("statistics")
    if has_index:
        keys = list(zip(map(str, shown.roles), map(str, shown.names), strict=True))
        band = (statistics["mean"], statistics["deviation"]) if statistics else None
        pictures = Pictures(
            _Crops(keys, open_crop) if open_crop is not None else [],
            shown.recognizability,
            [name for _, name in keys],
            unrecognizable=band,
        )
        destroyed = faces.role(UNRECOGNIZABLE_ROLE)
        embedding_map = EmbeddingMap(
            shown.embeddings,
            shown.recognizability,
            destroyed.embeddings,
            _center(destroyed.embeddings) if len(destroyed) else None,
        )
        if trained is not None and open_crop is not None:
            attention = _attention(trained, shown, open_crop)
    if curves is None and trained is not None:
        curves = training_curves(trained.path.parent)
    write_report(
        report, html, json, pictures=pictures, embedding_map=embedding_map, attention=attention, training=curves or None
    )


def _center(embeddings: ndarray) -> ndarray:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    mean = unit.mean(axis=0)
    return mean / np.linalg.norm(mean)


@torch.no_grad()
def _attention(trained: Trained, faces: Faces, open_crop: OpenCrop) -> Attention:
    """Where the network looks, on faces from the least to the most recognizable."""
    order = np.argsort(faces.recognizability)
    chosen = order[np.linspace(0, len(order) - 1, min(_ATTENTION_FACES, len(order))).astype(int)]
    inputs = [trained.recognizer.prepare(open_crop(str(faces.roles[i]), str(faces.names[i]))) for i in chosen]
    output = trained.recognizer.eval()(torch.from_numpy(np.stack(inputs)))
    captions = [f"index {faces.recognizability[i]:.2f}" for i in chosen]
    return Attention(inputs, output.attention[:, 0].float().numpy(), captions)
