"""Ranks: golden numbers of two other implementations, a slow loop, properties, hand-worked ties and failures."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics import identification
from vlrface.metrics.identification import (
    Ranks,
    closed_set_ranks,
    cmc,
    hits,
    leave_one_out_ranks,
    mean_average_precision,
    rank_k,
)
from vlrface.types import VlrfaceError

GOLDEN = Path(__file__).parents[1] / "golden"

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


@st.composite
def searches(draw: st.DrawFn):
    """Probes and gallery with many exact ties, several mates, nobody's faces and failures."""
    p, g = draw(st.integers(1, 8)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    probes, gallery = EXACT[rng.integers(0, len(EXACT), p)].copy(), EXACT[rng.integers(0, len(EXACT), g)].copy()
    probes[rng.random(p) < 0.15] = np.nan
    gallery[rng.random(g) < 0.15] = np.nan
    people = rng.choice([0, 1, 2, -1, -100], p), rng.choice([0, 1, 2, -1, -100], g)
    return probes, people[0], gallery, people[1]


def slow_ranks(probes, probe_people, gallery, gallery_people, skip_self=False):
    """Sort everybody, rivals before mates of the same score; then walk down the list."""
    first, precision, mates = [], [], []
    for i, (probe, person) in enumerate(zip(probes, probe_people, strict=True)):
        entries, total = [], 0
        for j, (face, other) in enumerate(zip(gallery, gallery_people, strict=True)):
            if skip_self and i == j:
                continue
            mate = bool(person == other and person >= 0)
            total += mate
            if not np.isnan(face).any() and not np.isnan(probe).any():
                score = float(probe @ face) / float(np.linalg.norm(probe) * np.linalg.norm(face))
                entries.append((-score, mate))
        found = [place for place, (_, mate) in enumerate(sorted(entries), 1) if mate]
        first.append(found[0] if found else 0)
        precision.append(sum(n / place for n, place in enumerate(found, 1)) / total if total else 0.0)
        mates.append(total)
    return first, precision, mates


def test_agrees_with_cvlface_and_scikit_learn():
    golden = json.loads((GOLDEN / "metrics_identification.json").read_text())
    ranks = closed_set_ranks(
        np.array(golden["probes"]),
        np.array(golden["probe_people"]),
        np.array(golden["gallery"]),
        np.array(golden["gallery_people"]),
    )
    curve = cmc(ranks, max(golden["ranks"]))
    np.testing.assert_allclose(curve.y[np.array(golden["ranks"]) - 1], golden["cmc"], atol=1e-7)
    np.testing.assert_allclose(ranks.average_precision, golden["average_precision"], atol=1e-12)
    assert mean_average_precision(ranks) == pytest.approx(np.mean(golden["average_precision"]), abs=1e-12)


def test_a_tie_does_not_depend_on_the_column_where_published_code_does():
    """CVLface and AdaFace sort backwards: of two equal scores the later column wins, mate or not."""
    golden = json.loads((GOLDEN / "metrics_open_set.json").read_text())
    assert golden["tied_rank1_by_column_of_the_mate"] == [0.0, 1.0]
    for people in ([1, 2], [2, 1]):
        ranks = closed_set_ranks(EXACT[2:3], np.array([1]), EXACT[[0, 1]], np.array(people))
        assert rank_k(ranks, 1) == 0


@given(searches())
def test_agrees_with_a_slow_loop(case):
    ranks = closed_set_ranks(*case)
    first, precision, mates = slow_ranks(*case)
    assert ranks.first_mate.tolist() == first
    assert ranks.mates.tolist() == mates
    np.testing.assert_allclose(ranks.average_precision, precision, atol=1e-12)


@given(searches())
def test_distractors_of_leave_one_out_are_searched_among_and_not_for(case):
    others, _, faces, people = case
    if len(faces) < 2:
        return
    ranks = leave_one_out_ranks(faces, people, distractors=others)
    everybody = np.concatenate([faces, others]), np.concatenate([people, np.full(len(others), -100)])
    first, precision, mates = slow_ranks(faces, people, *everybody, skip_self=True)
    assert ranks.first_mate.tolist() == first
    assert ranks.mates.tolist() == mates
    np.testing.assert_allclose(ranks.average_precision, precision, atol=1e-12)


@given(searches())
def test_leave_one_out_agrees_with_a_slow_loop(case):
    _, _, faces, people = case
    if len(faces) < 2:
        return
    ranks = leave_one_out_ranks(faces, people)
    first, precision, mates = slow_ranks(faces, people, faces, people, skip_self=True)
    assert ranks.first_mate.tolist() == first
    assert ranks.mates.tolist() == mates
    np.testing.assert_allclose(ranks.average_precision, precision, atol=1e-12)


@given(searches(), st.integers(0, 2**32))
def test_gallery_order_and_length_of_vectors_do_not_matter(case, seed):
    probes, probe_people, gallery, gallery_people = case
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(gallery))
    scale = 2.0 ** rng.integers(-3, 4, (len(gallery), 1)).astype(np.float32)
    again = closed_set_ranks(probes, probe_people, (gallery * scale)[order], gallery_people[order])
    assert again.first_mate.tolist() == closed_set_ranks(*case).first_mate.tolist()


