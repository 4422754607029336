"""Two models on the same faces: paired differences, and whether they are more than chance."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vlrface.evaluate.comparison import Compared as Compared
from vlrface.evaluate.comparison import Comparison as Comparison
from vlrface.evaluate.findings import Findings
from vlrface.evaluate.matching import matched
from vlrface.evaluate.protocol import BenchmarkProtocol, measured
from vlrface.metrics.intervals import Sampled
from vlrface.types import Curve, Faces, VlrfaceError

_OF_THE_INDEX: Final = re.compile(r"recognizability@.*|spearman_.*|.*recognizability=.*")
"""Figures of an index, whose scale is each model's own, and of its fifths, which hold each model's own faces."""

_FEW_RUNS: Final = 5
_REFERENCES: Final = ("random", "oracle")
_DECIMALS: Final = 12
PAIRED_RUNS: Final = "Runs are paired: a resample draws the same training seeds on both sides."


def compare(
    first: Sequence[Faces],
    second: Sequence[Faces],
    protocol: BenchmarkProtocol,
    *,
    seed: int = 0,
    resamples: int = 1000,
    names: tuple[str, str] = ("A", "B"),
    pair_runs: bool = False,
    context: Mapping[str, Any] | None = None,
) -> Comparison:
    """Measure two models by a protocol on the same faces, and their differences.

    Each model is given by one or several runs (trainings that differ by seed only); its figure is their mean. Intervals
    are 95 % percentiles of resamples. A resample draws people, the same for all runs of both models, and as many runs
    of each model as it has, with replacement, the two models apart (own choice: runs of two models are not paired, even
    where their seeds agree, unless `pair_runs` asks for it). A mean of n drawn runs varies too little by the factor
    √((n-1)/n), as the spread of a sample around its own mean does; what the draw of runs changes is therefore stretched
    by √(n/(n-1)).

    With one run of a model there is nothing to draw: its interval holds people only, and the sentences say so. Few runs
    say little: if only seeds vary, normally, an interval holds the true difference in 78 % of comparisons of two runs
    each, 86 % of three, 91 % of five, 93 % of ten; if people add as much as one run does, in 92, 94, 95 and 95 %, and
    in 73 % with one run each (simulated, 3,000 comparisons each).

    Every figure is judged alone: of twenty figures of two equal models, one is expected to be "more than chance".
    Figures of the index itself, and bands of it, are not compared: each model has its own.

    Args:
        first: runs of the one model, in any order of rows; dimensions of embeddings may differ.
        second: runs of the other.
        protocol: what is measured.
        seed: of every draw.
        resamples: number of resamples.
        names: what the models are called.
        pair_runs: draw the same places on both sides: run k of the one belongs to run k of the other, because both were
            trained with one seed, so with the same order of data and the same initial prototypes. What a seed does to
            both cancels then, as what a person does; but the spread is known less well. If only seeds vary, an interval
            holds the true difference in 60 % of comparisons of two pairs, 80 % of three, 87 % of five, 90 % of eight,
            whatever two runs of a seed have in common; if people add as much, in 92 % and more.
        context: JSON values for the result: data, files.

    Returns:
        First minus second, for every figure that all runs have.

    Raises:
        VlrfaceError: no run of a model, runs to be paired that are not as many on both sides, the faces do not describe
            the same crops and pairs, or they lack what the protocol needs.
    """
    if not first or not second:
        raise VlrfaceError(f"a comparison needs faces of two models, not {len(first)} and {len(second)} files")
    if names[0] == names[1]:
        raise VlrfaceError(f"both models are called {names[0]!r}: give two names (--names A B)")
    if pair_runs and len(first) != len(second):
        raise VlrfaceError(f"{len(first)} and {len(second)} runs cannot be paired: give runs of the same seeds")
    labels = [*_labels(names[0], len(first)), *_labels(names[1], len(second))]
    same = matched(dict(zip(labels, [*first, *second], strict=True)))
    found = [measured(faces, protocol, seed=seed, resamples=resamples) for faces in same.faces]
    runs = (len(first), len(second))
    sides = (found[: runs[0]], found[runs[0] :])
    picks = [run_picks(n, resamples, seed, 0 if pair_runs else side) for side, n in enumerate(runs)]
    figures, left_out = _compared(sides, picks, labels)
    counts, apart = _counts(found)
    notes = _notes(names, runs, same.sizes_apart) + ([PAIRED_RUNS] if pair_runs else [])
    own = {"seed": seed, "resamples": resamples, "left_out": left_out, "notes": notes, "counts_apart": apart}
    return Comparison(
        title=f"{names[0]} against {names[1]}. {protocol.title(same.faces[0])}",
        benchmark=protocol.name,
        names=names,
        runs=runs,
        figures=figures,
        counts=counts,
        curves=_curves(names, sides),
        context={**own, **(context or {})},
    )


def _labels(name: str, runs: int) -> list[str]:
    return [name] if runs == 1 else [f"{name} (run {k})" for k in range(1, runs + 1)]


def _compared(
    sides: tuple[list[Findings], list[Findings]], picks: list[Int[ndarray, "r _"]], labels: list[str]
) -> tuple[dict[str, Compared], list[str]]:
    """Every figure that all runs have, and why others are left out."""
    runs = [*sides[0], *sides[1]]
    figures: dict[str, Compared] = {}
    left_out: list[str] = []
    for name in dict.fromkeys(name for run in runs for name in run.figures):
        lacking = [label for label, run in zip(labels, runs, strict=True) if name not in run.figures]
        if _OF_THE_INDEX.fullmatch(name):
            left_out.append(f"{name}: each model has its own index")
        elif lacking:
            left_out.append(f"{name}: not measured for {', '.join(lacking)}")
        elif name.startswith("pauc_gain@") and len({_reference(run, name) for run in runs}) > 1:
            left_out.append(f"{name}: the gain of each model is over another measure")
        elif len({(len(run.figures[name].samples), run.figures[name].people) for run in runs}) > 1:
            left_out.append(f"{name}: measured on other people in each file")
        else:
            figures[name] = difference_of(
                *(over_runs([run.figures[name] for run in side], pick) for side, pick in zip(sides, picks, strict=True))
            )
    return figures, left_out


def _reference(run: Findings, gain: str) -> bool:
    """Whether a gain of `RejectionByMeasure` is over the index of recognizability, which not every model has."""
    return f"{gain.replace('pauc_gain', 'pauc').partition(',measure=')[0]},measure=recognizability" in run.figures


def over_runs(runs: Sequence[Sampled], picks: Int[ndarray, "r n"]) -> Sampled:
    """The mean of a figure over runs, resampled over people and runs.

    Args:
        runs: n runs, resampled alike.
        picks: (r, n) which runs each resample draws.

    Returns:
        Means; the deviation of the drawn runs from all runs stretched by √(n/(n-1)).
    """
    n = len(runs)
    value = np.mean([run.value for run in runs], axis=0)
    samples = np.stack([run.samples for run in runs])
    mean = samples.mean(axis=0)
    if n > 1 and len(mean):
        drawn = np.take_along_axis(samples, picks.T[:, :, None], axis=0).mean(axis=0)
        mean = mean + np.sqrt(n / (n - 1)) * (drawn - mean)
    return Sampled(value, mean, runs[0].people)


def difference_of(first: Sampled, second: Sampled) -> Compared:
    """A figure of two models that were resampled alike, and its paired difference.

    Raises:
        VlrfaceError: they were not resampled alike.
    """
    apart = first.minus(second)
    # Means over runs of equal sums differ in the last bit; 0 must stay 0, or an interval that ends there leaves it out.
    difference = Sampled(apart.value, apart.samples.round(_DECIMALS), apart.people)
    return Compared(first.estimate(), second.estimate(), difference.estimate(), _chance(difference))


def _chance(difference: Sampled) -> float:
    """Two-sided bootstrap p-value: twice the smaller share of resamples on a side of 0, one added to each number."""
    samples = difference.samples[:, 0]
    samples = samples[np.isfinite(samples)]
    if difference.people < 2 or not len(samples):
        return float("nan")
    beyond = min(np.count_nonzero(samples <= 0), np.count_nonzero(samples >= 0))
    return min(1.0, 2 * (int(beyond) + 1) / (len(samples) + 1))


def run_picks(runs: int, resamples: int, seed: int, side: int) -> Int[ndarray, "r n"]:
    """Which runs each resample draws; another stream than that of the people, and one of its own for each side."""
    return np.random.default_rng([seed, 1 + side]).integers(0, runs, (resamples, runs))


def _counts(runs: list[Findings]) -> tuple[dict[str, int], dict[str, list[int | None]]]:
    """Counts on which all runs agree, and the others, one value per run."""
    names = dict.fromkeys(name for run in runs for name in run.counts)
    values = {name: [run.counts.get(name) for run in runs] for name in names}
    agreed = {name: run[0] for name, run in values.items() if run[0] is not None and len(set(run)) == 1}
    return agreed, {name: run for name, run in values.items() if name not in agreed}


def _notes(names: tuple[str, str], runs: tuple[int, int], sizes_apart: int) -> list[str]:
    notes = [
        "Every figure is judged alone: of twenty figures of two equal models, one is expected to be more than chance."
    ]
    for name, count in zip(names, runs, strict=True):
        counted = "people and training seeds" if count > 1 else "people only: one run says nothing of training seeds"
        notes.append(f"{name}: {count} {'runs' if count > 1 else 'run'}; its interval counts {counted}.")
    if 1 < min(runs) < _FEW_RUNS:
        notes.append(
            f"{min(runs)} runs say little of seeds: an interval of 95 % holds the truth more seldom than that."
        )
    if sizes_apart:
        notes.append(f"The size of {sizes_apart} crops differs between the files; bands use that of the first file.")
    return notes


def _curves(names: tuple[str, str], sides: tuple[list[Findings], list[Findings]]) -> dict[str, tuple[Curve, ...]]:
    """The measured lines that all runs draw over the same positions: the mean of each model's runs."""
    runs = [*sides[0], *sides[1]]
    curves: dict[str, tuple[Curve, ...]] = {}
    for key in runs[0].curves:
        if _OF_THE_INDEX.fullmatch(key) or key.startswith("recognizability"):
            continue
        drawn = [{line.name: line for line in run.curves.get(key, ()) if line.name not in _REFERENCES} for run in runs]
        common = [name for name, line in drawn[0].items() if all(_alike(line, each.get(name)) for each in drawn)]
        pairs = [(model, name) for name in common for model in (0, 1)]
        parts = (drawn[: len(sides[0])], drawn[len(sides[0]) :])
        if pairs:
            curves[key] = tuple(
                _mean_line(names[m] if len(common) == 1 else f"{names[m]}: {name}", [each[name] for each in parts[m]])
                for m, name in pairs
            )
    return curves


def _alike(line: Curve, other: Curve | None) -> bool:
    return other is not None and np.array_equal(line.x, other.x)


def _mean_line(name: str, lines: Sequence[Curve]) -> Curve:
    y: Float[ndarray, " n"] = np.mean([line.y for line in lines], axis=0)
    return Curve(name, lines[0].x, y)
