"""The page of an ablation: what each variant reaches, how seeds spread, and which differences are more than chance."""

from vlrface.evaluate.ablation import AblationTable


def render_ablation(table: AblationTable) -> str:
    """The page as text; see `vlrface.report.html.write_ablation`."""
    return table.name
