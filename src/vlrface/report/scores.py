"""The page of `vlrface score`: faces from easy to hard, with index, score and verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.report.crops import data_address
from vlrface.report.distributions import score_histogram
from vlrface.report.inputs import VERDICTS, ScoredFace
from vlrface.report.template import render
from vlrface.report.wording import number, percent


@dataclass(frozen=True)
class Tally:
    """How many files have one verdict."""

    verdict: str
    count: str
    share: str
    first: int


@dataclass(frozen=True)
class Entry:
    """A scored face as the page shows it."""

    source: str
    name: str
    path: str
    recognizability: str
    score: str
    level: float
    verdict: str
    reason: str


def render_scores(
    rows: Sequence[ScoredFace],
    *,
    title: str,
    failures: Sequence[tuple[Path | str, str]] = (),
    calibration: str = "",
) -> str:
    """The page as text; see `vlrface.report.html.write_score_page`."""
    ordered = sorted(rows, key=lambda row: -row.recognizability if math.isfinite(row.recognizability) else math.inf)
    scores: dict[str, Float[ndarray, " _"]] = {
        verdict: np.array([row.score for row in rows if row.verdict == verdict and math.isfinite(row.score)])
        for verdict in VERDICTS
    }
    verdicts = [row.verdict for row in ordered]
    tallies = [
        Tally(
            verdict,
            f"{verdicts.count(verdict):,}",
            percent(verdicts.count(verdict) / len(rows)),
            verdicts.index(verdict),
        )
        for verdict in VERDICTS
        if verdict in verdicts
    ]
    return render(
        "scores.html.j2",
        title=title,
        summary=_summary(rows, len(failures)),
        calibration=calibration,
        tallies=tallies,
        histogram=score_histogram(scores, ident="f0", wide=True),
        narrow=score_histogram(scores, ident="f1", wide=False),
        entries=[_entry(row) for row in ordered],
        failures=failures,
    )


def _summary(rows: Sequence[ScoredFace], failures: int) -> str:
    files = len(rows) + failures
    text = f"{files:,} file{'s' if files != 1 else ''}"
    if not rows:
        return f"{text}, none of which could be scored."
    clear = sum(row.verdict == "recognizable" for row in rows)
    text += f": {clear:,} hold{'s' if clear == 1 else ''} a face that can be recognised"
    hopeless = sum(row.verdict == "unrecognizable" for row in rows)
    text += f", {hopeless:,} {'does' if hopeless == 1 else 'do'} not"
    doubtful = len(rows) - clear - hopeless
    text += f", {doubtful:,} {'is' if doubtful == 1 else 'are'} doubtful" if doubtful else ""
    return text + (f", {failures:,} could not be read." if failures else ".")


def _entry(row: ScoredFace) -> Entry:
    score = row.score if math.isfinite(row.score) else 0.0
    return Entry(
        source="" if row.thumbnail is None else data_address(row.thumbnail, exact=False),
        name=row.path.name,
        path=str(row.path),
        recognizability=number(row.recognizability),
        score=f"{row.score:.2f}" if math.isfinite(row.score) else "–",
        level=round(100 * min(max(score, 0.0), 1.0), 1),
        verdict=row.verdict,
        reason=row.reason,
    )
