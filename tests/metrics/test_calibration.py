"""Calibration: scikit-learn's logistic regression, a brute-force maximum, hand-worked verdicts, JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.calibration import (
    Calibration,
    calibration_error,
    cross_fitted_error,
    fit_logistic,
    sigmoid,
)
from vlrface.types import VlrfaceError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics_sklearn.json").read_text())["logistic"]


def plain(**changes):
    values = {
        "slope": 1.0,
        "intercept": 0.0,
        "mean": 2.0,
        "scale": 0.5,
        "gallery_size": 100,
        "faces": 50,
        "rank1": 0.5,
        "calibration_error": 0.02,
    }
    return Calibration(**{**values, **changes})


def test_agrees_with_scikit_learn():
    curve = fit_logistic(np.array(GOLDEN["x"]), np.array(GOLDEN["correct"]))
    assert curve.slope == pytest.approx(GOLDEN["slope"], rel=1e-5)
    assert curve.intercept == pytest.approx(GOLDEN["intercept"], rel=1e-5)


@given(st.integers(0, 2**32))
def test_no_nearby_curve_is_likelier(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    x, correct = np.round(rng.normal(size=n) * 10 ** rng.uniform(-2, 2), 2), rng.random(n) < rng.random()
    curve = fit_logistic(x, correct)
    assert curve.slope >= 0
    right = correct.sum()
    target = np.where(correct, (right + 1) / (right + 2), 1 / (n - right + 2))

    def log_likelihood(slope, intercept):
        odds = slope * x + intercept
        return (target * odds - np.logaddexp(0, odds)).sum()

    best = log_likelihood(*curve)
    for slope in (curve.slope, curve.slope + 1e-3, max(0, curve.slope - 1e-3)):
        for intercept in (curve.intercept, curve.intercept + 1e-3, curve.intercept - 1e-3):
            assert log_likelihood(slope, intercept) <= best + 1e-9


@pytest.mark.parametrize("gap", [1e-3, 1.0, 100.0])
def test_separable_faces_give_a_finite_steep_curve(gap):
    x = np.concatenate([np.linspace(-1, 0, 30), np.linspace(gap, gap + 1, 30)])
    curve = fit_logistic(x, x > 0)
    assert np.isfinite(curve).all()
    score = sigmoid(curve.slope * x + curve.intercept)
    assert (score[30:] > 0.5).all()
    assert (score[:30] < 0.5).all()


def test_an_outlier_does_not_throw_the_fit():
    """Newton's full steps diverge here. The maximum is that of scipy 1.17.1, minimize(method="BFGS")."""
    x = np.array([0.4, 0.5, 1.1, -0.4, -0.9, -5.8, 1.5, -1.9, -1.1, -0.4, 41.1, -1.6])
    curve = fit_logistic(x, np.arange(12) == 10)
    assert curve == pytest.approx((0.0754400, -2.4282058), abs=1e-6)


@pytest.mark.parametrize("correct", [True, False])
def test_one_kind_only_gives_a_constant_short_of_certainty(correct):
    curve = fit_logistic(np.linspace(0, 1, 8), np.full(8, correct))
    assert curve.slope == 0
    assert sigmoid(np.array([curve.intercept]))[0] == pytest.approx(9 / 10 if correct else 1 / 10)


def test_a_falling_or_useless_index_gives_the_base_rate():
    x = np.linspace(-1, 1, 200)
    for correct in (x < 0, np.arange(200) % 2 == 0):
        curve = fit_logistic(x, correct)
        assert curve.slope == pytest.approx(0, abs=0.05)
        assert sigmoid(np.array([curve.intercept]))[0] == pytest.approx(0.5, abs=0.01)
    assert fit_logistic(np.zeros(4), np.array([True, True, True, False])).slope == 0


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=20))
def test_score_is_monotone_and_a_probability(values):
    x = np.sort(np.array(values, np.float64))
    score = plain(slope=3.0).score(x)
    assert (np.diff(score) >= 0).all()
    assert ((score >= 0) & (score <= 1)).all()


