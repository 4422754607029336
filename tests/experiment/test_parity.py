"""Parity of an export: what differs is seen, by every figure that is printed; what is rounding is let pass."""

import numpy as np
import pytest
from tests.exports import CALIBRATION, Bent, pictures, tiny_network, write_tiny_export

from vlrface.experiment.parity import ENGINES, Crops, agreement, measured_parity, more_than_rounding, print_parity

CROPS = Crops(pictures(24), np.repeat(np.arange(8), 3), "made pictures")


@pytest.fixture(scope="module")
def network():
    return tiny_network()


def test_an_export_is_the_network_up_to_rounding(network, tmp_path, capsys):
    card = write_tiny_export(tmp_path / "model.onnx", network)
    parity = measured_parity(network, tmp_path / "model.onnx", card, CROPS)
    assert more_than_rounding(parity) == []
    for engine in ENGINES:
        assert parity[f"{engine}:index_off"] < 1e-3 * parity["network:index_deviation"]
        assert parity[f"{engine}:score_off"] < 1e-3
        assert parity[f"{engine}:verdicts_changed"] == 0
        assert parity[f"{engine}:length_ratio"] == pytest.approx(1, abs=1e-4)
    print_parity(parity, CROPS)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 110
    assert len({len(line) for line in lines[1:5]}) == 1


def test_an_index_on_another_scale_is_seen(network, tmp_path):
    bent = tiny_network()
    bent.regression = Bent(bent.regression)
    card = write_tiny_export(tmp_path / "bent.onnx", bent)
    parity = measured_parity(network, tmp_path / "bent.onnx", card, CROPS)
    for engine in ENGINES:
        assert parity[f"{engine}:index_spearman"] > 0.999
        assert parity[f"{engine}:index_off"] > 1
        assert parity[f"{engine}:score_off"] > 0.1
        assert parity[f"{engine}:verdicts_changed"] > 0.5
    said = more_than_rounding(parity)
    assert len(said) == len(ENGINES)
    assert all("the index is off by up to" in each for each in said)


def figures(embeddings, exported, index, seen):
    found = agreement(embeddings, index, exported, seen, CALIBRATION)
    spread = {"network:index_mean": float(index.mean()), "network:index_deviation": float(index.std())}
    return spread | {f"onnxruntime:{name}": value for name, value in found.items()}


def test_lengths_and_directions_are_seen_and_a_constant_index_is_no_fault():
    draw = np.random.default_rng(0)
    embeddings, index = draw.normal(size=(9, 16)), draw.normal(1.5, 0.2, 9)
    assert more_than_rounding(figures(embeddings, embeddings * (1 + 1e-6), index, index + 1e-6)) == []
    (said,) = more_than_rounding(figures(embeddings, embeddings * 0.5, index, index))
    assert "0.5000 times as long" in said
    off = embeddings.copy()
    off[3] += 0.1
    said = more_than_rounding(figures(embeddings, off, index, index))
    assert "has cosine 0.99" in said[0]
    constant = np.full(9, 1.5)
    assert more_than_rounding(figures(embeddings, embeddings, constant, constant + 1e-6)) == []
    assert len(more_than_rounding(figures(embeddings, embeddings, constant, constant + 0.01))) == 1
