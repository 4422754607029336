"""What a command writes beside its page and its numbers."""

from vlrface.evaluate import Comparison
from vlrface.experiment.options import Outputs
from vlrface.report import write_figures, write_tables
from vlrface.types import Report


def write_papers(report: Report | Comparison, outputs: Outputs) -> None:
    """Figures and tables for a paper, where they were asked for."""
    for what, folder, write in (
        ("figures", outputs.figures, write_figures),
        ("tables", outputs.tables, write_tables),
    ):
        if folder is not None:
            print(f"{what:<8} {len(write(report, folder))} files in {folder}")
