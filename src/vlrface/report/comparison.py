"""The page of a comparison: who is better in what, by how much, and whether that is more than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from vlrface.evaluate.comparison import Comparison
from vlrface.report.forest import forest_figure, forests
from vlrface.report.headline import leading
from vlrface.report.lines import line_figure
from vlrface.report.names import GROUPS, count_name, meaning
from vlrface.report.notes import crops_text, matcher_text
from vlrface.report.page import FOLDED, Panel
from vlrface.report.provenance import provenance
from vlrface.report.subjects import subject
from vlrface.report.template import render
from vlrface.report.verdicts import apart, sentence, verdict
from vlrface.report.wording import interval_text, value_text

_SAID: Final = 3
"""Sentences at the top."""

_OWN: Final = ("notes", "counts_apart", "models")


@dataclass(frozen=True)
class Card:
    """The difference of one figure."""

    label: str
    value: str
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
    """Figures that belong together; folded away where they are many."""

    title: str
    rows: tuple[Row, ...]
    folded: bool


def render_comparison(comparison: Comparison) -> str:
    """The page as text; see `vlrface.report.html.write_comparison`."""
    idents = (f"f{i}" for i in count())
    key = leading({name: each.first for name, each in comparison.figures.items()}, comparison.benchmark)
    said = [sentence(comparison, name) for name in key[:_SAID]]
    drawn = [(each, forest_figure(each, ident=next(idents))) for each in forests(comparison)]
    context = {name: value for name, value in comparison.context.items() if name not in _OWN}
    return render(
        "comparison.html.j2",
        title=comparison.title,
        benchmark=comparison.benchmark,
        names=comparison.names,
        summary=said[0] if said else "",
        further=said[1:],
        cards=[_card(comparison, name) for name in key],
        differences=[Panel(each.title, "", drawing) for each, drawing in drawn],
        curves=_curves(comparison, idents_from=idents),
        groups=_groups(comparison),
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
    return Card(
        known.label,
        value_text(found.difference, unit),
        interval_text(found.difference, unit),
        said,
        _tone(said, comparison.names),
        f"{comparison.names[0]} {both[0]}, {comparison.names[1]} {both[1]}",
    )


def _tone(said: str, names: tuple[str, str]) -> str:
    """Class that colours a verdict: which of the models it names, if any."""
    return {f"{names[0]} is better": "first", f"{names[1]} is better": "second"}.get(said, "")


def _curves(comparison: Comparison, *, idents_from: Any) -> list[Panel]:
    panels: list[Panel] = []
    for key, curves in comparison.curves.items():
        about = subject(key)
        drawing = line_figure(curves, about, ident=next(idents_from)) if curves else None
        if drawing is not None:
            panels.append(Panel(about.title, " ".join((about.caption, *drawing.notes)).strip(), drawing))
    return panels


def _groups(comparison: Comparison) -> list[Group]:
    members: dict[str, list[Row]] = {title: [] for title in GROUPS.values()}
    for name in comparison.figures:
        members[GROUPS[meaning(name).group]].append(_row(comparison, name))
    return [Group(title, tuple(rows), len(rows) > FOLDED) for title, rows in members.items() if rows]


def _row(comparison: Comparison, name: str) -> Row:
    found, known = comparison.figures[name], meaning(name)
    said = verdict(found, known, comparison.names)
    unit = apart(known.unit)
    return Row(
        known.label,
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
