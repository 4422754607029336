"""Tables of figures measured band after band, for a page: each cell with its interval as a line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from vlrface.report.grids import Grid
from vlrface.report.wording import SPACE, Unit, interval_text, value_text
from vlrface.types import Estimate

_STEPS: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """What the line of a cell spans."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Percent of the way from its low to its high end, within them."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0), 2)


@dataclass(frozen=True)
class Cell:
    """One figure of one band: texts, and the places of its value and interval in percent of the scale."""

    value: str
    interval: str
    whisker: Mapping[str, float] | None


@dataclass(frozen=True)
class BandRow:
    """One band: its name, its counts, its figures."""

    label: str
    counts: tuple[str, ...]
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class BandTable:
    """A table: heads with the scale of their column ("0 – 50 %"), and rows."""

    subtitle: str
    head: str
    counted: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    rows: tuple[BandRow, ...]


@dataclass(frozen=True)
class Bands:
    """Tables under one title: the first open, the others folded away together."""

    title: str
    first: BandTable
    others: tuple[BandTable, ...]


def band_tables(grids: Sequence[Grid], figures: Mapping[str, Estimate]) -> list[Bands]:
    """Tables for a page, under the title they share."""
    tables = [(grid.title, _table(grid, figures)) for grid in grids]
    made: list[Bands] = []
    for title, members in groupby(tables, key=lambda each: each[0]):
        first, *others = (table for _, table in members)
        made.append(Bands(title, first, tuple(others)))
    return made


def _table(grid: Grid, figures: Mapping[str, Estimate]) -> BandTable:
    columns = [[figures[name] for name in column if name] for column in zip(*(r.names for r in grid.rows), strict=True)]
    units = grid.units
    # Shares stand side by side on one scale, so that the longer line is the larger share; other units have their own.
    shares = _scale([each for c, unit in zip(columns, units, strict=True) if unit == "share" for each in c], "share")
    scales = [shares if unit == "share" else _scale(c, unit) for c, unit in zip(columns, units, strict=True)]
    rows = tuple(
        BandRow(
            row.label,
            tuple("–" if count is None else f"{count:,}" for count in row.counts),
            tuple(
                None if name is None else _cell(figures[name], unit, scale)
                for name, unit, scale in zip(row.names, units, scales, strict=True)
            ),
        )
        for row in grid.rows
    )
    heads = tuple((c, _spoken(s, u)) for c, s, u in zip(grid.columns, scales, units, strict=True))
    return BandTable(grid.subtitle, grid.head, grid.counted, heads, rows)


def _scale(estimates: Sequence[Estimate], unit: Unit) -> Scale:
    ends = [end for each in estimates for end in (each.value, each.low, each.high) if math.isfinite(end)]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    if unit in ("gain", "difference") or low < 0.0:
        far = _round_up(max(abs(low), abs(high)))
        return Scale(-far, far)
    return Scale(0.0, _round_up(high))


def _round_up(end: float) -> float:
    """A round number at or above, 1 for 0."""
    if end <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(end))
    return next(round(step * power, 12) for step in _STEPS if end <= step * power * (1 + 1e-9))


def _cell(estimate: Estimate, unit: Unit, scale: Scale) -> Cell:
    value, interval = value_text(estimate, unit), interval_text(estimate, unit).partition(SPACE)[0]
    if not math.isfinite(estimate.value):
        return Cell(value, interval, None)
    ends = [end if math.isfinite(end) else estimate.value for end in (estimate.low, estimate.high)]
    places = {"value": scale.place(estimate.value), "low": scale.place(ends[0]), "high": scale.place(ends[1])}
    return Cell(value, interval, places)


def _spoken(scale: Scale, unit: Unit) -> str:
    factor = 100.0 if unit in ("share", "gain") else 1.0
    sign = {"share": "\u202f%", "gain": "\u202fpoints"}.get(unit, "")
    return f"{factor * scale.low:.4g} – {factor * scale.high:.4g}{sign}"
