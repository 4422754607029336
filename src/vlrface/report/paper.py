"""Figures fit for a paper: as SVG and PDF, legible in grey, each with a caption that names its source.

Unlike the drawings of a page these stand alone: white ground, colours of their own, type embedded (in the PDF as
TrueType, in the SVG as outlines), and the same values give the same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlrface.evaluate.comparison import Comparison
from vlrface.files import written_atomically
from vlrface.report.dots import draw_dots
from vlrface.report.forest import Forest, Look, forest_height, forests, paint_forest
from vlrface.report.grids import Grid, grids
from vlrface.report.illustrated import illustrated
from vlrface.report.inputs import Illustrations
from vlrface.report.lines import Dashes, Line, Stroke, draw_lines, is_many, lines_of
from vlrface.report.notes import comparison_facts, shared_facts
from vlrface.report.overlays import overlays
from vlrface.report.plate import MUTED, Plate, files, plain, sentences, wrapped
from vlrface.report.subjects import Subject, subject
from vlrface.report.tables import safe_name
from vlrface.report.training import training_panels
from vlrface.types import Curve, Estimate, Report

_PLOT_INCHES: Final = 2.05
_LEGEND_LETTERS: Final = 44
# From dark to light and back, so that neighbours differ in grey too; strokes and markers differ in any case.
_COLOURS: Final = ("#000000", "#0072b2", "#d55e00", "#00805c", "#9c4f86", "#4a90c2", "#8a6d00", "#6b6b6b")
_DASHES: Final[tuple[Dashes, ...]] = (
    "-",
    (0, (4.0, 1.6)),
    (0, (5.0, 1.5, 1.0, 1.5)),
    (0, (1.0, 1.2)),
    (0, (8.0, 2.0)),
    (0, (5.0, 1.2, 1.0, 1.2, 1.0, 1.2)),
)
_MARKERS: Final = ("o", "s", "^", "D", "v", "x", "+", "P", "<", ">", "*", "p", "1")
_BOUND_DASHES: Final[tuple[Dashes, ...]] = ((0, (2.5, 2.0)), (0, (0.8, 2.4)))


def save_figures(
    found: Report | Comparison, folder: Path, shown: Illustrations | None = None, *, start: str = ""
) -> list[Path]:
    """Write every figure; see `vlrface.report.html.write_figures`."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for plate in plates(found, shown, start=start):
        for suffix, content in files(plate).items():
            path = folder / (plate.name + suffix)
            with written_atomically(path) as temporary:
                temporary.write_bytes(content)
            written.append(path)
    return written


def plates(found: Report | Comparison, shown: Illustrations | None = None, *, start: str = "") -> list[Plate]:
    """Every figure: lines, figures by band, what is shown, and of a comparison its differences. Names are unique."""
    facts = shared_facts({"": found}) if isinstance(found, Report) else comparison_facts(found)
    start = safe_name(start or found.benchmark) + ("" if isinstance(found, Report) else "_compared")
    made = [*_line_plates(found, facts), *_other_plates(found, facts)]
    if shown is not None:
        made += illustrated(shown, facts)
    named: dict[str, Plate] = {}
    for plate in made:
        name = first = f"{start}_{safe_name(plate.name)}"
        number = 1
        while name in named:
            number += 1
            name = f"{first}_{number}"
        named[name] = replace(plate, name=name)
    return list(named.values())


def _line_plates(found: Report | Comparison, facts: Sequence[str]) -> Iterator[Plate]:
    if isinstance(found, Comparison):
        for each in overlays(found)[0]:
            yield from _line_plate(each.key, each.curves, each.about, facts)
        return
    scalars: dict[str, Curve | Sequence[Curve]] = {}
    for key, curves in found.curves.items():
        if key.startswith("training/"):
            scalars[key.removeprefix("training/")] = curves
        else:
            yield from _line_plate(key, curves, subject(key), facts)
    for about, curves in training_panels(scalars):
        yield from _line_plate(f"training {about.title}", curves, about, facts)


