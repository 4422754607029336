"""Commands that take pictures in bulk: `vlrface encode`, `score`."""

from pathlib import Path
from typing import Annotated

import tyro

from vlrface.command.names import Flat, Output
from vlrface.experiment.options import BulkOptions, Layout, ModelOptions, Views


def encode(
    model: tyro.conf.Positional[Path],
    data: tyro.conf.Positional[tuple[str, ...]],
    output: Annotated[Path, Output],
    layout: Layout = "auto",
    list: Path | None = None,  # noqa: A002 (the name of the flag)
    measure: tuple[str, ...] = (),
    foreign: Annotated[ModelOptions, Flat] = ModelOptions(),
    bulk: Annotated[BulkOptions, Flat] = BulkOptions(),
    flip: bool = True,
    views: Views = 1,
    batch_size: int = 64,
    allow_missing: bool = False,
    quiet: bool = False,
) -> None:
    """Encode pictures: embeddings, recognizability, names. Later measuring needs no network.

    Example: vlrface encode runs/lfw_vlr DATA/tinyface -o faces.npz

    A Faces file (.npz) knows who is who and what a benchmark needs; it is made in memory. For any number of pictures of
    people nobody knows, give a folder or .parquet as output: vlrface encode model.onnx CROPS -o embeddings/. That takes
    the sources of `vlrface score`, in flat memory, and goes on after a kill.

    Args:
        model: A checkpoint, a run's folder for its best, or an .onnx file.
        data: Folder in an official layout, of identity folders or of pictures; a .bin or .rec file. For a folder or
            .parquet as output: as in `vlrface score`.
        output: The .npz file to write; a .parquet file; or a folder for Parquet parts.
        layout: What `data` is; auto looks for what tells it.
        list: Pair list (layout pairs) or CSV or Parquet table (layout table).
        measure: Quality measures to keep beside the embeddings: size, sharpness, sharpness_native, norm, ers, serfiq,
            or NAME=FILE[:COLUMN] from a CSV or from another model's Faces file (:norm, :recognizability).
        foreign: How an .onnx file takes its input.
        bulk: How it is done, for a folder or .parquet.
        flip: Flip fusion: add the embedding of the mirrored crop.
        views: Windows of a crop to see and average: 5 takes five times as long and finds loosely cut faces better. For
            a Faces file; in bulk, `vlrface export --views` makes a model that does so.
        batch_size: Crops per call of the network.
        allow_missing: Count pictures that the lists name and the disk lacks as misses, instead of stopping.
        quiet: No progress bars.
    """
    if output.suffix != ".npz":
        if views != 1:
            from vlrface.types import VlrfaceError

            raise VlrfaceError("--views is for a Faces file (.npz): in bulk, give a model of vlrface export --views")
        from vlrface.experiment.encoding import encode_bulk

        encode_bulk(
            model, data, output, options=bulk, model_options=foreign, flip=flip, batch_size=batch_size,
            progress=not quiet,
        )  # fmt: skip
        return
    from vlrface.experiment.encoding import encode_pictures

    encode_pictures(
        model, only(data), output, layout=layout, list_file=list, model_options=foreign, measures=measure, flip=flip,
        views=views, batch_size=batch_size, allow_missing=allow_missing, progress=not quiet,
    )  # fmt: skip


def only(sources: tuple[str, ...]) -> Path:
    """The one folder of a Faces file."""
    if len(sources) != 1:
        from vlrface.types import VlrfaceError

        raise VlrfaceError("a Faces file is of one folder: give one, or a folder or .parquet as output for several")
    return Path(sources[0])


def score(
    model: tyro.conf.Positional[Path],
    paths: tyro.conf.Positional[tuple[str, ...]],
    output: Annotated[Path, Output],
    least_score: float | None = None,
    accepted: Path | None = None,
    bulk: Annotated[BulkOptions, Flat] = BulkOptions(),
    batch_size: int = 64,
    strict: bool = False,
    quiet: bool = False,
) -> None:
    """Say for each crop whether the face on it can be recognised: raw index, score in [0, 1], verdict.

    Example: vlrface score model.onnx CROPS -o scores.html

    To filter a folder: vlrface score model.onnx CROPS -o scores.csv --accepted good.txt

    Any number of pictures, in flat memory. A run that was stopped or killed goes on with the same command, and repeats
    nothing: until all is done, results lie in parts beside the output (.NAME.parts). With a folder as output (-o OUT)
    they stay there, as Parquet.

    Args:
        model: A checkpoint, a run's folder for its best, or an .onnx file of vlrface export (no torch is needed then).
        paths: Pictures of one face each, folders with all below them, patterns ('cam*/**/*.jpg'), lists (.txt), tar
            shards, Parquet tables with a column image or path, videos.
        output: FILE.csv, FILE.parquet, FILE.html with the faces sorted by recognizability, or a folder for parts.
        least_score: From which score a picture is accepted; default the calibration's limit, 0.5. The verdict, which
            also asks the index, is not asked.
        accepted: File for the list of accepted pictures.
        bulk: How it is done.
        batch_size: Faces per call of the network.
        strict: Exit with 2 if any picture could not be scored.
        quiet: No progress bars.
    """
    from vlrface.experiment.scoring import score_paths

    failed = score_paths(
        model, paths, output, options=bulk, least_score=least_score, accepted=accepted, batch_size=batch_size,
        progress=not quiet,
    )  # fmt: skip
    if strict and failed:
        raise SystemExit(2)