@given(searches(), st.integers(0, len(EXACT) - 1))
def test_a_distractor_never_helps(case, which):
    probes, probe_people, gallery, gallery_people = case
    before = closed_set_ranks(*case)
    after = closed_set_ranks(probes, probe_people, np.vstack([gallery, EXACT[which]]), np.append(gallery_people, -100))
    assert (cmc(after, 20).y <= cmc(before, 20).y).all()
    assert (after.average_precision <= before.average_precision + 1e-12).all()


@given(searches())
def test_cmc_rises_and_block_size_does_not_matter(case):
    ranks = closed_set_ranks(*case, block_bytes=1)
    assert (np.diff(cmc(ranks, 20).y) >= 0).all()
    assert ranks.first_mate.tolist() == closed_set_ranks(*case).first_mate.tolist()


def test_a_rival_with_the_same_score_ranks_before_the_mate():
    probe, person = EXACT[:1], np.array([7])
    ranks = closed_set_ranks(probe, person, EXACT[[0, 0, 0, 2]], np.array([7, 3, -100, 7]))
    assert ranks.first_mate.tolist() == [3]
    assert ranks.average_precision[0] == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_equal_faces_tie_even_where_the_product_says_otherwise(monkeypatch):
    """Some processors give equal columns of a product different last bits: imitated here."""
    plain = identification._score_rows

    def noisy(probes, gallery, block_bytes):
        for position, scores in plain(probes, gallery, block_bytes):
            scores -= np.arange(len(scores), dtype=np.float32) * np.float32(1e-6)
            yield position, scores

    monkeypatch.setattr(identification, "_score_rows", noisy)
    rng = np.random.default_rng(0)
    face, other = rng.normal(size=(1, 8)), rng.normal(size=(1, 8))
    gallery = np.concatenate([face, other, face, face])  # the mate comes first, two copies of it are of other people
    assert closed_set_ranks(face, np.array([1]), gallery, np.array([1, 2, 3, -100])).first_mate.tolist() == [3]
    assert leave_one_out_ranks(gallery, np.array([1, 1, 3, -100])).first_mate.tolist() == [3, 3, 0, 0]


def test_failures_and_strangers_are_misses_not_dropped():
    probes = EXACT[[0, 0, 0, 0]].copy()
    probes[1] = np.nan
    gallery = EXACT[[0, 1, 0]].copy()
    gallery[2] = np.nan
    ranks = closed_set_ranks(probes, np.array([1, 1, 5, -1]), gallery, np.array([1, 2, 1]))
    assert ranks.first_mate.tolist() == [1, 0, 0, 0]
    assert ranks.average_precision.tolist() == [0.5, 0, 0, 0]  # the mate that was not encoded was missed
    assert ranks.mates.tolist() == [2, 2, 0, 0]
    assert rank_k(ranks, 1) == 0.25
    assert rank_k(ranks.rows(ranks.mates > 0), 1) == 0.5


def test_a_gallery_without_an_encoded_face_finds_nobody():
    ranks = closed_set_ranks(EXACT[:1], np.array([1]), np.full((2, 4), np.nan, np.float32), np.array([1, 2]))
    assert ranks.first_mate.tolist() == [0]


def test_long_and_short_vectors_keep_their_direction():
    scale = np.array([1e25, 1e-25, 1, 3], np.float32)[:, None]  # squares of the first overflow in float32
    ranks = closed_set_ranks(EXACT[:4] * scale, np.arange(4), EXACT * np.float32(1e20), np.arange(len(EXACT)))
    assert ranks.first_mate.tolist() == [1, 1, 1, 1]


def test_hits_by_hand():
    ranks = Ranks(np.array([1, 3, 0]), np.zeros(3), np.zeros(3, np.int64), np.ones(3, np.int64))
    assert hits(ranks, np.array([1, 3])).tolist() == [[True, True], [False, True], [False, False]]
    assert cmc(ranks, 3).y.tolist() == [1 / 3, 1 / 3, 2 / 3]


@pytest.mark.parametrize(
    ("probes", "gallery", "says"),
    [
        (EXACT[:0], EXACT, "0 probes"),
        (EXACT, EXACT[:0], "0 in gallery"),
        (EXACT, EXACT[:, :3], "4 and 3 dimensions"),
        (np.zeros((1, 4), np.float32), EXACT, "row 0 has length 0"),
        (np.full((1, 4), np.inf, np.float32), EXACT, "row 0 has length inf"),
    ],
)
def test_refuses_what_has_no_answer(probes, gallery, says):
    with pytest.raises(VlrfaceError, match=says):
        closed_set_ranks(probes, np.zeros(len(probes), np.int64), gallery, np.zeros(len(gallery), np.int64))


def test_refuses_empty_ranks_and_rank_zero():
    none = Ranks(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    one = Ranks(np.ones(1, np.int64), np.ones(1), np.ones(1, np.int64), np.ones(1, np.int64))
    for call in (lambda: rank_k(none, 1), lambda: mean_average_precision(none), lambda: rank_k(one, 0)):
        with pytest.raises(VlrfaceError):
            call()
    with pytest.raises(VlrfaceError, match="start at 1"):
        hits(one, np.array([0]))
    with pytest.raises(VlrfaceError, match="two faces"):
        leave_one_out_ranks(EXACT[:1], np.array([1]))
