"""Numbers and names of figures in words for a person: "33.2 %", "Rank-1", "what share of the probes ..."."""

import re
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from vlrface.types import Estimate, Report

Unit = Literal["share", "number"]

_SPACE: Final = "\u202f"  # narrow and unbreakable: a number and its sign stay together
_MISSING: Final = "–"


@dataclass(frozen=True)
class Meaning:
    """How a figure is called and read.

    Attributes:
        label: its name for a table.
        sentence: what it says, or "".
        unit: "share" is printed as percent.
        family: figures that say nearly the same (rank-1, rank-5) share a family: a card is shown for one of them.
    """

    label: str
    sentence: str
    unit: Unit
    family: str


# name pattern, label, sentence, unit. Groups of the pattern are filled in; {a} a rank, {p} a share as percent.
_KNOWN: Final[tuple[tuple[str, str, str, Unit], ...]] = (
    (r"rank1@reject=(?P<p>[\d.e-]+)", "Rank-1 without the hardest {p}",
     "probes found first when the {p} least recognizable are refused", "share"),
    (r"rank[-_]?1(?!\d)", "Rank-1", "probes whose person is the first answer", "share"),
    (r"rank[-_]?(?P<a>\d+)", "Rank-{a}", "probes whose person is among the first {a} answers", "share"),
    (r"mAP(?![a-z])", "Mean average precision", "how early all pictures of the person come among the answers", "share"),
    (r"tpir(?P<a>\d+)?@fpir=(?P<p>[\d.e-]+)", "TPIR{a} at FPIR {p}",
     "known people found, while {p} of strangers are taken for someone", "share"),
    (r"tpr@far=(?P<p>[\d.e-]+)", "TPR at FAR {p}", "pairs of one person accepted, while {p} of other pairs are",
     "share"),
    (r"fnmr@fmr=(?P<p>[\d.e-]+)", "FNMR at FMR {p}", "pairs of one person missed, while {p} of other pairs match",
     "share"),
    (r"eer", "Equal error rate", "error where both kinds of error are equally frequent", "share"),
    (r"accuracy", "Accuracy", "pairs judged rightly", "share"),
    (r"auc(?![a-z])", "Area under the ROC", "chance that a pair of one person scores above another pair", "number"),
    (r"p?auc.*", "", "area under a curve; see the figure", "number"),
    (r"(tpr|tpir|fnmr|fmr|fpir|far|share|coverage)(?![a-z])", "", "", "share"),
)  # fmt: skip


def meaning(name: str) -> Meaning:
    """How to call and read the figure `name`; an unknown name is shown as it is, as a plain number."""
    for pattern, label, sentence, unit in _KNOWN:
        found = re.match(pattern, name, re.IGNORECASE)
        if found is None:
            continue
        groups = {key: value or "" for key, value in found.groupdict().items()}
        if "p" in groups:
            groups["p"] = threshold(groups["p"])
        rest = humanised(name[found.end() :]) if label else ""
        text = label.format_map(groups) if label else humanised(name)
        family = re.sub(r"[\d.]+.*", "", name).lower() if "reject" not in name else "reject"
        return Meaning(f"{text}, {rest}" if rest else text, sentence.format_map(groups), unit, family + rest)
    return Meaning(humanised(name), "", "number", name.lower())


def humanised(name: str) -> str:
    """A name without separators: "distance_4.2m" becomes "distance 4.2m"."""
    return re.sub(r"[ \t\n_/:,]+", " ", name).strip()


def threshold(text: str) -> str:
    """A rate that an operating point is named by, as percent: "0.001" becomes "0.1 %"."""
    try:
        return f"{100 * float(text.rstrip('.')):g}{_SPACE}%"
    except ValueError:
        return text


def operating_point(text: str) -> str:
    """Rates inside a name as percent, the rest without separators: "fmr=0.001" becomes "FMR 0.1 %"."""
    found = re.sub(
        r"(?<![a-z])(far|fmr|fpir)=([\d.e-]+)", lambda m: f"{m[1].upper()} {threshold(m[2])}", text, flags=re.IGNORECASE
    )
    return humanised(found)


def percent(share: float) -> str:
    """A share as percent with one decimal, with more where one would read as 0 or 100; "–" for NaN."""
    if not np.isfinite(share):
        return _MISSING
    value = 100 * share
    for decimals in (1, 2, 3):
        text = f"{value:.{decimals}f}"
        if float(text) not in (0.0, 100.0) or value in (0.0, 100.0):
            return f"{text}{_SPACE}%"
    return f"{value:.1g}{_SPACE}%" if abs(value) < 1 else f"{value:.1f}{_SPACE}%"


def number(value: float) -> str:
    """Three or four significant digits, thousands set apart; "–" for NaN or infinity."""
    if not np.isfinite(value):
        return _MISSING
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.3f}" if 0.01 <= abs(value) < 10 else f"{value:.3g}"


def value_text(estimate: Estimate, unit: Unit) -> str:
    """The value alone, in its unit."""
    return percent(estimate.value) if unit == "share" else number(estimate.value)


def interval_text(estimate: Estimate, unit: Unit) -> str:
    """The 95 % interval as "29.9 – 36.5 %", or "" where none is known."""
    if not (np.isfinite(estimate.low) and np.isfinite(estimate.high)):
        return ""
    low, high = estimate.low, estimate.high
    if unit == "number":
        return f"{number(low)} – {number(high)}"
    return f"{percent(low).removesuffix(_SPACE + '%')} – {percent(high)}"


def duration(seconds: float) -> str:
    """A time as a person says it: "42 s", "3 min 12 s", "2 h 5 min"."""
    if not np.isfinite(seconds):
        return _MISSING
    if seconds < 10:
        return f"{seconds:.1f}{_SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{_SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{_SPACE}min {whole % 60}{_SPACE}s"
    return f"{whole // 3600}{_SPACE}h {whole % 3600 // 60}{_SPACE}min"


def summary(report: Report) -> str:
    """One or two plain sentences: `report.context["summary"]` if it is there, else made from the figures known here."""
    given = report.context.get("summary")
    if isinstance(given, str) and given:
        return given
    probes = report.counts.get("probes", report.counts.get("probe"))
    of = f"{probes:,} probes" if probes else "the probes"
    parts: list[str] = []
    figures = report.figures
    if "rank1" in figures:
        parts.append(f"The right person is the first answer for {_with_interval(figures['rank1'], 'share')} of {of}.")
        refused = figures.get("rank1@reject=0.3")
        if refused is not None:
            change = "raises" if refused.value > figures["rank1"].value else "brings"
            share = threshold("0.3")
            parts.append(f"Refusing the {share} least recognizable {change} this to {percent(refused.value)}.")
    if not parts:
        parts = [_sentence(name, estimate) for name, estimate in list(figures.items())[:2]]
    return " ".join(parts)


def _sentence(name: str, estimate: Estimate) -> str:
    known = meaning(name)
    text = f"{known.label} is {_with_interval(estimate, known.unit)}"
    return f"{text}: {known.sentence}." if known.sentence else f"{text}."


def _with_interval(estimate: Estimate, unit: Unit) -> str:
    interval = interval_text(estimate, unit).replace(" – ", " to ")
    return value_text(estimate, unit) + (f" (95{_SPACE}% interval {interval})" if interval else "")
