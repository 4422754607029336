"""The recognizability index, its regression, and the losses around unrecognizable faces."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.losses.recognizability import (
    Proximities,
    UnrecognizableStatistics,
    diversion,
    index_diversion_loss,
    project_away,
    projection_loss,
    proximities,
    recognizability_index,
    smooth_l1,
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
    assert float(loss) == pytest.approx(total / 9, rel=1e-12)


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
    assert float(loss) == 0.0
    assert predicted.grad.tolist() == [0.0, 0.0]


def test_deviation_zero_does_not_explode():
    # An untrained regression predicts the same for all: σ_UI = 0.
    predicted = torch.zeros(4, requires_grad=True)
    loss = index_diversion_loss(predicted, statistics(mean=0.0, deviation=0.0))
    loss.backward()
    assert float(loss) == pytest.approx(3.0)
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
    assert float(loss) < 3.0


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


# --- projection ------------------------------------------------------------------------------------------------------


def test_projection_hand_worked():
    away = project_away(torch.tensor([[3.0, 4.0, 0.0]]), torch.tensor([0.0, 2.0, 0.0]))
    assert away[0].tolist() == pytest.approx([1.0, 0.0, 0.0])
    # Attention that gives (0, 0, 5) is at distance √2 of it.
    loss = projection_loss(
        torch.tensor([[0.0, 0.0, 5.0]]), torch.tensor([[3.0, 4.0, 0.0]]), torch.tensor([0.0, 2.0, 0.0])
    )
    assert float(loss) == pytest.approx(2.0)


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
