"""Figures fit for a paper: one column wide, as SVG and PDF, legible in grey, each with a caption that names its source.

Unlike the drawings of a page these stand alone: white ground, colours of their own, type embedded (in the PDF as
TrueType, in the SVG as outlines), and the same values give the same bytes.
"""

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vlrface.evaluate.comparison import Comparison
from vlrface.files import written_atomically
from vlrface.report.dots import draw_dots
from vlrface.report.forest import Forest, Look, forest_height, forests, paint_forest
from vlrface.report.grids import Grid, grids
from vlrface.report.latex import escaped
from vlrface.report.lines import Dashes, Line, Stroke, draw_lines, is_many, lines_of
from vlrface.report.notes import comparison_facts, shared_facts
from vlrface.report.overlays import overlays
from vlrface.report.subjects import Subject, subject
from vlrface.report.tables import safe_name
from vlrface.report.training import training_panels
from vlrface.types import Curve, Estimate, Report

COLUMN_INCHES: Final = 3.3
"""Width of one column of the usual two-column papers."""

_PLOT_INCHES: Final = 2.05
_LEGEND_LETTERS: Final = 44
_MUTED: Final = "#555555"
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
_STYLE: Final[Mapping[str, object]] = {
    "svg.fonttype": "path",
    "svg.hashsalt": "vlrface",
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    "font.family": ["STIXGeneral", "DejaVu Sans"],  # both come with matplotlib: the same on every machine
    "font.size": 8.0,
    "text.usetex": False,
    "text.parse_math": False,
    "text.color": "black",
    "axes.facecolor": "white",
    "axes.edgecolor": "black",
    "axes.labelcolor": "black",
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "grid.linestyle": "-",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": "black",
    "ytick.color": "black",
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": None,
    "savefig.dpi": 300,
    "patch.linewidth": 0.0,
    "lines.solid_capstyle": "butt",
}


@dataclass(frozen=True)
class Plate:
    """One figure before it is saved.

    Attributes:
        name: of its files, without suffix.
        caption: what it shows, how to read it, where it comes from.
        inches: its height.
        paint: draws it on an empty figure.
    """

    name: str
    caption: str
    inches: float
    paint: Callable[[Figure], None]


def save_figures(found: Report | Comparison, folder: Path) -> list[Path]:
    """Write every figure; see `vlrface.report.html.write_figures`."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for plate in plates(found):
        drawn = rendered(plate)
        texts = {".tex": _snippet(plate), ".txt": plate.caption + "\n"}
        files = {**drawn, **{suffix: text.encode("utf-8", "backslashreplace") for suffix, text in texts.items()}}
        for suffix, content in files.items():
            path = folder / (plate.name + suffix)
            with written_atomically(path) as temporary:
                temporary.write_bytes(content)
            written.append(path)
    return written


def rendered(plate: Plate) -> dict[str, bytes]:
    """The figure as ".svg" and ".pdf"."""
    found: dict[str, bytes] = {}
    undated: dict[str, dict[str, None]] = {
        ".svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
        ".pdf": dict.fromkeys(("Creator", "Producer", "CreationDate")),
    }
    with mpl.rc_context(dict(_STYLE)), warnings.catch_warnings():  # pyright: ignore[reportArgumentType]
        # A name in a script that the type lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        for suffix, metadata in undated.items():
            figure = Figure(figsize=(COLUMN_INCHES, plate.inches))
            plate.paint(figure)
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix[1:], metadata=metadata)
            found[suffix] = buffer.getvalue()
    return found


def plates(found: Report | Comparison) -> list[Plate]:
    """Every figure: lines, figures by band, and of a comparison its differences. Names are unique."""
    facts = shared_facts({"": found}) if isinstance(found, Report) else comparison_facts(found)
    start = safe_name(found.benchmark) + ("" if isinstance(found, Report) else "_compared")
    made = [*_line_plates(found, facts), *_other_plates(found, facts)]
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
        draw_lines(axes, lines, about, lambda line: _stroke(line, many=many), words=_plain)
        axes.set_ylabel(_plain(_wrapped(about.y.name, 34)))
        if named:
            _legend(figure, axes, columns)

    yield Plate(key, _sentences(said), _PLOT_INCHES + 0.15 * rows + (0.35 if many else 0.0), paint)


def _stroke(line: Line, *, many: bool) -> Stroke:
    if line.bound:
        return Stroke(_MUTED, _BOUND_DASHES[line.place], 0.8)
    dashes, colour = _DASHES[line.place % len(_DASHES)], _COLOURS[line.place % len(_COLOURS)]
    if not many:
        return Stroke(colour, dashes, 1.2)
    step = max(1, len(line.x) // 7)
    return Stroke(colour, dashes, 0.9, _MARKERS[line.place % len(_MARKERS)], (line.place * 5 % step, step))


def _legend_columns(names: Sequence[str]) -> int:
    longest = max((len(name) for name in names), default=0)
    return min(len(names), 3 if longest <= 12 else 2 if longest <= 28 else 1) or 1


def _legend_rows(names: Sequence[str], columns: int) -> int:
    return -(-sum(_wrapped(name, _LEGEND_LETTERS).count("\n") + 1 for name in names) // columns)


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        [_wrapped(label, _LEGEND_LETTERS) for label in labels],
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
        draw_dots(axes, grid, columns, figures, list(zip(_COLOURS, _MARKERS, strict=False)), _plain)
        if rows:
            _legend(figure, axes, legend)
        else:
            axes.set_ylabel(_plain(_wrapped(names[0], 34)))

    title = f"{', '.join(names)} {grid.title[:1].lower()}{grid.title[1:]}."
    counts = [
        f"{head.capitalize()}, from left to right: {', '.join(_count(row.counts[place]) for row in grid.rows)}."
        for place, head in enumerate(grid.counted)
    ]
    caption = _sentences([title, "Bars: 95 % intervals.", *counts, *facts])
    yield Plate(f"by {grid.band} {grid.subtitle} {names[0]}", caption, _PLOT_INCHES + 0.15 * rows, paint)


def _count(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def _forest_plate(forest: Forest, facts: Sequence[str]) -> Plate:
    look = Look("black", "#777777", "white", "black", "#555555", 7.5, 50, _plain)
    said = [
        f"{forest.title}: {forest.names[0]} minus {forest.names[1]}, with 95 % intervals, paired.",
        "Filled: more than chance, the interval leaves 0 out. Open: may be chance.",
        *facts,
    ]
    height = forest_height(forest, look) / 72
    return Plate(forest.key, _sentences(said), height, lambda figure: paint_forest(figure, forest, look))


def _plain(text: str) -> str:
    """Text without the narrow space, which the type of a paper lacks, and with minus signs before numbers."""
    return re.sub(r"(?<![\w.)])-(?=\d)", "−", text.replace("\u202f", "\u00a0"))


def _wrapped(text: str, letters: int) -> str:
    return "\n".join(textwrap.wrap(text, letters, max_lines=3, placeholder=" …"))


def _sentences(parts: Sequence[str]) -> str:
    return re.sub(r"\s+", " ", _plain(" ".join(filter(None, parts)))).strip()


def _snippet(plate: Plate) -> str:
    lines = [
        "% needs \\usepackage{graphicx}",
        "\\begin{figure}",
        "  \\centering",
        f"  \\includegraphics{{{plate.name}.pdf}}",
        f"  \\caption{{{escaped(plate.caption)}}}",
        f"  \\label{{fig:{plate.name}}}",
        "\\end{figure}",
    ]
    return "\n".join(lines) + "\n"
