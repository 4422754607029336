"""What heads add to their equations: settings, running statistics, state, and behaviour common to all of them."""

import inspect
import io
import math

import pytest
import torch
from torch import nn

from vlrface.losses import (
    AdaFace,
    ArcFace,
    CosFace,
    CrossEntropy,
    CurricularFace,
    MagFace,
    MVSoftmax,
    NormFace,
)
from vlrface.types import VlrfaceError

HEADS = (CrossEntropy, NormFace, CosFace, ArcFace, MVSoftmax, CurricularFace, MagFace, AdaFace)
every_head = pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)


def batch(seed=0, rows=16, dim=6, classes=5, dtype=torch.float32, norm=12.0):
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(rows, dim, generator=generator, dtype=dtype) * norm / math.sqrt(dim)
    return embedding, torch.randint(classes, (rows,), generator=generator)


# --- all heads -------------------------------------------------------------------------------------------------------


@every_head
def test_the_loss_is_the_cross_entropy_of_the_logits(head):
    embedding, label = batch()
    made = head(6, 5)
    output = made(embedding, label)
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits, label))
    cosine = nn.functional.normalize(embedding) @ nn.functional.normalize(made.prototypes).T
    torch.testing.assert_close(output.cosine, cosine)
    assert (output.regularizer is not None) == (head is MagFace)


