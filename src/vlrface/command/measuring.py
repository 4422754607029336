"""Commands that measure: `vlrface evaluate`, `compare`, `data`, `unrecognizable`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from vlrface.command.names import Flat, Output
from vlrface.experiment.options import (
    BenchmarkName,
    Clustering,
    Kind,
    Layout,
    ModelOptions,
    Outputs,
    Projection,
    ProtocolOptions,
    Views,
)


def evaluate(
    source: tyro.conf.Positional[Path],
    benchmark: BenchmarkName = "tinyface",
    data: Path | None = None,
    layout: Layout = "auto",
    list: Path | None = None,  # noqa: A002 (the name of the flag)
    protocol: Annotated[ProtocolOptions, Flat] = ProtocolOptions(),
    measure: tuple[str, ...] = (),
    foreign: Annotated[ModelOptions, Flat] = ModelOptions(),
    outputs: Annotated[Outputs, Flat] = Outputs(),
    faces: Path | None = None,
    flip: bool = True,
    views: Views = 1,
    batch_size: int = 64,
    resamples: int = 1000,
    seed: int = 0,
    allow_missing: bool = False,
    quiet: bool = False,
) -> None:
    """Measure a model or a saved Faces file on a benchmark, with 95 % intervals, and draw a report.

    Example: vlrface evaluate runs/lfw_vlr --benchmark tinyface --data DATA/tinyface

    A foreign model: vlrface evaluate model.onnx --order rgb --mean 127.5 --scale 0.00784 --benchmark survface-id
    --data DATA/survface

    Saved faces: vlrface evaluate faces.npz --benchmark rejection --measure norm mine=mine.csv:quality

    Args:
        source: A checkpoint, a run's folder, an .onnx file, or a Faces file (.npz).
        benchmark: Which protocol.
        data: The data set in its official layout. Needed for a model; adds pictures to the report of a Faces file.
        layout: What `data` is, where the benchmark does not tell.
        list: Pair list (layout pairs) or CSV or Parquet table (layout table).
        protocol: What the benchmark leaves open.
        measure: Quality measures to compare (benchmark rejection): size, sharpness, sharpness_native, norm, ers,
            serfiq, or NAME=FILE[:COLUMN] from a CSV or from another model's Faces file (:norm, :recognizability).
        foreign: How an .onnx file takes its input.
        outputs: Where results go.
        faces: Keep the encoded faces here (.npz).
        flip: Flip fusion, as most published numbers use.
        views: Windows of a crop to see and average: 5 takes five times as long and finds loosely cut faces better.
        batch_size: Crops per call of the network.
        resamples: Of the bootstrap over identities.
        seed: Of the bootstrap.
        allow_missing: Count pictures that the lists name and the disk lacks as misses, instead of stopping.
        quiet: No progress bars.
    """
    from vlrface.experiment.benchmark import evaluate_benchmark

    evaluate_benchmark(
        source, benchmark, data, layout=layout, list_file=list, model_options=foreign, protocol_options=protocol,
        outputs=outputs, measures=measure, faces_path=faces, flip=flip, views=views, batch_size=batch_size,
        resamples=resamples, seed=seed, allow_missing=allow_missing, progress=not quiet,
    )  # fmt: skip


def compare(
    first: tyro.conf.Positional[Path],
    second: tyro.conf.Positional[Path],
    benchmark: BenchmarkName = "tinyface",
    with_first: tuple[Path, ...] = (),
    with_second: tuple[Path, ...] = (),
    names: tuple[str, str] | None = None,
    protocol: Annotated[ProtocolOptions, Flat] = ProtocolOptions(),
    outputs: Annotated[Outputs, Flat] = Outputs(),
    pair_seeds: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> None:
    """Say whether one model is better than another on the same faces, or whether that may be chance.

    Example: vlrface compare full.npz arcface.npz --benchmark tinyface --with-first full_s1.npz full_s2.npz

    Args:
        first: Faces file of the one model.
        second: Faces file of the other, of the same crops.
        benchmark: Which protocol.
        with_first: Further runs (seeds) of the first model.
        with_second: Further runs (seeds) of the second model.
        names: What to call the two; default the names of the files.
        protocol: What the benchmark leaves open.
        outputs: Where results go.
        pair_seeds: Runs are given in the order of the same training seeds on both sides, and a resample draws the same
            seeds of both: what a seed does to both models (order of data, first prototypes) cancels.
        resamples: Of the bootstrap over identities and runs.
        seed: Of the bootstrap.
    """
    from vlrface.experiment.comparing import compare_files

    compare_files(
        (first, *with_first), (second, *with_second), benchmark, names=names, protocol_options=protocol,
        outputs=outputs, pair_seeds=pair_seeds, resamples=resamples, seed=seed,
    )  # fmt: skip


def data(
    action: tyro.conf.Positional[Literal["check"]],
    kind: tyro.conf.Positional[Kind],
    folder: tyro.conf.Positional[Path],
    list: Path | None = None,  # noqa: A002 (the name of the flag)
    allow_missing: bool = False,
    quiet: bool = False,
) -> None:
    """Check a data set: counts beside the published ones, missing, surplus, equal and undecodable files.

    Example: vlrface data check tinyface DATA/tinyface

    Exits with 0 only if the set is sound: nothing missing, listed twice or undecodable.

    Args:
        action: What to do; there is "check".
        kind: Which layout the set has.
        folder: The data set; a .bin or .rec file for these kinds.
        list: Pair list (kind pairs) or CSV or Parquet table (kind table).
        allow_missing: Exit with 0 although pictures are missing.
        quiet: No progress bar.
    """
    del action
    from vlrface.experiment.checking import check_data

    if not check_data(kind, folder, list, allow_missing=allow_missing, progress=not quiet):
        raise SystemExit(1)


def unrecognizable(
    action: tyro.conf.Positional[Literal["find"]],
    pool: tyro.conf.Positional[Path],
    encoder: Path,
    output: Annotated[Path, Output],
    pictures: Path | None = None,
    foreign: Annotated[ModelOptions, Flat] = ModelOptions(),
    clustering: Clustering = "auto",
    min_share: float = 0.002,
    threshold: float = 0.5,
    projection: Projection = "pca",
    batch_size: int = 64,
    seed: int = 0,
    quiet: bool = False,
) -> None:
    """Find the faces of a pool that nobody could recognise, without labels: which cluster holds them, and why.

    Example: vlrface unrecognizable find DATA/lfw-vlr/pool --encoder runs/lfw_vlr -o runs/pool

    A foreign model: vlrface unrecognizable find POOL --encoder model.onnx --order bgr --mean 0 --scale 1 -o DIR

    Writes unrecognizable.csv (file, score; the found ones only), unrecognizable.json (clusters, evidence, settings,
    counts), statistics.safetensors (centre, mean, deviation), contact_sheet.html and .png, and cluster_map.svg.

    Args:
        action: What to do; there is "find".
        pool: Folder of pictures, list file (one picture a line, or a CSV or Parquet table), or a Faces file (.npz) that
            the encoder made, with --pictures.
        encoder: A checkpoint, a run's folder for its best, or an .onnx file.
        output: Folder to write to.
        pictures: Folder of the pictures of a Faces file, or to which a list is relative (default: where it lies).
        foreign: How an .onnx file takes its input.
        clustering: A graph of nearest neighbours, or agglomerative (thousands of pictures at most); auto is the graph.
        min_share: A cluster needs at least this share of the pool to be considered.
        threshold: Score from which a face counts as found.
        projection: Of the map: pca, or tsne (slow).
        batch_size: Crops per call of the network.
        seed: Of destroyed copies and of the map.
        quiet: No progress bars.
    """
    del action
    from vlrface.experiment.finding import find_unrecognizable
    from vlrface.unrecognizable import Settings

    find_unrecognizable(
        pool, encoder, output, pictures=pictures, model_options=foreign,
        settings=Settings(clustering, min_share, threshold), projection=projection, batch_size=batch_size, seed=seed,
        progress=not quiet,
    )  # fmt: skip
