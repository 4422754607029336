"""Pages for a person: one self-contained HTML file for an evaluation, a training run, or a set of scored faces."""

from vlrface.report.html import write_report as write_report
from vlrface.report.html import write_score_page as write_score_page
from vlrface.report.inputs import VERDICTS as VERDICTS
from vlrface.report.inputs import Attention as Attention
from vlrface.report.inputs import EmbeddingMap as EmbeddingMap
from vlrface.report.inputs import Pictures as Pictures
from vlrface.report.inputs import ScoredFace as ScoredFace
