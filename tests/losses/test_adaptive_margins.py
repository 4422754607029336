"""MagFace, AdaFace, MV-Softmax and CurricularFace as equations: slow loops, the identities between them, gradients."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.losses.adaptive_margins import adaface, curricularface, magface, magnitude_regularizer, mv_softmax
from vlrface.losses.margins import arcface, cosface, normface

S = 32.0
MAGFACE = {"lowest_norm": 5.0, "highest_norm": 55.0, "lowest_margin_rad": 0.3, "highest_margin_rad": 0.6}
ADAFACE = {"margin": 0.4, "mean": 10.0, "deviation": 2.0, "concentration": 0.333, "gradient": "differentiated"}
MARGINS = {
    "magface": partial(magface, scale=S, **MAGFACE, beyond_pi="linear"),
    "magface easy": partial(magface, scale=S, **MAGFACE),
    "adaface": partial(adaface, scale=S, **ADAFACE),
    "adaface straight through": partial(adaface, scale=S, **(ADAFACE | {"gradient": "straight_through"})),
    "mv_softmax": partial(mv_softmax, scale=S, margin=0.35, hardness=1.12, easy=False),
    "mv_softmax easy": partial(mv_softmax, scale=S, margin=0.35, hardness=1.12),
    "curricularface": partial(curricularface, scale=S, margin_rad=0.5, progress=0.3),
}
every_margin = pytest.mark.parametrize("margin", MARGINS.values(), ids=MARGINS.keys())


def drawn(seed, rows=6, classes=5, limit=0.95, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    cosine = (torch.rand(rows, classes, generator=generator, dtype=torch.float64) * 2 - 1) * limit
    norm = 1.0 + 70.0 * torch.rand(rows, generator=generator, dtype=torch.float64)
    return cosine.to(dtype), norm.to(dtype), torch.randint(classes, (rows,), generator=generator)


def drawn_ahead(seed, farthest):
    """Faces whose true class lies between 0.45 rad and `farthest`, off all clamps of the angle."""
    cosine, norm, label = drawn(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    theta = 0.45 + (farthest - 0.45) * torch.rand(6, 1, generator=generator, dtype=torch.float64)
    return cosine.scatter(1, label.unsqueeze(1), theta.cos()), norm, label


# --- slow loops ------------------------------------------------------------------------------------------------------


def slow_magface(cosine, norm, label, easy):
    rows = []
    for values, a, y in zip(cosine.tolist(), norm.tolist(), label.tolist(), strict=True):
        m = 0.3 + (0.6 - 0.3) * (min(max(a, 5.0), 55.0) - 5.0) / 50.0
        theta = math.acos(values[y])
        if easy:
            own = math.cos(theta + m) if theta < math.pi / 2 else values[y]
        else:
            own = math.cos(theta + m) if theta + m < math.pi else values[y] - m * math.sin(m)
        rows.append([S * (own if k == y else each) for k, each in enumerate(values)])
    return rows


def slow_adaface(cosine, norm, label):
    rows = []
    for values, a, y in zip(cosine.tolist(), norm.tolist(), label.tolist(), strict=True):
        z = min(max(0.333 * (a - 10.0) / (2.0 + 1e-3), -1.0), 1.0)
        theta = min(max(math.acos(values[y]) - 0.4 * z, 0.0), math.pi)
        own = math.cos(theta) - (0.4 + 0.4 * z)
        rows.append([S * (own if k == y else each) for k, each in enumerate(values)])
    return rows


def slow_mv_softmax(cosine, label, easy):
    rows = []
    for values, y in zip(cosine.tolist(), label.tolist(), strict=True):
        beaten = values[y] - 0.35
        row = [1.12 * each + 0.12 if each > beaten else each for each in values]
        row[y] = values[y] if easy and values[y] <= 0 else beaten
        rows.append([S * each for each in row])
    return rows


def slow_curricularface(cosine, label):
    rows = []
    for values, y in zip(cosine.tolist(), label.tolist(), strict=True):
        theta = math.acos(values[y])
        row = [each * (0.3 + each) if each > math.cos(theta + 0.5) else each for each in values]
        row[y] = math.cos(theta + 0.5) if theta + 0.5 < math.pi else values[y] - 0.5 * math.sin(0.5)
        rows.append([S * each for each in row])
    return rows


@pytest.mark.parametrize("seed", range(8))
def test_slow_loops(seed):
    cosine, norm, label = drawn(seed, rows=20)
    norm[::2] = 8.0 + norm[::2] / 15.0  # around AdaFace's mean, so that its z is not always clipped
    slow = {
        "magface": slow_magface(cosine, norm, label, easy=False),
        "magface easy": slow_magface(cosine, norm, label, easy=True),
        "adaface": slow_adaface(cosine, norm, label),
        "adaface straight through": slow_adaface(cosine, norm, label),
        "mv_softmax": slow_mv_softmax(cosine, label, easy=False),
        "mv_softmax easy": slow_mv_softmax(cosine, label, easy=True),
        "curricularface": slow_curricularface(cosine, label),
    }
    assert slow.keys() == MARGINS.keys()
    for name, expected in slow.items():
        ours = MARGINS[name](cosine, norm, label)
        torch.testing.assert_close(ours, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9, msg=name)


def test_magface_hand_worked():
    # Norm 30 is the middle of the range: margin 0.45. Norms 1 and 99 are clamped: 0.3 and 0.6.
    cosine = torch.full((3, 1), math.cos(1.0), dtype=torch.float64)
    norm = torch.tensor([30.0, 1.0, 99.0], dtype=torch.float64)
    logits = magface(cosine, norm, torch.zeros(3, dtype=torch.int64), scale=1.0, **MAGFACE)
    assert logits.flatten().tolist() == pytest.approx([math.cos(1.45), math.cos(1.3), math.cos(1.6)])


def test_adaface_hand_worked():
    # z = 0.333·(13 - 10)/2.001, and far below and above: -1 and 1.
    cosine = torch.full((3, 1), math.cos(1.0), dtype=torch.float64)
    norm = torch.tensor([13.0, 0.0, 99.0], dtype=torch.float64)
    logits = adaface(cosine, norm, torch.zeros(3, dtype=torch.int64), scale=1.0, **ADAFACE)
    z = 0.333 * 3 / 2.001
    expected = [math.cos(1 - 0.4 * z) - 0.4 - 0.4 * z, math.cos(1.4), math.cos(0.6) - 0.8]
    assert logits.flatten().tolist() == pytest.approx(expected)


def test_curricularface_hand_worked():
    # The true class at 60°, its margin takes it to 90°: of the others, 0.2 is hard and -0.2 is not.
    cosine = torch.tensor([[0.5, 0.2, -0.2]], dtype=torch.float64)
    logits = curricularface(cosine, torch.ones(1), torch.tensor([0]), scale=1.0, margin_rad=math.pi / 6, progress=0.1)
    assert logits.flatten().tolist() == pytest.approx([0.0, 0.2 * 0.3, -0.2], abs=1e-12)


def test_curricularface_asks_for_hard_negatives_by_the_turned_angle_even_beyond_pi():
    # cos(3 + 0.5) = -0.936 divides the negatives, though the true class itself gets the linear value, below -1.
    cosine = torch.tensor([[math.cos(3.0), -0.9, -0.95]], dtype=torch.float64)
    logits = curricularface(cosine, torch.ones(1), torch.tensor([0]), scale=1.0, margin_rad=0.5, progress=0.1)
    assert logits.flatten().tolist() == pytest.approx([math.cos(3.0) - 0.5 * math.sin(0.5), -0.9 * -0.8, -0.95])


# --- identities ------------------------------------------------------------------------------------------------------

seeds = st.integers(0, 10_000)


@given(seed=seeds, margin=st.floats(0.0, 1.2), beyond_pi=st.sampled_from(["linear", "continued", "easy"]))
@settings(max_examples=40, deadline=None)
def test_magface_of_equal_margins_is_arcface(seed, margin, beyond_pi):
    cosine, norm, label = drawn(seed)
    options = MAGFACE | {"lowest_margin_rad": margin, "highest_margin_rad": margin}
    ours = magface(cosine, norm, label, scale=S, **options, beyond_pi=beyond_pi)
    theirs = arcface(cosine, norm, label, scale=S, margin_rad=margin, gradient="differentiated", beyond_pi=beyond_pi)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


@given(seed=seeds, margin=st.floats(0.0, 0.44), gradient=st.sampled_from(["differentiated", "straight_through"]))
@settings(max_examples=40, deadline=None)
def test_adaface_is_arcface_for_poor_faces_and_cosface_for_average_ones(seed, margin, gradient):
    cosine, norm, label = drawn_ahead(seed, math.pi - 0.45)
    options = ADAFACE | {"margin": margin, "gradient": gradient}
    poor = adaface(cosine, torch.zeros_like(norm), label, scale=S, **options)
    arc = arcface(cosine, norm, label, scale=S, margin_rad=margin, gradient=gradient)
    torch.testing.assert_close(poor, arc, rtol=0, atol=1e-9)
    average = adaface(cosine, torch.full_like(norm, 10.0), label, scale=S, **options)
    torch.testing.assert_close(average, cosface(cosine, norm, label, scale=S, margin=margin), rtol=0, atol=1e-9)


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_without_margin_it_is_normface(seed):
    cosine, norm, label = drawn(seed)
    plain = normface(cosine, norm, label, scale=S)
    zero = MAGFACE | {"lowest_margin_rad": 0.0, "highest_margin_rad": 0.0}
    for logits in (
        magface(cosine, norm, label, scale=S, **zero),
        adaface(cosine, norm, label, scale=S, **(ADAFACE | {"margin": 0.0})),
        cosface(cosine, norm, label, scale=S, margin=0.0),
        mv_softmax(cosine, norm, label, scale=S, margin=0.0, hardness=1.0),
    ):
        torch.testing.assert_close(logits, plain, rtol=0, atol=1e-9)


@given(seed=seeds, margin=st.floats(0.0, 0.8))
@settings(max_examples=25, deadline=None)
def test_mv_softmax_of_hardness_one_is_cosface(seed, margin):
    cosine, norm, label = drawn(seed)
    ours = mv_softmax(cosine, norm, label, scale=S, margin=margin, hardness=1.0, easy=False)
    torch.testing.assert_close(ours, cosface(cosine, norm, label, scale=S, margin=margin), rtol=0, atol=1e-9)


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_curricularface_without_hard_negatives_is_arcface(seed):
    cosine, norm, label = drawn_ahead(seed, 1.0)
    own = cosine.gather(1, label.unsqueeze(1))
    cosine = cosine.minimum((own.acos() + 0.5).cos() - 0.01).scatter(1, label.unsqueeze(1), own)
    ours = curricularface(cosine, norm, label, scale=S, margin_rad=0.5, progress=0.7)
    theirs = arcface(cosine, norm, label, scale=S, margin_rad=0.5, gradient="differentiated")
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


@every_margin
@given(seed=seeds, order=st.permutations(range(5)))
@settings(max_examples=15, deadline=None)
def test_classes_can_be_permuted(margin, seed, order):
    cosine, norm, label = drawn(seed)
    order = torch.tensor(order)
    permuted = margin(cosine[:, order], norm, order.argsort()[label])
    assert torch.equal(permuted, margin(cosine, norm, label)[:, order])


@every_margin
@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_a_closer_true_class_never_scores_less(margin, seed):
    cosine, norm, label = drawn_ahead(seed, math.pi / 2)  # beyond, the easy variants and "linear" step
    own = cosine.gather(1, label.unsqueeze(1))
    nearer = cosine.scatter(1, label.unsqueeze(1), own + 0.05 * (0.95 - own))
    before, after = (margin(each, norm, label).gather(1, label.unsqueeze(1)) for each in (cosine, nearer))
    assert (after >= before).all()


# --- what the norm does ----------------------------------------------------------------------------------------------


def own_logit(margin, norm, cosine=0.6):
    rows = torch.full((len(norm), 1), cosine, dtype=torch.float64)
    return margin(rows, torch.tensor(norm, dtype=torch.float64), torch.zeros(len(norm), dtype=torch.int64)).flatten()


def test_the_margin_of_magface_grows_with_the_norm_and_stays_beyond_its_range():
    logits = own_logit(MARGINS["magface"], [1.0, 5.0, 6.0, 30.0, 54.0, 55.0, 300.0])
    assert logits[0] == logits[1]
    assert logits[5] == logits[6]
    assert (logits[1:6].diff() < 0).all()


def test_the_gradient_of_adaface_grows_with_the_norm_at_hard_faces():
    """The paper's point: where a face is far from its class, a sharp one is pushed more than a poor one."""
    norm = torch.tensor([2.0, 10.0, 18.0], dtype=torch.float64)
    cosine = torch.full((3, 1), -0.5, dtype=torch.float64, requires_grad=True)
    MARGINS["adaface"](cosine, norm, torch.zeros(3, dtype=torch.int64)).sum().backward()
    assert (cosine.grad.flatten().diff() > 0).all()
    near = torch.full((3, 1), 0.85, dtype=torch.float64, requires_grad=True)
    MARGINS["adaface"](near, norm, torch.zeros(3, dtype=torch.int64)).sum().backward()
    assert (near.grad.flatten().diff() < 0).all()


