"""Tables for a paper, as LaTeX (booktabs, nothing else) and Markdown, with notes on where their numbers come from.

Nothing is set bold: which of two models is better is told by a paired comparison, not by the larger of two numbers.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vlrface.evaluate.comparison import Comparison
from vlrface.files import written_atomically
from vlrface.report.grids import Grid, grids
from vlrface.report.latex import escaped
from vlrface.report.names import GROUPS, meaning
from vlrface.report.notes import comparison_facts, shared_facts
from vlrface.report.verdicts import apart, verdict
from vlrface.report.wording import Unit, interval_text, value_text
from vlrface.types import Estimate, Report, VlrfaceError

_INTERVALS: Final = "In brackets: 95 % intervals."
_UNITS: Final[Mapping[Unit, str]] = {"share": "%", "gain": "points", "number": "", "difference": ""}
_MISSING: Final = "–"


@dataclass(frozen=True)
class Cell:
    """A value and its interval, without the unit, which the head of the column has."""

    value: str
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """A table before it is written down.

    Attributes:
        name: of its file, and its label in LaTeX.
        title: what it shows.
        heads: of the columns; the first is that of the row labels.
        rows: label and cells; a label alone is a heading over the rows that follow.
        notes: sentences for its foot.
        words: whether the last column holds words, which stand to the left.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...]
    words: bool = False


def latex_table(reports: Mapping[str, Report], figures: Sequence[str]) -> str:
    r"""A LaTeX table of models (rows) by figures (columns), with intervals and notes.

    It needs `\usepackage{booktabs}` and nothing else.

    Args:
        reports: of one benchmark, by the name of the model.
        figures: names of figures, e.g. "rank1"; one that a report lacks is "--" there.

    Raises:
        VlrfaceError: no report, no figure, several benchmarks, or a figure that no report has.
    """
    return as_latex(models_table(reports, figures))


def markdown_table(reports: Mapping[str, Report], figures: Sequence[str]) -> str:
    """The same in Markdown (a pipe table, then the notes)."""
    return as_markdown(models_table(reports, figures))


def models_table(reports: Mapping[str, Report], figures: Sequence[str]) -> Table:
    """Models by figures; see `latex_table`."""
    if not reports or not figures:
        raise VlrfaceError(
            f"a table needs reports and figures, not {len(reports)} and {len(figures)}: give one of each"
        )
    benchmarks = sorted({report.benchmark for report in reports.values()})
    if len(benchmarks) > 1:
        raise VlrfaceError(f"reports of {', '.join(benchmarks)} cannot share a table: give reports of one benchmark")
    for name in figures:
        if not any(name in report.figures for report in reports.values()):
            there = ", ".join(dict.fromkeys(n for report in reports.values() for n in report.figures))
            raise VlrfaceError(f"no report has a figure {name!r}; there are {there or 'none'}")
    rows = tuple(
        (called, tuple(_cell(report.figures.get(name), meaning(name).unit) for name in figures))
        for called, report in reports.items()
    )
    heads = ("Model", *(_head(meaning(name).label, meaning(name).unit) for name in figures))
    return Table(
        f"{safe_name(benchmarks[0])}_models",
        f"Benchmark {benchmarks[0]}",
        heads,
        rows,
        (_INTERVALS, *shared_facts(reports)),
    )


def report_tables(report: Report) -> list[Table]:
    """All figures of a report: those that stand alone, then one table for every set of bands; none of nothing."""
    alone, banded = grids(report.figures, report.counts)
    notes = (_INTERVALS, *shared_facts({"": report}))
    tables: list[Table] = []
    start = safe_name(report.benchmark)
    if alone:
        rows = _grouped(alone, lambda name: (_with_unit(report.figures[name], meaning(name).unit),))
        title = report.title or report.benchmark
        tables.append(Table(f"{start}_figures", title, ("Figure", "Value"), tuple(rows), notes))
    tables += [
        _grid_table(f"{start}_{number:02d}", grid, report.figures, notes) for number, grid in enumerate(banded, 1)
    ]
    return tables


