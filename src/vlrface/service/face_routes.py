"""Routes about faces that are shown and not kept: score, verify, identify."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from numpy import ndarray
from pydantic import BaseModel, ConfigDict, Field

from vlrface.gallery import Answer
from vlrface.gallery.answers import not_recognizable
from vlrface.service.callers import Caller
from vlrface.service.documents import PICTURE_REFUSALS, form, refusals
from vlrface.service.errors import ServiceError
from vlrface.service.looking import Face
from vlrface.service.replies import (
    FaceAnswer,
    FoundPerson,
    IdentifyReply,
    ScoredFace,
    ScoreReply,
    VerifyReply,
    number,
    scored_face,
)
from vlrface.service.running import Service

_MOST_CANDIDATES = 100


class DetectQuery(BaseModel):
    """Options of a request with pictures. One that does not exist is refused."""

    model_config = ConfigDict(extra="forbid")

    detect: bool = Field(False, description="Find the faces in whole pictures; else each picture is one face's crop.")


class VerifyQuery(DetectQuery):
    """Options of a comparison."""

    picture: bool = Field(False, description="Also give the crop of each face.")


class ScoreQuery(VerifyQuery):
    """Options of a score."""

    attention: bool = Field(False, description="Also give where the model looks, and what it sees.")


class IdentifyQuery(ScoreQuery):
    """Options of a search."""

    candidates: int = Field(5, ge=1, le=_MOST_CANDIDATES, description="At most so many for each face.")


def face_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["faces"])
    read = service.gate.needs("read")
    files = form(["files"], most=service.settings.limits.files)

    @router.post("/score", openapi_extra=files, responses=refusals(*PICTURE_REFUSALS))
    async def score(
        request: Request, caller: Annotated[Caller, Depends(read)], query: Annotated[ScoreQuery, Query()]
    ) -> ScoreReply:
        """Whether each face can be recognised: index, score, verdict."""
        faces = await looked(
            service, request, caller, ("files",), query, attention=query.attention, thumbnails=query.picture
        )
        return ScoreReply(faces=[_scored(service, face) for face in faces])

    @router.post("/verify", openapi_extra=form(["first", "second"]), responses=refusals(*PICTURE_REFUSALS))
    async def verify(
        request: Request, caller: Annotated[Caller, Depends(read)], query: Annotated[VerifyQuery, Query()]
    ) -> VerifyReply:
        """Whether two pictures show the same person. Each must show one face."""
        faces = await looked(service, request, caller, ("first", "second"), query, thumbnails=query.picture)
        return _verified(service, *_pair(faces))

    @router.post("/identify", openapi_extra=files, responses=refusals(*PICTURE_REFUSALS, 404))
    async def identify(
        request: Request, caller: Annotated[Caller, Depends(read)], query: Annotated[IdentifyQuery, Query()]
    ) -> IdentifyReply:
        """Who each face may show: candidates, unknown, or not recognizable. Searches are written to the audit."""
        service.the_gallery()
        wanted = {"attention": query.attention, "thumbnails": query.picture}
        faces = await looked(service, request, caller, ("files",), query, **wanted)
        return await _identified(service, caller, faces, query.candidates)

    return router


async def looked(
    service: Service,
    request: Request,
    caller: Caller,
    fields: tuple[str, ...],
    query: DetectQuery,
    *,
    attention: bool = False,
    thumbnails: bool = False,
) -> list[Face]:
    """Read the pictures of a request, and look at them; ServiceError as `Intake.uploads` and `Looker.faces`."""
    async with service.intake.uploads(request, fields) as uploads:
        service.gate.charge(caller, len(uploads))
        request.state.faces = 0
        faces = await service.looker.faces(
            uploads, detect=query.detect, attention=attention and service.has_attention, thumbnails=thumbnails
        )
    request.state.faces = sum(face.sight is not None for face in faces)
    for face in faces:
        service.counts.face("failed" if face.sight is None else face.sight.verdict)
    return faces


def _scored(service: Service, face: Face) -> ScoredFace:
    return scored_face(face, service.settings.reference)


def _pair(faces: list[Face]) -> tuple[Face, Face]:
    """The face of each of the two fields; ServiceError 415 or 422 where there is not one each."""
    pair: list[Face] = []
    for field in ("first", "second"):
        of_field = [face for face in faces if face.field == field]
        if not of_field:
            raise ServiceError(422, "no_file", f"Give a picture in the field {field}")
        if len(of_field) > 1:
            raise ServiceError(422, "several_faces", f"The field {field} shows {len(of_field)} faces: give one")
        if of_field[0].sight is None and of_field[0].error:
            status, code = (422, "no_face") if of_field[0].error.startswith("no face") else (415, "no_picture")
            raise ServiceError(status, code, f"{field}: {of_field[0].error}")
        pair.append(of_field[0])
    return pair[0], pair[1]


def _verified(service: Service, first: Face, second: Face) -> VerifyReply:
    threshold = service.settings.pair_match
    shown = [_scored(service, first), _scored(service, second)]
    cosine = _cosine(first, second)
    same: bool | None = None
    unsaid = [
        f"the {which} face is not recognizable ({why})"
        for which, face in (("first", first), ("second", second))
        if (why := not_recognizable_because(service, face))
    ]
    if not np.isfinite(cosine):
        reason = "A face could not be encoded."
    elif unsaid:
        reason = f"Not said: {' and '.join(unsaid)}."
    elif threshold is None:
        reason = f"The cosine is {cosine:.3f}; the service has no threshold to compare it with."
    else:
        same = bool(cosine >= threshold)
        reason = f"The cosine {cosine:.3f} is {'at least' if same else 'below'} the threshold {threshold:.3f}."
    return VerifyReply(cosine=number(cosine), same=same, threshold=threshold, faces=shown, reason=reason)


def not_recognizable_because(service: Service, face: Face) -> str:
    """Why the service's rules do not allow an answer about a face, as half a sentence; empty if they do."""
    if face.sight is None:
        return face.error
    answer = not_recognizable(face.sight.embedding, face.sight.recognizability, face.sight.score, service.rules())
    return "" if answer is None else answer.reason[0].lower() + answer.reason[1:].rstrip(".")


