"""The curves of two models over one another: one figure for each line that both have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from vlrface.evaluate.comparison import Comparison
from vlrface.report.lines import line_name
from vlrface.report.subjects import Subject, subject
from vlrface.types import Curve

MAX_LINES: Final = 4
"""Of a kind of figure with more lines for each model (quality measures) only the first operating point is drawn."""


@dataclass(frozen=True, eq=False)
class Overlay:
    """One figure: its name, what it is about, and a line of each model, named as it."""

    key: str
    about: Subject
    curves: tuple[Curve, ...]


def overlays(comparison: Comparison) -> tuple[list[Overlay], int]:
    """Figures of a comparison, and how many were left out because others of their kind show many lines."""
    made: list[Overlay] = []
    crowded: set[str] = set()
    omitted = 0
    for key, curves in comparison.curves.items():
        about = subject(key)
        pairs = _by_line(curves, comparison.names)
        kind = about.title.partition(" (")[0]
        if len(pairs) > MAX_LINES:
            if kind in crowded:
                omitted += len(pairs)
                continue
            crowded.add(kind)
        for name, pair in pairs.items():
            called = f": {line_name(name, about)}" if name else ""
            # Two models are no measures to be ranked by this figure, and bounds of each would be four lines more.
            own = replace(about, title=about.title + called, measures="", bounds=False)
            made.append(Overlay(f"{key} {name}".strip(), own, tuple(pair)))
    return made, omitted


def _by_line(curves: Sequence[Curve], names: tuple[str, str]) -> dict[str, list[Curve]]:
    """Curves by the line they show; "A: size" is the line "size" of the model A, "A" the only line of it."""
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        model = next((name for name in names if curve.name.startswith(f"{name}: ")), None)
        line = "" if model is None else curve.name.removeprefix(f"{model}: ")
        found.setdefault(line, []).append(curve if model is None else replace(curve, name=model))
    return found
