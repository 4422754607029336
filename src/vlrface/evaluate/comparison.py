"""What a comparison of two models found, as values and as plain sentences."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from vlrface.files import write_json
from vlrface.types import Curve, Estimate, VlrfaceError


@dataclass(frozen=True)
class Compared:
    """One figure of two models.

    Attributes:
        first: of the first model, mean over its runs.
        second: of the second model.
        difference: first minus second, paired: its interval is not that of the two apart.
        chance: two-sided bootstrap p-value of the difference, in (0, 1]: about how often people, and runs where there
            are several, drawn from models that do equally well would differ so much. NaN where there is no interval.
    """

    first: Estimate
    second: Estimate
    difference: Estimate
    chance: float

    @property
    def certain(self) -> bool:
        """Whether the 95 % interval of the difference leaves 0 out."""
        return self.difference.low > 0 or self.difference.high < 0


@dataclass(frozen=True, eq=False)
class Comparison:
    """What comparing two models found: all that a page or a table needs, and nothing to compute.

    Attributes:
        title: one line for a person.
        benchmark: its name, e.g. "tinyface".
        names: what the two models are called.
        runs: number of runs (training seeds) of each.
        figures: by the name that an evaluation gives them, e.g. "rank1", "tpr@far=0.01".
        counts: every count on which all runs agree.
        curves: lines by figure, each the mean of a model's runs: one of each model, named as it, or "model: line" where
            a figure has several.
        context: JSON values: seed, resamples, left_out (figures that cannot be compared, "what: why"), notes (what a
            reader has to know), counts_apart (counts that differ, one value per run, the first model's first), data.
    """

    title: str
    benchmark: str
    names: tuple[str, str]
    runs: tuple[int, int]
    figures: Mapping[str, Compared]
    counts: Mapping[str, int]
    curves: Mapping[str, tuple[Curve, ...]]
    context: Mapping[str, Any]

    @property
    def sentences(self) -> tuple[str, ...]:
        """One plain sentence for each figure that a reader asks for first."""
        order = [name for key in _KEY_FIGURES for name in self.figures if re.fullmatch(key, name)]
        return tuple(self.sentence(name) for name in order)

    def sentence(self, figure: str) -> str:
        """Who is better in a figure, by how much, and whether that may be chance.

        Raises:
            VlrfaceError: there is no such figure.
        """
        if figure not in self.figures:
            raise VlrfaceError(f"no figure {figure!r} was compared; there are {', '.join(self.figures)}")
        words = _words(figure)
        sign = -1 if words.less else 1
        difference = self.figures[figure].difference
        ends = sorted((sign * difference.low, sign * difference.high))
        return self._said(words, Estimate(sign * difference.value, *ends)) + self._of_runs()

    def _said(self, words: "_Words", gain: Estimate) -> str:
        first, second = self.names
        if gain.value == 0:
            start = f"{first} and {second} are equal in {words.label}"
        else:
            way = "better" if gain.value > 0 else "worse"
            start = f"{first} is {_amount(abs(gain.value), words.points)} {way} than {second} in {words.label}"
        if np.isnan(gain.low):
            return f"{start}; no interval can be given"
        turned = gain if gain.value >= 0 else Estimate(-gain.value, -gain.high, -gain.low)
        scale = 100 if words.points else 1
        start += f" [{_digits(scale * turned.low, words.points)}, {_digits(scale * turned.high, words.points)}]"
        if gain.low > 0 or gain.high < 0:
            return f"{start}: more than chance"
        return f"{start}: may be chance, the interval holds 0"

    def _of_runs(self) -> str:
        alone = [name for name, runs in zip(self.names, self.runs, strict=True) if runs == 1]
        if not alone:
            return ""
        return f" (one run {'each' if len(alone) > 1 else f'of {alone[0]}'}: other training seeds are not counted)"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes null."""
        return {
            "title": self.title,
            "benchmark": self.benchmark,
            "names": list(self.names),
            "runs": list(self.runs),
            "figures": {
                name: {
                    "first": each.first.to_json(),
                    "second": each.second.to_json(),
                    "difference": each.difference.to_json(),
                    "chance": each.chance if np.isfinite(each.chance) else None,
                }
                for name, each in self.figures.items()
            },
            "sentences": list(self.sentences),
            "counts": dict(self.counts),
            "curves": {key: [_line(curve) for curve in curves] for key, curves in self.curves.items()},
            "context": dict(self.context),
        }

    def save(self, path: Path) -> None:
        """Write `to_json` to a file, atomically."""
        write_json(path, self.to_json())


_KEY_FIGURES: Final = (
    r"rank1",
    r"rank1@(distance|side)=\d+",
    r"mAP",
    r"tpir20@fpir=0\.[31]",
    r"tpir20_area",
    r"tpr@far=(0\.1|0\.01)(,side=\d+)?",
    r"accuracy",
    r"eer",
    r"normalised_pauc@fmr=0\.01(,measure=.*)?",
    r"rank1@reject=0\.3",
)
"""Patterns of the figures that get a sentence, in its order."""


class _Words(NamedTuple):
    """How a sentence calls a figure, whether less of it is better, and whether it is a share, told in points."""

    label: str
    less: bool
    points: bool


_LABELS: Final = (
    (r"rank(\d+)", r"rank-\1", False, True),
    (r"mAP", "mean average precision", False, True),
    (r"tpir(\d+)", r"TPIR\1", False, True),
    (r"tpir(\d+)_area", r"the area under TPIR\1 over FPIR", False, True),
    (r"rank(\d+)_loss", r"the loss of rank-\1", True, True),
    (r"tpr_loss", "the loss of TPR", True, True),
    (r"tpr", "TPR", False, True),
    (r"fpir", "FPIR", True, True),
    (r"auc", "the area under the ROC", False, True),
    (r"eer", "equal error rate", True, True),
    (r"fnmr", "FNMR", True, True),
    (r"pauc", "area under error versus reject", True, False),
    (r"pauc_gain", "area saved beside the reference", False, False),
    (r"normalised_pauc", "relative area under error versus reject", True, False),
)


def _words(figure: str) -> _Words:
    head, _, conditions = figure.partition("@")
    known, _, measure = f",{conditions}".partition(",measure=")  # the name of a measure may hold anything
    parts = [_condition(each) for each in known.split(",") if each] + ([f"measure {measure}"] if measure else [])
    where = f" at {', '.join(parts)}" if parts else ""
    for pattern, label, less, points in _LABELS:
        found = re.fullmatch(pattern, head)
        if found:
            return _Words(found.expand(label) + where, less, points)
    return _Words(head.replace("_", " ") + where, False, True)


def _condition(text: str) -> str:
    """In words: far=0.1 is "FAR 10 %", reject=0.3 "30 % rejected", distance=1 "distance 1"."""
    key, _, value = text.partition("=")
    if key in ("far", "fmr", "fpir"):
        return f"{key.upper()} {100 * float(value):g} %"
    return f"{100 * float(value):g} % rejected" if key == "reject" else text.replace("=", " ")


def _amount(value: float, points: bool) -> str:
    return f"{_digits(100 * value, points)} points" if points else _digits(value, points)


def _digits(value: float, points: bool) -> str:
    """Points with one decimal, or with two where one would read as nothing; other values with three digits."""
    value += 0.0  # no -0
    if not points:
        return f"{value:.3g}"
    text = f"{value:.1f}"
    return text if float(text) or not value else f"{value:.2f}"


def _line(curve: Curve) -> dict[str, Any]:
    """A curve as JSON values, without the band that none of a comparison has."""
    return {key: value for key, value in curve.to_json().items() if value is not None}
