"""Where the results of a command go, and what it writes beside its page and its numbers."""

from pathlib import Path

from vlrface.evaluate import Comparison
from vlrface.experiment.options import Outputs
from vlrface.report import write_figures, write_tables
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


def write_papers(report: Report | Comparison, outputs: Outputs) -> None:
    """Figures and tables for a paper, where they were asked for."""
    for what, folder, write in (
        ("figures", outputs.figures, write_figures),
        ("tables", outputs.tables, write_tables),
    ):
        if folder is not None:
            print(f"{what:<8} {len(write(report, folder))} files in {folder}")
