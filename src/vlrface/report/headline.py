"""What a person looks for first: the figures of the cards, and a sentence or two."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from vlrface.report.conditions import measure_name, row_label, split_name
from vlrface.report.names import meaning
from vlrface.report.wording import interval_text, listed, percent, threshold, value_text
from vlrface.types import Estimate, Report

CARDS: Final = 4

# Patterns of the figures that make the cards of a benchmark, in their order; the first of each family follows.
_LEADING: Final[Mapping[str, tuple[str, ...]]] = {
    "tinyface": ("rank1", "mAP", r"tpr@far=0\.01", r"rank1@reject=0\.3"),
    "survface-id": (r"tpir\d+@fpir=0\.3", r"tpir\d+@fpir=0\.1", r"tpir\d+@fpir=0\.01", r"tpir\d+_area"),
    "survface-verif": ("accuracy", r"tpr@far=0\.1", r"tpr@far=0\.01", "auc"),
    "pairs": ("accuracy", r"tpr@far=0\.01", r"tpr@far=0\.001", "eer"),
    "scface": (r"rank1@distance=\d+", r"rank1@reject=0\.3"),
    "retrieval": ("rank1", "mAP", "rank20", r"rank1@reject=0\.3"),
    "cross-resolution": (r"rank1@side=\d+", r"tpr@far=0\.01,side=\d+"),
}


def leading(figures: Mapping[str, Estimate], benchmark: str) -> list[str]:
    """Names of the figures for the cards: at most four."""
    chosen: dict[str, None] = {}
    for pattern in _LEADING.get(benchmark, ()):
        chosen.update(dict.fromkeys(name for name in figures if re.fullmatch(pattern, name)))
    if benchmark == "rejection":
        chosen.update(dict.fromkeys(best_measures(figures)))
    if len(chosen) < CARDS:
        families = {meaning(name).family for name in chosen}
        for name in figures:
            family = meaning(name).family
            if family not in families and name not in chosen:
                families.add(family)
                chosen[name] = None
    return list(chosen)[:CARDS]


def best_measures(figures: Mapping[str, Estimate]) -> list[str]:
    """Relative areas of every quality measure at the first FMR, pairs refused, from best to worst."""
    named = [(name, split_name(name)) for name in figures]
    areas = [(name, found) for name, (head, found) in named if head == "normalised_pauc" and "measure" in found]
    plain = [(name, found) for name, found in areas if set(found) == {"fmr", "measure"}]
    first = [name for name, found in plain if found["fmr"] == plain[0][1]["fmr"]]
    return sorted((name for name in first if math.isfinite(figures[name].value)), key=lambda n: figures[n].value)


def summary(report: Report) -> str:
    """One or two plain sentences: `report.context["summary"]` if it is there, else made from the figures known here."""
    given = report.context.get("summary")
    if isinstance(given, str) and given:
        return given
    say = _SUMMARIES.get(report.benchmark)
    parts = (say(report) if say else []) or _identification(report)
    if not parts:
        parts = [_sentence(name, estimate) for name, estimate in list(report.figures.items())[:2]]
    return " ".join(parts)


def _identification(report: Report) -> list[str]:
    figures = report.figures
    if "rank1" not in figures:
        return []
    of = _of(report, "probes", "the probes")
    parts = [f"The right person is the first answer for {_with_interval(figures['rank1'])} of {of}."]
    return parts + _after_reject(figures, "rank1")


def _after_reject(figures: Mapping[str, Estimate], name: str) -> list[str]:
    """What refusing 30 % does to a figure, and whether that may be chance."""
    head, at, point = name.partition("@")
    condition = f"{point},reject=0.3" if at else "reject=0.3"
    refused = figures.get(f"{head}@{condition}")
    if refused is None:
        return []
    gain = figures.get(f"{head}_gain@{condition}", Estimate(refused.value - figures[name].value))
    known = gain.low > 0 or gain.high < 0  # not with an interval that holds 0, nor without one
    change = "changes" if not known else "raises" if gain.value > 0 else "lowers"
    doubt = "" if known else ", which may be chance"
    return [f"Refusing the {threshold('0.3')} least recognizable {change} this to {percent(refused.value)}{doubt}."]


def _open_set(report: Report) -> list[str]:
    names = [name for name in report.figures if re.fullmatch(r"tpir\d*@fpir=[\d.]+", name)]
    if not names:
        return []
    name = next((each for each in names if each.endswith("=0.1")), names[0])
    head, found = split_name(name)
    rank = head.removeprefix("tpir")
    among = f" among the first {rank}" if rank not in ("", "1") else " as the first answer" if rank else ""
    of = _of(report, "mated_probes", "the probes of known people", " probes of known people")
    wrong = f"{threshold(found['fpir'])} of {_of(report, 'unmated_probes', 'the probes')} of strangers"
    said = f"Of {of}, {_with_interval(report.figures[name])} are found{among} while {wrong} are taken for someone."
    return [said, *_after_reject(report.figures, name)]


def _verification(report: Report) -> list[str]:
    figures = report.figures
    genuine, impostor = report.counts.get("genuine_pairs"), report.counts.get("impostor_pairs")
    parts: list[str] = []
    if "accuracy" in figures:
        pairs = f"{genuine + impostor:,} pairs" if genuine and impostor else "the pairs"
        parts.append(f"Of {pairs}, {_with_interval(figures['accuracy'])} are judged rightly.")
    rates = [name for name in figures if re.fullmatch(r"tpr@far=[\d.e-]+", name)]
    if rates:
        name = next((each for each in rates if each.endswith("=0.01")), rates[0])
        far = threshold(split_name(name)[1]["far"])
        ours = f"{genuine:,} pairs" if genuine else "the pairs"
        others = f"{impostor:,} pairs" if impostor else "pairs"
        parts.append(
            f"{_with_interval(figures[name])} of {ours} of one person are accepted, while {far} of {others} of two "
            "people are."
        )
    return parts


def _by_distance(report: Report) -> list[str]:
    return _along(report, "distance", lambda value: f"at distance {value}")


def _by_side(report: Report) -> list[str]:
    return _along(report, "side", lambda value: f"at {row_label('side', value)}")


def _along(report: Report, key: str, words: Callable[[str], str]) -> list[str]:
    """Rank-1 at each value of a condition, in one sentence; of many values the ends and two between."""
    names = [name for name in report.figures if re.fullmatch(rf"rank1@{key}=[^,]+", name)]
    if not names:
        return []
    rows = np.unique(np.linspace(0, len(names) - 1, 4).round().astype(int)).tolist()
    parts = [f"{percent(report.figures[n].value)} {words(split_name(n)[1][key])}" for n in (names[i] for i in rows)]
    return [f"The right person is the first answer for {listed(parts)} of the probes."]


def _rejection(report: Report) -> list[str]:
    names = best_measures(report.figures)
    if not names:
        return []
    found = split_name(names[0])[1]
    missed = f"fnmr@fmr={found['fmr']}"
    parts: list[str] = []
    if missed in report.figures:
        pairs = _of(report, "genuine_pairs", "the pairs of one person", " pairs of one person")
        share = _with_interval(report.figures[missed])
        parts.append(f"{share} of {pairs} are missed at FMR {threshold(found['fmr'])} before any face is refused.")
    best = measure_name(found["measure"])
    who = f"Of {len(names)} quality measures, {best} orders the faces best" if len(names) > 1 else f"By {best}"
    area = _with_interval(report.figures[names[0]], names[0])
    parts.append(
        f"{who}: the relative area under error versus reject, up to {threshold('0.3')} refused, is {area}; refusing at "
        "random gives 0.300."
    )
    return parts


_SUMMARIES: Final[Mapping[str, Callable[[Report], list[str]]]] = {
    "survface-id": _open_set,
    "survface-verif": _verification,
    "pairs": _verification,
    "scface": _by_distance,
    "cross-resolution": _by_side,
    "rejection": _rejection,
}


def _of(report: Report, count: str, otherwise: str, called: str = " probes") -> str:
    number = report.counts.get(count)
    return f"{number:,}{called}" if number else otherwise


def _sentence(name: str, estimate: Estimate) -> str:
    known = meaning(name)
    text = f"{known.label} is {_with_interval(estimate, name)}"
    return f"{text}: {known.sentence}." if known.sentence else f"{text}."


def _with_interval(estimate: Estimate, name: str = "rank1") -> str:
    """A value and its interval, as the figure `name` is printed."""
    unit = meaning(name).unit
    interval = interval_text(estimate, unit).replace(" – ", " to ")
    return value_text(estimate, unit) + (f" (95\u202f% interval {interval})" if interval else "")
