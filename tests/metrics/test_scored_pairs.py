"""Listed pairs: numbers of insightface's own code, a slow loop, what a list may get wrong."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.pairs import listed_pairs, listed_scores
from vlrface.metrics.verification import auc, roc, tpr_at_far
from vlrface.types import Pairing, VlrfaceError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics_pairs.json").read_text())


def listed(first, second, same, fold=None):
    kinds = np.array(same, bool)
    folds = np.full(len(kinds), -1) if fold is None else np.array(fold)
    return Pairing(np.array(first, np.int64), np.array(second, np.int64), kinds, folds)


def golden_list(case):
    """Two rows per pair, as in the golden file; both faces of a pair are one person if it is genuine."""
    cosine, same = np.array(GOLDEN[case]["cosine"]), np.array(GOLDEN[case]["same"])
    embeddings = np.empty((2 * len(cosine), 2), np.float32)
    embeddings[0::2] = 1, 0
    embeddings[1::2] = np.stack([cosine, np.sqrt(1 - cosine**2)], axis=1)
    rows = np.arange(len(cosine)) * 2
    identities = np.arange(2 * len(cosine))
    identities[1::2][same] = identities[0::2][same]
    return embeddings, identities, listed(rows, rows + 1, same)


@pytest.mark.parametrize("case", ["easy", "hard"])
def test_rates_agree_with_insightface(case):
    embeddings, identities, pairing = golden_list(case)
    pairs = listed_pairs(embeddings, identities, pairing)
    np.testing.assert_allclose(listed_scores(embeddings, pairing), GOLDEN[case]["cosine"], atol=1e-7)
    assert auc(pairs.genuine, pairs.impostor) == pytest.approx(GOLDEN[case]["auc"], abs=1e-12)
    curve = roc(pairs.genuine, pairs.impostor)
    for threshold, tpr, far in GOLDEN[case]["points"]:
        assert (pairs.genuine > threshold).mean() == tpr
        assert (pairs.impostor > threshold).mean() == far
        assert tpr_at_far(pairs.genuine, pairs.impostor, min(1.0, far + 1e-9)).tpr >= tpr  # 5/150 rounds down
        corners = pairwise(zip(curve.far, curve.tpr, strict=True))
        assert any(
            x0 - 1e-12 <= far <= x1 + 1e-12
            and y0 - 1e-12 <= tpr <= y1 + 1e-12
            and abs((far - x0) * (y1 - y0) - (tpr - y0) * (x1 - x0)) < 1e-12
            for (x0, y0), (x1, y1) in corners
        )


def test_insightface_states_a_rate_at_another_false_accept_rate():
    """Thresholds of other folds accept more than was asked for; ours says how many impostor pairs it accepts."""
    embeddings, identities, pairing = golden_list("easy")
    pairs = listed_pairs(embeddings, identities, pairing)
    tpr, _, far = GOLDEN["easy"]["val_std_far"]["0.001"]
    ours = tpr_at_far(pairs.genuine, pairs.impostor, 0.001)
    assert far > 0.006
    assert ours.accepted_impostors == 0
    assert ours.tpr <= tpr <= tpr_at_far(pairs.genuine, pairs.impostor, 0.01).tpr


@given(st.integers(0, 2**32))
def test_agrees_with_a_slow_loop(seed):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 9)), int(rng.integers(0, 20))
    embeddings = rng.normal(size=(n, 3)).astype(np.float32)
    embeddings[rng.random(n) < 0.3] = np.nan
    identities = rng.integers(-1, 3, n)
    first, second = rng.integers(0, n, m), rng.integers(0, n, m)
    known = (identities[first] == identities[second]) & (identities[first] >= 0)
    same = ((first == second) | known) & (rng.random(m) < 0.7)
    pairs = listed_pairs(embeddings, identities, listed(first, second, same))
    genuine, impostor, failed = [], [], 0
    for a, b, kind in zip(first.tolist(), second.tolist(), same.tolist(), strict=True):
        x, y = embeddings[a].astype(float), embeddings[b].astype(float)
        cosine = float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
        if kind:
            genuine.append((a, b, -np.inf if np.isnan(cosine) else cosine))
        elif np.isnan(cosine):
            failed += 1
        else:
            impostor.append((a, b, cosine))
    for faces, scores, expected in (
        (pairs.genuine_faces, pairs.genuine, genuine),
        (pairs.impostor_faces, pairs.impostor, impostor),
    ):
        assert faces.tolist() == [[a, b] for a, b, _ in expected]
        np.testing.assert_allclose(scores, [score for _, _, score in expected], atol=1e-6)
    assert pairs.failed_impostors == failed


def test_equal_faces_give_equal_scores_wherever_they_stand(monkeypatch):
    monkeypatch.setattr("vlrface.metrics.pairs._BLOCK_BYTES", 16 * 37 * 5)  # blocks of five pairs
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 37)).astype(np.float32)
    embeddings = np.stack([a, b] * 20)
    scores = listed_scores(embeddings, listed(np.arange(0, 39), np.arange(1, 40), [False] * 39))
    assert len(set(scores.tolist())) == 1
    assert scores.dtype == np.float32


def test_a_list_may_contradict_itself_but_not_its_identities():
    faces = np.eye(3, dtype=np.float32)
    pairs = listed_pairs(faces, np.array([4, 4, 5]), listed([0, 0], [1, 1], [True, False]))
    assert (len(pairs.genuine), len(pairs.impostor)) == (1, 1)
    with pytest.raises(VlrfaceError, match="first pair 1 of the list: rows 0 and 2 are of identities 4 and 5"):
        listed_pairs(faces, np.array([4, 4, 5]), listed([0, 0], [1, 2], [True, True]))
    with pytest.raises(VlrfaceError, match="identities -1 and -1"):
        listed_pairs(faces, np.array([-1, -1, -1]), listed([0], [1], [True]))
    assert len(listed_pairs(faces, np.array([-1, -1, -1]), listed([0], [0], [True])).genuine) == 1


def test_refuses_rows_that_are_not_there_and_faces_without_direction():
    with pytest.raises(VlrfaceError, match="row 3, there are 3"):
        listed_scores(np.eye(3), listed([0], [3], [True]))
    with pytest.raises(VlrfaceError, match="no direction"):
        listed_scores(np.zeros((2, 3)), listed([0], [1], [True]))


def test_an_empty_list_has_no_pairs():
    pairs = listed_pairs(np.eye(3), np.arange(3), listed([], [], []))
    assert len(pairs.genuine) == len(pairs.impostor) == pairs.failed_impostors == 0
