"""The application: parts, routes, page, and what stands around them."""

import mimetypes
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from vlrface import __version__
from vlrface.gallery import Gallery
from vlrface.service.errors import ServiceError, answer_errors
from vlrface.service.face_routes import face_routes
from vlrface.service.guard import Guard
from vlrface.service.looking import Cut
from vlrface.service.parts import Finder, Model
from vlrface.service.people_routes import people_routes
from vlrface.service.running import Service, assembled
from vlrface.service.settings import ServiceSettings
from vlrface.service.state_routes import state_routes

PAGE: Final = Path(__file__).parent / "page"
_ABOUT = "Recognise very-low-resolution faces, and know which of them can be recognised at all."


def create_app(
    model: Model,
    gallery: Gallery | None,
    detector: Finder | None,
    settings: ServiceSettings,
    *,
    cut: Cut | None = None,
) -> FastAPI:
    """A service as an ASGI application.

    It opens no socket: whoever runs it decides where it listens (`check_exposure` says where it may). Gallery and model
    stay the caller's, to be closed after the application has ended.

    Args:
        model: what answers (`ServedModel`).
        gallery: who is enrolled; None serves scores and comparisons only.
        detector: finds faces in whole pictures (`images.detect.Detector`); None takes crops only.
        settings: all that may be set.
        cut: how a found face is cut from its picture; default `images.detect.cut`.

    Raises:
        VlrfaceError: the gallery is of another model, a threshold is missing, or the file of keys cannot be used.
    """
    if detector is not None and cut is None:
        from vlrface.images.detect import cut as loosely

        cut = loosely
    service = assembled(model, gallery, detector, cut, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        service.batcher.open()
        yield
        service.batcher.close()

    app = FastAPI(
        title="vlrface", summary=_ABOUT, version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.state.service = service
    for routes in (state_routes, face_routes, people_routes):
        app.include_router(routes(service))
    _serve_page(app)
    answer_errors(app)
    app.add_middleware(Guard, settings=settings, counts=service.counts)
    return app


def service_of(app: FastAPI) -> Service:
    """The parts of an application that `create_app` made."""
    return app.state.service


def _serve_page(app: FastAPI) -> None:
    """The page at / and its files below /page; they hold nothing secret and need no key."""
    index = PAGE / "index.html"

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        if not index.is_file():
            raise ServiceError(404, "no_page", "This installation has no page; the interface is in /openapi.json")
        return FileResponse(index)

    if PAGE.is_dir():
        mimetypes.add_type("text/javascript", ".js")  # some systems call it text/plain, which no browser runs
        app.mount("/page", StaticFiles(directory=PAGE), name="page")
