"""`vlrface calibrate` on a trained run and on its export."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tests.without_torch import vlrface_without_torch

from vlrface.calibrate import Searched, Wishes
from vlrface.encode.exported import CARD_KEY, read_export_card
from vlrface.encode.model_file import graph_sha256, with_metadata
from vlrface.experiment.calibrating import Written, _warn, calibrate_model
from vlrface.experiment.encoding import encode_pictures
from vlrface.experiment.exporting import export_checkpoint
from vlrface.experiment.rules import match_threshold
from vlrface.experiment.served import load_served
from vlrface.types import VlrfaceError

WISHES = Wishes(fmr=(0.1,), fpir=(0.3,))  # of its index the network learned nothing in so short a time


@pytest.fixture(scope="module")
def held_out(data):
    return data / "tinyface" / "Training_Set"  # of a network that hardly learned: what it saw does not matter here


@pytest.fixture(scope="module")
def exported(trained_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("calibrating") / "model.onnx"
    export_checkpoint(trained_run, path)
    return path


def calibrated(source, held_out, output, **options):
    return calibrate_model(source, held_out, output, wishes=WISHES, resamples=20, progress=False, **options)


def test_checkpoint_and_export_get_the_same_points(trained_run, exported, held_out, tmp_path):
    before = exported.read_bytes()
    ours = calibrated(trained_run, held_out, Written(tmp_path / "model.safetensors"), strict=True)
    theirs = calibrated(
        exported, held_out, Written(tmp_path / "model.onnx", tmp_path / "page.html", tmp_path / "found.json")
    )
    assert [p.wish for p in ours.points] == ["fmr", "fpir"]
    for a, b in zip(ours.points, theirs.points, strict=True):
        assert a.threshold == pytest.approx(b.threshold, abs=1e-3)
    assert exported.read_bytes() == before
    for made, source in ((tmp_path / "model.safetensors", trained_run), (tmp_path / "model.onnx", exported)):
        served = load_served(made)
        assert served.space == load_served(source).space
        assert len(served.calibration.points) == 2
        assert served.calibration.space == served.space
        assert served.calibration.data.endswith("12 people, Training_Set")
        unflipped = load_served(made, flip=False)
        with pytest.raises(VlrfaceError, match="measured on embeddings of"):
            match_threshold(unflipped.calibration, match=None, fmr=0.1, fpir=None, space=unflipped.space)
        assert match_threshold(served.calibration, match=None, fmr=0.1, fpir=None) == pytest.approx(
            ours.points[0].threshold, abs=1e-3
        )
    assert read_export_card(tmp_path / "model.onnx").calibration == theirs
    assert json.loads((tmp_path / "found.json").read_text())["calibration"] == theirs.to_json()
    page = (tmp_path / "page.html").read_text()
    assert "Reliability diagram" in page
    assert f"{theirs.points[0].threshold:.4f}" in page


def test_a_model_may_be_written_over_itself(exported, held_out, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported.read_bytes())
    calibrated(path, held_out, Written(path), gallery_size=20)
    assert load_served(path).calibration.gallery_size == 20
    crops = [np.zeros((20, 20, 3), np.uint8)]
    np.testing.assert_array_equal(
        load_served(path).look(crops).embeddings, load_served(exported).look(crops).embeddings
    )


def test_faces_of_the_model_are_taken_and_others_refused(trained_run, held_out, tmp_path):
    faces = encode_pictures(trained_run, held_out, tmp_path / "faces.npz", progress=False)
    out = Written(tmp_path / "model.safetensors")
    found = calibrated(trained_run, tmp_path / "faces.npz", out)
    assert found.points[0].people == len(set(faces.identities.tolist()))
    replace(faces, meta={**faces.meta, "fingerprint": "another"}).save(tmp_path / "other.npz")
    with pytest.raises(VlrfaceError, match="faces of another model"):
        calibrated(trained_run, tmp_path / "other.npz", out)
    replace(faces, meta={**faces.meta, "flip": False}).save(tmp_path / "unflipped.npz")
    with pytest.raises(VlrfaceError, match="other fusion"):
        calibrated(trained_run, tmp_path / "unflipped.npz", out)


def test_float32_faces_do_not_calibrate_an_int8_model(exported, trained_run, held_out, tmp_path):
    card = read_export_card(exported)
    (tmp_path / "int8.onnx").write_bytes(
        with_metadata(exported.read_bytes(), CARD_KEY, replace(card, precision="int8").to_json())
    )
    encode_pictures(trained_run, held_out, tmp_path / "faces.npz", progress=False)
    with pytest.raises(VlrfaceError, match="faces of another model"):
        calibrated(tmp_path / "int8.onnx", tmp_path / "faces.npz", Written(tmp_path / "out.onnx"))


def test_the_export_is_the_same_graph_and_a_foreign_model_is_refused_at_once(exported, held_out, tmp_path):
    calibrated(exported, held_out, Written(tmp_path / "model.onnx"))
    assert graph_sha256((tmp_path / "model.onnx").read_bytes()) == graph_sha256(exported.read_bytes())
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(with_metadata(exported.read_bytes(), CARD_KEY, "").replace(CARD_KEY.encode(), b"another.card"))
    with pytest.raises(VlrfaceError, match="only a checkpoint or an exported model keeps a calibration"):
        calibrated(foreign, held_out, Written(tmp_path / "out.onnx"))


def test_a_page_that_cannot_be_drawn_is_refused_before_any_work(exported, held_out, tmp_path, monkeypatch):
    monkeypatch.setattr("vlrface.experiment.calibrating.find_spec", lambda _: None)
    out = Written(tmp_path / "model.onnx", tmp_path / "page.html")
    with pytest.raises(VlrfaceError, match="leave it out"):
        calibrated(exported, held_out, out)


def test_an_export_is_calibrated_without_torch(exported, held_out, tmp_path):
    done = vlrface_without_torch("calibrate", exported, held_out, "-o", tmp_path / "m.onnx", "--fmr", "0.1", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "fmr 0.1" in done.stdout
    assert read_export_card(tmp_path / "m.onnx").calibration.point("fmr", 0.1).people == 12


def test_what_cannot_be_measured_stops_only_who_asked(trained_run, held_out, tmp_path):
    out = Written(tmp_path / "model.safetensors")
    wishes = replace(WISHES, fmr=(0.1, 1e-6))
    with pytest.raises(VlrfaceError, match="FMR 1e-06"):
        calibrate_model(trained_run, held_out, out, wishes=wishes, strict=True, progress=False)
    assert not out.model.exists()
    found = calibrate_model(trained_run, held_out, out, wishes=wishes, resamples=20, progress=False)
    with pytest.raises(VlrfaceError, match="vlrface calibrate"):
        match_threshold(found, match=None, fmr=1e-6, fpir=None)
    with pytest.raises(VlrfaceError, match="one of --match"):
        match_threshold(found, match=0.3, fmr=0.1, fpir=None)
    with pytest.raises(VlrfaceError, match="no calibration"):
        match_threshold(None, match=None, fmr=0.1, fpir=None)


def test_roles_are_no_people_and_few_people_no_sample(exported, data, held_out, tmp_path):
    with pytest.raises(VlrfaceError, match="whose folders are no people: give its parent"):
        calibrated(exported, data / "tinyface" / "Testing_Set", Written(tmp_path / "model.onnx"))
    few = tmp_path / "few"
    for person in sorted(held_out.iterdir())[:4]:
        shutil.copytree(person, few / person.name)
    with pytest.raises(VlrfaceError, match="4 people, from whom nothing can be said about others"):
        calibrated(exported, few, Written(tmp_path / "model.onnx"))
    assert not (tmp_path / "model.onnx").exists()


def test_an_index_that_tells_nothing_is_called_so(capsys):
    rng = np.random.default_rng(0)
    right = (np.arange(200) % 2).astype(float)
    _warn(Searched(rng.standard_normal(200), right, np.arange(200), 100))
    assert "hardly tells which matches are right" in capsys.readouterr().out
    _warn(Searched(rng.standard_normal(200) + 3 * right, right, np.arange(200), 100))
    assert not capsys.readouterr().out
