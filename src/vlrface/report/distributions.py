"""Histograms of the recognizability index and of scores, and the flat map of embeddings."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

from vlrface.report.crops import bins
from vlrface.report.inputs import VERDICTS, EmbeddingMap, Pictures
from vlrface.report.svg import Drawing, Ink, LegendEntry, css, draw

BARS: Final = 48
MAX_POINTS: Final = 2000
MAX_UNRECOGNIZABLE: Final = 500
_TONES: Final = ("hardest fifth", "hard", "middle", "easy", "easiest fifth")


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
    finite = pictures.recognizability[np.isfinite(pictures.recognizability)].astype(np.float64)
    if not len(finite):
        return None
    parts = bins(pictures.recognizability)
    tenths = [float(pictures.recognizability[rows[0]]) for rows in parts[1:]]
    low, high, beyond = _range(finite, pictures.unrecognizable)
    notes: list[str] = []
    lost = len(pictures.recognizability) - len(finite)
    if lost:
        notes.append(f"Faces without an index, as those that could not be encoded: {lost:,}.")
    if beyond:
        notes.append(f"The outermost bars count what lies beyond the ends of the axis, too: {beyond:,}.")
    size = (840, 230) if wide else (380, 230)
    reject = float(np.quantile(finite, pictures.reject_share))

    def paint(figure: Figure) -> None:
        foot = 54 / size[1] if len(pictures.crops) else 22 / size[1]
        axes = figure.add_axes((0.0, foot, 1.0, 1.0 - foot))
        _bars(axes, finite, tenths, low, high)
        if pictures.unrecognizable is not None:
            _unrecognizable_band(axes, *pictures.unrecognizable)
        _rejection_line(axes, reject, f"hardest {100 * pictures.reject_share:g}\u202f% refused")
        if len(pictures.crops):
            edges = [low, *tenths, high]
            _connectors(figure, [float(np.clip((e - low) / (high - low), 0, 1)) for e in edges], size[1])

    label = (
        f"Histogram of the recognizability index of {len(finite):,} faces, from {finite.min():.2f} to "
        f"{finite.max():.2f}, median {np.median(finite):.2f}; the lowest {100 * pictures.reject_share:g} % lie below "
        f"{reject:.2f}"
    )
    svg = draw(paint, ident=ident, label=label, width=size[0], height=size[1])
    return Drawing(svg, notes=tuple(notes))


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


def _bars(axes: Axes, values: Float[ndarray, " n"], tenths: Sequence[float], low: float, high: float) -> None:
    edges = np.linspace(low, high, BARS + 1)
    counts, _ = np.histogram(values.clip(low, high), edges)
    middles = (edges[:-1] + edges[1:]) / 2
    tone = np.searchsorted(np.asarray(tenths), middles, side="right") * len(Ink.RAMP) // (len(tenths) + 1)
    colours = [Ink.RAMP[min(int(t), len(Ink.RAMP) - 1)] for t in tone]
    axes.bar(middles, counts, width=0.86 * (edges[1] - edges[0]), color=colours)
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1.3 * counts.max())
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(6, prune="both"))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_yticklabels([])
    for tick in axes.get_yticks():
        if 0 < tick < 1.05 * counts.max():
            axes.text(1.0, tick, f"{tick:,.0f} ", transform=axes.get_yaxis_transform(), color=Ink.MUTED,
                      fontsize=10, ha="right", va="bottom")  # fmt: skip
    axes.spines["bottom"].set_color(Ink.MUTED)


def _unrecognizable_band(axes: Axes, mean: float, deviation: float) -> None:
    low, high = axes.get_xlim()
    if not (np.isfinite(mean) and np.isfinite(deviation)):
        return
    axes.axvspan(max(mean - deviation, low), min(mean + deviation, high), color=Ink.MUTED, alpha=0.22, zorder=0.5)
    if low <= mean <= high:
        axes.axvline(mean, color=Ink.MUTED, linewidth=1.0)
    _label(axes, min(max(mean, low), high), "unrecognizable", Ink.MUTED, row=0)


def _rejection_line(axes: Axes, at: float, text: str) -> None:
    axes.axvline(at, ymax=0.9, color=Ink.TEXT, linewidth=1.4, linestyle=(0, (4.0, 2.0)))
    _label(axes, at, text, Ink.TEXT, row=1)


def _label(axes: Axes, at: float, text: str, ink: str, *, row: int) -> None:
    """A text at the top of the axes, beside a position, on the side with more room."""
    low, high = axes.get_xlim()
    right = (at - low) / (high - low) < 0.5
    axes.annotate(
        text,
        (at, 0.99 - 0.115 * row),
        xycoords=axes.get_xaxis_transform(),
        xytext=(5 if right else -5, 0),
        textcoords="offset points",
        color=ink,
        fontsize=11,
        ha="left" if right else "right",
        va="top",
        parse_math=False,
    )


def _connectors(figure: Figure, edges: Sequence[float], height: int) -> None:
    """Areas from each tenth of the axis down to its column of faces."""
    count = len(edges) - 1
    for k in range(count):
        corners = [
            (edges[k], 34 / height),
            (edges[k + 1], 34 / height),
            ((k + 0.96) / count, 0),
            ((k + 0.04) / count, 0),
        ]
        figure.add_artist(
            Polygon(corners, transform=figure.transFigure, color=Ink.RAMP[5 * k // count], alpha=0.3, linewidth=0.0)
        )


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


def embedding_figure(given: EmbeddingMap, *, ident: str) -> Drawing | None:
    """Map of the embeddings on their first two principal components, coloured by recognizability.

    The components are those of the points that are drawn, unrecognizable identities included, after normalising each
    embedding. Each axis is turned so that the unrecognizable identities (or else the hard faces) lie to its low end.

    Returns:
        The drawing, or None with fewer than three faces or fewer than two dimensions.
    """
    usable = np.flatnonzero(np.isfinite(given.embeddings).all(axis=1) & np.isfinite(given.recognizability))
    rows = usable[np.linspace(0, len(usable) - 1, min(len(usable), MAX_POINTS)).round().astype(int)]
    if len(rows) < 3 or given.embeddings.shape[1] < 2:
        return None
    others = given.unrecognizable[np.isfinite(given.unrecognizable).all(axis=1)]
    others = others[np.linspace(0, len(others) - 1, min(len(others), MAX_UNRECOGNIZABLE)).round().astype(int)]
    index = given.recognizability[rows]
    faces, unrecognizable, center, shares = _project(given.embeddings[rows], others, given.center, index)
    tone = np.empty(len(rows), np.int64)
    tone[np.argsort(index, kind="stable")] = np.arange(len(rows)) * len(Ink.RAMP) // len(rows)

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.04)
        axes = figure.add_subplot()
        for k, ink in reversed(list(enumerate(Ink.RAMP))):
            _dots(axes, faces[tone == k], ink)
        _crosses(axes, unrecognizable)
        if center is not None:
            axes.plot(*center, marker="*", markersize=13, color=Ink.TEXT, markeredgecolor=Ink.SURFACE,
                      markeredgewidth=1.0, linestyle="")  # fmt: skip
        axes.autoscale_view()
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel(f"first principal component ({100 * shares[0]:.1f}\u202f% of the variance)")
        axes.set_title(f"second principal component ({100 * shares[1]:.1f}\u202f%)", loc="left", fontsize=10,
                       color=Ink.TEXT, pad=7)  # fmt: skip

    legend = [LegendEntry(name, css(ink), "dot") for name, ink in zip(_TONES, Ink.RAMP, strict=True)]
    legend += [LegendEntry("unrecognizable identities", "currentColor", "cross")] if len(others) else []
    legend += [LegendEntry("their centre", "currentColor", "star")] if center is not None else []
    label = f"Map of {len(rows):,} face embeddings and {len(others):,} unrecognizable ones on two principal components"
    svg = draw(paint, ident=ident, label=label, width=360, height=330)
    notes = (f"{len(rows):,} of {len(usable):,} faces are drawn, evenly chosen.",) if len(rows) < len(usable) else ()
    return Drawing(svg, tuple(legend), notes)


def _project(
    embeddings: Float[ndarray, "n d"],
    others: Float[ndarray, "m d"],
    center: Float[ndarray, " d"] | None,
    index: Float[ndarray, " n"],
) -> tuple[Float[ndarray, "n 2"], Float[ndarray, "m 2"], Float[ndarray, " 2"] | None, tuple[float, float]]:
    points = np.concatenate([embeddings, others]).astype(np.float64)
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    mean = points.mean(axis=0)
    _, singular, axes = np.linalg.svd(points - mean, full_matrices=False)
    plane = axes[:2]
    flat = (points - mean) @ plane.T
    n = len(embeddings)
    hard = flat[n:] if len(others) else flat[:n][index <= np.median(index)]
    turn = np.where(hard.mean(axis=0) > flat[:n].mean(axis=0), -1.0, 1.0)
    total = max(float((singular**2).sum()), 1e-12)
    shares = (float(singular[0] ** 2) / total, float(singular[1] ** 2) / total)
    unit = None if center is None else center / max(float(np.linalg.norm(center)), 1e-12)
    middle = None if unit is None else turn * ((unit - mean) @ plane.T)
    return turn * flat[:n], turn * flat[n:], middle, shares


def _dots(axes: Axes, points: Float[ndarray, "k 2"], ink: str) -> None:
    """Dots as strokes of no length with round ends: one short path instead of an element for every point."""
    vertices = np.repeat(points, 2, axis=0)
    _strokes(axes, vertices, ink, width=3.4, alpha=0.75)


def _crosses(axes: Axes, points: Float[ndarray, "k 2"]) -> None:
    if not len(points):
        return
    axes.plot(points[:, 0], points[:, 1], marker="x", markersize=3.4, markeredgewidth=0.9, color=Ink.TEXT,
              linestyle="", alpha=0.8)  # fmt: skip


def _strokes(axes: Axes, vertices: Float[ndarray, "k 2"], ink: str, *, width: float, alpha: float) -> None:
    if not len(vertices):
        return
    codes = np.tile(np.array([Path.MOVETO, Path.LINETO], Path.code_type), len(vertices) // 2)
    path = Path(vertices, codes)
    path.should_simplify = False
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=ink, linewidth=width, capstyle="round", alpha=alpha))
    axes.update_datalim(vertices)
