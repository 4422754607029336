"""The benchmark in short: many clients, nonsense among them; only right answers, no failure, flat memory."""

import json
import subprocess
import sys
from pathlib import Path


def test_many_clients_get_right_answers_only(tmp_path):
    benchmark = Path(__file__).parents[2] / "benchmarks" / "service.py"
    command = [
        sys.executable,
        str(benchmark),
        "--seconds",
        "5",
        "--clients",
        "16",
        "--json",
        str(tmp_path / "out.json"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["requests"] > 100
    assert figures["wrong_answers"] == figures["lost_answers"] == figures["answers_5xx"] == 0, run.stdout
    assert figures["held_bytes_after"] == 0
    assert figures["exit_status"] == 0
    assert figures["rss_growth_mb"] < 20
