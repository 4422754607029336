"""Numbers and names of figures in words for a person: "33.2 %", "Rank-1", "what share of the probes ..."."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from vlrface.types import Estimate, Report

Unit = Literal["share", "number", "gain"]

_SPACE: Final = "\u202f"  # narrow and unbreakable: a number and its sign stay together
_MISSING: Final = "–"


@dataclass(frozen=True)
class Meaning:
    """How a figure is called and read.

    Attributes:
        label: its name for a table.
        sentence: what it says, or "".
        unit: "share" is printed as percent, "gain" (a difference of two shares) as percentage points with its sign.
        family: figures that say nearly the same (rank-1, rank-5) share a family: a card is shown for one of them.
    """

    label: str
    sentence: str
    unit: Unit
    family: str


# name pattern, label, sentence, unit. Groups of the pattern are filled in: {a} a rank; {p} and {r} shares, as percent;
# {m} what is refused; {size} a band of sizes in pixels; {of} a name.
_AREA: Final = r"pauc@fmr=(?P<p>[\d.e-]+)(?:,reject=(?P<r>[\d.e-]+))?(?:,mode=(?P<m>[a-z]+))?"
_KNOWN: Final[tuple[tuple[str, str, str, Unit], ...]] = (
    (r"rank1@reject=(?P<p>[\d.e-]+)", "Rank-1 without the hardest {p}",
     "probes found first when the {p} least recognizable are refused", "share"),
    (r"rank1_gain@reject=(?P<p>[\d.e-]+)", "Gain of rank-1 without the hardest {p}",
     "change of rank-1 when the {p} least recognizable probes are refused, in percentage points", "gain"),
    (r"chance_rank[-_]?1(?!\d)", "Rank-1 by chance", "probes whose person a blind choice would name", "share"),
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
    ("normalised_" + _AREA, "Relative area under error versus reject, FMR {p}, up to {r} of {m} refused",
     "the area divided by the error before any refusal; refusing at random gives {limit}, less is better", "number"),
    (_AREA, "Area under error versus reject, FMR {p}, up to {r} of {m} refused",
     "area under the errors that are left, from nothing to {r} refused; less is better", "number"),
    (r"recognizability@size=(?P<size>\d+(?:\+|-\d+))", "Recognizability at {size}",
     "mean index of the probes and gallery faces whose shorter side has so many pixels", "number"),
    (r"spearman_recognizability_(?P<of>[a-z]+)", "Rank correlation of recognizability and {of}",
     "Spearman: 1 if the index always rises with the {of}, -1 if it always falls, 0 if neither", "number"),
    (r"index~(?P<of>[a-z]+)", "Rank correlation of index and {of}",
     "Spearman: 1 if the index always rises with it, 0 if they have nothing to do with each other", "number"),
    (r"p?auc.*", "", "area under a curve; see the figure", "number"),
    (r"(tpr|tpir|fnmr|fmr|fpir|far|share|coverage)(?![a-z])", "", "", "share"),
)  # fmt: skip
_USUAL_AREA: Final = "0.3"  # up to where an area goes whose name does not say it, as `vlrface.evaluate.tinyface` states
_REFUSED: Final = {"": "pairs", "images": "pictures"}


def meaning(name: str) -> Meaning:
    """How to call and read the figure `name`; an unknown name is shown as it is, as a plain number."""
    for pattern, label, sentence, unit in _KNOWN:
        found = re.match(pattern, name, re.IGNORECASE)
        if found is None:
            continue
        groups = _in_words({key: value or "" for key, value in found.groupdict().items()})
        rest = humanised(name[found.end() :]) if label else ""
        text = label.format_map(groups) if label else humanised(name)
        family = "reject" if re.match(r"rank1\w*@reject", name) else re.sub(r"[\d.]+.*", "", name).lower()
        return Meaning(f"{text}, {rest}" if rest else text, sentence.format_map(groups), unit, family + rest)
    return Meaning(humanised(name), "", "number", name.lower())


def _in_words(groups: dict[str, str]) -> dict[str, str]:
    """What a name's pattern found, as a label shows it."""
    if "r" in groups:
        limit = groups["r"] or _USUAL_AREA
        groups = {**groups, "r": threshold(limit), "limit": limit, "m": _REFUSED.get(groups["m"], groups["m"])}
    if "p" in groups:
        groups = {**groups, "p": threshold(groups["p"])}
    return {**groups, "size": pixels(groups["size"])} if "size" in groups else groups


def pixels(band: str) -> str:
    """A band of sizes: "12-16" (up to, but not, 16) becomes "12–15 px", "32+" becomes "32 px and more"."""
    low, separator, high = band.partition("-")
    if not separator:
        return f"{band.removesuffix('+')}{_SPACE}px and more"
    return f"{low}–{int(high) - 1}{_SPACE}px"


def count_name(name: str) -> str:
    """The name of a count: "accepted_impostors@far=0.1" becomes "accepted impostors at FAR 10 %"."""
    text, _, point = name.partition("@")
    if not point:
        return humanised(name)
    size = re.fullmatch(r"size=(\d+(?:\+|-\d+))", point)
    return f"{humanised(text)} {f'of {pixels(size[1])}' if size else f'at {operating_point(point)}'}"


def left_out(text: str) -> str:
    """Why something was not computed, with the name of a figure before the colon in words."""
    name, colon, reason = text.partition(": ")
    return f"{meaning(name).label}: {reason}" if colon and "@" in name else text


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
    """The conditions in a name: "fmr=0.001,mode=images" becomes "FMR 0.1 %, whole pictures refused"."""
    found = re.sub(
        r"(?<![a-z])(far|fmr|fpir)=([\d.e-]+)", lambda m: f"{m[1].upper()} {threshold(m[2])}", text, flags=re.IGNORECASE
    )
    found = re.sub(r"(?<![a-z])mode=images(?![a-z])", "whole pictures refused", found)
    return ", ".join(filter(None, map(humanised, found.split(","))))


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


def points(gain: float) -> str:
    """A difference of two shares in percentage points with its sign: "+4.2 points"; "–" for NaN."""
    if not np.isfinite(gain):
        return _MISSING
    value = 100 * gain
    decimals = next((d for d in (1, 2) if round(value, d) != 0), 3 if value else 1)
    return f"{round(value, decimals) or 0.0:{'+' if value else ''}.{decimals}f}{_SPACE}points"


def value_text(estimate: Estimate, unit: Unit) -> str:
    """The value alone, in its unit."""
    return _FORMS[unit](estimate.value)


def interval_text(estimate: Estimate, unit: Unit) -> str:
    """The 95 % interval as "29.9 – 36.5 %", or "" where none is known."""
    if not (np.isfinite(estimate.low) and np.isfinite(estimate.high)):
        return ""
    low, high = (_FORMS[unit](end) for end in (estimate.low, estimate.high))
    sign = "" if unit == "number" else _SPACE + high.rpartition(_SPACE)[2]  # said once, after both ends
    return f"{low.removesuffix(sign)} – {high}"


_FORMS: Final[dict[Unit, Callable[[float], str]]] = {"share": percent, "number": number, "gain": points}


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
            gain = figures.get("rank1_gain@reject=0.3", Estimate(refused.value - figures["rank1"].value))
            known = not (gain.low <= 0 <= gain.high)  # an interval that holds 0, or none
            change = "changes" if not known else "raises" if gain.value > 0 else "lowers"
            doubt = "" if known else ", which may be chance"
            share = threshold("0.3")
            parts.append(f"Refusing the {share} least recognizable {change} this to {percent(refused.value)}{doubt}.")
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
