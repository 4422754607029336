"""Histograms of the recognizability index and of scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

from vlrface.report import wording
from vlrface.report.crops import bins
from vlrface.report.inputs import VERDICTS, Pictures
from vlrface.report.svg import PAGE, Drawing, Ink, LegendEntry, Palette, css, draw

BARS: Final = 48


@dataclass(frozen=True, eq=False)
class Histogram:
    """What a histogram of the index shows.

    Attributes:
        values: the indexes that are not NaN.
        tenths: nine values that cut the faces into ten equal parts; fewer for fewer faces.
        low: left end of the axis.
        high: right end.
        reject: the index below which the refused share lies.
        reject_share: that share.
        unrecognizable: mean and deviation of the unrecognizable identities, or None.
        notes: what is not drawn as it is.
    """

    values: Float[ndarray, " n"]
    tenths: tuple[float, ...]
    low: float
    high: float
    reject: float
    reject_share: float
    unrecognizable: tuple[float, float] | None
    notes: tuple[str, ...]

    @property
    def edges(self) -> list[float]:
        """Where each tenth of the faces begins and the last ends, as shares of the axis."""
        edges = [self.low, *self.tenths, self.high]
        return [float(np.clip((e - self.low) / (self.high - self.low), 0, 1)) for e in edges]


def histogram(pictures: Pictures) -> Histogram | None:
    """The histogram of the index of every face that has one; None when none has."""
    finite = pictures.recognizability[np.isfinite(pictures.recognizability)].astype(np.float64)
    if not len(finite):
        return None
    tenths = tuple(float(pictures.recognizability[rows[0]]) for rows in bins(pictures.recognizability)[1:])
    low, high, beyond = _range(finite, pictures.unrecognizable)
    notes: list[str] = []
    lost = len(pictures.recognizability) - len(finite)
    if lost:
        notes.append(f"Faces without an index, as those that could not be encoded: {lost:,}.")
    if beyond:
        notes.append(f"The outermost bars count what lies beyond the ends of the axis, too: {beyond:,}.")
    reject = float(np.quantile(finite, pictures.reject_share))
    return Histogram(
        finite, tenths, low, high, reject, pictures.reject_share, pictures.unrecognizable, tuple(notes)
    )  # fmt: skip


def histogram_caption(pictures: Pictures) -> str:
    """What the histogram shows and how to read it."""
    faces = len(pictures.recognizability)
    caption = f"How many of {faces:,} faces have which index; further right is easier to recognise."
    if len(pictures.crops):
        caption += " Each column shows faces of one tenth of all, from hard (left) to easy (right)."
    share = f"{100 * pictures.reject_share:g}\u202f%"
    caption += f" Dashed: faces to its left are the {share} that a rejection of {share} refuses."
    if pictures.unrecognizable is not None:
        mean, deviation = pictures.unrecognizable
        caption += (
            f" Grey band: the unrecognizable identities, mean {wording.number(mean)} ± deviation "
            f"{wording.number(deviation)}."
        )
    return caption


def paint_histogram(axes: Axes, found: Histogram, palette: Palette) -> None:
    """Draw bars, the band of the unrecognizable identities and the line of rejection on empty axes."""
    _bars(axes, found, palette)
    if found.unrecognizable is not None:
        _unrecognizable_band(axes, *found.unrecognizable, palette)
    axes.axvline(found.reject, ymax=0.9, color=palette.text, linewidth=0.13 * palette.size, linestyle=(0, (4.0, 2.0)))
    _label(axes, found.reject, f"hardest {100 * found.reject_share:g}\u202f% refused", palette.text, palette, row=1)


def recognizability_histogram(pictures: Pictures, *, ident: str, wide: bool) -> Drawing | None:
    """Histogram whose tenths run down into ten columns of equal width, under which the page sets faces.

    Drawn to the full width of the picture, so that the columns of the page meet it.

    Args:
        pictures: the index of every face, the rejection line, the band of the unrecognizable identities.
        ident: prefix of the ids in the SVG.
        wide: whether for a wide page or for a phone.

    Returns:
        The drawing, or None when no face has an index.
    """
    found = histogram(pictures)
    if found is None:
        return None
    size = (840, 230) if wide else (380, 230)

    def paint(figure: Figure) -> None:
        foot = 54 / size[1] if len(pictures.crops) else 22 / size[1]
        paint_histogram(figure.add_axes((0.0, foot, 1.0, 1.0 - foot)), found, PAGE)
        if len(pictures.crops):
            connect(figure, found.edges, 34 / size[1], 0.0, PAGE)

    values = found.values
    label = (
        f"Histogram of the recognizability index of {len(values):,} faces, from {values.min():.2f} to "
        f"{values.max():.2f}, median {np.median(values):.2f}; the lowest {100 * found.reject_share:g} % lie below "
        f"{found.reject:.2f}"
    )
    svg = draw(paint, ident=ident, label=label, width=size[0], height=size[1])
    return Drawing(svg, notes=found.notes)


def _range(values: Float[ndarray, " n"], band: tuple[float, float] | None) -> tuple[float, float, int]:
    """Ends of the axis, and how many values lie beyond: a few far ones must not squeeze all others into one bar."""
    inner_low, inner_high = (float(v) for v in np.quantile(values, (0.005, 0.995)))
    room = 0.25 * (inner_high - inner_low) or 0.5
    low, high = max(float(values.min()), inner_low - room), min(float(values.max()), inner_high + room)
    if band is not None and np.isfinite(band).all():
        span = (high - low) or 1.0
        low = max(min(low, band[0] - band[1]), low - 2 * span)
        high = min(max(high, band[0] + band[1]), high + 2 * span)
    margin = 0.02 * (high - low) or 0.5
    beyond = int(((values < low) | (values > high)).sum())
    return low - margin, high + margin, beyond


def _bars(axes: Axes, found: Histogram, palette: Palette) -> None:
    edges = np.linspace(found.low, found.high, BARS + 1)
    counts, _ = np.histogram(found.values.clip(found.low, found.high), edges)
    middles = (edges[:-1] + edges[1:]) / 2
    tones = len(palette.ramp)
    tone = np.searchsorted(np.asarray(found.tenths), middles, side="right") * tones // (len(found.tenths) + 1)
    colours = [palette.ramp[min(int(t), tones - 1)] for t in tone]
    axes.bar(middles, counts, width=0.86 * (edges[1] - edges[0]), color=colours)
    axes.set_xlim(found.low, found.high)
    axes.set_ylim(0, 1.3 * counts.max())
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(6, prune="both"))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_yticklabels([])
    for tick in axes.get_yticks():
        if 0 < tick < 1.05 * counts.max():
            axes.text(1.0, tick, f"{tick:,.0f} ", transform=axes.get_yaxis_transform(), color=palette.muted,
                      fontsize=palette.size - 1, ha="right", va="bottom")  # fmt: skip
    axes.spines["bottom"].set_color(palette.muted)


def _unrecognizable_band(axes: Axes, mean: float, deviation: float, palette: Palette) -> None:
    low, high = axes.get_xlim()
    if not (np.isfinite(mean) and np.isfinite(deviation)):
        return
    axes.axvspan(max(mean - deviation, low), min(mean + deviation, high), color=palette.muted, alpha=0.22, zorder=0.5)
    if low <= mean <= high:
        axes.axvline(mean, color=palette.muted, linewidth=1.0)
    _label(axes, min(max(mean, low), high), "unrecognizable", palette.muted, palette, row=0)


def _label(axes: Axes, at: float, text: str, ink: str, palette: Palette, *, row: int) -> None:
    """A text at the top of the axes, beside a position, on the side with more room."""
    low, high = axes.get_xlim()
    right = (at - low) / (high - low) < 0.5
    axes.annotate(
        palette.words(text),
        (at, 0.99 - 0.115 * row),
        xycoords=axes.get_xaxis_transform(),
        xytext=(5 if right else -5, 0),
        textcoords="offset points",
        color=ink,
        fontsize=palette.size,
        ha="left" if right else "right",
        va="top",
        parse_math=False,
    )


def connect(figure: Figure, edges: Sequence[float], top: float, bottom: float, palette: Palette) -> None:
    """Areas from each tenth of the axis down to its column of faces.

    Args:
        figure: whose whole width is the axis.
        edges: of the tenths, as shares of the axis.
        top: where the areas begin, as a share of the height.
        bottom: where they end.
        palette: their colours.
    """
    count = len(edges) - 1
    for k in range(count):
        corners = [
            (edges[k], top),
            (edges[k + 1], top),
            ((k + 0.96) / count, bottom),
            ((k + 0.04) / count, bottom),
        ]
        ink = palette.ramp[5 * k // count]
        figure.add_artist(Polygon(corners, transform=figure.transFigure, color=ink, alpha=0.3, linewidth=0.0))


def score_histogram(values: Mapping[str, Float[ndarray, " _"]], *, ident: str, wide: bool) -> Drawing | None:
    """Stacked histogram of calibrated scores in [0, 1] by verdict, for a wide page or a phone; None without any."""
    present = [verdict for verdict in reversed(VERDICTS) if len(values.get(verdict, ()))]
    if not present:
        return None
    edges = np.linspace(0.0, 1.0, 41)
    counts = {verdict: np.histogram(values[verdict], edges)[0] for verdict in present}
    inks = dict(zip(VERDICTS, Ink.VERDICT, strict=True))

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.04)
        axes = figure.add_subplot()
        floor = np.zeros(40)
        for verdict in present:
            axes.bar(edges[:-1] + 0.0125, counts[verdict], width=0.0215, bottom=floor, color=inks[verdict])
            floor = floor + counts[verdict]
        axes.set_xlim(0, 1)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel("score")
        axes.set_title("files", loc="left", fontsize=10, color=Ink.TEXT, pad=7)

    width = 760 if wide else 340
    total = sum(int(part.sum()) for part in counts.values())
    spoken = ", ".join(f"{int(counts[verdict].sum()):,} {verdict}" for verdict in present)
    svg = draw(
        paint, ident=ident, label=f"Histogram of the scores of {total:,} files: {spoken}", width=width, height=210
    )
    return Drawing(svg, tuple(LegendEntry(v, css(inks[v]), "area") for v in reversed(present)))
