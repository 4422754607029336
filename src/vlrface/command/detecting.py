"""Command for whole pictures: `vlrface detect`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from vlrface.command.names import Output


def detect(
    paths: tyro.conf.Positional[tuple[Path, ...]],
    output: Annotated[Path, Output],
    detector: Path | None = None,
    smallest_face: int = 12,
    least_confidence: float = 0.6,
    cut: Literal["loose", "aligned"] = "loose",
    size: int = 112,
    annotate: Path | None = None,
    model: Path | None = None,
    strict: bool = False,
    quiet: bool = False,
) -> None:
    """Find the faces of whole pictures: a crop of each, numbered, and a table of them.

    Example: vlrface detect PHOTOS -o faces --detector auto, then vlrface score model.onnx faces -o scores.csv

    Small faces in large pictures are looked for tile by tile, enlarged. Faces are numbered from top to bottom, then
    from left to right, as the service and its page number them. A picture that cannot be read is a row with its reason.
    Killed and started again with the same options, it goes on where it was.

    Args:
        paths: Pictures, or folders of pictures.
        output: Folder for the crops, PICTURE-01.png and so on, and their table, faces.csv.
        detector: A YuNet .onnx file; auto fetches OpenCV's (227 KiB, checked by SHA-256) once into the cache folder;
            default the one that was fetched before. Nothing else is fetched.
        smallest_face: Height in pixels of the smallest face to look for; 24 takes a quarter of the time of 12.
        least_confidence: What the detector is less sure of is no face.
        cut: loose, as networks for small faces are trained (those of vlrface); aligned for models trained on aligned
            faces, where the landmarks can be relied on, and loose elsewhere (the table says which and why).
        size: Side of aligned crops in pixels.
        annotate: Folder for copies of the pictures with numbered boxes; not within OUTPUT.
        model: Score each face at once, with this exported model, checkpoint or run's folder.
        strict: Exit with 2 if any picture could not be read.
        quiet: No progress bar.
    """
    from vlrface.experiment.detecting import Finding, detect_command

    finding = Finding(smallest_face, least_confidence, cut, size)
    failed = detect_command(
        paths, output, detector=detector, finding=finding, annotate=annotate, model=model, progress=not quiet
    )
    if strict and failed:
        raise SystemExit(2)
