"""What `--figures` of an evaluation and of the demo writes beside the curves."""

import numpy as np
import pytest

from vlrface.evaluate import TinyFace, evaluate
from vlrface.experiment.benchmark import evaluate_benchmark
from vlrface.experiment.demo import demo_faces, procedural_test, run_demo
from vlrface.experiment.network import load_trained
from vlrface.experiment.options import Outputs
from vlrface.types import VlrfaceError

FIGURES = {"recognizability_histogram", "embedding_map", "attention"}


def _measured(source, data, tmp_path):
    outputs = Outputs(tmp_path / "a.json", tmp_path / "a.html", tmp_path / "figures")
    evaluate_benchmark(
        source, "tinyface", data, outputs=outputs, batch_size=8, resamples=10, progress=False,
        faces_path=None if source.suffix else tmp_path / "faces.npz",
    )  # fmt: skip
    return {path.stem.removeprefix("tinyface_") for path in (tmp_path / "figures").iterdir()}


def test_an_evaluation_writes_faces_where_pictures_are_at_hand(trained_run, data, tmp_path, capsys):
    assert _measured(trained_run, data / "tinyface", tmp_path) >= FIGURES
    assert "mind its terms" in capsys.readouterr().out
    histogram = tmp_path / "figures" / "tinyface_recognizability_histogram.svg"
    assert "data:image/png" in histogram.read_text()
    saved = tmp_path / "again"
    saved.mkdir()
    found = _measured(tmp_path / "faces.npz", None, saved)
    assert found >= FIGURES - {"attention"}
    assert "attention" not in found
    assert "mind its terms" not in capsys.readouterr().out
    assert "data:image/png" not in (saved / "figures" / histogram.name).read_text()


def test_the_faces_of_the_demo_carry_other_measures(trained_run):
    test = procedural_test(identities=3, distractors=4)
    faces = demo_faces(load_trained(trained_run), test)
    assert len(faces) == 15 + 4 + 6
    assert set(faces.measures) == {"size", "norm", "ers", "sharpness"}
    sharp = faces.measures["sharpness"]
    assert np.isfinite(sharp[:19]).all()
    assert np.isnan(sharp[19:]).all()
    assert evaluate(faces, TinyFace(), resamples=5).counts["probes"] == 9


def test_a_finished_demo_is_drawn_again_without_training(trained_run, tmp_path, monkeypatch, capsys):
    with pytest.raises(VlrfaceError, match="holds no finished demo: run vlrface demo"):
        run_demo(tmp_path / "none", only_report=True)
    small = procedural_test(identities=20, distractors=10)
    monkeypatch.setattr("vlrface.experiment.demo.procedural_test", lambda _: small)
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.safetensors").write_bytes((trained_run / "best.safetensors").read_bytes())
    report = run_demo(run, figures=tmp_path / "figures", only_report=True, progress=False)
    assert "training" not in capsys.readouterr().out
    assert report.counts["probes"] == 60
    written = {path.name for path in (tmp_path / "figures").iterdir()}
    for name in (*FIGURES, "edc_fmr-0p01"):
        assert {f"demo_{name}.svg", f"demo_{name}.pdf"} <= written
    assert "demo_measures_edc_fmr-0p01.svg" in written
    assert "recipe" in (tmp_path / "figures" / "demo_attention.txt").read_text()
    assert (run / "report.html").is_file()
    assert (run / "faces.npz").is_file()
