"""The discriminant beside scikit-learn's, and at its edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.types import VlrfaceError
from vlrface.unrecognizable.scoring import fitted_score


def faces(n=300, gap=1.5, seed=0):
    rng = np.random.default_rng(seed)
    inside = rng.random(n) < 0.4
    return {"affinity": rng.normal(0, 1, n) + gap * inside, "log_length": rng.normal(3, 0.2, n) - 0.1 * inside}, inside


def test_weights_are_those_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    evidence, inside = faces()
    score = fitted_score(evidence, inside)
    design = np.stack([(v - v.mean()) / v.std() for v in evidence.values()], axis=1)
    other = linear.LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(design, inside)
    assert [term[0] for term in score.terms.values()] == pytest.approx(other.coef_[0].tolist(), abs=1e-4)
    assert score.chance(evidence) == pytest.approx(other.predict_proba(design)[:, 1], abs=1e-4)
    assert score.reached == pytest.approx(other.predict_proba(design)[inside, 1].mean(), abs=1e-4)


@settings(deadline=None)
@given(st.integers(0, 50), st.floats(0.0, 40.0))
def test_scores_are_shares_and_rise_with_the_evidence(seed, gap):
    evidence, inside = faces(60, gap, seed)
    if not 0 < inside.sum() < len(inside):
        return
    score = fitted_score(evidence, inside)
    values = score(evidence)
    assert ((values >= 0) & (values <= 1)).all()
    more = score({**evidence, "affinity": evidence["affinity"] + 1})
    assert (more >= values).all() if score.terms["affinity"][0] >= 0 else (more <= values).all()


def test_evidence_without_spread_says_nothing():
    inside = np.arange(20) < 5
    score = fitted_score({"affinity": np.full(20, 0.3)}, inside)
    assert score.chance({"affinity": np.full(20, 0.3)}) == pytest.approx(np.full(20, 0.25), abs=1e-6)


def test_what_is_not_known_has_no_score():
    evidence, inside = faces()
    assert np.isnan(fitted_score(evidence, inside)({"affinity": np.array([np.nan]), "log_length": np.array([3.0])})[0])


@pytest.mark.parametrize("inside", [np.zeros(9, bool), np.ones(9, bool)])
def test_one_kind_of_faces_is_refused(inside):
    with pytest.raises(VlrfaceError, match="nothing to tell them from"):
        fitted_score({"affinity": np.arange(9.0)}, inside)


def test_members_that_the_clusters_left_out_are_found_all_the_same():
    """Elkan and Noto: labels of a random third of the positives give the scores that all labels give."""
    evidence, truth = faces(4000, gap=6.0)
    some = truth & (np.random.default_rng(1).random(len(truth)) < 1 / 3)
    score = fitted_score(evidence, some)
    assert score.reached == pytest.approx(1 / 3, abs=0.03)
    assert ((score(evidence) >= 0.5) == truth).mean() > 0.95
