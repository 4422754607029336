"""`vlrface evaluate`: numbers and a page, from a model and a data set or from saved faces alone.

Saved faces need neither torch nor pictures: what needs them is imported only when there is a model.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vlrface import __version__
from vlrface.data.manifest import Benchmark
from vlrface.encode.views import Views
from vlrface.evaluate import evaluate
from vlrface.evaluate.measures import WITHOUT_MEASURE
from vlrface.experiment.environment import environment
from vlrface.experiment.layouts import LAYOUT_OF, read_layout
from vlrface.experiment.measures import add_measures
from vlrface.experiment.model import Model, is_model, load_model
from vlrface.experiment.model_files import kind_of
from vlrface.experiment.options import BenchmarkName, Layout, ModelOptions, Outputs, ProtocolOptions
from vlrface.experiment.outputs import check_outputs, check_suffix, result_files, write_papers
from vlrface.experiment.pages import crop_opener, illustrations, write_pages
from vlrface.experiment.protocols import protocol_of
from vlrface.types import Faces, Report, VlrfaceError

_FIRST = (
    r"rank(1|5|20)", r"mAP", r"rank1@(distance|side)=\d+", r"tpir20@fpir=[^,]+", r"tpir20_area",
    r"tpr@far=0\.(1|01)(,side=\d+)?", r"accuracy", r"auc", r"eer", r"rank1@reject=0\.3",
    r"normalised_pauc@fmr=[^,]+,measure=.*",
)  # fmt: skip


def evaluate_benchmark(
    source: Path,
    name: BenchmarkName,
    data: Path | None,
    *,
    layout: Layout = "auto",
    list_file: Path | None = None,
    model_options: ModelOptions | None = None,
    protocol_options: ProtocolOptions | None = None,
    outputs: Outputs | None = None,
    measures: Sequence[str] = (),
    faces_path: Path | None = None,
    flip: bool = True,
    views: Views = 1,
    batch_size: int = 64,
    resamples: int = 1000,
    seed: int = 0,
    allow_missing: bool = False,
    progress: bool = True,
) -> Report:
    """What `vlrface evaluate` does; see there."""
    began = time.perf_counter()
    outputs = outputs or Outputs()
    check_outputs(outputs)
    check_suffix(faces_path, ".npz")
    protocol = protocol_of(name, protocol_options or ProtocolOptions())
    saved = Faces.load(source) if source.suffix == ".npz" else None
    if saved is None and source.exists() and not is_model(source):
        raise VlrfaceError(
            f"{source}: {kind_of(source) or 'damaged'}, neither a model nor faces: give a checkpoint (.safetensors), a "
            "run's folder, an .onnx or a Faces file (.npz)"
        )
    if saved is not None and views != 1:
        raise VlrfaceError(f"{source}: its faces are encoded already; --views is for a model, or for vlrface encode")
    if saved is None and data is None:
        raise VlrfaceError(
            f"{source} is measured on pictures: give --data DIR with the {name} layout, or name a saved Faces file"
        )
    json_path, page = _places(source, name, outputs, is_faces=saved is not None)
    model = load_model(source, model_options or ModelOptions(), views=views) if saved is None else None
    benchmark = None
    if data is not None:
        layout = LAYOUT_OF.get(name, layout) if layout == "auto" and list_file is None else layout
        benchmark = read_layout(data, layout, list_file, allow_missing=allow_missing)
        if protocol.needs_pairs and benchmark.pairing is None:
            raise VlrfaceError(
                f"{data}: benchmark {name} needs pairs: give --list FILE (a pair list), or a .bin as --data"
            )
        _say_counts(benchmark)
    faces = saved  # not "or": faces without a row are false
    if faces is None:
        faces = _encoded(model, benchmark, data, flip=flip, batch_size=batch_size, progress=progress)
    faces = add_measures(faces, measures, benchmark, model, progress=progress)
    if faces_path is not None:
        faces.save(faces_path)
    opener = crop_opener(benchmark, faces)
    report = evaluate(faces, protocol, seed=seed, resamples=resamples, context=_context(faces, benchmark))
    seconds = round(time.perf_counter() - began, 1)
    report = replace(report, title=_title(report, faces), context={**report.context, "seconds": seconds})
    trained = model.trained if model else None
    shown = illustrations(faces, trained=trained, open_crop=opener)
    write_pages(report, page, json_path, shown, trained=trained)
    summarise(report)
    for count, lacking in report.counts.items():
        if count.startswith(WITHOUT_MEASURE) and lacking:
            print(f"{count.removeprefix(WITHOUT_MEASURE)}: no value for {lacking:,} faces, which are rejected first")
    print(f"numbers  {json_path}" + (f"\nreport   {page}" if page else ""))
    write_papers(report, outputs, shown)
    return report


def _encoded(
    model: Model | None, benchmark: Benchmark | None, data: Path | None, *, flip: bool, batch_size: int, progress: bool
) -> Faces:
    from vlrface.experiment.encoding import encode_benchmark

    assert model is not None  # noqa: S101 (for the type checker)
    assert benchmark is not None  # noqa: S101
    assert data is not None  # noqa: S101
    return encode_benchmark(model, benchmark, data, flip=flip, batch_size=batch_size, progress=progress)


def _places(source: Path, name: str, outputs: Outputs, *, is_faces: bool) -> tuple[Path, Path | None]:
    folder = source if source.is_dir() else source.parent
    return result_files(folder, f"{source.stem}.{name}" if is_faces or source.suffix == ".onnx" else name, outputs)


def _title(report: Report, faces: Faces) -> str:
    data, model = faces.meta.get("data"), faces.meta.get("experiment") or faces.meta.get("model")
    return report.title + (f" of {data}" if data else "") + (f", {model}" if model else "")


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
        print(f"{name:<22} {count:>8,}" + (f"   (published: {published:,})" if published is not None else ""))
    if any(benchmark.counts.get(name, count) != count for name, count in benchmark.published.items()):
        print("the counts are not the published ones: this is not the official set, or not all of it")
    for name in benchmark.missing[:10]:
        print(f"  missing: {name}")


def summarise(report: Report) -> None:
    """Print the figures that a person looks for first; where there are none, why."""
    names = [name for pattern in _FIRST for name in report.figures if re.fullmatch(pattern, name)]
    width = max((len(name) for name in names), default=0)
    for name in names:
        found = report.figures[name]
        scale, digits, unit = (1, 3, "") if name.startswith("normalised") else (100, 1, " %")
        value, low, high = (f"{scale * each:.{digits}f}" for each in (found.value, found.low, found.high))
        print(f"{name:<{width}} {value:>6}{unit}   {'no interval' if np.isnan(found.low) else f'[{low}, {high}]'}")
    for reason in () if names else report.context["left_out"]:
        print(f"not computed: {reason}")