def test_which_margins_teach_the_norm():
    for name, margin in MARGINS.items():
        cosine, norm, label = drawn_ahead(3, 1.0)
        norm.requires_grad_()
        logits = margin(cosine.requires_grad_(), norm, label)
        (gradient,) = torch.autograd.grad(logits.sum(), norm, allow_unused=True)
        assert (gradient is not None and bool((gradient != 0).any())) == name.startswith("magface"), name


def test_magface_gives_the_norm_no_gradient_outside_its_range():
    norm = torch.tensor([1.0, 30.0, 99.0], dtype=torch.float64, requires_grad=True)
    cosine = torch.full((3, 1), 0.6, dtype=torch.float64)
    (MARGINS["magface"](cosine, norm, torch.zeros(3, dtype=torch.int64)).sum()).backward()
    assert norm.grad.tolist() == [0.0, pytest.approx(-S * 0.006 * math.sin(math.acos(0.6) + 0.45)), 0.0]


def test_the_regularizer_of_magface():
    bounds = {"lowest_norm": 5.0, "highest_norm": 50.0}
    norm = torch.tensor([2.0, 10.0, 80.0], dtype=torch.float64, requires_grad=True)
    value = magnitude_regularizer(norm, **bounds)
    slow = sum(a / 50.0**2 + 1 / a for a in (5.0, 10.0, 50.0)) / 3
    assert value.item() == pytest.approx(slow)
    value.backward()
    assert norm.grad.tolist() == [0.0, pytest.approx((1 / 2500 - 1 / 100) / 3), 0.0]
    falling = [magnitude_regularizer(torch.tensor([a]), **bounds).item() for a in (5.0, 10.0, 20.0, 35.0, 50.0)]
    assert falling == sorted(falling, reverse=True)