def _grid_table(start: str, grid: Grid, figures: Mapping[str, Estimate], notes: tuple[str, ...]) -> Table:
    columns = [_head(column, unit) for column, unit in zip(grid.columns, grid.units, strict=True)]
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for row in grid.rows:
        counts = [Cell(_MISSING if count is None else f"{count:,}") for count in row.counts]
        named = zip(row.names, grid.units, strict=True)
        cells = [_cell(None if name is None else figures[name], unit) for name, unit in named]
        rows.append((row.label, (*counts, *cells)))
    heads = (grid.head.capitalize(), *(head.capitalize() for head in grid.counted), *columns)
    name = f"{start}_{safe_name(f'{grid.band} {grid.subtitle}')}"
    return Table(name, _grid_title(grid), heads, tuple(rows), notes)


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Figures of two models, their difference, a verdict: those that stand alone, then each set of bands."""
    alone, banded = grids({name: each.first for name, each in comparison.figures.items()}, comparison.counts)
    heads = ("Figure", *comparison.names, "Difference", "Verdict")
    notes = (
        _INTERVALS,
        f"Difference: {comparison.names[0]} minus {comparison.names[1]}, paired. A verdict names a model only where "
        "the interval of the difference leaves 0 out.",
        *(str(note) for note in comparison.context.get("notes") or ()),
        *comparison_facts(comparison),
    )
    tables: list[Table] = []
    start = f"{safe_name(comparison.benchmark)}_compared"
    if alone:
        rows = tuple(_grouped(alone, lambda name: _compared(comparison, name)))
        tables.append(Table(f"{start}_figures", comparison.title, heads, rows, notes, words=True))
    for number, grid in enumerate(banded, 1):
        rows = tuple(_by_column(grid, lambda name: _compared(comparison, name)))
        name = f"{start}_{number:02d}_{safe_name(f'{grid.band} {grid.subtitle}')}"
        tables.append(Table(name, _grid_title(grid), (grid.head.capitalize(), *heads[1:]), rows, notes, words=True))
    return tables


def _compared(comparison: Comparison, name: str) -> tuple[Cell, ...]:
    found, known = comparison.figures[name], meaning(name)
    values = (_with_unit(found.first, known.unit), _with_unit(found.second, known.unit))
    difference = _with_unit(found.difference, apart(known.unit))
    return (*values, difference, Cell(verdict(found, known, comparison.names)))


def _by_column(grid: Grid, cells: Callable[[str], tuple[Cell, ...]]) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    """The figures of a grid one under the other: a heading for each column, under it the bands."""
    for column, head in enumerate(grid.columns):
        yield head, ()
        for row in grid.rows:
            name = row.names[column]
            if name is not None:
                yield row.label, cells(name)


def _grid_title(grid: Grid) -> str:
    return f"{grid.title}: {grid.subtitle}" if grid.subtitle else grid.title


def _grouped(names: Sequence[str], cells: Callable[[str], tuple[Cell, ...]]) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    """Rows of figures under the headings of their groups; no heading where there is one group only."""
    groups = {title: [name for name in names if meaning(name).group == group] for group, title in GROUPS.items()}
    filled = {title: members for title, members in groups.items() if members}
    for title, members in filled.items():
        if len(filled) > 1:
            yield title, ()
        for name in members:
            yield meaning(name).label, cells(name)


def _head(label: str, unit: Unit) -> str:
    return f"{label} ({_UNITS[unit]})" if _UNITS[unit] else label


def _cell(estimate: Estimate | None, unit: Unit) -> Cell:
    """Without its unit: the head of the column has it."""
    if estimate is None:
        return Cell(_MISSING)
    sign = f"\u202f{_UNITS[unit]}" if _UNITS[unit] else ""
    interval = interval_text(estimate, unit).replace(" – ", ", ").replace(" to ", ", ")
    return Cell(value_text(estimate, unit).removesuffix(sign), interval.removesuffix(sign))


def _with_unit(estimate: Estimate, unit: Unit) -> Cell:
    bare = _cell(estimate, unit)
    return Cell(value_text(estimate, unit), bare.interval)


def as_latex(table: Table) -> str:
    """A `table` environment (`table*` of more than three columns): caption, rules, notes in small type below."""
    columns = "l" + "r" * (len(table.heads) - 2) + ("l" if table.words else "r")
    # A wide one spans both columns of a paper that has two.
    kind = "table*" if len(table.heads) > 3 else "table"
    lines = [
        "% needs \\usepackage{booktabs}",
        f"\\begin{{{kind}}}",
        "  \\centering",
        f"  \\caption{{{escaped(table.title)}}}",
        f"  \\label{{tab:{table.name}}}",
        f"  \\begin{{tabular}}{{{columns}}}",
        "    \\toprule",
        "    " + " & ".join(map(escaped, table.heads)) + " \\\\",
        "    \\midrule",
        *(f"    {line}" for line in _latex_rows(table)),
        "    \\bottomrule",
        "  \\end{tabular}",
        "",
        "  \\smallskip",
        "  \\begin{minipage}{\\linewidth}",
        "    \\footnotesize",
        *(f"    {escaped(note)}" for note in table.notes),
        "  \\end{minipage}",
        f"\\end{{{kind}}}",
    ]
    return "\n".join(lines) + "\n"


def _latex_rows(table: Table) -> Iterator[str]:
    for number, (label, cells) in enumerate(table.rows):
        if cells:
            yield " & ".join([escaped(label), *map(_latex_cell, cells)]) + " \\\\"
        else:
            if number:
                yield "\\addlinespace"
            yield f"\\multicolumn{{{len(table.heads)}}}{{l}}{{\\emph{{{escaped(label)}}}}} \\\\"


def _latex_cell(cell: Cell) -> str:
    value = re.sub(r"^-(?=\d)", "−", cell.value)
    if not cell.interval:
        return escaped(value)
    return f"{escaped(value)} {{\\scriptsize [{escaped(_minus(cell.interval))}]}}"


def _minus(interval: str) -> str:
    """A hyphen before a number becomes a minus sign, which LaTeX sets as wide as a plus sign."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", interval)


