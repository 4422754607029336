"""Figures for a paper that show faces: histogram with faces under it, map of embeddings, attention over faces."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from jaxtyping import UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy import ndarray

from vlrface.images.resize import resize
from vlrface.report import wording
from vlrface.report.crops import FACES_PER_BIN, THUMBNAIL, bins, spaced, tinted
from vlrface.report.distributions import Histogram, connect, histogram, histogram_caption, paint_histogram
from vlrface.report.flat_map import CENTER, TONES, UNRECOGNIZABLE, FlatMap, flat_map, paint_map
from vlrface.report.inputs import Attention, Illustrations, Pictures
from vlrface.report.plate import COLUMN_INCHES, MUTED, PAGE_INCHES, Plate, plain, sentences
from vlrface.report.svg import Palette

# Unlike those of a page these grow lighter from hard to easy, so that they differ in grey.
_PALETTE: Final = Palette("black", MUTED, "white", ("#440154", "#3b528b", "#21908d", "#5dc863", "#dfd02c"), 8.0, plain)
_AXIS_INCHES: Final = 0.24  # under the bars, for their numbers
_AREAS_INCHES: Final = 0.3
_FOOT_INCHES: Final = 0.4
_PAIRS: Final = 8  # in a row


def illustrated(shown: Illustrations, facts: Sequence[str]) -> Iterator[Plate]:
    """The figures that what is at hand allows, each with its caption.

    Args:
        shown: faces, embeddings, attention.
        facts: sentences that end every caption.
    """
    found = None if shown.pictures is None else histogram(shown.pictures)
    if shown.pictures is not None and found is not None:
        yield _histogram_plate(shown.pictures, found, facts)
    flat = None if shown.embedding_map is None else flat_map(shown.embedding_map)
    if flat is not None:
        yield _map_plate(flat, facts)
    if shown.attention is not None and len(shown.attention.maps):
        yield _attention_plate(shown.attention, facts)


def _histogram_plate(pictures: Pictures, found: Histogram, facts: Sequence[str]) -> Plate:
    caption = sentences(["Recognizability of the faces.", histogram_caption(pictures), *found.notes, *facts])
    name = "recognizability_histogram"
    if not len(pictures.crops):
        return Plate(name, caption, 2.05, lambda figure: _bars_alone(figure, found))
    columns = bins(pictures.recognizability)
    side = PAGE_INCHES / len(columns) * 0.92  # 4 % aside: the areas above end at the same places
    rows = min(FACES_PER_BIN, len(columns[0]))
    faces = rows * 0.95 * side + 0.05 * side
    bars = 1.6
    total = bars + _AXIS_INCHES + _AREAS_INCHES + faces + _FOOT_INCHES

    def paint(figure: Figure) -> None:
        ground = (_AREAS_INCHES + faces + _FOOT_INCHES) / total
        axes = figure.add_axes((0.0, ground + _AXIS_INCHES / total, 1.0, bars / total))
        paint_histogram(axes, found, _PALETTE)
        axes.tick_params(colors=MUTED)
        axes.tick_params(axis="y", length=0.0)
        axes.spines["left"].set_visible(False)
        figure.text(1.0, 1.0 - 0.13 / total, "faces", ha="right", va="baseline", fontsize=7.0, color=MUTED)
        connect(figure, found.edges, ground, ground - _AREAS_INCHES / total, _PALETTE)
        for k, each in enumerate(columns):
            box = ((k + 0.04) / len(columns), _FOOT_INCHES / total, 0.92 / len(columns), faces / total)
            tone = _PALETTE.ramp[5 * k // len(columns)]
            _column(figure, [pictures.crops[int(row)] for row in spaced(each)], box, tone, rows)
            median = plain(f"{np.median(pictures.recognizability[each]):.2f}")
            figure.text(box[0] + box[2] / 2, 0.24 / total, median, ha="center", va="baseline", fontsize=8.0)
        for x, words, align in (
            (0.0, "← hard", "left"),
            (0.5, "median recognizability index of each tenth of the faces", "center"),
            (1.0, "easy →", "right"),
        ):
            figure.text(x, 0.05 / total, words, ha=align, va="baseline", fontsize=8.0, color=MUTED)

    return Plate(name, caption, total, paint, wide=True)


def _bars_alone(figure: Figure, found: Histogram) -> None:
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    axes = figure.add_subplot()
    paint_histogram(axes, found, _PALETTE)
    axes.set_xlabel("recognizability index")


def _column(
    figure: Figure,
    faces: Sequence[UInt8[ndarray, "_ _ 3"]],
    box: tuple[float, float, float, float],
    tone: str,
    rows: int,
) -> None:
    """Faces under one another, cut to squares, on a ground of the colour of their bars."""
    axes = figure.add_axes(box)
    axes.set_axis_off()
    # One column is 1 wide: five hundredths between and around faces of nine tenths.
    height = 0.95 * rows + 0.05
    axes.add_patch(Rectangle((0.0, 0.0), 1.0, height, facecolor=tone, alpha=0.3, linewidth=0.0, zorder=-1.0))
    for row, face in enumerate(faces):
        top = height - 0.05 - 0.95 * row
        _picture(axes, _square(face, THUMBNAIL), (0.05, 0.95, top - 0.9, top))
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, height)


def _picture(axes: Axes, picture: UInt8[ndarray, "_ _ 3"], extent: tuple[float, float, float, float]) -> None:
    """A picture with its own pixels: whoever shows the file enlarges them."""
    axes.imshow(picture, extent=extent, interpolation="none", aspect="auto")


def _square(picture: UInt8[ndarray, "h w 3"], longest: int) -> UInt8[ndarray, "s s 3"]:
    """The middle of a picture, shrunk to at most so many pixels."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = picture[top : top + side, left : left + side]
    return resize(middle, longest, longest) if side > longest else middle


