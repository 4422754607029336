"""`vlrface evaluate`: numbers and a page, from a checkpoint and a data set or from saved faces alone.

Saved faces need neither torch nor pictures: what needs them is imported only when there is a checkpoint.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vlrface import __version__
from vlrface.data.manifest import Benchmark
from vlrface.data.tinyface import read_testing
from vlrface.evaluate import TinyFace, evaluate
from vlrface.experiment.environment import environment
from vlrface.report import Attention, EmbeddingMap, Pictures, write_report
from vlrface.types import UNRECOGNIZABLE_ROLE, Curve, Faces, Report, VlrfaceError

if TYPE_CHECKING:
    from vlrface.experiment.network import Trained

_ATTENTION_FACES = 8

OpenCrop = Callable[[str, str], UInt8[ndarray, "_ _ 3"]]
"""(role, name) → picture."""


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
    began = time.perf_counter()
    _check_paths(source, data, json_path, report_path, faces_path)
    saved = Faces.load(source) if source.suffix == ".npz" else None
    if saved is None and data is None:
        raise VlrfaceError(
            f"a checkpoint is measured on pictures: give --data DIR with the {name} layout, or name a saved Faces file"
        )
    trained = None if saved is not None else _load(source)
    benchmark = read_testing(data, allow_missing=allow_missing) if data is not None else None
    if benchmark is not None:
        _say_counts(benchmark)
    faces = saved
    if faces is None:
        from vlrface.experiment.encoding import encode_manifest

        assert trained is not None  # noqa: S101 (for the type checker)
        assert benchmark is not None  # noqa: S101
        assert data is not None  # noqa: S101
        faces = encode_manifest(trained, benchmark.manifest, data, flip=flip, batch_size=batch_size, progress=progress)
    if faces_path is not None:
        faces.save(faces_path)
    opener = _opener(benchmark, faces)
    report = evaluate(faces, TinyFace(), seed=seed, resamples=resamples, context=_context(faces, benchmark))
    folder = source if source.is_dir() else source.parent
    stem = name if saved is None else f"{source.stem}.{name}"
    json_path, page = json_path or folder / f"{stem}.json", report_path or folder / f"{stem}.html"
    if report_path is None and find_spec("matplotlib") is None:
        print('no page without the extra "report": pip install "vlrface[report]"')
        page = None
    seconds = round(time.perf_counter() - began, 1)
    report = replace(report, title=_title(faces), context={**report.context, "seconds": seconds})
    write_pages(report, faces, page, json_path, trained=trained, open_crop=opener)
    summarise(report)
    print(f"numbers  {json_path}" + (f"\nreport   {page}" if page else ""))
    return report


def _check_paths(
    source: Path, data: Path | None, json_path: Path | None, report_path: Path | None, faces_path: Path | None
) -> None:
    """Refuse before any work what would fail or mislead after it."""
    if source.is_file() and source.suffix not in (".npz", ".safetensors"):
        raise VlrfaceError(f"{source}: give a checkpoint (.safetensors), a run's folder or a Faces file (.npz)")
    if data is not None and not data.is_dir():
        raise VlrfaceError(f"{data}: no such folder")
    for path, suffix in ((json_path, ".json"), (report_path, ".html"), (faces_path, ".npz")):
        if path is not None and path.suffix != suffix:
            raise VlrfaceError(f"{path}: give a name that ends in {suffix}")


def _load(source: Path) -> "Trained":
    from vlrface.experiment.network import load_trained

    return load_trained(source)


def _title(faces: Faces) -> str:
    data, experiment = faces.meta.get("data"), faces.meta.get("experiment")
    return "TinyFace protocol" + (f" on {data}" if data else "") + (f", {experiment}" if experiment else "")


def _context(faces: Faces, benchmark: Benchmark | None) -> dict[str, Any]:
    """What a page says of how its numbers came about."""
    meta = dict(faces.meta)
    context: dict[str, Any] = {"version": __version__, "environment": environment()}
    for key in ("config", "training_seconds", "data"):
        if meta.get(key) is not None:
            context[key] = meta.pop(key)
    context["faces"] = meta
    if benchmark is not None:
        context["found"] = dict(benchmark.counts)
        context["published"] = dict(benchmark.published)
    return context


def _say_counts(benchmark: Benchmark) -> None:
    """Print what was found beside what the authors of the data set say of theirs."""
    for name, count in benchmark.counts.items():
        published = benchmark.published.get(name)
        print(f"{name:<20} {count:>8,}" + (f"   (published: {published:,})" if published is not None else ""))
    if any(benchmark.counts.get(name, count) != count for name, count in benchmark.published.items()):
        print("the counts are not the published ones: this is not the official set, or not all of it")
    for name in benchmark.missing[:10]:
        print(f"  missing: {name}")


def summarise(report: Report) -> None:
    """Print the figures that a person looks for first."""
    for name in ("rank1", "rank5", "rank20", "mAP", "tpr@far=0.1", "tpr@far=0.01", "auc", "rank1@reject=0.3"):
        if name in report.figures:
            value = report.figures[name]
            print(f"{name:<18} {100 * value.value:5.1f} %   [{100 * value.low:.1f}, {100 * value.high:.1f}]")


def _opener(benchmark: Benchmark | None, faces: Faces) -> OpenCrop | None:
    """Opens the pictures of the faces, where the data set is at hand.

    Raises:
        VlrfaceError: the data set is not the one that the faces were made of.
    """
    if benchmark is None:
        return None
    manifest = benchmark.manifest
    keys = zip(map(str, manifest.splits), map(str, manifest.sources), strict=True)
    position = {key: row for row, key in enumerate(keys)}
    shown = faces.role("probe", "gallery")
    for key in zip(map(str, shown.roles), map(str, shown.names), strict=True):
        if key not in position:
            raise VlrfaceError(f"--data is not the data set of these faces: it has no {key[0]} {key[1]}")
    return lambda role, name: manifest.picture(position[role, name])


@dataclass(frozen=True, eq=False)
class _Crops(Sequence[UInt8[ndarray, "_ _ 3"]]):
    """Crops that are opened when looked at: a report shows some dozens of thousands."""

    names: Sequence[tuple[str, str]]
    open_crop: OpenCrop

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


def write_pages(
    report: Report,
    faces: Faces,
    html: Path | None,
    json: Path,
    *,
    trained: "Trained | None",
    open_crop: OpenCrop | None,
) -> None:
    """The page and its JSON, with all pictures that the inputs allow."""
    shown = faces.role("probe", "gallery")
    shown = shown.rows(shown.encoded)
    pictures = embedding_map = attention = None
    if len(shown) and np.isfinite(shown.recognizability).all():
        pictures = _pictures(faces, shown, open_crop)
        destroyed = faces.role(UNRECOGNIZABLE_ROLE).embeddings
        center = _center(destroyed) if len(destroyed) else None
        embedding_map = EmbeddingMap(shown.embeddings, shown.recognizability, destroyed, center)
        if trained is not None and trained.recognizer.attention is not None and open_crop is not None:
            attention = _attention(trained, shown, open_crop)
    training = _training_curves(trained) if trained is not None else None
    write_report(
        report, html, json, pictures=pictures, embedding_map=embedding_map, attention=attention, training=training
    )


def _pictures(faces: Faces, shown: Faces, open_crop: OpenCrop | None) -> Pictures:
    keys = list(zip(map(str, shown.roles), map(str, shown.names), strict=True))
    lost = faces.role(UNRECOGNIZABLE_ROLE).recognizability
    return Pictures(
        _Crops(keys, open_crop) if open_crop is not None else [],
        shown.recognizability,
        [name for _, name in keys],
        unrecognizable=(float(lost.mean()), float(lost.std())) if len(lost) else None,
    )


def _center(embeddings: ndarray) -> ndarray:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    mean = unit.mean(axis=0)
    return mean / np.linalg.norm(mean)


def _attention(trained: "Trained", faces: Faces, open_crop: OpenCrop) -> Attention:
    """Where the network looks, on faces from the least to the most recognizable."""
    import torch

    order = np.argsort(faces.recognizability)
    chosen = order[np.linspace(0, len(order) - 1, min(_ATTENTION_FACES, len(order))).astype(int)]
    inputs = [trained.recognizer.prepare(open_crop(str(faces.roles[i]), str(faces.names[i]))) for i in chosen]
    with torch.inference_mode():
        output = trained.recognizer.eval()(torch.from_numpy(np.stack(inputs)))
    captions = [f"index {faces.recognizability[i]:.2f}" for i in chosen]
    return Attention(inputs, output.attention[:, 0].float().numpy(), captions)


def _training_curves(trained: "Trained") -> dict[str, Curve] | None:
    from vlrface.train.journal import training_curves

    return training_curves(trained.path.parent) or None
