"""The JSON of the answers. Numbers that do not exist are null; a cosine and an index are rounded to what they mean."""

import base64
import math
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from vlrface.service.keys import Role
from vlrface.service.looking import Face
from vlrface.service.reference import Reference


class Refused(BaseModel):
    """Why."""

    code: str = Field(description="One word, for programs.")
    message: str = Field(description="A sentence, for people.")


class ErrorReply(BaseModel):
    """Every refusal has this form."""

    error: Refused


class ScoredFace(BaseModel):
    """A face, or a file that shows none (verdict "failed", with the reason in `error`)."""

    file: str
    number: int = Field(description="Of the face in its file, from 1, top to bottom and left to right.")
    box: tuple[float, float, float, float] | None = Field(description="Left, top, width, height in pixels.")
    landmarks: list[tuple[float, float]] | None = Field(description="Eyes, nose, corners of the mouth, in pixels.")
    recognizability: float | None = Field(description="Raw index of the model; larger is easier.")
    score: float | None = Field(description="Probability that the best match is right, as the calibration says.")
    verdict: str
    shorter_side_px: int
    place: float | None = Field(description="Share of the reference faces with a smaller index.")
    attention: list[list[float]] | None = Field(description="Where the model looks, rows from top to bottom.")
    picture: str | None = Field(description="The crop that was looked at, at most 128 pixels a side: JPEG in Base64.")
    seen: str | None = Field(description="What the model sees of it, which `attention` covers: JPEG in Base64.")
    error: str | None


class ScoreReply(BaseModel):
    """Faces in the order of the files."""

    faces: list[ScoredFace]


class VerifyReply(BaseModel):
    """Whether two faces are the same person's."""

    cosine: float | None
    same: bool | None = Field(description="null where it cannot be said; `reason` says why.")
    threshold: float | None
    faces: list[ScoredFace]
    reason: str


class FoundPerson(BaseModel):
    """Somebody whom a face may show."""

    person: str
    cosine: float
    face_id: int | None
    picture: bool = Field(description="Whether /v1/faces/{face_id}/picture shows the face.")


class FaceAnswer(BaseModel):
    """Who a face may show."""

    file: str
    number: int
    kind: Literal["candidates", "unknown", "not recognizable"]
    reason: str
    candidates: list[FoundPerson]
    face: ScoredFace


class IdentifyReply(BaseModel):
    """An answer for each face."""

    answers: list[FaceAnswer]


class RefusedFile(BaseModel):
    """A file that was not enrolled."""

    file: str
    reason: str


class DuplicateFace(BaseModel):
    """A face that is there already, or resembles somebody else."""

    file: str
    person: str
    cosine: float


class EnrolReply(BaseModel):
    """What was enrolled; it is on disk."""

    person: str
    enrolled: list[int] = Field(description="Ids of the new faces.")
    refused: list[RefusedFile]
    duplicates: list[DuplicateFace]


class ListedPerson(BaseModel):
    """Somebody enrolled."""

    person: str
    faces: int
    enrolled: str = Field(description="When the first face was stored, UTC, ISO 8601.")
    recognizability: float | None = Field(description="Mean index of the faces.")


class PeopleReply(BaseModel):
    """People by name."""

    people: list[ListedPerson]
    next: str | None = Field(description="Give it as `after` for more; null at the end.")


class ListedFace(BaseModel):
    """An enrolled face."""

    face_id: int
    source: str
    recognizability: float | None
    enrolled: str
    picture: bool


class PersonReply(BaseModel):
    """Somebody enrolled, with the faces."""

    person: str
    enrolled: str
    recognizability: float | None
    faces: list[ListedFace]


class RemoveReply(BaseModel):
    """Who is gone."""

    person: str
    removed_faces: int
    erased: bool = Field(description="Whether the bytes are gone from the file already.")


class AuditLine(BaseModel):
    """Who did what when."""

    time: str
    actor: str
    action: str
    subject: str
    outcome: str


class AuditReply(BaseModel):
    """Newest first."""

    entries: list[AuditLine]


class GalleryState(BaseModel):
    """The gallery of the service."""

    people: int
    faces: int
    keeps_pictures: bool


class HistogramReply(BaseModel):
    """Recognizability of reference faces; counts between the edges."""

    edges: list[float]
    recognizable: list[int]
    unrecognizable: list[int]


class LimitsReply(BaseModel):
    """What a request may cost."""

    body_bytes: int
    pixels: int
    files: int


class RulesReply(BaseModel):
    """When faces are the same person's, and which faces are searched."""

    match: float | None = Field(description="Least cosine of a candidate in a search.")
    pair: float | None = Field(description="Least cosine of two faces that are called the same.")
    score: float | None = Field(description="Least score; null: none is asked for.")
    verdict: bool = Field(description="Whether faces that the calibration calls unrecognizable are left out.")


class ModelReply(BaseModel):
    """What answers, and by which rules."""

    name: str
    space: str
    engine: str
    input: Annotated[tuple[int, int], Field(description="Height and width in pixels; several views lie in a column.")]
    embedding_dim: int
    has_index: bool
    has_attention: bool
    detector: bool
    flip: bool
    calibration: dict[str, object] | None
    reference: HistogramReply | None
    gallery: GalleryState | None
    limits: LimitsReply
    rules: RulesReply
    keys: bool = Field(description="Whether a key is asked for.")
    role: Role = Field(description="What the caller may do: read; also enrol; also remove and read the audit.")


class StateReply(BaseModel):
    """Alive, or ready."""

    status: Literal["alive", "ready"]


def number(value: float, digits: int = 6) -> float | None:
    """A number as JSON has it: None for NaN and infinity."""
    return round(value, digits) if math.isfinite(value) else None


def scored_face(face: Face, reference: Reference | None) -> ScoredFace:
    """A face as the answers show it."""
    sight = face.sight
    attention = None if sight is None else sight.attention
    return ScoredFace(
        file=face.file,
        number=face.number,
        box=face.box,
        landmarks=None if face.landmarks is None else [(float(x), float(y)) for x, y in face.landmarks],
        recognizability=None if sight is None else number(sight.recognizability),
        score=None if sight is None else number(sight.score),
        verdict="failed" if sight is None else sight.verdict,
        shorter_side_px=face.shorter_side,
        place=None if sight is None or reference is None else reference.place(sight.recognizability),
        attention=None if attention is None else [[round(float(v), 4) for v in row] for row in attention],
        picture=_base64(face.thumbnail),
        seen=_base64(face.framed),
        error=face.error or None,
    )


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")
