"""Routes about people who are kept: enrol, list, show, remove, and the audit of all that."""

from datetime import datetime
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from vlrface.gallery import Enrolment, Gallery, NewFace, Person
from vlrface.gallery.store import check_name
from vlrface.service.callers import Caller
from vlrface.service.documents import PICTURE_REFUSALS, form, refusals
from vlrface.service.errors import ServiceError
from vlrface.service.face_routes import DetectQuery, looked, not_recognizable_because
from vlrface.service.looking import Face
from vlrface.service.replies import (
    AuditLine,
    AuditReply,
    DuplicateFace,
    EnrolReply,
    ListedFace,
    ListedPerson,
    PeopleReply,
    PersonReply,
    RefusedFile,
    RemoveReply,
    number,
)
from vlrface.service.running import Service
from vlrface.types import VlrfaceError

_MOST_LISTED = 1000
_LARGEST_ID = 2**63 - 1  # of SQLite
_LONGEST_NAME = 200

PersonName = Annotated[str, Path(min_length=1, max_length=_LONGEST_NAME, description="The person's name.")]


class PeopleQuery(BaseModel):
    """Which part of the list."""

    model_config = ConfigDict(extra="forbid")

    after: str = Field("", max_length=_LONGEST_NAME, description="`next` of the part before.")
    limit: int = Field(100, ge=1, le=_MOST_LISTED)
    search: str = Field(
        "",
        max_length=_LONGEST_NAME,
        description="Part of the name, in capitals or not.",
    )


class AuditQuery(BaseModel):
    """How much of the audit."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=_MOST_LISTED)


def people_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["people"])
    read, enrols, admin = (service.gate.needs(role) for role in ("read", "enrol", "admin"))
    usual = (401, 403, 404, 409, 429, 503)

    @router.post(
        "/people/{person}/faces",
        openapi_extra=form(["files"], most=service.settings.limits.files),
        responses=refusals(*PICTURE_REFUSALS, 404),
    )
    async def enrol(
        request: Request,
        caller: Annotated[Caller, Depends(enrols)],
        person: PersonName,
        query: Annotated[DetectQuery, Query()],
    ) -> EnrolReply:
        """Add faces to a person, who is made if new. Durable when it answers. With `detect`, one face a picture."""
        gallery = service.the_gallery()
        name = _checked(person)
        keeps = gallery.info.keeps_pictures
        faces = await looked(service, request, caller, ("files",), query, thumbnails=keeps)
        return await _enrolled(service, caller, name, faces)

    @router.get("/people", responses=refusals(*usual))
    async def people(
        caller: Annotated[Caller, Depends(read)],  # noqa: ARG001
        query: Annotated[PeopleQuery, Query()],
    ) -> PeopleReply:
        """People by name, in order of code points."""
        gallery = service.the_gallery()
        found, following = await service.in_gallery(_listed, gallery, query)
        listed = [
            ListedPerson(
                person=each.name,
                faces=each.faces,
                enrolled=_time(each.enrolled),
                recognizability=number(each.recognizability),
            )
            for each in found
        ]
        return PeopleReply(people=listed, next=following)

    @router.get("/people/{person}", responses=refusals(*usual))
    async def show(caller: Annotated[Caller, Depends(read)], person: PersonName) -> PersonReply:  # noqa: ARG001
        """A person and the faces, without embeddings."""
        return await service.in_gallery(_shown, service, person)

    @router.delete("/people/{person}", responses=refusals(*usual))
    async def remove(caller: Annotated[Caller, Depends(admin)], person: PersonName) -> RemoveReply:
        """Remove a person with all faces, from the gallery's files too. Written to the audit."""
        return await service.in_gallery(_removed, service, caller, person)

    @router.get(
        "/faces/{face_id}/picture",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, **refusals(*usual)},
    )
    async def picture(
        caller: Annotated[Caller, Depends(read)],  # noqa: ARG001
        face_id: Annotated[int, Path(ge=0, le=_LARGEST_ID)],
    ) -> Response:
        """The kept picture of a face, as JPEG."""
        jpeg = await service.in_gallery(service.the_gallery().picture, face_id)
        if jpeg is None:
            raise ServiceError(404, "no_picture", "There is no such face, or its picture is not kept")
        return Response(jpeg, media_type="image/jpeg")

    @router.get("/audit", responses=refusals(*usual))
    async def audit(
        caller: Annotated[Caller, Depends(admin)],  # noqa: ARG001
        query: Annotated[AuditQuery, Query()],
    ) -> AuditReply:
        """Who enrolled, removed and searched, newest first."""
        entries = await service.in_gallery(service.the_gallery().audit, limit=query.limit)
        return AuditReply(
            entries=[
                AuditLine(
                    time=_time(each.time),
                    actor=each.actor,
                    action=each.action,
                    subject=each.subject,
                    outcome=each.outcome,
                )
                for each in entries
            ]
        )

    return router


