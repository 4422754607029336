"""The page of `vlrface calibrate`: how far the score can be believed, and the thresholds for wished rates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, PercentFormatter

from vlrface.metrics.calibration import Calibration
from vlrface.metrics.operating import Point
from vlrface.metrics.reliability import Reliability
from vlrface.report.svg import Drawing, Ink, LegendEntry, css, draw
from vlrface.report.template import render
from vlrface.report.wording import percent

WISHES = {
    "fmr": ("false match rate", "genuine pairs missed", "cosine", "pairs of different people"),
    "fpir": ("false positive identification rate", "enrolled people not found first", "cosine", "searches"),
    "accept": ("share of faces accepted", "accepted faces whose best match is wrong", "score", "faces"),
    "fnmr": ("genuine pairs missed among accepted faces", "faces rejected", "score", "accepted genuine pairs"),
}
"""What each wish is about, what it costs, what its threshold is put on, and what is counted."""


@dataclass(frozen=True)
class Bin:
    """A point of the diagram as the page lists it; texts."""

    score: str
    right: str
    interval: str
    faces: str


@dataclass(frozen=True)
class Row:
    """A threshold as the page shows it; texts."""

    wish: str
    wished: str
    threshold: str
    threshold_interval: str
    rate: str
    rate_interval: str
    cost: str
    cost_interval: str
    basis: str


def reliability_diagram(found: Reliability, *, ident: str, wide: bool = True) -> Drawing:
    """Share of right best matches over the mean score of each bin, beside the line of perfect scores.

    Below it stands how many faces have which score.
    """

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.04)
        axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        axes.plot([0, 1], [0, 1], color=Ink.MUTED, linestyle="--", linewidth=1)
        spread = np.nan_to_num(np.maximum([found.right - found.low, found.high - found.right], 0.0))
        axes.errorbar(
            found.score, found.right, yerr=spread, color=Ink.SERIES[0], marker="o", markersize=5, linewidth=1.2,
            elinewidth=1, capsize=2.5,
        )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, 0, "\u202f%"))
        axes.set_title("best match right", loc="left", fontsize=10, color=Ink.TEXT, pad=7)
        counts.bar(np.linspace(0.025, 0.975, 20), found.histogram, width=0.045, color=Ink.SERIES[0])
        counts.set_xlabel("score")
        counts.grid(visible=False)
        counts.yaxis.set_major_locator(FixedLocator([0, int(found.histogram.max())]))
        counts.set_title("faces", loc="left", fontsize=10, color=Ink.TEXT, pad=4)

    spoken = "; ".join(
        f"score {score:.2f}, {percent(right)} right" for score, right in zip(found.score, found.right, strict=True)
    )
    svg = draw(paint, ident=ident, label=f"Reliability diagram: {spoken}", width=760 if wide else 340, height=360)
    legend = (
        LegendEntry("faces of people left out of the fit, with 95 % interval", css(Ink.SERIES[0]), "dot"),
        LegendEntry("a score that says just what happens", css(Ink.MUTED), "dashed"),
    )
    return Drawing(svg, legend)


def render_calibration(
    calibration: Calibration, found: Reliability, refused: Sequence[str], *, title: str, data: str
) -> str:
    """The page as text; see `vlrface.report.html.write_calibration`."""
    return render(
        "calibration.html.j2",
        title=title,
        data=data,
        calibration=calibration,
        rank1=percent(calibration.rank1),
        error=f"{calibration.calibration_error:.3f}",
        diagram=reliability_diagram(found, ident="f0"),
        narrow=reliability_diagram(found, ident="f1", wide=False),
        bins=[
            Bin(f"{score:.3f}", percent(right), _between(percent(low), percent(high)), f"{int(faces):,}")
            for score, right, low, high, faces in zip(
                found.score, found.right, found.low, found.high, found.faces, strict=True
            )
        ],
        rows=[threshold_row(point) for point in calibration.points],
        refused=refused,
    )


def threshold_row(point: Point) -> Row:
    """A threshold in words and numbers."""
    what, cost, scale, counted = WISHES[point.wish]
    basis = f"{point.counted:,} {counted}, {point.people:,} people"
    if point.gallery_size:
        basis += f", {point.gallery_size:,} people enrolled"
    if point.at_fmr:
        basis += f", pairs judged at FMR {point.at_fmr:g}"
    digits = 4 if point.wish in ("fmr", "fpir") else 3
    return Row(
        what,
        f"{point.wished:g}",
        f"{scale} {point.threshold:.{digits}f}",
        _between(*(f"{end:.{digits}f}" for end in (point.threshold_low, point.threshold_high))),
        f"{point.rate:.3g}",
        _between(f"{point.rate_low:.3g}", f"{point.rate_high:.3g}"),
        f"{cost}: {percent(point.cost)}" if np.isfinite(point.cost) else "–",
        f"{percent(point.cost_low)} – {percent(point.cost_high)}" if np.isfinite(point.cost_low) else "",
        basis,
    )


def _between(low: str, high: str) -> str:
    """An interval; an end that is not known is said to be so."""
    return " – ".join("not known" if end == "nan" else end for end in (low, high))
