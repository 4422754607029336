"""What OpenAPI says that the framework cannot see: bodies that are read here, and refusals."""

from collections.abc import Sequence
from typing import Any, Final

from vlrface.service.replies import ErrorReply

_REFUSALS: Final = {
    400: "Malformed, or called by another name.",
    401: "No key, or none that is good.",
    403: "The key has not the role, or the request comes from elsewhere.",
    404: "Not there.",
    408: "The body did not arrive in time.",
    409: "The client wants another model.",
    413: "Too large, or too many.",
    415: "No picture, or no multipart form.",
    422: "A value that cannot be used.",
    429: "Too often; Retry-After says when again.",
    500: "The service failed.",
    503: "Overloaded, stopping, or the gallery cannot be used; Retry-After says when again.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Descriptions of refusals; 400 and 403 may meet any request."""
    return {s: {"model": ErrorReply, "description": _REFUSALS[s]} for s in sorted({400, 403, 422, *statuses})}


def form(fields: Sequence[str], *, most: int | None = None) -> dict[str, Any]:
    """A multipart body of pictures: one field for several, or a field for each."""
    picture = {"type": "string", "format": "binary"}
    if most is not None:
        properties = {name: {"type": "array", "items": picture, "minItems": 1, "maxItems": most} for name in fields}
    else:
        properties = dict.fromkeys(fields, picture)
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(fields),
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


PICTURE_REFUSALS: Final = (400, 401, 403, 408, 409, 413, 415, 422, 429, 503)
"""What may meet a request with pictures."""
