import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.models.attention import PerceptibilityAttention, spatial_kernel
from vlrface.types import VlrfaceError


def _random(channels: int, kernel: int, seed: int, dtype: torch.dtype = torch.float64) -> PerceptibilityAttention:
    module = PerceptibilityAttention(channels, reduction=2, kernel=kernel).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return module


def _maps(count: int, channels: int, rows: int, columns: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.randn(count, channels, rows, columns, generator=generator, dtype=torch.float64)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _slow(module: PerceptibilityAttention, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CBAM by loops, for one map (c, h, w)."""
    p = {name: value.detach().numpy() for name, value in module.named_parameters()}
    channels, rows, columns = features.shape

    def mlp(v):
        hidden = np.maximum(p["narrow.weight"] @ v + p["narrow.bias"], 0)
        return p["widen.weight"] @ hidden + p["widen.bias"]

    mean = np.array([features[c].mean() for c in range(channels)])
    top = np.array([features[c].max() for c in range(channels)])
    weights = 2 * _sigmoid(mlp(mean) + mlp(top))
    weighted = np.stack([features[c] * weights[c] for c in range(channels)])
    kernel = p["spatial.weight"][0]
    half = kernel.shape[-1] // 2
    spatial = np.empty((rows, columns))
    for y, x in np.ndindex(rows, columns):
        z = p["spatial.bias"][0]
        for dy, dx in np.ndindex(*kernel.shape[1:]):
            v, u = y + dy - half, x + dx - half
            if 0 <= v < rows and 0 <= u < columns:
                z += kernel[0, dy, dx] * weighted[:, v, u].mean() + kernel[1, dy, dx] * weighted[:, v, u].max()
        spatial[y, x] = _sigmoid(z)
    return weighted * 2 * spatial, spatial


@pytest.mark.parametrize(("kernel", "rows", "columns"), [(7, 7, 6), (3, 2, 2), (3, 4, 3)])
def test_against_a_slow_loop(kernel, rows, columns):
    module = _random(4, kernel, seed=0)
    features = _maps(2, 4, rows, columns, seed=0)
    attended = module(features)
    for index in range(2):
        expected, spatial = _slow(module, features[index].numpy())
        np.testing.assert_allclose(attended.features[index].detach().numpy(), expected, rtol=1e-9)
        np.testing.assert_allclose(attended.spatial_map[index, 0].detach().numpy(), spatial, rtol=1e-9)


def test_a_case_by_hand():
    module = PerceptibilityAttention(2, reduction=1, kernel=1).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        # Channel weights stay 1; places are weighed by their largest channel: 2σ(0) = 1, 2σ(ln 3) = 1.5.
        module.spatial.weight[0, 1] = 1.0
    features = torch.tensor([[[0.0, np.log(3)]], [[-1.0, 0.0]]], dtype=torch.float64)[None]
    attended = module(features)
    torch.testing.assert_close(attended.spatial_map[0, 0, 0], torch.tensor([0.5, 0.75], dtype=torch.float64))
    expected = torch.tensor([[[0.0, 1.5 * np.log(3)]], [[-1.0, 0.0]]], dtype=torch.float64)[None]
    torch.testing.assert_close(attended.features, expected)


def test_gradcheck():
    module = _random(4, 3, seed=1)
    features = _maps(2, 4, 3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: tuple(module(f)), features)
    weights = module.spatial.weight
    assert torch.autograd.gradcheck(
        lambda w: torch.func.functional_call(module, {"spatial.weight": w}, features.detach()).features, weights
    )


def test_gradient_reaches_every_parameter():
    module = PerceptibilityAttention(64, kernel=3)
    features = _maps(4, 64, 4, 4, seed=2).float()
    (module(features).features * _maps(4, 64, 4, 4, seed=3).float()).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


@given(st.integers(0, 1000), st.sampled_from([1.0, 30.0]))
@settings(max_examples=30, deadline=None)
def test_spatial_map_lies_between_zero_and_one_and_weights_between_zero_and_two_squared(seed, size):
    features = size * _maps(3, 4, 5, 4, seed)
    attended = _random(4, 3, seed)(features)
    assert attended.spatial_map.shape == (3, 1, 5, 4)
    assert ((attended.spatial_map >= 0) & (attended.spatial_map <= 1)).all()
    assert (attended.features.abs() <= 4 * features.abs()).all()
    assert (attended.features * features >= 0).all()


def test_each_map_is_attended_by_itself():
    module, features = _random(4, 3, seed=5), _maps(3, 4, 4, 4, seed=5)
    torch.testing.assert_close(module(features).features[1:2], module(features[1:2]).features)


@pytest.mark.parametrize("kernel", [3, 7])
def test_starts_near_the_identity(kernel):
    module = PerceptibilityAttention(512, kernel=kernel)
    features = _maps(4, 512, 7, 7, seed=6).relu().float()
    attended = module(features)
    torch.testing.assert_close(attended.features, features, rtol=0.1, atol=0)
    assert (attended.spatial_map - 0.5).abs().max() < 0.02


def test_the_seed_alone_decides_the_weights():
    first, again, other = (PerceptibilityAttention(32, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["spatial.weight"], other["spatial.weight"])


@pytest.mark.parametrize("kernel", [0, 2, -1])
def test_even_kernel_is_refused(kernel):
    with pytest.raises(VlrfaceError, match="must be odd"):
        PerceptibilityAttention(8, reduction=2, kernel=kernel)


@pytest.mark.parametrize("reduction", [0, 9])
def test_reduction_beyond_the_channels_is_refused(reduction):
    with pytest.raises(VlrfaceError, match="between 1 and 8"):
        PerceptibilityAttention(8, reduction=reduction)


@pytest.mark.parametrize(
    ("shape", "kernel"), [((512, 7, 7), 7), ((512, 7, 6), 3), ((512, 4, 4), 3), ((512, 14, 14), 7)]
)
def test_kernel_for_a_map(shape, kernel):
    assert spatial_kernel(shape) == kernel
