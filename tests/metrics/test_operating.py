"""Thresholds for wished rates: against slow obvious loops, their properties, and what their intervals promise."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.intervals import person_weights
from vlrface.metrics.operating import Point, accept_point, fmr_point, fnmr_point, fpir_point
from vlrface.metrics.pairs import genuine_impostor
from vlrface.types import VlrfaceError


def people(count=40, each=4, seed=0, spread=1.0, dim=24):
    """Embeddings of people, and how clean each face is."""
    draw = np.random.default_rng(seed)
    identities = np.repeat(np.arange(count), each)
    clean = draw.uniform(0.2, 2.0, len(identities))
    centres = draw.normal(size=(count, dim))[identities]
    embeddings = centres + spread * draw.normal(size=(len(identities), dim)) / np.sqrt(clean)[:, None]
    return embeddings.astype(np.float32), identities.astype(np.int64), clean / clean.max()


@pytest.fixture(scope="module")
def faces():
    return people()


@pytest.fixture(scope="module")
def pairs(faces):
    return genuine_impostor(*faces[:2])


@pytest.mark.parametrize("fmr", [0.3, 0.05, 0.01, 0.001])
def test_fmr_by_a_loop(fmr, pairs):
    point = fmr_point(pairs, fmr, resamples=50)
    allowed = int(round(fmr * len(pairs.impostor), 9))
    ordered = sorted(pairs.impostor.tolist(), reverse=True)
    assert sum(score >= point.threshold for score in ordered) <= allowed
    assert point.threshold <= np.nextafter(np.float32(ordered[allowed]), np.float32(np.inf)) * (1 + 1e-6)
    assert point.rate == sum(score >= point.threshold for score in ordered) / len(ordered)
    assert point.cost == pytest.approx(sum(score < point.threshold for score in pairs.genuine) / len(pairs.genuine))
    assert point.threshold_low <= point.threshold <= point.threshold_high
    assert point.rate_low <= point.rate <= point.rate_high
    assert (point.counted, point.people) == (len(pairs.impostor), 40)


@given(st.lists(st.integers(0, 12), min_size=40, max_size=80), st.sampled_from([0.25, 0.5, 0.6]))
def test_fpir_by_a_loop_with_ties(tenths, fpir):
    best = np.array(tenths) / 10
    who = np.arange(len(best)) // 4
    found = np.where(np.arange(len(best)) % 3 == 0, -np.inf, best + 0.05)
    point = fpir_point(best, found, who, who, fpir, gallery_size=9, resamples=20)
    within = [t for t in {*best.tolist(), *np.nextafter(best, 9).tolist()} if (best >= t).mean() <= fpir]
    assert point.threshold == min(within)
    assert point.rate == (best >= point.threshold).mean()
    assert point.cost == (found < point.threshold).mean()
    assert point.gallery_size == 9


@given(st.lists(st.integers(0, 9), min_size=60, max_size=90), st.sampled_from([0.5, 0.75, 0.8]))
def test_accept_by_a_loop_with_ties(tenths, share):
    scores = np.array([*tenths, 0, 10]) / 10
    correct = np.arange(len(scores)) % 2 == 0
    point = accept_point(scores, correct, np.arange(len(scores)) // 5, share, resamples=20)
    assert point.threshold == max(t for t in set(scores.tolist()) if (scores >= t).mean() >= share)
    assert point.rate == (scores >= point.threshold).mean()
    assert point.cost == pytest.approx(1 - correct[scores >= point.threshold].mean())


@pytest.mark.parametrize("fnmr", [0.6, 0.45, 0.35])
def test_fnmr_by_a_loop(fnmr, faces, pairs):
    scores = faces[2]
    cosine = fmr_point(pairs, 0.01, resamples=10).threshold
    point = fnmr_point(pairs, scores, fnmr, at_fmr=0.01, resamples=50)
    possible = []
    for threshold in sorted(set(scores.tolist())):
        kept = [
            score < cosine
            for score, (a, b) in zip(pairs.genuine, pairs.genuine_faces, strict=True)
            if min(scores[a], scores[b]) >= threshold
        ]
        if len(kept) >= 10 / fnmr and sum(kept) / len(kept) <= fnmr:
            possible.append((threshold, sum(kept) / len(kept), len(kept)))
    least, rate, counted = possible[0]
    quality = scores[pairs.genuine_faces].min(axis=1)
    assert (quality >= point.threshold).sum() == (quality >= least).sum() == counted == point.counted
    assert point.rate == pytest.approx(rate)
    assert point.cost == pytest.approx((scores < point.threshold).mean())
    assert point.at_fmr == 0.01


def test_a_chance_to_be_right_counts_as_a_part():
    scores, people = np.linspace(0, 1, 40), np.repeat(np.arange(10), 4)
    right = scores > 0.4
    sure = accept_point(scores, right, people, 0.5, resamples=50)
    assert accept_point(scores, right.astype(float), people, 0.5, resamples=50) == sure
    chances = np.where(right, 0.75, 0.25)
    part = accept_point(scores, chances, people, 0.5, resamples=50)
    assert part.cost == pytest.approx(1 - chances[scores >= part.threshold].mean())
    assert part.cost_low <= part.cost <= part.cost_high
    assert (part.threshold, part.rate) == (sure.threshold, sure.rate)


def test_wishing_for_less_costs_more(pairs, faces):
    by_fmr = [fmr_point(pairs, rate, resamples=10) for rate in (0.3, 0.1, 0.01, 0.002)]
    assert all(a.threshold <= b.threshold and a.cost <= b.cost for a, b in pairwise(by_fmr))
    by_fnmr = [fnmr_point(pairs, faces[2], rate, at_fmr=0.01, resamples=10) for rate in (0.6, 0.45, 0.35)]
    assert all(a.threshold <= b.threshold and a.cost <= b.cost for a, b in pairwise(by_fnmr))


def test_the_interval_of_the_rate_holds_the_truth():
    """The rate of a threshold among all people, against the intervals of small samples of them."""
    everybody, identities, _ = people(count=400, each=3, seed=1)
    truth = genuine_impostor(everybody, identities).impostor
    inside = 0
    for seed in range(40):
        chosen = np.isin(identities, np.random.default_rng(seed).permutation(400)[:60])
        point = fmr_point(genuine_impostor(everybody[chosen], identities[chosen]), 0.01, resamples=200, seed=seed)
        low, high = point.threshold_low, point.threshold_high
        inside += (truth >= high).mean() <= 0.01 <= (truth >= low).mean()
    assert inside >= 32  # 38 are expected; fewer than 32 of 40 has a chance of 0.4 % at 0.95


def test_a_score_that_many_draws_do_not_reach_has_no_upper_limit(pairs, faces):
    """Against the same draws by a loop; a draw in which no score is enough counts as infinitely high."""
    point = fnmr_point(pairs, faces[2], 0.22, at_fmr=0.01, resamples=60, seed=3)
    cosine = fmr_point(pairs, 0.01, resamples=1).threshold
    quality = faces[2][pairs.genuine_faces].min(axis=1)
    person = faces[1][pairs.genuine_faces[:, 0]]
    chosen = []
    for weights in person_weights(40, 60, 3):
        found = np.inf
        for threshold in np.unique(quality):
            kept = quality >= threshold
            weight = weights[person][kept]
            within = (weight * (pairs.genuine[kept] < cosine)).sum() <= 0.22 * weight.sum()
            if kept.sum() >= 10 / 0.22 and weight.sum() > 0 and within:
                found = threshold
                break
        chosen.append(found)
    assert np.isinf(chosen).mean() > 0.025
    assert np.isnan(point.threshold_high)
    assert point.threshold_low == sorted(chosen)[int(0.025 * 59)]


def test_what_few_faces_cannot_say_is_refused(pairs, faces):
    with pytest.raises(VlrfaceError, match=r"FMR 1e-05 of 12,480 pairs .* take about 1,415 faces"):
        fmr_point(pairs, 1e-5)
    with pytest.raises(VlrfaceError, match=r"take 10,000 faces"):
        fpir_point(np.zeros(50), np.zeros(0), np.zeros(50, int), np.zeros(0, int), 0.001, gallery_size=3)
    with pytest.raises(VlrfaceError, match="needs 1,000 genuine pairs or more, not 240"):
        fnmr_point(pairs, faces[2], 0.01, at_fmr=0.01)
    with pytest.raises(VlrfaceError, match="no score brings the FNMR"):
        fnmr_point(pairs, faces[2], 0.05, at_fmr=0.001)
    with pytest.raises(VlrfaceError, match="fewer than 10 on one side: take 1,000 faces"):
        accept_point(faces[2], faces[2] > 0, faces[1], 0.99)
    with pytest.raises(VlrfaceError, match="the same score"):
        accept_point(np.ones(160), faces[2] > 0, faces[1], 0.5)
    with pytest.raises(VlrfaceError, match="between 0 and 1"):
        fmr_point(pairs, 0.0)


def test_a_point_comes_back_from_json():
    point = Point("fpir", 0.1, 0.5, float("nan"), 0.6, 0.09, 0.05, 0.1, float("nan"), float("nan"), 1.0, 100, 1, 7)
    text = json.dumps(point.to_json(), allow_nan=False)
    np.testing.assert_equal(vars(Point.from_json(json.loads(text))), vars(point))
    for wrong in ({}, [], {**point.to_json(), "wish": "tpr"}, {**point.to_json(), "rate": "0.1"}):
        with pytest.raises(VlrfaceError, match="Calibrate again"):
            Point.from_json(wrong)
