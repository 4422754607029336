"""What the service asks of a model and of a detector: `ServedModel` and `Detector` have it, and so have the tests'."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, UInt8
from numpy import ndarray

from vlrface.encode.faces import InputSize
from vlrface.metrics.calibration import Calibration

Picture = UInt8[ndarray, "_ _ 3"]
"""RGB, upright."""


@runtime_checkable
class Sights(Protocol):
    """What a model sees of n crops, in order (`vlrface.encode.served.Looks`)."""

    @property
    def embeddings(self) -> Float[ndarray, "n d"]:
        """Of unit length."""
        ...

    @property
    def recognizability(self) -> Float[ndarray, " n"]:
        """Raw index; NaN where the model gives none."""
        ...

    @property
    def scores(self) -> Float[ndarray, " n"]:
        """Calibrated, in [0, 1]; NaN without calibration."""
        ...

    @property
    def verdicts(self) -> ndarray:
        """A word each; empty without calibration."""
        ...


@runtime_checkable
class Network(Protocol):
    """The encoder within a model."""

    @property
    def input(self) -> InputSize:
        """Size of its input."""
        ...

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding."""
        ...

    def prepare(self, crop: Picture) -> Picture:
        """What it sees of a crop of any size."""
        ...


@runtime_checkable
class Model(Protocol):
    """What answers."""

    @property
    def encoder(self) -> Network:
        """Its network."""
        ...

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def space(self) -> str:
        """Which embeddings may be compared with its own."""
        ...

    @property
    def calibration(self) -> Calibration | None:
        """What its index means."""
        ...

    @property
    def flip(self) -> bool:
        """Whether it also looks at the mirrored crop."""
        ...

    @property
    def meta(self) -> Mapping[str, Any]:
        """What else is known of it."""
        ...

    def look(self, crops: Sequence[Picture], batch_size: int = 64) -> Sights:
        """Look at crops of any size."""
        ...

    def attention(self, crops: Sequence[Picture]) -> Float[ndarray, "n fh fw"] | None:
        """Where it looks; None if it does not say."""
        ...


@runtime_checkable
class Found(Protocol):
    """A face in a picture."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, width and height, in pixels."""
        ...

    @property
    def landmarks(self) -> Float[ndarray, "5 2"]:
        """Eyes, nose, corners of the mouth, in pixels."""
        ...


@runtime_checkable
class Finder(Protocol):
    """What finds faces in pictures; thread-safe."""

    def detect(self, picture: Picture) -> Sequence[Found]:
        """Faces from top to bottom, left to right."""
        ...
