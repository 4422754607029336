"""Statistics of unrecognizable identities, the index diversion loss and the projection away from their centre."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.losses.recognizability import (
    UnrecognizableStatistics,
    diversion,
    emphasis,
    index_diversion_loss,
    project_away,
    projection_loss,
)
from vlrface.types import VlrfaceError


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit(vectors):
    return vectors / vectors.norm(dim=-1, keepdim=True)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


# --- statistics of the unrecognizable identities ---------------------------------------------------------------------


def test_measure_equals_slow_loop():
    embeddings, index = normal(1, 7, 3), normal(2, 7)
    found = UnrecognizableStatistics.measure(embeddings, index)
    rows = [[x / math.hypot(*row) for x in row] for row in embeddings.tolist()]
    mean = [sum(column) / 7 for column in zip(*rows, strict=True)]
    values = index.tolist()
    middle = sum(values) / 7
    assert found.center.tolist() == pytest.approx([x / math.hypot(*mean) for x in mean])
    assert found.mean == pytest.approx(middle)
    assert found.deviation == pytest.approx(math.sqrt(sum((x - middle) ** 2 for x in values) / 7))


def test_measure_hand_worked():
    # Norms do not weigh: (9, 0) and (0, 1) have their centre at 45°.
    found = UnrecognizableStatistics.measure(torch.tensor([[9.0, 0.0], [0.0, 1.0]]), torch.tensor([1.0, 3.0]))
    assert found.center.tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    assert (found.mean, found.deviation) == (2.0, 1.0)


def test_measure_keeps_no_gradient_and_float32():
    embeddings = normal(1, 4, 3, dtype=torch.bfloat16).requires_grad_()
    found = UnrecognizableStatistics.measure(embeddings, torch.ones(4, requires_grad=True))
    assert found.center.dtype == torch.float32
    assert not found.center.requires_grad


def test_one_unrecognizable_identity_has_deviation_zero():
    found = UnrecognizableStatistics.measure(torch.tensor([[0.0, 2.0]]), torch.tensor([0.7]))
    assert found.center.tolist() == [0.0, 1.0]
    assert found.deviation == 0.0


@pytest.mark.parametrize(
    ("embeddings", "index", "reason"),
    [
        (torch.ones(0, 2), torch.ones(0), "no unrecognizable identity"),
        (torch.tensor([[1.0, math.nan], [1.0, 0.0]]), torch.ones(2), "1 of 2 UIs"),
        (torch.ones(2, 2), torch.tensor([1.0, math.inf]), "1 of 2 UIs"),
        (torch.tensor([[1.0, 0.0], [-5.0, 0.0]]), torch.ones(2), "cancel out"),
        (torch.zeros(2, 2), torch.ones(2), "cancel out"),
    ],
)
def test_measure_refuses(embeddings, index, reason):
    with pytest.raises(VlrfaceError, match=reason):
        UnrecognizableStatistics.measure(embeddings, index)


@pytest.mark.parametrize(
    ("center", "mean", "deviation", "reason"),
    [
        ([1.0, 1.0], 0.0, 1.0, "norm 1"),
        ([math.nan, 1.0], 0.0, 1.0, "norm 1"),
        ([0.0, 1.0], math.nan, 1.0, "finite"),
        ([0.0, 1.0], 0.0, -1.0, "≥ 0"),
        ([0.0, 1.0], 0.0, math.inf, "finite"),
        ([0.0, 1.0], 0.0, math.nan, "≥ 0"),
    ],
)
def test_statistics_are_checked(center, mean, deviation, reason):
    with pytest.raises(VlrfaceError, match=reason):
        UnrecognizableStatistics(torch.tensor(center), mean, deviation)


# --- index diversion -------------------------------------------------------------------------------------------------


def statistics(mean=1.0, deviation=0.5):
    return UnrecognizableStatistics(torch.tensor([1.0, 0.0]), mean, deviation)


def test_diversion_hand_worked():
    assert diversion(torch.tensor([1.0, 2.0, 0.5]), 1.0, 0.5).tolist() == [0.0, 2.0, -1.0]
    # τ = 3: hinges 3, 1 and 4.
    assert float(index_diversion_loss(torch.tensor([1.0, 2.0, 0.5]), statistics())) == pytest.approx(8 / 3)


@given(seed=st.integers(0, 1000), tau=st.floats(1.0, 5.0), deviation=st.floats(0.0, 2.0))
@settings(max_examples=40, deadline=None)
def test_diversion_equals_slow_loop(seed, tau, deviation):
    predicted = normal(seed, 9)
    total = sum(max(0.0, tau - (each - 1.0) / max(deviation, 0.1)) for each in predicted.tolist())
    loss = index_diversion_loss(predicted, statistics(deviation=deviation), tau)
    assert loss.item() == pytest.approx(total / 9, rel=1e-12)


@given(shift=st.floats(-5.0, 5.0), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_only_the_difference_to_the_unrecognizable_counts(shift, seed):
    predicted = normal(seed, 9)
    moved = index_diversion_loss(predicted + shift, statistics(mean=1.0 + shift))
    torch.testing.assert_close(moved, index_diversion_loss(predicted, statistics()))


def test_faces_far_above_give_nothing():
    predicted = torch.tensor([2.6, 100.0], requires_grad=True)
    loss = index_diversion_loss(predicted, statistics())
    loss.backward()
    assert loss.item() == 0.0
    assert predicted.grad.tolist() == [0.0, 0.0]


def test_deviation_zero_does_not_explode():
    # An untrained regression predicts the same for all: σ_UI = 0.
    predicted = torch.zeros(4, requires_grad=True)
    loss = index_diversion_loss(predicted, statistics(mean=0.0, deviation=0.0))
    loss.backward()
    assert loss.item() == pytest.approx(3.0)
    assert predicted.grad.tolist() == pytest.approx([-1 / 0.1 / 4] * 4)


def test_training_from_deviation_zero_stays_finite():
    """A regression trained by the diversion alone, its statistics refreshed at each step, from σ_UI = 0 on."""
    faces = normal(1, 32, 4, dtype=torch.float32) + 1
    unrecognizable = normal(2, 32, 4, dtype=torch.float32) * 0.1
    weight = torch.zeros(4, requires_grad=True)
    for _ in range(200):
        now = UnrecognizableStatistics.measure(unrecognizable + 1.0, (unrecognizable @ weight).detach())
        loss = index_diversion_loss(faces @ weight, now)
        (gradient,) = torch.autograd.grad(loss, weight)
        with torch.no_grad():
            weight -= 0.1 * gradient
        assert loss.isfinite()
    assert weight.isfinite().all()
    assert loss.item() < 3.0


def test_diversion_gradcheck():
    predicted = torch.tensor([0.1, 0.9, 2.0, 3.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: index_diversion_loss(p, statistics()), (predicted,))


def test_nan_is_not_hidden_by_the_hinge():
    assert index_diversion_loss(torch.tensor([math.nan, 99.0]), statistics()).isnan()


@pytest.mark.parametrize("floor", [0.0, -0.1, math.nan])
def test_floor_must_be_positive(floor):
    with pytest.raises(VlrfaceError, match="floor"):
        diversion(torch.zeros(2), 0.0, 1.0, floor)


def test_diversion_of_bfloat16_is_float32():
    assert index_diversion_loss(torch.ones(2, dtype=torch.bfloat16), statistics()).dtype == torch.float32


# --- emphasis --------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1000), tau=st.floats(0.5, 5.0), floor=st.floats(0.05, 1.0))
@settings(max_examples=40, deadline=None)
def test_emphasis_equals_slow_loop_and_rises_with_the_index(seed, tau, floor):
    predicted = normal(seed, 6).sort().values
    now = statistics(mean=0.3, deviation=0.4)
    weight = emphasis(predicted, now, tau, floor)
    slow = [1 / (1 + math.exp(-2 * (2 * (x - 0.3) / max(0.4, floor) / tau - 1))) for x in predicted.tolist()]
    assert weight.tolist() == pytest.approx([6 * each / sum(slow) for each in slow], rel=1e-9)
    assert float(weight.mean()) == pytest.approx(1.0)
    assert (weight.diff() >= 0).all()  # the sigmoid saturates far above
    assert weight[0] < weight[-1]


def test_emphasis_of_faces_like_the_unrecognizable_is_little():
    """Relative to a face that is far above: 12 % at their mean, half halfway to τ, 88 % at τ."""
    now = statistics(mean=1.0, deviation=0.5)
    weight = emphasis(torch.tensor([1.0, 1.75, 2.5, 100.0], dtype=torch.float64), now, tau=3.0)
    assert (weight / weight[-1]).tolist() == pytest.approx([0.119, 0.5, 0.881, 1.0], abs=5e-4)


@pytest.mark.parametrize("where", [-1e4, -50.0, 0.0, 50.0, 1e4])
def test_emphasis_is_1_for_equal_faces_wherever_they_lie(where):
    weight = emphasis(torch.full((5,), where), statistics())
    assert weight.tolist() == pytest.approx([1.0] * 5)
    assert emphasis(torch.tensor([where]), statistics()).tolist() == [1.0]  # a batch of one


def test_emphasis_has_no_gradient_and_is_float32():
    predicted = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight = emphasis(predicted, statistics())
    assert not weight.requires_grad
    assert weight.dtype == torch.float32
    assert emphasis(torch.tensor([math.nan, 1.0]), statistics()).isnan().any()  # not hidden
    with pytest.raises(VlrfaceError, match="tau is 0"):
        emphasis(torch.ones(2), statistics(), tau=0.0)


# --- projection ------------------------------------------------------------------------------------------------------


def test_projection_hand_worked():
    away = project_away(torch.tensor([[3.0, 4.0, 0.0]]), torch.tensor([0.0, 2.0, 0.0]))
    assert away[0].tolist() == pytest.approx([1.0, 0.0, 0.0])
    # Attention that gives (0, 0, 5) is at distance √2 of it.
    loss = projection_loss(
        torch.tensor([[0.0, 0.0, 5.0]]), torch.tensor([[3.0, 4.0, 0.0]]), torch.tensor([0.0, 2.0, 0.0])
    )
    assert loss.item() == pytest.approx(2.0)


@given(seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_projection_equals_slow_loop(seed):
    attended, embedding, center = normal(seed, 4, 5), normal(seed + 1, 4, 5), normal(seed + 2, 5)
    direction = [x / math.hypot(*center.tolist()) for x in center.tolist()]
    total = 0.0
    for a, v in zip(attended.tolist(), embedding.tolist(), strict=True):
        a, v = ([x / math.hypot(*each) for x in each] for each in (a, v))
        along = dot(v, direction)
        rest = [x - along * u for x, u in zip(v, direction, strict=True)]
        target = [x / math.hypot(*rest) for x in rest]
        total += sum((x - y) ** 2 for x, y in zip(a, target, strict=True))
    assert float(projection_loss(attended, embedding, center)) == pytest.approx(total / 4, rel=1e-9)


@given(
    seed=st.integers(0, 10_000),
    closeness=st.floats(0.0, 0.9999),
    sign=st.sampled_from([-1.0, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=80, deadline=None)
def test_projection_is_a_unit_vector_orthogonal_to_the_center(seed, closeness, sign, dtype):
    """Even where the embedding lies almost on the centre."""
    center = normal(seed, 16, dtype=dtype)
    other = normal(seed + 1, 3, 16, dtype=dtype)
    embedding = 7.0 * (closeness * sign * unit(center) + (1 - closeness) * unit(other))
    away = project_away(embedding, center)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    assert away.norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=tolerance)
    assert (away @ unit(center)).tolist() == pytest.approx([0.0] * 3, abs=tolerance)


@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_projecting_twice_changes_nothing_and_norms_do_not_matter(seed, scale):
    embedding, center = normal(seed, 3, 6), normal(seed + 1, 6)
    away = project_away(embedding, center)
    torch.testing.assert_close(project_away(away, center), away)
    torch.testing.assert_close(project_away(embedding * scale, center * scale), away)
    torch.testing.assert_close(project_away(embedding + scale * center, center), away)  # what lies along it is lost


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_embedding_on_the_center_has_no_projection(sign, dtype):
    center = unit(normal(1, 128, dtype=dtype))
    embedding = torch.stack([sign * 20 * center, normal(2, 128, dtype=dtype)])
    away = project_away(embedding, center)
    assert away[0].abs().max() == 0.0
    assert float(away[1].norm()) == pytest.approx(1.0)
    attended = normal(3, 2, 128, dtype=dtype).requires_grad_()
    loss = projection_loss(attended, embedding, center)
    (gradient,) = torch.autograd.grad(loss, attended)
    assert loss.isfinite()
    assert gradient[0].abs().max() < 1e-7  # a constant: it pulls the attention nowhere
    assert gradient[1].abs().max() > 1e-4


def test_projection_loss_reaches_the_attended_embedding_only():
    attended, embedding = normal(1, 3, 4).requires_grad_(), normal(2, 3, 4).requires_grad_()
    center = normal(3, 4).requires_grad_()
    projection_loss(attended, embedding, center).backward()
    assert attended.grad.abs().sum() > 0
    assert embedding.grad is None
    assert center.grad is None


def test_projection_gradcheck():
    embedding, center = normal(2, 3, 4), normal(3, 4)
    assert torch.autograd.gradcheck(
        lambda a: projection_loss(a, embedding, center), (normal(1, 3, 4).requires_grad_(),)
    )


def test_projection_range():
    center = torch.tensor([0.0, 1.0])
    embedding = torch.tensor([[1.0, 0.3]])
    assert float(projection_loss(torch.tensor([[5.0, 0.0]]), embedding, center)) == 0.0
    assert float(projection_loss(torch.tensor([[-5.0, 0.0]]), embedding, center)) == 4.0


def test_projection_is_float32_under_autocast():
    attended, embedding = normal(1, 3, 64, dtype=torch.bfloat16), normal(2, 3, 64, dtype=torch.bfloat16)
    center = normal(3, 64, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = projection_loss(attended, embedding, center)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, projection_loss(attended.float(), embedding.float(), center))
