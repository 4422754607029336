"""One figure for a paper: its size, style, files and snippet, whatever it shows."""

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from vlrface.report.latex import escaped

COLUMN_INCHES: Final = 3.3
"""Width of one column of the usual two-column papers."""

PAGE_INCHES: Final = 6.9
"""Width of both columns."""

MUTED: Final = "#555555"
_STYLE: Final[Mapping[str, object]] = {
    "svg.fonttype": "path",
    "svg.hashsalt": "vlrface",
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    "font.family": ["STIXGeneral", "DejaVu Sans"],  # both come with matplotlib: the same on every machine
    "font.size": 8.0,
    "text.usetex": False,
    "text.parse_math": False,
    "text.color": "black",
    "axes.facecolor": "white",
    "axes.edgecolor": "black",
    "axes.labelcolor": "black",
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "grid.linestyle": "-",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": "black",
    "ytick.color": "black",
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": None,
    "savefig.dpi": 300,
    "patch.linewidth": 0.0,
    "lines.solid_capstyle": "butt",
}


@dataclass(frozen=True)
class Plate:
    """One figure before it is saved.

    Attributes:
        name: of its files, without suffix.
        caption: what it shows, how to read it, where it comes from.
        inches: its height.
        paint: draws it on an empty figure.
        wide: whether it takes both columns of a page.
    """

    name: str
    caption: str
    inches: float
    paint: Callable[[Figure], None]
    wide: bool = False

    @property
    def width(self) -> float:
        """In inches."""
        return PAGE_INCHES if self.wide else COLUMN_INCHES


def files(plate: Plate) -> dict[str, bytes]:
    """All files of a figure by suffix: the drawings, its caption, and a snippet that sets both."""
    texts = {".tex": _snippet(plate), ".txt": plate.caption + "\n"}
    return {**rendered(plate), **{suffix: text.encode("utf-8", "backslashreplace") for suffix, text in texts.items()}}


def rendered(plate: Plate) -> dict[str, bytes]:
    """The figure as ".svg" and ".pdf"."""
    found: dict[str, bytes] = {}
    undated: dict[str, dict[str, None]] = {
        ".svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
        ".pdf": dict.fromkeys(("Creator", "Producer", "CreationDate")),
    }
    with mpl.rc_context(dict(_STYLE)), warnings.catch_warnings():  # pyright: ignore[reportArgumentType]
        # A name in a script that the type lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        for suffix, metadata in undated.items():
            figure = Figure(figsize=(plate.width, plate.inches))
            plate.paint(figure)
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix[1:], metadata=metadata)
            # Faces of few pixels are known again when their pixels are smoothed, as a page shows them.
            found[suffix] = buffer.getvalue().replace(b"image-rendering:crisp-edges;image-rendering:pixelated", b"")
    return found


def plain(text: str) -> str:
    """Text without the narrow space, which the type of a paper lacks, and with minus signs before numbers."""
    return re.sub(r"(?<![\w.)])-(?=\d)", "−", text.replace("\u202f", "\u00a0"))


def wrapped(text: str, letters: int) -> str:
    """Text on at most three lines of so many letters."""
    return "\n".join(textwrap.wrap(text, letters, max_lines=3, placeholder=" …"))


def sentences(parts: Sequence[str]) -> str:
    """One caption of its parts."""
    return re.sub(r"\s+", " ", plain(" ".join(filter(None, parts)))).strip()


def _snippet(plate: Plate) -> str:
    environment = "figure*" if plate.wide else "figure"
    lines = [
        "% needs \\usepackage{graphicx}",
        f"\\begin{{{environment}}}",
        "  \\centering",
        f"  \\includegraphics{{{plate.name}.pdf}}",
        f"  \\caption{{{escaped(plate.caption)}}}",
        f"  \\label{{fig:{plate.name}}}",
        f"\\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"
