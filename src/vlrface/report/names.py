"""What a figure is: its name in words, a sentence, its unit, and where it belongs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Final, Literal

from vlrface.report.conditions import measure_name, phrase, phrases, pixels, split_name
from vlrface.report.wording import Unit, humanised, threshold

Group = Literal["identification", "open set", "verification", "reject", "recognizability", "other"]
Better = Literal["more", "less", ""]

GROUPS: Final[Mapping[Group, str]] = {
    "identification": "Finding a person among known ones",
    "open set": "Finding known people among strangers",
    "verification": "Accepting pairs",
    "reject": "Refusing the hardest faces",
    "recognizability": "Recognizability",
    "other": "Further figures",
}


@dataclass(frozen=True)
class Meaning:
    """How a figure is called and read.

    Attributes:
        label: its name for a table, with all conditions.
        sentence: what it says, or "".
        unit: "share" is printed as percent, "gain" (a difference of two shares) as percentage points with its sign,
            "difference" (of two numbers) with its sign.
        family: figures that say nearly the same (rank-1, rank-5) share a family: a card is shown for one of them.
        group: the part of a table it stands in.
        better: whether more or less of it is better; "" where neither is.
        what: the label without conditions.
        conditions: what the name says after its "@", in order.
    """

    label: str
    sentence: str
    unit: Unit
    family: str
    group: Group = "other"
    better: Better = ""
    what: str = ""
    conditions: Mapping[str, str] | None = None


@dataclass(frozen=True)
class _Kind:
    """Figures of one pattern. Braces in the texts take a group of the pattern, or a condition in words.

    Attributes:
        head: pattern of the name's start; what follows it is shown as it is.
        label: name in words, with the conditions in `says`.
        sentence: what it says.
        unit: how it is printed.
        group: where it belongs.
        better: which way is better.
        says: conditions that the label says; the others follow it. The kind is meant only if all are there.
        what: the label without any condition.
    """

    head: str
    label: str
    sentence: str
    unit: Unit
    group: Group
    better: Better = "more"
    says: tuple[str, ...] = ()
    what: str = ""


_AREA_SENTENCE: Final = "area under the errors that are left, from nothing to {reject} refused; less is better"
_KINDS: Final[tuple[_Kind, ...]] = (
    _Kind(r"rank1", "Rank-1 without the hardest {reject}",
          "probes found first when the {reject} least recognizable are refused", "share", "reject", says=("reject",),
          what="Rank-1"),
    _Kind(r"rank1_gain", "Gain of rank-1 without the hardest {reject}",
          "change of rank-1 when the {reject} least recognizable probes are refused, in percentage points", "gain",
          "reject", says=("reject",), what="Gain of rank-1"),
    _Kind(r"rank(?P<a>\d+)_loss", "Rank-{a} lost to the largest size",
          "how much higher it is for the same probes at the largest size, in percentage points", "gain",
          "identification", "less"),
    _Kind(r"tpr_loss", "TPR at FAR {far} lost to the largest size",
          "how much higher it is for the same probes at the largest size, in percentage points", "gain",
          "verification", "less", ("far",)),
    _Kind(r"chance_rank[-_]?1(?!\d)", "Rank-1 by chance", "probes whose person a blind choice would name", "share",
          "identification", ""),
    _Kind(r"rank[-_]?1(?!\d)", "Rank-1", "probes whose person is the first answer", "share", "identification"),
    _Kind(r"rank[-_]?(?P<a>\d+)", "Rank-{a}", "probes whose person is among the first {a} answers", "share",
          "identification"),
    _Kind(r"mAP(?![a-z])", "Mean average precision", "how early all pictures of the person come among the answers",
          "share", "identification"),
    _Kind(r"tpir(?P<a>\d+)?_area", "Area under TPIR{a} over FPIR",
          "mean share of known people found, over all shares of strangers taken for someone", "number", "open set"),
    _Kind(r"tpir(?P<a>\d+)?", "TPIR{a} at FPIR {fpir} without the hardest {reject}",
          "known people found when the {reject} least recognizable probes are refused, at the threshold of all probes",
          "share", "reject", says=("fpir", "reject"), what="TPIR{a} at FPIR {fpir}"),
    _Kind(r"tpir(?P<a>\d+)?_gain", "Gain of TPIR{a} at FPIR {fpir} without the hardest {reject}",
          "change when the {reject} least recognizable probes are refused, in percentage points", "gain", "reject",
          says=("fpir", "reject"), what="Gain of TPIR{a} at FPIR {fpir}"),
    _Kind(r"fpir", "FPIR at the threshold of {fpir}, without the hardest {reject}",
          "strangers taken for someone when the {reject} least recognizable probes are refused, at the threshold that "
          "takes {fpir} of all strangers for someone", "share", "reject", "less", ("fpir", "reject"),
          "FPIR at the threshold of {fpir}"),
    _Kind(r"fpir", "FPIR at the threshold of {fpir}",
          "strangers taken for someone, at the threshold that takes {fpir} of all strangers for someone", "share",
          "open set", "less", ("fpir",)),
    _Kind(r"tpir(?P<a>\d+)?", "TPIR{a} at FPIR {fpir}",
          "known people found, while {fpir} of strangers are taken for someone", "share", "open set", says=("fpir",)),
    _Kind(r"tpr", "TPR at FAR {far}", "pairs of one person accepted, while {far} of other pairs are", "share",
          "verification", says=("far",)),
    _Kind(r"fnmr", "FNMR at FMR {fmr}", "pairs of one person missed, while {fmr} of other pairs match", "share",
          "verification", "less", says=("fmr",)),
    _Kind(r"eer(?![a-z])", "Equal error rate", "error where both kinds of error are equally frequent", "share",
          "verification", "less"),
    _Kind(r"accuracy(?![a-z])", "Accuracy", "pairs judged rightly", "share", "verification"),
    _Kind(r"auc(?![a-z])", "Area under the ROC", "chance that a pair of one person scores above another pair",
          "number", "verification"),
    _Kind(r"normalised_pauc", "Relative area under error versus reject, FMR {fmr}, up to {reject} of {refused} refused",
          "the area divided by the error before any refusal; refusing at random gives {limit}, less is better",
          "number", "reject", "less", ("fmr",), "Relative area"),
    _Kind(r"pauc_gain", "Area saved beside the reference, FMR {fmr}, up to {reject} of {refused} refused",
          "area of the reference (the recognizability index, or the first measure without one) minus the area of this "
          "measure; above 0 where this one is better", "difference", "reject", "more", ("fmr",), "Area saved"),
    _Kind(r"pauc", "Area under error versus reject, FMR {fmr}, up to {reject} of {refused} refused", _AREA_SENTENCE,
          "number", "reject", "less", ("fmr",), "Area"),
    _Kind(r"recognizability", "Recognizability at {size}",
          "mean index of the probes and gallery faces whose shorter side has so many pixels", "number",
          "recognizability", "", says=("size",), what="Recognizability"),
    _Kind(r"recognizability", "Mean recognizability", "mean index of the faces", "number", "recognizability", ""),
    _Kind(r"spearman_recognizability_(?P<of>[a-z]+)", "Rank correlation of recognizability and {of}",
          "Spearman: 1 if the index always rises with the {of}, -1 if it always falls, 0 if neither", "number",
          "recognizability", ""),
    _Kind(r"index~(?P<of>[a-z]+)", "Rank correlation of index and {of}",
          "Spearman: 1 if the index always rises with it, 0 if they have nothing to do with each other", "number",
          "recognizability", ""),
    _Kind(r"p?auc.*", "", "area under a curve; see the figure", "number", "other", ""),
    _Kind(r"(tpr|tpir|fnmr|fmr|fpir|far|share|coverage)(?![a-z])", "", "", "share", "other", ""),
)  # fmt: skip
_USUAL_AREA: Final = {"reject": "0.3", "mode": "pairs"}  # what the name of an area does not say
_REFUSED: Final = {"images": "pictures"}


def meaning(name: str) -> Meaning:
    """How to call and read the figure `name`; an unknown name is shown as it is, as a plain number."""
    head, found = split_name(name)
    for kind in _KINDS:
        match = (re.fullmatch if kind.says else re.match)(kind.head, head, re.IGNORECASE)
        if match is not None and all(key in found for key in kind.says):
            return _meant(kind, match, found)
    label = ", ".join(filter(None, (humanised(head), phrases(found))))
    return Meaning(label, "", "number", name.lower(), what=humanised(head), conditions=found)


def _meant(kind: _Kind, match: re.Match[str], found: Mapping[str, str]) -> Meaning:
    area = "pauc" in kind.head and bool(kind.label)
    usual = _USUAL_AREA | ({"reject": "0.95"} if "recomputed" in found else {})
    given = {**found, **{key: found.get(key, other) for key, other in usual.items()}} if area else dict(found)
    words = {**{key: value or "" for key, value in match.groupdict().items()}, **_in_words(given)}
    head = match.string
    rest = humanised(head[match.end() :]) if kind.label else ""
    said = {*kind.says, *(_USUAL_AREA if area else ())}
    after = phrases({key: value for key, value in found.items() if key not in said})
    whole = kind.label.format_map(words) if kind.label else humanised(head)
    return Meaning(
        label=", ".join(filter(None, (whole, rest, after))),
        sentence=kind.sentence.format_map(words),
        unit=kind.unit,
        family=("reject" if "reject" in kind.says else re.sub(r"[\d.]+.*", "", head).lower()) + rest,
        group=kind.group,
        better=kind.better,
        what=", ".join(filter(None, (kind.what.format_map(words) or whole, rest))),
        conditions={key: value for key, value in given.items() if key not in _fields(kind.what or kind.label)},
    )


def _fields(text: str) -> set[str]:
    return {field for _, field, _, _ in Formatter().parse(text) if field}


def _in_words(given: Mapping[str, str]) -> dict[str, str]:
    """The conditions that a label or a sentence has a place for."""
    words = {key: threshold(given[key]) for key in ("far", "fmr", "fpir", "reject") if key in given}
    if "size" in given:
        words["size"] = pixels(given["size"])
    if "mode" in given:
        words["refused"] = _REFUSED.get(given["mode"], given["mode"])
    return {**words, "limit": given.get("reject", "")}


def count_name(name: str) -> str:
    """The name of a count: "accepted_impostors@far=0.1" becomes "accepted impostors at FAR 10 %"."""
    head, found = split_name(name)
    distance = re.fullmatch(r"distance(\d+)", name)
    if distance:  # as SCface calls the role of its probes
        return f"probes at {phrase('distance', distance[1])}"
    if head.endswith("_without") and "measure" in found:
        return f"{humanised(head)} {measure_name(found['measure'])}"
    parts = [f"{_JOINED.get(key, 'at ')}{phrase(key, value)}" for key, value in found.items()]
    return " ".join([humanised(head), *parts])


def is_of_a_part(name: str) -> bool:
    """Whether a count is of a band, an operating point or a verdict: there are many such, and each says little."""
    return "@" in name or name.endswith(("_recognizable", "_doubtful", "_unrecognizable", "_failed"))


_JOINED: Final = {"size": "of ", "recognizability": "of the ", "side": "", "measure": "", "mode": "with "}


def left_out(text: str) -> str:
    """Why something was not computed, with the name of a figure before the colon in words."""
    name, colon, reason = text.partition(": ")
    return f"{meaning(name).label}: {reason}" if colon and "@" in name else text
