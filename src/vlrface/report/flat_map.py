"""The flat map of embeddings, coloured by recognizability."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
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
_CAPTIONS: Final = {
    True: (
        "Each point is the embedding of a face. From left to right: its distance from the centre of the unrecognizable "
        "identities; upwards: the direction in which faces differ most beside that. Where the network knows what it "
        "cannot recognise, the hardest faces lie far left, the easiest far right."
    ),
    False: (
        "Each point is the embedding of a face, on the two directions in which all of them differ most; near points "
        "look alike to the network."
    ),
}


@dataclass(frozen=True, eq=False)
class FlatMap:
    """Embeddings on two directions.

    Attributes:
        faces: positions of the faces that are drawn.
        tone: of each face, its fifth by recognizability, 0 the hardest.
        unrecognizable: positions of the unrecognizable identities.
        center: position of their centre, or None.
        shares: of the variance that each direction holds.
        notes: what is left out.
    """

    faces: Float[ndarray, "n 2"]
    tone: Int[ndarray, " n"]
    unrecognizable: Float[ndarray, "m 2"]
    center: Float[ndarray, " 2"] | None
    shares: tuple[float, float]
    notes: tuple[str, ...]

    @property
    def axes(self) -> tuple[str, str]:
        """Names of the two directions, with their shares of the variance."""
        of = [f"({100 * share:.1f}\u202f%)" for share in self.shares]
        if self.center is None:
            return f"first principal component {of[0]}", f"second principal component {of[1]}"
        return f"distance from the centre, 1 − cosine {of[0]}", f"first component beside it {of[1]}"

    @property
    def caption(self) -> str:
        """What the map shows and how to read it."""
        return f"{_CAPTIONS[self.center is not None]} In brackets: the share of the variance."


def flat_map(given: EmbeddingMap) -> FlatMap | None:
    """Lay embeddings flat, each normalised before.

    With a centre of the unrecognizable identities, the horizontal position is the distance d_UI = 1 - cosine from it,
    and the vertical one the first principal component of what is orthogonal to it. (The two first principal components
    of all need not show that distance at all: people differ in more ways than in how recognizable they are.) Without,
    both are principal components. Components are those of the points that are drawn, unrecognizable identities
    included, turned so that these (or else the hard faces) lie to the low end.

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
    axes.set_xlabel(palette.words(flat.axes[0]))


def embedding_figure(given: EmbeddingMap, *, ident: str) -> Drawing | None:
    """Map of the embeddings, coloured by recognizability, for a page; see `flat_map`."""
    flat = flat_map(given)
    if flat is None:
        return None

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.04)
        axes = figure.add_subplot()
        paint_map(axes, flat, PAGE, dot=3.4)
        axes.set_title(flat.axes[1], loc="left", fontsize=10, color=Ink.TEXT, pad=7)

    legend = [LegendEntry(name, css(ink), "dot") for name, ink in zip(TONES, Ink.RAMP, strict=True)]
    lost = len(flat.unrecognizable)
    legend += [LegendEntry(UNRECOGNIZABLE, "currentColor", "cross")] if lost else []
    legend += [LegendEntry(CENTER, "currentColor", "star")] if flat.center is not None else []
    over = " and ".join(flat.axes)
    label = f"Map of {len(flat.faces):,} face embeddings and {lost:,} unrecognizable ones: {over}"
    svg = draw(paint, ident=ident, label=label, width=360, height=330)
    return Drawing(svg, tuple(legend), (flat.caption, *flat.notes))


def _project(
    embeddings: Float[ndarray, "n d"],
    others: Float[ndarray, "m d"],
    center: Float[ndarray, " d"] | None,
    index: Float[ndarray, " n"],
) -> tuple[Float[ndarray, "n 2"], Float[ndarray, "m 2"], Float[ndarray, " 2"] | None, tuple[float, float]]:
    points = np.concatenate([embeddings, others]).astype(np.float64)
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    total = max(float(points.var(axis=0).sum()), 1e-12)
    n = len(embeddings)
    hard = np.arange(len(points)) >= n if len(others) else index <= np.median(index)
    if center is None or np.linalg.norm(center) < 1e-12:
        flat, _ = _components(points, 2, hard)
        middle = None
    else:
        unit = center.astype(np.float64) / np.linalg.norm(center)
        cosine = points @ unit
        beside, mean = _components(points - cosine[:, None] * unit, 1, hard)
        flat = np.column_stack([1.0 - cosine, beside])
        middle = np.array([0.0, mean])
    shares = (float(flat[:, 0].var()) / total, float(flat[:, 1].var()) / total)
    return flat[:n], flat[n:], middle, shares


def _components(
    points: Float[ndarray, "n d"], count: int, low: Bool[ndarray, " n"]
) -> tuple[Float[ndarray, "n k"], float]:
    """Positions on principal components, `low` ones to the low end, and where the origin lies on the first."""
    mean = points.mean(axis=0)
    _, _, axes = np.linalg.svd(points - mean, full_matrices=False)
    flat = (points - mean) @ axes[:count].T
    turn = np.where(flat[low].mean(axis=0) > flat.mean(axis=0), -1.0, 1.0)
    return turn * flat, float(-turn[0] * (mean @ axes[0]))


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
