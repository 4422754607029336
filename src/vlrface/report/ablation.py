"""The page of an ablation: what each variant reaches, how seeds spread, and which differences are more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vlrface.evaluate.ablation import AblationTable, Column
from vlrface.report.ablation_figure import variants_figure
from vlrface.report.ablation_tables import (
    COST_HEADS,
    ablation_facts,
    column_label,
    cost_texts,
    measurement_title,
    seeds_text,
)
from vlrface.report.names import count_name, meaning
from vlrface.report.page import Panel
from vlrface.report.template import render
from vlrface.report.verdicts import apart, is_better
from vlrface.report.wording import interval_text, listed, points, value_text

_MISSING: Final = "–"
_NAMED: Final = 6


@dataclass(frozen=True)
class Entry:
    """One figure of one variant."""

    value: str
    spread: str
    interval: str
    difference: str
    between: str
    verdict: str
    tone: str


@dataclass(frozen=True)
class Row:
    """One variant in a table."""

    label: str
    seeds: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Group:
    """The table of a measurement."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    about: str


def render_ablation(table: AblationTable) -> str:
    """The page as text; see `vlrface.report.html.write_ablation`."""
    context = table.context
    measurements = list(dict.fromkeys(column.measurement for column in table.columns))
    return render(
        "ablation.html.j2",
        title=f"Ablation {table.name}",
        baseline=table.baseline,
        summary=_summary(table),
        panels=_panels(table),
        groups=[_group(table, each) for each in measurements],
        cost_heads=COST_HEADS,
        costs=cost_texts(table),
        notes=[str(note) for note in context.get("notes") or ()],
        facts=[*ablation_facts(table), *_bootstrap(table)],
        left_out=[str(each) for each in context.get("left_out") or ()],
        failed=[str(each) for each in context.get("failed") or ()],
    )


def _summary(table: AblationTable) -> str:
    """Which variants differ from the baseline in the first figure that is not of held-out people."""
    if not table.columns:
        return "No training has been measured yet."
    column = next((each for each in table.columns if each.measurement != "held-out"), table.columns[0])
    cells = {v: table.cells[v, column] for v in table.variants if (v, column) in table.cells}
    of = column_label(column)
    compared = {variant: cell for variant, cell in cells.items() if cell.difference is not None}
    if not compared:
        return f"{of}: nothing to compare with {table.baseline} yet."
    certain = {v: c.difference.value for v, c in compared.items() if c.certain and c.difference is not None}
    known = meaning(column.figure)
    groups = {
        word: [variant for variant, gain in certain.items() if is_better(gain, known) is way]
        for word, way in (("better", True), ("worse", False), ("different", None))
    }
    parts = [f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {word}" for word, names in groups.items() if names]
    rest = len(compared) - len(certain)
    if rest:
        which = "all others" if not parts and rest > 1 else "the other" if not parts else f"{rest} more"
        parts.append(f"{which} may differ by chance only")
    return f"{of}, beside {table.baseline}: {'; '.join(parts)}."


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_NAMED]) + ([f"{len(names) - _NAMED} more"] if len(names) > _NAMED else [])
    return listed(shown)


def _panels(table: AblationTable) -> list[Panel]:
    panels: list[Panel] = []
    for number, column in enumerate(table.columns):
        drawing = variants_figure(table, column, ident=f"a{number}")
        if drawing is not None:
            panels.append(Panel(column_label(column), "", drawing))
    return panels


def _group(table: AblationTable, measurement: str) -> Group:
    columns = [column for column in table.columns if column.measurement == measurement]
    rows = tuple(
        Row(variant, seeds_text(table, variant, measurement), tuple(_entry(table, variant, each) for each in columns))
        for variant in table.variants
    )
    heads = tuple(meaning(column.figure).label for column in columns)
    return Group(measurement_title(measurement), heads, rows, _about(table, measurement))


def _about(table: AblationTable, measurement: str) -> str:
    """The faces and the counts of a measurement."""
    data = (table.context.get("data") or {}).get(measurement) or {}
    counts = [f"{n:,} {count_name(name)}" for name, n in (data.get("counts") or {}).items() if n and "@" not in name]
    return "; ".join(filter(None, (str(data.get("faces") or ""), ", ".join(counts[:_NAMED]))))


def _entry(table: AblationTable, variant: str, column: Column) -> Entry:
    found = table.cells.get((variant, column))
    if found is None:
        return Entry(_MISSING, "", "", "", "", "", "")
    known = meaning(column.figure)
    spread = "" if len(found.values) < 2 else f"± {_spread(found.deviation, known.unit == 'share')}"
    value, interval = value_text(found.mean, known.unit), interval_text(found.mean, known.unit)
    if found.difference is None:
        said = "baseline" if variant == table.baseline else ""
        return Entry(value, spread, interval, "", "", said, "")
    unit = apart(known.unit)
    better = is_better(found.difference.value, known)
    verdict = "may be chance" if not found.certain else "differs" if better is None else "better" if better else "worse"
    tone = "" if not found.certain or better is None else "first" if better else "second"
    between = interval_text(found.difference, unit)
    return Entry(value, spread, interval, value_text(found.difference, unit), between, verdict, tone)


def _spread(deviation: float, share: bool) -> str:
    return points(deviation).lstrip("+") if share else f"{deviation:.2g}"


def _bootstrap(table: AblationTable) -> list[tuple[str, str]]:
    facts = [
        (name, table.context.get(key)) for name, key in (("Resamples", "resamples"), ("Seed of the resamples", "seed"))
    ]
    return [(name, f"{value:,}") for name, value in facts if isinstance(value, int)]
