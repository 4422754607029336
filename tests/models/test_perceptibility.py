import numpy as np
import pytest
import torch

from vlrface.models.recognizability import PerceptibilityRegression
from vlrface.types import VlrfaceError

SHAPE = (4, 2, 3)


def _maps(count: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(count, *SHAPE, dtype=dtype, generator=torch.Generator().manual_seed(0))


def test_against_a_slow_loop():
    module = PerceptibilityRegression(SHAPE).double().eval()
    features = _maps()
    weight = module.weight.detach().numpy()[0]
    for index, predicted in enumerate(module(features).tolist()):
        expected = module.bias.item()
        for position, (c, y, x) in enumerate(np.ndindex(*SHAPE)):
            expected += weight[position] * features[index, c, y, x].item() / np.sqrt(24)
        assert predicted == pytest.approx(expected, rel=1e-12)


def test_gradcheck():
    module = PerceptibilityRegression(SHAPE).double().eval()
    features = _maps().requires_grad_()
    assert torch.autograd.gradcheck(module, features)
    assert torch.autograd.gradcheck(
        lambda w: torch.func.functional_call(module, {"weight": w}, features.detach()), module.weight
    )


def test_starts_about_one_with_faces_a_little_apart():
    module = PerceptibilityRegression((512, 7, 7)).eval()
    features = torch.randn(64, 512, 7, 7, generator=torch.Generator().manual_seed(1))
    predicted = module(features)
    assert predicted.mean().item() == pytest.approx(1.0, abs=0.1)
    assert predicted.std().item() == pytest.approx(0.1, rel=0.3)


@pytest.mark.parametrize("shape", [(512, 2, 2), (512, 7, 7)])
def test_a_gradient_step_moves_the_prediction_alike_for_every_map_size(shape):
    """The prediction moves by the rate times mean square of the map, plus the rate of the bias: here 0.1 · (1 + 1)."""
    module = PerceptibilityRegression(shape).eval()
    features = torch.ones(1, *shape)
    before = module(features)
    before.sum().backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter -= 0.1 * parameter.grad
    assert (before - module(features)).item() == pytest.approx(0.2, rel=1e-3)


def test_dropout_acts_in_training_alone():
    module, features = PerceptibilityRegression(SHAPE, dropout=0.5).double(), _maps(16)
    assert not torch.equal(module(features), module(features))
    module.eval()
    assert torch.equal(module(features), module(features))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.25, 0.5, 0.7, 1.0])
def test_a_share_of_the_gradient_reaches_the_map_and_nothing_else_changes(share):
    """The module is linear in the map, so its gradient there is w / sqrt(n), times the share."""
    whole, part = (PerceptibilityRegression(SHAPE, gradient=each, dropout=0.0).double() for each in (1.0, share))
    features = _maps().requires_grad_()
    expected, predicted = whole(features), part(features)
    assert torch.equal(predicted, expected)
    gradients = torch.autograd.grad(predicted.square().sum(), (features, part.weight, part.bias))
    of_map, *own = torch.autograd.grad(expected.square().sum(), (features, whole.weight, whole.bias))
    torch.testing.assert_close(gradients[0], share * of_map)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(gradients[1:], own, strict=True))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(VlrfaceError, match=r"must lie in \[0, 1\]"):
        PerceptibilityRegression(SHAPE, gradient=share)


def test_the_seed_alone_decides_the_weights():
    first, again, other = (PerceptibilityRegression(SHAPE, seed=s).weight for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
