"""Kill -9 during enrolments, a few times; `benchmarks/gallery_kill.py` does it twenty times."""

import runpy
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gallery_kill.py"


def test_everybody_acknowledged_is_there_and_nobody_by_halves(tmp_path):
    found = runpy.run_path(str(BENCHMARK))["run"](tmp_path, 4, 0)
    assert found.kills == 4
    assert found.acknowledged > 0
    assert (found.lost, found.halves) == (0, 0)
    assert found.acknowledged <= found.there <= found.acknowledged + 4
