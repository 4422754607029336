"""A benchmark's protocol: what is measured on encoded faces. One frozen dataclass per benchmark holds its options."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from vlrface.evaluate.findings import Findings
from vlrface.types import Faces, Report, VlrfaceError


class BenchmarkProtocol(ABC):
    """What a benchmark measures. Subclasses are frozen dataclasses of options.

    Attributes:
        name: of the benchmark, as a report and the command line call it.
        needs_pairs: whether the faces must have listed pairs.
    """

    name: ClassVar[str]
    needs_pairs: ClassVar[bool] = False

    @abstractmethod
    def measure(self, faces: Faces, found: Findings) -> None:
        """Measure faces and keep what is found.

        Raises:
            VlrfaceError: the faces lack what the protocol needs.
        """

    @abstractmethod
    def title(self, faces: Faces) -> str:
        """One line for a person, with the counts."""


def evaluate(
    faces: Faces,
    protocol: BenchmarkProtocol,
    *,
    seed: int = 0,
    resamples: int = 1000,
    context: Mapping[str, Any] | None = None,
) -> Report:
    """Measure encoded faces by a protocol.

    Intervals are 95 %, over people. What the faces do not allow (too few impostor pairs, no recognizability, no sizes)
    is left out and named in `context["left_out"]`.

    Args:
        faces: with the roles of the protocol; others are ignored.
        protocol: what is measured; see there for the names of its figures and curves.
        seed: of every bootstrap.
        resamples: number of resamples.
        context: JSON values for the report: data, model, configuration.

    Returns:
        The report, with every count that was used.

    Raises:
        VlrfaceError: the faces lack what the protocol needs.
    """
    return report_of(measured(faces, protocol, seed=seed, resamples=resamples), faces, protocol, context)


def measured(faces: Faces, protocol: BenchmarkProtocol, *, seed: int = 0, resamples: int = 1000) -> Findings:
    """What `evaluate` finds, with the resamples behind its intervals.

    Raises:
        VlrfaceError: the faces lack what the protocol needs.
    """
    found = Findings(seed, resamples)
    protocol.measure(faces, found)
    return found


def report_of(
    found: Findings, faces: Faces, protocol: BenchmarkProtocol, context: Mapping[str, Any] | None = None
) -> Report:
    """The report of what was found; see `evaluate`."""
    own = {"seed": found.seed, "resamples": found.resamples, "ties": "against the system", "left_out": found.left_out}
    return Report(
        title=protocol.title(faces),
        benchmark=protocol.name,
        figures=found.estimates(),
        counts=found.counts,
        curves=found.curves,
        context={**own, **(context or {})},
    )


def require_roles(faces: Faces, name: str, roles: Sequence[str]) -> None:
    """Refuse faces that lack a role of a protocol.

    Raises:
        VlrfaceError: names what is missing and what is there.
    """
    present = set(map(str, np.unique(faces.roles)))
    missing = [role for role in roles if role not in present]
    if missing:
        raise VlrfaceError(
            f"the {name} protocol needs faces with the roles {', '.join(roles)}; {', '.join(missing)} missing, found "
            f"{', '.join(sorted(present)) or 'none'}. Encode a folder with that layout"
        )