def as_markdown(table: Table) -> str:
    """A pipe table under a bold title, then the notes."""
    lines = [
        f"**{markdown_text(table.title)}**",
        "",
        _pipe([markdown_text(head) for head in table.heads]),
        "|" + "|".join(["---", *["---:"] * (len(table.heads) - 2), "---" if table.words else "---:"]) + "|",
    ]
    for label, cells in table.rows:
        if cells:
            lines.append(_pipe([markdown_text(label), *map(_markdown_cell, cells)]))
        else:
            lines.append(_pipe([f"*{markdown_text(label)}*", *[""] * (len(table.heads) - 1)]))
    return "\n".join([*lines, "", *(f"{markdown_text(note)}  " for note in table.notes)]).rstrip() + "\n"


def _markdown_cell(cell: Cell) -> str:
    return (
        f"{markdown_text(cell.value)} [{markdown_text(cell.interval)}]" if cell.interval else markdown_text(cell.value)
    )


def _pipe(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it reads, on one line."""
    line = " ".join(re.sub(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]", "", text).split(" "))
    line = re.sub(r"\s*[\r\n\t\v\f\u2028\u2029]\s*", " ", line)
    return re.sub(r"([\\`*_\[\]<>|~#&!])", r"\\\1", line)


def safe_name(name: str) -> str:
    """A file name of plain letters, digits, hyphens and underscores: "edc@fmr=0.01" becomes "edc_fmr-0p01".

    Without dots, in which older versions of LaTeX look for the kind of a picture.
    """
    text = re.sub(r"(?<=\d)\.(?=\d)", "p", name.replace("=", "-").replace("%", "pct").lower())
    text = re.sub(r"[^a-z0-9-]+", "_", text)
    return re.sub(r"_+", "_", text).strip("_-")[:100].rstrip("_-") or "figure"


def save_tables(found: Report | Comparison, folder: Path) -> list[Path]:
    """Write every table as NAME.tex and NAME.md; see `vlrface.report.html.write_tables`."""
    tables = report_tables(found) if isinstance(found, Report) else comparison_tables(found)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for table in tables:
        for suffix, text in ((".tex", as_latex(table)), (".md", as_markdown(table))):
            path = folder / (table.name + suffix)
            with written_atomically(path) as temporary:
                temporary.write_bytes(text.encode("utf-8", "backslashreplace"))
            written.append(path)
    return written