def _line_plate(key: str, curves: Sequence[Curve], about: Subject, facts: Sequence[str]) -> Iterator[Plate]:
    lines, notes = lines_of(curves, about)
    if not lines:
        return
    named = len(lines) > 1
    columns = _legend_columns([line.name for line in lines])
    rows = _legend_rows([line.name for line in lines], columns) if named else 0
    said = [f"{about.title}.", about.caption, *notes, *facts]
    many = is_many(lines)

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
        axes = figure.add_subplot()
        draw_lines(axes, lines, about, lambda line: _stroke(line, many=many), words=plain)
        axes.set_ylabel(plain(wrapped(about.y.name, 34)))
        if named:
            _legend(figure, axes, columns)

    yield Plate(key, sentences(said), _PLOT_INCHES + 0.15 * rows + (0.35 if many else 0.0), paint)


def _stroke(line: Line, *, many: bool) -> Stroke:
    if line.bound:
        return Stroke(MUTED, _BOUND_DASHES[line.place], 0.8)
    dashes, colour = _DASHES[line.place % len(_DASHES)], _COLOURS[line.place % len(_COLOURS)]
    if not many:
        return Stroke(colour, dashes, 1.2)
    step = max(1, len(line.x) // 7)
    return Stroke(colour, dashes, 0.9, _MARKERS[line.place % len(_MARKERS)], (line.place * 5 % step, step))


def _legend_columns(names: Sequence[str]) -> int:
    longest = max((len(name) for name in names), default=0)
    return min(len(names), 3 if longest <= 12 else 2 if longest <= 28 else 1) or 1


def _legend_rows(names: Sequence[str], columns: int) -> int:
    return -(-sum(wrapped(name, _LEGEND_LETTERS).count("\n") + 1 for name in names) // columns)


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        [wrapped(label, _LEGEND_LETTERS) for label in labels],
        loc="outside lower center",
        ncols=columns,
        handlelength=2.8,
        columnspacing=1.2,
        labelspacing=0.25,
        borderaxespad=0.1,
    )


def _other_plates(found: Report | Comparison, facts: Sequence[str]) -> Iterator[Plate]:
    if isinstance(found, Report):
        for grid in grids(found.figures, found.counts)[1]:
            yield from _band_plate(grid, found.figures, facts)
        return
    for forest in forests(found):
        yield _forest_plate(forest, facts)


def _band_plate(grid: Grid, figures: Mapping[str, Estimate], facts: Sequence[str]) -> Iterator[Plate]:
    """Shares by band, as dots with their intervals; quality measures and shares refused have lines already."""
    columns = [column for column, unit in enumerate(grid.units) if unit == "share"]
    if grid.band in ("measure", "reject") or not columns:
        return
    names = [grid.columns[column] for column in columns]
    legend = _legend_columns(names)
    rows = _legend_rows(names, legend) if len(columns) > 1 else 0

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
        axes = figure.add_subplot()
        draw_dots(axes, grid, columns, figures, list(zip(_COLOURS, _MARKERS, strict=False)), plain)
        if rows:
            _legend(figure, axes, legend)
        else:
            axes.set_ylabel(plain(wrapped(names[0], 34)))

    title = f"{', '.join(names)} {grid.title[:1].lower()}{grid.title[1:]}."
    counts = [
        f"{head.capitalize()}, from left to right: {', '.join(_count(row.counts[place]) for row in grid.rows)}."
        for place, head in enumerate(grid.counted)
    ]
    caption = sentences([title, "Bars: 95 % intervals.", *counts, *facts])
    yield Plate(f"by {grid.band} {grid.subtitle} {names[0]}", caption, _PLOT_INCHES + 0.15 * rows, paint)


def _count(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def _forest_plate(forest: Forest, facts: Sequence[str]) -> Plate:
    look = Look("black", "#777777", "white", "black", "#555555", 7.5, 50, plain)
    said = [
        f"{forest.title}: {forest.names[0]} minus {forest.names[1]}, with 95 % intervals, paired.",
        "Filled: more than chance, the interval leaves 0 out. Open: may be chance.",
        *facts,
    ]
    height = forest_height(forest, look) / 72
    return Plate(forest.key, sentences(said), height, lambda figure: paint_forest(figure, forest, look))
