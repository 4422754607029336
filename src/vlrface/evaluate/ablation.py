"""Variants of a method, some trainings of each: means over training seeds, and paired differences to one of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from vlrface.evaluate.compare import difference_of, over_runs, run_picks
from vlrface.files import write_json
from vlrface.metrics.intervals import Sampled
from vlrface.types import Estimate, VlrfaceError

_FEW_SEEDS: Final = 5


@dataclass(frozen=True, eq=False)
class RunFigures:
    """What one training reaches by one protocol.

    Attributes:
        figures: with their resamples, one value each.
        crops: changes with the crops and people that are counted.
        data: what the faces call their data set.
        counts: every count of the protocol.
    """

    figures: Mapping[str, Sampled]
    crops: str
    data: str = ""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])


class Column(NamedTuple):
    """A figure of a measurement, e.g. ("tinyface", "rank1")."""

    measurement: str
    figure: str

    def __str__(self) -> str:
        return f"{self.measurement}:{self.figure}"


@dataclass(frozen=True)
class Cell:
    """One figure of one variant.

    Attributes:
        values: the figure of each training, by seed.
        mean: over the trainings, with an interval that counts people and, of two trainings or more, seeds.
        deviation: standard deviation over the trainings (divisor n - 1); NaN of one.
        difference: to the baseline, paired over people; None for the baseline itself or without one.
        chance: two-sided bootstrap p-value of the difference; NaN where there is none.
        paired: whether seeds were drawn in pairs for the difference.
    """

    values: Mapping[int, float]
    mean: Estimate
    deviation: float
    difference: Estimate | None = None
    chance: float = float("nan")
    paired: bool = False

    @property
    def certain(self) -> bool:
        """Whether the 95 % interval of the difference leaves 0 out."""
        return self.difference is not None and (self.difference.low > 0 or self.difference.high < 0)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes null."""
        return {
            "values": {str(seed): value if np.isfinite(value) else None for seed, value in self.values.items()},
            "seeds": len(self.values),
            "mean": self.mean.to_json(),
            "deviation": self.deviation if np.isfinite(self.deviation) else None,
            "difference": None if self.difference is None else self.difference.to_json(),
            "chance": self.chance if np.isfinite(self.chance) else None,
            "more_than_chance": self.certain,
            "seeds_paired": self.paired,
        }


@dataclass(frozen=True)
class Cost:
    """What a training of one variant costs.

    Attributes:
        trained_parameters: how many numbers of the network learn; None where nobody noted it.
        seconds: of a training, its validations included, mean over the finished ones; None before one is.
    """

    trained_parameters: int | None
    seconds: float | None


@dataclass(frozen=True, eq=False)
class AblationTable:
    """What an ablation found so far: all that a page or a table needs, and nothing to compute.

    Attributes:
        name: of the ablation.
        baseline: name of the variant that others are compared with.
        variants: those with a measured training, in the order of the recipe.
        columns: in the order of the table.
        cells: by variant and column; a column that a variant lacks has none.
        context: JSON values: seed, resamples, notes (what a reader has to know), left_out, and how it was made.
        costs: by variant, where known.
    """

    name: str
    baseline: str
    variants: tuple[str, ...]
    columns: tuple[Column, ...]
    cells: Mapping[tuple[str, Column], Cell]
    context: Mapping[str, Any]
    costs: Mapping[str, Cost] = field(default_factory=dict[str, Cost])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes null."""
        return {
            "name": self.name,
            "baseline": self.baseline,
            "variants": {
                variant: {
                    str(column): self.cells[variant, column].to_json()
                    for column in self.columns
                    if (variant, column) in self.cells
                }
                for variant in self.variants
            },
            "costs": {variant: asdict(cost) for variant, cost in self.costs.items()},
            "context": dict(self.context),
        }

    def save(self, path: Path) -> None:
        """Write `to_json` to a file, atomically."""
        write_json(path, self.to_json())


def tabulate(
    name: str,
    runs: Mapping[str, Mapping[int, Mapping[str, RunFigures]]],
    baseline: str,
    columns: Sequence[Column],
    *,
    seed: int = 0,
    context: Mapping[str, Any] | None = None,
    costs: Mapping[str, Cost] | None = None,
) -> AblationTable:
    """Means over seeds and paired differences to a baseline.

    Intervals are 95 % percentiles of resamples. A resample draws people, the same in all trainings, and trainings of
    each variant, stretched as in `compare`. For a difference of two variants with the same five seeds or more, it draws
    the same seeds of both: two trainings of one seed see their data in one order and start from the same prototypes, so
    that what a seed does to both cancels. Otherwise seeds are drawn apart, as `compare` does by default: of two to four
    pairs the spread is known too badly (see `compare`). A variant with one training has people only in its interval.

    Args:
        name: of the ablation.
        runs: by variant, seed and measurement.
        baseline: a variant; without trainings there are no differences.
        columns: wanted; one that no training has is left out.
        seed: of the draw of trainings.
        context: JSON values for the result.
        costs: of a training, by variant.

    Returns:
        The table. Trainings that were measured on other crops than the baseline's are left out and named.
    """
    table = _Table(runs, baseline, seed)
    cells: dict[tuple[str, Column], Cell] = {}
    for column in columns:
        cells.update({(variant, column): cell for variant, cell in table.column(column).items()})
    shown = tuple(column for column in columns if any(key[1] == column for key in cells))
    variants = tuple(variant for variant in runs if any(key[0] == variant for key in cells))
    own = {"seed": seed, "notes": _notes(cells.values(), baseline), "left_out": table.left_out}
    shown_costs = {variant: cost for variant, cost in (costs or {}).items() if variant in variants}
    return AblationTable(name, baseline, variants, shown, cells, {**own, **(context or {})}, shown_costs)


@dataclass(eq=False)
class _Table:
    """Columns of a table, made one by one."""

    runs: Mapping[str, Mapping[int, Mapping[str, RunFigures]]]
    baseline: str
    seed: int
    left_out: list[str] = field(default_factory=list[str])

    def column(self, column: Column) -> dict[str, Cell]:
        """The cells of a column by variant."""
        found = {variant: each for variant in self.runs if (each := self._figures(variant, column))}
        against = found.get(self.baseline)
        return {
            variant: _cell(each, None if variant == self.baseline else against, self.seed)
            for variant, each in found.items()
        }

    def _figures(self, variant: str, column: Column) -> dict[int, Sampled]:
        """A figure by seed, of all trainings that have it and were measured on what the reference was."""
        reference = self._reference(column)
        figures: dict[int, Sampled] = {}
        for seed, measured in sorted(self.runs[variant].items()):
            run = measured.get(column.measurement)
            if run is None or column.figure not in run.figures or reference is None:
                continue
            if _counted(run, column) == _counted(reference, column):
                figures[seed] = run.figures[column.figure]
            elif (said := f"{variant}/seed{seed}, {column.measurement}: measured on other crops") not in self.left_out:
                self.left_out.append(said)
        return figures

    def _reference(self, column: Column) -> RunFigures | None:
        """The training whose crops count: the baseline's first that has the figure, else the first of any."""
        order = sorted(self.runs, key=lambda variant: variant != self.baseline)
        there = (each.get(column.measurement) for variant in order for _, each in sorted(self.runs[variant].items()))
        return next((each for each in there if each is not None and column.figure in each.figures), None)


