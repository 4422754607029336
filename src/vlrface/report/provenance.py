"""Where the figures of a page come from: counts beside published ones, times, machine, seeds, what was left out."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vlrface.report import wording
from vlrface.report.names import count_name, is_of_a_part, left_out, meaning
from vlrface.types import Estimate

Fact = tuple[str, str]

# In this order, first of all facts; a key of `context["faces"]` or `context["environment"]` after a slash.
_NAMES: Final[dict[str, str]] = {
    "data": "data set",
    "faces/data": "data set when encoded",
    "faces/crops": "crops",
    "faces/flip": "flip fusion",
    "faces/experiment": "experiment",
    "training_seconds": "training time",
    "seconds": "evaluation time",
    "environment/machine": "machine",
    "environment/threads": "threads",
    "faces/seed": "seed of the training",
    "seed": "seed of the bootstrap",
    "resamples": "resamples of the bootstrap",
    "faces/step": "training step of the checkpoint",
    "faces/fingerprint": "fingerprint of the checkpoint",
    "version": "version of vlrface",
}
_TIMES: Final = ("training_seconds", "seconds")
_DETAILS: Final[dict[str, str]] = {
    "config": "Configuration",
    "environment": "Environment",
    "faces": "Encoded faces and their model",
}
_ELSEWHERE: Final = ("summary", "found", "published", "left_out")


@dataclass(frozen=True)
class Provenance:
    """What the last part of a page shows.

    Attributes:
        counts: what the protocol used.
        parts: the same of bands, operating points and verdicts, to unfold: there are many.
        compared: name, number found and number published ("–" where there is none).
        facts: short values: data, times, machine, seeds.
        left_out: what could not be computed, and why.
        details: name and text of longer values, to unfold.
    """

    counts: tuple[Fact, ...]
    parts: tuple[Fact, ...]
    compared: tuple[tuple[str, str, str], ...]
    facts: tuple[Fact, ...]
    left_out: tuple[str, ...]
    details: tuple[Fact, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to show."""
        return any((self.counts, self.parts, self.compared, self.facts, self.left_out, self.details))


def provenance(counts: Mapping[str, int], context: Mapping[str, Any]) -> Provenance:
    """Sort the counts and the context of a report; see `vlrface.report.html.write_report` for the keys it knows."""
    missing = context.get("left_out") or ()
    return Provenance(
        counts=tuple((count_name(name), f"{value:,}") for name, value in counts.items() if not is_of_a_part(name)),
        parts=tuple((count_name(name), f"{value:,}") for name, value in counts.items() if is_of_a_part(name)),
        compared=_compared(_mapping(context.get("found")), _mapping(context.get("published"))),
        facts=tuple(_facts(context)),
        left_out=tuple(left_out(str(each)) for each in ([missing] if isinstance(missing, str) else missing)),
        details=tuple(_details(context)),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _compared(found: Mapping[str, Any], published: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    def shown(counts: Mapping[str, Any], name: str) -> str:
        return f"{counts[name]:,}" if name in counts else "–"

    names = dict.fromkeys([*found, *published])
    return tuple((count_name(name), shown(found, name), shown(published, name)) for name in names)


def _facts(context: Mapping[str, Any]) -> Iterator[Fact]:
    for path, name in _NAMES.items():
        head, _, tail = path.partition("/")
        value = _mapping(context.get(head)).get(tail) if tail else context.get(head)
        # Faces may have been encoded from another copy of the data; where it is the same, it is said once.
        if _is_short(value) and not (path == "faces/data" and value == context.get("data")):
            yield name, _text(path, value)
    for key, value in context.items():
        if key not in _NAMES and key not in _ELSEWHERE and _is_short(value):
            yield meaning(key).label, _text(key, value)


def _is_short(value: Any) -> bool:
    return value not in (None, "") and (isinstance(value, str) or not isinstance(value, (Mapping, Sequence)))


def _text(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key in _TIMES and isinstance(value, (int, float)):
        return wording.duration(float(value))
    if isinstance(value, float):
        return wording.value_text(Estimate(value), meaning(key).unit)
    return str(value)


def _details(context: Mapping[str, Any]) -> Iterator[Fact]:
    for key, value in context.items():
        if value and key not in _ELSEWHERE and not isinstance(value, str) and isinstance(value, (Mapping, Sequence)):
            text = json.dumps(value, indent=2, default=str, ensure_ascii=False)
            yield _DETAILS.get(key, wording.humanised(key)), text
