"""The cluster map: embeddings of a searched pool laid flat."""

import re
from typing import Final

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

from vlrface.report.inputs import Projection, SearchedPool
from vlrface.report.svg import Drawing, Ink, LegendEntry, css, draw
from vlrface.types import VlrfaceError
from vlrface.unrecognizable import Discovery

MAX_POINTS: Final = 3000
_MAX_DESTROYED: Final = 400
_WIDTH, _HEIGHT = 620, 460
_STANDALONE: Final = {
    "currentColor": "#222",
    "var(--muted)": "#777",
    "var(--grid)": "#ddd",
    "var(--surface)": "#fff",
    "var(--verdict-0)": "#2a7f62",
    "var(--verdict-1)": "#d0a128",
    "var(--verdict-2)": "#b3403a",
}


def cluster_map(found: Discovery, pool: SearchedPool, projection: Projection, seed: int) -> Drawing:
    """Faces as dots, those found and those not, and destroyed pictures as crosses.

    Args:
        found: scores decide the colours.
        pool: at most 3,000 of its faces and 400 destroyed pictures are shown, drawn by the seed.
        projection: "pca", two principal components of the unit embeddings shown; "tsne", neighbours stay neighbours,
            but distances between groups mean nothing.
        seed: of the draw, and of t-SNE.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(np.flatnonzero(np.isfinite(found.scores)))[:MAX_POINTS])
    lost = np.flatnonzero(np.isfinite(pool.destroyed).all(axis=1))
    lost = np.sort(rng.permutation(lost)[:_MAX_DESTROYED])
    flat = _flat(np.concatenate([pool.embeddings[rows], pool.destroyed[lost]]), projection, seed)
    faces, crosses = flat[: len(rows)], flat[len(rows) :]
    is_found = found.found[rows]

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
        axes.scatter(*faces[~is_found].T, s=7, color=Ink.VERDICT[0], alpha=0.75, linewidths=0)
        axes.scatter(*crosses.T, s=12, color=Ink.MUTED, alpha=0.7, marker="x", linewidths=0.7)
        axes.scatter(*faces[is_found].T, s=7, color=Ink.VERDICT[2], alpha=0.75, linewidths=0)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines["bottom"].set_visible(False)

    label = (
        f"Map of {len(rows):,} faces, {int(is_found.sum()):,} of them found unrecognizable, and of {len(lost):,} "
        "destroyed pictures"
    )
    how = "two principal components" if projection == "pca" else "t-SNE"
    return Drawing(
        draw(paint, ident="map", label=label, width=_WIDTH, height=_HEIGHT),
        (
            LegendEntry("found unrecognizable", css(Ink.VERDICT[2]), "dot"),
            LegendEntry("other faces", css(Ink.VERDICT[0]), "dot"),
            LegendEntry("destroyed pictures", css(Ink.MUTED), "cross"),
        ),
        (f"{label}; {how} of the normalised embeddings.",),
    )


def _flat(embeddings: Float[ndarray, "n d"], projection: Projection, seed: int) -> Float[ndarray, "n 2"]:
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    unit = embeddings / np.maximum(lengths, np.finfo(np.float64).tiny)
    if projection == "tsne":
        try:
            from sklearn.manifold import TSNE
        except ImportError as error:
            raise VlrfaceError('t-SNE needs scikit-learn: pip install "vlrface[cluster]"') from error
        perplexity = min(30.0, max(1.0, (len(unit) - 1) / 3))
        made = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, metric="cosine").fit_transform(unit)
        return np.asarray(made, np.float64)
    centred = unit - unit.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    # The sign of a component means nothing; fixed, so that the same faces give the same map.
    components = axes[:, :-3:-1]
    components = components * np.sign(components[np.abs(components).argmax(axis=0), [0, 1]])
    return centred @ components


def standalone(svg: str) -> str:
    """A figure of a page as a file of its own: with name space, background, and colours instead of the page's."""
    for inside, plain in _STANDALONE.items():
        svg = svg.replace(inside, plain)
    background = f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    return re.sub(r"^<svg ([^>]*)>", rf'<svg xmlns="http://www.w3.org/2000/svg" \1>{background}', svg) + "\n"
