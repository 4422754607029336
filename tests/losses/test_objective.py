"""The weighted objective: its arithmetic, which parts are computed when, and its settings."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.losses.adaptive_heads import AdaFace, MagFace
from vlrface.losses.distillation import cosine_distillation
from vlrface.losses.heads import ArcFace
from vlrface.losses.objective import PARTS, MethodObjective, ObjectiveWeights, weighted_sum
from vlrface.losses.recognizability import (
    index_diversion_loss,
    projection_loss,
    proximities,
    recognizability_index,
    smooth_l1,
)
from vlrface.types import VlrfaceError

from .made import ALL, CLASSES, DIM, ROWS, batch, normal, objective, unrecognizable


def only(**weights):
    return ObjectiveWeights(**(dict.fromkeys(PARTS, 0.0) | weights))


# --- arithmetic ------------------------------------------------------------------------------------------------------


def test_every_part_is_its_equation():
    embedding, attended, predicted, label = batch()
    teacher = normal(9, ROWS, DIM)
    ours = objective(epsilon=0.01, smooth_l1_beta=0.4, tau=2.0, deviation_floor=0.3)
    now = ours.statistics
    output = ours(embedding, attended, predicted, label, epoch=3.0, teacher=teacher)
    head = ours.head(embedding, label)
    index = recognizability_index(proximities(embedding, head.cosine, label, now.center), "ratio", 0.01)
    expected = {
        "recognition": head.loss,
        "regression": smooth_l1(predicted, index, 0.4),
        "diversion": index_diversion_loss(predicted, now, 2.0, 0.3),
        "projection": projection_loss(attended, embedding, now.center),
        "distillation": cosine_distillation(embedding, teacher),
        "attended_recognition": ours.head(attended, label).loss,
    }
    assert tuple(output.parts) == PARTS == tuple(output.weighted)
    for name, value in expected.items():
        assert float(output.parts[name]) == float(value.detach()), name
        assert float(output.weighted[name]) == pytest.approx(ALL.by_part()[name] * float(value.detach()), rel=1e-6)
        assert not output.parts[name].requires_grad
    by_hand = sum(ALL.by_part()[name] * float(value.detach()) for name, value in expected.items())
    assert output.total.item() == pytest.approx(by_hand, rel=1e-6)
    assert torch.equal(output.target, index)
    assert torch.equal(output.cosine, head.cosine)
    assert not output.cosine.requires_grad


weight = st.one_of(st.just(0.0), st.floats(1e-3, 10.0))


@given(values=st.lists(weight, min_size=6, max_size=6).filter(any), epoch=st.floats(1.0, 50.0), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_total_is_the_weighted_sum_and_zero_weights_are_absent(values, epoch, seed):
    weights = ObjectiveWeights(*values)
    output = objective(weights)(*batch(seed), epoch=epoch, teacher=normal(seed + 5, ROWS, DIM))
    named = dict(zip(PARTS, values, strict=True))
    assert set(output.parts) == {name for name, value in named.items() if value > 0}
    by_hand = sum(named[name] * float(part) for name, part in output.parts.items())
    assert output.total.item() == pytest.approx(by_hand, rel=1e-5)
    assert sum(float(part) for part in output.weighted.values()) == pytest.approx(by_hand, rel=1e-5)


def test_weighted_sum_hand_worked():
    parts = {"a": torch.tensor(2.0, requires_grad=True), "b": torch.tensor(3.0)}
    total, plain, weighted = weighted_sum(parts, {"a": 0.5, "b": 10.0, "unused": 1.0})
    assert (total.item(), float(plain["a"]), float(weighted["a"]), float(weighted["b"])) == (31.0, 2.0, 1.0, 30.0)
    total.backward()
    assert float(parts["a"].grad) == 0.5
    with pytest.raises(VlrfaceError, match="no weight was given for a"):
        weighted_sum(parts, {"b": 1.0})
    with pytest.raises(VlrfaceError, match="no part of the objective is active"):
        weighted_sum({}, {"b": 1.0})


def test_gradcheck_of_the_whole():
    embedding, attended, predicted, label = (each[:3] for each in batch(3, torch.float64))
    ours = objective(ObjectiveWeights(1.0, 0.0, 0.3, 0.4, 0.5, 0.6, diversion_from_epoch=0)).double()
    teacher = normal(9, 3, DIM, dtype=torch.float64)

    def total(attended, predicted):
        return ours(embedding, attended, predicted, label, epoch=0.0, teacher=teacher).total

    assert torch.autograd.gradcheck(total, (attended.requires_grad_(), predicted.requires_grad_()))


def test_each_part_teaches_what_it_should():
    """Gradients reach the embedding, the attended one, the predicted index and the prototypes as stated."""
    reached = {
        "recognition": {"embedding", "prototypes"},
        "regression": {"predicted"},
        "diversion": {"predicted"},
        "projection": {"attended"},
        "distillation": {"embedding"},
        "attended_recognition": {"attended", "prototypes"},
    }
    assert set(reached) == set(PARTS)
    for name, expected in reached.items():
        inputs = dict(zip(("embedding", "attended", "predicted"), batch()[:3], strict=True))
        ours = objective(only(**{name: 1.0}))
        for each in inputs.values():
            each.requires_grad_()
        ours(*inputs.values(), batch()[3], epoch=1.0, teacher=normal(9, ROWS, DIM)).total.backward()
        inputs["prototypes"] = ours.head.prototypes
        assert {key for key, each in inputs.items() if each.grad is not None} == expected, name


@pytest.mark.parametrize("format_of_inputs", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(format_of_inputs):
    *values, label = batch()
    values = [each.to(format_of_inputs) for each in values]
    teacher = normal(9, ROWS, DIM)
    ours = objective()
    plain = ours(*(each.float() for each in values), label, epoch=1.0, teacher=teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = ours(*values, label, epoch=1.0, teacher=teacher)
    assert output.total.dtype == torch.float32
    for name, part in output.parts.items():
        assert part.dtype == torch.float32, name
        assert torch.equal(part, plain.parts[name]), name
    assert torch.equal(output.target, plain.target)


# --- which parts are computed ----------------------------------------------------------------------------------------


def test_plain_arcface_costs_and_needs_nothing_else():
    embedding, _, _, label = batch()
    nothing = torch.full((ROWS, DIM), math.nan)
    ours = objective(only(recognition=1.0), refreshed=False)
    output = ours(embedding, nothing, nothing[:, 0], label, epoch=9.0)
    assert torch.equal(output.total, ours.head(embedding, label).loss)
    assert set(output.parts) == {"recognition"}
    assert output.target is None


def test_the_regularizer_of_a_head_is_a_part_of_its_own():
    embedding, attended, predicted, label = batch()
    head = MagFace(DIM, CLASSES, lowest_norm=1.0, highest_norm=5.0)
    output = objective(only(recognition=0.5, attended_recognition=2.0), head=head, refreshed=False)(
        embedding, attended, predicted, label, epoch=0.0
    )
    plain, second = head(embedding, label), head(attended, label)
    assert set(output.parts) == {"recognition", "head_regularizer", "attended_recognition"}
    assert torch.equal(output.parts["recognition"], plain.loss.detach())
    assert torch.equal(output.parts["head_regularizer"], plain.regularizer.detach())
    assert torch.equal(output.weighted["head_regularizer"], 0.5 * plain.regularizer.detach())
    assert torch.equal(output.parts["attended_recognition"], second.total.detach())
    by_hand = 0.5 * plain.total + 2.0 * second.total
    assert output.total.item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_a_head_whose_loss_has_no_weight_has_no_regularizer_either():
    head = MagFace(DIM, CLASSES)
    output = objective(only(regression=1.0), head=head)(*batch(), epoch=0.0)
    assert set(output.parts) == {"regression"}


def test_attended_embeddings_do_not_move_the_statistics_of_a_head():
    embedding, attended, predicted, label = batch()
    heads = [AdaFace(DIM, CLASSES) for _ in range(2)]
    for head, weights in zip(heads, ({}, {"attended_recognition": 1.0}), strict=True):
        objective(only(recognition=1.0, **weights), head=head)(embedding, 9 * attended, predicted, label, epoch=0.0)
    assert torch.equal(heads[0].norm_mean, heads[1].norm_mean)
    assert float(heads[0].norm_mean) != 20.0


class CountingArcFace(ArcFace):
    calls = 0

    def forward(self, embedding, label, **options):
        type(self).calls += 1
        return super().forward(embedding, label, **options)


@pytest.mark.parametrize(
    ("weights", "calls"),
    [
        ({"recognition": 1.0, "regression": 1.0}, 1),
        ({"recognition": 1.0, "attended_recognition": 1.0}, 2),
        ({"diversion": 1.0, "projection": 1.0, "distillation": 1.0}, 0),
        ({"regression": 1.0}, 1),
    ],
)
def test_the_head_is_asked_as_often_as_needed(weights, calls):
    CountingArcFace.calls = 0
    output = objective(only(**weights), head=CountingArcFace(DIM, CLASSES))(
        *batch(), epoch=1.0, teacher=normal(9, ROWS, DIM)
    )
    assert CountingArcFace.calls == calls
    assert (output.cosine is None) == ("recognition" not in weights and "regression" not in weights)


def test_diversion_begins_late_and_is_absent_before():
    ours = objective(ObjectiveWeights(diversion_from_epoch=2))
    for epoch, present in ((0.0, False), (1.99, False), (2.0, True), (2.5, True)):
        output = ours(*batch(), epoch=epoch)
        assert ("diversion" in output.parts) == present
        assert ("diversion" in output.weighted) == present
    with pytest.raises(VlrfaceError, match="start it earlier"):
        objective(only(diversion=1.0))(*batch(), epoch=0.5)


def test_default_diversion_waits_one_epoch():
    assert "diversion" not in ObjectiveWeights().active(0.9)
    assert ObjectiveWeights().active(1.0) == {"recognition", "regression", "diversion", "projection"}


@pytest.mark.parametrize("part", ["regression", "diversion", "projection"])
def test_parts_that_need_statistics_ask_for_them(part):
    ours = objective(only(**{part: 1.0}), refreshed=False)
    assert ours.statistics is None
    with pytest.raises(VlrfaceError, match=f"{part} needs .* refresh the statistics first"):
        ours(*batch(), epoch=1.0)
    ours.refresh(unrecognizable())
    assert ours(*batch(), epoch=1.0).total.isfinite()


def test_certainty_ratio_needs_no_statistics():
    output = objective(only(recognition=1.0, regression=1.0), refreshed=False, target="certainty_ratio")(
        *batch(), epoch=0.0
    )
    assert output.target.isfinite().all()


@pytest.mark.parametrize("target", ["ratio", "log_ratio", "certainty_ratio", "ers"])
def test_targets(target):
    embedding, attended, predicted, label = batch()
    ours = objective(target=target)
    found = proximities(embedding, ours.head(embedding, label).cosine, label, ours.statistics.center)
    output = ours(embedding, attended, predicted, label, epoch=0.0, teacher=embedding)
    assert torch.equal(output.target, recognizability_index(found, target))
    assert not output.target.requires_grad


def test_teacher():
    ours = objective(only(distillation=2.0), refreshed=False)
    embedding, attended, predicted, label = batch()
    with pytest.raises(VlrfaceError, match="no teacher embeddings were given"):
        ours(embedding, attended, predicted, label, epoch=0.0)
    teacher = normal(9, ROWS, DIM)
    mask = torch.arange(ROWS) % 2 == 0
    expected = cosine_distillation(embedding[mask], teacher[mask])
    teacher[~mask] = torch.nan
    output = ours(embedding, attended, predicted, label, epoch=0.0, teacher=teacher, teacher_mask=mask)
    assert float(output.parts["distillation"]) == pytest.approx(float(expected), rel=1e-6)
    assert output.total.item() == pytest.approx(2 * float(expected), rel=1e-6)
    # Weight 0: a teacher may be given, and is not looked at.
    assert "distillation" not in objective(only(recognition=1.0))(*batch(), epoch=0.0, teacher=teacher).parts


def test_wrong_labels_are_named():
    embedding, attended, predicted, label = batch()
    label[3] = -100
    with pytest.raises(VlrfaceError, match="-100"):
        objective()(embedding, attended, predicted, label, epoch=0.0, teacher=embedding)


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ({"regression": -1.0}, "weight of regression is -1.0"),
        ({"projection": math.inf}, "weight of projection"),
        ({"recognition": math.nan}, "weight of recognition"),
        (dict.fromkeys(PARTS, 0.0), "all weights are 0"),
        ({"diversion_from_epoch": -1}, "epochs count from 0"),
    ],
)
def test_weights_are_checked(weights, reason):
    with pytest.raises(VlrfaceError, match=reason):
        ObjectiveWeights(**weights)


@pytest.mark.parametrize(
    "options",
    [{"epsilon": 0.0}, {"smooth_l1_beta": 0.0}, {"deviation_floor": 0.0}, {"tau": math.inf}, {"epsilon": math.nan}],
)
def test_settings_are_checked(options):
    with pytest.raises(VlrfaceError, match=next(iter(options))):
        objective(**options)


def test_unknown_target_is_refused():
    unchecked = MethodObjective.__init__
    while hasattr(unchecked, "__wrapped__"):
        unchecked = unchecked.__wrapped__
    with pytest.raises(VlrfaceError, match="'quotient'"):
        unchecked(MethodObjective.__new__(MethodObjective), ArcFace(DIM, CLASSES), ALL, target="quotient")


def test_refresh_with_another_length_is_refused():
    ours = objective()
    before = ours.statistics
    with pytest.raises(VlrfaceError, match="the UI centre has 3 values"):
        ours.refresh(unrecognizable(dim=3))
    assert torch.equal(ours.statistics.center, before.center)
