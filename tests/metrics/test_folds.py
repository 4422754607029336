"""Accuracy by folds: numbers of insightface's own code, slow loops, lists without folds, resamples written out."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.folds import accuracy_10_fold, dealt_folds, decide_by_folds, resampled_accuracy
from vlrface.metrics.pairs import Pairs
from vlrface.metrics.resampled import resample_pairs
from vlrface.types import VlrfaceError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics_pairs.json").read_text())


def slow_accuracy(values, same, fold):
    accuracies = []
    for number in sorted(set(fold.tolist())):
        train = [i for i in range(len(values)) if fold[i] != number and values[i] > -np.inf]
        test = [i for i in range(len(values)) if fold[i] == number]
        levels = sorted({float(values[i]) for i in train})
        tried = [*levels[:1], *[(a + b) / 2 for a, b in pairwise(levels)], np.inf]
        best = max(tried, key=lambda t, train=train: (sum((values[i] >= t) == same[i] for i in train), t))
        accuracies.append(float(np.mean([(values[i] > -np.inf and values[i] >= best) == same[i] for i in test])))
    return accuracies


@pytest.mark.parametrize("case", ["easy", "hard"])
def test_agrees_with_insightface_at_all_thresholds(case):
    golden = GOLDEN[case]
    result = accuracy_10_fold(np.array(golden["cosine"]), np.array(golden["same"]))
    np.testing.assert_allclose(result.folds, golden["accuracy_exact_thresholds"], atol=1e-12)
    # Its grid of 0.01 in squared distance misjudges single pairs.
    assert result.mean == pytest.approx(np.mean(golden["accuracy_grid"]), abs=0.01)


def test_a_grid_may_miss_what_tells_all_pairs_apart():
    distance = np.tile([0.203, 0.207], 10)  # squared; insightface tries 0.20 and 0.21, and finds 0.5
    assert accuracy_10_fold(1 - distance / 2, distance < 0.205).mean == 1


@given(st.integers(0, 2**32), st.integers(2, 10))
def test_agrees_with_a_slow_loop(seed, folds):
    rng = np.random.default_rng(seed)
    same = rng.random(40) < 0.5
    same[:2] = True, False
    values = rng.integers(-4, 5, 40) / 8 + same * 0.25
    values[rng.random(40) < 0.1] = -np.inf
    result = accuracy_10_fold(values, same, folds)
    stretches = np.concatenate([np.full(len(p), k) for k, p in enumerate(np.array_split(values, folds))])
    assert result.folds.tolist() == slow_accuracy(values, same, stretches)
    assert result.mean == pytest.approx(np.mean(result.folds))
    assert result.deviation == pytest.approx(np.std(result.folds, ddof=1))


@given(st.integers(0, 2**32))
def test_folds_may_stand_in_any_order(seed):
    rng = np.random.default_rng(seed)
    same, fold, values = rng.random(30) < 0.5, rng.integers(0, 4, 30), rng.integers(-4, 5, 30) / 8
    same[:2], fold[:4] = (True, False), range(4)
    order = rng.permutation(30)
    here, there = (decide_by_folds(values[o], same[o], fold[o] * 3 + 1) for o in (np.arange(30), order))
    assert here.accuracy().folds.tolist() == there.accuracy().folds.tolist() == slow_accuracy(values, same, fold)
    assert (here.right[order] == there.right).all()


def test_by_hand():
    same = np.array([True, False] * 10)
    assert accuracy_10_fold(np.where(same, 0.8, 0.2), same).mean == 1
    assert accuracy_10_fold(np.full(20, 0.5), same).mean == 0.5  # no threshold tells them apart
    neighbours = np.where(same, np.nextafter(np.float32(0.5), np.float32(1)), np.float32(0.5)).astype(np.float32)
    assert accuracy_10_fold(neighbours, same).mean == 1


def test_a_pair_without_a_score_is_never_accepted():
    same = np.array([True, True, False, True] * 5)
    scores = np.full(20, -np.inf)
    scores[2::4] = 0.1  # all genuine ones failed: accepting everything must not count them as found
    assert accuracy_10_fold(scores, same, 5).mean == 0.25
    scores[3::4] = 0.9
    assert accuracy_10_fold(scores, same, 5).mean == 0.5
    assert accuracy_10_fold(np.full(20, -np.inf), same, 5).mean == 0.25


def test_refuses_too_few_pairs_and_one_kind():
    same = np.array([True, False, True])
    with pytest.raises(VlrfaceError, match="10 folds"):
        accuracy_10_fold(np.array([0.1, 0.2, 0.3]), same)
    with pytest.raises(VlrfaceError, match="no impostor"):
        accuracy_10_fold(np.linspace(0, 1, 20), np.ones(20, bool))
    with pytest.raises(VlrfaceError, match="NaN"):
        accuracy_10_fold(np.array([0.1, np.nan, 0.3]), same, 3)
    with pytest.raises(VlrfaceError, match="two folds"):
        decide_by_folds(np.array([0.1, 0.2, 0.3]), same, np.zeros(3, int))


# A list without folds


def test_dealt_folds_are_those_of_a_list_written_fold_by_fold():
    same = np.tile(np.repeat([True, False], 30), 10)
    assert dealt_folds(same).tolist() == np.repeat(np.arange(10), 60).tolist()


def test_dealt_folds_give_each_fold_both_kinds_where_the_list_does_not_mix_them():
    same = np.arange(40) < 20
    fold = dealt_folds(same)
    assert fold.tolist() == [*np.repeat(np.arange(10), 2), *np.repeat(np.arange(10), 2)]
    assert decide_by_folds(np.where(same, 0.8, 0.2), same, fold).accuracy().mean == 1


@given(st.lists(st.booleans(), min_size=4, max_size=60))
def test_dealt_folds_are_even(kinds):
    same = np.array(kinds)
    fewest = min(same.sum(), (~same).sum())
    if fewest < 2:
        with pytest.raises(VlrfaceError, match="folds"):
            dealt_folds(same, 2)
        return
    folds = int(min(fewest, 10))
    fold = dealt_folds(same, folds)
    for kind in (same, ~same):
        counts = np.bincount(fold[kind], minlength=folds)
        assert counts.max() - counts.min() <= 1
        assert (np.diff(fold[kind]) >= 0).all()


# Resamples


def test_resamples_agree_with_copied_pairs():
    rng = np.random.default_rng(3)
    identities = np.repeat(np.arange(8), 4)
    faces = rng.integers(0, 32, (60, 2))
    faces[:30, 1] = faces[:30, 0] // 4 * 4 + rng.integers(0, 4, 30)
    same = identities[faces[:, 0]] == identities[faces[:, 1]]
    scores = (rng.normal(size=60) + same).astype(np.float32)
    pairs = Pairs(scores[same], faces[same], scores[~same], faces[~same], identities)
    drawn = resample_pairs(pairs, resamples=30, seed=2)
    decisions = decide_by_folds(scores, same, np.arange(60) % 5)
    samples = resampled_accuracy(decisions, same, faces, drawn)
    assert samples.shape == (31, 1)
    assert samples[0, 0] == pytest.approx(decisions.accuracy().mean)
    for weights, sample in zip(drawn.weights, samples[:, 0], strict=True):
        means = []
        for k in range(5):
            copies = []
            for i in np.flatnonzero(decisions.fold == k):
                one, other = identities[faces[i]]
                times = weights[one] if same[i] else weights[one] * weights[other]
                copies += [bool(decisions.right[i])] * int(times)
            if copies:
                means.append(np.mean(copies))
        assert sample == pytest.approx(np.mean(means))


def test_a_resample_without_pairs_has_no_accuracy():
    pairs = Pairs(np.array([0.9, 0.8]), np.array([[0, 1], [0, 1]]), np.array([0.1, 0.2]), np.array([[0, 2], [1, 2]]),
                  np.array([0, 0, 1]))  # fmt: skip
    drawn = resample_pairs(pairs, resamples=40)
    same = np.array([False, True, False, True])
    faces = np.array([[0, 2], [0, 1], [1, 2], [0, 1]])
    decisions = decide_by_folds(np.array([0.1, 0.9, 0.2, 0.8]), same, np.array([0, 0, 1, 1]))
    samples = resampled_accuracy(decisions, same, faces, drawn)[:, 0]
    only_second = drawn.weights[:, 0] == 0
    assert only_second.any()
    assert (np.isnan(samples) == only_second).all()
