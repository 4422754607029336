"""The flat map of embeddings: principal components, coloured by recognizability."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy import ndarray

from vlrface.report.inputs import EmbeddingMap
from vlrface.report.svg import PAGE, Drawing, Ink, LegendEntry, Palette, css, draw

MAX_POINTS: Final = 2000
MAX_UNRECOGNIZABLE: Final = 500
TONES: Final = ("hardest fifth", "hard", "middle", "easy", "easiest fifth")
UNRECOGNIZABLE: Final = "unrecognizable identities"
CENTER: Final = "their centre"
CAPTION: Final = (
    "Each point is the embedding of a face, on the two directions in which all of them differ most; near points look "
    "alike to the network. Where it knows what it cannot recognise, the hardest faces lie near the unrecognizable ones."
)


@dataclass(frozen=True, eq=False)
class FlatMap:
    """Embeddings on their first two principal components.

    Attributes:
        faces: positions of the faces that are drawn.
        tone: of each face, its fifth by recognizability, 0 the hardest.
        unrecognizable: positions of the unrecognizable identities.
        center: position of their centre, or None.
        shares: of the variance that each axis holds.
        notes: what is left out.
    """

    faces: Float[ndarray, "n 2"]
    tone: Int[ndarray, " n"]
    unrecognizable: Float[ndarray, "m 2"]
    center: Float[ndarray, " 2"] | None
    shares: tuple[float, float]
    notes: tuple[str, ...]


def flat_map(given: EmbeddingMap) -> FlatMap | None:
    """Lay embeddings flat.

    The components are those of the points that are drawn, unrecognizable identities included, after normalising each
    embedding. Each axis is turned so that the unrecognizable identities (or else the hard faces) lie to its low end.

    Returns:
        The map, or None with fewer than three faces or fewer than two dimensions.
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
    tone[np.argsort(index, kind="stable")] = np.arange(len(rows)) * len(TONES) // len(rows)
    notes = (f"{len(rows):,} of {len(usable):,} faces are drawn, evenly chosen.",) if len(rows) < len(usable) else ()
    return FlatMap(faces, tone, unrecognizable, center, shares, notes)


def paint_map(axes: Axes, flat: FlatMap, palette: Palette, *, dot: float) -> None:
    """Draw the points, hard faces over easy ones, and the unrecognizable identities over both, on empty axes.

    Args:
        axes: whose horizontal axis is named, too.
        flat: what is drawn.
        palette: colours, words.
        dot: width of a dot, in points.
    """
    for k, ink in reversed(list(enumerate(palette.ramp))):
        _dots(axes, flat.faces[flat.tone == k], ink, dot)
    if len(flat.unrecognizable):
        axes.plot(flat.unrecognizable[:, 0], flat.unrecognizable[:, 1], marker="x", markersize=dot,
                  markeredgewidth=0.26 * dot, color=palette.text, linestyle="", alpha=0.8)  # fmt: skip
    if flat.center is not None:
        axes.plot(*flat.center, marker="*", markersize=3.8 * dot, color=palette.text, markeredgecolor=palette.surface,
                  markeredgewidth=0.3 * dot, linestyle="")  # fmt: skip
    axes.autoscale_view()
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(palette.words(f"first principal component ({100 * flat.shares[0]:.1f}\u202f% of the variance)"))


def embedding_figure(given: EmbeddingMap, *, ident: str) -> Drawing | None:
    """Map of the embeddings on their first two principal components, coloured by recognizability; see `flat_map`."""
    flat = flat_map(given)
    if flat is None:
        return None

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.04)
        axes = figure.add_subplot()
        paint_map(axes, flat, PAGE, dot=3.4)
        axes.set_title(f"second principal component ({100 * flat.shares[1]:.1f}\u202f%)", loc="left", fontsize=10,
                       color=Ink.TEXT, pad=7)  # fmt: skip

    legend = [LegendEntry(name, css(ink), "dot") for name, ink in zip(TONES, Ink.RAMP, strict=True)]
    lost = len(flat.unrecognizable)
    legend += [LegendEntry(UNRECOGNIZABLE, "currentColor", "cross")] if lost else []
    legend += [LegendEntry(CENTER, "currentColor", "star")] if flat.center is not None else []
    label = f"Map of {len(flat.faces):,} face embeddings and {lost:,} unrecognizable ones on two principal components"
    svg = draw(paint, ident=ident, label=label, width=360, height=330)
    return Drawing(svg, tuple(legend), flat.notes)


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


def _dots(axes: Axes, points: Float[ndarray, "k 2"], ink: str, width: float) -> None:
    """Dots as strokes of no length with round ends: one short path instead of an element for every point."""
    vertices = np.repeat(points, 2, axis=0)
    if not len(vertices):
        return
    codes = np.tile(np.array([Path.MOVETO, Path.LINETO], Path.code_type), len(vertices) // 2)
    path = Path(vertices, codes)
    path.should_simplify = False
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=ink, linewidth=width, capstyle="round", alpha=0.75))
    axes.update_datalim(vertices)
