"""What an evaluation finds, gathered figure by figure with the resamples that its interval comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vlrface.metrics.intervals import Interval, Sampled
from vlrface.types import Curve, Estimate, Faces


@dataclass(eq=False)
class Findings:
    """What has been found so far, and how intervals are made.

    Attributes:
        seed: of every bootstrap.
        resamples: of every bootstrap.
        figures: named values, each with one sample per resample: k is 1.
        counts: every count that was used.
        curves: lines by figure.
        left_out: what the faces do not allow, "what: why".
    """

    seed: int = 0
    resamples: int = 1000
    figures: dict[str, Sampled] = field(default_factory=dict[str, Sampled])
    counts: dict[str, int] = field(default_factory=dict[str, int])
    curves: dict[str, tuple[Curve, ...]] = field(default_factory=dict[str, tuple[Curve, ...]])
    left_out: list[str] = field(default_factory=list[str])

    def add(self, names: str | Sequence[str], found: Sampled) -> None:
        """Keep figures under their names, one for each value."""
        for place, name in enumerate([names] if isinstance(names, str) else names):
            self.figures[name] = found.columns(slice(place, place + 1))

    def estimates(self) -> Mapping[str, Estimate]:
        """All figures with their 95 % intervals."""
        return {name: found.estimate() for name, found in self.figures.items()}


def banded_curve(name: str, x: Float[ndarray, " k"], interval: Interval) -> Curve:
    """A line with its band, as far as it is defined; no band where no interval is."""
    there = np.isfinite(interval.value)
    x, value, low, high = (each[there] for each in (x, *interval))
    if np.isnan(low).all():
        return Curve(name, x, value)
    return Curve(name, x, value, low, high)


def embeddings_of(faces: Faces) -> Float[ndarray, "n d"]:
    """Embeddings, with NaN in every row that was not encoded, whatever it holds."""
    if faces.encoded.all():
        return faces.embeddings
    return np.where(faces.encoded[:, None], faces.embeddings, np.float32("nan"))


def index_of(faces: Faces) -> Float[ndarray, " n"]:
    """Recognizability, NaN in every row that was not encoded: such a face is the first to be rejected."""
    return np.where(faces.encoded, faces.recognizability, np.nan)
