"""The conditions in a figure's name, in words: "fpir=0.1,size=16-20" becomes "FPIR 10 %, 16–19 px"."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from vlrface.report.wording import SPACE, humanised, threshold

BANDS: Final = ("measure", "size", "recognizability", "side", "distance", "reject")
"""Conditions that a figure is measured under one after the other, so that their values make the rows of a table. A
figure with several belongs to the first."""

_METRES: Final[Mapping[str, str]] = {"1": "4.2", "2": "2.6", "3": "1.0"}  # the distances of SCface

_MEASURES: Final[Mapping[str, str]] = {
    "recognizability": "recognizability index",
    "ri": "recognizability index",
    "ers": "ERS",
    "crfiqa": "CR-FIQA",
    "magface": "MagFace norm",
    "adaface": "AdaFace norm",
    "serfiq": "SER-FIQ",
    "sharpnessnative": "Laplacian sharpness (native)",
    "norm": "embedding norm",
    "embeddingnorm": "embedding norm",
    "size": "pixel size",
    "pixelsize": "pixel size",
    "sharpness": "Laplacian sharpness",
    "laplacian": "Laplacian sharpness",
    "laplaciansharpness": "Laplacian sharpness",
    "brisque": "BRISQUE",
    "niqe": "NIQE",
}


def split_name(name: str) -> tuple[str, dict[str, str]]:
    """A name's head and its conditions: "a@b=1,c" gives "a" and {"b": "1", "c": ""}.

    The name of a quality measure may hold anything, commas and equal signs too: it goes to the end.
    """
    head, _, text = name.partition("@")
    measured = re.fullmatch(r"(?:(?P<before>.*?),)?measure=(?P<measure>.*)", text, re.DOTALL)
    found: dict[str, str] = {}
    for part in (measured["before"] or "" if measured else text).split(","):
        key, _, value = part.partition("=")
        if key.strip():
            found[key.strip()] = value.strip()
    if measured:
        found["measure"] = measured["measure"]
    return head, found


def measure_name(name: str) -> str:
    """A quality measure as a person knows it: "cr_fiqa" becomes "CR-FIQA"; a name of a user's own stays as it is."""
    return _MEASURES.get(re.sub(r"[\s_-]+", "", name.lower()), name)


def pixels(band: str) -> str:
    """A band of sizes: "12-16" (up to, but not, 16) becomes "12–15 px", "32+" becomes "32 px and more"."""
    known = re.fullmatch(r"(\d+)(?:-(\d+)|\+)", band)
    if known is None:
        return humanised(band)
    if known[2] is None:
        return f"{known[1]}{SPACE}px and more"
    return f"{known[1]}–{int(known[2]) - 1}{SPACE}px"


def fifth(band: str) -> str:
    """A band of the index: "1of5" becomes "lowest fifth of recognizability", "2of5" "second fifth ..."."""
    known = re.fullmatch(r"(\d+)of(\d+)", band)
    if known is None:
        return f"recognizability {humanised(band)}".strip()
    part = _PARTS.get(known[2], "part")
    named = {**_ORDINALS, "1": "lowest", known[2]: "highest"}
    return f"{named.get(known[1], known[1] + 'th')} {part} of recognizability"


_ORDINALS: Final[Mapping[str, str]] = {"2": "second", "3": "third", "4": "fourth"}
_PARTS: Final[Mapping[str, str]] = {"2": "half", "3": "third", "4": "quarter", "5": "fifth", "10": "tenth"}


def _distance(value: str) -> str:
    metres = f" ({_METRES[value]}{SPACE}m)" if value in _METRES else ""
    return f"distance {humanised(value)}{metres}"


def _side(value: str) -> str:
    return f"shrunk to {value}{SPACE}px" if value.isdigit() else f"side {humanised(value)}"


def _mode(value: str) -> str:
    return {"images": "whole pictures refused", "pairs": "pairs refused"}.get(value, f"mode {humanised(value)}")


_PHRASES: Final[Mapping[str, Callable[[str], str]]] = {
    "far": lambda value: f"FAR {threshold(value)}",
    "fmr": lambda value: f"FMR {threshold(value)}",
    "fpir": lambda value: f"FPIR {threshold(value)}",
    "reject": lambda value: f"{threshold(value)} refused",
    "size": pixels,
    "recognizability": fifth,
    "distance": _distance,
    "side": _side,
    "mode": _mode,
    "measure": lambda value: f"by {measure_name(value)}",
    "recomputed": lambda _: "threshold recomputed",
    "recompute_threshold": lambda _: "threshold recomputed",
}


def phrase(key: str, value: str) -> str:
    """One condition in words; an unknown one is shown as it is."""
    known = _PHRASES.get(key.lower())
    return known(value) if known is not None else humanised(f"{key} {value}")


def phrases(found: Mapping[str, str]) -> str:
    """Conditions in words, in their order, with commas between them."""
    return ", ".join(filter(None, (phrase(key, value) for key, value in found.items())))


def row_label(key: str, value: str) -> str:
    """A band as the head of a row, under a heading that says what the bands are of."""
    if key == "measure":
        return measure_name(value)
    if key == "recognizability":
        return fifth(value).removesuffix(" of recognizability")
    if key == "distance":
        return _distance(value).removeprefix("distance ")
    if key == "side":
        return f"{value}{SPACE}px" if value.isdigit() else humanised(value)
    return threshold(value) if key == "reject" else phrase(key, value)
