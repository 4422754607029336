"""The command `vlrface`: names to functions. Heavy packages are imported inside each, so that --help is quick."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from vlrface import __version__
from vlrface.experiment.options import (
    BenchmarkName,
    Clustering,
    Kind,
    Layout,
    ModelOptions,
    Outputs,
    Projection,
    ProtocolOptions,
)

Output = tyro.conf.arg(aliases=["-o"])
Flat = tyro.conf.arg(name="")


def demo(
    out: Path = Path("runs/demo"), figures: Path | None = None, only_report: bool = False, quiet: bool = False
) -> None:
    """Train, measure and report on built-in faces; needs no data and about five minutes on two cores.

    Args:
        out: Folder for checkpoints, log and report.
        figures: Folder for the figures as SVG and PDF, fit for a paper.
        only_report: Train nothing; measure and draw again what the folder holds.
        quiet: No progress bars.
    """
    from vlrface.experiment.demo import run_demo

    run_demo(out, figures=figures, only_report=only_report, progress=not quiet)


def train(
    recipe: tyro.conf.Positional[Path],
    out: Path | None = None,
    data: Path = Path("data"),
    cache: Path = Path("cache"),
    seed: int | None = None,
    set: tuple[str, ...] = (),  # noqa: A002 (the name of the flag)
    hook: str | None = None,
    quiet: bool = False,
) -> None:
    """Train what a recipe describes, or go on with a run that was stopped.

    Example: vlrface train recipes/lfw_vlr.py --data DIR --out runs/lfw_vlr

    Args:
        recipe: Python file that defines `experiment`; see recipes/.
        out: Folder of the run; default runs/NAME. If it holds a stopped run, that run goes on.
        data: Folder to which the recipe's paths are relative.
        cache: Folder for decoded crops; may be deleted at any time.
        seed: Another seed than the recipe's.
        set: Replace fields of the recipe, e.g. --set training.epochs=3 objective.weights.diversion=0.
        hook: MODULE:FUNCTION that gets every line of the log, e.g. vlrface.train.hooks:wandb or
            vlrface.train.hooks:mlflow.
        quiet: No progress bars.
    """
    from vlrface.experiment.training import run_training

    run_training(recipe, out, data, cache, seed=seed, assignments=set, hook=hook, progress=not quiet)


def runs(
    folder: tyro.conf.Positional[Path] = Path("runs"),
    sort: str | None = None,
    figures: tuple[str, ...] = (),
    json: Path | None = None,
) -> None:
    """List the runs in a folder and below: how each stands, what it reached, how long it took.

    Example: vlrface runs runs --sort tinyface:rank1

    Figures are those of the best validation on held-out training identities, and as BENCHMARK:FIGURE those that
    `vlrface evaluate` left in the run's folder. The runs of an ablation stand together. Damaged runs are named.

    Args:
        folder: Where to look.
        sort: Figure to sort by, best first; or began, last (written) or seconds, most first.
        figures: Which figures to show; default those of the validation and the first of each benchmark.
        json: File for all that is known of each run.
    """
    from vlrface.experiment.runs import list_runs

    list_runs(folder, sort=sort, json_path=json, figures=figures)


def encode(
    model: tyro.conf.Positional[Path],
    data: tyro.conf.Positional[Path],
    output: Annotated[Path, Output],
    layout: Layout = "auto",
    list: Path | None = None,  # noqa: A002 (the name of the flag)
    measure: tuple[str, ...] = (),
    foreign: Annotated[ModelOptions, Flat] = ModelOptions(),
    flip: bool = True,
    batch_size: int = 64,
    allow_missing: bool = False,
    quiet: bool = False,
) -> None:
    """Encode pictures into a Faces file: embeddings, recognizability, names. Later measuring needs no network.

    Example: vlrface encode runs/lfw_vlr DATA/tinyface -o faces.npz

    Args:
        model: A checkpoint, a run's folder for its best, or an .onnx file.
        data: Folder in an official layout, of identity folders or of pictures; a .bin or .rec file.
        output: The .npz file to write.
        layout: What `data` is; auto looks for what tells it.
        list: Pair list (layout pairs) or CSV or Parquet table (layout table).
        measure: Quality measures to keep beside the embeddings: size, sharpness, sharpness_native, norm, ers, serfiq,
            or NAME=FILE[:COLUMN] from a CSV or from another model's Faces file (:norm, :recognizability).
        foreign: How an .onnx file takes its input.
        flip: Flip fusion: add the embedding of the mirrored crop.
        batch_size: Crops per call of the network.
        allow_missing: Count pictures that the lists name and the disk lacks as misses, instead of stopping.
        quiet: No progress bars.
    """
    from vlrface.experiment.encoding import encode_pictures

    encode_pictures(
        model, data, output, layout=layout, list_file=list, model_options=foreign, measures=measure, flip=flip,
        batch_size=batch_size, allow_missing=allow_missing, progress=not quiet,
    )  # fmt: skip


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

    Saved faces: vlrface evaluate faces.npz --benchmark rejection --measure norm mine=scores.csv:quality

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
        batch_size: Crops per call of the network.
        resamples: Of the bootstrap over identities.
        seed: Of the bootstrap.
        allow_missing: Count pictures that the lists name and the disk lacks as misses, instead of stopping.
        quiet: No progress bars.
    """
    from vlrface.experiment.benchmark import evaluate_benchmark

    evaluate_benchmark(
        source, benchmark, data, layout=layout, list_file=list, model_options=foreign, protocol_options=protocol,
        outputs=outputs, measures=measure, faces_path=faces, flip=flip, batch_size=batch_size, resamples=resamples,
        seed=seed, allow_missing=allow_missing, progress=not quiet,
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


def ablate(
    recipe: tyro.conf.Positional[Path],
    out: Path,
    data: Path = Path("data"),
    cache: Path = Path("cache"),
    benchmark: tuple[str, ...] = (),
    variants: tuple[str, ...] = (),
    seeds: int | None = None,
    jobs: int = 1,
    held_out: bool = True,
    figures: tuple[str, ...] = (),
    resamples: int = 1000,
    bootstrap_seed: int = 0,
    only_table: bool = False,
    quiet: bool = False,
) -> None:
    """Train variants of an experiment with several seeds each, measure them, and write one table that compares them.

    Example: vlrface ablate recipes/study/ablation.py --data DATA --out runs/ablation --jobs 2
    --benchmark tinyface=DATA/lfw-vlr/tinyface scface=DATA/lfw-vlr/scface

    The same command goes on after a stop or a kill: finished trainings are kept (OUT/VARIANT/seedK, also those that
    `vlrface train` made there), others go on where they were saved, and what is measured is not measured again.
    OUT/ablation.html, .tex, .md and .json are rewritten after every training. Without --benchmark only the held-out
    training identities are measured: choices need no test set. Exits with 1 if a training failed; its log is
    OUT/VARIANT/seedK/ablate.log.

    Args:
        recipe: Python file that defines `ablation`, an `Ablation` of named experiments.
        out: Folder of the ablation.
        data: Folder to which the recipes' paths are relative.
        cache: Folder for decoded crops; may be deleted at any time.
        benchmark: Test sets as NAME=FOLDER: tinyface, survface-id, survface-verif, scface, cross-resolution, pairs (a
            .bin), or retrieval (leave-one-out in any layout).
        variants: Train and measure these only; the table keeps every variant that has been measured.
        seeds: At most so many seeds of each variant; default as many as the recipe says.
        jobs: Trainings side by side; each has one thread if there are several.
        held_out: Measure leave-one-out retrieval among the held-out training identities.
        figures: Further figures for the table as MEASUREMENT:FIGURE, e.g. tinyface:rank5 held-out:rank20.
        resamples: Of the bootstrap over people and seeds.
        bootstrap_seed: Of the bootstrap.
        only_table: Train and measure nothing; write the table of what is there.
        quiet: No progress bar.
    """
    from vlrface.experiment.ablating import ablate_recipe

    failed = ablate_recipe(
        recipe, out, data, cache, benchmarks=benchmark, variants=variants, seeds=seeds, jobs=jobs, held_out=held_out,
        figures=figures, resamples=resamples, bootstrap_seed=bootstrap_seed, only_table=only_table, progress=not quiet,
    )  # fmt: skip
    if failed:
        raise SystemExit(1)


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


def score(
    checkpoint: tyro.conf.Positional[Path],
    paths: tyro.conf.Positional[tuple[Path, ...]],
    output: Annotated[Path, Output],
    batch_size: int = 64,
    strict: bool = False,
    quiet: bool = False,
) -> None:
    """Say for each crop whether the face on it can be recognised: raw index, score in [0, 1], verdict.

    Example: vlrface score runs/lfw_vlr CROPS -o scores.html

    Args:
        checkpoint: A checkpoint, or a run's folder for its best.
        paths: Pictures of one face each, or folders of such pictures.
        output: FILE.csv, FILE.parquet, or FILE.html with the faces sorted by recognizability.
        batch_size: Crops per call of the network.
        strict: Exit with 2 if any picture could not be scored.
        quiet: No progress bars.
    """
    from vlrface.experiment.scoring import score_paths

    failed = score_paths(checkpoint, paths, output, batch_size=batch_size, progress=not quiet)
    if strict and failed:
        raise SystemExit(2)


COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": demo,
    "train": train,
    "runs": runs,
    "encode": encode,
    "evaluate": evaluate,
    "compare": compare,
    "ablate": ablate,
    "score": score,
    "unrecognizable": unrecognizable,
    "data": data,
}


