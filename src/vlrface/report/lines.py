"""Line figures: which lines are drawn, in which order and stroke, and their drawing for a page or for a paper."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy import ndarray

from vlrface.report.conditions import measure_name, phrase
from vlrface.report.names import meaning
from vlrface.report.subjects import Subject, Unit
from vlrface.report.svg import Drawing, Ink, LegendEntry, Mark, css, draw
from vlrface.types import Curve

WIDTH: Final = 340  # of the drawing at scale 1: between a phone's column (300) and a page's (480)
HEIGHT: Final = 225
MANY: Final = 4
"""More lines than this are drawn larger, with their names in a column beside them."""

MANY_HEIGHT: Final = 300
MAX_BANDS: Final = 3
"""The 95 % bands of more lines than this would hide one another."""

MAX_POINTS: Final = 400
"""A line with more points is thinned for the drawing: a column is some 500 pixels wide."""

BOUNDS: Final = ("random", "oracle")
MARKS: Final[tuple[Mark, ...]] = ("line", "dashed", "dashdot")
"""Strokes of what was measured; dots are the oracle's alone."""
Dashes = str | tuple[int, tuple[float, ...]]
DASHES: Final[dict[Mark, Dashes]] = {
    "line": "-",
    "dashed": (0, (4.0, 2.0)),
    "dashdot": (0, (5.0, 1.8, 1.0, 1.8)),
    "dotted": (0, (1.0, 1.6)),
}


@dataclass(frozen=True, eq=False)
class Line:
    """A curve as it is drawn: finite points only, thinned.

    Attributes:
        name: in words.
        x: positions.
        y: values.
        low: lower end of the band; NaN where there is none.
        high: upper end.
        lost: how many values of the curve are not finite.
        bound: whether it is no measured line but the one of no use or of perfect use.
        place: number among the measured lines, which decides colour and stroke; of a bound, its place in `BOUNDS`.
    """

    name: str
    x: Float[ndarray, " n"]
    y: Float[ndarray, " n"]
    low: Float[ndarray, " n"]
    high: Float[ndarray, " n"]
    lost: int = 0
    bound: bool = False
    place: int = 0


@dataclass(frozen=True)
class Stroke:
    """How a line is drawn.

    Attributes:
        colour: of line and band.
        dashes: pattern, as matplotlib takes it.
        width: in points.
        marker: at the points ("" for none).
        every: first point that gets a marker, and the step to the next.
    """

    colour: str
    dashes: Dashes
    width: float
    marker: str = ""
    every: tuple[int, int] = (0, 1)


def line_figure(curves: Sequence[Curve], about: Subject, *, ident: str) -> Drawing | None:
    """Lines with their 95 % bands over one pair of axes, for a page.

    Curves named "random" and "oracle" are drawn as bounds. Where the subject has bounds and the curves do not bring
    them, they follow from the first value of each curve: flat, and `max(first - refused share, 0)`. More than two
    quality measures are listed from best to worst, by the area under their lines.

    Args:
        curves: what to draw, in the order of the legend.
        about: names, scales and units.
        ident: prefix of the ids in the SVG.

    Returns:
        The drawing; None when no curve has a value that can be drawn.
    """
    lines, notes = lines_of(curves, about)
    if not lines:
        return None
    many = is_many(lines)

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.04)
        axes = figure.add_subplot()
        draw_lines(axes, lines, about, _stroke)
        axes.set_title(about.y.name, loc="left", fontsize=10, color=Ink.TEXT, pad=7, parse_math=False)

    svg = draw(
        paint,
        ident=ident,
        label=f"{about.title}, over {about.x.name or 'x'}: {'; '.join(_spoken(line, about) for line in lines)}",
        width=WIDTH,
        height=MANY_HEIGHT if many else HEIGHT,
    )
    legend = tuple(LegendEntry(line.name, css(_stroke(line).colour), _mark(line)) for line in lines)
    return Drawing(svg, legend if len(legend) > 1 else (), notes, beside=many)


def is_many(lines: Sequence[Line]) -> bool:
    """Whether so many lines are measured that they need more room."""
    return sum(not line.bound for line in lines) > MANY


