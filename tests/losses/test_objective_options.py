"""Own choices of the objective: targets of a teacher, emphasis of recognizable faces, statistics that stand still."""

import pytest
import torch

from vlrface.losses.adaptive_heads import MagFace
from vlrface.losses.distillation import cosine_distillation
from vlrface.losses.objective import PARTS, MethodObjective, ObjectiveWeights
from vlrface.losses.recognizability import (
    emphasis,
    projection_loss,
    proximities,
    recognizability_index,
    with_teacher_as_positive,
)
from vlrface.types import VlrfaceError

from .made import ALL, CLASSES, DIM, ROWS, batch, normal, objective, unrecognizable

MASK = torch.arange(ROWS) % 3 != 0
DEFAULTS = {"projected": "own", "positive": "prototype", "emphasis": "equal", "distillation_emphasis": "equal"}


def only(**weights):
    return ObjectiveWeights(**(dict.fromkeys(PARTS, 0.0) | weights))


def teacher(*, mask=None):
    given = normal(9, ROWS, DIM)
    if mask is not None:
        given[~mask] = torch.nan  # rows without a teacher may hold anything
    return given


def found(ours, *, epoch=1.0, mask=None, **changed):
    names = ("embedding", "attended", "recognizability", "label")
    inputs = dict(zip(names, batch(), strict=True)) | changed
    return ours(*inputs.values(), epoch=epoch, teacher=teacher(mask=mask), teacher_mask=mask)


def test_the_defaults_are_the_posters_version():
    ours, theirs = objective(), objective(**DEFAULTS)
    assert not ours.fixed
    for name, part in found(ours).parts.items():
        assert torch.equal(part, found(theirs).parts[name])


# --- targets of a teacher --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, MASK, torch.zeros(ROWS, dtype=torch.bool)])
def test_the_projected_embedding_is_the_teachers_where_there_is_one(mask):
    ours = objective(only(projection=1.0), projected="teacher")
    embedding, attended, _, _ = batch()
    rows = torch.ones(ROWS, dtype=torch.bool) if mask is None else mask
    slow = [
        projection_loss(attended[[i]], (teacher() if rows[i] else embedding)[[i]], ours.ui_center) for i in range(ROWS)
    ]
    part = found(ours, mask=mask).parts["projection"]
    assert part.item() == pytest.approx(sum(map(float, slow)) / ROWS, rel=1e-5)
    if not rows.any():
        assert torch.equal(part, found(objective(only(projection=1.0))).parts["projection"])


@pytest.mark.parametrize("target", ["ratio", "log_ratio", "certainty_ratio"])
@pytest.mark.parametrize("mask", [None, MASK])
def test_d_p_is_measured_to_the_teacher_where_there_is_one(target, mask):
    embedding, _, _, label = batch()
    ours = objective(target=target, positive="teacher")
    cosine = ours.head(embedding, label).cosine
    distances = proximities(embedding, cosine, label, ours.ui_center)
    expected = recognizability_index(with_teacher_as_positive(distances, embedding, teacher(), mask), target)
    found_target = found(ours, mask=mask).target
    assert torch.equal(found_target, expected)
    poster = found(objective(target=target)).target
    untaught = torch.zeros(ROWS, dtype=torch.bool) if mask is None else ~mask
    assert torch.equal(found_target[untaught], poster[untaught])
    assert (found_target != poster).any()
    assert not found_target.requires_grad


def test_a_face_that_the_network_sees_as_the_teacher_sees_it_sharp_has_the_largest_index():
    ours = objective(only(regression=1.0), positive="teacher")
    at_the_teacher = found(ours, embedding=3 * teacher()).target
    proximity = proximities(teacher(), ours.head(teacher(), batch()[3]).cosine, batch()[3], ours.ui_center)
    torch.testing.assert_close(at_the_teacher, proximity.unrecognizable * proximity.negative / 1e-3, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("part", "option"), [("projection", "projected"), ("regression", "positive")])
def test_a_teacher_that_is_missing_or_of_another_length_is_named(part, option):
    ours = objective(only(**{part: 1.0}), **{option: "teacher"})
    with pytest.raises(VlrfaceError, match=f"{part} asks for a teacher but no teacher embeddings were given"):
        ours(*batch(), epoch=1.0)
    with pytest.raises(VlrfaceError, match="teacher embeddings have 3 values, the trained ones 6"):
        ours(*batch(), epoch=1.0, teacher=normal(1, ROWS, 3))
    # A part that has no weight asks for nothing.
    assert objective(only(recognition=1.0), **{option: "teacher"})(*batch(), epoch=1.0).total.isfinite()


# --- emphasis --------------------------------------------------------------------------------------------------------


