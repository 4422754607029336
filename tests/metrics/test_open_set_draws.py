"""Open set under weights: copied probes and the exact functions as oracle, probes removed one by one, properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.intervals import bootstrap_means, person_weights
from vlrface.metrics.open_set import OpenSetSearch, open_set_at, tpir_area, tpir_at_fpir
from vlrface.metrics.open_set_draws import (
    OrderedSearch,
    RatesAfterReject,
    RatesByGroup,
    WeightedSearch,
    bootstrap_open_set,
)
from vlrface.types import VlrfaceError

RATES = (0.0, 0.01, 0.1, 0.29, 0.5, 0.9, 1.0)


def some_search(seed, mated=12, unmated=15, digits=1):
    """Ties among scores, misses, failures."""
    rng = np.random.default_rng(seed)
    rank = rng.integers(0, 4, mated)
    score = np.where(rank > 0, np.round(rng.random(mated), digits), -np.inf)
    best = np.where(rng.random(unmated) < 0.15, np.nan, np.round(rng.random(unmated) - 0.2, digits))
    best[0] = 0.4
    ones = np.ones(mated, np.int64)
    return OpenSetSearch(rank, score, rng.integers(-1, 5, mated), ones, best, rng.choice([-1, -1, 70, 71], unmated))


def drawn(search, seed, rank=2):
    """Some weights, and the search with each probe copied as often."""
    rng = np.random.default_rng(seed)
    mated, unmated = rng.integers(0, 4, len(search.rank)), rng.integers(0, 4, len(search.best))
    mated[0], unmated[0] = 1, 2
    first, second = np.repeat(np.arange(len(mated)), mated), np.repeat(np.arange(len(unmated)), unmated)
    copied = OpenSetSearch(
        search.rank[first],
        search.mate_score[first],
        search.identities[first],
        search.mates[first],
        search.best[second],
        search.strangers[second],
    )
    return WeightedSearch(OrderedSearch.of(search, rank), mated, unmated), copied, first, second


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_weights_agree_with_copies(seed, rank):
    weighted, copied, _, _ = drawn(some_search(seed), seed, rank)
    np.testing.assert_allclose(weighted.tpir(RATES), open_set_at(copied, np.array(RATES), rank).tpir, atol=1e-12)
    assert weighted.area() == pytest.approx(tpir_area(copied, rank))
    for fpir in RATES:
        accepted, point = weighted.accepted(fpir), tpir_at_fpir(copied, fpir, rank)
        assert accepted.threshold == point.threshold
        assert weighted.unmated[accepted.unmated].sum() == point.accepted_unmated


@given(st.integers(0, 2**32), st.sampled_from(RATES))
def test_groups_agree_with_copies(seed, fpir):
    search, rng = some_search(seed), np.random.default_rng(seed)
    mated, unmated = rng.random((12, 3)) < 0.3, rng.random((15, 3)) < 0.3
    weighted, copied, first, second = drawn(search, seed)
    values = RatesByGroup(fpir, mated, unmated)(weighted)
    threshold = tpir_at_fpir(copied, fpir, 2).threshold
    for group in range(3):
        found = (copied.found(2) & (copied.mate_score >= threshold))[mated[first, group]]
        reported = copied.best[unmated[second, group] & ~np.isnan(copied.best)] >= threshold
        for value, flags in ((values[group], found), (values[3 + group], reported)):
            assert value == pytest.approx(flags.mean() if len(flags) else np.nan, nan_ok=True)


@given(st.integers(0, 2**32), st.integers(0, 20))
def test_reject_agrees_with_removing_probes_one_by_one(seed, gone):
    search = some_search(seed)
    quality = np.random.default_rng(seed).permutation(27) / 7
    quality[np.argmin(quality)] = np.nan  # goes first all the same
    order = np.argsort(np.where(np.isnan(quality), -np.inf, quality))
    kept = np.ones(27, bool)
    kept[order[:gone]] = False
    ones = WeightedSearch(OrderedSearch.of(search, 2), np.ones(12, int), np.ones(15, int))
    values = RatesAfterReject(0.29, np.array([gone / 27]), quality)(ones)
    threshold = tpir_at_fpir(search, 0.29, 2).threshold  # of all probes, before anybody is rejected
    found = (search.found(2) & (search.mate_score >= threshold))[kept[:12]]
    reported = search.best[kept[12:] & ~np.isnan(search.best)] >= threshold
    for value, flags in zip(values, (found, reported), strict=True):
        assert value == pytest.approx(flags.mean() if len(flags) else np.nan, nan_ok=True, abs=1e-9)


@given(st.integers(0, 2**32))
def test_reject_under_weights_agrees_with_copies(seed):
    search = some_search(seed)
    quality = np.random.default_rng(seed).integers(0, 4, 27) / 2
    shares = np.array([0.0, 0.15, 0.4, 0.75])
    weighted, copied, first, second = drawn(search, seed)
    ones = np.ones(len(first), int), np.ones(len(second), int)
    alone = WeightedSearch(OrderedSearch.of(copied, 2), *ones)
    copied_quality = np.concatenate([quality[first], quality[12 + second]])
    np.testing.assert_allclose(
        RatesAfterReject(0.1, shares, quality)(weighted),
        RatesAfterReject(0.1, shares, copied_quality)(alone),
        atol=1e-12,
    )


def test_reject_at_equal_quality_is_the_expectation_over_orders():
    search, rng = some_search(3), np.random.default_rng(3)
    quality, share = rng.integers(0, 2, 27).astype(float), 9 / 27
    ones = WeightedSearch(OrderedSearch.of(search, 2), np.ones(12, int), np.ones(15, int))
    point = tpir_at_fpir(search, 0.29, 2)
    found = search.found(2) & (search.mate_score >= point.threshold)
    counts = np.zeros(2)
    for _ in range(4000):
        kept = np.lexsort((rng.random(27), quality))[9:]
        mine = kept[kept < 12]
        counts += [found[mine].sum(), len(mine)]
    assert RatesAfterReject(0.29, np.array([share]), quality)(ones)[0] == pytest.approx(counts[0] / counts[1], abs=0.02)


def test_a_constant_quality_rejects_at_random():
    search = some_search(4)
    values = bootstrap_open_set(RatesAfterReject(0.29, np.array([0.0, 0.5]), np.ones(27)), search, rank=2, resamples=5)
    np.testing.assert_allclose(values.samples[:, 0], values.samples[:, 1])
    np.testing.assert_allclose(values.samples[:, 2], values.samples[:, 3])
    assert values.value[0] == pytest.approx(tpir_at_fpir(search, 0.29, 2).tpir)


def statistic(weighted):
    return np.append(weighted.area(), weighted.tpir(RATES))


@given(st.integers(0, 2**32))
def test_values_are_the_exact_ones(seed):
    search = some_search(seed, digits=2)
    sampled = bootstrap_open_set(statistic, search, rank=3, resamples=2)
    assert sampled.value[0] == pytest.approx(tpir_area(search, 3))
    np.testing.assert_allclose(sampled.value[1:], open_set_at(search, np.array(RATES), 3).tpir)


def test_known_people_are_drawn_as_everywhere_else():
    """At a rate of 1 no stranger matters: the closed-set share, with the very same samples."""
    search = some_search(6)
    here = bootstrap_open_set(lambda w: w.tpir((1.0,)), search, rank=2, resamples=50, seed=4)
    there = bootstrap_means(search.found(2)[:, None].astype(float), search.identities, resamples=50, seed=4)
    np.testing.assert_allclose(here.samples, there.samples)


def test_strangers_are_drawn_with_all_their_probes():
    best = np.array([0.9, 0.9, 0.9, 0.1])
    search = OpenSetSearch(
        np.ones(2, int), np.array([0.5, 0.5]), np.arange(2), np.ones(2, int), best, np.array([8, 8, 8, 9])
    )
    sampled = bootstrap_open_set(lambda w: w.unmated.astype(float), search, rank=1, resamples=200)
    assert (sampled.samples[:, 0] == sampled.samples[:, 1]).all()
    assert (sampled.samples[:, 0] == sampled.samples[:, 2]).all()
    assert (sampled.samples[:, 0] + sampled.samples[:, 3] == 2).all()
    assert sampled.people == 4


def test_strangers_are_drawn_as_often_as_chance_says():
    search = some_search(7, unmated=4000)
    sampled = bootstrap_open_set(lambda w: w.unmated[[0, 5]].astype(float), search, rank=1, resamples=400)
    assert sampled.samples.mean() == pytest.approx(1, abs=0.15)
    assert sampled.samples.var() == pytest.approx(1, abs=0.3)
    mated = person_weights(5, 400, 0)
    assert not np.array_equal(mated[:, 0], sampled.samples[:, 0])


def test_two_searches_of_the_same_probes_are_resampled_alike():
    first, second = some_search(8, mated=60, unmated=80), some_search(9, mated=60, unmated=80)
    second = OpenSetSearch(second.rank, second.mate_score, first.identities, second.mates, second.best, first.strangers)
    weights = [
        bootstrap_open_set(lambda w: np.append(w.mated, w.unmated).astype(float), each, rank=1, resamples=3).samples
        for each in (first, second)
    ]
    np.testing.assert_array_equal(*weights)
    same = bootstrap_open_set(statistic, first, resamples=20, seed=2)
    assert (same.minus(same).samples == 0).all()
    other = bootstrap_open_set(statistic, first, resamples=20, seed=3)
    assert not np.array_equal(other.samples, same.samples, equal_nan=True)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    """Scores of independent people: the true TPIR at FPIR 0.2 is the chance to exceed the 80th percentile."""
    rng, covered = np.random.default_rng(11), 0
    for trial in range(100):
        n = 150
        search = OpenSetSearch(
            np.ones(n, int), rng.random(n) + 0.3, np.arange(n), np.ones(n, int), rng.random(n), np.full(n, -1)
        )
        estimate = bootstrap_open_set(lambda w: w.tpir((0.2,)), search, resamples=150, seed=trial).estimate()
        covered += estimate.low <= 0.5 <= estimate.high
    assert 0.87 <= covered / 100 <= 0.995


def test_one_person_of_a_kind_has_no_interval():
    for mated, unmated in ((1, 9), (9, 1)):
        search = OpenSetSearch(
            np.ones(mated, int),
            np.full(mated, 0.5),
            np.arange(mated),
            np.ones(mated, int),
            np.full(unmated, 0.4),
            np.full(unmated, -1),
        )
        estimate = bootstrap_open_set(lambda w: w.tpir((0.1,)), search, resamples=5).estimate()
        assert estimate.value == 1
        assert np.isnan(estimate.low)


def test_nobody_drawn_is_undefined():
    search = some_search(12)
    ordered = OrderedSearch.of(search, 2)
    for mated, unmated in ((0, 1), (1, 0)):
        weighted = WeightedSearch(ordered, np.full(12, mated), np.full(15, unmated))
        assert not weighted.defined
        assert np.isnan(weighted.tpir((0.1, 0.2))).all()
        assert np.isnan(weighted.area())
        assert np.isnan(RatesByGroup(0.1, np.ones((12, 1), bool), np.ones((15, 1), bool))(weighted)).all()
        assert np.isnan(RatesAfterReject(0.1, np.zeros(1), np.ones(27))(weighted)).all()


def test_refuses():
    search = some_search(13)
    for call, says in (
        (lambda: RatesAfterReject(0.1, np.array([1.0]), np.ones(27)), "lie in"),
        (lambda: RatesAfterReject(0.1, np.array([0.1]), np.full(27, np.nan)), "no probe has a quality"),
        (
            lambda: bootstrap_open_set(RatesAfterReject(0.1, np.array([0.1]), np.ones(3)), search),
            "3 qualities for 12 mated and 15",
        ),
        (lambda: bootstrap_open_set(statistic, search, rank=0), "start at 1"),
        (lambda: bootstrap_open_set(statistic, search, resamples=0), "0 resamples"),
    ):
        with pytest.raises(VlrfaceError, match=says):
            call()
