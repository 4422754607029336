"""The command `vlrface`: names to functions. Heavy packages are imported inside each, so that --help is quick."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from vlrface import __version__

Output = tyro.conf.arg(aliases=["-o"])


def demo(out: Path = Path("runs/demo"), quiet: bool = False) -> None:
    """Train, measure and report on built-in faces; needs no data and about five minutes on two cores.

    Args:
        out: Folder for checkpoints, log and report.
        quiet: No progress bars.
    """
    from vlrface.experiment.demo import run_demo

    run_demo(out, progress=not quiet)


def train(
    recipe: tyro.conf.Positional[Path],
    out: Path | None = None,
    data: Path = Path("data"),
    cache: Path = Path("cache"),
    seed: int | None = None,
    set: tuple[str, ...] = (),  # noqa: A002 (the name of the flag)
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
        quiet: No progress bars.
    """
    from vlrface.experiment.training import run_training

    run_training(recipe, out, data, cache, seed=seed, assignments=set, progress=not quiet)


def encode(
    checkpoint: tyro.conf.Positional[Path],
    data: tyro.conf.Positional[Path],
    output: Annotated[Path, Output],
    layout: Literal["auto", "tinyface", "identities", "pictures"] = "auto",
    flip: bool = True,
    batch_size: int = 64,
    allow_missing: bool = False,
    quiet: bool = False,
) -> None:
    """Encode pictures into a Faces file: embeddings, recognizability, names. Later measuring needs no network.

    Example: vlrface encode runs/lfw_vlr DATA/tinyface -o faces.npz

    Args:
        checkpoint: A checkpoint, or a run's folder for its best.
        data: Folder in the official TinyFace layout, or of identity folders, or of pictures.
        output: The .npz file to write.
        layout: What `data` is; auto looks for Testing_Set, then for folders of pictures.
        flip: Flip fusion: add the embedding of the mirrored crop.
        batch_size: Crops per call of the network.
        allow_missing: Count pictures that the lists name and the disk lacks as misses, instead of stopping.
        quiet: No progress bars.
    """
    from vlrface.experiment.encoding import encode_folder

    encode_folder(
        checkpoint, data, output, layout, flip=flip, batch_size=batch_size, allow_missing=allow_missing,
        progress=not quiet,
    )  # fmt: skip


def evaluate(
    source: tyro.conf.Positional[Path],
    benchmark: Literal["tinyface"] = "tinyface",
    data: Path | None = None,
    json: Path | None = None,
    report: Path | None = None,
    faces: Path | None = None,
    flip: bool = True,
    batch_size: int = 64,
    resamples: int = 1000,
    seed: int = 0,
    allow_missing: bool = False,
    quiet: bool = False,
) -> None:
    """Measure a checkpoint or a saved Faces file on a benchmark, with 95 % intervals, and draw a report.

    Example: vlrface evaluate runs/lfw_vlr --benchmark tinyface --data DATA/tinyface

    Args:
        source: A checkpoint, a run's folder, or a Faces file (.npz).
        benchmark: Which protocol.
        data: The data set in its official layout. Needed for a checkpoint; adds pictures to the report of a Faces file.
        json: File for the numbers; default BENCHMARK.json beside the source.
        report: File for the page; default BENCHMARK.html beside the source.
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
        source, benchmark, data, json_path=json, report_path=report, faces_path=faces, flip=flip,
        batch_size=batch_size, resamples=resamples, seed=seed, allow_missing=allow_missing, progress=not quiet,
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
    "encode": encode,
    "evaluate": evaluate,
    "score": score,
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
    except Exception as error:
        sys.exit(_explain(error))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def _explain(error: Exception) -> int:
    """Print an expected error; raise any other again."""
    from vlrface.data.batches import SampleError
    from vlrface.types import VlrfaceError

    if type(error).__name__ == "TrainingInterruptedError":
        print(error, file=sys.stderr)
        return 130
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
    "scipy": "benchmarks",
    "matplotlib": "report",
    "jinja2": "report",
    "pyarrow": "parquet",
}


if __name__ == "__main__":
    main()
