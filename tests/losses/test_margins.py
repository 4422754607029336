"""The fixed margins, above all ArcFace's: public codes, a slow loop, hand-worked cases, the analytic derivative."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.losses.margins import arcface, cosface, linear, normface

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "losses_arcface.json").read_text(encoding="utf-8"))
M, S = 0.5, 64.0
DIFFERENTIATED_AND_NOT = ("differentiated", "straight_through")


def tensor(values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def logits_of(cosine, label, **options):
    options = {"scale": S, "margin_rad": M, "gradient": "differentiated"} | options
    return arcface(cosine, torch.ones(len(cosine), dtype=cosine.dtype), label, **options)


def slow_true_logit(cosine, scale, margin, beyond_pi):
    theta = math.acos(cosine)
    if theta + margin > math.pi and beyond_pi == "linear":
        return scale * (cosine - margin * math.sin(margin))
    return scale * math.cos(theta + margin)


def random_cosines(seed, rows, classes, limit=0.95):
    generator = torch.Generator().manual_seed(seed)
    cosine = (torch.rand(rows, classes, generator=generator, dtype=torch.float64) * 2 - 1) * limit
    return cosine, torch.randint(classes, (rows,), generator=generator)


@pytest.mark.parametrize("case", GOLDEN["implementations"], ids=lambda case: f"{case['source'][:24]}@{case['commit']}")
def test_logits_of_public_implementations(case):
    unit = [torch.nn.functional.normalize(tensor(GOLDEN[name])) for name in ("embedding", "prototypes")]
    logits = logits_of(
        unit[0] @ unit[1].T, torch.tensor(GOLDEN["label"]), gradient=case["gradient"], beyond_pi=case["beyond_pi"]
    )
    torch.testing.assert_close(logits, tensor(case["logits"]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("gradient", DIFFERENTIATED_AND_NOT)
@pytest.mark.parametrize("beyond_pi", ["linear", "continued"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_every_degree_equals_slow_loop(gradient, beyond_pi, dtype, tolerance):
    angles = [math.radians(degree + 0.01) for degree in range(180)]
    cosine = torch.tensor([[math.cos(a), math.cos(a / 2), -0.25] for a in angles], dtype=dtype)
    logits = logits_of(
        cosine, torch.zeros(180, dtype=torch.int64), scale=10.0, gradient=gradient, beyond_pi=beyond_pi
    ).tolist()
    for row, (own, other, third) in enumerate(
        cosine.tolist()
    ):  # of the rounded cosines: acos magnifies rounding near 1
        expected = [slow_true_logit(own, 10.0, M, beyond_pi), 10.0 * other, 10.0 * third]
        assert logits[row] == pytest.approx(expected, abs=tolerance), math.degrees(angles[row])


def test_hand_worked():
    # 60° + 30° = 90°: the true class gets 0. The others stay.
    logits = logits_of(tensor([[0.5, 0.3], [0.3, 0.5]]), torch.tensor([0, 1]), scale=10.0, margin_rad=math.pi / 6)
    torch.testing.assert_close(logits, tensor([[0.0, 3.0], [3.0, 0.0]]), rtol=0, atol=1e-12)


@given(seed=st.integers(0, 10_000), scale=st.floats(1.0, 100.0), gradient=st.sampled_from(DIFFERENTIATED_AND_NOT))
@settings(max_examples=30, deadline=None)
def test_without_margin_it_is_normface(seed, scale, gradient):
    cosine, label = random_cosines(seed, 5, 4, limit=1.0)
    logits = logits_of(cosine, label, scale=scale, margin_rad=0.0, gradient=gradient)
    torch.testing.assert_close(logits, scale * cosine, rtol=0, atol=1e-9)


# --- without an angle ------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_linear_is_a_linear_layer(seed):
    generator = torch.Generator().manual_seed(seed)
    embedding, weight, bias = (torch.randn(*shape, generator=generator).double() for shape in ((4, 6), (5, 6), (5,)))
    cosine = torch.nn.functional.normalize(embedding) @ torch.nn.functional.normalize(weight).T
    logits = linear(
        cosine, embedding.norm(dim=1), torch.zeros(4, dtype=torch.int64), prototype_norm=weight.norm(dim=1), bias=bias
    )
    torch.testing.assert_close(logits, torch.nn.functional.linear(embedding, weight, bias), rtol=0, atol=1e-12)


def test_normface_and_cosface_hand_worked():
    cosine, label = tensor([[0.5, 0.3], [0.3, -0.5]]), torch.tensor([0, 1])
    norm = torch.tensor([1.0, 90.0])
    assert normface(cosine, norm, label, scale=10.0).tolist() == [[5.0, 3.0], [3.0, -5.0]]
    shifted = cosface(cosine, norm, label, scale=10.0, margin=0.2)
    torch.testing.assert_close(shifted, tensor([[3.0, 3.0], [3.0, -7.0]]))


def test_gradient_of_cosface_is_the_scale():
    cosine, label = random_cosines(4, 5, 4)
    cosine.requires_grad_()
    cosface(cosine, torch.ones(5), label, scale=S, margin=0.35).sum().backward()
    assert torch.equal(cosine.grad, torch.full_like(cosine, S))


@given(seed=st.integers(0, 10_000), order=st.permutations(range(6)))
@settings(max_examples=30, deadline=None)
def test_classes_can_be_permuted(seed, order):
    cosine, label = random_cosines(seed, 5, 6)
    order = torch.tensor(order)
    permuted = logits_of(cosine[:, order], order.argsort()[label])
    assert torch.equal(permuted, logits_of(cosine, label)[:, order])


def test_norm_has_no_effect():
    cosine, label = random_cosines(1, 4, 3)
    options = {"scale": S, "margin_rad": M, "gradient": "differentiated"}
    assert torch.equal(
        arcface(cosine, torch.full((4,), 0.01), label, **options),
        arcface(cosine, torch.full((4,), 90.0), label, **options),
    )


def test_inputs_are_left_alone():
    cosine, label = random_cosines(2, 4, 3)
    before = cosine.clone()
    logits_of(cosine, label, gradient="straight_through")
    assert torch.equal(cosine, before)


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beyond_pi", ["linear", "continued"])
def test_gradcheck_of_differentiated(beyond_pi):
    # Row 2 lies beyond π; no value near the step there or near |cos| = 1.
    cosine = tensor([[0.7, -0.2, 0.1], [0.3, 0.0, -0.6], [0.2, 0.4, -0.95], [-0.5, 0.9, 0.3]]).requires_grad_()
    label = torch.tensor([0, 1, 2, 0])
    assert torch.autograd.gradcheck(lambda c: logits_of(c, label, beyond_pi=beyond_pi), (cosine,))


@pytest.mark.parametrize("degree", [1, 20, 45, 90, 135, 150])
def test_differentiated_gradient_is_the_derivative(degree):
    theta = math.radians(degree)
    cosine = tensor([[math.cos(theta), 0.3]]).requires_grad_()
    logits_of(cosine, torch.tensor([0])).sum().backward()
    expected = S * math.sin(theta + M) / math.sin(theta)
    assert cosine.grad.tolist()[0] == pytest.approx([expected, S], rel=1e-9)


def test_straight_through_gradient_is_the_scale():
    cosine = tensor([[0.7, -0.2], [0.3, -0.99], [1.0, -1.0]]).requires_grad_()
    upstream = tensor([[1.0, 2.0], [3.0, -4.0], [5.0, 6.0]])
    (logits_of(cosine, torch.tensor([0, 1, 0]), gradient="straight_through") * upstream).sum().backward()
    # As if the margin were not there: scale times what comes from above, true class or not, beyond π or not.
    assert torch.equal(cosine.grad, S * upstream)


def test_gradient_options_share_their_values():
    cosine, label = random_cosines(3, 50, 7, limit=1.0)
    assert torch.equal(logits_of(cosine, label, gradient="straight_through"), logits_of(cosine, label))


# --- the ends of the range ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gradient", DIFFERENTIATED_AND_NOT)
@pytest.mark.parametrize("beyond_pi", ["linear", "continued"])
def test_value_exact_and_gradient_finite_at_the_ends(dtype, gradient, beyond_pi):
    cosine = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=dtype, requires_grad=True)
    logits = logits_of(cosine, torch.tensor([0, 0]), scale=1.0, gradient=gradient, beyond_pi=beyond_pi)
    expected = [slow_true_logit(end, 1.0, M, beyond_pi) for end in (1.0, -1.0)]
    assert logits[:, 0].tolist() == pytest.approx(expected, abs=1e-6)
    logits.sum().backward()
    at_ends = (
        [1.0, 1.0] if gradient == "straight_through" else [math.cos(M), 1.0 if beyond_pi == "linear" else math.cos(M)]
    )
    assert cosine.grad[:, 0].tolist() == pytest.approx(at_ends)


def test_float32_steps_from_the_ends_stay_finite():
    near = torch.tensor([1.0, -1.0])
    values = []
    for _ in range(4):
        values.append(near)
        near = torch.nextafter(near, torch.zeros(2))
    values.append(torch.tensor([1.0 + 2e-7, -1.0 - 2e-7]))  # rounding of a dot product
    cosine = torch.cat(values).unsqueeze(1).requires_grad_()
    logits = logits_of(cosine, torch.zeros(len(cosine), dtype=torch.int64), beyond_pi="continued")
    logits.sum().backward()
    assert logits.isfinite().all()
    assert cosine.grad.isfinite().all()
    assert cosine.grad.abs().max() < S * 2000


def test_easy_has_a_margin_up_to_ninety_degrees_only():
    angles = torch.tensor([10, 89.9, 90.1, 150, 179], dtype=torch.float64).deg2rad()
    cosine, label = angles.cos().unsqueeze(1).requires_grad_(), torch.zeros(5, dtype=torch.int64)
    easy = logits_of(cosine, label, scale=1.0, beyond_pi="easy")
    expected = torch.where(angles < math.pi / 2, (angles + M).cos(), angles.cos())
    torch.testing.assert_close(easy.squeeze(1), expected, rtol=0, atol=1e-9)
    easy.sum().backward()
    slope = torch.where(angles < math.pi / 2, (angles + M).sin() / angles.sin(), 1.0)
    torch.testing.assert_close(cosine.grad.squeeze(1), slope, rtol=1e-9, atol=0)


def test_beyond_pi_linear_falls_and_continued_turns():
    angles = torch.linspace(0.001, math.pi - 0.001, 2001, dtype=torch.float64)
    cosine, label = angles.cos().unsqueeze(1), torch.zeros(2001, dtype=torch.int64)
    linear = logits_of(cosine, label, scale=1.0).squeeze(1)
    continued = logits_of(cosine, label, scale=1.0, beyond_pi="continued").squeeze(1)
    below = angles + M < math.pi
    assert torch.equal(linear[below], continued[below])
    assert all(later < earlier for earlier, later in pairwise(linear.tolist()))
    assert continued[~below].diff().min() > 0  # the trap that "linear" avoids
    step = linear[below][-1] - linear[~below][0]
    assert float(step) == pytest.approx(math.cos(M) + M * math.sin(M) - 1, abs=2e-3)


def test_continued_pushes_away_beyond_pi():
    cosine = tensor([[-0.95]]).requires_grad_()
    label = torch.tensor([0])
    (continued,) = torch.autograd.grad(logits_of(cosine, label, beyond_pi="continued").sum(), cosine)
    (linear,) = torch.autograd.grad(logits_of(cosine, label).sum(), cosine)
    assert float(continued) < 0 < float(linear) == S


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("label_dtype", [torch.int32, torch.int64])
def test_half_precision_cosines_are_computed_in_float32(dtype, label_dtype):
    cosine = torch.tensor([[0.7, 1.0], [0.2, -1.0]], dtype=dtype, requires_grad=True)
    label = torch.tensor([0, 1], dtype=label_dtype)
    logits = logits_of(cosine, label)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, logits_of(cosine.float(), label))
    logits.sum().backward()
    assert cosine.grad.isfinite().all()
