"""`vlrface gallery identify` and `verify`: who pictures may show, by the rules of a wished rate."""

import csv
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from vlrface.bulk import Row, check_sources, list_items, look_at
from vlrface.encode.served import ServedModel
from vlrface.experiment.bulk import finder
from vlrface.experiment.options import SearchOptions
from vlrface.experiment.places import check_gallery, open_gallery
from vlrface.experiment.rules import asked_of_faces, beyond_measured, match_threshold
from vlrface.experiment.served import load_served
from vlrface.files import table_written_atomically, write_json
from vlrface.gallery import Answer, Gallery, Rules
from vlrface.gallery.answers import not_recognizable
from vlrface.types import VlrfaceError

ACTOR: Final = "vlrface gallery"
"""Whom the audit names."""

_AT_ONCE: Final = 256
_FAILED: Final = "failed"
_KINDS: Final = ("candidates", "unknown", "not recognizable")

Match = Literal["match", "none", "unanswered"]
"""Whether faces are a person's: all are, one at least is not, or one cannot be judged."""


@dataclass(frozen=True)
class Answered:
    """A face and the answer.

    Attributes:
        path: the picture; of the second face of a whole picture on, with its number.
        score: calibrated; NaN without calibration.
        recognizability: raw index.
        answer: of the gallery.
        failed: there was no face to ask about: the picture could not be read, or none was found in it.
    """

    path: str
    score: float
    recognizability: float
    answer: Answer
    failed: bool = False

    @property
    def kind(self) -> str:
        """The kind of the answer; "failed" where there was no face."""
        return _FAILED if self.failed else self.answer.kind

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "path": self.path,
            "answer": self.kind,
            "reason": self.answer.reason,
            "candidates": [{"person": c.person, "cosine": c.cosine} for c in self.answer.candidates],
            "nearest": _number(self.answer.nearest),
            "score": _number(self.score),
            "recognizability": _number(self.recognizability),
        }


def identify(
    place: str, model: Path, sources: Sequence[str], options: SearchOptions, output: Path | None = None
) -> Counter[str]:
    """What `vlrface gallery identify` does; see there.

    Returns:
        How many faces got which kind of answer; "failed" for pictures without a face to ask about.

    Raises:
        VlrfaceError: no threshold, a gallery of another model, or nothing to look at.
    """
    if output is not None and output.suffix not in (".csv", ".json"):
        raise VlrfaceError(f"{output}: give a name that ends in .csv or .json")
    check_gallery(place)
    check_sources(sources)
    served = load_served(model, engine=options.engine, threads=options.threads)
    rules = rules_of(served, options)
    with open_gallery(place, space=served.space) as gallery:
        if told := beyond_measured(served.calibration, options.fpir, gallery.counts[0]):
            print(told, file=sys.stderr)
        found: list[Answered] = []
        for each in answers(gallery, served, sources, rules, options.detector):
            found.append(each)
            if output is None:
                print(f"{each.path}: {_said(each)}")
        if not found:
            raise VlrfaceError(f"no picture found in {', '.join(sources)}")
        kinds = Counter(each.kind for each in found)
        outcome = [f"{kinds[kind]} {kind}" for kind in (*_KINDS, _FAILED) if kind != _FAILED or kinds[kind]]
        gallery.record(ACTOR, "identify", outcome=", ".join(outcome))
    if output is not None:
        _write(output, found)
        print(f"written     {output}")
    print(f"{kinds.total() - kinds[_FAILED]:,} faces: " + ", ".join(f"{kinds[kind]:,} {kind}" for kind in _KINDS))
    if kinds[_FAILED]:
        print(f"{kinds[_FAILED]:,} could not be read, or show no face")
    return kinds


def answers(
    gallery: Gallery, served: ServedModel, sources: Sequence[str], rules: Rules, detector: Path | None = None
) -> Iterator[Answered]:
    """The answer to each face of pictures, in their order.

    Args:
        gallery: open, of the model's space.
        served: the model.
        sources: see `bulk.list_items`.
        rules: what is asked of a face and of a candidate.
        detector: finds the faces of whole pictures.

    Raises:
        VlrfaceError: a source cannot be listed, or the rules ask for what the model does not give.
    """
    flow = look_at(list_items(sources), served, find=finder(detector))
    rows = (row for _, each in flow for row in each)
    while some := list(islice(rows, _AT_ONCE)):
        found = gallery.identify(
            np.stack([row.embedding for row in some]),
            np.array([row.recognizability for row in some]),
            np.array([row.score for row in some]),
            rules,
        )
        for row, answer in zip(some, found, strict=True):
            yield Answered(row.key, row.score, row.recognizability, _explained(row, answer), bool(row.reason))


