"""Figures by band as dots with their intervals, for a paper."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from vlrface.report.grids import Grid
from vlrface.types import Estimate


def draw_dots(
    axes: Axes,
    grid: Grid,
    columns: Sequence[int],
    figures: Mapping[str, Estimate],
    looks: Sequence[tuple[str, str]],
    words: Callable[[str], str],
) -> None:
    """Draw columns of shares beside one another, band after band from left to right.

    Args:
        axes: empty.
        grid: the bands.
        columns: which columns of the grid are drawn.
        figures: their values.
        looks: colour and marker of each column.
        words: applied to every text.
    """
    for place, column in enumerate(columns):
        known = [figures.get(row.names[column] or "", Estimate(np.nan)) for row in grid.rows]
        value, low, high = (np.array([getattr(each, part) for each in known]) for part in ("value", "low", "high"))
        spread = np.nan_to_num(np.maximum(np.stack([value - low, high - value]), 0.0), nan=0.0)
        colour, marker = looks[place % len(looks)]
        axes.errorbar(
            np.arange(len(known)) + 0.16 * (place - (len(columns) - 1) / 2),
            value,
            yerr=spread,
            color=colour,
            marker=marker,
            markersize=3.5,
            linestyle="",
            elinewidth=0.9,
            capsize=1.8,
            label=words(grid.columns[column]),
        )
    axes.set_xlim(-0.5, len(grid.rows) - 0.5)
    axes.set_ylim(bottom=0.0)
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(grid.rows)))))
    axes.set_xticklabels([words(_broken(row.label)) for row in grid.rows])
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent(words)))
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(words(grid.head))


def _percent(words: Callable[[str], str]) -> Callable[[float, int | None], str]:
    def text(value: float, _: int | None) -> str:
        return words(f"{100 * value:.3g}\u202f%")

    return text


def _broken(label: str) -> str:
    """The name of a band on two lines: it stands under a dot, beside others."""
    for separator in (" (", " and ", " "):
        first, found, rest = label.partition(separator)
        if found:
            return f"{first}\n{separator.strip()}{' ' if separator == ' and ' else ''}{rest}"
    return label
