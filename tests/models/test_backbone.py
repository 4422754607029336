import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vlrface.models.backbone import EmbeddingNorm, InputSpec, initialise
from vlrface.types import VlrfaceError


@pytest.mark.parametrize(
    ("height", "width", "cells"),
    [(112, 112, (7, 7)), (112, 96, (7, 6)), (64, 64, (4, 4)), (32, 32, (2, 2)), (33, 16, (3, 1))],
)
def test_cells_are_sixteenths_rounded_up(height, width, cells):
    assert InputSpec(height, width).cells == cells


def test_a_side_under_one_cell_is_refused():
    with pytest.raises(VlrfaceError, match="15 x 32 pixels is too small"):
        InputSpec(15, 32)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(VlrfaceError, match="must be above 0"):
        InputSpec(32, 32, scale=scale)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_normalised_against_a_slow_loop(order, pictures):
    crops = pictures(2, 16, 17)
    spec = InputSpec(16, 17, mean=100.0, scale=0.25, order=order)
    pixels = spec.normalised(torch.from_numpy(crops))
    expected = np.empty((2, 3, 16, 17), np.float32)
    for b, y, x, channel in np.ndindex(2, 16, 17, 3):
        source = channel if order == "rgb" else 2 - channel
        expected[b, channel, y, x] = (float(crops[b, y, x, source]) - 100.0) * 0.25
    np.testing.assert_array_equal(pixels.numpy(), expected)


def test_default_input_maps_pixels_to_minus_one_and_one():
    crops = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 16, 16, 3)
    low, high = InputSpec(16, 16).normalised(crops)
    torch.testing.assert_close(low, torch.full_like(low, -1.0))
    torch.testing.assert_close(high, torch.full_like(high, 1.0))


def test_normalised_pixels_lie_channels_last_in_memory(pictures):
    pixels = InputSpec(16, 16).normalised(torch.from_numpy(pictures(2, 16, 16)))
    assert pixels.is_contiguous(memory_format=torch.channels_last)


def _norm(seed: int = 0, dtype: torch.dtype = torch.float32) -> EmbeddingNorm:
    norm = EmbeddingNorm(3, eps=0.01).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(3, generator=generator))
        norm.bias.copy_(torch.randn(3, generator=generator))
    return norm


def test_without_passengers_it_is_batch_norm():
    ours, theirs = _norm(), nn.BatchNorm1d(3, eps=0.01)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))


@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_measured_rows_alone_set_the_statistics(measured, passengers, seed):
    norm = _norm(seed, torch.float64)
    x = 3 + 2 * torch.randn(
        measured + passengers, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    result = norm(x, measured).detach().numpy()
    own = x[:measured].numpy()
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    for row, column in np.ndindex(*x.shape):
        mean, variance = own[:, column].mean(), own[:, column].var()
        expected = (x[row, column].item() - mean) / np.sqrt(variance + 0.01) * weight[column] + bias[column]
        assert result[row, column] == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * own.mean(0))
    np.testing.assert_allclose(norm.running_var.numpy(), 0.9 + 0.1 * own.var(0, ddof=1))
    assert norm.num_batches_tracked == 1


def test_a_passenger_equal_to_a_measured_row_becomes_equal():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    result = _norm()(torch.cat([x, x]), 4)
    torch.testing.assert_close(result[:4], result[4:])


def test_passengers_do_not_change_the_measured_rows():
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    assert torch.equal(_norm()(x), _norm()(torch.cat([x, 100 * x]), 4)[:4])


def test_in_evaluation_mode_all_rows_go_through_the_running_statistics():
    norm = _norm().eval()
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    assert torch.equal(norm(x, 2), norm(x))


def test_gradient_treats_the_statistics_as_constants_for_passengers():
    norm = _norm(dtype=torch.float64)
    plain = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    passengers = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4), requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: norm(torch.cat([plain, p]), 4), passengers)
    own = plain.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: norm(torch.cat([p, passengers.detach()]), 4)[:4], own)
    norm(torch.cat([own, passengers]), 4)[4:].sum().backward()
    assert torch.equal(own.grad, torch.zeros_like(own))


def test_initial_weights_depend_on_the_seed_alone():
    def drawn(seed):
        module = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Linear(5, 6))
        initialise(module, seed)
        return module.state_dict()

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])
    assert torch.equal(first["0.bias"], torch.zeros(8))
    assert torch.equal(first["1.bias"], torch.zeros(6))


def test_initial_deviations():
    module = nn.Sequential(nn.Conv2d(64, 128, 3, groups=64), nn.Linear(300, 400))
    initialise(module, 0)
    assert module[0].weight.std().item() == pytest.approx((2 / (9 * 128 / 64)) ** 0.5, rel=0.05)
    assert module[1].weight.abs().max().item() == pytest.approx(300**-0.5, rel=0.01)
    initialise(module, 0, convolution_std=0.1)
    assert module[0].weight.std().item() == pytest.approx(0.1, rel=0.05)
