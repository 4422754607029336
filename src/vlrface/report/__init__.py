"""Pages for a person: one self-contained HTML file for an evaluation, a comparison, a training run, or scored faces.

Figures and tables for a paper, too.
"""

from vlrface.report.ablation_tables import ablation_overview as ablation_overview
from vlrface.report.html import write_ablation as write_ablation
from vlrface.report.html import write_calibration as write_calibration
from vlrface.report.html import write_comparison as write_comparison
from vlrface.report.html import write_figures as write_figures
from vlrface.report.html import write_report as write_report
from vlrface.report.html import write_score_page as write_score_page
from vlrface.report.html import write_tables as write_tables
from vlrface.report.html import write_unrecognizable as write_unrecognizable
from vlrface.report.inputs import VERDICTS as VERDICTS
from vlrface.report.inputs import Attention as Attention
from vlrface.report.inputs import EmbeddingMap as EmbeddingMap
from vlrface.report.inputs import Illustrations as Illustrations
from vlrface.report.inputs import Pictures as Pictures
from vlrface.report.inputs import Projection as Projection
from vlrface.report.inputs import ScoredFace as ScoredFace
from vlrface.report.inputs import SearchedPool as SearchedPool
from vlrface.report.tables import latex_table as latex_table
from vlrface.report.tables import markdown_table as markdown_table
