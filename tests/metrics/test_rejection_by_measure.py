"""Many measures on the same pairs: the numbers of `rejection`, which computes each measure alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rejection_pairs import random_pairs

from vlrface.metrics.intervals import people_of, person_weights
from vlrface.metrics.pairs import Pairs
from vlrface.metrics.rejection import judge, judged_edc, oracle_line, partial_auc, resampled_edc, resampled_rank1
from vlrface.metrics.rejection_by_measure import resampled_hits, resampled_judged_edc
from vlrface.metrics.resampled import resample_pairs
from vlrface.types import VlrfaceError

SHARES = np.arange(96) / 100
SEEDS = st.integers(0, 2**32)
MODES = st.sampled_from(["pairs", "images"])


@given(SEEDS, MODES)
def test_with_few_levels_the_resampled_curves_are_the_same(seed, mode):
    pairs, quality = random_pairs(seed)
    drawn = resample_pairs(pairs, fars=(0.1,), resamples=10)
    alone = resampled_edc(pairs, quality, 0.1, SHARES, drawn, mode=mode)
    here = resampled_judged_edc(judge(pairs, 0.1), quality, SHARES, drawn, mode=mode)
    np.testing.assert_allclose(here, alone, atol=1e-9)


@pytest.mark.parametrize("mode", ["pairs", "images"])
def test_with_many_levels_they_differ_by_little_of_their_spread(mode):
    pairs, quality = random_pairs(1, genuine=5000, impostor=8000, faces=1500, levels=10**9)
    drawn = resample_pairs(pairs, fars=(0.01,), resamples=60)
    alone = resampled_edc(pairs, quality, 0.01, SHARES, drawn, mode=mode)
    here = resampled_judged_edc(judge(pairs, 0.01), quality, SHARES, drawn, mode=mode)
    seen = np.s_[:, :60]  # further on few pairs are left
    apart, spread = np.abs(here - alone)[seen], alone[seen].std(axis=0)
    assert (apart.mean(axis=0) < 0.03 * spread).all()
    assert apart.max() < 0.3 * spread.min()


def test_a_resample_without_pairs_has_no_curve():
    faces = np.array([[0, 0], [1, 1]])
    pairs = Pairs(np.array([0.9, 0.2]), faces, np.full(20, 0.5), np.tile([[0, 2]], (20, 1)), np.arange(3))
    drawn = resample_pairs(pairs, fars=(0.5,), resamples=40)
    rates = resampled_judged_edc(judge(pairs, 0.5), np.arange(3.0), SHARES, drawn)
    nobody = (drawn.weights[:, :2] == 0).all(axis=1) | (drawn.weights[:, 0] * drawn.weights[:, 2] == 0)
    assert nobody.any()
    np.testing.assert_array_equal(np.isnan(rates[:, 0]), nobody)


@given(SEEDS, MODES)
def test_a_constant_measure_is_the_flat_line(seed, mode):
    pairs, quality = random_pairs(seed)
    curve = judged_edc(judge(pairs, 0.1), np.ones(len(quality)), mode=mode)
    np.testing.assert_allclose(curve.fnmr, curve.fnmr[0], atol=1e-12)
    drawn = resample_pairs(pairs, fars=(0.1,), resamples=5)
    rates = resampled_judged_edc(judge(pairs, 0.1), np.ones(len(quality)), SHARES, drawn, mode=mode)
    np.testing.assert_allclose(rates, np.repeat(rates[:, :1], 96, axis=1), atol=1e-9)


@given(SEEDS)
def test_no_measure_goes_below_the_oracle(seed):
    pairs, quality = random_pairs(seed)
    curve = judged_edc(judge(pairs, 0.1), quality)
    assert (curve.fnmr >= oracle_line(float(curve.fnmr[0]), curve.rejected) - 1e-12).all()


def test_a_measure_that_knows_the_score_reaches_what_can_be_reached():
    n = 40
    score = np.where(np.arange(n) < 10, 0.0, 1.0)
    faces = np.column_stack([np.arange(n), np.arange(n)])
    pairs = Pairs(score, faces, np.full(100, 0.5), np.tile(faces[:1], (100, 1)), np.arange(n))
    curve = judged_edc(judge(pairs, 0.1), score)
    np.testing.assert_allclose(curve.at(SHARES[:30]), np.maximum(0.25 - SHARES[:30], 0) / (1 - SHARES[:30]), atol=1e-12)
    assert partial_auc(curve, 0.3) < partial_auc(judged_edc(judge(pairs, 0.1), -score), 0.3)


def test_refuses():
    pairs, quality = random_pairs(2)
    with pytest.raises(VlrfaceError, match=r"is 9 pairs, fewer than 10"):
        judge(pairs, 0.03)
    judged = judge(pairs, 0.03, allow_few_impostors=True)
    drawn = resample_pairs(pairs, resamples=2)
    for measure in (lambda q: judged_edc(judged, q), lambda q: resampled_judged_edc(judged, q, SHARES, drawn)):
        with pytest.raises(VlrfaceError, match="29 qualities for 30 faces"):
            measure(quality[1:])
        with pytest.raises(VlrfaceError, match="no face has a quality"):
            measure(np.full(30, np.nan))
    with pytest.raises(VlrfaceError, match="no genuine pairs"):
        judge(
            Pairs(pairs.genuine[:0], pairs.genuine_faces[:0], pairs.impostor, pairs.impostor_faces, pairs.identities),
            0.5,
        )


# Probes


@given(SEEDS)
def test_hits_after_reject_are_those_of_rank_1(seed):
    rng = np.random.default_rng(seed)
    first, quality = rng.integers(0, 3, 40), rng.integers(0, 9, 40) / 2
    quality[:3] = np.nan
    people = people_of(rng.integers(0, 6, 40))
    weights = person_weights(people.total, 6, seed)
    shares = np.array([0.0, 0.1, 0.33, 0.7])
    alone = resampled_rank1(first, quality, shares, weights[:, people.number])
    here = resampled_hits(first == 1, quality, shares, weights, people.number)
    np.testing.assert_allclose(here, alone, atol=1e-9)


def test_hits_refuse():
    found, number = np.ones(2, bool), np.arange(2)
    with pytest.raises(VlrfaceError, match="no face has a quality"):
        resampled_hits(found, np.full(2, np.nan), SHARES, np.ones((1, 2), np.float32), number)
    with pytest.raises(VlrfaceError, match="3 qualities for 2"):
        resampled_hits(found, np.ones(3), SHARES, np.ones((1, 2), np.float32), number)
