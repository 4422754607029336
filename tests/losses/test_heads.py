"""ArcFace as a head: against public codes, a slow loop, its invariances, and under autocast."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vlrface.losses.head import Head
from vlrface.losses.heads import ArcFace
from vlrface.types import VlrfaceError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "losses_arcface.json").read_text(encoding="utf-8"))


def batch(seed=0, rows=8, dim=6, classes=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(rows, dim, generator=generator, dtype=dtype)
    return embedding, torch.randint(classes, (rows,), generator=generator)


def slow_loss(embedding, prototypes, labels, scale, margin):
    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    total = 0.0
    for vector, label in zip(embedding, labels, strict=True):
        logits = []
        for k, prototype in enumerate(prototypes):
            theta = math.acos(cosine(vector, prototype))
            logits.append(scale * math.cos(theta + margin if k == label else theta))
        total += math.log(sum(math.exp(each - logits[label]) for each in logits))
    return total / len(labels)


@pytest.mark.parametrize("case", GOLDEN["implementations"], ids=lambda case: f"{case['source'][:24]}@{case['commit']}")
def test_loss_and_gradients_of_public_implementations(case):
    embedding = torch.tensor(GOLDEN["embedding"], dtype=torch.float64, requires_grad=True)
    prototypes = torch.tensor(GOLDEN["prototypes"], dtype=torch.float64)
    head = ArcFace(
        5, 6, GOLDEN["scale"], GOLDEN["margin_rad"], gradient=case["gradient"], beyond_pi=case["beyond_pi"]
    ).double()
    with torch.no_grad():
        head.prototypes.copy_(prototypes)
    output = head(embedding, torch.tensor(GOLDEN["label"]))
    output.loss.backward()
    torch.testing.assert_close(output.logits.tolist(), case["logits"], rtol=0, atol=1e-9)
    assert output.loss.item() == pytest.approx(case["loss"], abs=1e-9)
    for ours, theirs in (
        (embedding.grad, case["embedding_gradient"]),
        (head.prototypes.grad, case["prototype_gradient"]),
    ):
        torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=1e-6, atol=1e-8)


def test_loss_equals_slow_loop():
    embedding, label = batch(dtype=torch.float64)
    head = ArcFace(6, 5, 8.0, 0.3, seed=3).double()
    expected = slow_loss(embedding.tolist(), head.prototypes.tolist(), label.tolist(), 8.0, 0.3)
    assert head(embedding, label).loss.item() == pytest.approx(expected, rel=1e-9)


def test_weighted_faces():
    """A weight of 2 is a face that is there twice, one of 0 a face that is not there; prototypes learn alike."""
    embedding, label = batch(dtype=torch.float64)
    head = ArcFace(6, 5, 8.0, 0.3, seed=3).double()
    weight = torch.tensor([2.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    rows = [0, 0, *range(2, 8)]
    weighted, repeated = head(embedding, label, weight=weight), head(embedding[rows], label[rows])
    assert weighted.loss.item() == pytest.approx(repeated.loss.item(), rel=1e-12)
    gradients = (torch.autograd.grad(each.loss, head.prototypes)[0] for each in (weighted, repeated))
    torch.testing.assert_close(*gradients)
    ones = head(embedding, label, weight=torch.ones(8, dtype=torch.float64))
    torch.testing.assert_close(ones.loss, head(embedding, label).loss)
    assert torch.equal(ones.cosine, weighted.cosine)


def test_hand_worked():
    # The embedding lies on its own prototype and at 90° to the other: logits s·cos m and 0.
    head = ArcFace(2, 2, 2.0, math.pi / 3)
    head.initialise(torch.tensor([[3.0, 0.0], [0.0, 0.2]]))
    output = head(torch.tensor([[7.0, 0.0]]), torch.tensor([0]))
    assert output.cosine.tolist() == [[1.0, 0.0]]
    assert output.logits[0].tolist() == pytest.approx([1.0, 0.0], abs=3e-6)
    assert output.loss.item() == pytest.approx(math.log(1 + math.exp(-1)), abs=3e-6)


def test_gradcheck():
    embedding, label = batch(dtype=torch.float64)
    head = ArcFace(6, 5, 4.0, 0.3).double()

    def loss(embedding, prototypes):
        return torch.func.functional_call(head, {"prototypes": prototypes}, (embedding, label)).loss

    prototypes = torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(loss, (embedding.requires_grad_(), prototypes.requires_grad_()))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_without_margin_it_is_cross_entropy_of_scaled_cosines(seed):
    embedding, label = batch(seed)
    output = ArcFace(6, 5, 30.0, 0.0, seed=seed)(embedding, label)
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(30.0 * output.cosine, label))


@given(seed=st.integers(0, 10_000), embedding_scale=st.floats(1e-3, 1e3), prototype_scale=st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_norms_of_embedding_and_prototypes_do_not_matter(seed, embedding_scale, prototype_scale):
    embedding, label = batch(seed, dtype=torch.float64)
    head = ArcFace(6, 5).double()
    before = head(embedding, label).logits
    with torch.no_grad():
        head.prototypes.mul_(prototype_scale)
    torch.testing.assert_close(head(embedding * embedding_scale, label).logits, before, rtol=0, atol=1e-6)


@given(seed=st.integers(0, 10_000), order=st.permutations(range(5)))
@settings(max_examples=25, deadline=None)
def test_classes_can_be_permuted(seed, order):
    embedding, label = batch(seed, dtype=torch.float64)
    order = torch.tensor(order)
    head, permuted = ArcFace(6, 5, seed=seed).double(), ArcFace(6, 5).double()
    with torch.no_grad():
        permuted.prototypes.copy_(head.prototypes[order])
    expected, output = head(embedding, label), permuted(embedding, order.argsort()[label])
    torch.testing.assert_close(output.cosine, expected.cosine[:, order], rtol=0, atol=1e-12)
    torch.testing.assert_close(output.loss, expected.loss, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("format_of_embedding", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(format_of_embedding):
    embedding, label = batch(rows=16, dim=64, classes=20)
    embedding = embedding.to(format_of_embedding)
    head = ArcFace(64, 20)
    expected = head(embedding.float(), label)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = head(embedding, label)
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16  # autocast is on again outside the head
    assert output.regularizer is None
    for ours, plain in zip(output[:3], expected[:3], strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, plain)


def test_loss_under_autocast_reaches_both_sides():
    embedding, label = batch()
    embedding.requires_grad_()
    head = ArcFace(6, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = head(embedding, label).loss
    loss.backward()
    assert embedding.grad.abs().sum() > 0
    assert head.prototypes.grad.abs().sum() > 0


def test_cosines_stay_in_range():
    embedding = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    head = ArcFace(3, 2000)
    head.initialise(embedding)  # every embedding lies on its prototype, to rounding
    output = head(embedding, torch.arange(2000))
    assert output.cosine.abs().max() <= 1.0
    assert torch.autograd.grad(output.loss, head.prototypes)[0].isfinite().all()


def test_zero_embedding_is_finite():
    output = ArcFace(6, 5)(torch.zeros(1, 6), torch.tensor([2]))
    assert output.cosine.abs().max() == 0.0
    assert output.loss.isfinite()


def test_prototypes_depend_on_the_seed_alone():
    state = torch.get_rng_state()
    first, again, other = ArcFace(6, 5, seed=1), ArcFace(6, 5, seed=1), ArcFace(6, 5, seed=2)
    assert torch.equal(first.prototypes, again.prototypes)
    assert not torch.equal(first.prototypes, other.prototypes)
    assert torch.equal(torch.get_rng_state(), state)


def test_state_is_the_prototypes_and_text_the_settings():
    head = ArcFace(6, 5, 32.0, 0.3)
    assert list(head.state_dict()) == ["prototypes"]
    assert (head.dim, head.classes) == (6, 5)
    assert "scale=32.0, margin_rad=0.3, gradient=differentiated, beyond_pi=linear" in repr(head)


def test_initialise_keeps_directions():
    head = ArcFace(2, 2)
    head.initialise(torch.tensor([[3.0, 4.0], [0.0, -0.1]]))
    torch.testing.assert_close(head.prototypes.detach(), torch.tensor([[0.6, 0.8], [0.0, -1.0]]))
    assert head.prototypes.requires_grad


@pytest.mark.parametrize(
    ("prototypes", "reason"),
    [
        (torch.ones(3, 2), "needs \\(2, 2\\)"),
        (torch.tensor([[1.0, 0.0], [0.0, 0.0]]), "class 1 is zero"),
        (torch.tensor([[math.nan, 0.0], [1.0, 0.0]]), "class 0"),
    ],
)
def test_initialise_refuses(prototypes, reason):
    head = ArcFace(2, 2)
    before = head.prototypes.detach().clone()
    with pytest.raises(VlrfaceError, match=reason):
        head.initialise(prototypes)
    assert torch.equal(head.prototypes.detach(), before)


@pytest.mark.parametrize("labels", [[0, 5], [-1, 2], [-100, 0]])
def test_labels_outside_are_named(labels):
    with pytest.raises(VlrfaceError, match=r"labels \[(5|-1|-100)\] lie outside the 5 classes 0..4"):
        ArcFace(6, 5)(torch.ones(2, 6), torch.tensor(labels))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"classes": 1}, "at least 2 classes"),
        ({"dim": 0}, "dim 0"),
        ({"scale": 0.0}, "scale > 0"),
        ({"scale": math.inf}, "scale > 0"),
        ({"margin_rad": -0.1}, "margin"),
        ({"margin_rad": math.pi}, "margin"),
        ({"margin_rad": math.nan}, "margin"),
    ],
)
def test_settings_outside_their_range(arguments, reason):
    with pytest.raises(VlrfaceError, match=reason):
        ArcFace(**({"dim": 6, "classes": 5} | arguments))


def test_unknown_options_are_refused_without_type_checks():
    # The annotations of the tests catch them first; without these, the constructor must.
    unchecked = ArcFace.__init__
    while hasattr(unchecked, "__wrapped__"):
        unchecked = unchecked.__wrapped__
    for options in ({"gradient": "straight-through"}, {"beyond_pi": "hard"}):
        with pytest.raises(VlrfaceError, match=r"ArcFace knows (gradient|beyond_pi)"):
            unchecked(ArcFace.__new__(ArcFace), 6, 5, **options)


class RunningHead(Head):
    """A running statistic, the norm in the logits, and a loss term of its own: all that a head may have."""

    def __init__(self, dim, classes):
        super().__init__(dim, classes)
        self.register_buffer("mean_norm", torch.tensor(0.0))

    def observe(self, cosine, norm, label):
        del label
        assert not cosine.requires_grad
        assert not norm.requires_grad
        self.mean_norm.lerp_(norm.mean(), 0.5)

    def logits(self, cosine, norm, label):
        return cosine - self.mean_norm * nn.functional.one_hot(label, self.classes) * norm.unsqueeze(1)

    def regularizer(self, norm):
        return norm.mean()


def test_statistics_are_taken_in_before_the_logits_and_only_while_training():
    embedding, label = batch()
    embedding.requires_grad_()
    head = RunningHead(6, 5)
    assert set(head.state_dict()) == {"prototypes", "mean_norm"}
    output = head(embedding, label)
    norm = embedding.detach().norm(dim=1)
    half = float(norm.mean()) / 2
    assert float(head.mean_norm) == pytest.approx(half)
    own = (output.logits - output.cosine).gather(1, label.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(own.detach(), -half * norm)
    head(embedding, label, observed=False)
    head.eval()(embedding, label)
    assert float(head.mean_norm) == pytest.approx(half)


def test_a_regularizer_stands_beside_the_loss():
    embedding, label = batch()
    output = RunningHead(6, 5)(embedding, label)
    assert output.loss.item() == pytest.approx(nn.functional.cross_entropy(output.logits, label).item())
    assert output.regularizer.item() == pytest.approx(embedding.norm(dim=1).mean().item())
    assert output.total.item() == pytest.approx(output.loss.item() + output.regularizer.item())
    assert ArcFace(6, 5)(embedding, label).regularizer is None
