"""Who asks, whether they may, and how often."""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from vlrface.service.counting import Counts
from vlrface.service.errors import ServiceError
from vlrface.service.journal import note
from vlrface.service.keys import KeyRing, Role
from vlrface.service.rates import Buckets
from vlrface.service.settings import ServiceSettings

SPACE_HEADER = "Vlrface-Space"
"""Header by which a client may say for which model its thresholds and embeddings are."""

_LOCAL = "local"
_BEARER = HTTPBearer(auto_error=False, description="A key of `vlrface keys create`.")


@dataclass(frozen=True)
class Caller:
    """Whoever asks.

    Attributes:
        key: id of the key; "local" without keys.
        actor: for the audit.
        role: what it may do; without keys, everything.
    """

    key: str
    actor: str
    role: Role = "admin"


class Gate:
    """Lets requests in, or refuses and says so in the log. For one event loop."""

    def __init__(
        self, settings: ServiceSettings, space: str, counts: Counts, on_forbidden: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """Read the keys.

        Args:
            settings: keys and rate.
            space: of the model's embeddings.
            counts: counts refusals.
            on_forbidden: told the actor and the route of a good key that asked for too much.

        Raises:
            VlrfaceError: the file of keys cannot be used.
        """
        self._ring = None if settings.keys is None else KeyRing(settings.keys)
        self._buckets = Buckets(settings.rate)
        self._space = space
        self._counts = counts
        self._on_forbidden = on_forbidden

    @property
    def fault(self) -> str:
        """What is wrong with the file of keys; empty if nothing is."""
        return "" if self._ring is None else self._ring.fault

    @property
    def has_keys(self) -> bool:
        """Whether a key is asked for."""
        return self._ring is not None

    def needs(self, role: Role) -> Callable[..., Coroutine[Any, Any, Caller]]:
        """A dependency of FastAPI that lets in whoever has the role.

        It raises ServiceError: 401 no or no good key, 403 the key has not the role, 409 the client wants another
        model, 429 too often.
        """

        async def caller(
            request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
        ) -> Caller:
            found = await self._known(request, None if given is None else given.credentials, role)
            request.state.caller = found
            wait = self._buckets.take(found.key)
            if wait:
                self.refuse("rate", request, found.key)
                raise ServiceError(429, "too_often", "This key asks too often. Come again later", retry_after=wait)
            wanted = request.headers.get(SPACE_HEADER)
            if wanted is not None and wanted != self._space:
                self.refuse("space", request, found.key)
                raise ServiceError(
                    409,
                    "other_model",
                    f"The service's model has the space {self._space}, not the one in {SPACE_HEADER}: embeddings and "
                    "thresholds of another model do not fit. Calibrate anew, or ask a service with that model",
                )
            return found

        return caller

    def charge(self, caller: Caller, pictures: int) -> None:
        """Count all pictures of a request but the first, which was paid for at the gate."""
        self._buckets.charge(caller.key, pictures - 1)

    async def _known(self, request: Request, presented: str | None, role: Role) -> Caller:
        if self._ring is None:
            return Caller(_LOCAL, _LOCAL)
        key = None if presented is None else self._ring.find(presented)
        if key is None:
            self.refuse("key", request, None)
            # By address, apart from the buckets of keys: who has none cannot use up another's.
            wait = self._buckets.take(f"address {request.client.host if request.client else ''}")
            if wait:
                raise ServiceError(429, "too_often", "Too many requests without a good key", retry_after=wait)
            raise ServiceError(401, "no_key", "Give a good key: Authorization: Bearer KEY (`vlrface keys create`)")
        if not key.may(role):
            self.refuse("role", request, key.id)
            await self._on_forbidden(key.actor, _route(request))
            raise ServiceError(403, "role", f"This key has the role {key.role}; {role} is needed")
        return Caller(key.id, key.actor, key.role)

    def refuse(self, reason: str, request: Request, key: str | None) -> None:
        """Write down that a request is refused, with the address that it came from."""
        self._counts.refusal(reason)
        note(
            "refused",
            logging.WARNING,
            reason=reason,
            method=request.method,
            route=_route(request),
            key=key,
            client=request.client.host if request.client else None,
        )


def _route(request: Request) -> str:
    return str(getattr(request.scope.get("route"), "path", "other"))
