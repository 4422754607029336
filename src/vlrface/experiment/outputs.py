"""Where the results of a command go, and what it writes beside its page and its numbers."""

import os
from importlib.util import find_spec
from pathlib import Path

from vlrface.evaluate import Comparison
from vlrface.experiment.options import Outputs
from vlrface.report import Illustrations, write_figures, write_tables
from vlrface.types import Report, VlrfaceError


def check_outputs(outputs: Outputs) -> None:
    """Refuse before any work what would fail after it.

    Raises:
        VlrfaceError: a name of the wrong kind.
    """
    check_suffix(outputs.json, ".json")
    check_suffix(outputs.report, ".html")
    for folder in (outputs.figures, outputs.tables):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise VlrfaceError(f"{folder}: give a folder")


def check_suffix(path: Path | None, suffix: str) -> None:
    """Refuse a file name that says another kind.

    Raises:
        VlrfaceError: it ends in something else.
    """
    if path is not None and path.suffix != suffix:
        raise VlrfaceError(f"{path}: give a name that ends in {suffix}")


def result_files(folder: Path, stem: str, outputs: Outputs) -> tuple[Path, Path | None]:
    """Where numbers and page go: as asked for, else `stem` in a folder. No page without the package that draws it.

    Raises:
        VlrfaceError: a folder cannot be written to.
    """
    json, page = outputs.json or folder / f"{stem}.json", outputs.report or folder / f"{stem}.html"
    for path, option in ((json, "--json"), (page, "--report")):
        if path.parent.is_dir() and not os.access(path.parent, os.W_OK):
            raise VlrfaceError(f"{path.parent} cannot be written to: give {option} FILE")
    if outputs.report is None and find_spec("matplotlib") is None:
        print('no page without the extra "report": pip install "vlrface[report]"')
        return json, None
    return json, page


def write_papers(report: Report | Comparison, outputs: Outputs, shown: Illustrations | None = None) -> None:
    """Figures and tables for a paper, where they were asked for."""
    if outputs.figures is not None:
        files = write_figures(report, outputs.figures, shown)
        print(f"figures  {len(files)} files in {outputs.figures}")
        if shown is not None and shown.pictures is not None and len(shown.pictures.crops):
            print("         some show faces of the data set: mind its terms before you publish them")
    if outputs.tables is not None:
        print(f"tables   {len(write_tables(report, outputs.tables))} files in {outputs.tables}")
