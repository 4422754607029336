"""What stands around the application: who may call at all, headers, one line of log, no lost refusal."""

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, MutableMapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vlrface.service.counting import Counts
from vlrface.service.errors import ServiceError, error_response, overloaded
from vlrface.service.journal import described, note
from vlrface.service.settings import ServiceSettings, is_loopback

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), browsing-topics=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_METHODS = ("GET", "HEAD", "POST", "DELETE")
_DRAINED_BYTES = 64 * 2**20
_DRAINING_S = 5.0
_DRAINING_AN_ADDRESS = 16
_ALWAYS_ANSWERED = ("/health", "/ready")


class Guard:
    """ASGI middleware around a service.

    A request is in flight until its answer ends. One that is answered before its body has come, or whose caller is not
    known, is so only until its answer begins: nobody keeps others out by sending slowly, or reading so without a key.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings, counts: Counts) -> None:
        """Stand around `app`."""
        self._app = app
        self._settings = settings
        self._counts = counts
        self._flying = 0
        self._draining: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._draining, self._landed)
        self._flying += 1
        self._counts.flying(self._flying)
        try:
            self._check(scope)
            await self._app(scope, exchange.receive, exchange.send)
        except ServiceError as error:
            await exchange.answer(scope, error)
        except asyncio.CancelledError:
            self._counts.cut += 1
            note("cut_off", logging.WARNING, id=exchange.id, route=_route(scope))
            await exchange.cut_off(scope)
            raise
        except Exception as error:
            note("failed", logging.ERROR, id=exchange.id, route=_route(scope), **described(error))
            await exchange.answer(scope, ServiceError(500, "internal", "The service failed; the log says where"))
        finally:
            exchange.land()
            self._note(scope, exchange)

    def _landed(self) -> None:
        self._flying -= 1
        self._counts.flying(self._flying)

    def _check(self, scope: Scope) -> None:
        if self._flying > self._settings.limits.in_flight and scope["path"] not in _ALWAYS_ANSWERED:
            raise overloaded(f"{self._settings.limits.in_flight} requests are being answered. Come again in a second")
        try:
            check_sender(scope, self._settings.hosts, local=self._settings.keys is None)
        except ServiceError as error:
            self._counts.refusal(error.code)
            client = scope.get("client") or ("",)
            note("refused", logging.WARNING, reason=error.code, client=client[0])
            raise

    def _note(self, scope: Scope, exchange: "_Exchange") -> None:
        seconds = time.monotonic() - exchange.began
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._counts.request(method, _route(scope), exchange.status, seconds)
        state: MutableMapping[str, Any] = scope.get("state", {})
        note(
            "request",
            id=exchange.id,
            method=method,
            route=_route(scope),
            status=exchange.status,
            ms=round(1000 * seconds, 1),
            bytes_in=exchange.bytes_in,
            key=getattr(state.get("caller"), "key", None),
            faces=state.get("faces"),
        )


def check_sender(scope: Scope, hosts: Collection[str], *, local: bool) -> None:
    """Refuse what a web page of another site, or another machine, makes a browser or a proxy send.

    Args:
        scope: of the request.
        hosts: names by which the service may be called; empty: any.
        local: nobody has a key, so only this machine may ask.

    Raises:
        ServiceError: 400 called by another name (a site may let its own name point here), 403 from another site, or
            from another machine without keys.
    """
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if hosts and _name(host) not in hosts:
        raise ServiceError(400, "host", "The service is not called so. Use its own name, or add it with --names")
    origin = headers.get("origin")
    foreign = origin is not None and _netloc(origin) != host
    # A link on another site may lead to the page; what acts or answers may not be asked from there.
    asked = scope["method"] not in ("GET", "HEAD") or str(scope["path"]).startswith("/v1/")
    if foreign or (asked and headers.get("sec-fetch-site") in ("cross-site", "same-site")):
        raise ServiceError(403, "cross_origin", "The request comes from another site's page, which may not ask")
    if local:
        client = scope.get("client")
        proxied = any(name in headers for name in ("forwarded", "x-forwarded-for", "x-real-ip"))
        if proxied or client is None or not is_loopback(client[0]):
            raise ServiceError(403, "not_local", "Without keys only this machine may ask: start it with --keys")


def _netloc(origin: str) -> str | None:
    """Host and port of an Origin header; None for what is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    if host.startswith("["):
        return host[: host.find("]") + 1].lower()
    return host.partition(":")[0].lower()


def _route(scope: Scope) -> str:
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        return str(route)
    return "/page" if str(scope["path"]).startswith("/page/") else "other"


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, draining: Counter[str], on_landed: Callable[[], None]
    ) -> None:
        self.id = secrets.token_hex(8)
        self.began = time.monotonic()
        self.status = 499  # until an answer begins: the client is gone
        self.bytes_in = 0
        self._receive = receive
        self._send = send
        headers = Headers(scope=scope)
        self._more = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._untouched_expect = "expect" in headers
        self._private = str(scope["path"]).startswith("/v1/")
        self._scope = scope
        self._draining = draining  # by address, of those without a known caller
        self._on_landed = on_landed
        self._flies = True

    def land(self) -> None:
        """Be in flight no longer."""
        if self._flies:
            self._flies = False
            self._on_landed()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.bytes_in += len(message.get("body", b""))
            self._more = bool(message.get("more_body", False))
            self._untouched_expect = False
        else:
            self._more = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers["X-Request-Id"] = self.id
            if self._private:
                headers["Cache-Control"] = "no-store"
            else:  # asked again each time, and answered with 304 while unchanged: no page of two versions
                headers.setdefault("Cache-Control", "no-cache")
            stranger = self._scope.get("state", {}).get("caller") is None
            if stranger or self._more:
                self.land()
            await (self._drain_a_stranger() if stranger else self._drain())
            if self._more and not self._untouched_expect:
                headers["Connection"] = "close"
        await self._send(message)

    async def _drain(self) -> None:
        """Take the rest of a body that nobody wants: a client that still sends would lose our answer.

        Within bounds, after which the connection is cut. A client that waits to be asked for its body sends none.
        """
        if self._untouched_expect:
            return
        until = self.bytes_in + _DRAINED_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAINING_S):
                while self._more and self.bytes_in < until:
                    await self.receive()

    async def _drain_a_stranger(self) -> None:
        """The same for whoever showed no good key, for so many of an address at once; others may lose our answer."""
        address = str((self._scope.get("client") or ("",))[0])
        if self._draining[address] >= _DRAINING_AN_ADDRESS:
            return
        self._draining[address] += 1
        try:
            await self._drain()
        finally:
            self._draining[address] -= 1
            if not self._draining[address]:
                del self._draining[address]

    async def cut_off(self, scope: Scope) -> None:
        """Say that the service stops before it is done, and wait for nothing."""
        self._more = False
        message = (
            "The service stopped before it was done. A change may have been made all the same: look, then ask again"
        )
        await self.answer(scope, ServiceError(503, "stopping", message, retry_after=1.0))

    async def answer(self, scope: Scope, error: ServiceError) -> None:
        """Send a refusal, unless an answer has begun."""
        if self.status == 499:
            response = error_response(error.status, error.code, error.message, error.headers)
            await response(scope, self.receive, self.send)
