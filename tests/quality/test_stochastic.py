"""SER-FIQ: the authors' score code, a rewrite on a whole network, a slow loop, and that it always gives the same."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.models.attention import PerceptibilityAttention
from vlrface.models.backbone import InputSpec
from vlrface.models.iresnet import IResNet
from vlrface.models.mobilefacenet import MobileFaceNet, mobilefacenet_input
from vlrface.models.recognizer import Recognizer
from vlrface.quality.stochastic import SerFiq, robustness, served_maps, stochastic_embeddings
from vlrface.types import VlrfaceError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "quality_serfiq.json").read_text())


def weights(shapes):
    """As the golden file says."""
    tensors = {}
    for place, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        u = np.sin(0.37 * np.arange(int(np.prod(shape))) ** 1.5 + place)
        if name.endswith("running_var"):
            u = 1 + 0.3 * u
        elif len(shape) > 1:
            u = u * np.sqrt(4 / np.prod(shape[1:]))
        else:
            u = 0.8 + 0.1 * u if name.endswith("weight") else 0.1 * u
        tensors[name] = torch.from_numpy(u.reshape(shape).astype(np.float32))
    return tensors


@pytest.fixture(scope="module")
def network():
    net = IResNet((1, 1, 1, 1), InputSpec(32, 32), 16, 0.0, 0)
    shapes = {name: tuple(v.shape) for name, v in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    net.load_state_dict(weights(shapes), strict=False)
    return Recognizer(net).eval()


@pytest.fixture(scope="module")
def crops():
    return (127.5 + 127.5 * np.sin(0.011 * np.arange(3 * 32 * 32 * 3) ** 1.4)).astype(np.uint8).reshape(3, 32, 32, 3)


def distance(quality):
    """Mean distance that gives a quality."""
    return np.log(2 / np.asarray(quality) - 1)


def test_the_score_is_the_authors():
    golden = GOLDEN["published"]
    k, passes = np.arange(512), np.arange(golden["passes"])[:, None]
    embeddings = np.stack(
        [
            np.sin(1 + 0.7 * k + face) + spread * np.sin(3 + 1.3 * k * (passes + 2) + 0.1 * face * passes)
            for face, spread in enumerate(golden["spreads"])
        ]
    )
    quality = robustness(torch.from_numpy(embeddings)).numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-quality)), golden["plain"], rtol=1e-9)
    np.testing.assert_allclose(1 / (1 + np.exp(-130 * (quality - 0.88))), golden["stretched"], rtol=1e-6)
    assert (np.diff(quality) < 0).all()


@pytest.mark.parametrize("scaling", ["1.0", "8.0"])
def test_the_network_under_given_masks_is_the_rewrites(network, crops, scaling):
    golden = GOLDEN["rewrite"]
    passes = golden["passes"]
    bits = np.arange(passes * 2048, dtype=np.uint64) * 2654435761 % 2**32 >> np.uint64(13)
    masks = torch.from_numpy((bits & 1).astype(np.float32) * 2).reshape(passes, 512, 2, 2)
    with torch.inference_mode():
        embeddings = stochastic_embeddings(network, served_maps(network, crops), masks)
        quality = robustness(embeddings).numpy()
    mean = distance(golden["scores"][scaling]) / float(scaling) * 2 * passes / (passes - 1)
    np.testing.assert_allclose(distance(quality), mean, rtol=1e-4)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(2, 5), st.floats(0.001, 5))
def test_robustness_agrees_with_a_loop_over_pairs(seed, passes, spread):
    rng = np.random.default_rng(seed)
    embeddings = 3 * rng.normal(size=(2, 1, 4)) + spread * rng.normal(size=(2, passes, 4))
    expected = []
    for face in embeddings:
        unit = [row / np.sqrt((row**2).sum()) for row in face]
        between = [np.sqrt(((a - b) ** 2).sum()) for i, a in enumerate(unit) for b in unit[i + 1 :]]
        expected.append(2 / (1 + np.exp(np.mean(between))))
    np.testing.assert_allclose(robustness(torch.from_numpy(embeddings)).numpy(), expected, rtol=1e-7)
    scaled = robustness(torch.from_numpy(embeddings * rng.uniform(0.1, 9, (2, passes, 1)))).numpy()
    np.testing.assert_allclose(scaled, expected, rtol=1e-7)  # lengths do not count


def test_equal_embeddings_are_perfect_and_opposite_ones_the_worst():
    same = torch.ones(1, 4, 3)
    assert robustness(same).item() == pytest.approx(1, abs=1e-7)
    opposite = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    assert robustness(opposite).item() == pytest.approx(2 / (1 + np.exp(2)))


def test_the_published_range_is_one_of_distances():
    assert distance([0.86, 0.90]).round(2).tolist() == [0.28, 0.20]


def test_the_same_crop_always_gets_the_same(network, crops):
    once = SerFiq(network, passes=20, seed=1).of_inputs(crops)
    assert SerFiq(network, passes=20, seed=1).of_inputs(crops).tolist() == once.tolist()
    np.testing.assert_allclose(SerFiq(network, passes=20, seed=1).of_inputs(crops[[2, 0]]), once[[2, 0]], rtol=1e-6)
    np.testing.assert_allclose(SerFiq(network, passes=20, seed=1, batch_size=1)(list(crops)), once, rtol=1e-6)
    assert SerFiq(network, passes=20, seed=2).of_inputs(crops).tolist() != once.tolist()
    assert ((once > 0.24) & (once < 1)).all()


def test_the_masks_drop_the_share_that_was_asked_for(network):
    for dropout in (0.2, 0.5):
        kept = SerFiq(network, passes=50, dropout=dropout).kept
        assert kept.shape == (50, 512, 2, 2)
        assert kept.mean() == pytest.approx(1 - dropout, abs=0.005)


def test_less_dropout_moves_an_embedding_less(network, crops):
    low, high = (SerFiq(network, passes=10, dropout=share).of_inputs(crops) for share in (0.1, 0.7))
    assert (low > high).all()


def test_the_expected_map_is_the_map(network, crops):
    masks = torch.from_numpy(SerFiq(network, passes=4000).kept).float() / 0.5
    with torch.inference_mode():
        maps = served_maps(network, crops[:1])
        mean = stochastic_embeddings(network, maps, masks).mean(dim=1)
        plain = network.backbone.embed(maps)
    # the embedding layer is affine, so the mean of embeddings is the embedding
    assert torch.nn.functional.cosine_similarity(mean, plain).item() > 0.99


def test_mobilefacenet_too_and_its_embedding_layer_is_affine(crops):
    network = Recognizer(MobileFaceNet(mobilefacenet_input(32, 32))).eval()
    quality = SerFiq(network, passes=8).of_inputs(crops)
    assert ((quality > 0.24) & (quality < 1)).all()
    with torch.inference_mode():
        first, second = torch.randn(2, 1, *network.backbone.feature_shape, generator=torch.Generator().manual_seed(0))
        middle = network.backbone.embed((first + second) / 2)
        ends = (network.backbone.embed(first) + network.backbone.embed(second)) / 2
    torch.testing.assert_close(middle, ends, atol=1e-4, rtol=1e-4)


def test_attended_networks_are_judged_by_what_they_serve(crops):
    backbone = MobileFaceNet(mobilefacenet_input(32, 32))
    attention = PerceptibilityAttention(512, kernel=3)
    plain, attended, fused = (
        SerFiq(Recognizer(backbone, None, attention, serve=serve).eval(), passes=6).of_inputs(crops)
        for serve in ("plain", "attended", "fused")
    )
    assert not np.allclose(plain, attended, rtol=1e-6)
    assert not np.allclose(plain, fused, rtol=1e-6)


def test_a_fused_network_is_judged_by_the_sum_of_both_embeddings(crops):
    backbone = MobileFaceNet(mobilefacenet_input(32, 32))
    network = Recognizer(backbone, None, PerceptibilityAttention(512, kernel=3), serve="fused").eval()
    masks = torch.from_numpy(SerFiq(network, passes=3).kept).float() / 0.5
    with torch.inference_mode():
        maps = served_maps(network, crops[:2])
        found = stochastic_embeddings(network, maps, masks)
        for face, of_face in enumerate(found):
            for mask, embedding in zip(masks, of_face, strict=True):
                both = (backbone.embed((each[face] * mask)[None])[0] for each in (maps, network.attention(maps)[0]))
                slow = sum(each / each.norm() for each in both)
                torch.testing.assert_close(embedding, slow, atol=1e-4, rtol=1e-4)


def test_the_mode_of_the_network_is_left_as_it_was(network, crops):
    network.train()
    trained = SerFiq(network, passes=3).of_inputs(crops)
    assert network.training
    network.eval()
    assert SerFiq(network, passes=3).of_inputs(crops).tolist() == trained.tolist()


def test_crops_of_any_size_are_prepared(network, crops):
    measure = SerFiq(network, passes=4)
    found = measure([crops[0], np.zeros((14, 11, 3), np.uint8)])
    assert found[0] == pytest.approx(measure.of_inputs(crops[:1])[0], rel=1e-6)
    assert np.isfinite(found).all()
    assert measure([]).tolist() == []


@pytest.mark.parametrize(("passes", "dropout"), [(1, 0.5), (10, 0.0), (10, 1.0)])
def test_refuses(network, passes, dropout):
    with pytest.raises(VlrfaceError, match="at least 2 passes"):
        SerFiq(network, passes=passes, dropout=dropout)
