"""Maps of a frozen stem are computed once per picture, whoever asks."""

import dataclasses

import numpy as np
import pytest

from vlrface.experiment.config import load_recipe
from vlrface.experiment.model import Model
from vlrface.experiment.network import Trained, build_recognizer
from vlrface.experiment.stem import RememberedStem, remembering


@pytest.fixture
def recognizer(data):
    config = dataclasses.replace(load_recipe(data / "recipe.py").model, frozen_steps=14)
    return build_recognizer(config, None, seed=3).eval()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("flip", [False, True])
def test_it_encodes_as_the_recognizer_does(recognizer, images, tmp_path, flip):
    stem = RememberedStem(recognizer, tmp_path / "maps.npy")
    for _ in range(2):
        ours, index = stem.embed_crops(images, batch_size=2, flip=flip)
        theirs, their_index = recognizer.embed_crops(images, flip=flip)
        np.testing.assert_allclose(ours, theirs, rtol=0.01, atol=0.01 * np.abs(theirs).max())
        np.testing.assert_allclose(index, their_index, atol=0.01)
    assert stem.computed == len(images) * (1 + flip)
    assert stem.embedding_dim == recognizer.embedding_dim
    np.testing.assert_array_equal(stem.prepare(images[0, :20]), recognizer.prepare(images[0, :20]))


def test_a_second_process_computes_nothing_anew_and_gets_the_same_bits(recognizer, images, tmp_path):
    first = RememberedStem(recognizer, tmp_path / "maps.npy")
    expected, _ = first.embed_crops(images[:3], flip=True)
    first.save()
    second = RememberedStem(recognizer, tmp_path / "maps.npy")
    found, _ = second.embed_crops(images[:3], flip=True)
    np.testing.assert_array_equal(found, expected)
    assert second.computed == 0
    second.embed_crops(images, flip=True)
    second.save()
    third = RememberedStem(recognizer, tmp_path / "maps.npy")
    third.embed_crops(images, flip=True)
    assert third.computed == 0


def test_what_another_process_wrote_meanwhile_stays(recognizer, images, tmp_path):
    one, other = (RememberedStem(recognizer, tmp_path / "maps.npy") for _ in range(2))
    one.embed_crops(images[:3])
    other.embed_crops(images[2:])
    one.save()
    other.save()
    last = RememberedStem(recognizer, tmp_path / "maps.npy")
    last.embed_crops(images)
    assert last.computed == 0


@pytest.mark.parametrize("size", [0, 40, 5000])
def test_a_damaged_file_is_made_again(recognizer, images, tmp_path, size):
    stem = RememberedStem(recognizer, tmp_path / "maps.npy")
    stem.embed_crops(images)
    stem.save()
    path = tmp_path / "maps.npy"
    path.write_bytes(path.read_bytes()[:size])
    again = RememberedStem(recognizer, tmp_path / "maps.npy")
    again.embed_crops(images)
    assert again.computed == len(images)


def test_more_than_fits_is_computed_anew(recognizer, images, tmp_path, monkeypatch):
    monkeypatch.setattr("vlrface.experiment.stem._MOST_BYTES", 1)
    stem = RememberedStem(recognizer, tmp_path / "maps.npy")
    expected, _ = recognizer.embed_crops(images)
    for _ in range(2):
        found, _ = stem.embed_crops(images, batch_size=2)
        np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.01 * np.abs(expected).max())
    assert stem.computed == 5 + 3  # the first batch of two was remembered
    stem.save()
    again = RememberedStem(recognizer, tmp_path / "maps.npy")
    again.embed_crops(images)
    assert again.computed == 3


def test_inputs_of_two_sizes_have_memories_of_their_own(data, tmp_path):
    config = dataclasses.replace(load_recipe(data / "recipe.py").model, frozen_steps=14)
    for size in (32, 48):
        backbone = dataclasses.replace(config.backbone, size=size)
        network = build_recognizer(dataclasses.replace(config, backbone=backbone), None, seed=3).eval()
        crops = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
        with remembering(Model(network, {}, Trained(network, None, None, {}, tmp_path)), "set", tmp_path) as model:
            model.encoder.embed_crops(crops)
    assert len(list(tmp_path.glob("maps-*.npy"))) == 2


def test_only_models_with_a_frozen_stem_are_changed(recognizer, images, tmp_path, data):
    trained = Trained(recognizer, None, None, {}, tmp_path)
    with remembering(Model(recognizer, {}, trained), "set", tmp_path) as model:
        assert isinstance(model.encoder, RememberedStem)
        model.encoder.embed_crops(images)
    assert len(list(tmp_path.glob("maps-*.npy"))) == 1
    plain = build_recognizer(load_recipe(data / "recipe.py").model, None)
    foreign = Model(plain, {}, dataclasses.replace(trained, recognizer=plain))
    with remembering(foreign, "set", tmp_path) as model:
        assert model is foreign
