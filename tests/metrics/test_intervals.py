"""Bootstrap: copies of rows instead of weights as a slow oracle, the normal approximation, properties, speed-free."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.intervals import (
    bootstrap,
    bootstrap_means,
    bootstrap_shares,
    paired_difference,
    people_of,
    percentile_interval,
    person_weights,
)
from vlrface.types import VlrfaceError


def slow_samples(statistic, identities, resamples, seed):
    """Copies the rows of every drawn person as often as it was drawn."""
    people = people_of(identities)
    samples = []
    for weights in person_weights(people.total, resamples, seed):
        rows = [i for i, who in enumerate(people.number) for _ in range(int(weights[who]))]
        samples.append(statistic(np.array(rows, int)))
    return samples


def test_agrees_with_copying_rows():
    rng = np.random.default_rng(0)
    identities, values = rng.integers(0, 9, 40), rng.random(40)
    estimate = bootstrap_shares(values, identities, resamples=200, seed=3)
    low, high = np.percentile(slow_samples(lambda rows: values[rows].mean(), identities, 200, 3), [2.5, 97.5])
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((values.mean(), low, high), abs=1e-12)


def test_agrees_with_the_normal_approximation_when_items_are_independent():
    found = np.random.default_rng(1).random(2000) < 0.3
    estimate = bootstrap_shares(found.astype(float), np.arange(2000))
    half = 1.96 * np.sqrt(found.mean() * (1 - found.mean()) / 2000)
    assert estimate.low == pytest.approx(found.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(found.mean() + half, abs=0.1 * half)


def test_covers_the_truth_about_as_often_as_it_says():
    rng, covered = np.random.default_rng(2), 0
    for trial in range(200):  # 60 people of unequal skill with 1 to 6 images each
        people = np.repeat(np.arange(60), rng.integers(1, 7, 60))
        skill = rng.random(60)
        estimate = bootstrap_shares(
            (rng.random(len(people)) < skill[people]).astype(float), people, resamples=400, seed=trial
        )
        covered += estimate.low <= 0.5 <= estimate.high
    assert 0.89 <= covered / 200 <= 0.99


def test_images_of_one_person_do_not_count_as_independent():
    found = (np.random.default_rng(3).random(100) < 0.5).astype(float)
    alone = bootstrap_shares(found, np.arange(100))
    copied = bootstrap_shares(np.repeat(found, 10), np.repeat(np.arange(100), 10))
    assert (alone.low, alone.high) == pytest.approx((copied.low, copied.high), abs=1e-12)


@given(st.integers(0, 2**32))
def test_the_order_of_items_and_the_numbers_of_people_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    identities, values = rng.integers(0, 5, 20), rng.integers(0, 2, 20).astype(float)
    order = rng.permutation(20)
    here = bootstrap_shares(values, identities, resamples=30)
    there = bootstrap_shares(values[order], identities[order] * 7 + 3, resamples=30)
    assert (here.value, here.low, here.high) == pytest.approx(
        (there.value, there.low, there.high), abs=1e-12, nan_ok=True
    )


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 1000))
def test_weights_draw_everybody_once_on_average(people, resamples, seed):
    weights = person_weights(people, resamples, seed)
    assert (weights.sum(axis=1) == people).all()
    assert (weights == np.round(weights)).all()
    assert (weights == person_weights(people, resamples, seed)).all()


def test_blocks_draw_what_one_block_would(monkeypatch):
    whole = person_weights(7, 10, 1)
    monkeypatch.setattr("vlrface.metrics.intervals._BLOCK_WEIGHTS", 20)
    assert (person_weights(7, 10, 1) == whole).all()
    values = bootstrap(lambda w: w[:, :1].astype(float), 7, resamples=10, seed=1).interval()
    np.testing.assert_allclose([values.low[0], values.high[0]], np.percentile(whole[:, 0], [2.5, 97.5]))


def test_strangers_are_people_of_their_own():
    people = people_of(np.array([5, -1, 5, -100, -1, 2]))
    assert people.total == 5
    assert people.number[0] == people.number[2]
    assert len(set(people.number.tolist())) == 5
    assert people_of(np.array([-1, -1])).total == 2


def test_several_columns_share_one_draw():
    values = np.random.default_rng(4).random((30, 3))
    identities = np.repeat(np.arange(10), 3)
    together = bootstrap_means(values, identities).interval()
    for column in range(3):
        alone = bootstrap_shares(values[:, column], identities)
        each = together.estimate(column)
        assert (each.value, each.low, each.high) == pytest.approx((alone.value, alone.low, alone.high), abs=1e-12)


def test_a_paired_difference_is_narrower_than_two_intervals():
    rng = np.random.default_rng(5)
    first = (rng.random(400) < 0.4).astype(float)
    second = np.where(rng.random(400) < 0.05, 1 - first, first)
    difference = paired_difference(first, second, np.arange(400))
    a, b = bootstrap_shares(first, np.arange(400)), bootstrap_shares(second, np.arange(400))
    assert difference.value == pytest.approx(a.value - b.value)
    assert difference.high - difference.low < 0.5 * (a.high - a.low + b.high - b.low)
    nothing = paired_difference(first, first, np.arange(400))
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)


def test_one_person_has_no_interval():
    estimate = bootstrap_shares(np.array([0.0, 1.0]), np.array([4, 4]))
    assert estimate.value == 0.5
    assert np.isnan([estimate.low, estimate.high]).all()
    assert str(estimate) == "0.5"


def test_undefined_resamples_are_left_out():
    samples = np.array([[1.0], [np.nan], [3.0]])
    interval = percentile_interval(np.array([2.0]), samples, people=3)
    assert (interval.low[0], interval.high[0]) == pytest.approx((1.05, 2.95))
    nothing = percentile_interval(np.array([2.0]), np.full((3, 1), np.nan), people=3)
    assert np.isnan([nothing.low[0], nothing.high[0]]).all()


def test_refuses_what_has_no_mean():
    some = np.array([0.5, np.nan])
    with pytest.raises(VlrfaceError, match="1 values are NaN"):
        bootstrap_shares(some, np.array([1, 2]))
    with pytest.raises(VlrfaceError, match="no items"):
        bootstrap_shares(np.zeros(0), np.zeros(0, int))
    with pytest.raises(VlrfaceError, match="same items"):
        paired_difference(some, some[:1], np.array([1, 2]))
    with pytest.raises(VlrfaceError, match="0 resamples"):
        person_weights(3, 0, 0)
