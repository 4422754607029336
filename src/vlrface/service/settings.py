"""What may be set about a service, and whether it may listen where it is asked to."""

import ipaddress
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vlrface.service.reference import Reference
from vlrface.types import VlrfaceError

LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")
"""Names by which a service on this machine alone may be called. Any other name in a request is another site's."""


@dataclass(frozen=True)
class Limits:
    """What a request, and all of them together, may cost. Checked while a body arrives and before a pixel is decoded.

    Attributes:
        body_bytes: of one request.
        pixels: of all pictures of one request together, decoded.
        files: pictures in one request.
        faces: faces found in one request.
        held_bytes: of the bodies of all requests at once; more are answered with 503.
        held_pixels: of the pictures of all requests at once, by their headers; more wait, in order. One request alone
            is taken whatever it holds.
        in_flight: requests at once; more are answered with 503.
        body_seconds: time for a body to arrive.

    Raises:
        VlrfaceError: a limit that is not positive, or a body that all requests together may not hold.
    """

    body_bytes: int = 16 * 2**20
    pixels: int = 16_000_000
    files: int = 64
    faces: int = 512
    held_bytes: int = 256 * 2**20
    held_pixels: int = 64_000_000
    in_flight: int = 512
    body_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise VlrfaceError(f"the limit {name} is {value}: give more than 0")
        if self.held_bytes < self.body_bytes:
            raise VlrfaceError(f"all bodies together ({self.held_bytes}) must hold one ({self.body_bytes} bytes)")


@dataclass(frozen=True)
class Rate:
    """How much a key may ask for: a bucket of tokens that fills steadily; a request takes one for each picture.

    Attributes:
        per_second: tokens that come back.
        burst: tokens in a full bucket.

    Raises:
        VlrfaceError: one is not positive.
    """

    per_second: float = 200.0
    burst: float = 1000.0

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.burst >= 1 and math.isfinite(self.per_second + self.burst)):
            raise VlrfaceError(f"{self}: give a rate above 0 and a burst of at least 1")


@dataclass(frozen=True)
class Batching:
    """How requests share calls of the network.

    Attributes:
        faces: in one call.
        wait_ms: how long a face waits for others, if none are waiting already.
        waiting: faces that may wait; more are answered with 503.

    Raises:
        VlrfaceError: a number that is not positive.
    """

    faces: int = 32
    wait_ms: float = 2.0
    waiting: int = 2048

    def __post_init__(self) -> None:
        if self.faces < 1 or self.wait_ms < 0 or self.waiting < 1:
            raise VlrfaceError(f"{self}: give at least one face, no negative wait, and a queue")


@dataclass(frozen=True)
class ServiceSettings:
    """All that may be set.

    Attributes:
        match: least cosine of a candidate in a search; a service with a gallery needs it.
        pair: least cosine of two faces that are called the same; None: as `match`, and without that nobody is.
        score: least calibrated score of a face that is searched or enrolled; None asks for none.
        by_verdict: faces that the calibration calls unrecognizable are neither searched nor enrolled.
        keys: file of API keys; None lets everybody on this machine, and nobody else, do everything.
        hosts: names by which the service may be called; empty: any (never without keys).
        engine: what runs the network, for people.
        reference: recognizability of faces to compare with, for the page.
        limits: what a request may cost.
        rate: how much a key may ask for.
        batching: how requests share calls of the network.
        decoders: pictures decoded at once; at most as many processors are useful.

    Raises:
        VlrfaceError: a value out of its range, or no names to be called by without keys.
    """

    match: float | None = None
    pair: float | None = None
    score: float | None = None
    by_verdict: bool = False
    keys: Path | None = None
    hosts: tuple[str, ...] = LOCAL_HOSTS
    engine: str = ""
    reference: Reference | None = None
    limits: Limits = Limits()
    rate: Rate = Rate()
    batching: Batching = Batching()
    decoders: int = max(1, min(4, os.cpu_count() or 1))

    def __post_init__(self) -> None:
        for cosine in (self.match, self.pair):
            if cosine is not None and not -1 <= cosine <= 1:
                raise VlrfaceError(f"a match is a cosine in [-1, 1], not {cosine}")
        if self.score is not None and not 0 <= self.score <= 1:
            raise VlrfaceError(f"a score lies in [0, 1], not {self.score}")
        if self.keys is None and not self.hosts:
            raise VlrfaceError("without keys the names by which the service may be called must be given")
        if max(self.limits.files, self.limits.faces) > self.batching.waiting:
            raise VlrfaceError(f"the queue ({self.batching.waiting} faces) must hold the faces of one request")

    @property
    def pair_match(self) -> float | None:
        """The least cosine of two faces that are called the same; None calls nobody the same."""
        return self.match if self.pair is None else self.pair


def is_loopback(host: str) -> bool:
    """Whether an address or name can be reached from this machine alone."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def check_exposure(host: str, keys: Path | None) -> None:
    """Refuse to be reached by others without keys.

    Raises:
        VlrfaceError: the address is not this machine's own and there is no file of keys.
    """
    if keys is None and not is_loopback(host):
        raise VlrfaceError(
            f"{host} can be reached from other machines, and without keys anybody there could search and remove "
            "people. Make a key with `vlrface keys create KEYS.json --role admin` and give --keys KEYS.json, or listen "
            "on 127.0.0.1"
        )
