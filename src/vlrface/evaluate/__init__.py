"""Benchmarks on encoded faces: each protocol measures a `Faces` value, no network and no picture needed."""

from vlrface.evaluate.protocol import BenchmarkProtocol as BenchmarkProtocol
from vlrface.evaluate.protocol import evaluate as evaluate
from vlrface.evaluate.tinyface import TinyFace as TinyFace
