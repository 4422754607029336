"""The parts of a running service, put together once."""

import asyncio
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np

from vlrface.gallery import Gallery, Rules, UnknownPersonError
from vlrface.service.batching import Batcher
from vlrface.service.callers import Caller, Gate
from vlrface.service.counting import Counts
from vlrface.service.errors import ServiceError
from vlrface.service.journal import described, note
from vlrface.service.looking import Cut, Looker
from vlrface.service.parts import Finder, Model
from vlrface.service.settings import ServiceSettings
from vlrface.service.uploads import Intake
from vlrface.types import VlrfaceError

_GREY = 128
P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def gallery_explained() -> Generator[None]:
    """Turn what a gallery raises into refusals: 404 for somebody who is not there, else 503 with the remedy."""
    try:
        yield
    except UnknownPersonError as error:
        raise ServiceError(404, "unknown_person", "Nobody of this name is enrolled") from error
    except (VlrfaceError, OSError) as error:
        note("gallery_failed", logging.ERROR, **described(error))
        raise ServiceError(503, "gallery", f"The gallery cannot be used now: {error}", retry_after=1.0) from error


@dataclass(frozen=True, eq=False)
class Service:
    """What the routes use.

    Attributes:
        model: what answers.
        gallery: who is enrolled; None for a service that only scores and verifies.
        has_detector: whether whole pictures are taken.
        settings: all that may be set.
        counts: for Prometheus.
        gate: lets requests in.
        intake: reads bodies.
        looker: looks at pictures.
        batcher: runs the model.
        has_index: whether the model gives an index of recognizability.
        has_attention: whether it says where it looks.
    """

    model: Model
    gallery: Gallery | None
    has_detector: bool
    settings: ServiceSettings
    counts: Counts
    gate: Gate
    intake: Intake
    looker: Looker
    batcher: Batcher
    has_index: bool
    has_attention: bool

    def the_gallery(self) -> Gallery:
        """The gallery; ServiceError 404 where there is none."""
        if self.gallery is None:
            raise ServiceError(404, "no_gallery", "This service has no gallery: start it with --gallery")
        return self.gallery

    def rules(self, candidates: int = 5) -> Rules:
        """What is asked of a face and of a candidate; without a threshold, only what is equal is near enough."""
        settings = self.settings
        match = 1.0 if settings.match is None else settings.match
        calibration = self.model.calibration if settings.by_verdict else None
        return Rules(match, settings.score, candidates=candidates, calibration=calibration)

    @staticmethod
    async def in_gallery(call: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Ask a gallery, in a thread; ServiceError as `gallery_explained`."""
        with gallery_explained():
            return await asyncio.to_thread(call, *args, **named)

    async def record(self, caller: Caller, action: str, outcome: str, person: str = "") -> None:
        """Write to the audit, before what it is about is answered."""
        if self.gallery is not None:
            await self.in_gallery(self.gallery.record, caller.actor, action, person=person, outcome=outcome)

    async def fault(self) -> str:
        """Why the service is not ready; empty if it is."""
        if not self.batcher.sound:
            return "the model's thread has ended"
        if self.gate.fault:
            return "the file of keys cannot be read"
        try:
            if self.gallery is not None:
                await asyncio.to_thread(getattr, self.gallery, "counts")
        except Exception as error:  # whatever a store may raise, it is not ready
            note("gallery_failed", logging.ERROR, **described(error))
            return "the gallery cannot be read"
        return ""


def assembled(
    model: Model, gallery: Gallery | None, finder: Finder | None, cut: Cut | None, settings: ServiceSettings
) -> Service:
    """Put the parts together, and look once at a grey crop, so that what does not work is known before anyone asks.

    Raises:
        VlrfaceError: the gallery is of another model or has no threshold, a score is asked for that the model does not
            give, or the file of keys cannot be used.
    """
    check_fit(model, gallery, settings)
    crop = np.full((model.encoder.input.height, model.encoder.input.width, 3), _GREY, np.uint8)
    looks = model.look([crop], 1)
    if looks.embeddings.shape != (1, model.encoder.embedding_dim):
        raise VlrfaceError(f"{model.name}: gives embeddings of another length than it says. Export it again")
    has_attention = model.attention([crop]) is not None

    async def forbidden(actor: str, route: str) -> None:
        if gallery is not None:
            await Service.in_gallery(gallery.record, actor, "refused", outcome=f"role: {route}")

    intake = Intake(settings.limits)
    counts = Counts(lambda: batcher.waiting, lambda: intake.held)
    batcher = Batcher(model, settings.batching, counts.batch)
    if gallery is not None:
        counts.watch_gallery(lambda: _counted(gallery))
    return Service(
        model=model,
        gallery=gallery,
        has_detector=finder is not None,
        settings=settings,
        counts=counts,
        gate=Gate(settings, model.space, counts, forbidden),
        intake=intake,
        looker=Looker(batcher, finder, cut, settings, model.encoder.prepare),
        batcher=batcher,
        has_index=bool(np.isfinite(looks.recognizability).all()),
        has_attention=has_attention,
    )


def _counted(gallery: Gallery) -> tuple[float, float]:
    """People and faces; NaN while the gallery cannot be read: the other counters are wanted most then."""
    try:
        people, faces = gallery.counts
    except (VlrfaceError, OSError):
        return float("nan"), float("nan")
    return float(people), float(faces)


def check_fit(model: Model, gallery: Gallery | None, settings: ServiceSettings) -> None:
    """Refuse what cannot work together.

    Raises:
        VlrfaceError: as `assembled`.
    """
    if (settings.score is not None or settings.by_verdict) and model.calibration is None:
        raise VlrfaceError(
            f"{model.name}: a least score or a verdict is asked for, and the model has no calibration. Calibrate it "
            "(`vlrface calibrate`), or leave them out"
        )
    if gallery is None:
        return
    gallery.check_space(model.space)
    if gallery.info.dim != model.encoder.embedding_dim:
        raise VlrfaceError(
            f"the gallery holds embeddings of {gallery.info.dim} numbers, {model.name} gives "
            f"{model.encoder.embedding_dim}. Use the model it was made with"
        )
    if settings.match is None:
        raise VlrfaceError(
            "a gallery is searched with a threshold: give --match COSINE, or calibrate the model for the rate you want "
            "(`vlrface calibrate`)"
        )
