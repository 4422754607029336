"""Cosine distillation: slow loop, hand-worked, properties, masked rows, gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.losses.distillation import TeacherMap, cosine_distillation
from vlrface.losses.heads import ArcFace
from vlrface.losses.objective import MethodObjective, ObjectiveWeights
from vlrface.types import VlrfaceError


def vectors(seed, rows=5, dim=4, dtype=torch.float64):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slow(embedding, teacher, mask):
    total, count = 0.0, 0
    for a, b, used in zip(embedding, teacher, mask, strict=True):
        if used:
            total += 1 - sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
            count += 1
    return total / count if count else 0.0


def test_hand_worked():
    embedding = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    teacher = torch.tensor([[5.0, 0.0], [3.0, 0.0], [-1.0, 0.0]])
    assert float(cosine_distillation(embedding, teacher)) == pytest.approx((0 + 1 + 2) / 3)


@given(seed=st.integers(0, 1000), mask=st.lists(st.booleans(), min_size=5, max_size=5))
@settings(max_examples=40, deadline=None)
def test_equals_slow_loop(seed, mask):
    embedding, teacher = vectors(seed), vectors(seed + 1)
    expected = slow(embedding.tolist(), teacher.tolist(), mask)
    assert float(cosine_distillation(embedding, teacher, torch.tensor(mask))) == pytest.approx(expected, abs=1e-12)
    if all(mask):
        assert float(cosine_distillation(embedding, teacher)) == pytest.approx(expected, abs=1e-12)


@given(
    seed=st.integers(0, 1000),
    mask=st.lists(st.booleans(), min_size=5, max_size=5),
    weight=st.lists(st.floats(0.01, 3.0), min_size=5, max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_weighted_rows_equal_slow_loop(seed, mask, weight):
    """Weights of rows without a teacher do not count, whatever those rows hold."""
    embedding, teacher = vectors(seed), vectors(seed + 1)
    counted = torch.tensor(weight, dtype=torch.float64)
    each = [slow(embedding[[i]].tolist(), teacher[[i]].tolist(), [True]) for i in range(5)]
    used = [i for i in range(5) if mask[i]]
    total = sum(weight[i] for i in used)
    expected = sum(weight[i] * each[i] for i in used) / total if used else 0.0
    if all(mask):
        assert float(cosine_distillation(embedding, teacher, None, counted)) == pytest.approx(expected, abs=1e-12)
    teacher[~torch.tensor(mask)] = math.nan
    found = cosine_distillation(embedding.requires_grad_(), teacher, torch.tensor(mask), counted)
    found.backward()
    assert float(found.detach()) == pytest.approx(expected, abs=1e-12)
    assert embedding.grad.isfinite().all()
    assert (embedding.grad.abs().sum(dim=1) > 0).tolist() == mask


@given(seed=st.integers(0, 1000), first=st.floats(1e-3, 1e3), second=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_norms_do_not_matter_and_the_range_holds(seed, first, second):
    embedding, teacher = vectors(seed), vectors(seed + 1)
    loss = float(cosine_distillation(embedding, teacher))
    assert 0.0 <= loss <= 2.0
    assert float(cosine_distillation(embedding * first, teacher * second)) == pytest.approx(loss, abs=1e-12)
    assert float(cosine_distillation(embedding, embedding * second)) == pytest.approx(0.0, abs=1e-12)


def test_gradcheck_and_the_teacher_gets_none():
    embedding, teacher = vectors(1).requires_grad_(), vectors(2).requires_grad_()
    mask = torch.tensor([True, False, True, True, False])
    assert torch.autograd.gradcheck(lambda e: cosine_distillation(e, teacher, mask), (embedding,))
    cosine_distillation(embedding, teacher, mask).backward()
    assert teacher.grad is None
    assert embedding.grad[1].abs().max() == 0.0
    assert embedding.grad[0].abs().max() > 0.0


def test_rows_without_a_teacher_may_hold_anything():
    embedding, teacher = vectors(1).requires_grad_(), vectors(2)
    mask = torch.tensor([True, False, True, True, False])
    expected = cosine_distillation(embedding, teacher, mask).item()
    teacher[~mask] = torch.tensor([math.nan, math.inf, 0.0, 1e30], dtype=torch.float64)
    loss = cosine_distillation(embedding, teacher, mask)
    loss.backward()
    assert loss.item() == expected
    assert embedding.grad.isfinite().all()


def test_no_teacher_at_all_is_zero_without_gradient():
    embedding = vectors(1).requires_grad_()
    loss = cosine_distillation(embedding, torch.full((5, 4), math.nan).double(), torch.zeros(5, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert embedding.grad.abs().max() == 0.0


def test_float32_under_autocast():
    embedding, teacher = vectors(1, dtype=torch.bfloat16), vectors(2, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cosine_distillation(embedding, teacher)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, cosine_distillation(embedding.float(), teacher.float()))


def test_another_length_is_refused():
    with pytest.raises(VlrfaceError, match="256 values, the trained ones 128"):
        cosine_distillation(torch.ones(2, 128), torch.ones(2, 256))


def test_a_map_starts_orthogonal_and_learns_to_reach_a_longer_teacher():
    """A teacher that is a rotation of the embedding is reached exactly by the map alone."""
    embedding = vectors(0, rows=64, dtype=torch.float32)
    turn = torch.linalg.qr(vectors(5, rows=9, dim=4, dtype=torch.float32)).Q
    head = ArcFace(4, 3, 16.0, 0.1)
    objective = MethodObjective(head, ObjectiveWeights(0.0, 0.0, 0.0, 0.0, distillation=1.0), teacher_dim=9)
    weight = objective.teacher_map.weight
    torch.testing.assert_close(weight.T @ weight, torch.eye(4), rtol=1e-5, atol=1e-5)
    label = torch.zeros(64, dtype=torch.long)
    nothing = torch.full((64,), torch.nan)

    def loss():
        return objective(embedding, embedding, nothing, label, epoch=0.0, teacher=embedding @ turn.T).total

    expected = cosine_distillation(embedding @ weight.detach().T, embedding @ turn.T)
    torch.testing.assert_close(loss(), expected)
    optimizer = torch.optim.SGD(objective.parameters(), lr=1.0, momentum=0.9)
    for _ in range(200):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert float(expected) > 0.3
    assert float(loss().detach()) < 1e-3


def test_the_map_is_part_of_the_state_only_where_it_is_asked_for():
    head = ArcFace(4, 3, 16.0, 0.1)
    assert "teacher_map.weight" not in MethodObjective(head, ObjectiveWeights()).state_dict()
    assert MethodObjective(head, ObjectiveWeights(), teacher_dim=6).state_dict()["teacher_map.weight"].shape == (6, 4)


def test_the_map_is_checked_by_gradients_and_is_float32_under_autocast():
    made = TeacherMap(4, 6, seed=1)
    embedding = vectors(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: cosine_distillation(made(e), vectors(4, dim=6)), (embedding,))
    with torch.autocast("cpu", torch.bfloat16):
        assert made(vectors(3, dtype=torch.bfloat16)).dtype == torch.float32


def test_a_teacher_of_another_length_says_what_to_do():
    with pytest.raises(VlrfaceError, match=r"objective\.teacher_map=true"):
        cosine_distillation(vectors(0), vectors(1, dim=6))
