"""What goes into a gallery and what comes out: small frozen values, and the rules by which a search is answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.metrics.calibration import Calibration
from vlrface.types import VlrfaceError

Template = Literal["mean", "recognizability"]
"""How the faces of a person become one vector: see `vlrface.metrics.templates`."""

AnswerKind = Literal["candidates", "unknown", "not recognizable"]


@dataclass(frozen=True, eq=False)
class NewFace:
    """A face to be enrolled.

    Attributes:
        embedding: (d,) float; divided by its length before it is stored.
        recognizability: raw index; NaN where the model gives none.
        source: where it came from, for people: a file name.
        picture: a JPEG of it; kept only by a gallery that keeps pictures.
    """

    embedding: Float[ndarray, " d"]
    recognizability: float = float("nan")
    source: str = ""
    picture: bytes | None = None


@dataclass(frozen=True)
class Duplicate:
    """A face to be enrolled that is there already, or that looks like somebody else.

    Attributes:
        number: which of the given faces, from 0.
        person: whom it equals or resembles.
        cosine: to the stored face, or to the template.
        face_id: the stored face of the same values, of this person up to the last digits; None where only the template
            is near, or where the other face was given with it.
        enrolled: False for a face that the person has already: it is not stored twice.
    """

    number: int
    person: str
    cosine: float
    face_id: int | None
    enrolled: bool


@dataclass(frozen=True)
class Enrolment:
    """What an enrolment did; it is on disk.

    Attributes:
        person: the name.
        face_ids: of the faces that were stored, in the order given.
        duplicates: what a person should look at.
    """

    person: str
    face_ids: tuple[int, ...]
    duplicates: tuple[Duplicate, ...]


@dataclass(frozen=True)
class Removal:
    """What a removal did.

    Attributes:
        person: the name.
        faces: how many faces went with it.
        erased: whether the bytes are gone from the files. False while another process reads the gallery: they go with
            the next removal, or when the gallery is next opened by one process alone.
    """

    person: str
    faces: int
    erased: bool


@dataclass(frozen=True)
class Person:
    """Somebody who is enrolled.

    Attributes:
        name: unique in the gallery.
        number: unique for ever; the audit names people by it, so that a removed name is not kept there.
        faces: how many.
        enrolled: when the first face was stored, UTC.
        recognizability: mean raw index of the faces that have one; NaN if none has.
    """

    name: str
    number: int
    faces: int
    enrolled: datetime
    recognizability: float


@dataclass(frozen=True)
class StoredFace:
    """One enrolled face, without its embedding."""

    face_id: int
    source: str
    recognizability: float
    enrolled: datetime
    has_picture: bool


@dataclass(frozen=True)
class AuditEntry:
    """Who did what when; `subject` is "person NUMBER", or empty."""

    time: datetime
    actor: str
    action: str
    subject: str
    outcome: str


@dataclass(frozen=True)
class Info:
    """What a gallery was made for; never changes.

    Attributes:
        space: which embeddings may be compared: fingerprint of the model.
        dim: length of an embedding.
        model_name: for people.
        template: how a person's faces become one vector.
        keeps_pictures: whether pictures are stored.
        encrypted: whether names, embeddings, sources and pictures are.
    """

    space: str
    dim: int
    model_name: str = ""
    template: Template = "recognizability"
    keeps_pictures: bool = False
    encrypted: bool = False


@dataclass(frozen=True)
class Rules:
    """When a search ends in candidates.

    Attributes:
        match: least cosine of a candidate, in [-1, 1].
        score: least calibrated score of the searched face, in [0, 1]; None: it is not asked.
        index: least raw recognizability index; None: it is not asked.
        candidates: at most so many, at least 1.
        calibration: a face that it calls unrecognizable is not searched; None: it is not asked.

    Raises:
        VlrfaceError: a value out of its range.
    """

    match: float
    score: float | None = None
    index: float | None = None
    candidates: int = 5
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if not (-1 <= self.match <= 1 and (self.score is None or 0 <= self.score <= 1) and self.candidates >= 1):
            raise VlrfaceError(
                f"{self}: a match is a cosine in [-1, 1], a score lies in [0, 1], and at least one candidate is listed"
            )
        if self.index is not None and np.isnan(self.index):
            raise VlrfaceError("the least recognizability index is NaN: give a number, or None to ask for none")


@dataclass(frozen=True)
class Candidate:
    """Somebody whom a face may show.

    Attributes:
        person: the name.
        cosine: to the person's template.
        face_id: the person's most recognizable face, to be shown; None where the store knows none.
    """

    person: str
    cosine: float
    face_id: int | None


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Attributes:
        kind: "candidates": these people are near enough, best first; "unknown": the face can be recognised and nobody
            in the gallery is near enough; "not recognizable": the face itself does not allow an answer, and was not
            searched.
        reason: one sentence with the numbers.
        candidates: empty unless that is the kind.
        nearest: cosine of the nearest person, listed or not; NaN where nobody was searched.
    """

    kind: AnswerKind
    reason: str
    candidates: tuple[Candidate, ...] = ()
    nearest: float = float("nan")


def not_recognizable(
    embedding: Float[ndarray, " d"], recognizability: float, score: float, rules: Rules
) -> Answer | None:
    """The answer for a face that does not allow one; None for a face that is to be searched.

    Raises:
        VlrfaceError: the rules ask for a score, an index or a verdict that the model does not give.
    """
    if not np.isfinite(embedding).all():
        return Answer("not recognizable", "The picture could not be encoded.")
    if rules.index is not None:
        if np.isnan(recognizability):
            raise VlrfaceError("the rules ask for a recognizability index, and the model gives none: leave it out")
        if recognizability < rules.index:
            return Answer(
                "not recognizable",
                f"Its recognizability {recognizability:.3f} is below the least of {rules.index:.3f}.",
            )
    if rules.score is not None:
        if np.isnan(score):
            raise VlrfaceError(
                "the rules ask for a score, and the model has none: train it with held-out people, or leave it out"
            )
        if score < rules.score:
            return Answer("not recognizable", f"Its score {score:.2f} is below the least of {rules.score:.2f}.")
    return _unrecognizable(recognizability, rules.calibration)


def _unrecognizable(recognizability: float, calibration: Calibration | None) -> Answer | None:
    if calibration is None:
        return None
    if np.isnan(recognizability):
        raise VlrfaceError("the rules ask for the calibration's verdict, and the model gives no index: leave it out")
    why = calibration.why_unrecognizable(recognizability)
    return Answer("not recognizable", f"The calibration calls it unrecognizable: {why}.") if why else None


def searched(found: Sequence[Candidate], people: int, rules: Rules) -> Answer:
    """The answer for a face that was searched.

    Args:
        found: the nearest people, best first; none only of an empty gallery.
        people: how many were searched.
        rules: which of them are near enough.
    """
    if not found:
        return Answer("unknown", "The gallery is empty.")
    best = found[0]
    among = f"{people:,} {'person' if people == 1 else 'people'}"
    if best.cosine < rules.match:
        return Answer(
            "unknown",
            f"The nearest of {among} has cosine {best.cosine:.3f}, below the threshold {rules.match:.3f}.",
            nearest=best.cosine,
        )
    listed = tuple(each for each in found[: rules.candidates] if each.cosine >= rules.match)
    return Answer(
        "candidates",
        f"{best.person} is the nearest of {among} with cosine {best.cosine:.3f}, at least the threshold "
        f"{rules.match:.3f}.",
        listed,
        best.cosine,
    )
