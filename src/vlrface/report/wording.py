"""Numbers in words for a person: "33.2 %", "+4.2 points", "3 min 12 s"."""

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np

from vlrface.types import Estimate

Unit = Literal["share", "number", "gain", "difference"]
"""How a figure is printed: as percent, as it is, and what two shares or two numbers differ by, with its sign."""

SPACE: Final = "\u202f"  # narrow and unbreakable: a number and its sign stay together
_MISSING: Final = "–"


def humanised(name: str) -> str:
    """A name without separators: "distance_4.2m" becomes "distance 4.2m"."""
    return re.sub(r"[ \t\n_/:,]+", " ", name).strip()


def threshold(text: str) -> str:
    """A rate that an operating point is named by, as percent: "0.001" becomes "0.1 %"."""
    try:
        return f"{100 * float(text.rstrip('.')):g}{SPACE}%"
    except ValueError:
        return text


def percent(share: float) -> str:
    """A share as percent with one decimal, with more where one would read as 0 or 100; "–" for NaN."""
    if not np.isfinite(share):
        return _MISSING
    value = 100 * share
    for decimals in (1, 2, 3):
        text = f"{value:.{decimals}f}"
        if float(text) not in (0.0, 100.0) or value in (0.0, 100.0):
            return f"{text}{SPACE}%"
    return f"{value:.1g}{SPACE}%" if abs(value) < 1 else f"{value:.1f}{SPACE}%"


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
    return f"{round(value, decimals) or 0.0:{'+' if value else ''}.{decimals}f}{SPACE}points"


def signed(difference: float) -> str:
    """A difference of two numbers with its sign: "+0.012"; "–" for NaN."""
    small = 0.0005 <= abs(difference) < 10
    text = f"{difference:.3f}" if small else number(difference)
    return f"+{text}" if difference > 0 and np.isfinite(difference) else text


def value_text(estimate: Estimate, unit: Unit) -> str:
    """The value alone, in its unit."""
    return _FORMS[unit](estimate.value)


def interval_text(estimate: Estimate, unit: Unit) -> str:
    """The 95 % interval as "29.9 – 36.5 %", or "" where none is known; "to" where numbers have signs."""
    if not (np.isfinite(estimate.low) and np.isfinite(estimate.high)):
        return ""
    low, high = (_FORMS[unit](end) for end in (estimate.low, estimate.high))
    sign = "" if unit in ("number", "difference") else SPACE + high.rpartition(SPACE)[2]  # said once, after both ends
    return f"{low.removesuffix(sign)} {'to' if unit in ('gain', 'difference') else '–'} {high}"


_FORMS: Final[dict[Unit, Callable[[float], str]]] = {
    "share": percent,
    "number": number,
    "gain": points,
    "difference": signed,
}


def listed(words: Sequence[str]) -> str:
    """At least one word as a person lists them: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def duration(seconds: float) -> str:
    """A time as a person says it: "42 s", "3 min 12 s", "2 h 5 min"."""
    if not np.isfinite(seconds):
        return _MISSING
    if seconds < 10:
        return f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60}{SPACE}s"
    return f"{whole // 3600}{SPACE}h {whole % 3600 // 60}{SPACE}min"