# --- gradients and ends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in MARGINS if "straight" not in name])
def test_gradcheck(name):
    # No cosine near a step of the value, no norm near a clamp. Row 3 lies beyond π.
    cosine = torch.tensor(
        [[0.7, -0.2, 0.1], [0.3, 0.05, -0.6], [0.2, 0.4, 0.6], [-0.5, -0.95, 0.3]], dtype=torch.float64
    ).requires_grad_()
    norm = torch.tensor([10.5, 7.0, 20.0, 12.0], dtype=torch.float64)
    label = torch.tensor([0, 1, 2, 1])
    if name.startswith("magface"):
        assert torch.autograd.gradcheck(lambda c, n: MARGINS[name](c, n, label), (cosine, norm.requires_grad_()))
    else:
        assert torch.autograd.gradcheck(lambda c: MARGINS[name](c, norm, label), (cosine,))


def test_straight_through_adaface():
    cosine, norm, label = drawn(5, limit=1.0)
    cosine.requires_grad_()
    logits = MARGINS["adaface straight through"](cosine, norm, label)
    assert torch.equal(logits.detach(), MARGINS["adaface"](cosine, norm, label).detach())
    logits.sum().backward()
    assert torch.equal(cosine.grad, torch.full_like(cosine, S))


def test_adaface_has_no_gradient_where_the_angle_would_leave_its_range():
    cosine = torch.tensor([[math.cos(0.2)], [math.cos(3.0)]], dtype=torch.float64, requires_grad=True)
    norm = torch.tensor([99.0, 0.0], dtype=torch.float64)
    logits = adaface(cosine, norm, torch.zeros(2, dtype=torch.int64), scale=1.0, **ADAFACE)
    assert logits.flatten().tolist() == pytest.approx([1.0 - 0.8, -1.0])
    logits.sum().backward()
    assert cosine.grad.abs().max() == 0.0


