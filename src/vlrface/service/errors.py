"""What a client is told when something is refused: `{"error": {"code": ..., "message": ...}}`, always in this form."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


class ServiceError(Exception):
    """A request that is refused.

    Attributes:
        status: of HTTP.
        code: one word for programs.
        message: one sentence for people: what is wrong, and the remedy.
        headers: of the response.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after: float | None = None) -> None:
        """Refuse; `retry_after` in seconds is rounded up."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: dict[str, str] = {}
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, int(-(-retry_after // 1))))
        if status == HTTPStatus.UNAUTHORIZED:
            self.headers["WWW-Authenticate"] = "Bearer"

    def response(self) -> JSONResponse:
        """The refusal as a response."""
        return error_response(self.status, self.code, self.message, self.headers)


def error_response(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A refusal as a response."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers=dict(headers or {}))


def overloaded(message: str) -> ServiceError:
    """503: come again in a second."""
    return ServiceError(503, "overloaded", message, retry_after=1.0)


def answer_errors(app: FastAPI) -> None:
    """Let every refusal of the framework take the form above."""

    async def refused(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 (as Starlette calls it)
        assert isinstance(error, ServiceError)  # noqa: S101 (it is registered for these)
        return error.response()

    async def http(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
        assert isinstance(error, HTTPException)  # noqa: S101
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return error_response(error.status_code, code, str(error.detail), error.headers)

    async def invalid(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return error_response(422, "invalid_value", "; ".join(_sentence(each) for each in error.errors()))

    app.add_exception_handler(ServiceError, refused)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


def _sentence(error: Mapping[str, Any]) -> str:
    # Without the value that was given: it may be a name.
    return f"{' '.join(str(part) for part in error.get('loc', ()))}: {error.get('msg', 'not valid')}"
