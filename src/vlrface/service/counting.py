"""What is counted, for Prometheus: a registry of its own for each service."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_FACES = (1, 2, 4, 8, 16, 32, 64, 128)


class Counts:
    """Counters of a service. Labels are routes, roles and words, never what a client sent.

    Attributes:
        cut: requests that were cut off because the service stopped.
    """

    def __init__(self, waiting: Callable[[], float], held: Callable[[], float]) -> None:
        """Start at zero.

        Args:
            waiting: faces in the queue.
            held: bytes of bodies in memory.
        """
        self.cut = 0
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "vlrface_requests", "Answered requests.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "vlrface_request_seconds", "Time to answer.", ("route",), buckets=_SECONDS, registry=self._registry
        )
        self._faces = Counter("vlrface_faces", "Faces looked at.", ("verdict",), registry=self._registry)
        self._answers = Counter("vlrface_answers", "Answers of searches.", ("kind",), registry=self._registry)
        self._refusals = Counter("vlrface_refusals", "Refused requests.", ("reason",), registry=self._registry)
        self._batches = Histogram(
            "vlrface_batch_faces", "Faces in a call of the network.", buckets=_FACES, registry=self._registry
        )
        self._model_seconds = Counter("vlrface_model_seconds", "Time in the network.", registry=self._registry)
        self._flying = Gauge("vlrface_requests_in_flight", "Requests being answered.", registry=self._registry)
        self._gauge("vlrface_faces_waiting", "Faces that wait for the network.", waiting)
        self._gauge("vlrface_body_bytes_held", "Bodies in memory.", held)

    def watch_gallery(self, counts: Callable[[], tuple[float, float]]) -> None:
        """Also give how many people and faces a gallery holds."""
        self._gauge("vlrface_gallery_people", "People enrolled.", lambda: counts()[0])
        self._gauge("vlrface_gallery_faces", "Faces enrolled.", lambda: counts()[1])

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self._registry).set_function(value)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """An answered request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refusal(self, reason: str) -> None:
        """A refused request; `reason` is one of our own words."""
        self._refusals.labels(reason).inc()

    def face(self, verdict: str) -> None:
        """A face that was looked at."""
        self._faces.labels(verdict or "none").inc()

    def answer(self, kind: str) -> None:
        """An answer of a search."""
        self._answers.labels(kind).inc()

    def batch(self, faces: int, seconds: float) -> None:
        """A call of the network."""
        self._batches.observe(faces)
        self._model_seconds.inc(seconds)

    def flying(self, requests: int) -> None:
        """How many requests are being answered now."""
        self._flying.set(requests)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)
