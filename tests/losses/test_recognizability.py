"""The recognizability index and its regression."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.losses.recognizability import (
    Proximities,
    proximities,
    recognizability_index,
    smooth_l1,
    with_teacher_as_positive,
)
from vlrface.types import VlrfaceError

GOLDEN = Path(__file__).parents[1] / "golden"
FORMS = ("ratio", "log_ratio", "certainty_ratio", "ers")


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit(vectors):
    return vectors / vectors.norm(dim=-1, keepdim=True)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def slow_cosine(a, b):
    return dot(a, b) / (math.hypot(*a) * math.hypot(*b))


def slow_index(positive, negative, to_center, form, epsilon=1e-3):
    if form == "certainty_ratio":
        return (1 - positive) / ((1 - negative) + 1 + epsilon)
    if form == "ers":
        return min(to_center, 1.0)
    ratio = to_center * negative / (positive + epsilon)
    return ratio if form == "ratio" else math.log(max(ratio, epsilon))


def distances(positive, negative, to_center):
    return Proximities(*(torch.tensor(each, dtype=torch.float64) for each in (positive, negative, to_center)))


def situation(seed, rows=6, dim=5, classes=4, dtype=torch.float64):
    embedding, prototypes, center = normal(seed, rows, dim), normal(seed + 1, classes, dim), normal(seed + 2, dim)
    label = torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(seed))
    return embedding.to(dtype), (unit(embedding) @ unit(prototypes).T).to(dtype), label, center.to(dtype), prototypes


# --- proximities and index -------------------------------------------------------------------------------------------


def test_hand_worked():
    # Seen from the embedding: own prototype at 60°, others at 90° and 120°, the UI centre opposite.
    def at(degree):
        return [math.cos(math.radians(degree)), math.sin(math.radians(degree))]

    cosine = torch.tensor([[math.cos(math.radians(a)) for a in (60, 90, 120)]], dtype=torch.float64)
    found = proximities(
        torch.tensor([[3.0, 0.0]], dtype=torch.float64),
        cosine,
        torch.tensor([0]),
        torch.tensor(at(180), dtype=torch.float64),
    )
    assert [float(each) for each in found] == pytest.approx([0.5, 1.0, 2.0])
    expected = {
        "ratio": 2 / 0.501,
        "log_ratio": math.log(2 / 0.501),
        "certainty_ratio": 0.5 / 1.001,
        "ers": 1.0,
    }
    for form, value in expected.items():
        assert float(recognizability_index(found, form)) == pytest.approx(value), form


def test_distances_of_cr_fiqa():
    inputs = json.loads((GOLDEN / "losses_arcface.json").read_text(encoding="utf-8"))
    golden = json.loads((GOLDEN / "losses_proximities.json").read_text(encoding="utf-8"))
    embedding = torch.tensor(inputs["embedding"], dtype=torch.float64)
    cosine = unit(embedding) @ unit(torch.tensor(inputs["prototypes"], dtype=torch.float64)).T
    found = proximities(embedding, cosine, torch.tensor(inputs["label"]), None)
    assert (1 - found.positive).tolist() == pytest.approx(golden["own_class_similarity"], abs=1e-9)
    assert (1 - found.negative).tolist() == pytest.approx(golden["nearest_negative_similarity"], abs=1e-9)


@given(seed=st.integers(0, 10_000), form=st.sampled_from(FORMS))
@settings(max_examples=60, deadline=None)
def test_equals_slow_loop(seed, form):
    embedding, cosine, label, center, prototypes = situation(seed)
    index = recognizability_index(proximities(embedding, cosine, label, center), form).tolist()
    for row, vector in enumerate(embedding.tolist()):
        cosines = [slow_cosine(vector, each) for each in prototypes.tolist()]
        own = int(label[row])
        others = [each for k, each in enumerate(cosines) if k != own]
        expected = slow_index(1 - cosines[own], 1 - max(others), 1 - slow_cosine(vector, center.tolist()), form)
        assert index[row] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(seed=st.integers(0, 10_000), form=st.sampled_from(FORMS), scale=st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_norms_do_not_matter(seed, form, scale):
    embedding, cosine, label, center, _ = situation(seed)
    plain = recognizability_index(proximities(embedding, cosine, label, center), form)
    scaled = recognizability_index(proximities(embedding * scale, cosine, label, center / scale), form)
    torch.testing.assert_close(scaled, plain, rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 10_000), form=st.sampled_from(FORMS), order=st.permutations(range(4)))
@settings(max_examples=40, deadline=None)
def test_classes_can_be_permuted(seed, form, order):
    embedding, cosine, label, center, _ = situation(seed)
    order = torch.tensor(order)
    plain = recognizability_index(proximities(embedding, cosine, label, center), form)
    permuted = proximities(embedding, cosine[:, order], order.argsort()[label], center)
    assert torch.equal(recognizability_index(permuted, form), plain)


within = st.floats(0.01, 1.9)


@given(positive=within, negative=within, to_center=within, more=st.floats(0.01, 0.1))
@settings(max_examples=100, deadline=None)
def test_directions_that_the_poster_states(positive, negative, to_center, more):
    """An easy face has d_UI large, d_N large and d_P small."""

    def index(p, n, u, form):
        return float(recognizability_index(distances([p], [n], [u]), form))

    for form in ("ratio", "log_ratio"):
        base = index(positive, negative, to_center, form)
        assert index(positive, negative, to_center + more, form) > base or base == math.log(1e-3)
        assert index(positive, negative + more, to_center, form) > base or base == math.log(1e-3)
        assert index(positive + more, negative, to_center, form) < base or base == math.log(1e-3)
    base = index(positive, negative, to_center, "certainty_ratio")
    assert index(positive + more, negative, to_center, "certainty_ratio") < base
    farther = index(positive, negative + more, to_center, "certainty_ratio")
    assert farther > base if positive < 1 else farther <= base  # a negative numerator turns the direction
    assert index(positive, negative, to_center + more, "ers") >= index(positive, negative, to_center, "ers")


def test_ends_are_finite():
    worst = distances([0.0, 2.0, 0.0, 2.0], [0.0, 0.0, 2.0, 2.0], [0.0, 2.0, 2.0, 0.0])
    for form in FORMS:
        assert recognizability_index(worst, form).isfinite().all(), form
    assert float(recognizability_index(worst, "log_ratio")[0]) == pytest.approx(math.log(1e-3))
    assert float(recognizability_index(worst, "ratio")[2]) == pytest.approx(4000.0)


def test_the_true_class_is_masked_by_minus_infinity():
    # All negatives below 0: a true class masked with about 0 would become the nearest negative, d_N = 1.
    cosine = torch.tensor([[0.9, -0.5, -0.3]], dtype=torch.float64)
    found = proximities(torch.ones(1, 2, dtype=torch.float64), cosine, torch.tensor([0]), None)
    assert float(found.negative) == pytest.approx(1.3)
    certainty = float(recognizability_index(found, "certainty_ratio"))
    assert certainty == pytest.approx(0.9 / (-0.3 + 1 + 1e-3))
    # Nor may the quotient explode where the nearest negative is opposite.
    found = proximities(torch.ones(1, 2), torch.tensor([[0.9, -1.0]]), torch.tensor([0]), None)
    assert float(recognizability_index(found, "certainty_ratio")) == pytest.approx(900.0, rel=1e-3)


def test_one_class_is_refused():
    with pytest.raises(VlrfaceError, match="at least two identities"):
        proximities(torch.ones(1, 2), torch.ones(1, 1), torch.tensor([0]), None)


def test_without_a_center_only_the_certainty_ratio_is_known():
    embedding, cosine, label, _, _ = situation(1)
    found = proximities(embedding, cosine, label, None)
    assert found.unrecognizable.isnan().all()
    for form in FORMS:
        index = recognizability_index(found, form)
        assert index.isfinite().all() if form == "certainty_ratio" else index.isnan().all()


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan])
def test_epsilon_must_be_positive(epsilon):
    with pytest.raises(VlrfaceError, match="epsilon"):
        recognizability_index(distances([0.1], [0.2], [0.3]), "ratio", epsilon)


def test_unknown_form_is_refused():
    unchecked = recognizability_index
    while hasattr(unchecked, "__wrapped__"):
        unchecked = unchecked.__wrapped__
    with pytest.raises(VlrfaceError, match="use ratio, log_ratio"):
        unchecked(distances([0.1], [0.2], [0.3]), "quotient")


def test_index_is_detached():
    embedding, cosine, label, center, _ = situation(1)
    found = proximities(embedding.requires_grad_(), cosine.requires_grad_(), label, center)
    assert not recognizability_index(found).requires_grad


@pytest.mark.parametrize("form", FORMS)
def test_index_is_float32_under_autocast(form):
    embedding, cosine, label, center, _ = situation(1, dtype=torch.bfloat16)
    plain = recognizability_index(proximities(embedding.float(), cosine.float(), label, center.float()), form)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        index = recognizability_index(proximities(embedding, cosine, label, center), form)
    assert index.dtype == torch.float32
    assert torch.equal(index, plain)


@given(seed=st.integers(0, 1000), mask=st.lists(st.booleans(), min_size=6, max_size=6))
@settings(max_examples=30, deadline=None)
def test_distance_to_the_teacher_in_place_of_the_prototype(seed, mask):
    embedding, cosine, label, center, _ = situation(seed)
    teacher = normal(seed + 3, 6, 5)
    before = proximities(embedding, cosine, label, center)
    slow = [1 - slow_cosine(v, t) for v, t in zip(embedding.tolist(), teacher.tolist(), strict=True)]
    assert with_teacher_as_positive(before, embedding, teacher).positive.tolist() == pytest.approx(slow)
    taught = torch.tensor(mask)
    teacher[~taught] = math.nan
    after = with_teacher_as_positive(before, embedding, teacher, taught)
    expected = [t if has else p for t, has, p in zip(slow, mask, before.positive.tolist(), strict=True)]
    assert after.positive.tolist() == pytest.approx(expected)
    assert torch.equal(after.negative, before.negative)
    assert torch.equal(after.unrecognizable, before.unrecognizable)


# --- regression ------------------------------------------------------------------------------------------------------


def test_smooth_l1_equals_slow_loop():
    predicted, target = normal(1, 50), normal(2, 50)
    total = 0.0
    for a, b in zip(predicted.tolist(), target.tolist(), strict=True):
        error = abs(a - b)
        total += error**2 / (2 * 0.75) if error < 0.75 else error - 0.75 / 2
    assert float(smooth_l1(predicted, target)) == pytest.approx(total / 50, rel=1e-12)


def test_smooth_l1_gradients():
    predicted, target = normal(1, 6).requires_grad_(), normal(2, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: smooth_l1(p, target), (predicted,))
    smooth_l1(predicted, target).backward()
    assert target.grad is None
    assert predicted.grad.abs().max() <= 1 / 6


def test_smooth_l1_of_bfloat16_is_float32():
    assert smooth_l1(torch.ones(2, dtype=torch.bfloat16), torch.zeros(2)).dtype == torch.float32