def main() -> None:
    """Run a command; an expected error is one line on standard error and exit code 1."""
    if sys.argv[1:] == ["--version"]:
        print(f"vlrface {__version__}")
        return
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="vlrface",
            description="Recognise very-low-resolution faces (16 to 32 pixels), and know which ones can be recognised.",
        )
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        sys.exit(_explain(error))
    except KeyboardInterrupt as error:
        print("stopped", file=sys.stderr)
        sys.exit(143 if type(error).__name__ == "TerminatedError" else 130)


def _explain(error: Exception) -> int:
    """Print an expected error; raise any other again."""
    from vlrface.data.batches import SampleError
    from vlrface.types import VlrfaceError

    if type(error).__name__ == "TrainingInterruptedError":
        print(error, file=sys.stderr)
        return getattr(error, "exit_code", 130)
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        print(f'error: this command needs {error.name}: pip install "vlrface[{_EXTRAS[error.name]}]"', file=sys.stderr)
        return 1
    if isinstance(error, VlrfaceError | OSError | SampleError):
        print(f"error: {error}", file=sys.stderr)
        return 1
    raise error


_EXTRAS = {
    "torch": "train",
    "safetensors": "train",
    "tensorboard": "train",
    "matplotlib": "report",
    "jinja2": "report",
    "onnxruntime": "onnx",
    "pyarrow": "parquet",
    "scipy": "cluster",
    "sklearn": "cluster",
    "faiss": "cluster",
}


if __name__ == "__main__":
    main()
