"""Figures measured band after band (sizes, fifths of the index, distances, quality measures), laid out as tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vlrface.report.conditions import BANDS, phrases, row_label, split_name
from vlrface.report.names import meaning
from vlrface.report.wording import Unit, humanised, threshold
from vlrface.types import Estimate

MAX_COLUMNS: Final = 5

_TITLES: Final[Mapping[str, tuple[str, str]]] = {
    "measure": ("Quality measures side by side", "measure"),
    "size": ("By size of the face", "shorter side"),
    "recognizability": ("By recognizability of the probe", "part of the faces"),
    "side": ("By size that the probes were shrunk to", "shorter side"),
    "distance": ("By distance of the camera", "distance"),
    "reject": ("By share refused", "refused"),
}


@dataclass(frozen=True)
class Row:
    """One band: its name, the names of its figures by column (None where there is none), and its counts."""

    label: str
    names: tuple[str | None, ...]
    counts: tuple[int | None, ...]


@dataclass(frozen=True)
class Grid:
    """Figures of one kind under the bands of one condition: a row per band, a column per figure.

    Attributes:
        band: the condition: "size", "measure", ...
        title: what the bands are of, as a heading over several grids.
        subtitle: what this one holds, or "".
        head: head of the column of bands.
        columns: heads of the columns of figures.
        units: of the figures of each column.
        counted: heads of the columns of counts, which stand before the figures.
        rows: the bands, in the order of the report; quality measures from best to worst by the first column.
    """

    band: str
    title: str
    subtitle: str
    head: str
    columns: tuple[str, ...]
    units: tuple[Unit, ...]
    counted: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class _Place:
    band: str
    value: str
    subtitle: str
    column: str


def grids(figures: Mapping[str, Estimate], counts: Mapping[str, int]) -> tuple[list[str], list[Grid]]:
    """Part figures into those that stand alone and tables of those measured band after band.

    Args:
        figures: of a report, in its order.
        counts: of the same report; those of a band ("faces@size=12-16") stand in its row.

    Returns:
        Names of the figures in no table, and the tables: at least two bands, at most five figures each.
    """
    placed = {name: place for name in figures if (place := _place(name)) is not None}
    tables: dict[tuple[str, str], dict[str, _Place]] = {}
    for name, place in placed.items():
        tables.setdefault((place.band, place.subtitle), {})[name] = place
    tables = {key: cells for key, cells in tables.items() if len({cell.value for cell in cells.values()}) > 1}
    kept = {name for cells in tables.values() for name in cells}
    # Within a band in the order of the report, but relative areas, which can be read alone, before the others.
    order = sorted(tables, key=lambda key: (BANDS.index(key[0]), key[0] == "measure" and "Relative" not in key[1]))
    made = [grid for key in order for grid in _grids(tables[key], figures, counts)]
    return [name for name in figures if name not in kept], made


def _place(name: str) -> _Place | None:
    known = meaning(name)
    conditions = dict(known.conditions or {})
    band = next((key for key in BANDS if key in conditions), None)
    if band is None:
        return None
    value = conditions.pop(band)
    if "fmr" in conditions and known.group == "reject":
        return _area_place(band, value, known.what, conditions)
    if band == "measure" and "reject" in conditions:
        column = threshold(conditions.pop("reject"))
        rest = phrases(conditions)
        return _Place(band, value, ", ".join(filter(None, (f"{known.what}, without the hardest", rest))), column)
    return _Place(band, value, "", ", ".join(filter(None, (known.what, phrases(conditions)))))


def _area_place(band: str, value: str, what: str, conditions: dict[str, str]) -> _Place:
    """Areas under error versus reject have an upper end and a mode, too: what is not a row goes to head or heading."""
    mode = phrases({"mode": conditions.pop("mode")}) if "mode" in conditions else ""
    if band == "reject":
        return _Place(band, value, f"Error versus reject, {phrases(conditions)}", ", ".join(filter(None, (what, mode))))
    upper = conditions.pop("reject", "")
    subtitle = ", ".join(filter(None, (f"{what} under error versus reject", phrases(conditions), mode)))
    return _Place(band, value, subtitle, f"up to {threshold(upper)}" if upper else what)


def _grids(cells: Mapping[str, _Place], figures: Mapping[str, Estimate], counts: Mapping[str, int]) -> list[Grid]:
    first = next(iter(cells.values()))
    columns = list(dict.fromkeys(cell.column for cell in cells.values()))
    at = {(cell.value, cell.column): name for name, cell in cells.items()}
    counted = _counted(first.band, {cell.value for cell in cells.values()}, counts)
    title, head = _TITLES[first.band]
    made: list[Grid] = []
    for start in range(0, len(columns), MAX_COLUMNS):
        part = columns[start : start + MAX_COLUMNS]
        values = [v for v in dict.fromkeys(cell.value for cell in cells.values()) if any((v, c) in at for c in part)]
        if first.band == "measure":
            values = _from_best(values, [at.get((value, part[0])) for value in values], figures)
        rows = tuple(
            Row(
                row_label(first.band, value),
                tuple(at.get((value, column)) for column in part),
                tuple(counts.get(f"{head}@{first.band}={value}") for head in counted),
            )
            for value in values
        )
        heads = tuple(humanised(each) + (" it" if each.endswith("_without") else "") for each in counted)
        units: list[Unit] = [meaning(next(n for n, c in cells.items() if c.column == column)).unit for column in part]
        made.append(Grid(first.band, title, first.subtitle, head, tuple(part), tuple(units), heads, rows))
    return made


def _counted(band: str, values: set[str], counts: Mapping[str, int]) -> list[str]:
    """Heads of the counts that are made band by band, at most two."""
    heads: dict[str, None] = {}
    for name in counts:
        head, found = split_name(name)
        if list(found) == [band] and found[band] in values:
            heads[head] = None
    return list(heads)[:2]


def _from_best(values: Sequence[str], names: Sequence[str | None], figures: Mapping[str, Estimate]) -> list[str]:
    def key(each: tuple[str, str | None]) -> float:
        value = figures[each[1]].value if each[1] is not None else math.nan
        sign = -1 if each[1] is not None and meaning(each[1]).better == "more" else 1
        return sign * value if math.isfinite(value) else math.inf

    return [value for value, _ in sorted(zip(values, names, strict=True), key=key)]