def _cosine(first: Face, second: Face) -> float:
    if first.sight is None or second.sight is None:
        return float("nan")
    product = np.dot(first.sight.embedding.astype(np.float64), second.sight.embedding.astype(np.float64))
    return float(np.clip(product, -1, 1))


async def _identified(service: Service, caller: Caller, faces: list[Face], candidates: int) -> IdentifyReply:
    gallery = service.the_gallery()
    if service.settings.match is None:  # refused when the service was made
        raise ServiceError(422, "no_threshold", "The service has no threshold: start it with --match")
    embeddings, indices, scores = _arrays(faces, service.model.encoder.embedding_dim)
    answers = await service.in_gallery(gallery.identify, embeddings, indices, scores, service.rules(candidates))
    kinds = [answer.kind for answer in answers]
    for kind in kinds:
        service.counts.answer(kind)
    words = ("candidates", "unknown", "not recognizable")
    await service.record(caller, "identify", ", ".join(f"{kinds.count(kind)} {kind}" for kind in words))
    keeps = gallery.info.keeps_pictures
    return IdentifyReply(
        answers=[_answer(service, face, answer, keeps=keeps) for face, answer in zip(faces, answers, strict=True)]
    )


def _arrays(faces: list[Face], dim: int) -> tuple[ndarray, ndarray, ndarray]:
    """Embeddings, indices and scores; NaN for a file without a face."""
    embeddings = np.full((len(faces), dim), np.nan, np.float32)
    indices = np.full(len(faces), np.nan)
    scores = np.full(len(faces), np.nan)
    for row, face in enumerate(faces):
        if face.sight is not None:
            embeddings[row] = face.sight.embedding
            indices[row], scores[row] = face.sight.recognizability, face.sight.score
    return embeddings, indices, scores


def _answer(service: Service, face: Face, answer: Answer, *, keeps: bool) -> FaceAnswer:
    found = [
        FoundPerson(
            person=each.person,
            cosine=round(each.cosine, 6),
            face_id=each.face_id,
            picture=keeps and each.face_id is not None,
        )
        for each in answer.candidates
    ]
    reason = answer.reason if face.sight is not None else f"There is no face: {face.error}."
    return FaceAnswer(
        file=face.file,
        number=face.number,
        kind=answer.kind,
        reason=reason,
        candidates=found,
        face=_scored(service, face),
    )
