"""Routes about the service itself: alive, ready, metrics, the model."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from vlrface.service.callers import Caller
from vlrface.service.counting import CONTENT_TYPE
from vlrface.service.documents import refusals
from vlrface.service.errors import ServiceError
from vlrface.service.replies import (
    GalleryState,
    HistogramReply,
    LimitsReply,
    ModelReply,
    RulesReply,
    StateReply,
)
from vlrface.service.running import Service, gallery_explained


def state_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["service"])
    read = service.gate.needs("read")

    @router.get("/health")
    async def health() -> StateReply:
        """Whether the process answers; needs no key."""
        return StateReply(status="alive")

    @router.get("/ready", responses=refusals(503))
    async def ready() -> StateReply:
        """Whether model, gallery and keys can be used; needs no key."""
        fault = await service.fault()
        if fault:
            raise ServiceError(503, "not_ready", f"Not ready: {fault}", retry_after=1.0)
        return StateReply(status="ready")

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **refusals(401, 403, 429, 503)},
    )
    def metrics(caller: Annotated[Caller, Depends(read)]) -> Response:  # noqa: ARG001 (it is let in)
        """Counters, for Prometheus."""
        return Response(service.counts.text(), media_type=CONTENT_TYPE)

    @router.get("/v1/model", responses=refusals(401, 403, 409, 429, 503))
    def model(caller: Annotated[Caller, Depends(read)]) -> ModelReply:
        """What answers, and by which rules."""
        return _model(service, caller)

    return router


def _model(service: Service, caller: Caller) -> ModelReply:
    model, settings = service.model, service.settings
    gallery = None
    if service.gallery is not None:
        with gallery_explained():
            people, faces = service.gallery.counts
        gallery = GalleryState(people=people, faces=faces, keeps_pictures=service.gallery.info.keeps_pictures)
    reference = None if settings.reference is None else HistogramReply(**settings.reference.histogram())
    return ModelReply(
        name=model.name,
        space=model.space,
        engine=settings.engine,
        input=(model.encoder.input.height, model.encoder.input.width),
        embedding_dim=model.encoder.embedding_dim,
        has_index=service.has_index,
        has_attention=service.has_attention,
        detector=service.has_detector,
        flip=model.flip,
        calibration=None if model.calibration is None else model.calibration.to_json(),
        reference=reference,
        gallery=gallery,
        limits=LimitsReply(
            body_bytes=settings.limits.body_bytes, pixels=settings.limits.pixels, files=settings.limits.files
        ),
        rules=RulesReply(
            match=settings.match, pair=settings.pair_match, score=settings.score, verdict=settings.by_verdict
        ),
        keys=service.gate.has_keys,
        role=caller.role,
    )
