"""Open set: numbers of CVLface and bob.measure, a slow loop, properties, hand-worked ties, misses and failures."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.open_set import (
    OpenSetSearch,
    open_set_at,
    open_set_curve,
    rates_at,
    search_open_set,
    tpir_area,
    tpir_at_fpir,
)
from vlrface.metrics.templates import Templates, gallery_templates
from vlrface.types import VlrfaceError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics_open_set.json").read_text())

# Rows of unit length whose products are exact in float32 whatever the order of summation, so that ties are ties.
EXACT = np.array(
    [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0.5, 0.5, 0.5, 0.5],
        [0.5, 0.5, -0.5, 0.5],
        [0.5, -0.5, 0.5, 0.5],
        [-0.5, 0.5, 0.5, -0.5],
        [0, 0, -1, 0],
        [0.5, 0.5, 0.5, -0.5],
    ],
    np.float32,
)
RATES = (0.0, 0.01, 0.1, 0.29, 0.5, 0.9, 1.0)


def made_templates(embeddings, people):
    unit = np.asarray(embeddings, np.float32)
    return Templates(unit, np.asarray(people), (~np.isnan(unit).any(axis=1)).astype(int))


@st.composite
def searches(draw):
    """Many exact ties, mates that are missing, failures on all sides."""
    m, u, t = draw(st.integers(1, 10)), draw(st.integers(1, 12)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mated, unmated, templates = (EXACT[rng.integers(0, len(EXACT), n)].copy() for n in (m, u, t))
    for rows in (mated, templates, unmated[1:]):
        rows[rng.random(len(rows)) < 0.15] = np.nan
    return (
        mated * np.float32(4),
        rng.choice([-1, 0, 1, 2, 3, 77], m),
        unmated,
        rng.choice([-1, 50, 51], u),
        made_templates(templates, rng.permutation(t)),
    )


def slow_search(mated, mated_people, unmated, _, templates):
    """One score at a time."""

    def score(a, b):
        product = float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b))
        return -np.inf if np.isnan(product) else product

    ranks, mates, best = [], [], []
    for probe, person in zip(mated, mated_people, strict=True):
        mine, rank = -np.inf, 0
        for face, other in zip(templates.embeddings, templates.identities, strict=True):
            if person == other:
                mine = score(probe, face)
        if mine > -np.inf:
            rank = sum(score(probe, face) >= mine for face in templates.embeddings)
        ranks.append(rank)
        mates.append(mine)
    for probe in unmated:
        highest = max(score(probe, face) for face in templates.embeddings)
        best.append(np.nan if np.isnan(probe).any() else highest)
    return ranks, mates, best


def slow_tpir(ranks, mates, best, fpir, rank):
    """Try every threshold between and above all scores: the best share found that keeps within the rate."""
    best = [b for b in best if not np.isnan(b)]
    scores = sorted({*mates, *best})
    tried = [-np.inf, np.inf, *scores, *(np.nextafter(s, np.inf) for s in scores)]
    shares = []
    for threshold in tried:
        reported = sum(b >= threshold for b in best)
        if reported <= fpir * len(best) + 1e-9:
            found = [0 < r <= rank and s >= threshold for r, s in zip(ranks, mates, strict=True)]
            shares.append(sum(found) / len(found))
    return max(shares)


def golden_search(case):
    return search_open_set(
        np.array(case["mated"]),
        np.array(case["mated_people"]),
        np.array(case["unmated"]),
        np.full(len(case["unmated"]), -1),
        made_templates(case["templates"], case["template_people"]),
    )


def by_hand(mates, strangers, ranks=None):
    n = len(mates)
    ranks = np.ones(n, np.int64) if ranks is None else np.array(ranks)
    return OpenSetSearch(
        ranks, np.array(mates), np.arange(n), np.ones(n, np.int64), np.array(strangers), np.full(len(strangers), -1)
    )


@pytest.mark.parametrize("peer", ["cvlface", "bob"])
def test_agrees_with_peers_at_their_thresholds(peer):
    search = golden_search(GOLDEN["no_ties"])
    values = GOLDEN["no_ties"][peer]
    for row, threshold in enumerate(values["threshold"]):
        for column, rank in enumerate(GOLDEN["ranks"]):
            tpir, fpir = rates_at(search, threshold - 1e-6, rank)  # theirs is a score itself, in double precision
            assert tpir == pytest.approx(values["dir"][row][column], abs=1e-7)
            assert fpir == pytest.approx(values["far"][row], abs=1e-7)


@pytest.mark.parametrize("peer", ["cvlface", "bob"])
def test_agrees_with_peers_at_their_rates_without_ties(peer):
    """Our threshold accepts as many strangers as theirs, and may be lower: here no mate lies between the two."""
    search, values = golden_search(GOLDEN["no_ties"]), GOLDEN["no_ties"][peer]
    for row, fpir in enumerate(GOLDEN["rates"]):
        for column, rank in enumerate(GOLDEN["ranks"]):
            point = tpir_at_fpir(search, fpir, rank)
            assert point.accepted_unmated == round(values["far"][row] * 200)
            assert point.tpir >= values["dir"][row][column] - 1e-7
    assert tpir_at_fpir(search, 0.2, 5).tpir == pytest.approx(values["dir"][1][1], abs=1e-7)


def test_with_ties_a_careful_peer_agrees_and_a_careless_one_does_not():
    case = GOLDEN["ties"]
    search = golden_search(case)
    for row, fpir in enumerate(case["rates"]):
        for column, rank in enumerate(case["ranks"]):
            point = tpir_at_fpir(search, fpir, rank)
            assert point.accepted_unmated / 50 == case["bob"]["far"][row] <= fpir
            assert point.tpir == case["bob"]["dir"][row][column]
    assert case["cvlface"]["far"][1] > case["rates"][1]  # it reports more strangers than it was asked to
    assert case["cvlface"]["far"][2] > case["rates"][2]
    assert case["cvlface"]["dir"][0][0] > tpir_at_fpir(search, 0.9, 1).tpir  # and ranks a mate before its equals


@pytest.mark.parametrize(
    ("case", "fpir", "tpir", "threshold"),
    [("between", 0.25, 1 / 3, 0.5), ("tied_strangers", 0.5, 1 / 3, 0.5), ("rounded", 0.5, 1 / 3, 0.5)],
)
def test_thresholds_by_hand(case, fpir, tpir, threshold):
    """Where peers differ: a mate between two strangers, strangers that tie, a rate that is no whole number of them."""
    case = GOLDEN[case]
    point = tpir_at_fpir(by_hand(case["mates"], case["strangers"]), fpir, 1)
    assert point.tpir == pytest.approx(tpir)
    assert point.threshold == np.nextafter(threshold, 1)
    assert point.accepted_unmated / len(case["strangers"]) <= fpir


def test_where_peers_differ_by_hand():
    assert GOLDEN["between"]["bob"]["dir"][0] == [0]  # their threshold is the last accepted stranger's score, 0.6
    assert GOLDEN["between"]["cvlface"]["dir"][0] == 0
    assert GOLDEN["tied_strangers"]["cvlface"]["far"][0] == 0.75  # at most 0.5 was asked for
    assert GOLDEN["rounded"]["cvlface"]["far"][0] == pytest.approx(2 / 3)  # 1.5 strangers became 2
    # A probe whose mate is missing leaves their TPIR, and sets their threshold as if it were a stranger.
    missing = GOLDEN["mate_missing"]
    assert (missing["dir"], missing["threshold"]) == (1.0, 0.7)
    templates = made_templates([[1, 0], [0, 1]], [0, 1])
    mated = np.array([[0.9, 0.1], [0.7, 0.2]])
    search = search_open_set(mated, np.array([0, 9]), np.array([[0.3, 0.9]]), np.array([-1]), templates)
    assert tpir_at_fpir(search, 0.5, 1).tpir == 0.5
    assert search.mates.tolist() == [1, 0]


@given(searches())
def test_search_agrees_with_a_slow_loop(case):
    search = search_open_set(*case)
    ranks, mates, best = slow_search(*case)
    assert search.rank.tolist() == ranks
    np.testing.assert_array_equal(search.mate_score, np.array(mates, np.float32))
    np.testing.assert_array_equal(search.best, np.array(best, np.float32))
    assert search.left_out == np.isnan(best).sum()


@given(searches(), st.sampled_from(RATES), st.integers(1, 4))
def test_tpir_agrees_with_trying_every_threshold(case, fpir, rank):
    search = search_open_set(*case)
    point = tpir_at_fpir(search, fpir, rank)
    assert point.tpir == pytest.approx(slow_tpir(*slow_search(*case), fpir, rank))
    reported = point.accepted_unmated / (len(search.best) - search.left_out)
    assert (point.tpir, reported) == pytest.approx(rates_at(search, point.threshold, rank))


@given(searches(), st.integers(1, 4))
def test_area_agrees_with_comparing_all_and_with_the_corners(case, rank):
    search = search_open_set(*case)
    ranks, mates, best = slow_search(*case)
    best = [b for b in best if not np.isnan(b)]
    wins = [(0 < r <= rank) * ((s > b) + (s == b) / 2) for r, s in zip(ranks, mates, strict=True) for b in best]
    curve = open_set_curve(search, rank)
    assert tpir_area(search, rank) == pytest.approx(np.mean(wins))
    assert np.trapezoid(curve.tpir, curve.fpir) == pytest.approx(np.mean(wins))
    for fpir, tpir, threshold in list(zip(*curve, strict=True))[:-1]:
        assert (tpir, fpir) == pytest.approx(rates_at(search, float(threshold), rank))
    assert (curve.fpir[-1], curve.tpir[-1]) == (1, search.found(rank).mean())


@given(searches())
def test_blocks_and_the_order_of_templates_do_not_matter(case):
    mated, mated_people, unmated, people, templates = case
    search = search_open_set(*case)
    order = np.random.default_rng(0).permutation(len(templates))
    turned = made_templates(templates.embeddings[order], templates.identities[order])
    for other in (
        search_open_set(*case, block_bytes=1),
        search_open_set(mated, mated_people, unmated, people, turned),
    ):
        np.testing.assert_array_equal(other.rank, search.rank)
        np.testing.assert_array_equal(other.mate_score, search.mate_score)
        np.testing.assert_array_equal(other.best, search.best)


@given(searches(), st.integers(1, 4), st.integers(0, len(EXACT) - 1))
def test_one_more_template_never_helps(case, rank, which):
    templates = case[-1]
    more = made_templates(np.vstack([templates.embeddings, EXACT[which]]), np.append(templates.identities, 500))
    before, after = search_open_set(*case), search_open_set(*case[:-1], more)
    assert (after.best[~np.isnan(after.best)] >= before.best[~np.isnan(before.best)]).all()
    for fpir in RATES:
        assert tpir_at_fpir(after, fpir, rank).tpir <= tpir_at_fpir(before, fpir, rank).tpir
    assert tpir_area(after, rank) <= tpir_area(before, rank) + 1e-12


@given(searches())
def test_tpir_rises_with_fpir_and_rank(case):
    search = search_open_set(*case)
    rates = np.array(RATES)
    curves = [open_set_at(search, rates, rank) for rank in (1, 2, 3)]
    for curve in curves:
        assert (np.diff(curve.tpir) >= 0).all()
        assert (curve.fpir <= rates).all()
    assert (curves[0].tpir <= curves[1].tpir).all()
    assert (curves[1].tpir <= curves[2].tpir).all()


def test_equal_templates_tie_even_where_the_product_says_otherwise(monkeypatch):
    """Some processors give equal columns of a product different last bits: imitated here."""
    plain = np.matmul

    def noisy(a, b, out):
        plain(a, b, out=out)
        out -= np.arange(out.shape[1], dtype=np.float32) * np.float32(1e-6)
        return out

    monkeypatch.setattr("vlrface.metrics.open_set.np.matmul", noisy)
    face, other = np.random.default_rng(0).normal(size=(2, 1, 8)).astype(np.float32)
    templates = gallery_templates(np.vstack([face, other, face, -0.0 + face]), np.arange(4))
    search = search_open_set(face, np.array([0]), face, np.array([-1]), templates)
    assert search.rank.tolist() == [3]


def test_many_clusters_in_one_product():
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(60, 32))
    who = rng.integers(0, 60, 300)
    mated = centres[who] + rng.normal(size=(300, 32))
    unmated = rng.normal(size=(500, 32))
    templates = gallery_templates(
        centres[np.repeat(np.arange(60), 3)] + rng.normal(size=(180, 32)), np.arange(180) // 3
    )
    search = search_open_set(mated, who, unmated, np.full(500, -1), templates, block_bytes=60 * 4 * 7)
    unit = mated / np.linalg.norm(mated, axis=1)[:, None]
    scores = unit @ templates.embeddings.T.astype(float)
    mine = scores[np.arange(300), who]
    np.testing.assert_allclose(search.mate_score, mine, atol=1e-6)
    assert search.rank.tolist() == (scores >= mine[:, None]).sum(axis=1).tolist()
    strangers = unmated / np.linalg.norm(unmated, axis=1)[:, None] @ templates.embeddings.T.astype(float)
    np.testing.assert_allclose(search.best, strangers.max(axis=1), atol=1e-6)


def test_a_failed_stranger_is_left_out_and_a_failed_probe_is_a_miss():
    search = by_hand([0.9, -np.inf, 0.4], [0.5, np.nan, 0.3], ranks=[1, 0, 30])
    assert search.left_out == 1
    point = tpir_at_fpir(search, 0.5)
    assert (point.tpir, point.accepted_unmated) == (pytest.approx(1 / 3), 1)  # one of two, not of three
    assert tpir_at_fpir(search, 1.0).tpir == pytest.approx(1 / 3)
    assert tpir_at_fpir(search, 1.0, 30).tpir == pytest.approx(2 / 3)
    assert tpir_area(search, 30) == pytest.approx((2 + 0 + 1) / 6)


def test_without_an_encoded_template_nobody_is_found_or_reported():
    templates = made_templates(np.full((2, 4), np.nan), [0, 1])
    search = search_open_set(EXACT[:2], np.array([0, 1]), EXACT[:1], np.array([-1]), templates)
    assert search.rank.tolist() == [0, 0]
    assert search.mates.tolist() == [1, 1]
    assert search.best.tolist() == [-np.inf]
    assert tpir_at_fpir(search, 0.5) == (0, np.finfo(np.float32).min, 0)
    assert tpir_area(search) == 0
    assert open_set_curve(search).tpir.tolist() == [0, 0]


def test_rows_of_a_search():
    search = by_hand([0.9, 0.2], [0.5, 0.1], ranks=[1, 2])
    part = search.rows(np.array([False, True]), np.array([True, True]))
    assert (part.rank.tolist(), part.identities.tolist(), part.best.tolist()) == ([2], [1], [0.5, 0.1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({0: EXACT[:0], 1: np.zeros(0, int)}, "0, 2 and 3 given"),
        ({2: EXACT[:0], 3: np.zeros(0, int)}, "2, 0 and 3 given"),
        ({4: made_templates(EXACT[:0], np.zeros(0, int))}, "2, 2 and 0 given"),
        ({0: EXACT[:2, :3]}, "3 and 4 dimensions"),
        ({2: EXACT[:2, :3]}, "3 and 4 dimensions"),
        ({0: EXACT[:2] * 0}, "mated probes: row 0 has length 0"),
        ({3: np.array([-1, 1])}, r"1 unmated probes show an enrolled person, first row 1 \(identity 1\)"),
        ({4: made_templates(EXACT[:3], [0, 1, 1])}, "identity 1 has 2 templates"),
    ],
)
def test_refuses_what_has_no_answer(change, says):
    given_ = [EXACT[:2], np.array([0, 1]), EXACT[2:4], np.array([-1, -1]), made_templates(EXACT[:3], [0, 1, 2])]
    for place, value in change.items():
        given_[place] = value
    with pytest.raises(VlrfaceError, match=says):
        search_open_set(*given_)


def test_refuses_rates_of_nothing():
    search = by_hand([0.9], [0.5])
    for call, says in (
        (lambda: tpir_at_fpir(search, 1.1), "lies in"),
        (lambda: tpir_at_fpir(search, 0.1, 0), "start at 1"),
        (lambda: tpir_area(by_hand([], [0.5])), "no mated probes"),
        (lambda: tpir_area(by_hand([0.5], [np.nan])), "none of 1 unmated probes was encoded"),
        (lambda: by_hand([np.nan], [0.1]), "1 scores of mates are NaN"),
    ):
        with pytest.raises(VlrfaceError, match=says):
            call()