@every_margin
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_finite_at_the_ends(margin, dtype):
    ends = torch.tensor([1.0, -1.0, 1.0 + 2e-7, -1.0 - 2e-7, 0.0], dtype=dtype)
    for size in (0.0, 1e-3, 10.0, 1e6):
        cosine = torch.stack([ends, ends.flip(0)], dim=1).requires_grad_()
        norm = torch.full((5,), size, dtype=dtype, requires_grad=True)
        logits = margin(cosine, norm, torch.zeros(5, dtype=torch.int64))
        gradients = torch.autograd.grad(logits.sum(), (cosine, norm), allow_unused=True)
        assert logits.isfinite().all()
        assert all(each.isfinite().all() for each in gradients if each is not None)


@every_margin
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(margin, dtype):
    cosine, norm, label = drawn(1, dtype=dtype)
    logits = margin(cosine, norm, label)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, margin(cosine.float(), norm.float(), label))


@every_margin
def test_inputs_are_left_alone(margin):
    cosine, norm, label = drawn(2)
    before = cosine.clone(), norm.clone(), label.clone()
    margin(cosine, norm, label)
    assert all(torch.equal(a, b) for a, b in zip(before, (cosine, norm, label), strict=True))


@every_margin
def test_an_empty_batch(margin):
    assert margin(torch.zeros(0, 3), torch.zeros(0), torch.zeros(0, dtype=torch.int64)).shape == (0, 3)