def _map_plate(flat: FlatMap, facts: Sequence[str]) -> Plate:
    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
        axes = figure.add_subplot()
        paint_map(axes, flat, _PALETTE, dot=2.6)
        axes.set_ylabel(plain(flat.axes[1]))
        figure.legend(handles=_keys(flat), loc="outside lower center", ncols=2, columnspacing=1.2, labelspacing=0.25,
                      handlelength=1.2, borderaxespad=0.1)  # fmt: skip

    caption = sentences(["Embeddings of the faces.", flat.caption, *flat.notes, *facts])
    return Plate("embedding_map", caption, COLUMN_INCHES + 0.55, paint)


def _keys(flat: FlatMap) -> list[Line2D]:
    inks = zip(TONES, _PALETTE.ramp, strict=True)
    keys = [Line2D([], [], linestyle="", marker="o", markersize=4, color=ink, label=name) for name, ink in inks]
    if len(flat.unrecognizable):
        keys.append(Line2D([], [], marker="x", markersize=3.5, linestyle="", color=_PALETTE.text, label=UNRECOGNIZABLE))
    if flat.center is not None:
        keys.append(Line2D([], [], marker="*", markersize=7, linestyle="", color=_PALETTE.text, label=CENTER))
    return keys


def _attention_plate(attention: Attention, facts: Sequence[str]) -> Plate:
    shown, scale = tinted(attention)
    columns = min(len(shown), _PAIRS)
    rows = -(-len(shown) // columns)
    side = PAGE_INCHES / _PAIRS
    texts = any(attention.captions)
    pair = 2 * 0.96 * side + (0.2 if texts else 0.06)
    total = rows * pair + 0.3

    def paint(figure: Figure) -> None:
        for place, overlay in enumerate(shown):
            row, column = divmod(place, columns)
            x, top = column * side / PAGE_INCHES, 1.0 - row * pair / total
            size = (0.96 * side / PAGE_INCHES, 0.96 * side / total)
            for below, picture in enumerate((attention.faces[place], overlay)):
                axes = figure.add_axes((x, top - (below + 1) * size[1], *size))
                axes.set_axis_off()
                _picture(axes, picture, (0.0, 1.0, 0.0, 1.0))
            if texts:
                figure.text(x + size[0] / 2, top - 2 * size[1] - 0.12 / total, plain(attention.captions[place]),
                            ha="center", va="baseline", fontsize=8.0, parse_math=False)  # fmt: skip
        _scale(figure, scale, total)

    caption = (
        "Each face, and below it in grey under the attention of the network: yellow counts most, violet least. One "
        "scale serves all of them, from the lowest to the highest attention shown."
    )
    return Plate("attention", sentences(["Attention over the faces.", caption, *facts]), total, paint, wide=True)


def _scale(figure: Figure, ends: tuple[float, float], total: float) -> None:
    """The colours of the attention, its ends named."""
    low, high = (plain(wording.number(end)) for end in ends)
    axes = figure.add_axes((0.4, 0.08 / total, 0.2, 0.09 / total))
    axes.set_axis_off()
    steps = np.asarray(colormaps["inferno"](np.linspace(0.0, 1.0, 64)))[None, :, :3]
    axes.imshow((255 * steps).round().astype(np.uint8), aspect="auto", interpolation="none")
    figure.text(0.39, 0.08 / total, f"attention {low}", ha="right", va="baseline", fontsize=8.0)
    figure.text(0.61, 0.08 / total, high, ha="left", va="baseline", fontsize=8.0)
