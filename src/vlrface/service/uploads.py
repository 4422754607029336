"""Pictures in: a multipart body, read piece by piece into memory and never onto the disk, within limits."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from vlrface.service.errors import ServiceError, overloaded
from vlrface.service.settings import Limits

_LONGEST_FILE_NAME = 255
_LONGEST_HEADERS = 8192  # bytes, of a part


@dataclass(frozen=True)
class Upload:
    """A file of a request.

    Attributes:
        field: under which it was sent.
        name: as the client calls it, at most 255 characters.
        data: its bytes.
    """

    field: str
    name: str
    data: bytes


class Intake:
    """Reads the bodies of requests, and knows how much all of them hold. For one event loop."""

    def __init__(self, limits: Limits) -> None:
        """Hold nothing yet."""
        self._limits = limits
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes of bodies in memory."""
        return self._held

    @asynccontextmanager
    async def uploads(self, request: Request, fields: Collection[str]) -> AsyncGenerator[list[Upload]]:
        """The files of a request, in its order, while the block lasts.

        Args:
            request: its body is read here.
            fields: the names under which files may be sent.

        Raises:
            ServiceError: 400 malformed, 408 too slow, 413 too large or too many, 415 not multipart, 422 another field
                or none, 503 all requests together hold too much.
        """
        taken = 0
        try:
            form = _Form(_boundary(request), fields, self._limits.files)
            declared = request.headers.get("content-length", "")
            if declared.isdigit() and int(declared) > self._limits.body_bytes:
                raise _too_large(self._limits)
            try:
                async with asyncio.timeout(self._limits.body_seconds):
                    async for piece in request.stream():
                        taken += len(piece)
                        self._held += len(piece)
                        if taken > self._limits.body_bytes:
                            raise _too_large(self._limits)
                        if self._held > self._limits.held_bytes:
                            raise overloaded("Other requests fill the memory for pictures. Come again in a second")
                        form.feed(piece)
            except TimeoutError as error:
                raise ServiceError(408, "too_slow", "The body did not arrive in time. Send it again") from error
            except ClientDisconnect as error:
                raise ServiceError(400, "malformed", "The connection ended within the body. Send it again") from error
            yield form.files()
        finally:
            self._held -= taken


class _Form:
    """Collects the parts of a multipart body."""

    def __init__(self, boundary: bytes, fields: Collection[str], most: int) -> None:
        self._fields = fields
        self._most = most
        self._uploads: list[Upload] = []
        self._header: tuple[bytes, bytes] = (b"", b"")
        self._headers = 0
        self._disposition = b""
        self._field = ""
        self._name = ""
        self._data = bytearray()
        self._ended = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _malformed(str(error)) from error

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the body."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _malformed(str(error)) from error

    def files(self) -> list[Upload]:
        """All files, once the body has ended."""
        if not self._ended:
            raise _malformed("it ends before its last boundary")
        if not self._uploads:
            raise ServiceError(422, "no_file", f"Give a picture in the field {' or '.join(sorted(self._fields))}")
        return self._uploads

    def _begin(self) -> None:
        self._disposition, self._data, self._headers = b"", bytearray(), 0

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header = (self._header[0] + data[start:end], self._header[1])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header = (self._header[0], self._header[1] + data[start:end])

    def _count(self, more: int) -> None:
        """Not every version of the parser bounds headers, and long ones take it seconds."""
        self._headers += more
        if self._headers > _LONGEST_HEADERS:
            raise _malformed(f"a part has headers of more than {_LONGEST_HEADERS:,} bytes")

    def _header_end(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = self._header[1]
        self._header = (b"", b"")

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _malformed("a part has no name")
        self._field = options[b"name"].decode("utf-8", "replace")
        if self._field not in self._fields:
            raise ServiceError(
                422, "unknown_field", f"There is no such field. Send pictures as {' or '.join(sorted(self._fields))}"
            )
        if b"filename" not in options:
            raise ServiceError(422, "no_file", f"The field {self._field} is no file. Send it with a file name")
        if len(self._uploads) >= self._most:
            raise ServiceError(413, "too_many", f"At most {self._most} pictures a request. Send several requests")
        self._name = options[b"filename"].decode("utf-8", "replace")[:_LONGEST_FILE_NAME]

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _part_end(self) -> None:
        self._uploads.append(Upload(self._field, self._name, bytes(self._data)))
        self._data = bytearray()

    def _end(self) -> None:
        self._ended = True


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise ServiceError(415, "not_multipart", "Send the pictures as multipart/form-data")
    if not options.get(b"boundary"):
        raise _malformed("its content type names no boundary")
    return options[b"boundary"]


def _malformed(reason: str) -> ServiceError:
    return ServiceError(400, "malformed", f"The body is no multipart form: {reason}")


def _too_large(limits: Limits) -> ServiceError:
    return ServiceError(
        413, "too_large", f"A request has at most {limits.body_bytes:,} bytes. Send fewer or smaller pictures"
    )