def verify(place: str, model: Path, person: str, sources: Sequence[str], options: SearchOptions) -> Match:
    """What `vlrface gallery verify` does; see there.

    Returns:
        Whether every face matches the person; one that does not outweighs one that cannot be judged.

    Raises:
        VlrfaceError: no threshold, nobody of that name, nothing to look at, or the rules ask for what the model does
            not give.
    """
    check_gallery(place)
    check_sources(sources)
    served = load_served(model, engine=options.engine, threads=options.threads)
    rules = rules_of(served, options)
    found: list[_Judged] = []
    with open_gallery(place, space=served.space) as gallery:
        gallery.person(person)
        for _, rows in look_at(list_items(sources), served, find=finder(options.detector)):
            for row in rows:
                found.append(_verified(gallery, person, row, rules))
                print(f"{row.key}: {found[-1].said}")
        if not found:
            raise VlrfaceError(f"no picture found in {', '.join(sources)}")
        kinds = Counter(each.match for each in found)
        outcome = f"{kinds['match']} of {len(found)} match"
        unanswered = f", {kinds['unanswered']} cannot be judged" if kinds["unanswered"] else ""
        gallery.record(ACTOR, "verify", person=person, outcome=outcome + unanswered)
    print(f"{outcome} {person}{unanswered}")
    return "none" if kinds["none"] else "unanswered" if unanswered else "match"


def rules_of(served: ServedModel, options: SearchOptions) -> Rules:
    """The rules that options and calibration give.

    Raises:
        VlrfaceError: no threshold is given, or the calibration has none for the wished rate.
    """
    match = match_threshold(
        served.calibration, match=options.match, fmr=options.fmr, fpir=options.fpir, space=served.space
    )
    if match is None:
        raise VlrfaceError(
            "a search needs a threshold: give --match COSINE, or --fpir RATE or --fmr RATE of a calibrated model "
            "(vlrface calibrate)"
        )
    score, calibration = asked_of_faces(options.least_score, served.calibration)
    return Rules(match, score=score, candidates=options.candidates, calibration=calibration)


class _Judged(NamedTuple):
    """What is said of a face beside a person."""

    match: Match
    said: str


def _verified(gallery: Gallery, person: str, row: Row, rules: Rules) -> _Judged:
    if row.reason:
        return _Judged("unanswered", f"failed: {row.reason}")
    refused = not_recognizable(row.embedding, row.recognizability, row.score, rules)
    if refused is not None:
        return _Judged("unanswered", f"{refused.kind}: {refused.reason}")
    cosine = gallery.verify(person, row.embedding)
    if cosine >= rules.match:
        return _Judged("match", f"matches {person}: cosine {cosine:.3f}, at least {rules.match:.3f}")
    return _Judged("none", f"does not match {person}: cosine {cosine:.3f}, below {rules.match:.3f}")


def _explained(row: Row, answer: Answer) -> Answer:
    """With the reason of a picture that could not be read."""
    return Answer(answer.kind, row.reason, answer.candidates, answer.nearest) if row.reason else answer


def _said(found: Answered) -> str:
    if found.kind != "candidates":
        return f"{found.kind}: {found.answer.reason}"
    return ", ".join(f"{c.person} ({c.cosine:.3f})" for c in found.answer.candidates)


def _write(path: Path, found: Sequence[Answered]) -> None:
    if path.suffix == ".json":
        write_json(path, [each.to_json() for each in found])
        return
    with table_written_atomically(path) as file:
        writer = csv.writer(file)
        writer.writerow(("path", "answer", "person", "cosine", "others", "score", "recognizability", "reason"))
        for each in found:
            candidates = each.answer.candidates
            writer.writerow(
                (
                    each.path,
                    each.kind,
                    candidates[0].person if candidates else "",
                    _text(each.answer.nearest),
                    "; ".join(f"{c.person} ({c.cosine:.3f})" for c in candidates[1:]),
                    _text(each.score),
                    _text(each.recognizability),
                    each.answer.reason,
                )
            )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _text(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else ""
