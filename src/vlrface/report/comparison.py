"""The page of a comparison: who is better in what, by how much, and whether that is more than chance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from vlrface.evaluate.comparison import Comparison
from vlrface.report.forest import forest_figure, forests
from vlrface.report.grids import Grid, grids
from vlrface.report.headline import leading
from vlrface.report.lines import line_figure
from vlrface.report.names import GROUPS, count_name, meaning
from vlrface.report.notes import crops_text, matcher_text
from vlrface.report.overlays import Overlay, overlays
from vlrface.report.page import Panel, card_words
from vlrface.report.provenance import provenance
from vlrface.report.template import render
from vlrface.report.verdicts import apart, sentence, tally, verdict
from vlrface.report.wording import SPACE, interval_text, value_text

_OWN: Final = ("notes", "counts_apart", "models")


@dataclass(frozen=True)
class Card:
    """The difference of one figure."""

    label: str
    of: str
    value: str
    unit: str
    interval: str
    verdict: str
    tone: str
    both: str


@dataclass(frozen=True)
class Row:
    """One figure of both models."""

    label: str
    first: str
    second: str
    difference: str
    interval: str
    verdict: str
    tone: str


@dataclass(frozen=True)
class Group:
    """Figures that belong together."""

    title: str
    rows: tuple[Row, ...]


def render_comparison(comparison: Comparison) -> str:
    """The page as text; see `vlrface.report.html.write_comparison`."""
    idents = (f"f{i}" for i in count())
    key = leading({name: each.first for name, each in comparison.figures.items()}, comparison.benchmark)
    alone, tables = grids({name: each.first for name, each in comparison.figures.items()}, comparison.counts)
    drawn = [(each, forest_figure(each, ident=next(idents))) for each in forests(comparison)]
    lines, omitted = overlays(comparison)
    context = {name: value for name, value in comparison.context.items() if name not in _OWN}
    return render(
        "comparison.html.j2",
        title=comparison.title,
        benchmark=comparison.benchmark,
        names=comparison.names,
        summary=sentence(comparison, key[0]) if key else "",
        tally=tally(comparison, alone),
        cards=[_card(comparison, name) for name in key],
        differences=[Panel(each.title, "", drawing) for each, drawing in drawn],
        curves=_curves(lines, idents),
        omitted=omitted,
        groups=_groups(comparison, alone),
        banded=_banded(comparison, tables),
        models=_models(comparison),
        notes=[str(note) for note in comparison.context.get("notes") or ()],
        apart=_counts_apart(comparison),
        run=provenance(comparison.counts, context),
    )


def _card(comparison: Comparison, name: str) -> Card:
    found, known = comparison.figures[name], meaning(name)
    unit = apart(known.unit)
    both = [f"{value_text(each, known.unit)}" for each in (found.first, found.second)]
    said = verdict(found, known, comparison.names)
    label, of = card_words(name)
    value, _, sign = value_text(found.difference, unit).partition(SPACE)
    return Card(
        label,
        of,
        value,
        sign,
        interval_text(found.difference, unit),
        said,
        _tone(said, comparison.names),
        f"{comparison.names[0]} {both[0]}, {comparison.names[1]} {both[1]}",
    )


def _tone(said: str, names: tuple[str, str]) -> str:
    """Class that colours a verdict: which of the models it names, if any."""
    return {f"{names[0]} is better": "first", f"{names[1]} is better": "second"}.get(said, "")


def _curves(drawn: Sequence[Overlay], idents: Iterator[str]) -> list[Panel]:
    panels: list[Panel] = []
    for each in drawn:
        drawing = line_figure(each.curves, each.about, ident=next(idents))
        if drawing is not None:
            panels.append(Panel(each.about.title, " ".join((each.about.caption, *drawing.notes)).strip(), drawing))
    return panels


def _groups(comparison: Comparison, names: Sequence[str]) -> list[Group]:
    """Figures that stand alone, by what they are about."""
    members: dict[str, list[Row]] = {title: [] for title in GROUPS.values()}
    for name in names:
        members[GROUPS[meaning(name).group]].append(_row(comparison, name, meaning(name).label))
    return [Group(title, tuple(rows)) for title, rows in members.items() if rows]


def _banded(comparison: Comparison, tables: Sequence[Grid]) -> list[tuple[str, list[Group]]]:
    """Figures measured band after band: under the title of the bands a group for each figure."""
    found: dict[str, list[Group]] = {}
    for grid in tables:
        for column, head in enumerate(grid.columns):
            named = [(row.names[column], row.label) for row in grid.rows]
            rows = tuple(_row(comparison, name, label) for name, label in named if name is not None)
            found.setdefault(grid.title, []).append(Group(": ".join(filter(None, (grid.subtitle, head))), rows))
    return list(found.items())


def _row(comparison: Comparison, name: str, label: str) -> Row:
    found, known = comparison.figures[name], meaning(name)
    said = verdict(found, known, comparison.names)
    unit = apart(known.unit)
    return Row(
        label,
        value_text(found.first, known.unit),
        value_text(found.second, known.unit),
        value_text(found.difference, unit),
        interval_text(found.difference, unit),
        said,
        _tone(said, comparison.names),
    )


def _models(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """Name, number of runs, matcher and crops of each side."""
    given = comparison.context.get("models")
    given = given if isinstance(given, Mapping) else {}
    shown: list[tuple[str, str, str, str]] = []
    for name, runs in zip(comparison.names, comparison.runs, strict=True):
        made: Sequence[Any] = given.get(name) or [{}]
        each = [run if isinstance(run, Mapping) else {} for run in made]
        matcher, shown_crops = (" / ".join(dict.fromkeys(map(tell, each))) for tell in (matcher_text, crops_text))
        shown.append((name, f"{runs} run{'s' if runs != 1 else ''}", matcher, shown_crops))
    return shown


def _counts_apart(comparison: Comparison) -> list[tuple[str, str]]:
    """Counts on which the runs differ, and their values run by run."""
    given = comparison.context.get("counts_apart")
    if not isinstance(given, Mapping):
        return []
    return [
        (count_name(str(name)), ", ".join("–" if each is None else f"{each:,}" for each in values))
        for name, values in given.items()
    ]
