"""`vlrface export` of a trained run: what it says of itself, and what can be done with it."""

import numpy as np
import pytest
from tests.exports import Bent

from vlrface.encode.exported import read_export_card
from vlrface.experiment import exporting
from vlrface.experiment.benchmark import evaluate_benchmark
from vlrface.experiment.encoding import encode_pictures
from vlrface.experiment.exporting import export_checkpoint
from vlrface.experiment.network import load_trained
from vlrface.experiment.options import Outputs
from vlrface.experiment.served import load_served
from vlrface.export import to_graph
from vlrface.types import VlrfaceError


@pytest.fixture(scope="module")
def exported(trained_run, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_checkpoint(trained_run, path, parity_data=data / "tinyface" / "Training_Set")
    return path


def test_parity_is_measured_and_kept(exported, trained_run):
    card, trained = read_export_card(exported), load_trained(trained_run)
    assert card.fingerprint == trained.card["fingerprint"] == card.space
    assert card.calibration == trained.calibration
    for engine in ("onnxruntime", "openvino"):
        assert card.parity[f"{engine}:cosine_min"] > 0.9999
        assert card.parity[f"{engine}:index_spearman"] > 0.999
        assert card.parity[f"{engine}:score_off"] < 1e-3
        assert card.parity[f"{engine}:rank1"] == pytest.approx(card.parity["network:rank1"], abs=0.03)


def test_checkpoint_and_export_are_one_space_with_one_score(exported, trained_run):
    crops = [np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8) for side in (16, 24, 32)]
    ours, theirs = load_served(trained_run), load_served(exported)
    assert ours.space == theirs.space
    first, second = ours.look(crops), theirs.look(crops)
    np.testing.assert_allclose(first.embeddings, second.embeddings, atol=1e-4)
    np.testing.assert_allclose(first.scores, second.scores, atol=1e-3)


def test_an_export_is_encoded_and_evaluated_like_its_checkpoint(exported, trained_run, data, tmp_path):
    found = {}
    for name, source in (("network", trained_run), ("export", exported)):
        faces = encode_pictures(source, data / "tinyface", tmp_path / f"{name}.npz", progress=False)
        assert faces.meta["experiment"] == "recipe"
        outputs = Outputs(tmp_path / f"{name}.json", tmp_path / f"{name}.html")
        report = evaluate_benchmark(tmp_path / f"{name}.npz", "tinyface", None, outputs=outputs, resamples=20)
        found[name] = faces, report.figures["rank1"].value
    (first, rank1), (second, other) = found.values()
    largest = np.abs(first.embeddings[first.encoded]).max()
    np.testing.assert_allclose(first.embeddings, second.embeddings, atol=1e-4 * largest)
    assert first.meta["fingerprint"] == second.meta["fingerprint"]
    assert rank1 == other


def test_only_a_checkpoint_is_exported(exported, tmp_path):
    with pytest.raises(VlrfaceError):
        export_checkpoint(exported, tmp_path / "again.onnx")
    with pytest.raises(VlrfaceError, match=r"\.onnx"):
        export_checkpoint(exported, tmp_path / "again.bin")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_is_not_the_network_is_not_written(trained_run, data, tmp_path, monkeypatch):
    def wrong(recognizer):
        recognizer.regression = Bent(recognizer.regression)
        graph = to_graph(recognizer)
        recognizer.regression = recognizer.regression.inner
        return graph

    monkeypatch.setattr(exporting, "to_graph", wrong)
    with pytest.raises(VlrfaceError, match=r"model\.onnx: not written, .* the index is off by up to"):
        export_checkpoint(trained_run, tmp_path / "model.onnx", parity_data=data / "tinyface" / "Training_Set")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("same", [True, False])
def test_ranges_and_parity_are_measured_on_different_crops(same, trained_run, data):
    recognizer = load_trained(trained_run).recognizer
    whole = data / "tinyface" / "Training_Set"
    part = whole if same else min(path for path in whole.iterdir() if path.is_dir())
    ranges, seen = exporting._both_crops(recognizer, part, whole)
    known = {image.tobytes() for image in ranges.images}
    assert known
    assert len(seen.images)
    assert not known & {image.tobytes() for image in seen.images}
    if not same:
        with pytest.raises(VlrfaceError, match="Give other --parity-data"):
            exporting._both_crops(recognizer, whole, part)


def test_drawn_ranges_and_drawn_parity_are_of_different_people(trained_run):
    first, second = exporting._both_crops(load_trained(trained_run).recognizer, None, None)
    assert not set(first.identities.tolist()) & set(second.identities.tolist())


def test_several_views_are_measured_exported_and_kept_apart(trained_run, data, tmp_path, capsys):
    model = tmp_path / "five.onnx"
    export_checkpoint(trained_run, model, views=5)
    assert "measure them anew" in capsys.readouterr().out
    network = encode_pictures(trained_run, data / "tinyface", tmp_path / "network.npz", views=5, progress=False)
    export = encode_pictures(model, data / "tinyface", tmp_path / "export.npz", progress=False)
    one = encode_pictures(trained_run, data / "tinyface", tmp_path / "one.npz", progress=False)
    largest = np.abs(network.embeddings[network.encoded]).max()
    np.testing.assert_allclose(network.embeddings, export.embeddings, atol=1e-4 * largest)
    assert network.meta["fingerprint"] == export.meta["fingerprint"] != one.meta["fingerprint"]
    assert network.meta["views"] == export.meta["views"] == 5
    with pytest.raises(VlrfaceError, match="encoded already"):
        evaluate_benchmark(tmp_path / "one.npz", "tinyface", None, views=5)