def test_recognizable_faces_count_more_in_recognition():
    embedding, attended, predicted, label = batch()
    ours = objective(ALL, emphasis="recognizability", tau=2.0, deviation_floor=0.3)
    weight = emphasis(predicted, ours.statistics, 2.0, 0.3)
    parts, poster = found(ours).parts, found(objective(ALL, tau=2.0, deviation_floor=0.3)).parts
    for name, each in (("recognition", embedding), ("attended_recognition", attended)):
        alone = torch.stack([ours.head(each[[i]], label[[i]]).loss for i in range(ROWS)])
        assert parts[name].item() == pytest.approx(float((weight * alone).mean().detach()), rel=1e-5)
        assert parts[name] != poster[name]
    unchanged = parts.keys() - {"recognition", "attended_recognition"}
    assert all(torch.equal(parts[name], poster[name]) for name in unchanged)


def test_recognizable_faces_count_more_in_distillation():
    predicted = batch()[2]
    ours = objective(ALL, distillation_emphasis="recognizability")
    weight = emphasis(predicted, ours.statistics)
    parts, poster = found(ours, mask=MASK).parts, found(objective(ALL), mask=MASK).parts
    assert torch.equal(parts["distillation"], cosine_distillation(batch()[0], teacher(), MASK, weight))
    assert all(torch.equal(part, poster[name]) == (name != "distillation") for name, part in parts.items())


def test_faces_of_one_index_count_alike():
    same = torch.full((ROWS,), 0.7)
    ours = objective(emphasis="recognizability", distillation_emphasis="recognizability")
    parts, poster = found(ours, recognizability=same).parts, found(objective(), recognizability=same).parts
    for name, part in parts.items():
        torch.testing.assert_close(part, poster[name], msg=name)


@pytest.mark.parametrize(("refreshed", "epoch"), [(False, 3.0), (True, 1.99)])
def test_all_count_alike_before_diversion_begins_or_statistics_are_there(refreshed, epoch):
    weights = ObjectiveWeights(1.0, 0.0, 0.1, 0.0, 1.0, 1.0, diversion_from_epoch=2)
    if not refreshed:
        weights = only(recognition=1.0, distillation=1.0, attended_recognition=1.0)
    options = {"emphasis": "recognizability", "distillation_emphasis": "recognizability"}
    ours, poster = (
        found(objective(weights, refreshed=refreshed, **given), epoch=epoch).parts for given in (options, {})
    )
    assert all(torch.equal(part, poster[name]) for name, part in ours.items())
    later = objective(weights, **options)
    assert not torch.equal(found(later, epoch=2.0).parts["recognition"], poster["recognition"])


def test_the_index_learns_nothing_from_the_emphasis():
    predicted = batch()[2].requires_grad_()
    ours = objective(only(recognition=1.0, distillation=1.0), emphasis="recognizability")
    found(ours, recognizability=predicted).total.backward()
    assert predicted.grad is None
    assert ours.head.prototypes.grad.abs().sum() > 0


def test_the_regularizer_of_a_head_is_not_emphasised():
    embedding, _, predicted, label = batch()
    head = MagFace(DIM, CLASSES, lowest_norm=1.0, highest_norm=5.0)
    weight = emphasis(predicted, unrecognizable())
    plain, weighted = head(embedding, label), head(embedding, label, weight=weight)
    assert torch.equal(plain.regularizer, weighted.regularizer)
    assert not torch.equal(plain.loss, weighted.loss)


# --- statistics ------------------------------------------------------------------------------------------------------


def test_statistics_that_were_given_are_there_from_the_start():
    given = unrecognizable()
    ours = objective(refreshed=False, statistics=given)
    assert ours.fixed
    assert torch.equal(ours.statistics.center, given.center)
    assert torch.equal(found(ours).total, found(objective()).total)
    with pytest.raises(VlrfaceError, match="the UI centre has 3 values"):
        objective(refreshed=False, statistics=unrecognizable(dim=3))


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", DEFAULTS)
def test_an_unknown_form_is_refused(option):
    unchecked = MethodObjective.__init__
    while hasattr(unchecked, "__wrapped__"):  # in use, annotations are not enforced
        unchecked = unchecked.__wrapped__
    with pytest.raises(VlrfaceError, match=rf"{option} \('{DEFAULTS[option]}', .*got 'other'"):
        unchecked(MethodObjective.__new__(MethodObjective), objective().head, ALL, **{option: "other"})


@pytest.mark.parametrize("option", ["emphasis", "distillation_emphasis"])
def test_an_emphasis_needs_a_tau_above_0(option):
    assert objective(tau=0.0).tau == 0.0
    with pytest.raises(VlrfaceError, match="above 0 for an emphasis"):
        objective(tau=0.0, **{option: "recognizability"})