@every_head
@pytest.mark.parametrize("format_of_embedding", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(head, format_of_embedding):
    embedding = batch(dim=64, classes=20)[0].to(format_of_embedding)
    label = batch(dim=64, classes=20)[1]
    plain, cast = head(64, 20), head(64, 20)
    expected = plain(embedding.float(), label)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = cast(embedding, label)
    for ours, theirs in zip(output, expected, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == torch.float32
            assert torch.equal(ours, theirs)
    assert all(torch.equal(a, b) for a, b in zip(plain.buffers(), cast.buffers(), strict=True))


@every_head
def test_gradcheck_of_the_head(head):
    embedding, label = batch(2, rows=5, dtype=torch.float64)
    made = head(6, 5, **({} if head is CrossEntropy else {"scale": 4.0})).double().eval()
    prototypes = torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def total(embedding, prototypes):
        if isinstance(made, AdaFace):  # its norm has no gradient: asked at a fixed norm
            embedding = nn.functional.normalize(embedding) * 12.0
        return torch.func.functional_call(made, {"prototypes": prototypes}, (embedding, label)).total

    assert torch.autograd.gradcheck(total, (embedding.requires_grad_(), prototypes.requires_grad_()))


@every_head
@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches_and_hopeless_embeddings_stay_finite(head, rows):
    made = head(6, 5)
    for embedding in (torch.zeros(rows, 6), torch.full((rows, 6), 1e4), batch(rows=rows)[0], batch(norm=1e-3)[0]):
        embedding.requires_grad_()
        output = made(embedding, torch.zeros(len(embedding), dtype=torch.int64))
        gradients = torch.autograd.grad(output.total, (embedding, made.prototypes))
        assert all(each.isfinite().all() for each in gradients)
        assert all(each.isfinite().all() for each in made.state_dict().values())


@every_head
def test_a_head_learns(head):
    """Embeddings of five people, noisy: every head takes them apart within a few steps."""
    label = torch.arange(60) % 5
    generator = torch.Generator().manual_seed(7)
    faces = torch.randn(5, 6, generator=generator)[label] + 0.3 * torch.randn(60, 6, generator=generator)
    made, trunk = head(6, 5), nn.Linear(6, 6, bias=False)
    with torch.no_grad():
        trunk.weight.copy_(5.0 * torch.eye(6))
    optimizer = torch.optim.SGD([*made.parameters(), *trunk.parameters()], lr=0.02, momentum=0.9)
    losses = []
    for _ in range(60):
        output = made(trunk(faces), label)
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
        losses.append(output.total.item())
    assert losses[-1] < 0.6 * losses[0]
    assert (output.cosine.argmax(dim=1) == label).float().mean() > 0.9


@every_head
def test_text_says_the_settings(head):
    settings = set(inspect.signature(head).parameters) - {"dim", "classes", "seed"}
    text = repr(head(6, 5))
    shortened = {"lowest_norm": "norm=", "highest_norm": "norm=", "lowest_margin_rad": "margin_rad=",
                 "highest_margin_rad": "margin_rad=", "first_mean": "", "first_deviation": ""}  # fmt: skip
    for name in settings:
        assert shortened.get(name, f"{name}=") in text, name


@every_head
def test_prototypes_start_alike_in_every_head(head):
    assert torch.equal(head(6, 5, seed=3).prototypes, ArcFace(6, 5, seed=3).prototypes)
    assert not torch.equal(head(6, 5, seed=4).prototypes, ArcFace(6, 5, seed=3).prototypes)


@pytest.mark.parametrize(
    ("head", "settings", "said"),
    [
        (NormFace, {"scale": 0.0}, "NormFace needs a finite scale > 0"),
        (CosFace, {"scale": math.inf}, "CosFace needs a finite scale"),
        (CosFace, {"margin": -0.1}, "margin in"),
        (CosFace, {"margin": math.nan}, "margin in"),
        (MVSoftmax, {"hardness": 0.9}, "hardness ≥ 1"),
        (MVSoftmax, {"margin": 2.0}, "margin in"),
        (CurricularFace, {"margin_rad": math.pi}, "margin in"),
        (CurricularFace, {"momentum": 0.0}, "momentum"),
        (MagFace, {"scale": -1.0}, "MagFace needs a finite scale"),
        (MagFace, {"magnitude_weight": -1.0}, "magnitude_weight"),
        (MagFace, {"lowest_norm": 0.0}, "0 < lowest < highest"),
        (MagFace, {"lowest_norm": 110.0}, "0 < lowest < highest"),
        (MagFace, {"lowest_margin_rad": 0.9}, "0 ≤ lowest ≤ highest"),
        (MagFace, {"highest_margin_rad": 3.2}, "< π rad"),
        (AdaFace, {"margin": 1.6}, "margin in"),
        (AdaFace, {"concentration": -0.1}, "concentration"),
        (AdaFace, {"momentum": 1.1}, "momentum"),
        (AdaFace, {"first_deviation": -1.0}, "first mean and deviation"),
        (AdaFace, {"highest_norm": 0.0}, "highest norm"),
    ],
)
def test_settings_outside_their_range(head, settings, said):
    with pytest.raises(VlrfaceError, match=said):
        head(6, 5, **settings)


# --- cross entropy ---------------------------------------------------------------------------------------------------


def test_cross_entropy_is_a_linear_layer():
    embedding, label = batch(dtype=torch.float64)
    embedding.requires_grad_()
    head = CrossEntropy(6, 5).double()
    layer = nn.Linear(6, 5, dtype=torch.float64)
    with torch.no_grad():
        head.bias.copy_(layer.bias)
        head.prototypes.copy_(layer.weight)
    ours, theirs = head(embedding, label).loss, nn.functional.cross_entropy(layer(embedding), label)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    for a, b in zip(
        torch.autograd.grad(ours, (embedding, head.prototypes, head.bias)),
        torch.autograd.grad(theirs, (embedding, layer.weight, layer.bias)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


# --- running statistics ----------------------------------------------------------------------------------------------


def test_adaface_follows_mean_and_deviation_of_the_norms():
    head = AdaFace(6, 5, momentum=0.25, first_mean=10.0, first_deviation=4.0)
    mean, deviation = 10.0, 4.0
    for seed in range(5):
        embedding, label = batch(seed, norm=3.0 * (seed + 1))
        norms = embedding.norm(dim=1).clamp(max=100.0)
        head(embedding, label)
        mean, deviation = 0.75 * mean + 0.25 * float(norms.mean()), 0.75 * deviation + 0.25 * float(norms.std())
        assert float(head.norm_mean) == pytest.approx(mean, rel=1e-5)
        assert float(head.norm_deviation) == pytest.approx(deviation, rel=1e-5)


def test_adaface_of_one_face_keeps_its_deviation():
    head = AdaFace(6, 5, momentum=0.5, first_mean=10.0, first_deviation=4.0)
    head(torch.full((1, 6), 20.0 / math.sqrt(6)), torch.tensor([0]))
    assert float(head.norm_mean) == pytest.approx(15.0)
    assert float(head.norm_deviation) == 4.0


def test_adaface_bounds_a_wild_norm():
    head = AdaFace(6, 5, momentum=1.0, highest_norm=30.0)
    embedding, label = batch()
    embedding[0] *= 1e6
    head(embedding, label)
    assert float(head.norm_mean) < 30.0
    assert float(head.norm_deviation) < 30.0


def test_adaface_of_equal_norms_is_cosface():
    embedding = nn.functional.normalize(batch()[0]) * 7.0
    head = AdaFace(6, 5, momentum=1.0)
    output = head(embedding, batch()[1])
    expected = CosFace(6, 5, 64.0, 0.4)(embedding, batch()[1])
    # Norms differ by rounding: their deviation is near 0, and z stays near 0 for the 1e-3 beside it.
    torch.testing.assert_close(output.logits, expected.logits, rtol=0, atol=0.05)


def test_curricularface_follows_the_cosine_of_the_true_class():
    head, t = CurricularFace(6, 5, momentum=0.25), 0.0
    assert float(head.progress) == 0.0
    for seed in range(5):
        embedding, label = batch(seed)
        output = head(embedding, label)
        t = 0.75 * t + 0.25 * float(output.cosine.detach().gather(1, label.unsqueeze(1)).mean())
        assert float(head.progress) == pytest.approx(t, abs=1e-6)


@pytest.mark.parametrize("head", [AdaFace, CurricularFace], ids=lambda head: head.__name__)
def test_statistics_stand_still_in_evaluation_and_where_asked(head):
    made = head(6, 5)
    before = [each.clone() for each in made.buffers()]
    embedding, label = batch()
    made(embedding, label, observed=False)
    made.eval()(embedding, label)
    assert all(torch.equal(a, b) for a, b in zip(before, made.buffers(), strict=True))
    made.train()(embedding, label)
    assert not any(torch.equal(a, b) for a, b in zip(before, made.buffers(), strict=True))
    assert not any(each.requires_grad for each in made.buffers())


@pytest.mark.parametrize(
    ("head", "names"),
    [
        (AdaFace, {"prototypes", "norm_mean", "norm_deviation"}),
        (CurricularFace, {"prototypes", "progress"}),
        (CrossEntropy, {"prototypes", "bias"}),
        (MagFace, {"prototypes"}),
    ],
)
def test_the_state_goes_on_to_the_last_bit(head, names):
    first, second = head(6, 5), head(6, 5, seed=9)
    for seed in range(3):
        first(*batch(seed))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert set(second.state_dict()) == names
    for seed in range(3, 6):
        assert torch.equal(first(*batch(seed)).total, second(*batch(seed)).total)
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), second.buffers(), strict=True))