def test_score_by_hand():
    calibration = plain(slope=2.0, intercept=1.0)
    assert calibration.score(np.array([2.0, 2.5], np.float32)).tolist() == pytest.approx(
        [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-3))]
    )
    assert np.isnan(calibration.score(np.array([np.nan]))).all()
    assert calibration.score(np.array([-np.inf, np.inf])).tolist() == [0, 1]


def test_verdict_by_hand():
    calibration = plain(scale=1.0, mean=0.0)  # score is the plain sigmoid
    x = np.array([-3.0, -1.0, 0.0, 1.0, np.nan])  # scores .05, .27, .5, .73
    expected = ["unrecognizable", "doubtful", "recognizable", "recognizable", "failed"]
    assert calibration.verdict(x).tolist() == expected
    hidden = plain(scale=1.0, mean=0.0, unrecognizable_index=0.5)
    # within the range of unrecognizable identities a poor score is final, a good one is doubted
    assert hidden.verdict(x).tolist() == ["unrecognizable", "unrecognizable", "doubtful", "recognizable", "failed"]
    low = plain(scale=1.0, mean=0.0, unrecognizable_index=-4.0)
    assert low.verdict(x).tolist() == expected


def test_json_and_back():
    for calibration in (plain(), plain(unrecognizable_index=0.25, recognizable_from=0.7)):
        assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


def test_foreign_json_is_refused():
    values = plain().to_json()
    missing = {k: v for k, v in values.items() if k != "slope"}
    for bad in ({}, missing, {**values, "colour": 1}, {**values, "slope": "1"}, {**values, "faces": True}):
        with pytest.raises(VlrfaceError, match="not a calibration"):
            Calibration.from_json(bad)


def test_impossible_values_are_refused():
    for bad in ({"slope": -1.0}, {"scale": 0.0}, {"mean": float("nan")}, {"gallery_size": 0}):
        with pytest.raises(VlrfaceError, match="no calibration"):
            plain(**bad)
    with pytest.raises(VlrfaceError, match="recognizable_from"):
        plain(unrecognizable_below=0.6)


def test_calibration_error_by_hand():
    score, correct = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, True, True, True])
    assert calibration_error(score, correct, bins=2) == pytest.approx((abs(0.3 - 1) + abs(1.7 - 2)) / 4)
    assert calibration_error(score, correct, bins=1) == pytest.approx(abs(2.0 - 3) / 4)
    assert calibration_error(score, score > 0.5, bins=99) == pytest.approx((0.1 + 0.2 + 0.2 + 0.1) / 4)
    for scores, bins in ((score[:0], 2), (score, 0)):
        with pytest.raises(VlrfaceError):
            calibration_error(scores, correct[: len(scores)], bins)


def test_true_probabilities_have_a_small_error_and_overconfident_ones_a_large_one():
    rng = np.random.default_rng(0)
    truth = rng.random(20_000)
    correct = rng.random(20_000) < truth
    assert calibration_error(truth, correct) < 0.015
    assert calibration_error(np.round(truth), correct) > 0.2


def test_cross_fitting_leaves_people_out():
    rng = np.random.default_rng(1)
    x = rng.normal(size=3000)
    correct = rng.random(3000) < sigmoid(2 * x + 1)
    assert cross_fitted_error(x, correct, np.arange(3000) // 3) < 0.03
    # one person always right, one always wrong: each is predicted from the other alone, so wholly wrong
    person = np.repeat(np.arange(2), 50)
    assert cross_fitted_error(np.zeros(100), person == 0, person) > 0.7
    assert cross_fitted_error(np.zeros(100), person == 0, np.zeros(100, np.int64)) == pytest.approx(0, abs=0.01)


def test_no_faces_are_refused():
    with pytest.raises(VlrfaceError, match="no faces"):
        fit_logistic(np.zeros(0), np.zeros(0, bool))
