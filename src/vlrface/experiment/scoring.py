"""`vlrface score`: a raw index, a calibrated score and a verdict per file, as a table or a page."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlrface.calibrate import Calibration
from vlrface.data.folder import read_images
from vlrface.encode import encode
from vlrface.experiment.network import load_trained
from vlrface.files import written_atomically
from vlrface.images.decode import decode
from vlrface.images.resize import resize
from vlrface.types import Faces, VlrfaceError

_COLUMNS = ("path", "recognizability", "score", "verdict", "shorter_side_px", "reason")
_THUMBNAIL_SIDE = 64


@dataclass(frozen=True)
class _Row:
    path: str
    recognizability: float | None
    score: float | None
    verdict: str
    side: int
    reason: str


def score_paths(
    checkpoint: Path, paths: Sequence[Path], output: Path, *, batch_size: int = 64, progress: bool = True
) -> int:
    """What `vlrface score` does; see there.

    Returns:
        How many pictures could not be scored.

    Raises:
        VlrfaceError: no picture among the paths, an unknown kind of output, or a checkpoint that cannot score.
    """
    if not paths:
        raise VlrfaceError("give pictures, or folders of pictures")
    if output.suffix not in (".csv", ".parquet", ".html"):
        raise VlrfaceError(f"{output}: give a name that ends in .csv, .parquet or .html")
    if checkpoint.suffix == ".onnx":
        raise VlrfaceError(
            f"{checkpoint}: a score needs the index of recognizability, which a checkpoint of vlrface has and an ONNX "
            "model has not. What the model is worth, `vlrface evaluate` and `vlrface encode` say"
        )
    trained = load_trained(checkpoint)
    calibration = trained.calibration
    if calibration is None:
        raise VlrfaceError(
            f"{trained.path}: trained without recognizability, so it cannot score. "
            "Train with objective.weights.regression above 0, as recipes/lfw_vlr.py does"
        )
    manifest = read_images(paths)
    faces = encode(trained.recognizer, manifest, batch_size=batch_size, flip=True, progress=progress)
    rows = _rows(faces, [manifest.path(i) for i in range(len(manifest))], calibration)
    if output.suffix == ".csv":
        _write_csv(output, rows)
    elif output.suffix == ".parquet":
        _write_parquet(output, rows)
    else:
        _write_html(output, rows, _meaning(calibration))
    failed = [row for row in rows if row.reason]
    verdicts = {v: sum(row.verdict == v for row in rows) for v in ("recognizable", "doubtful", "unrecognizable")}
    print(f"{len(rows) - len(failed)} of {len(rows)} scored: " + ", ".join(f"{n} {v}" for v, n in verdicts.items()))
    for row in failed[:10]:
        print(f"  not scored: {row.path}: {row.reason}")
    if len(failed) > 10:
        print(f"  … and {len(failed) - 10} more, all in {output}")
    print(f"score       {_meaning(calibration)}\nwritten     {output}")
    if len(failed) == len(rows):
        raise VlrfaceError(f"none of {len(rows)} pictures could be scored; the reasons are in {output}")
    return len(failed)


def _meaning(calibration: Calibration) -> str:
    return (
        "The score is the probability that the best match of the face is the right person among "
        f"{calibration.gallery_size} gallery faces, fitted on {calibration.faces} faces of people the network was not "
        f"trained on (calibration error {calibration.calibration_error:.3f})."
    )


def _rows(faces: Faces, paths: Sequence[Path], calibration: Calibration) -> list[_Row]:
    scores = calibration.score(faces.recognizability)
    verdicts = calibration.verdict(faces.recognizability)
    rows: list[_Row] = []
    for i in range(len(faces)):
        reason = str(faces.failures[i]).removeprefix(f"{paths[i]}: ")
        rows.append(
            _Row(
                path=str(paths[i]),
                recognizability=None if reason else float(faces.recognizability[i]),
                score=None if reason else float(scores[i]),
                verdict="failed" if reason else str(verdicts[i]),
                side=int(faces.sizes[i]),
                reason=reason,
            )
        )
    return rows


def _write_csv(path: Path, rows: Sequence[_Row]) -> None:
    with written_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for r in rows:
            index = "" if r.recognizability is None else f"{r.recognizability:.5f}"
            score = "" if r.score is None else f"{r.score:.4f}"
            writer.writerow([r.path, index, score, r.verdict, r.side, r.reason])


def _write_parquet(path: Path, rows: Sequence[_Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = ("path", "recognizability", "score", "verdict", "side", "reason")
    table = pa.table({c: [getattr(r, v) for r in rows] for c, v in zip(_COLUMNS, values, strict=True)})
    with written_atomically(path) as temporary:
        pq.write_table(table, temporary)


def _write_html(path: Path, rows: Sequence[_Row], meaning: str) -> None:
    from vlrface.report import ScoredFace, write_score_page

    scored: list[ScoredFace] = []
    for row in rows:
        if row.recognizability is None or row.score is None:
            continue
        picture = decode(Path(row.path))
        longest = max(picture.shape[:2])
        if longest > _THUMBNAIL_SIDE:
            sides = [max(1, round(side * _THUMBNAIL_SIDE / longest)) for side in picture.shape[:2]]
            picture = resize(picture, sides[0], sides[1])
        scored.append(ScoredFace(Path(row.path), row.recognizability, row.score, row.verdict, np.asarray(picture)))
    failures = [(Path(row.path), row.reason) for row in rows if row.reason]
    write_score_page(path, scored, title="Recognizability", failures=failures, calibration=meaning)