def lines_of(curves: Sequence[Curve], about: Subject) -> tuple[list[Line], tuple[str, ...]]:
    """The lines to draw, best measure first and bounds last, and notes on what was left out of them."""
    lines = [_line(curve, about) for curve in curves]
    notes = [f"{line.lost:,} values of {line.name} are not finite and not drawn." for line in lines if line.lost]
    drawable = [line for line in lines if len(line.x)]
    measured = [line for line in drawable if not line.bound]
    # Numbered in the order given, which all figures of a report share: a measure keeps its colour from one to the next.
    measured = [replace(line, place=place) for place, line in enumerate(measured)]
    if any(np.isfinite(line.low).any() for line in measured):
        if len(measured) > MAX_BANDS:
            measured = [_without_band(line) for line in measured]
            notes.insert(0, "Intervals are in the tables: the bands of so many lines would hide one another.")
        elif about.section != "training":
            notes.insert(0, "Shaded: 95\u202f% interval.")
    if about.measures and len(measured) > 2:
        sign = 1 if about.measures == "less" else -1
        measured = sorted(measured, key=lambda line: (sign * _mean_height(line, measured), line.name))
        notes.insert(0, "Listed from best to worst, by the area under the whole line.")
    bounds = _bounds(measured, drawable, about)
    if bounds and about.bounds:
        notes.insert(0, "Random refusal stays flat; the oracle refuses exactly the pairs that would fail.")
    lines = measured + bounds
    if lines and not about.y.log and any(line.y.max() > _limits(lines, about)[1] for line in lines):
        notes.append("What lies above the frame is not shown.")
    return lines, tuple(notes)


def _without_band(line: Line) -> Line:
    nothing = np.full(len(line.x), np.nan)
    return replace(line, low=nothing, high=nothing)


def _mean_height(line: Line, among: Sequence[Line]) -> float:
    """Mean of a line over the positions that all lines reach."""
    low, high = max(float(each.x.min()) for each in among), min(float(each.x.max()) for each in among)
    order = np.argsort(line.x, kind="stable")
    at = np.linspace(low, max(low, high), 201)
    return float(np.interp(at, line.x[order], line.y[order]).mean())


def _line(curve: Curve, about: Subject) -> Line:
    drawable = np.isfinite(curve.x) & np.isfinite(curve.y)
    lost = int((~drawable).sum())
    if about.x.log:
        drawable &= curve.x > 0  # a log axis has no zero: FAR 0 lies beyond its left end
    rows = np.flatnonzero(drawable)
    rows = rows[thinned(curve.x[rows], curve.y[rows], log=about.x.log)]
    nothing = np.full(len(curve.x), np.nan)
    low, high = (nothing if band is None else band for band in (curve.low, curve.high))
    bound = curve.name.lower() in BOUNDS
    name = curve.name if bound else line_name(curve.name, about)
    place = BOUNDS.index(curve.name.lower()) if bound else 0
    return Line(name, curve.x[rows], curve.y[rows], low[rows], high[rows], lost, bound, place)


def line_name(name: str, about: Subject) -> str:
    """What a curve is called in a legend."""
    if about.measures:
        return measure_name(name)
    distance = re.fullmatch(r"distance (\w+)", name)
    if distance:
        return phrase("distance", distance[1])
    known = meaning(name)
    return known.label if known.group != "other" else name


