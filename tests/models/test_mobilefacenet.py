import json
from pathlib import Path

import pytest
import torch

from vlrface.models.mobilefacenet import CASIA, MS1M, ConvolutionUnit, MobileFaceNet, mobilefacenet_input
from vlrface.models.pretrained import load_mobilefacenet_casia
from vlrface.models.recognizer import Recognizer

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "models_mobilefacenet.json").read_text(encoding="utf-8"))


def test_embeddings_of_another_implementation(tmp_path, filled, pictures):
    path = tmp_path / "weights.ckpt"
    torch.save({"epoch": 1, "net_state_dict": filled({k: tuple(v) for k, v in GOLDEN["shapes"].items()})}, path)
    model = load_mobilefacenet_casia(path)
    assert sum(p.numel() for p in model.parameters()) == GOLDEN["parameters"]
    embeddings, _ = Recognizer(model).embed_crops(pictures(2, 112, 96))
    for row, first, norm in zip(embeddings, GOLDEN["first_values"], GOLDEN["norms"], strict=True):
        assert row[:8].tolist() == pytest.approx(first, rel=1e-4, abs=1e-4)
        assert float((row.astype(float) ** 2).sum() ** 0.5) == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("variant", [CASIA, MS1M], ids=["casia", "ms1m"])
@pytest.mark.parametrize(
    ("height", "width", "cells"),
    [(32, 32, (2, 2)), (64, 64, (4, 4)), (112, 112, (7, 7)), (112, 96, (7, 6)), (50, 17, (4, 2))],
)
def test_shapes_for_every_input_size(height, width, cells, variant, pictures):
    model = MobileFaceNet(mobilefacenet_input(height, width), variant=variant, embedding_dim=20)
    pixels = model.input.normalised(torch.from_numpy(pictures(2, height, width)))
    features = model.feature_map(pixels)
    assert features.shape[1:] == model.feature_shape == (512, *cells)
    assert model.embed(features).shape == (2, 20)


@pytest.mark.parametrize("variant", [CASIA, MS1M], ids=["casia", "ms1m"])
def test_gradient_reaches_every_trainable_parameter(variant, pictures):
    model = MobileFaceNet(mobilefacenet_input(32, 32), variant=variant)
    embedding = model(model.input.normalised(torch.from_numpy(pictures(3, 32, 32))))
    (embedding * torch.randn(3, 128, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters() if p.requires_grad)
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ([] if variant.embedding_norm_scale else ["norm.weight"])


def test_variants_differ_in_their_epsilons():
    model = MobileFaceNet(mobilefacenet_input(32, 32), variant=MS1M)
    epsilons = {name: m.eps for name, m in model.named_modules() if hasattr(m, "eps")}
    assert epsilons.pop("norm") == 2e-5
    assert set(epsilons.values()) == {1e-3}


def test_normalisation_is_the_public_networks():
    spec = MobileFaceNet().input
    assert (spec.height, spec.width, spec.mean, spec.scale, spec.order) == (112, 112, 127.5, 0.0078125, "rgb")


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9), (1, 2)])
def test_a_strided_depthwise_unit_trains_as_it_is_used(height, width):
    torch.manual_seed(0)
    unit = ConvolutionUnit(6, 6, 3, stride=2, groups=6, epsilon=1e-5)
    x = torch.randn(4, 6, height, width)
    unit.train()
    ours = unit._convolved(x)
    (gradient,) = torch.autograd.grad(ours.square().sum(), unit.conv.weight)
    plain = unit.conv(x)
    (expected,) = torch.autograd.grad(plain.square().sum(), unit.conv.weight)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(gradient, expected)