def _checked(person: str) -> str:
    try:
        return check_name(person)
    except VlrfaceError as error:
        raise ServiceError(422, "name", str(error)) from error


def _listed(gallery: Gallery, query: PeopleQuery) -> tuple[list[Person], str | None]:
    """A part of the list, and behind whom the next begins."""
    found = gallery.people(after=query.after, limit=query.limit, containing=query.search)
    return found, found[-1].name if len(found) == query.limit else None


def _shown(service: Service, person: str) -> PersonReply:
    gallery = service.the_gallery()
    found = gallery.person(_checked(person))
    faces = [
        ListedFace(
            face_id=each.face_id,
            source=each.source,
            recognizability=number(each.recognizability),
            enrolled=_time(each.enrolled),
            picture=each.has_picture,
        )
        for each in gallery.faces(found.name)
    ]
    return PersonReply(
        person=found.name, enrolled=_time(found.enrolled), recognizability=number(found.recognizability), faces=faces
    )


def _removed(service: Service, caller: Caller, person: str) -> RemoveReply:
    gone = service.the_gallery().remove(_checked(person), actor=caller.actor)
    return RemoveReply(person=gone.person, removed_faces=gone.faces, erased=gone.erased)


async def _enrolled(service: Service, caller: Caller, person: str, faces: list[Face]) -> EnrolReply:
    several = {face.place for face in faces if face.number > 1}
    refused: list[RefusedFile] = []
    taken: list[Face] = []
    for face in faces:
        reason = _refusal(service, face, several=face.place in several)
        if not reason:
            taken.append(face)
        elif face.number == 1:
            refused.append(RefusedFile(file=face.file, reason=reason))
    enrolment = Enrolment(person, (), ())
    if taken:
        new = [
            NewFace(face.sight.embedding, face.sight.recognizability, face.file, face.thumbnail)
            for face in taken
            if face.sight is not None
        ]
        gallery = service.the_gallery()
        enrolment = await service.in_gallery(gallery.enrol, person, new, actor=caller.actor)
    else:
        await service.record(caller, "enrol", f"{len(refused)} refused")
    return EnrolReply(
        person=enrolment.person,
        enrolled=list(enrolment.face_ids),
        refused=refused,
        duplicates=[
            DuplicateFace(file=taken[each.number].file, person=each.person, cosine=round(each.cosine, 6))
            for each in enrolment.duplicates
        ],
    )


def _refusal(service: Service, face: Face, *, several: bool) -> str:
    """Why a face is not enrolled; empty if it is."""
    if face.sight is None:
        return face.error
    if several:
        return "it shows several faces: give a picture of one"
    if not np.isfinite(face.sight.embedding).all():
        return "it could not be encoded"
    why = not_recognizable_because(service, face)
    return f"not recognizable: {why}" if why else ""


def _time(when: datetime) -> str:
    return when.isoformat(timespec="seconds")
