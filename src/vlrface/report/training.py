"""Training curves: scalars of a run, grouped into few panels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from vlrface.report.names import meaning
from vlrface.report.subjects import Axis, Subject
from vlrface.report.wording import humanised
from vlrface.types import Curve

DENSE: Final = 300
"""A curve with more values is drawn as the mean of neighbouring ones, inside the band of their range."""

_LINES_PER_PANEL: Final = 6
_COLUMNS: Final = 120
_TITLES: Final[dict[str, str]] = {
    "loss": "Parts of the loss",
    "weighted": "Weighted parts of the loss",
    "rate": "Learning rate",
}
_CAPTIONS: Final[dict[str, str]] = {
    "loss": "Before weighting. All should fall and then settle; a jump means an unstable step.",
    "weighted": "The same parts times their weights: what each contributes to the gradient.",
    "gradient_norm": "Norm of the gradient. It should stay within one order of magnitude.",
    "rate": "Learning rate, as the schedule set it.",
    "learning_rate": "Learning rate, as the schedule set it.",
    "validation": "Measured on people held out of training. It should rise and settle; a lasting fall is overfitting.",
    "images_per_second": "Speed. A fall means that something else used the machine.",
}


def training_panels(training: Mapping[str, Curve | Sequence[Curve]]) -> Iterator[tuple[Subject, list[Curve]]]:
    """Panels for the scalars of a run.

    Scalars with one prefix ("loss/recognition", "loss/regression") share a panel, six lines at most. A curve of more
    than `DENSE` values without a band is replaced by means and ranges of neighbouring values.

    Args:
        training: scalar name to its curve over steps, or to several curves of several runs.

    Yields:
        What the panel is about, and its curves.
    """
    groups: dict[str, list[tuple[Curve, bool]]] = {}
    for name, given in training.items():
        head, _, tail = name.partition("/")
        curves = [given] if isinstance(given, Curve) else list(given)
        for curve in curves:
            own = meaning(tail or head)
            called = own.label if len(curves) == 1 else f"{own.label}, {curve.name}"
            groups.setdefault(head, []).append((replace(curve, name=called), own.unit == "share"))
    for head, members in groups.items():
        for first in range(0, len(members), _LINES_PER_PANEL):
            part = members[first : first + _LINES_PER_PANEL]
            shares = head == "validation" and all(share for _, share in part)
            about = _subject(head, [curve for curve, _ in part], shares=shares, part=first // _LINES_PER_PANEL)
            yield about, [condensed(curve) for curve, _ in part]


def condensed(curve: Curve) -> Curve:
    """The curve, or means and ranges (as its band) of some hundred equal runs of values where it is long.

    Values that are not finite are left as they are in a short curve; in a long one a run's mean leaves them out.
    """
    finite = np.isfinite(curve.x) & np.isfinite(curve.y)
    if len(curve.x) <= DENSE or curve.low is not None or not finite.any():
        return curve
    x, y = curve.x[finite], curve.y[finite]
    runs = np.array_split(np.arange(len(x)), min(_COLUMNS, len(x)))
    means, lows, highs = ([float(f(y[run])) for run in runs] for f in (np.mean, np.min, np.max))
    # Values that are not finite stay, so that the figure can say how many there are.
    lost = int((~finite).sum())
    gap = np.full(lost, np.nan)
    return Curve(
        curve.name,
        np.concatenate([[float(x[run].mean()) for run in runs], gap]),
        np.concatenate([means, gap]),
        np.concatenate([lows, gap]),
        np.concatenate([highs, gap]),
    )


def _subject(head: str, curves: Sequence[Curve], *, shares: bool, part: int) -> Subject:
    title = _TITLES.get(head, humanised(head))
    title = title[:1].upper() + title[1:] + (f" ({part + 1})" if part else "")
    values = np.concatenate([curve.y[np.isfinite(curve.y)] for curve in curves])
    wide = head in ("loss", "weighted", "gradient_norm") and len(values) > 0 and 0 < 30 * values.min() < values.max()
    caption = _CAPTIONS.get(head, "")
    if any(len(curve.x) > DENSE and curve.low is None for curve in curves):
        caption += " Line: mean of neighbouring steps; shaded: their range."
    return Subject(
        title=title,
        section="training",
        x=Axis("step"),
        y=Axis("log scale" if wide else "", "share" if shares else "number", log=bool(wide)),
        caption=caption.strip(),
    )
