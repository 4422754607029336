"""Differences of two models, one under the other around the line of no difference."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from vlrface.evaluate.comparison import Compared, Comparison
from vlrface.report.grids import Grid, grids
from vlrface.report.names import Meaning, meaning
from vlrface.report.svg import Drawing, Ink, draw
from vlrface.report.verdicts import apart, verdict
from vlrface.report.wording import Unit, interval_text, value_text

WIDTH: Final = 340
MAX_ROWS: Final = 16
"""A forest of more rows is cut into several."""


@dataclass(frozen=True)
class Branch:
    """One difference: what it is of, its value and interval in points or as it is, and how sure it is."""

    label: str
    value: float
    low: float
    high: float
    text: str
    certain: bool
    verdict: str


@dataclass(frozen=True)
class Forest:
    """Differences on one axis.

    Attributes:
        key: of its file.
        title: heading.
        unit: "gain" (points) or "difference".
        names: the two models.
        branches: from top to bottom; never empty.
    """

    key: str
    title: str
    unit: Literal["gain", "difference"]
    names: tuple[str, str]
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Look:
    """Colours, sizes (in points of the drawing) and texts of a forest.

    Attributes:
        sure: colour of a difference that is more than chance.
        unsure: colour of one that may be chance.
        surface: what the drawing stands on.
        text: colour of texts.
        muted: colour of the axis.
        size: of the type.
        letters: how many letters of a label fit on a line.
        words: applied to every text.
    """

    sure: str
    unsure: str
    surface: str
    text: str
    muted: str
    size: float
    letters: int
    words: Callable[[str], str] = str

    @property
    def line(self) -> float:
        """Height of a line of text."""
        return 1.3 * self.size


PAGE: Final = Look(Ink.SERIES[0], Ink.MUTED, Ink.SURFACE, Ink.TEXT, Ink.MUTED, 10.2, 33)


def forests(comparison: Comparison) -> list[Forest]:
    """What is worth drawing: figures that stand alone, and of each set of bands the first table.

    Shares, in points, and other numbers do not stand on one axis.
    """
    firsts = {name: each.first for name, each in comparison.figures.items()}
    alone, banded = grids(firsts, comparison.counts)
    made = [
        *_cut(comparison, "points", "Differences in points", "gain", {n: _labelled(n) for n in alone}),
        *_cut(comparison, "numbers", "Differences of areas", "difference", {n: _labelled(n) for n in alone}),
    ]
    seen: set[str] = set()
    for grid in banded:
        # What is left after refusing is told by its lines and tables; of quality measures the first area is enough.
        if grid.band != "reject" and grid.band not in seen:
            seen.add(grid.band)
            made += _of_grid(comparison, grid)
    return made


def _of_grid(comparison: Comparison, grid: Grid) -> list[Forest]:
    made: list[Forest] = []
    for column, head in enumerate(grid.columns):
        labels = {row.names[column]: row.label for row in grid.rows}
        named = {name: label for name, label in labels.items() if name is not None}
        heading = (
            f"{grid.subtitle}, {head}" if grid.band == "measure" else f"{head} {grid.title[:1].lower()}{grid.title[1:]}"
        )
        for unit in ("gain", "difference"):
            made += _cut(comparison, f"{grid.band} {head}", heading, unit, named)
        if grid.band == "measure":
            break  # the other upper ends are in the tables
    return made


def _labelled(name: str) -> str:
    known = meaning(name)
    return f"{known.label} (less is better)" if known.better == "less" and "loss" not in name else known.label


def _cut(
    comparison: Comparison, key: str, title: str, unit: Literal["gain", "difference"], labels: Mapping[str, str]
) -> list[Forest]:
    """The figures of one unit whose difference is known, in forests of equal size."""
    branches = [
        _branch(comparison.figures[name], label, unit, meaning(name), comparison.names)
        for name, label in labels.items()
        if apart(meaning(name).unit) == unit and np.isfinite(comparison.figures[name].difference.value)
    ]
    parts = -(-len(branches) // MAX_ROWS)
    return [
        Forest(
            f"differences {key}" + (f" {part + 1}" if parts > 1 else ""),
            title + (f" ({part + 1})" if parts > 1 else ""),
            unit,
            comparison.names,
            tuple(branches[part * len(branches) // parts : (part + 1) * len(branches) // parts]),
        )
        for part in range(parts)
    ]


def _branch(found: Compared, label: str, unit: Unit, known: Meaning, names: tuple[str, str]) -> Branch:
    scale = 100.0 if unit == "gain" else 1.0
    value, low, high = (scale * getattr(found.difference, part) for part in ("value", "low", "high"))
    interval = interval_text(found.difference, unit).removesuffix("\u202fpoints").replace(" to ", ", ")
    text = value_text(found.difference, unit).removesuffix("\u202fpoints") + (f" [{interval}]" if interval else "")
    return Branch(label, value, low, high, text, found.certain, verdict(found, known, names))


def forest_figure(forest: Forest, *, ident: str) -> Drawing:
    """The forest for a page."""
    height = round(forest_height(forest, PAGE))
    svg = draw(
        lambda figure: paint_forest(figure, forest, PAGE),
        ident=ident,
        label=f"{forest.title}: " + "; ".join(f"{b.label} {b.text}, {b.verdict}" for b in forest.branches),
        width=WIDTH,
        height=height,
    )
    return Drawing(svg)


def _wrapped(branch: Branch, look: Look) -> list[str]:
    return textwrap.wrap(look.words(branch.label), look.letters, max_lines=3, placeholder=" …") or [""]


def _heights(forest: Forest, look: Look) -> list[float]:
    return [look.line * len(_wrapped(branch, look)) + 1.9 * look.size for branch in forest.branches]


def _foot(look: Look) -> float:
    return 3.6 * look.size


def forest_height(forest: Forest, look: Look) -> float:
    """Height that the forest needs, in points of the drawing."""
    return sum(_heights(forest, look)) + _foot(look) + 0.4 * look.size


def paint_forest(figure: Figure, forest: Forest, look: Look) -> None:
    """Draw a forest on an empty figure of `forest_height`."""
    heights = _heights(forest, look)
    total = forest_height(forest, look)
    width = figure.get_figwidth() * 72
    side = 0.9 * look.size / width
    axes = figure.add_axes((side, _foot(look) / total, 1 - 2 * side, 1 - (_foot(look) + 0.4 * look.size) / total))
    axes.set_ylim(sum(heights), 0)
    axes.set_xlim(*_ends(forest.branches))
    axes.grid(visible=False, axis="y")
    axes.yaxis.set_visible(False)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.axvline(0.0, color=look.muted, linewidth=0.9, zorder=1.0)
    top = 0.0
    for branch, height in zip(forest.branches, heights, strict=True):
        _draw_branch(axes, branch, top, look)
        top += height
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(_tick(look.words)))
    unit = "points" if forest.unit == "gain" else "difference"
    first, second = map(_short, forest.names)
    ends = ((f"← more in {second}", 0.0, "left"), (unit, 0.5, "center"), (f"more in {first} →", 1.0, "right"))
    for text, at, align in ends:
        axes.annotate(
            look.words(text), (at, 0.0), xycoords="axes fraction", xytext=(0, -2.2 * look.size),
            textcoords="offset points", ha=align, va="top", fontsize=look.size, color=look.muted,
        )  # fmt: skip


def _tick(words: Callable[[str], str]) -> Callable[[float, int | None], str]:
    def text(value: float, _: int | None) -> str:
        return words(f"{value:+.4g}" if abs(value) > 1e-9 else "0")

    return text


def _draw_branch(axes: Axes, branch: Branch, top: float, look: Look) -> None:
    lines = _wrapped(branch, look)
    plate = {"facecolor": look.surface, "edgecolor": "none", "pad": 0.6, "linewidth": 0.0}
    for number, line in enumerate(lines):
        axes.text(0.0, top + look.line * (number + 0.5), line, transform=axes.get_yaxis_transform(), ha="left",
                  va="center", fontsize=look.size, color=look.text, bbox=plate)  # fmt: skip
    ink = look.text if branch.certain else look.muted
    axes.text(1.0, top + 0.5 * look.line, look.words(branch.text), transform=axes.get_yaxis_transform(), ha="right",
              va="center", fontsize=look.size, color=ink, bbox=plate)  # fmt: skip
    y = top + look.line * len(lines) + 0.75 * look.size
    colour = look.sure if branch.certain else look.unsure
    if np.isfinite(branch.low) and np.isfinite(branch.high):
        axes.plot([branch.low, branch.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt", zorder=2.0)
    axes.plot([branch.value], [y], marker="o", markersize=0.55 * look.size, color=colour, zorder=2.5,
              markerfacecolor=colour if branch.certain else look.surface, markeredgewidth=1.2)  # fmt: skip


def _ends(branches: Sequence[Branch]) -> tuple[float, float]:
    ends = [end for b in branches for end in (b.value, b.low, b.high, 0.0) if np.isfinite(end)]
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"
