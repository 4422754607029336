"""Thresholds recomputed at each ratio: CR-FIQA's numbers, a loop that tries every score, and copies of people."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rejection_pairs import random_pairs, recomputed_alone

from vlrface.metrics.pairs import Pairs
from vlrface.metrics.rejection import partial_auc
from vlrface.metrics.rejection_recomputed import (
    RATIOS,
    last_ratios,
    recomputed_edc,
    resampled_recomputed,
    sort_pairs,
)
from vlrface.metrics.resampled import resample_pairs
from vlrface.types import VlrfaceError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics_crfiqa.json").read_text())


@pytest.mark.parametrize("fmr", ["0.1", "0.01"])
def test_the_curve_is_cr_fiqas(fmr):
    same, score = np.array(GOLDEN["same"]), np.array(GOLDEN["score"])
    faces = np.column_stack([GOLDEN["first"], GOLDEN["second"]])
    quality = np.array(GOLDEN["quality"])
    ordered = sort_pairs(Pairs(score[same], faces[same], score[~same], faces[~same], np.arange(len(quality))))
    curve = recomputed_edc(ordered, last_ratios(ordered, quality), float(fmr))
    np.testing.assert_allclose(curve.rejected, np.arange(20) * 0.05)
    np.testing.assert_allclose(curve.fnmr, GOLDEN["fnmr"][fmr], atol=1e-12)
    assert partial_auc(curve, 0.95) == pytest.approx(GOLDEN["auc"][fmr], abs=1e-12)


@given(
    st.integers(0, 2**32),
    st.sampled_from([0.001, 0.05, 0.1, 0.5, 1.0]),
    st.sampled_from(["pairs", "images"]),
    st.sampled_from([3, 10**9]),
)
def test_every_score_tried_at_every_ratio_gives_the_curve(seed, fmr, mode, levels):
    pairs, quality = random_pairs(seed, levels=levels)
    fnmr, threshold = recomputed_alone(pairs, quality, fmr, mode)
    ordered = sort_pairs(pairs)
    here = recomputed_edc(ordered, last_ratios(ordered, quality, mode=mode), fmr, mode=mode)
    np.testing.assert_array_equal(here.fnmr, fnmr)
    assert here.rejected.tolist() == RATIOS[: len(fnmr)].tolist()
    assert here.threshold == np.nextafter(threshold, np.inf)
    assert here.accepted_impostors == (pairs.impostor > threshold).sum() == (pairs.impostor >= here.threshold).sum()
    assert (here.mode, here.recomputed, here.genuine, here.impostors) == (mode, True, 60, 300)


def test_of_two_thresholds_as_near_the_lower_is_taken():
    faces = np.zeros((4, 2), np.int64)
    genuine = np.array([0.35, 0.45, 0.55, 0.65])
    ordered = sort_pairs(Pairs(genuine, faces, np.array([0.1, 0.2, 0.3, 0.4]), faces, np.zeros(1, np.int64)))
    curve = recomputed_edc(ordered, last_ratios(ordered, np.ones(1)), 0.375)
    assert curve.threshold == np.nextafter(0.3, 1)  # rates 0.25 (from 0.35 on) and 0.5 (from 0.3 on) are as near
    assert curve.fnmr[0] == 0
    assert curve.accepted_impostors == 1


def test_float32_scores_and_long_lists_of_equal_scores_too():
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 200, (9000, 2))
    scores = np.round(rng.normal(size=9000), 2).astype(np.float32)
    scores[1000:4000] = 1.5  # the highest impostors are equal, further than the first look goes
    pairs, exact = (
        Pairs(each[:1000], faces[:1000], each[1000:], faces[1000:], np.zeros(200, np.int64))
        for each in (scores, scores.astype(np.float64))
    )
    quality, ordered = rng.normal(size=200), sort_pairs(pairs)
    for fmr in (0.0001, 0.01, 0.4):
        fnmr, threshold = recomputed_alone(exact, quality, fmr)
        here = recomputed_edc(ordered, last_ratios(ordered, quality), fmr)
        np.testing.assert_array_equal(here.fnmr, fnmr)
        assert here.threshold == np.nextafter(threshold, np.inf)


@pytest.mark.parametrize("mode", ["pairs", "images"])
def test_resampled_curves_are_those_of_copied_people(mode):
    rng = np.random.default_rng(7)
    pairs, quality = random_pairs(8, genuine=400, impostor=6000, faces=60, levels=10**9)
    pairs = Pairs(  # no ties among scores
        pairs.genuine + 0.1 * rng.random(400),
        pairs.genuine_faces,
        pairs.impostor + 0.1 * rng.random(6000),
        pairs.impostor_faces,
        pairs.identities,
    )
    drawn = resample_pairs(pairs, fars=(0.1,), resamples=12)
    ordered = sort_pairs(pairs)
    last = last_ratios(ordered, quality, mode=mode)
    rates = resampled_recomputed(ordered, last, 0.1, drawn)
    np.testing.assert_allclose(rates[0, :14], recomputed_edc(ordered, last, 0.1, mode=mode).fnmr[:14], atol=0.02)
    genuine_people = drawn.people.number[pairs.genuine_faces[:, 0]][ordered.genuine_order]
    impostor_people = drawn.people.number[pairs.impostor_faces][ordered.impostor_order]
    for row in range(1, 13):
        weights = drawn.weights[row]
        for place in (0, 5, 10):
            there, others = last.genuine > place, last.impostor > place
            w = weights[genuine_people[there]]
            v = weights[impostor_people[others]].prod(axis=1)
            share = np.cumsum(v) / v.sum()
            threshold = ordered.impostor[others][np.searchsorted(share, 0.1)]
            expected = 1 - w[ordered.genuine[there] > threshold].sum() / w.sum()
            assert rates[row, place] == pytest.approx(expected, abs=0.04)


def test_the_spread_of_resamples_is_that_of_the_fixed_threshold_before_any_reject():
    pairs, quality = random_pairs(9, genuine=900, impostor=9000, faces=300, levels=10**9)
    drawn = resample_pairs(pairs, fars=(0.1,), resamples=200)
    ordered = sort_pairs(pairs)
    rates = resampled_recomputed(ordered, last_ratios(ordered, quality), 0.1, drawn)
    fixed = 1 - drawn.tpr_at(np.array([0.1]))[:, 0]
    assert np.corrcoef(rates[1:, 0], fixed[1:])[0, 1] > 0.9
    assert rates[1:, 0].std() == pytest.approx(fixed[1:].std(), rel=0.25)


def test_a_curve_ends_where_no_pair_of_a_kind_is_left():
    faces = np.array([[0, 1]])
    pairs = Pairs(np.array([0.9]), faces, np.full(30, 0.5), np.tile([[2, 3]], (30, 1)), np.array([0, 0, 1, 2]))
    ordered, quality = sort_pairs(pairs), np.array([0.1, 0.2, 0.3, 0.4])
    last = last_ratios(ordered, quality, mode="images")
    curve = recomputed_edc(ordered, last, 0.5, mode="images")
    assert curve.rejected.tolist() == RATIOS[:5].tolist()  # a quarter is the first image
    rates = resampled_recomputed(ordered, last, 0.5, resample_pairs(pairs, resamples=3))
    assert np.isnan(rates[:, 5:]).all()


def test_refuses():
    pairs, quality = random_pairs(3)
    ordered = sort_pairs(pairs)
    with pytest.raises(VlrfaceError, match="29 qualities for 30 faces"):
        last_ratios(ordered, quality[1:])
    with pytest.raises(VlrfaceError, match="no face has a quality"):
        last_ratios(ordered, np.full(30, np.nan))
    with pytest.raises(VlrfaceError, match="no impostor pairs"):
        sort_pairs(
            Pairs(pairs.genuine, pairs.genuine_faces, pairs.impostor[:0], pairs.impostor_faces[:0], np.zeros(30, int))
        )
