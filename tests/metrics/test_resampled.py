"""Resampled verification curves against weights written out pair by pair, and against copied pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.pairs import Pairs, genuine_impostor
from vlrface.metrics.resampled import resample_pairs, weighted_pairs
from vlrface.metrics.verification import auc, eer, tpr_at_far
from vlrface.types import VlrfaceError


def some_pairs(seed=0, people=8, faces=20):
    rng = np.random.default_rng(seed)
    identities = np.append(np.arange(people), rng.integers(0, people, faces - people))
    centres = rng.normal(size=(people, 4))
    return genuine_impostor(centres[identities] + rng.normal(size=(faces, 4)), identities)


def copied(pairs, resamples, row):
    """Scores of one resample, each pair as often as its weight says."""
    weights = resamples.weights[row]
    who = resamples.people.number
    genuine = weights[who[pairs.genuine_faces[:, 0]]]
    impostor = weights[who[pairs.impostor_faces[:, 0]]] * weights[who[pairs.impostor_faces[:, 1]]]
    return np.repeat(pairs.genuine, genuine.astype(int)), np.repeat(pairs.impostor, impostor.astype(int))


def test_curves_agree_with_copied_pairs():
    pairs = some_pairs()
    resamples = resample_pairs(pairs, resamples=50, seed=1)
    for row in range(51):
        genuine, impostor = copied(pairs, resamples, row)
        if not len(genuine) or not len(impostor):
            assert np.isnan(resamples.far[row]).all()
            continue
        far = [(impostor >= t).mean() for t in resamples.threshold]
        tpr = [(genuine >= t).mean() for t in resamples.threshold]
        np.testing.assert_allclose(resamples.far[row], far, atol=1e-9)
        np.testing.assert_allclose(resamples.tpr[row], tpr, atol=1e-9)


def test_summaries_are_close_to_the_exact_ones():
    pairs = some_pairs(2, people=15, faces=90)
    rates = (0.1, 0.01, eer(pairs.genuine, pairs.impostor))
    resamples = resample_pairs(pairs, fars=rates, resamples=40, seed=4)
    aucs, eers, tprs = resamples.auc(), resamples.eer(), resamples.tpr_at(np.array([0.1, 0.01]))
    for row in range(41):
        genuine, impostor = copied(pairs, resamples, row)
        assert aucs[row] == pytest.approx(auc(genuine, impostor), abs=0.01)
        assert eers[row] == pytest.approx(eer(genuine, impostor), abs=0.01)
        for column, far in enumerate((0.1, 0.01)):
            assert tprs[row, column] == pytest.approx(tpr_at_far(genuine, impostor, far).tpr, abs=0.03)
    assert tprs[0, 0] == pytest.approx(tpr_at_far(pairs.genuine, pairs.impostor, 0.1).tpr, abs=0.002)


def test_many_rates_have_each_their_thresholds():
    pairs = some_pairs(3, people=40, faces=200)
    rates = tuple(np.geomspace(1e-3, 0.9, 45))
    resamples = resample_pairs(pairs, fars=rates, resamples=1)
    assert len(resamples.threshold) > 256  # more than a byte counts
    asked = np.array(rates[::11])
    exact = [tpr_at_far(pairs.genuine, pairs.impostor, far).tpr for far in asked]
    np.testing.assert_allclose(resamples.tpr_at(asked)[0], exact, atol=0.01)


@given(st.integers(0, 2**32), st.integers(1, 300))
def test_both_ways_of_adding_weights_agree(seed, count):
    rng = np.random.default_rng(seed)
    persons, weights = rng.integers(0, 6, (count, 2)), rng.integers(0, 4, (6, 5)).astype(np.float32)
    expected = sum(weights[a].astype(float) * weights[b] for a, b in persons)
    np.testing.assert_allclose(weighted_pairs(persons, weights), expected, rtol=1e-6)


def test_few_pairs_of_many_people_are_gathered():
    rng = np.random.default_rng(7)
    persons, weights = rng.integers(0, 4000, (3000, 2)), rng.integers(0, 4, (4000, 3)).astype(np.float32)
    expected = sum(weights[a].astype(float) * weights[b] for a, b in persons)
    np.testing.assert_allclose(weighted_pairs(persons, weights), expected, rtol=1e-6)


def test_an_interval_belongs_to_its_value():
    pairs = some_pairs(3, people=20, faces=100)
    resamples = resample_pairs(pairs, fars=(0.1,), resamples=300)
    value = np.array([tpr_at_far(pairs.genuine, pairs.impostor, 0.1).tpr])
    interval = resamples.sampled(value, resamples.tpr_at(np.array([0.1]))).interval()
    assert 0 <= interval.low[0] < value[0] < interval.high[0] <= 1


def test_an_interval_is_shifted_to_its_value_and_kept_in_range():
    resamples = resample_pairs(some_pairs(3), resamples=3)
    samples = np.array([[0.5], [0.4], [0.5], [0.6]])  # the approximation on the data themselves, then three resamples
    interval = resamples.sampled(np.array([0.55]), samples).interval()
    assert (interval.low[0], interval.high[0]) == pytest.approx((0.455, 0.645))
    assert resamples.sampled(np.array([1.0]), samples).interval().high[0] == 1
    assert resamples.sampled(np.array([1.0]), samples, largest=np.inf).interval().high[0] == pytest.approx(1.095)


def test_a_seed_draws_the_same_people():
    pairs = some_pairs(4)
    first, second = resample_pairs(pairs, resamples=20, seed=9), resample_pairs(pairs, resamples=20, seed=9)
    np.testing.assert_array_equal(first.far, second.far)
    assert not np.array_equal(first.far, resample_pairs(pairs, resamples=20, seed=8).far, equal_nan=True)


def test_a_resample_of_one_person_has_no_curve():
    pairs = some_pairs(5, people=2, faces=6)
    resamples = resample_pairs(pairs, resamples=40)
    alone = (resamples.weights == 2).any(axis=1)
    assert alone.any()
    assert not alone.all()
    for values in (resamples.auc(), resamples.eer(), resamples.around(0.1)[2]):
        assert (np.isnan(values) == alone).all()
    assert (np.isnan(resamples.tpr_at(np.array([0.1]))[:, 0]) == alone).all()


def test_refuses_a_genuine_pair_of_two_people():
    one = np.array([0.5])
    pairs = Pairs(one, np.array([[0, 1]]), one, np.array([[0, 1]]), np.array([3, 4]))
    with pytest.raises(VlrfaceError, match="two people"):
        resample_pairs(pairs)
