"""What a difference of two models says, in words."""

from typing import Literal

import numpy as np

from vlrface.evaluate.comparison import Compared, Comparison
from vlrface.report.names import Meaning, meaning
from vlrface.report.wording import Unit, interval_text, number, value_text
from vlrface.types import Estimate

CHANCE = "may be chance"


def apart(unit: Unit) -> Literal["gain", "difference"]:
    """The unit of a difference of two figures: points for shares."""
    return "gain" if unit in ("share", "gain") else "difference"


def verdict(found: Compared, known: Meaning, names: tuple[str, str]) -> str:
    """Which model is better, or why none is said to be.

    A model is named only where the 95 % interval of the paired difference leaves 0 out.
    """
    if not found.certain:
        return CHANCE if np.isfinite(found.difference.low) else "no interval"
    if not known.better:
        return "differs"
    first = (found.difference.value > 0) == (known.better == "more")
    return f"{names[0] if first else names[1]} is better"


def sentence(comparison: Comparison, name: str) -> str:
    """Both values of a figure, their difference with its interval, and whether it is more than chance."""
    found, known = comparison.figures[name], meaning(name)
    first, second = comparison.names
    unit = apart(known.unit)
    values = (
        f"{value_text(found.first, known.unit)} for {first} and {value_text(found.second, known.unit)} for {second}"
    )
    start = f"{known.label} is {values}"
    if not np.isfinite(found.difference.value):
        return f"{start}."
    by = value_text(Estimate(abs(found.difference.value)), unit).removeprefix("+")
    said = verdict(found, known, comparison.names)
    interval = interval_text(found.difference, unit).replace(" – ", " to ")
    between = f"the difference of {by} (95\u202f% interval {interval})" if interval else f"the difference of {by}"
    if said == CHANCE:
        return f"{start}; {between} may be chance."
    if not found.certain:
        return f"{start}; {between} has no interval, so that chance cannot be judged."
    return f"{start}; {between} is more than chance{_p(found.chance)}" + (": " + said if known.better else "") + "."


def _p(chance: float) -> str:
    return f" (p = {number(chance)})" if np.isfinite(chance) else ""
