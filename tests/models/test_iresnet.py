import hashlib
import json
from pathlib import Path

import pytest
import torch

from vlrface.models.backbone import InputSpec
from vlrface.models.iresnet import iresnet
from vlrface.models.recognizer import Recognizer

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "models_iresnet.json").read_text(encoding="utf-8"))


def _wanted(model):
    return {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}


@pytest.mark.parametrize("depth", [18, 34, 50, 100])
def test_embeddings_names_and_sizes_of_arcface_torch(depth, filled, pictures):
    golden = GOLDEN["networks"][str(depth)]
    model = iresnet(depth)
    shapes = {name: tuple(value.shape) for name, value in _wanted(model).items()}
    lines = "\n".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items()))
    assert len(shapes) == golden["tensors"]
    assert hashlib.sha256(lines.encode()).hexdigest() == golden["names_sha256"]
    assert sum(p.numel() for p in model.parameters()) == golden["parameters"]
    model.load_state_dict(filled(shapes), strict=False)
    embeddings, _ = Recognizer(model).embed_crops(pictures(2, 112, 112))
    for row, first, norm in zip(embeddings, golden["first_values"], golden["norms"], strict=True):
        scale = norm / len(row) ** 0.5
        assert row[:8].tolist() == pytest.approx(first, rel=1e-4, abs=1e-4 * scale)
        assert float((row.astype(float) ** 2).sum() ** 0.5) == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "cells"),
    [(32, 32, (2, 2)), (64, 64, (4, 4)), (112, 112, (7, 7)), (112, 96, (7, 6)), (40, 17, (3, 2))],
)
def test_shapes_for_every_input_size(height, width, cells, pictures):
    model = iresnet(18, InputSpec(height, width), embedding_dim=24)
    pixels = model.input.normalised(torch.from_numpy(pictures(2, height, width)))
    features = model.feature_map(pixels)
    assert features.shape[1:] == model.feature_shape == (512, *cells)
    assert model.embed(features).shape == (2, 24)
    assert model(pixels).shape == (2, 24)


def test_gradient_reaches_every_trainable_parameter(pictures):
    model = iresnet(18, InputSpec(32, 32), embedding_dim=8)
    embedding = model(model.input.normalised(torch.from_numpy(pictures(3, 32, 32))))
    (embedding * torch.randn(3, 8, generator=torch.Generator().manual_seed(0))).sum().backward()
    # The bias of `fc` is taken away again by the norm that follows, so nothing reaches it but rounding.
    dead = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or p.grad.abs().max() == 0)]
    assert dead in ([], ["fc.bias"])
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["features.weight"]


def test_dropout_acts_in_training_alone(pictures):
    model = iresnet(18, InputSpec(32, 32), embedding_dim=8, dropout=0.5)
    pixels = model.input.normalised(torch.from_numpy(pictures(4, 32, 32)))
    features = model.feature_map(pixels)
    assert not torch.equal(model.embed(features), model.embed(features))
    model.eval()
    assert torch.equal(model(pixels), model(pixels))


def test_the_seed_alone_decides_the_weights():
    spec = InputSpec(16, 16)
    first, again, other = (iresnet(18, spec, embedding_dim=4, seed=s).conv1.weight for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
