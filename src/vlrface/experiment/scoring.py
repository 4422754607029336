"""`vlrface score`: a raw index, a calibrated score and a verdict per face, as tables or a page."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from vlrface.bulk import Parts, check_sources
from vlrface.bulk.parts import SUMMARY, Table, write_parquet
from vlrface.calibrate import Calibration
from vlrface.encode.served import ServedModel
from vlrface.experiment.accepting import write_accepted
from vlrface.experiment.bulk import BulkTask, alone, finish, loaded, run_bulk
from vlrface.experiment.options import BulkOptions
from vlrface.files import table_written_atomically, write_json
from vlrface.images.decode import DecodeError, decode
from vlrface.images.resize import resize
from vlrface.types import VlrfaceError

MOST_ON_A_PAGE: Final = 20_000
"""Faces; beyond, a page would not open any more, and a table is written in its place."""

_VERDICTS: Final = ("recognizable", "doubtful", "unrecognizable")
_THUMBNAIL_SIDE: Final = 64
_SHOWN_FAILURES: Final = 10


@dataclass
class _Told:
    """What is said at the end."""

    verdicts: Counter[str] = field(default_factory=Counter[str])
    failures: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def add(self, table: Table) -> None:
        """Count a part."""
        self.verdicts.update(table.texts["verdict"])
        failed = [
            (path, reason) for path, reason in zip(table.texts["path"], table.texts["reason"], strict=True) if reason
        ]
        self.failures += failed[: _SHOWN_FAILURES - len(self.failures)]


def score_paths(
    model: Path,
    paths: Sequence[Path | str],
    output: Path,
    *,
    options: BulkOptions | None = None,
    least_score: float | None = None,
    accepted: Path | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> int:
    """What `vlrface score` does; see there.

    Args:
        model: a checkpoint, a run's folder or an exported model.
        paths: sources, see `bulk.list_items`.
        output: a .csv, .parquet or .html file; or a folder, for parts.
        options: of bulk work.
        least_score: from which a face is accepted; None for the calibration's limit of "recognizable".
        accepted: file for the list of accepted pictures.
        batch_size: faces per call of the network.
        progress: show a progress bar.

    Returns:
        How many pictures could not be scored.

    Raises:
        VlrfaceError: no picture among the sources, an unknown kind of output, or a model that cannot score.
    """
    if not paths:
        raise VlrfaceError("give pictures, or folders of pictures")
    if least_score is not None and not 0 <= least_score <= 1:
        raise VlrfaceError(f"--least-score is a score from 0 to 1, not {least_score:g}")
    if least_score is not None and accepted is None:
        raise VlrfaceError("--least-score says what --accepted FILE lists: give both")
    if output.suffix not in ("", ".csv", ".parquet", ".html"):
        raise VlrfaceError(f"{output}: give a name that ends in .csv, .parquet or .html, or a folder for parts")
    check_sources(list(map(str, paths)))
    task = BulkTask(
        model, tuple(map(str, paths)), "scores", options or BulkOptions(), batch_size=batch_size, progress=progress
    )
    served = loaded(task)
    calibration = _calibration(served, model)
    whole = output.suffix != ""
    with alone(output):
        parts = run_bulk(task, served, output, otherwise=_too_large_for_a_page(output))
        told = _Told()
        written = _write(output, parts, told, _meaning(calibration)) if whole else _summarised(output, parts, told)
        if accepted is not None:
            least = calibration.recognizable_from if least_score is None else least_score
            write_accepted(accepted, parts, least, whole_pictures=task.options.detector is not None)
        failed = told.verdicts["failed"]
        _print(told, failed, calibration, written)
        if whole:
            finish(written, parts)
    if failed == told.verdicts.total():
        raise VlrfaceError(f"none of {failed} pictures could be scored; the reasons are in {written}")
    return failed


def _calibration(served: ServedModel, model: Path) -> Calibration:
    if served.calibration is not None:
        return served.calibration
    if "sha256" in served.meta and "experiment" not in served.meta:
        raise VlrfaceError(
            f"{model}: a score needs the index of recognizability, which models of vlrface have and another ONNX model "
            "has not. What the model is worth, `vlrface evaluate` and `vlrface encode` say"
        )
    raise VlrfaceError(
        f"{model}: trained without recognizability, so it cannot score. "
        "Train with objective.weights.regression above 0, as recipes/lfw_vlr.py does"
    )


def _print(told: _Told, failed: int, calibration: Calibration, written: Path) -> None:
    total = told.verdicts.total()
    verdicts = ", ".join(f"{told.verdicts[verdict]:,} {verdict}" for verdict in _VERDICTS)
    print(f"{total - failed:,} of {total:,} scored: {verdicts}")
    for path, reason in told.failures:
        print(f"  not scored: {path}: {reason}")
    if failed > len(told.failures):
        print(f"  … and {failed - len(told.failures):,} more, all in {written}")
    print(f"score       {_meaning(calibration)}\nwritten     {written}")


def _meaning(calibration: Calibration) -> str:
    """What a score says, and of which faces that is known: a page of other faces must not look surer than it is."""
    seen = calibration.data or f"{calibration.faces} faces"
    return (
        "The score is the probability that the best match of the face is the right person among "
        f"{calibration.gallery_size} gallery faces. That was measured on people the network was not trained on "
        f"({seen}; off by {calibration.calibration_error:.3f} on average). For pictures unlike those it is a guess: "
        "measure it on people of your own with vlrface calibrate."
    )


def _summarised(output: Path, parts: Parts, told: _Told) -> Path:
    """Of a folder, a file says that it is whole."""
    for table in parts.read():
        told.add(table)
    write_json(output / SUMMARY, {"faces": told.verdicts.total(), "parts": parts.count(), **told.verdicts})
    return output


def _too_large_for_a_page(output: Path) -> Path | None:
    """The table in place of a page: not NAME.csv, which may be there and another's."""
    return output.with_name(f"{output.name}.csv") if output.suffix == ".html" else None