def _counted(run: RunFigures, column: Column) -> tuple[str, int, int]:
    """What must agree for a difference to be paired: bands of an index hold other people in each training."""
    figure = run.figures[column.figure]
    return run.crops, figure.people, len(figure.samples)


def _cell(figures: Mapping[int, Sampled], against: Mapping[int, Sampled] | None, seed: int) -> Cell:
    runs = list(figures.values())
    resamples = len(runs[0].samples)
    values = {number: float(each.value[0]) for number, each in figures.items()}
    mean = over_runs(runs, run_picks(len(runs), resamples, seed, 0))
    deviation = float(np.std(list(values.values()), ddof=1)) if len(runs) > 1 else float("nan")
    if against is None:
        return Cell(values, mean.estimate(), deviation)
    others = list(against.values())
    paired = figures.keys() == against.keys() and len(runs) >= _FEW_SEEDS
    other = over_runs(others, run_picks(len(others), resamples, seed, 0 if paired else 1))
    found = difference_of(mean, other)
    return Cell(values, mean.estimate(), deviation, found.difference, found.chance, paired)


def _notes(found: Iterable[Cell], baseline: str) -> list[str]:
    cells = list(found)
    counts = {len(cell.values) for cell in cells}
    notes = [
        "Mean ± standard deviation over training seeds; in brackets 95 % intervals of the mean, over people and seeds.",
        f"Differences are to {baseline}, on the same faces and the same resamples of people. "
        "* marks one whose interval leaves 0 out: more than chance.",
    ]
    compared = [cell for cell in cells if cell.difference is not None]
    if any(cell.paired for cell in compared):
        notes.append(
            f"Where a variant has the same {_FEW_SEEDS} seeds or more as {baseline}, a resample draws the same seeds "
            "of both (one seed means the same order of data and the same first prototypes)"
            + ("; elsewhere seeds are drawn apart." if any(not cell.paired for cell in compared) else ".")
        )
    elif compared:
        notes.append("Seeds are drawn apart in each variant.")
    if 1 in counts:
        notes.append("The interval of a variant with one seed counts people only: it says nothing of other seeds.")
    if any(1 < count < _FEW_SEEDS for count in counts):
        notes.append(
            "Two to four seeds say little of seeds: an interval of 95 % holds the truth more seldom than that."
        )
    notes.append(
        "Every figure is judged alone: of twenty figures of two equal variants, one is expected to be more than chance."
    )
    return notes


def check_columns(texts: Sequence[str], measurements: Sequence[str]) -> list[Column]:
    """Columns from "MEASUREMENT:FIGURE".

    Raises:
        VlrfaceError: another form, or an unknown measurement.
    """
    columns: list[Column] = []
    for text in texts:
        measurement, colon, figure = text.partition(":")
        if not colon or not figure or measurement not in measurements:
            raise VlrfaceError(
                f"--figures {text}: write MEASUREMENT:FIGURE, e.g. tinyface:rank5; measurements are "
                f"{', '.join(measurements)}"
            )
        columns.append(Column(measurement, figure))
    return columns
