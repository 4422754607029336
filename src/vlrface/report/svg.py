"""From a matplotlib figure to an SVG that lives inside a page: it takes its colours and fonts from the page's style.

matplotlib cannot write `currentColor` or a CSS variable, so figures are drawn with reserved colours (`Ink`), which are
replaced in the text of the SVG. That is what lets one figure serve a light page, a dark page and paper.
"""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import matplotlib as mpl
from matplotlib.figure import Figure

Mark = Literal["line", "dashed", "dotted", "dashdot", "area", "dot", "cross", "star"]


class Ink:
    """Reserved colours, which no figure uses for themselves; `css` says what each becomes."""

    TEXT: Final = "#010101"
    MUTED: Final = "#010102"
    GRID: Final = "#010103"
    SURFACE: Final = "#010104"
    SERIES: Final = tuple(f"#0102{i:02x}" for i in range(8))  # lines of one figure
    RAMP: Final = tuple(f"#0103{i:02x}" for i in range(5))  # recognizability, from hard to easy
    VERDICT: Final = tuple(f"#0104{i:02x}" for i in range(3))  # recognizable, doubtful, unrecognizable


@dataclass(frozen=True)
class Palette:
    """What a drawing that serves pages and papers is drawn with.

    Attributes:
        text: colour of texts and of what is drawn over all else.
        muted: colour of what stands back.
        surface: colour of the ground.
        ramp: five colours of recognizability, from hard to easy.
        size: of the type inside the drawing, in points.
        words: applied to every text.
    """

    text: str
    muted: str
    surface: str
    ramp: tuple[str, ...]
    size: float
    words: Callable[[str], str] = str


PAGE: Final = Palette(Ink.TEXT, Ink.MUTED, Ink.SURFACE, Ink.RAMP, 11.0)

_CSS: Final[dict[str, str]] = {
    Ink.TEXT: "currentColor",
    Ink.MUTED: "var(--muted)",
    Ink.GRID: "var(--grid)",
    Ink.SURFACE: "var(--surface)",
    **{ink: f"var(--series-{i})" for i, ink in enumerate(Ink.SERIES)},
    **{ink: f"var(--ramp-{i})" for i, ink in enumerate(Ink.RAMP)},
    **{ink: f"var(--verdict-{i})" for i, ink in enumerate(Ink.VERDICT)},
}


def css(ink: str) -> str:
    """The CSS colour that a reserved colour becomes."""
    return _CSS[ink]


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend, which the page sets beside the figure so that it can wrap."""

    name: str
    colour: str
    mark: Mark


@dataclass(frozen=True)
class Drawing:
    """A figure for a page.

    Attributes:
        svg: `<svg>` element, safe to set into HTML as it is.
        legend: what the colours and strokes mean; empty for a figure that needs none.
        notes: what was left out of the drawing or added to it, in sentences for the caption.
        beside: whether it needs the width of the page, with its long legend beside it.
    """

    svg: str
    legend: tuple[LegendEntry, ...] = ()
    notes: tuple[str, ...] = ()
    beside: bool = False


_STYLE: Final[dict[str, object]] = {
    "svg.fonttype": "none",  # text stays text: the page's own font, searchable, small
    "svg.hashsalt": "vlrface",  # the same figure gives the same bytes
    "font.size": 10.0,
    "font.family": "sans-serif",
    "text.color": Ink.TEXT,
    "text.usetex": False,
    "text.parse_math": False,  # a "$" in a name is a "$"
    "axes.edgecolor": Ink.MUTED,
    "axes.labelcolor": Ink.TEXT,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": Ink.GRID,
    "grid.linewidth": 0.8,
    "grid.linestyle": "-",
    "xtick.color": Ink.MUTED,
    "xtick.labelcolor": Ink.MUTED,
    "ytick.color": Ink.MUTED,
    "ytick.labelcolor": Ink.MUTED,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "xtick.major.size": 3.0,
    "xtick.minor.size": 0.0,
    "ytick.major.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.bbox": None,
    "patch.linewidth": 0.0,
}


def draw(paint: Callable[[Figure], None], *, ident: str, label: str, width: int, height: int) -> str:
    """Paint a figure and give it as an SVG element for a page.

    The matplotlib settings are changed while this runs and are then as before; two threads must not draw at once.

    Args:
        paint: draws on the empty figure, with colours of `Ink` only.
        ident: prefix of every id in the SVG; unique in the page, letters, digits and hyphens.
        label: what a screen reader says in place of the picture.
        width: of the drawing in CSS pixels at scale 1; the page scales it to the column.
        height: likewise.

    Returns:
        An `<svg>` element without fixed size, style sheet, metadata or name spaces.
    """
    with mpl.rc_context(_STYLE), warnings.catch_warnings():  # pyright: ignore[reportArgumentType]
        # The page's own type has what matplotlib's lacks; only the width of such a text is guessed.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        paint(figure)
        buffer = io.StringIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=no_metadata)
    return _for_page(buffer.getvalue(), ident, label, width, height)


def _for_page(svg: str, ident: str, label: str, width: int, height: int) -> str:
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # its `*` rule would reach the whole page
    body = body.replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda m: f' id="{ident}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{ident}-", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r"#01[0-9a-f]{4}\b", lambda m: _CSS.get(m[0], m[0]), body)
    body = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", body)
    body = re.sub(r'\b(d|x|y|points)="([^"]*)"', _rounded, body)
    body = re.sub(r">\s+<", "><", body)
    body = re.sub(r"<defs>\s*</defs>", "", body)
    opening = f'<svg class="plot" role="img" aria-label="{_attribute(label)}" viewBox="0 0 {width} {height}">'
    return opening + body.strip()


def _rounded(found: re.Match[str]) -> str:
    numbers = re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), found[2])
    return f'{found[1]}="{" ".join(numbers.split())}"'


def _attribute(text: str) -> str:
    for character, entity in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    return text
