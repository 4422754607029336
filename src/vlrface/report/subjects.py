"""What each curve of a report means: its heading, its axes, how to read it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from vlrface.report.conditions import phrases, split_name
from vlrface.report.names import Meaning, meaning
from vlrface.report.wording import humanised

Unit = Literal["share", "rank", "number", "gain", "difference"]


@dataclass(frozen=True)
class Axis:
    """One axis: its name in words, what its numbers are, and its scale."""

    name: str
    unit: Unit = "number"
    log: bool = False


@dataclass(frozen=True)
class Subject:
    """A kind of figure.

    Attributes:
        title: heading.
        section: which part of the page it belongs to: "reject", "recognition", "training", "other".
        x: horizontal axis.
        y: vertical axis.
        caption: what it shows and how to read it.
        bounds: whether the lines of no use ("random", flat) and of perfect use ("oracle") are drawn.
        points: whether every point gets a dot: few measured values, not a continuous line.
        measures: whether the lines are quality measures, to be listed from best to worst: "less" where the lower line
            is the better one, "more" where the higher one is, "" where the lines are something else.
    """

    title: str
    section: str
    x: Axis
    y: Axis
    caption: str
    bounds: bool = False
    points: bool = False
    measures: Literal["less", "more", ""] = ""


_REJECTED: Final = Axis("share refused", "share")
SUBJECTS: Final[Mapping[str, Subject]] = {
    "edc": Subject(
        "Errors left after refusing the hardest",
        "reject",
        _REJECTED,
        Axis("FNMR: pairs of one person that are missed", "share"),
        "Error versus reject. From left to right the least recognizable faces are refused; a good index makes the line "
        "fall fast.",
        bounds=True,
        measures="less",
    ),
    "rank1_reject": Subject(
        "Rank-1 after refusing the hardest",
        "reject",
        _REJECTED,
        Axis("rank-1 of the probes that stay", "share"),
        "Share of the remaining probes whose person is the first answer, when the least recognizable are refused. "
        "Higher is better; a useless index stays flat.",
        measures="more",
    ),
    "recognizability_by_size": Subject(
        "Recognizability by size of the face",
        "reject",
        Axis("shorter side of the crop in pixels"),
        Axis("mean recognizability index"),
        "Mean index of the faces of one size. It should rise with size, but size alone does not decide: blur and pose "
        "count too.",
        points=True,
    ),
    "cmc": Subject(
        "Found within the first answers",
        "recognition",
        Axis("number of answers looked at", "rank", log=True),
        Axis("share of probes found", "share"),
        "Cumulative match characteristic: the share of all probes whose person is among the first k answers. Higher is "
        "better.",
    ),
    "roc": Subject(
        "Accepting pairs",
        "recognition",
        Axis("FAR: pairs of two people accepted", "share", log=True),
        Axis("TPR: pairs of one person accepted", "share"),
        "Receiver operating characteristic. Further left means fewer false accepts; higher is better.",
    ),
    "open_set": Subject(
        "Finding known people among strangers",
        "recognition",
        Axis("FPIR: strangers taken for someone", "share", log=True),
        Axis("TPIR: known people found", "share"),
        "Open-set identification: the share of known people found and accepted, over the share of strangers who are "
        "taken for someone. Higher is better.",
    ),
}
_PREFIXES: Final[tuple[tuple[str, str], ...]] = (
    ("edc", "edc"),
    ("erc", "edc"),
    ("rank1_reject", "rank1_reject"),
    ("rank1@reject", "rank1_reject"),
    ("recognizability_by_size", "recognizability_by_size"),
    ("recognizability@size", "recognizability_by_size"),
    ("cmc", "cmc"),
    ("roc", "roc"),
    ("open_set", "open_set"),
    ("tpir20@fpir", "open_set"),
    ("tpir", "open_set"),
)
# What a curve "…_by_KEY" runs over: axis, words of the heading, words of the caption.
_OVER: Final[Mapping[str, tuple[Axis, str, str]]] = {
    "size": (Axis("shorter side of the crop in pixels"), "by size of the face", "of faces of one size"),
    "side": (
        Axis("shorter side that the probes were shrunk to, in pixels"),
        "by size that the probes were shrunk to",
        "of the same probes, shrunk to fewer and fewer pixels",
    ),
    "distance": (Axis("distance of the camera"), "by distance of the camera", "of the probes of one distance"),
    "recognizability": (Axis("recognizability index"), "by recognizability", "of faces of one band of the index"),
}


def subject(key: str) -> Subject:
    """What the curves under `key` of a report are about, from the start of the key: "edc", "edc@fmr=0.01", "cmc/dev".

    A key that is not known gets a plain figure with its own name, so that no curve is lost from the page.
    """
    for prefix, name in _PREFIXES:
        if key == prefix or (key.startswith(prefix) and not (key[len(prefix)].isalpha() or key[len(prefix)] == "_")):
            return _conditioned(SUBJECTS[name], key[len(prefix) :])
    measured, by, over = split_name(key)[0].partition("_by_")
    if by and over in _OVER:
        return _conditioned(_by(measured, over), key[len(measured + by + over) :])
    title = humanised(key)
    return Subject(title[:1].upper() + title[1:], "other", Axis(""), Axis(""), "")


def _conditioned(about: Subject, text: str) -> Subject:
    rest = phrases(split_name("@" + text.strip("@/_: "))[1])
    return replace(about, title=f"{about.title} ({rest})") if rest else about


def _by(measured: str, over: str) -> Subject:
    known = _measured(measured)
    axis, heading, of = _OVER[over]
    label = known.label[:1].lower() + known.label[1:] if known.label[1:2].islower() else known.label
    better = {"more": " Higher is better.", "less": " Lower is better.", "": ""}[known.better]
    return Subject(
        f"{known.label} {heading}",
        "reject" if known.group == "recognizability" else "recognition",
        axis,
        Axis(label, known.unit),
        f"{known.label} {of}.{better}",
        points=True,
    )


def _measured(name: str) -> Meaning:
    """The figure that a curve shows; a curve of several ("tpr_by_side") has no operating point of its own."""
    known = meaning(name)
    return replace(known, label=name.upper(), unit="share", better="more") if name in ("tpr", "tpir") else known
