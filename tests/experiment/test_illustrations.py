"""What `--figures` of an evaluation and of the demo writes beside the curves."""

import numpy as np
import pytest

from vlrface.evaluate import TinyFace, evaluate
from vlrface.experiment.benchmark import evaluate_benchmark
from vlrface.experiment.demo import demo_faces, procedural_test, run_demo
from vlrface.experiment.network import load_trained
from vlrface.experiment.options import Outputs
from vlrface.experiment.served import load_served
from vlrface.report.paper import plates
from vlrface.types import VlrfaceError

FIGURES = {"recognizability_histogram", "embedding_map", "attention"}


@pytest.fixture
def drawn(monkeypatch):
    """Names of the figures that would be written, without the time that drawing them takes, and with or without faces.

    That what is here named is drawn, tests/report/test_illustrated.py shows.
    """
    found = {}

    def write(report, folder, shown=None, *, start=""):
        faces = shown is not None and len(shown.pictures.crops) > 0
        found.update({plate.name: (plate, folder, faces) for plate in plates(report, shown, start=start)})
        return []

    for module in ("demo", "outputs"):
        monkeypatch.setattr(f"vlrface.experiment.{module}.write_figures", write)
    return found


def test_an_evaluation_shows_faces_where_pictures_are_at_hand(trained_run, data, tmp_path, drawn, capsys):
    def measured(source, pictures, kept=None):
        drawn.clear()
        outputs = Outputs(tmp_path / "a.json", tmp_path / "a.html", tmp_path / "figures")
        evaluate_benchmark(
            source, "tinyface", pictures, outputs=outputs, faces_path=kept, batch_size=8, resamples=10, progress=False
        )
        return {name.removeprefix("tinyface_") for name in drawn}

    kept = tmp_path / "faces.npz"
    assert measured(trained_run, data / "tinyface", kept) >= FIGURES
    assert all(folder == tmp_path / "figures" and faces for _, folder, faces in drawn.values())
    assert "mind its terms" in capsys.readouterr().out
    assert measured(kept, data / "tinyface") & FIGURES == FIGURES - {"attention"}
    assert all(faces for _, _, faces in drawn.values())
    capsys.readouterr()
    assert measured(kept, None) & FIGURES == FIGURES - {"attention"}
    assert not any(faces for _, _, faces in drawn.values())
    assert "mind its terms" not in capsys.readouterr().out


def test_the_faces_of_the_demo_carry_other_measures(trained_run):
    test = procedural_test(identities=3, distractors=4)
    faces = demo_faces(load_trained(trained_run), test)
    assert len(faces) == 15 + 4 + 6
    assert set(faces.measures) == {"size", "norm", "ers", "sharpness"}
    sharp = faces.measures["sharpness"]
    assert np.isfinite(sharp[:19]).all()
    assert np.isnan(sharp[19:]).all()
    assert evaluate(faces, TinyFace(), resamples=5).counts["probes"] == 9


def test_a_finished_demo_is_drawn_again_without_training(trained_run, tmp_path, monkeypatch, drawn, capsys):
    with pytest.raises(VlrfaceError, match="holds no finished demo: run vlrface demo"):
        run_demo(tmp_path / "none", only_report=True)
    small = procedural_test(identities=20, distractors=10)
    monkeypatch.setattr("vlrface.experiment.demo.procedural_test", lambda _: small)
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.safetensors").write_bytes((trained_run / "best.safetensors").read_bytes())
    report = run_demo(run, figures=tmp_path / "figures", only_report=True, progress=False)
    said = capsys.readouterr().out
    assert "training" not in said
    assert report.counts["probes"] == 60
    assert {f"demo_{name}" for name in (*FIGURES, "edc_fmr-0p01")} | {"demo_measures_edc_fmr-0p01"} <= set(drawn)
    caption = drawn["demo_attention"][0].caption
    assert "Matcher: recipe, fingerprint" in caption
    assert "never trained on" in caption
    assert (run / "report.html").is_file()
    assert (run / "faces.npz").is_file()
    place = run / "try"
    assert load_served(place / "model.onnx").calibration is not None
    assert {path.name for path in place.glob("*.*")} == {"model.onnx", "probe.png", "stranger.png"}
    assert len(list((place / "people").iterdir())) == 6
    assert len(list((place / "crops").iterdir())) == 60
    assert len(list((place / "held_out").iterdir())) == 60
    assert f"cd {place}" in said