def _write(output: Path, parts: Parts, told: _Told, meaning: str) -> Path:
    """All parts as one file; counts them."""

    def tables() -> Iterator[Table]:
        for table in parts.read():
            told.add(table)
            yield table

    if output.suffix == ".parquet":
        write_parquet(output, tables())
        return output
    instead = _too_large_for_a_page(output)
    if instead is not None:
        faces = sum(len(table) for table in parts.read())
        if faces <= MOST_ON_A_PAGE:
            _write_html(output, tables(), meaning)
            return output
        print(f"{faces:,} faces are too many for one page ({MOST_ON_A_PAGE:,}): written as a table")
        output = instead
    _write_csv(output, tables())
    return output


def _write_csv(path: Path, tables: Iterator[Table]) -> None:
    with table_written_atomically(path) as file:
        writer = csv.writer(file)
        writer.writerow(("path", "recognizability", "score", "verdict", "shorter_side_px", "reason"))
        for table in tables:
            index, score = table.numbers["recognizability"], table.numbers["score"]
            writer.writerows(
                zip(
                    table.texts["path"],
                    ["" if np.isnan(each) else f"{each:.5f}" for each in index.tolist()],
                    ["" if np.isnan(each) else f"{each:.4f}" for each in score.tolist()],
                    table.texts["verdict"],
                    table.numbers["shorter_side_px"].tolist(),
                    table.texts["reason"],
                    strict=True,
                )
            )


def _write_html(path: Path, tables: Iterator[Table], meaning: str) -> None:
    from vlrface.report import ScoredFace, write_score_page

    scored: list[ScoredFace] = []
    failures: list[tuple[Path | str, str]] = []
    for table in tables:
        numbers = zip(table.numbers["recognizability"].tolist(), table.numbers["score"].tolist(), strict=True)
        texts = zip(table.texts["path"], table.texts["verdict"], table.texts["reason"], strict=True)
        for (name, verdict, reason), (index, score) in zip(texts, numbers, strict=True):
            if reason:
                failures.append((Path(name), reason))
            else:
                scored.append(ScoredFace(Path(name), index, score, verdict, _thumbnail(name)))
    write_score_page(path, scored, title="Recognizability", failures=failures, calibration=meaning)


def _thumbnail(name: str) -> np.ndarray | None:
    """A small picture of a file; None of what is no file of its own."""
    with suppress(DecodeError):
        picture = decode(Path(name))
        longest = max(picture.shape[:2])
        if longest <= _THUMBNAIL_SIDE:
            return picture
        sides = [max(1, round(side * _THUMBNAIL_SIDE / longest)) for side in picture.shape[:2]]
        return resize(picture, sides[0], sides[1])
    return None
