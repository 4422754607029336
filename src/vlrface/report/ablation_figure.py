"""One figure of all variants of an ablation: every training, their mean and its interval, and the baseline's mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vlrface.evaluate.ablation import AblationTable, Column
from vlrface.report.ablation_tables import mean_text
from vlrface.report.forest import PAGE, WIDTH
from vlrface.report.names import meaning
from vlrface.report.svg import Drawing, Ink, draw
from vlrface.report.verdicts import is_better

_ROW: Final = 2.9 * PAGE.size
_FOOT: Final = 2.0 * PAGE.size
_LETTERS: Final = 34


@dataclass(frozen=True)
class _Row:
    """A variant's values on the axis: in percent for a share."""

    label: str
    values: tuple[float, ...]
    mean: float
    low: float
    high: float
    text: str
    certain: bool
    better: bool
    is_baseline: bool


def variants_figure(table: AblationTable, column: Column, *, ident: str) -> Drawing | None:
    """A figure of the table, for a page; None where no variant has a finite value."""
    rows = _rows(table, column)
    if not rows:
        return None
    svg = draw(
        lambda figure: _paint(figure, rows),
        ident=ident,
        label="; ".join(f"{row.label} {row.text}" + (", more than chance" if row.certain else "") for row in rows),
        width=WIDTH,
        height=round(_height(rows)),
    )
    return Drawing(svg)


def _rows(table: AblationTable, column: Column) -> list[_Row]:
    unit = meaning(column.figure).unit
    scale = 100.0 if unit == "share" else 1.0
    rows: list[_Row] = []
    for variant in table.variants:
        cell = table.cells.get((variant, column))
        if cell is None or not np.isfinite(cell.mean.value):
            continue
        mean, low, high = (scale * each for each in (cell.mean.value, cell.mean.low, cell.mean.high))
        values = tuple(scale * value for value in cell.values.values() if np.isfinite(value))
        text = mean_text(cell, unit) + ("\u202f%" if unit == "share" else "")
        gain = 0.0 if cell.difference is None else cell.difference.value
        better = is_better(gain, meaning(column.figure))
        certain = cell.certain and better is not None
        rows.append(_Row(variant, values, mean, low, high, text, certain, bool(better), variant == table.baseline))
    return rows


def _height(rows: Sequence[_Row]) -> float:
    return _ROW * len(rows) + _FOOT


def _paint(figure: Figure, rows: Sequence[_Row]) -> None:
    total = _height(rows)
    side = 0.9 * PAGE.size / (figure.get_figwidth() * 72)
    axes = figure.add_axes((side, _FOOT / total, 1 - 2 * side, 1 - _FOOT / total))
    axes.set_ylim(len(rows), 0)
    ends = [end for r in rows for end in (*r.values, r.mean, r.low, r.high) if np.isfinite(end)]
    margin = 0.04 * (max(ends) - min(ends)) or 1.0
    axes.set_xlim(min(ends) - margin, max(ends) + margin)
    axes.grid(visible=False, axis="y")
    axes.yaxis.set_visible(False)
    axes.spines[["left", "right", "top"]].set_visible(False)
    for row in rows:
        if row.is_baseline:
            axes.axvline(row.mean, color=PAGE.muted, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1.0)
    for place, row in enumerate(rows):
        _paint_row(axes, row, place)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _paint_row(axes: Axes, row: _Row, place: int) -> None:
    label = row.label if len(row.label) <= _LETTERS else f"{row.label[: _LETTERS - 1]}…"
    for text, at, align in ((label, 0.0, "left"), (row.text, 1.0, "right")):
        axes.text(at, place + 0.26, text, transform=axes.get_yaxis_transform(), ha=align, va="center",
                  fontsize=PAGE.size, color=PAGE.text, zorder=3.0,
                  bbox={"facecolor": PAGE.surface, "edgecolor": "none", "pad": 0.6, "linewidth": 0.0})  # fmt: skip
    y = place + 0.72
    sure = row.certain or row.is_baseline
    judged = Ink.SERIES[0 if row.better else 1]
    colour = PAGE.text if row.is_baseline else judged if row.certain else PAGE.unsure
    axes.plot(row.values, [y] * len(row.values), marker="|", markersize=0.9 * PAGE.size, linestyle="", color=colour,
              markeredgewidth=0.9, alpha=0.55, zorder=2.2)  # fmt: skip
    if np.isfinite(row.low) and np.isfinite(row.high):
        axes.plot([row.low, row.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt", zorder=2.0)
    axes.plot([row.mean], [y], marker="o", markersize=0.55 * PAGE.size, color=colour, markeredgewidth=1.2, zorder=2.5,
              markerfacecolor=colour if sure else PAGE.surface)  # fmt: skip
