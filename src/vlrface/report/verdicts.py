"""What a difference of two models says, in words."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from vlrface.evaluate.comparison import Compared, Comparison
from vlrface.report.names import Meaning, meaning
from vlrface.report.wording import Unit, interval_text, value_text

CHANCE = "may be chance"


def apart(unit: Unit) -> Literal["gain", "difference"]:
    """The unit of a difference of two figures: points for shares."""
    return "gain" if unit in ("share", "gain") else "difference"


def is_better(difference: float, known: Meaning) -> bool | None:
    """Whether a difference is for the better; None of a figure that neither direction is better of."""
    return (difference > 0) == (known.better == "more") if known.better else None


def verdict(found: Compared, known: Meaning, names: tuple[str, str]) -> str:
    """Which model is better, or why none is said to be.

    A model is named only where the 95 % interval of the paired difference leaves 0 out.
    """
    if not found.certain:
        return CHANCE if np.isfinite(found.difference.low) else "no interval"
    first = is_better(found.difference.value, known)
    if first is None:
        return "differs"
    return f"{names[0] if first else names[1]} is better"


def sentence(comparison: Comparison, name: str) -> str:
    """Both values of a figure, their difference with its interval, and whether it is more than chance."""
    found, known = comparison.figures[name], meaning(name)
    first, second = comparison.names
    unit = apart(known.unit)
    values = [value_text(each, known.unit) for each in (found.first, found.second)]
    start = f"{known.label} is {values[0]} for {first} and {values[1]} for {second}."
    if not np.isfinite(found.difference.value):
        return start
    interval = interval_text(found.difference, unit)
    between = f"The difference of {value_text(found.difference, unit)}"
    said = verdict(found, known, comparison.names)
    if not interval:
        return f"{start} {between} has no interval, so that chance cannot be judged."
    between += f" (95\u202f% interval {interval})"
    if not found.certain:
        return f"{start} {between} may be chance."
    return f"{start} {between} is more than chance{_p(found.chance)}" + (f": {said}." if known.better else ".")


def _p(chance: float) -> str:
    return f" (p = {chance:.2g})" if np.isfinite(chance) else ""


def tally(comparison: Comparison, names: Sequence[str]) -> str:
    """In how many of some figures each model is better, as a sentence; "" of fewer than two."""
    said = [
        verdict(comparison.figures[name], meaning(name), comparison.names) for name in names if meaning(name).better
    ]
    if len(said) < 2:
        return ""
    better = [said.count(f"{name} is better") for name in comparison.names]
    parts = [f"{name} is better in {n}" for name, n in zip(comparison.names, better, strict=True) if n]
    rest = len(said) - sum(better)
    parts += [f"in {rest} no difference is certain"] if rest else []
    return f"Of {len(said)} figures, {', '.join(parts)}."
