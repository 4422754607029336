"""Pairs and rates: golden numbers of scikit-learn and scipy, slow loops, properties, hand-worked ties."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.pairs import Pairs
from vlrface.metrics.verification import (
    accepted_at_far,
    auc,
    eer,
    genuine_impostor,
    roc,
    roc_at,
    tpr_at_far,
)
from vlrface.types import VlrfaceError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics_sklearn.json").read_text())

# Few distinct values make many ties; all are exact in float32, and so are their monotone images below.
scores = st.lists(st.integers(-6, 6), min_size=1, max_size=30).map(lambda x: np.array(x, np.float32) / 8)
rates = st.sampled_from([0.0, 0.001, 0.1, 0.25, 0.5, 0.99, 1.0])


def on_line(point, x, y):
    """Whether a point lies on one of the straight pieces between corners."""
    start, stop = np.column_stack([x[:-1], y[:-1]]), np.column_stack([x[1:], y[1:]])
    detour = np.linalg.norm(point - start, axis=1) + np.linalg.norm(stop - point, axis=1)
    return bool(np.isclose(detour, np.linalg.norm(stop - start, axis=1), rtol=0, atol=1e-12).any())


@pytest.mark.parametrize("case", ["ties", "no_ties"])
def test_agrees_with_scikit_learn(case):
    golden = GOLDEN[case]
    genuine, impostor = np.array(golden["genuine"]), np.array(golden["impostor"])
    assert auc(genuine, impostor) == pytest.approx(golden["auc"], abs=1e-14)
    assert eer(genuine, impostor) == pytest.approx(golden["eer"], abs=1e-12)
    curve = roc(genuine, impostor)
    assert np.trapezoid(curve.tpr, curve.far) == pytest.approx(golden["auc"], abs=1e-14)
    for point in zip(golden["far"], golden["tpr"], strict=True):
        assert on_line(point, curve.far, curve.tpr)
    for point in zip(curve.far, curve.tpr, strict=True):
        assert on_line(point, golden["far"], golden["tpr"])
    for rate, tpr in golden["tpr_at"].items():
        assert tpr_at_far(genuine, impostor, float(rate)).tpr == pytest.approx(tpr, abs=1e-14)


@given(scores, scores, rates)
def test_tpr_at_far_agrees_with_trying_every_threshold(genuine, impostor, far):
    best = 0.0
    for threshold in [-np.inf, *np.concatenate([genuine, impostor]).tolist(), np.inf]:
        if (impostor >= threshold).mean() <= far:
            best = max(best, float((genuine >= threshold).mean()))
    point = tpr_at_far(genuine, impostor, far)
    assert point.tpr == best
    assert point.accepted_impostors == (impostor >= point.threshold).sum() <= far * len(impostor)
    assert point.tpr == (genuine >= point.threshold).mean()


@given(scores, scores)
def test_auc_and_eer_agree_with_slow_loops(genuine, impostor):
    wins = [float(g > i) + 0.5 * float(g == i) for g in genuine for i in impostor]
    assert auc(genuine, impostor) == pytest.approx(np.mean(wins), abs=1e-12)
    thresholds = [np.inf, *sorted(set(genuine.tolist()) | set(impostor.tolist()), reverse=True)]
    points = [(float((impostor >= t).mean()), float((genuine >= t).mean())) for t in thresholds]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 + y0 - 1 <= 0 <= x1 + y1 - 1:
            share = (1 - x0 - y0) / ((x1 - x0) + (y1 - y0))
            assert eer(genuine, impostor) == pytest.approx(x0 + share * (x1 - x0), abs=1e-12)
            break
    else:
        pytest.fail("no crossing")


@given(scores, scores, rates)
def test_only_the_order_of_scores_matters(genuine, impostor, far):
    def image(x):
        return (x.astype(np.float64) + 2) ** 3

    assert auc(image(genuine), image(impostor)) == auc(genuine, impostor)
    assert eer(image(genuine), image(impostor)) == eer(genuine, impostor)
    assert tpr_at_far(image(genuine), image(impostor), far).tpr == tpr_at_far(genuine, impostor, far).tpr


@given(scores, scores)
def test_rates_rise_together(genuine, impostor):
    far = np.array([0.0, 0.01, 0.1, 0.2, 0.5, 0.9, 1.0])
    curve = roc_at(genuine, impostor, far)
    assert (np.diff(curve.tpr) >= 0).all()
    assert (np.diff(curve.far) >= 0).all()
    assert (np.diff(curve.threshold) <= 0).all()
    assert (curve.far <= far).all()
    assert curve.tpr.tolist() == [tpr_at_far(genuine, impostor, rate).tpr for rate in far.tolist()]
    whole = roc(genuine, impostor)
    assert (np.diff(whole.far) >= 0).all()
    assert (np.diff(whole.tpr) >= 0).all()
    assert (whole.far[0], whole.tpr[0], whole.far[-1], whole.tpr[-1]) == (0, 0, 1, 1)


@given(scores, scores)
def test_swapping_the_sides_turns_the_area_round(genuine, impostor):
    assert auc(genuine, impostor) + auc(impostor, genuine) == pytest.approx(1, abs=1e-12)


def test_a_genuine_pair_that_ties_with_an_impostor_is_not_accepted_alone():
    genuine, impostor = np.array([0.9, 0.5, 0.5, 0.1]), np.array([0.5, 0.4, 0.3, 0.2])
    assert tpr_at_far(genuine, impostor, 0.0) == (0.25, np.nextafter(0.5, 1), 0)
    assert tpr_at_far(genuine, impostor, 0.25) == (0.75, np.nextafter(0.4, 1), 1)
    assert tpr_at_far(genuine, impostor, 1.0) == (1.0, -np.inf, 4)


def test_tied_impostors_are_accepted_all_or_none():
    genuine, impostor = np.array([0.6, 0.5]), np.array([0.5, 0.5, 0.5, 0.1])
    point = tpr_at_far(genuine, impostor, 0.5)
    assert (point.tpr, point.accepted_impostors) == (0.5, 0)


def test_precisions_may_differ():
    genuine = np.array([0.5], np.float32)
    impostor = np.array([np.nextafter(0.5, 1), 0.1])  # above 0.5, but not in float32
    assert tpr_at_far(genuine, impostor, 0.0).tpr == 0
    assert auc(genuine, impostor) == 0.5
    assert roc(genuine, impostor).far.tolist() == [0, 0.5, 0.5, 1]


def test_a_share_is_counted_as_written():
    assert accepted_at_far(0.29, 100) == 29  # 0.29 * 100 = 28.999999999999996
    assert accepted_at_far(0.1, 30) == 3
    assert accepted_at_far(0.001, 5320) == 5
    assert accepted_at_far(1e-05, 99_999) == 0


def test_a_missing_genuine_score_is_a_miss():
    genuine, impostor = np.array([-np.inf, 0.9]), np.array([0.1, 0.2])
    assert tpr_at_far(genuine, impostor, 0.5).tpr == 0.5
    assert auc(genuine, impostor) == 0.5
    assert eer(genuine, impostor) == 0.5


def test_perfect_and_hopeless():
    high, low = np.array([0.8, 0.9]), np.array([0.1, 0.2, 0.3])
    assert (auc(high, low), eer(high, low)) == (1, 0)
    assert (auc(low, high), eer(low, high)) == (0, 1)
    assert (auc(low, low), eer(low, low)) == (0.5, 0.5)


@pytest.mark.parametrize("call", [auc, eer, roc, lambda g, i: tpr_at_far(g, i, 0.1)])
def test_refuses_what_is_undefined(call):
    some, none, nan = np.array([0.5]), np.zeros(0), np.array([np.nan])
    for genuine, impostor, says in [(none, some, "no genuine"), (some, none, "no impostor"), (some, nan, "NaN")]:
        with pytest.raises(VlrfaceError, match=says):
            call(genuine, impostor)


def test_refuses_a_rate_outside_zero_and_one():
    for far in (-0.1, 1.1, float("nan")):
        with pytest.raises(VlrfaceError, match="false accept rate"):
            tpr_at_far(np.array([0.5]), np.array([0.1]), far)


# Pairs


def slow_pairs(left, left_people, right, right_people, within):
    genuine, impostor, failed = {}, {}, 0
    for i in range(len(left)):
        for j in range(len(right)):
            if (within and j <= i) or -1 in (left_people[i], right_people[j]):
                continue
            ok = not (np.isnan(left[i]).any() or np.isnan(right[j]).any())
            number = (i, j if within else j + len(left))
            cosine = left[i] @ right[j] / np.linalg.norm(left[i]) / np.linalg.norm(right[j]) if ok else -np.inf
            if left_people[i] == right_people[j] >= 0:
                genuine[number] = cosine
            elif ok:
                impostor[number] = cosine
            else:
                failed += 1
    return genuine, impostor, failed


@pytest.mark.parametrize("within", [True, False])
def test_pairs_agree_with_a_slow_loop(within, monkeypatch):
    monkeypatch.setattr("vlrface.metrics.pairs._BLOCK_BYTES", 200)  # several blocks
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(9, 3)), rng.normal(size=(7, 3))
    left[2] = right[4] = np.nan
    left_people, right_people = np.array([0, 1, 1, -1, -100, 2, 2, 2, -100]), np.array([1, 2, 0, -1, 1, -100, 2])
    if within:
        pairs = genuine_impostor(left, left_people)
        genuine, impostor, failed = slow_pairs(left, left_people, left, left_people, within)
    else:
        pairs = genuine_impostor(left, left_people, right, right_people)
        genuine, impostor, failed = slow_pairs(left, left_people, right, right_people, within)
    for faces, values, expected in (
        (pairs.genuine_faces, pairs.genuine, genuine),
        (pairs.impostor_faces, pairs.impostor, impostor),
    ):
        got = {(int(a), int(b)): s for (a, b), s in zip(faces, values, strict=True)}
        assert got.keys() == expected.keys()
        np.testing.assert_allclose([got[k] for k in expected], list(expected.values()), atol=1e-6)
    assert pairs.failed_impostors == failed > 0
    assert pairs.identities.tolist() == left_people.tolist() + ([] if within else right_people.tolist())


def test_pairs_refuse_half_a_gallery_and_empty_sides():
    faces, people = np.eye(3), np.arange(3)
    with pytest.raises(VlrfaceError, match="both"):
        genuine_impostor(faces, people, faces)
    with pytest.raises(VlrfaceError, match="at least one face"):
        genuine_impostor(faces[:0], people[:0])
    with pytest.raises(VlrfaceError, match="3 and 2 dimensions"):
        genuine_impostor(faces, people, faces[:, :2], people)


def test_pairs_check_their_numbers():
    one = np.array([0.5])
    with pytest.raises(VlrfaceError, match="outside 0 … 1"):
        Pairs(one, np.array([[0, 1]]), one, np.array([[0, 2]]), np.array([4, 4]))
    with pytest.raises(VlrfaceError, match="precision"):
        Pairs(one, np.array([[0, 1]]), one.astype(np.float32), np.array([[0, 1]]), np.array([4, 4]))
