"""Error versus reject: slow loops that remove pairs one by one, lines, hand-worked curves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.intervals import person_weights
from vlrface.metrics.pairs import Pairs
from vlrface.metrics.rejection import (
    edc,
    oracle_line,
    partial_auc,
    random_line,
    rank1_after_reject,
    resampled_edc,
    resampled_rank1,
)
from vlrface.metrics.resampled import resample_pairs
from vlrface.types import VlrfaceError


def random_pairs(seed, genuine=60, impostor=300, faces=30, levels=8):
    """Ties among scores and among qualities."""
    rng = np.random.default_rng(seed)
    identities = np.repeat(np.arange(faces // 5), 5)
    quality = rng.integers(0, levels, faces) / levels
    a = rng.integers(0, faces, genuine)
    genuine_faces = np.column_stack([a, a // 5 * 5 + rng.integers(0, 5, genuine)])
    b = rng.integers(0, faces, impostor)
    impostor_faces = np.column_stack([b, (b + 5 * rng.integers(1, faces // 5, impostor)) % faces])
    scores = [
        np.round(mean + 0.3 * rng.normal(size=len(f)) * (1.2 - quality[f].min(axis=1)), 1)
        for mean, f in ((0.5, genuine_faces), (0.0, impostor_faces))
    ]
    return Pairs(scores[0], genuine_faces, scores[1], impostor_faces, identities), quality


def test_a_score_at_the_threshold_is_accepted():
    faces = np.zeros((2, 2), np.int64)
    pairs = Pairs(np.array([np.nextafter(0.5, 1), 0.5]), faces, np.array([0.5, 0.1]), faces, np.zeros(1, np.int64))
    assert edc(pairs, np.ones(1), 0.0, allow_few_impostors=True).fnmr[0] == 0.5


@given(st.integers(0, 2**32))
def test_pairs_mode_agrees_with_removing_pairs_one_by_one(seed):
    pairs, quality = random_pairs(seed, levels=10**9)  # no equal qualities of faces; pairs may share their worse face
    curve = edc(pairs, quality, 0.1)
    pair_quality = quality[pairs.genuine_faces].min(axis=1)
    for level in np.unique(pair_quality):
        left = pair_quality > level
        if left.any():
            assert curve.at(np.array([1 - left.mean()]))[0] == pytest.approx(
                (pairs.genuine[left] < curve.threshold).mean(), abs=1e-12
            )


@given(st.integers(0, 2**32))
def test_images_mode_agrees_with_removing_images_one_by_one(seed):
    pairs, quality = random_pairs(seed, levels=10**9)
    curve = edc(pairs, quality, 0.1, mode="images")
    images = np.unique(np.concatenate([pairs.genuine_faces, pairs.impostor_faces]))
    order = images[np.argsort(quality[images])]
    for gone in range(len(order)):
        left = ~np.isin(pairs.genuine_faces, order[:gone]).any(axis=1)
        expected = (pairs.genuine[left] < curve.threshold).mean() if left.any() else np.nan
        assert curve.at(np.array([gone / len(order)]))[0] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(st.integers(0, 2**32))
def test_equal_qualities_give_the_expectation_over_orders(seed):
    pairs, quality = random_pairs(seed, genuine=12, levels=3)
    curve = edc(pairs, quality, 0.1)
    pair_quality, missed = quality[pairs.genuine_faces].min(axis=1), pairs.genuine < curve.threshold
    rng, share = np.random.default_rng(seed), 0.25
    orders = [np.lexsort((rng.random(12), pair_quality))[3:] for _ in range(800)]
    assert curve.at(np.array([share]))[0] == pytest.approx(np.mean([missed[o].mean() for o in orders]), abs=0.03)


@given(st.integers(0, 2**32), st.sampled_from(["pairs", "images"]))
def test_only_the_order_of_quality_matters(seed, mode):
    pairs, quality = random_pairs(seed)
    here, there = edc(pairs, quality, 0.1, mode=mode), edc(pairs, np.exp(quality) - 5, 0.1, mode=mode)
    np.testing.assert_array_equal(here.fnmr, there.fnmr)


@given(st.integers(0, 2**32), st.sampled_from(["pairs", "images"]))
def test_a_constant_quality_rejects_at_random(seed, mode):
    pairs, quality = random_pairs(seed)
    curve = edc(pairs, np.ones(len(quality)), 0.1, mode=mode)
    np.testing.assert_allclose(curve.fnmr, random_line(float(curve.fnmr[0]), curve.rejected), atol=1e-12)
    if curve.fnmr[0] > 0:
        assert partial_auc(curve, 0.3, normalised=True) == pytest.approx(0.3)


@given(st.integers(0, 2**32))
def test_nothing_is_better_than_the_oracle(seed):
    pairs, quality = random_pairs(seed)
    curve = edc(pairs, quality, 0.1)
    assert (curve.fnmr >= oracle_line(float(curve.fnmr[0]), curve.rejected) - 1e-12).all()


def test_the_oracle_reaches_what_its_line_says_it_can():
    n = 40
    score = np.where(np.arange(n) < 10, 0.0, 1.0)  # a quarter are errors
    faces = np.column_stack([np.arange(n), np.arange(n)])
    pairs = Pairs(score, faces, np.full(100, 0.5), np.tile(faces[:1], (100, 1)), np.arange(n))
    curve = edc(pairs, score, 0.1)
    shares = np.array([0.0, 0.1, 0.2, 0.25, 0.5])
    np.testing.assert_allclose(curve.at(shares), np.maximum(0.25 - shares, 0) / (1 - shares), atol=1e-12)
    assert oracle_line(0.25, shares).tolist() == pytest.approx([0.25, 0.15, 0.05, 0, 0])


def test_a_curve_by_hand():
    score = np.array([0.1, 0.9, 0.2, 0.8])  # missed, found, missed, found at threshold just above 0.5
    quality = np.array([1.0, 2.0, 3.0, 4.0])
    faces = np.column_stack([np.arange(4), np.arange(4)])
    pairs = Pairs(score, faces, np.full(10, 0.5), np.tile([[0, 3]], (10, 1)), np.arange(4))
    curve = edc(pairs, quality, 0.0, allow_few_impostors=True)
    assert curve.at(np.array([0, 0.25, 0.5, 0.75])).tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 2, 0])
    assert curve.threshold == np.nextafter(0.5, 1)
    assert (curve.genuine, curve.impostors, curve.accepted_impostors) == (4, 10, 0)


def test_a_failed_face_is_a_miss_and_goes_first():
    pairs = Pairs(
        np.array([-np.inf, 0.9, 0.9, 0.1]),
        np.column_stack([np.arange(4), np.arange(4)]),
        np.full(20, 0.5),
        np.tile([[1, 3]], (20, 1)),
        np.arange(4),
    )
    curve = edc(pairs, np.array([np.nan, 0.5, 0.6, 0.4]), 0.5)
    assert curve.at(np.array([0, 0.25, 0.5])).tolist() == pytest.approx([0.5, 1 / 3, 0])


def test_images_mode_ends_where_no_genuine_pair_is_left():
    faces = np.array([[0, 1]])
    pairs = Pairs(np.array([0.9]), faces, np.full(20, 0.5), np.tile([[2, 3]], (20, 1)), np.array([0, 0, 1, 2]))
    curve = edc(pairs, np.array([0.1, 0.2, 0.3, 0.4]), 0.5, mode="images")
    assert curve.rejected[-1] < 0.25
    assert np.isnan(curve.at(np.array([0.3]))[0])
    with pytest.raises(VlrfaceError, match=r"no area up to 0\.3"):
        partial_auc(curve, 0.3)


def test_partial_auc_by_hand():
    pairs, quality = random_pairs(1)
    curve = edc(pairs, quality, 0.1)
    fine = np.linspace(0, 0.2, 20001)
    area = np.mean((curve.at(fine)[1:] + curve.at(fine)[:-1]) / 2) * 0.2
    assert partial_auc(curve, 0.2) == pytest.approx(area, abs=1e-6)
    assert partial_auc(curve, 0.2, normalised=True) == pytest.approx(area / curve.fnmr[0], abs=1e-5)
    with pytest.raises(VlrfaceError, match="no area"):
        partial_auc(curve, 0.0)


def test_without_errors_the_normalised_area_is_undefined():
    faces = np.column_stack([np.arange(3), np.arange(3)])
    pairs = Pairs(np.ones(3), faces, np.zeros(50), np.tile(faces[:1], (50, 1)), np.arange(3))
    curve = edc(pairs, np.arange(3.0), 0.2)
    assert partial_auc(curve, 0.3) == 0
    assert np.isnan(partial_auc(curve, 0.3, normalised=True))


def test_refuses_a_threshold_that_few_impostors_decide():
    pairs, quality = random_pairs(2)
    with pytest.raises(VlrfaceError, match=r"is 9 pairs, fewer than 10.*--allow-few-impostors"):
        edc(pairs, quality, 0.03)
    assert edc(pairs, quality, 0.03, allow_few_impostors=True).accepted_impostors <= 9


def test_refuses_no_quality_and_wrong_lengths():
    pairs, quality = random_pairs(3)
    with pytest.raises(VlrfaceError, match="no face has a quality"):
        edc(pairs, np.full(len(quality), np.nan), 0.1)
    with pytest.raises(VlrfaceError, match="29 qualities for 30 faces"):
        edc(pairs, quality[1:], 0.1)


# Under resampling


@pytest.mark.parametrize("mode", ["pairs", "images"])
def test_resampled_curves_agree_with_copied_pairs(mode):
    pairs, quality = random_pairs(4)
    resamples, shares = resample_pairs(pairs, fars=(0.1,), resamples=15), np.array([0.0, 0.2, 0.35])
    curves = resampled_edc(pairs, quality, 0.1, shares, resamples, mode=mode)
    high, low, between = resamples.around(0.1)
    np.testing.assert_allclose(curves[:, 0], 1 - resamples.tpr_at(np.array([0.1]))[:, 0], atol=1e-9)
    for row in range(1, 16):
        weights = resamples.weights[row][resamples.people.number]
        copies = np.repeat(np.arange(len(pairs.genuine)), weights[pairs.genuine_faces[:, 0]].astype(int))
        faces, scores = pairs.genuine_faces[copies], pairs.genuine[copies]
        units = quality[faces].min(axis=1) if mode == "pairs" else np.repeat(quality, weights.astype(int))
        for column, share in enumerate(shares):
            # points of the curve at whole quality levels, straight between them in numbers left and missed
            levels = [-np.inf, *np.unique(units)]
            x = [(units <= v).mean() for v in levels]
            left = [(quality[faces].min(axis=1) > v).sum() for v in levels]
            error = (1 - between[row]) * (scores < high[row]) + between[row] * (scores < low[row])
            missed = [((quality[faces].min(axis=1) > v) * error).sum() for v in levels]
            expected = np.interp(share, x, missed) / np.interp(share, x, left)
            assert curves[row, column] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("mode", ["pairs", "images"])
def test_with_all_weights_one_the_resampled_curve_is_the_curve(mode):
    pairs, quality = random_pairs(5, genuine=300, impostor=2000, faces=60)
    rng = np.random.default_rng(6)  # no ties among scores
    pairs = Pairs(
        pairs.genuine + 0.1 * rng.random(300),
        pairs.genuine_faces,
        pairs.impostor + 0.1 * rng.random(2000),
        pairs.impostor_faces,
        pairs.identities,
    )
    resamples, shares = resample_pairs(pairs, fars=(0.1,), resamples=1), np.linspace(0, 0.9, 10)
    curve = resampled_edc(pairs, quality, 0.1, shares, resamples, mode=mode)[0]
    np.testing.assert_allclose(curve, edc(pairs, quality, 0.1, mode=mode).at(shares), atol=1e-9)


# Rank-1


def test_rank1_by_hand():
    ranks, quality = np.array([1, 0, 1, 5, 1]), np.array([0.5, 0.1, 0.9, 0.2, np.nan])
    assert rank1_after_reject(ranks, quality, 0.0) == pytest.approx(3 / 5)
    assert rank1_after_reject(ranks, quality, 0.2) == pytest.approx(2 / 4)  # the one without quality went first
    assert rank1_after_reject(ranks, quality, 0.4) == pytest.approx(2 / 3)
    assert rank1_after_reject(ranks, quality, 0.6) == pytest.approx(1)
    assert rank1_after_reject(ranks, quality, 0.3) == pytest.approx((2 + 0) / (4 - 0.5))  # half of a probe that missed


@given(st.integers(0, 2**32), st.integers(0, 19))
def test_rank1_agrees_with_dropping_probes(seed, dropped):
    rng = np.random.default_rng(seed)
    ranks, quality = rng.integers(0, 4, 20), rng.permutation(20) / 7
    kept = np.argsort(quality)[dropped:]
    assert rank1_after_reject(ranks, quality, dropped / 20) == pytest.approx((ranks[kept] == 1).mean())


@given(st.integers(0, 2**32))
def test_rank1_under_weights_agrees_with_copies(seed):
    rng = np.random.default_rng(seed)
    ranks, quality = rng.integers(0, 3, 12), rng.integers(0, 4, 12) / 2
    weights, shares = person_weights(12, 4, seed), np.array([0.0, 0.25, 0.5])
    result = resampled_rank1(ranks, quality, shares, weights)
    for row in range(4):
        copies = np.repeat(np.arange(12), weights[row].astype(int))
        expected = [rank1_after_reject(ranks[copies], quality[copies], float(share)) for share in shares]
        np.testing.assert_allclose(result[row], expected, atol=1e-9)


def test_rank1_refuses():
    one = np.array([1])
    for call, says in (
        (lambda: rank1_after_reject(one[:0], np.zeros(0), 0.1), "no probes"),
        (lambda: rank1_after_reject(one, np.array([np.nan]), 0.1), "no face has a quality"),
        (lambda: rank1_after_reject(one, np.array([0.5]), 1.0), "lie in"),
        (lambda: rank1_after_reject(one, np.array([0.5, 0.5]), 0.5), "2 qualities for 1"),
    ):
        with pytest.raises(VlrfaceError, match=says):
            call()
