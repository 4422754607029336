"""The page of an evaluation or a training run: which parts it has, and what each shows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

import numpy as np

from vlrface.report import crops, wording
from vlrface.report.bands import band_tables
from vlrface.report.conditions import measure_name, split_name
from vlrface.report.distributions import histogram_caption, recognizability_histogram
from vlrface.report.flat_map import embedding_figure
from vlrface.report.grids import grids
from vlrface.report.headline import leading, summary
from vlrface.report.inputs import Attention, EmbeddingMap, Pictures
from vlrface.report.lines import line_figure
from vlrface.report.names import GROUPS, meaning
from vlrface.report.provenance import provenance
from vlrface.report.subjects import Subject, subject
from vlrface.report.svg import Drawing
from vlrface.report.template import render
from vlrface.report.training import training_panels
from vlrface.types import Curve, Estimate, Report

FOLDED: Final = 10
"""A group of more figures than this is folded away."""

_SECTIONS: Final = (
    ("reject", "Refusing the hardest faces", "Does refusing the least recognizable faces remove the errors?"),
    ("recognition", "Finding and accepting people", ""),
    ("other", "Further curves", ""),
    ("training", "Training", "How the run went, step by step."),
)


@dataclass(frozen=True)
class Whisker:
    """A value and its interval on a line from 0 to 100 %, in percent."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Figure:
    """A key figure as a card or as a row of the table."""

    key: str
    label: str
    value: str
    interval: str
    sentence: str
    whisker: Whisker | None


@dataclass(frozen=True)
class Group:
    """Figures that belong together, under a heading; folded away where they are many."""

    title: str
    figures: tuple[Figure, ...]
    folded: bool


@dataclass(frozen=True)
class Panel:
    """A drawing with its heading and caption; a second drawing for narrow screens where one would not do."""

    title: str
    caption: str
    drawing: Drawing | None
    narrow: Drawing | None = None


@dataclass(frozen=True)
class Section:
    """A part of the page that holds panels; of many large ones most are folded away."""

    ident: str
    title: str
    lead: str
    panels: tuple[Panel, ...]
    folded: tuple[Panel, ...] = ()


def render_report(
    report: Report,
    *,
    pictures: Pictures | None = None,
    embedding_map: EmbeddingMap | None = None,
    attention: Attention | None = None,
    training: Mapping[str, Curve] | None = None,
) -> str:
    """The page as text; see `vlrface.report.html.write_report`."""
    idents = (f"f{i}" for i in count())
    alone, tables = grids(report.figures, report.counts)
    histogram = None if pictures is None else _histogram(pictures, idents)
    map_panel = None if embedding_map is None else _map(embedding_map, idents)
    overlays, scale = ((), (0.0, 1.0)) if attention is None else crops.overlays(attention)
    return render(
        "page.html.j2",
        title=report.title,
        benchmark=report.benchmark,
        summary=summary(report),
        cards=[_card(name, report.figures[name]) for name in leading(report.figures, report.benchmark)],
        histogram=histogram,
        columns=() if pictures is None or histogram is None else crops.columns(pictures),
        sections=_sections(report, training or {}, idents),
        map=map_panel,
        overlays=overlays,
        scale=[wording.number(end) for end in scale],
        bands=band_tables(tables, report.figures),
        groups=_groups({name: report.figures[name] for name in alone}),
        run=provenance(report.counts, report.context),
    )


def _figure(name: str, estimate: Estimate) -> Figure:
    known = meaning(name)
    whisker = None
    ends = (estimate.value, estimate.low, estimate.high)
    if known.unit == "share" and all(np.isfinite(end) and 0.0 <= end <= 1.0 for end in ends):
        whisker = Whisker(*(round(100 * end, 2) for end in ends))
    return Figure(
        name,
        known.label,
        wording.value_text(estimate, known.unit),
        wording.interval_text(estimate, known.unit),
        known.sentence,
        whisker,
    )


def _card(name: str, estimate: Estimate) -> Figure:
    figure = _figure(name, estimate)
    label, of = card_words(name)
    return replace(figure, label=label, sentence=": ".join(filter(None, (of, figure.sentence))))


def card_words(name: str) -> tuple[str, str]:
    """Heading of a card, and what it is of where the heading does not say it.

    Cards of quality measures differ in the measure only: that is their heading.
    """
    head, found = split_name(name)
    if "measure" not in found:
        return meaning(name).label, ""
    rest = ",".join(f"{key}={value}" for key, value in found.items() if key != "measure")
    return measure_name(found["measure"]), meaning(f"{head}@{rest}").label


def _groups(figures: Mapping[str, Estimate]) -> list[Group]:
    """Figures by what they are about; of those that are many only the first group is open."""
    members: dict[str, list[Figure]] = {title: [] for title in GROUPS.values()}
    for name, estimate in figures.items():
        members[GROUPS[meaning(name).group]].append(_figure(name, estimate))
    return [Group(title, tuple(each), len(each) > FOLDED) for title, each in members.items() if each]


def _histogram(pictures: Pictures, idents: Iterator[str]) -> Panel | None:
    wide = recognizability_histogram(pictures, ident=next(idents), wide=True)
    narrow = recognizability_histogram(pictures, ident=next(idents), wide=False)
    if wide is None:
        return None
    return Panel("", _with_notes(histogram_caption(pictures), wide), wide, narrow)


def _map(given: EmbeddingMap, idents: Iterator[str]) -> Panel | None:
    drawing = embedding_figure(given, ident=next(idents))
    if drawing is None:
        return None
    return Panel("", _with_notes("", drawing), drawing)


def _sections(report: Report, training: Mapping[str, Curve], idents: Iterator[str]) -> list[Section]:
    panels: dict[str, list[Panel]] = {ident: [] for ident, _, _ in _SECTIONS}
    scalars: dict[str, Curve | Sequence[Curve]] = dict(training)
    for key, curves in report.curves.items():
        if key.startswith("training/"):
            scalars.setdefault(key.removeprefix("training/"), curves)
        elif curves:
            about = subject(key)
            panels[about.section].append(_panel(about, curves, idents))
    for about, curves in training_panels(scalars):
        panels["training"].append(_panel(about, curves, idents))
    return [_section(ident, title, lead, panels[ident]) for ident, title, lead in _SECTIONS if panels[ident]]


def _section(ident: str, title: str, lead: str, panels: Sequence[Panel]) -> Section:
    """Panels of many lines take the width of the page: the first of each kind is open, and all small ones."""
    kinds: set[str] = set()
    open_, folded = [], []
    for panel in panels:
        kind = panel.title.partition(" (")[0]
        large = panel.drawing is not None and panel.drawing.beside
        (folded if large and kind in kinds else open_).append(panel)
        kinds.add(kind)
    return Section(ident, title, lead, tuple(open_), tuple(folded))


def _panel(about: Subject, curves: Sequence[Curve], idents: Iterator[str]) -> Panel:
    drawing = line_figure(curves, about, ident=next(idents))
    caption = about.caption
    if drawing is None:
        return Panel(about.title, f"{caption} No value is finite, so that nothing can be drawn.".strip(), None)
    return Panel(about.title, _with_notes(caption, drawing), drawing)


def _with_notes(caption: str, drawing: Drawing) -> str:
    return " ".join((caption, *drawing.notes)).strip()
