"""Tables of an ablation, as LaTeX and Markdown: one over all figures, then one for each measurement with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from vlrface.evaluate.ablation import AblationTable, Column, Cost
from vlrface.evaluate.ablation import Cell as Found
from vlrface.report.names import meaning
from vlrface.report.notes import counts_text
from vlrface.report.tables import Cell, Table, as_latex, as_markdown, markdown_text, safe_name
from vlrface.report.verdicts import apart
from vlrface.report.wording import Unit, duration, interval_text, value_text

MEASUREMENTS: Final[Mapping[str, str]] = {
    "held-out": "Held-out training identities, leave-one-out retrieval",
    "tinyface": "TinyFace layout",
    "tinyface.retrieval": "All pictures of the TinyFace layout, leave-one-out retrieval",
    "held-out.rejection": "Held-out training identities, error versus reject",
    "tinyface.rejection": "TinyFace layout, error versus reject",
    "survface-id": "SurvFace layout, open-set identification",
    "survface-verif": "SurvFace layout, verification",
    "survface-verif.rejection": "SurvFace layout, error versus reject",
    "scface": "SCface layout, mean over distances",
    "retrieval": "Leave-one-out retrieval",
}
"""What each measurement is called over its figures."""

_SHORT: Final[Mapping[str, str]] = {
    "held-out": "held-out",
    "tinyface": "TinyFace",
    "tinyface.retrieval": "TinyFace, leave-one-out",
    "held-out.rejection": "held-out",
    "tinyface.rejection": "TinyFace",
    "survface-id": "SurvFace",
    "survface-verif": "SurvFace",
    "survface-verif.rejection": "SurvFace",
    "scface": "SCface",
    "retrieval": "leave-one-out",
}
_UNITS: Final[Mapping[Unit, str]] = {"share": "%", "gain": "points"}
COST_HEADS: Final = ("Trained parameters", "Time of a training")
"""Over what `cost_texts` says of a variant."""

_MISSING: Final = "–"
_MARK: Final = " *"


def measurement_title(name: str) -> str:
    """What a measurement is called over its figures."""
    return MEASUREMENTS.get(name, name)


def column_label(column: Column) -> str:
    """A figure with its measurement, short."""
    return f"{_SHORT.get(column.measurement, column.measurement)}: {meaning(column.figure).label}"


def ablation_tables(table: AblationTable) -> list[Table]:
    """The overview, then a table for each measurement; none while nothing is measured."""
    if not table.columns:
        return []
    measurements = dict.fromkeys(column.measurement for column in table.columns)
    return [_overview(table), *(_detailed(table, each) for each in measurements)]


def ablation_latex(table: AblationTable) -> str:
    """All tables as LaTeX."""
    return "\n".join(as_latex(each) for each in ablation_tables(table)) or "% nothing is measured yet\n"


def ablation_markdown(table: AblationTable) -> str:
    """All tables as Markdown; the notes stand once, at the end."""
    tables = ablation_tables(table)
    parts = [as_markdown(replace(each, notes=())) for each in tables]
    notes = "\n".join(f"- {markdown_text(note)}" for note in ablation_notes(table))
    return "\n".join([*(parts or ["Nothing is measured yet.\n"]), notes]) + "\n"


def ablation_overview(table: AblationTable) -> str:
    """The first table alone, as Markdown."""
    return next((as_markdown(replace(each, notes=())) for each in ablation_tables(table)), "Nothing is measured yet.")


def ablation_notes(table: AblationTable) -> list[str]:
    """How to read the tables and how they were made, as sentences."""
    context = table.context
    sentences = [str(note) for note in context.get("notes") or ()]
    resamples = context.get("resamples")
    if isinstance(resamples, int):
        sentences.append(f"{resamples:,} resamples, seed {context.get('seed')}.")
    for measurement, said in _mapping(context.get("data")).items():
        counts = counts_text(_mapping(_mapping(said).get("counts")))
        sentences.append(f"{measurement_title(measurement)}: {_mapping(said).get('faces')}; {counts}.")
    sentences += [f"{name}: {value}." for name, value in ablation_facts(table) if value]
    return sentences + [f"Left out: {each}." for each in context.get("left_out") or ()]


def ablation_facts(table: AblationTable) -> list[tuple[str, str]]:
    """Short facts of how the trainings were made."""
    context = table.context
    seconds = context.get("training_seconds")
    environment = _mapping(context.get("environment"))
    facts = (
        ("Recipe", context.get("recipe")),
        ("Command", context.get("command")),
        ("Trained on", ", ".join(map(str, context.get("trained_on") or ()))),
        ("Steps of a training", _steps(context.get("steps"))),
        ("Mean time of a training", duration(float(seconds)) if isinstance(seconds, (int, float)) else None),
        ("Trainings", context.get("trainings")),
        ("Machine", environment.get("machine")),
        ("Version of vlrface", environment.get("vlrface")),
        ("Version of torch", environment.get("torch")),
    )
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def _steps(found: Any) -> str | None:
    if not isinstance(found, Sequence) or not found:
        return None
    return f"{found[0]:,}" if len(found) == 1 else f"{min(found):,} to {max(found):,}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _overview(table: AblationTable) -> Table:
    costs = cost_texts(table)
    heads = [_head(column_label(column), meaning(column.figure).unit) for column in table.columns]
    heads += COST_HEADS if costs else ()
    rows = [
        (
            variant,
            (
                Cell(seeds_text(table, variant)),
                *(_brief(table, variant, column) for column in table.columns),
                *(Cell(text) for text in costs.get(variant, ())),
            ),
        )
        for variant in table.variants
    ]
    name = f"{safe_name(table.name)}_ablation"
    return Table(
        name, f"Ablation {table.name}", ("Variant", "Seeds", *heads), tuple(rows), tuple(ablation_notes(table))
    )


def cost_texts(table: AblationTable) -> dict[str, tuple[str, str]]:
    """By variant, how many parameters learn and how long a training takes; empty where no variant noted the first."""
    if all(cost.trained_parameters is None for cost in table.costs.values()):
        return {}
    texts: dict[str, tuple[str, str]] = {}
    for variant in table.variants:
        cost = table.costs.get(variant, Cost(None, None))
        texts[variant] = (
            _MISSING if cost.trained_parameters is None else f"{cost.trained_parameters:,}",
            _MISSING if cost.seconds is None else duration(cost.seconds),
        )
    return texts


def seeds_text(table: AblationTable, variant: str, measurement: str | None = None) -> str:
    """How many trainings of a variant count, in a measurement or in all: "8", or "3 – 8"."""
    counts = {
        len(table.cells[variant, column].values)
        for column in table.columns
        if (variant, column) in table.cells and measurement in (None, column.measurement)
    }
    if not counts:
        return _MISSING
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} – {max(counts)}"


def _brief(table: AblationTable, variant: str, column: Column) -> Cell:
    found = table.cells.get((variant, column))
    if found is None:
        return Cell(_MISSING)
    return Cell(mean_text(found, meaning(column.figure).unit) + (_MARK if found.certain else ""))


def _detailed(table: AblationTable, measurement: str) -> Table:
    columns = [column for column in table.columns if column.measurement == measurement]
    heads: list[str] = []
    for column in columns:
        known = meaning(column.figure)
        heads += [_head(known.label, known.unit), _head("difference", apart(known.unit))]
    rows = tuple(
        (
            variant,
            (
                Cell(seeds_text(table, variant, measurement)),
                *(cell for column in columns for cell in _full(table.cells.get((variant, column)), column)),
            ),
        )
        for variant in table.variants
    )
    name = f"{safe_name(table.name)}_ablation_{safe_name(measurement)}"
    return Table(name, measurement_title(measurement), ("Variant", "Seeds", *heads), rows, tuple(ablation_notes(table)))


def _full(found: Found | None, column: Column) -> tuple[Cell, Cell]:
    if found is None:
        return Cell(_MISSING), Cell(_MISSING)
    unit = meaning(column.figure).unit
    mean = Cell(mean_text(found, unit), _bare(interval_text(found.mean, unit), unit))
    if found.difference is None:
        return mean, Cell(_MISSING)
    of = apart(unit)
    value = _bare(value_text(found.difference, of), of) + (_MARK if found.certain else "")
    return mean, Cell(value, _bare(interval_text(found.difference, of), of))


def mean_text(found: Found, unit: Unit) -> str:
    """The mean and, of several trainings, the standard deviation: "33.2 ± 0.9", in percent or points for a share."""
    value = _bare(value_text(found.mean, unit), unit)
    if not np.isfinite(found.deviation):
        return value
    spread = f"{100 * found.deviation:.1f}" if unit == "share" else f"{found.deviation:.2g}"
    return f"{value} ± {spread}"


def _head(label: str, unit: Unit) -> str:
    return f"{label} ({_UNITS[unit]})" if unit in _UNITS else label


def _bare(text: str, unit: Unit) -> str:
    """Without the unit, which the head of the column has."""
    sign = f"\u202f{_UNITS[unit]}" if unit in _UNITS else ""
    return text.removesuffix(sign).replace(" – ", ", ").replace(" to ", ", ")
