"""Several windows of a crop: what is averaged, and who may be compared with whom."""

import typing

import numpy as np
import pytest
from tests.exports import card_of, tiny_network, write_tiny_export

from vlrface.encode.exported import ExportCard, read_export_card
from vlrface.encode.faces import Encoder
from vlrface.encode.onnx import load_onnx
from vlrface.encode.views import SHIFT, WINDOWS, SeveralViews, Views, space_of_views
from vlrface.experiment import options
from vlrface.experiment.model import load_model
from vlrface.experiment.options import ModelOptions
from vlrface.experiment.served import load_served
from vlrface.images.framing import Framing, frame
from vlrface.types import VlrfaceError

CROPS = [np.random.default_rng(side).integers(0, 256, (side + 3, side, 3), np.uint8) for side in (18, 25, 40)]


@pytest.mark.parametrize("flip", [False, True])
def test_embeddings_and_indices_are_means_over_the_windows(flip):
    network = tiny_network()
    several = SeveralViews(network)
    assert isinstance(several, Encoder)
    stacked = np.stack([several.prepare(crop) for crop in CROPS])
    assert stacked.shape == (3, several.input.height, several.input.width, 3)
    embeddings, index = several.embed_crops(stacked, batch_size=4, flip=flip)
    for row, crop in enumerate(CROPS):
        views = [frame(crop, network.framing, 32, 32, window)[None] for window in WINDOWS]
        seen = [network.embed_crops(view, flip=flip) for view in views]
        np.testing.assert_allclose(embeddings[row], np.mean([e[0] for e, _ in seen], axis=0), rtol=1e-4, atol=1e-5)
        assert index[row] == pytest.approx(np.mean([r[0] for _, r in seen]), rel=1e-5)


def test_the_windows_lie_round_the_crops_own():
    """A bright spot moves by the shift, once in each direction, and stays in the first window."""
    crop = np.zeros((80, 80, 3), np.uint8)
    crop[36:44, 36:44] = 255
    spots = []
    for window in WINDOWS:
        bright = np.argwhere(frame(crop, Framing(1.0), 80, 80, window)[..., 0] > 127)
        spots.append((bright.mean(axis=0) - 39.5).round(1).tolist())
    moved = SHIFT * 80
    assert spots[0] == [0, 0]
    assert sorted(spots[1:]) == sorted([[0, moved], [0, -moved], [moved, 0], [-moved, 0]])


def test_the_network_looks_where_it_looks_in_the_crops_own_window():
    network = tiny_network()
    several = SeveralViews(network)
    ours = several.attention_maps(np.stack([several.prepare(crop) for crop in CROPS]))
    np.testing.assert_allclose(ours, network.attention_maps(np.stack([network.prepare(crop) for crop in CROPS])))
    assert SeveralViews(tiny_network(attention=False)).attention_maps(np.zeros((1, 160, 32, 3), np.uint8)) is None


def test_no_crops_have_no_embeddings():
    embeddings, index = SeveralViews(tiny_network()).embed_crops(np.zeros((0, 160, 32, 3), np.uint8))
    assert embeddings.shape == (0, 128)
    assert index.shape == (0,)


def test_an_export_knows_how_many_windows_it_sees(tmp_path):
    write_tiny_export(tmp_path / "one.onnx")
    write_tiny_export(tmp_path / "five.onnx", views=5)
    one, five = (load_served(tmp_path / f"{name}.onnx", engine="onnxruntime") for name in ("one", "five"))
    assert five.space == one.space.replace("+flip", "+views5+flip")
    several = SeveralViews(load_onnx(tmp_path / "one.onnx"))
    expected, index = several.embed_crops(np.stack([several.prepare(crop) for crop in CROPS]), flip=True)
    looks = five.look(CROPS)
    np.testing.assert_allclose(looks.embeddings * looks.norms[:, None], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(looks.recognizability, index, rtol=1e-4)
    # The same views by an option: the same space, whichever way they came about, and not added twice.
    for name in ("one", "five"):
        asked = load_model(tmp_path / f"{name}.onnx", ModelOptions(), views=5)
        assert asked.space == asked.meta["fingerprint"] == five.space.removesuffix("+flip")
        assert asked.meta["views"] == 5
        assert asked.encoder.input.height == 5 * 32


def test_cards_of_before_see_one_window(tmp_path):
    write_tiny_export(tmp_path / "model.onnx")
    assert read_export_card(tmp_path / "model.onnx").views == 1
    text = card_of().to_json()
    assert ExportCard.from_json(text.replace(', "views": 1', "")) == card_of()
    with pytest.raises(VlrfaceError, match="Export the model again"):
        ExportCard.from_json(text.replace('"views": 1', '"views": 4'))


def test_the_options_are_those_of_what_they_choose():
    assert typing.get_args(options.Views) == typing.get_args(Views) == (1, len(WINDOWS))
    assert space_of_views("a", 1) == "a"
    assert space_of_views("a", 5) == "a+views5"
