"""Spearman's correlation: scipy's number, copied rows, order alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.correlation import bootstrap_spearman, spearman
from vlrface.types import VlrfaceError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics_sklearn.json").read_text())


def test_spearman_agrees_with_scipy():
    golden = GOLDEN["spearman"]
    x, y = np.array(golden["x"]), np.array(golden["y"])
    estimate = bootstrap_spearman(x, y, np.arange(len(x))).estimate()
    assert estimate.value == pytest.approx(golden["value"], abs=1e-12)
    assert estimate.low < estimate.value < estimate.high


@given(st.integers(0, 2**32))
def test_spearman_knows_only_order(seed):
    x = np.random.default_rng(seed).integers(0, 6, 12).astype(float)
    if len(set(x)) < 2:
        return
    assert spearman(x, np.exp(x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)


def test_spearman_of_a_constant_is_undefined():
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))


def test_spearman_without_ties_agrees_with_the_school_formula():
    rng = np.random.default_rng(2)
    x, y = rng.permutation(9).astype(float), rng.permutation(9).astype(float)
    expected = 1 - 6 * ((x - y) ** 2).sum() / (9 * (81 - 1))
    assert spearman(x, y) == pytest.approx(expected, abs=1e-12)


def test_the_interval_has_the_usual_width_for_independent_items():
    rng = np.random.default_rng(3)
    estimate = bootstrap_spearman(rng.normal(size=1000), rng.normal(size=1000), np.arange(1000)).estimate()
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 / np.sqrt(1000), rel=0.15)


def test_refuses_what_has_no_correlation():
    some = np.array([0.5, np.nan])
    with pytest.raises(VlrfaceError, match="pairs: 2 and 1"):
        spearman(some, some[:1])
    with pytest.raises(VlrfaceError, match="no NaN"):
        spearman(some, some)
    with pytest.raises(VlrfaceError, match="at least one"):
        spearman(some[:0], some[:0])
