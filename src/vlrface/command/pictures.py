"""Commands that take pictures in bulk: `vlrface encode`, `score`."""

from pathlib import Path
from typing import Annotated

import tyro

from vlrface.command.names import Flat, Output
from vlrface.experiment.options import Layout, ModelOptions


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
