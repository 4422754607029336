"""Benchmarks on encoded faces: each protocol measures a `Faces` value, no network and no picture needed."""

from vlrface.evaluate.bands import bands_of as bands_of
from vlrface.evaluate.compare import compare as compare
from vlrface.evaluate.comparison import Compared as Compared
from vlrface.evaluate.comparison import Comparison as Comparison
from vlrface.evaluate.cross_resolution import CrossResolution as CrossResolution
from vlrface.evaluate.measures import RejectionByMeasure as RejectionByMeasure
from vlrface.evaluate.pairs import PairVerification as PairVerification
from vlrface.evaluate.pairs import SurvFaceVerification as SurvFaceVerification
from vlrface.evaluate.protocol import BenchmarkProtocol as BenchmarkProtocol
from vlrface.evaluate.protocol import evaluate as evaluate
from vlrface.evaluate.protocol import measured as measured
from vlrface.evaluate.protocol import report_of as report_of
from vlrface.evaluate.retrieval import Retrieval as Retrieval
from vlrface.evaluate.scface import SCface as SCface
from vlrface.evaluate.survface import SurvFaceIdentification as SurvFaceIdentification
from vlrface.evaluate.tinyface import TinyFace as TinyFace
