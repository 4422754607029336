"""The objective in a training: statistics in the state, blame for NaN, a start from an untrained regression."""

import copy
import io
import math
import pickle

import pytest
import torch
from torch import nn

from vlrface.losses.heads import ArcFace
from vlrface.losses.objective import ObjectiveWeights, nonfinite
from vlrface.losses.recognizability import UnrecognizableStatistics

from .made import CLASSES, DIM, ROWS, batch, normal, objective, unrecognizable

# --- statistics in the state -----------------------------------------------------------------------------------------


def saved_and_loaded(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_statistics_are_saved_and_resume_to_the_last_bit():
    ours = objective()
    ours.refresh(UnrecognizableStatistics(unrecognizable().center, 1 / 3, math.pi))  # not exact in float32
    state = saved_and_loaded(ours.state_dict())
    assert set(state) == {"head.prototypes", "ui_center", "ui_mean", "ui_deviation"}
    resumed = objective(refreshed=False, head=ArcFace(DIM, CLASSES, 16.0, 0.3, seed=99))
    resumed.load_state_dict(state)
    assert (resumed.statistics.mean, resumed.statistics.deviation) == (ours.statistics.mean, ours.statistics.deviation)
    first, second = (each(*batch(), epoch=1.0, teacher=normal(9, ROWS, DIM)) for each in (ours, resumed))
    assert torch.equal(first.total, second.total)


def test_state_before_the_first_refresh_stays_unmeasured():
    ours = objective()
    ours.load_state_dict(objective(refreshed=False).state_dict())
    assert ours.statistics is None


def test_state_inside_a_larger_module():
    parent = nn.ModuleDict({"objective": objective(refreshed=False)})
    parent.load_state_dict(nn.ModuleDict({"objective": objective()}).state_dict())
    assert parent["objective"].statistics is not None


def test_a_copy_has_its_own_statistics():
    ours = objective()
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert copied.statistics.mean == ours.statistics.mean
        copied.load_state_dict(objective(refreshed=False).state_dict())
        assert copied.statistics is None
        assert ours.statistics is not None


def test_statistics_given_out_do_not_change_later():
    ours = objective()
    before = ours.statistics
    kept = before.center.clone()
    ours.refresh(unrecognizable(seed=50))
    assert torch.equal(before.center, kept)
    assert not torch.equal(ours.statistics.center, kept)


def test_statistics_follow_the_module():
    ours = objective().double()
    assert ours.statistics.center.dtype == torch.float64


# --- blame -----------------------------------------------------------------------------------------------------------


def test_nonfinite_parts_are_named():
    assert nonfinite({}) == ()
    parts = {"fine": torch.tensor(1.0), "lost": torch.tensor(math.nan), "huge": torch.tensor(math.inf)}
    assert nonfinite(parts) == ("lost", "huge")
    assert nonfinite({"rows": torch.tensor([1.0, math.nan])}) == ("rows",)


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (0, ("recognition", "regression", "projection", "distillation")),
        (1, ("projection", "attended_recognition")),
        (2, ("regression", "diversion")),
    ],
)
def test_nan_in_an_input_shows_in_the_parts_that_use_it(broken, named):
    inputs = list(batch())
    inputs[broken][2] = math.nan
    output = objective()(*inputs, epoch=1.0, teacher=normal(9, ROWS, DIM))
    assert nonfinite(output.parts) == named
    assert nonfinite({"total": output.total}) == ("total",)


def test_the_whole_method_trains_from_an_untrained_regression():
    """σ_UI starts at 0, statistics are refreshed at every step: the loss falls and stays finite."""
    prototypes = normal(1, CLASSES, DIM) * 3
    label = torch.arange(40) % CLASSES
    faces, poor = prototypes[label] + 0.3 * normal(2, 40, DIM), 0.2 * normal(3, 30, DIM) + 1
    trunk = nn.Linear(DIM, DIM)
    regression = nn.Linear(DIM, 1)
    for each in (trunk, regression):
        nn.init.zeros_(each.bias)
    with torch.no_grad():
        trunk.weight.copy_(torch.eye(DIM))
        regression.weight.zero_()
    ours = objective(ObjectiveWeights(1.0, 1.0, 0.1, 1.0, diversion_from_epoch=0), refreshed=False)
    parameters = [*trunk.parameters(), *regression.parameters(), *ours.parameters()]
    totals = []
    for step in range(50):
        with torch.no_grad():
            ours.refresh(UnrecognizableStatistics.measure(trunk(poor), regression(trunk(poor)).squeeze(1)))
        embedding = trunk(faces)
        output = ours(embedding, embedding + 0.0, regression(embedding).squeeze(1), label, epoch=step / 10)
        assert nonfinite(output.parts) == ()
        gradients = torch.autograd.grad(output.total, parameters)
        with torch.no_grad():
            for each, gradient in zip(parameters, gradients, strict=True):
                each -= 0.02 * gradient
        totals.append(output.total.item())
    assert totals[-1] < 0.7 * totals[0]
    assert torch.equal(output.cosine.argmax(dim=1), label)