def thinned(x: Float[ndarray, " n"], y: Float[ndarray, " n"], *, log: bool = False) -> Int[ndarray, " m"]:
    """Rows that draw the same line with at most `MAX_POINTS` points.

    The axis is cut into equal columns; of each the first, last, lowest and highest point stay, so that a spike of one
    step in a million is still seen.

    Args:
        x: positions, rising.
        y: values.
        log: whether the columns are equal on a logarithmic axis.

    Returns:
        Row numbers, rising.
    """
    n = len(x)
    if n <= MAX_POINTS:
        return np.arange(n)
    position = np.log10(x) if log else x
    spread = float(position[-1] - position[0])
    columns = MAX_POINTS // 4
    where = (position - position[0]) / spread * columns if spread > 0 else np.arange(n) / n * columns
    column = np.clip(where.astype(np.int64), 0, columns - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    kept: list[int] = []
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        part = y[start:end]
        kept += [int(start), int(end) - 1, int(start + part.argmin()), int(start + part.argmax())]
    return np.unique(np.array(kept))


def _bounds(measured: Sequence[Line], lines: Sequence[Line], about: Subject) -> list[Line]:
    given = [line for line in lines if line.bound]
    if given or not about.bounds:
        return given
    x = np.linspace(0.0, max(float(line.x.max()) for line in measured), 101) if measured else np.empty(0)
    nothing = np.full(len(x), np.nan)
    made: list[Line] = []
    # Measures compared on one matcher start at one error: one pair of bounds. Others get a pair each.
    starts = [round(float(line.y[line.x.argmin()]), 9) for line in measured]
    for first in sorted(set(starts)):
        of = [line.name for line, start in zip(measured, starts, strict=True) if start == first]
        called = f", {of[0]}" if len(of) == 1 < len(measured) else ""
        for place, values in enumerate((np.full(len(x), first), np.maximum(first - x, 0.0))):
            made.append(Line(BOUNDS[place] + called, x, values, nothing, nothing, bound=True, place=place))
    return made


def _mark(line: Line) -> Mark:
    if line.bound:
        return ("dashed", "dotted")[line.place]
    # Eight colours and three strokes: no two of 24 lines are alike.
    return MARKS[line.place % len(MARKS)]


def _stroke(line: Line) -> Stroke:
    colour = Ink.MUTED if line.bound else Ink.SERIES[line.place % len(Ink.SERIES)]
    return Stroke(colour, DASHES[_mark(line)], 1.1 if line.bound else 1.6)


def draw_lines(
    axes: Axes,
    lines: Sequence[Line],
    about: Subject,
    stroke: Callable[[Line], Stroke],
    words: Callable[[str], str] = str,
) -> None:
    """Draw lines, bands, scales and the name of the horizontal axis.

    Args:
        axes: empty.
        lines: at least one.
        about: names, scales and units.
        stroke: how each line is drawn.
        words: applied to every text.
    """
    for line in lines:
        look = stroke(line)
        band = np.isfinite(line.low) & np.isfinite(line.high)
        if band.any():
            axes.fill_between(
                line.x, line.low, line.high, where=band.tolist(), color=look.colour, alpha=0.16, linewidth=0.0
            )
        dots = about.points or len(line.x) == 1
        axes.plot(
            line.x,
            line.y,
            color=look.colour,
            linestyle=look.dashes,
            linewidth=look.width,
            marker=look.marker or ("o" if dots else ""),
            markevery=None if dots else look.every,
            markersize=3.0,
            zorder=2.0 if line.bound else 2.5,
            label=words(line.name),
        )
    _scale(axes, lines, about, words)
    axes.set_xlabel(words(about.x.name), parse_math=False)


def _scale(axes: Axes, lines: Sequence[Line], about: Subject, words: Callable[[str], str]) -> None:
    axes.margins(x=0.015)
    positions = np.concatenate([line.x for line in lines])
    few = np.unique(positions)
    if about.x.log and positions.max() > positions.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(_log_locator(positions, about.x.unit))
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif about.points and len(few) <= 8 and (few == few.round()).all():
        axes.xaxis.set_major_locator(FixedLocator(few.tolist()))  # the sizes or distances that were measured
        axes.margins(x=0.05)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=about.x.unit == "rank" or bool(positions.max() > 20)))
    if about.y.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(_log_locator(_finite([line.y for line in lines]), about.y.unit))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_ylim(*_limits(lines, about))
    axes.xaxis.set_major_formatter(_formatter(about.x.unit, words))
    axes.yaxis.set_major_formatter(_formatter(about.y.unit, words))


def _formatter(unit: Unit, words: Callable[[str], str]) -> FuncFormatter:
    form = _FORMATS[unit]

    def text(value: float, at: int | None) -> str:
        return words(form(value, at))

    return FuncFormatter(text)


def _limits(lines: Sequence[Line], about: Subject) -> tuple[float, float]:
    """Ends of the vertical axis. Of many lines single steep ends, and the bounds, must not flatten all the others."""
    many = is_many(lines)
    counted = [line for line in lines if not (many and line.bound)]
    values = _finite([part for line in counted for part in (line.y, line.low, line.high)])
    low, high = float(values.min()), float(values.max())
    if many and about.bounds:
        high = min(high, 1.4 * max(float(line.y[line.x.argmin()]) for line in counted)) or high
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    # An axis of shares begins at nothing unless that would flatten the line: a cut axis makes small gains look large.
    if about.y.unit == "share" or about.bounds:
        return (0.0 if low < 0.75 * high else max(low - 4 * room, 0.0)), min(high + room, max(1.005, high))
    return low - room, high + room


def _finite(parts: Sequence[Float[ndarray, " _"]]) -> Float[ndarray, " n"]:
    return np.concatenate([part[np.isfinite(part)] for part in parts])


def _log_locator(values: Float[ndarray, " n"], unit: Unit) -> FixedLocator | LogLocator:
    if unit == "rank":
        return FixedLocator([tick for tick in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0) if tick <= values.max()])
    narrow = values.max() < 200 * values.min()
    return LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,))


def _spoken(line: Line, about: Subject) -> str:
    form = _FORMATS[about.y.unit]
    return f"{line.name} from {form(float(line.y[0]), 0)} to {form(float(line.y[-1]), 0)}"


def _share(value: float, _: int | None) -> str:
    return f"{100 * value:.3g}\u202f%"


def _number(value: float, _: int | None) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def _gain(value: float, _: int | None) -> str:
    return f"{100 * value:+.3g}" if abs(value) > 1e-12 else "0"


_FORMATS: Final[dict[Unit, Callable[[float, int | None], str]]] = {
    "share": _share,
    "rank": _number,
    "number": _number,
    "gain": _gain,
    "difference": _number,
}
