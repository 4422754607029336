"""Line figures: what each curve of a report means, and its drawing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy import ndarray

from vlrface.report.svg import Drawing, Ink, LegendEntry, Mark, css, draw
from vlrface.report.wording import operating_point
from vlrface.types import Curve

Unit = Literal["share", "rank", "number"]

WIDTH: Final = 340  # of the drawing at scale 1: between a phone's column (300) and a page's (480)
HEIGHT: Final = 225
MAX_POINTS: Final = 400
"""A line with more points is thinned for the drawing: a column is some 500 pixels wide."""

_BOUNDS: Final = ("random", "oracle")
_MARKS: Final[tuple[Mark, ...]] = ("line", "dashed", "dashdot", "dotted")
_DASHES: Final[dict[Mark, str | tuple[int, tuple[float, ...]]]] = {
    "line": "-",
    "dashed": (0, (4.0, 2.0)),
    "dashdot": (0, (5.0, 1.8, 1.0, 1.8)),
    "dotted": (0, (1.0, 1.6)),
}


@dataclass(frozen=True)
class Axis:
    """One axis: its name in words, what its numbers are, and its scale."""

    name: str
    unit: Unit = "number"
    log: bool = False


@dataclass(frozen=True)
class Subject:
    """A kind of figure.

    Attributes:
        title: heading.
        section: which part of the page it belongs to: "reject", "recognition", "training", "other".
        x: horizontal axis.
        y: vertical axis.
        caption: what it shows and how to read it.
        bounds: whether the lines of no use ("random", flat) and of perfect use ("oracle") are drawn.
        points: whether every point gets a dot: few measured values, not a continuous line.
    """

    title: str
    section: str
    x: Axis
    y: Axis
    caption: str
    bounds: bool = False
    points: bool = False


_REJECTED: Final = Axis("share refused", "share")
SUBJECTS: Final[dict[str, Subject]] = {
    "edc": Subject(
        "Errors left after refusing the hardest",
        "reject",
        _REJECTED,
        Axis("FNMR: pairs of one person that are missed", "share"),
        "Error versus reject. From left to right the least recognizable faces are refused; a good index makes the line "
        "fall fast. Random refusal stays flat; the oracle refuses exactly the pairs that would fail.",
        bounds=True,
    ),
    "rank1_reject": Subject(
        "Rank-1 after refusing the hardest",
        "reject",
        _REJECTED,
        Axis("rank-1 of the probes that stay", "share"),
        "Share of the remaining probes whose person is the first answer, when the least recognizable are refused. "
        "Higher is better; a useless index stays flat.",
    ),
    "recognizability_by_size": Subject(
        "Recognizability by size of the face",
        "reject",
        Axis("shorter side of the crop in pixels"),
        Axis("mean recognizability index"),
        "Mean index of the faces of one size. It should rise with size, but size alone does not decide: blur and pose "
        "count too.",
        points=True,
    ),
    "cmc": Subject(
        "Found within the first answers",
        "recognition",
        Axis("number of answers looked at", "rank", log=True),
        Axis("share of probes found", "share"),
        "Cumulative match characteristic: the share of all probes whose person is among the first k answers. Higher is "
        "better.",
    ),
    "roc": Subject(
        "Accepting pairs",
        "recognition",
        Axis("FAR: pairs of two people accepted", "share", log=True),
        Axis("TPR: pairs of one person accepted", "share"),
        "Receiver operating characteristic. Further left means fewer false accepts; higher is better.",
    ),
    "tpir": Subject(
        "Finding known people among strangers",
        "recognition",
        Axis("FPIR: strangers taken for someone", "share", log=True),
        Axis("TPIR: known people found", "share"),
        "Open-set identification: the share of known people found and accepted, over the share of strangers who are "
        "taken for someone. Higher is better.",
    ),
}
_PREFIXES: Final[tuple[tuple[str, str], ...]] = (
    ("edc", "edc"),
    ("erc", "edc"),
    ("rank1_reject", "rank1_reject"),
    ("rank1@reject", "rank1_reject"),
    ("recognizability_by_size", "recognizability_by_size"),
    ("recognizability@size", "recognizability_by_size"),
    ("cmc", "cmc"),
    ("roc", "roc"),
    ("tpir", "tpir"),
)


def subject(key: str) -> Subject:
    """What the curves under `key` of a report are about, from the start of the key: "edc", "edc@fmr=0.01", "cmc/dev".

    A key that is not known gets a plain figure with its own name, so that no curve is lost from the page.
    """
    for prefix, name in _PREFIXES:
        if key == prefix or (key.startswith(prefix) and not key[len(prefix)].isalpha()):
            known = SUBJECTS[name]
            rest = operating_point(key[len(prefix) :].strip("@/_: "))
            return replace(known, title=f"{known.title} ({rest})") if rest else known
    title = key.replace("_", " ")
    return Subject(title[:1].upper() + title[1:], "other", Axis(""), Axis(""), "")


def line_figure(curves: Sequence[Curve], about: Subject, *, ident: str) -> Drawing | None:
    """Lines with their 95 % bands over one pair of axes.

    Curves named "random" and "oracle" are drawn as bounds. Where the subject has bounds and the curves do not bring
    them, they follow from the first value of each curve: flat, and `max(first - refused share, 0)`.

    Args:
        curves: what to draw, in the order of the legend.
        about: names, scales and units.
        ident: prefix of the ids in the SVG.

    Returns:
        The drawing; None when no curve has a value that can be drawn.
    """
    lines = [_line(curve, about) for curve in curves]
    notes = tuple(f"{line.lost:,} values of {line.name} are not finite and not drawn." for line in lines if line.lost)
    lines = [line for line in lines if len(line.x)]
    if not lines:
        return None
    measured = [line for line in lines if line.name.lower() not in _BOUNDS]
    inked = [
        replace(line, ink=Ink.SERIES[i % len(Ink.SERIES)], mark=_MARKS[i % len(_MARKS)])
        for i, line in enumerate(measured)
    ]
    lines = inked + _bounds(lines, about)
    svg = draw(
        lambda figure: _paint(figure, lines, about),
        ident=ident,
        label=f"{about.title}, over {about.x.name or 'x'}: {'; '.join(_spoken(line, about) for line in lines)}",
        width=WIDTH,
        height=HEIGHT,
    )
    legend = tuple(LegendEntry(line.name, css(line.ink), line.mark) for line in lines)
    return Drawing(svg, legend if len(legend) > 1 else (), notes)


@dataclass(frozen=True, eq=False)
class _Line:
    name: str
    x: Float[ndarray, " n"]
    y: Float[ndarray, " n"]
    low: Float[ndarray, " n"]
    high: Float[ndarray, " n"]
    lost: int = 0
    ink: str = Ink.MUTED
    mark: Mark = "line"


def _line(curve: Curve, about: Subject) -> _Line:
    drawable = np.isfinite(curve.x) & np.isfinite(curve.y)
    lost = int((~drawable).sum())
    if about.x.log:
        drawable &= curve.x > 0  # a log axis has no zero: FAR 0 lies beyond its left end
    rows = np.flatnonzero(drawable)
    rows = rows[thinned(curve.x[rows], curve.y[rows], log=about.x.log)]
    nothing = np.full(len(curve.x), np.nan)
    low, high = (nothing if band is None else band for band in (curve.low, curve.high))
    return _Line(curve.name, curve.x[rows], curve.y[rows], low[rows], high[rows], lost)


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


def _bounds(lines: Sequence[_Line], about: Subject) -> list[_Line]:
    marks: dict[str, Mark] = {"random": "dashed", "oracle": "dotted"}
    given = [replace(line, mark=marks[line.name.lower()]) for line in lines if line.name.lower() in _BOUNDS]
    if given or not about.bounds:
        return given
    x = np.linspace(0.0, max(float(line.x.max()) for line in lines), 101)
    nothing = np.full(len(x), np.nan)
    made: list[_Line] = []
    # Measures compared on one matcher start at one error: one pair of bounds. Others get a pair each.
    for first in sorted({round(float(line.y[line.x.argmin()]), 9) for line in lines}):
        made += [
            _Line("random", x, np.full(len(x), first), nothing, nothing, mark="dashed"),
            _Line("oracle", x, np.maximum(first - x, 0.0), nothing, nothing, mark="dotted"),
        ]
    return made


def _paint(figure: Figure, lines: Sequence[_Line], about: Subject) -> None:
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.04)
    axes = figure.add_subplot()
    for line in lines:
        bound = line.name.lower() in _BOUNDS
        band = np.isfinite(line.low) & np.isfinite(line.high)
        if band.any():
            axes.fill_between(line.x, line.low, line.high, where=band.tolist(), color=line.ink, alpha=0.16)
        axes.plot(
            line.x,
            line.y,
            color=line.ink,
            linestyle=_DASHES[line.mark],
            linewidth=1.1 if bound else 1.6,
            marker="o" if about.points or len(line.x) == 1 else "",
            markersize=3.0,
            zorder=2.0 if bound else 2.5,
        )
    _scale(axes, lines, about)
    axes.set_xlabel(about.x.name)
    axes.set_title(about.y.name, loc="left", fontsize=10, color=Ink.TEXT, pad=7)


def _scale(axes: Axes, lines: Sequence[_Line], about: Subject) -> None:
    axes.margins(x=0.015)
    values = np.concatenate([part[np.isfinite(part)] for line in lines for part in (line.y, line.low, line.high)])
    positions = np.concatenate([line.x for line in lines])
    if about.x.log and positions.max() > positions.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(_log_locator(positions, about.x.unit))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=about.x.unit == "rank" or bool(positions.max() > 20)))
    if about.y.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(_log_locator(values, about.y.unit))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_ylim(*_limits(values, about))
    axes.xaxis.set_major_formatter(FuncFormatter(_FORMATS[about.x.unit]))
    axes.yaxis.set_major_formatter(FuncFormatter(_FORMATS[about.y.unit]))


def _limits(values: Float[ndarray, " n"], about: Subject) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    # An axis of shares begins at nothing unless that would flatten the line: a cut axis makes small gains look large.
    if about.y.unit == "share" or about.bounds:
        return (0.0 if low < 0.75 * high else max(low - 4 * room, 0.0)), min(high + room, max(1.005, high))
    return low - room, high + room


def _log_locator(values: Float[ndarray, " n"], unit: Unit) -> FixedLocator | LogLocator:
    if unit == "rank":
        return FixedLocator([tick for tick in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0) if tick <= values.max()])
    narrow = values.max() < 200 * values.min()
    return LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,))


def _spoken(line: _Line, about: Subject) -> str:
    form = _FORMATS[about.y.unit]
    return f"{line.name} from {form(float(line.y[0]), 0)} to {form(float(line.y[-1]), 0)}"


def _share(value: float, _: int | None) -> str:
    return f"{100 * value:.3g}\u202f%"


def _number(value: float, _: int | None) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


_FORMATS: Final = {"share": _share, "rank": _number, "number": _number}
