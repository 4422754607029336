"""What is observed of a cluster, beside slow obvious loops."""

import dataclasses

import numpy as np
import pytest
from tests.unrecognizable.made import pool

from vlrface.types import VlrfaceError
from vlrface.unrecognizable import Pool
from vlrface.unrecognizable.evidence import Evidence, Observed, mean_product, mixing_of, unit
from vlrface.unrecognizable.evidence import evidence_of as evidence_of_observed


def evidence_of(given, members, others):
    return evidence_of_observed(Observed.of(given), members, others)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_each_piece_is_what_a_loop_finds():
    made, truth = pool(people=10, pictures=3, lost=20, destroyed=25)
    made = dataclasses.replace(made, recognizability=np.where(truth, 0.2, 1.0))
    found = evidence_of(made, truth, ~truth)
    rows = made.embeddings.astype(np.float64)
    center = sum(each / np.linalg.norm(each) for each in made.destroyed.astype(np.float64))
    assert found["nearness"].value == pytest.approx(np.median([cosine(r, center) for r in rows[truth]]), abs=1e-6)
    assert found["length"].rest == pytest.approx(np.median([np.linalg.norm(r) for r in rows[~truth]]))
    assert (found["recognizability"].value, found["recognizability"].rest) == (0.2, 1.0)
    pairs = [cosine(a, b) for i, a in enumerate(rows[truth]) for b in rows[truth][:i]]
    assert found["agreement"].value == pytest.approx(np.mean(pairs), abs=1e-6)
    copies = [cosine(rows[o], d) for o, d in zip(made.origins, made.destroyed, strict=True) if truth[o]]
    assert found["response"].value == pytest.approx(np.median(copies), abs=1e-6)
    assert all(each.speaks_for for each in found.values())


def test_nan_is_null_in_json():
    assert Evidence(float("nan"), float("nan"), True).to_json() == {"value": None, "rest": None, "speaks_for": True}


def test_what_cannot_be_observed_is_missing():
    made, truth = pool(people=10, pictures=3, lost=20, destroyed=25)
    assert set(evidence_of(dataclasses.replace(made, origins=None), truth, ~truth)) == {
        "nearness",
        "length",
        "agreement",
    }


def test_pictures_that_are_alike_explain_their_agreement():
    made, truth = pool(people=10, pictures=3, lost=20, destroyed=25)
    looks = np.random.default_rng(0).standard_normal((len(truth), 36))
    unlike = dataclasses.replace(made, looks=unit(looks))
    assert evidence_of(unlike, truth, ~truth)["agreement"].speaks_for
    looks[truth] = looks[0]
    assert not evidence_of(dataclasses.replace(made, looks=unit(looks)), truth, ~truth)["agreement"].speaks_for


def test_several_copies_of_a_face_count_as_their_mean():
    rows = np.eye(3)[[0, 1]]
    made = Pool(rows, np.array([[1.0, 0, 0], [0, 1, 0], [0, 2, 0]]), np.array([0, 0, 1]))
    found = evidence_of(made, np.array([True, False]), np.array([False, True]))
    assert (found["response"].value, found["response"].rest) == (0.5, 1.0)


def test_mean_product_of_one_row_is_unknown():
    assert np.isnan(mean_product(np.ones((1, 3))))


@pytest.mark.parametrize(
    ("message", "columns"),
    [
        ("3 dimensions, those of destroyed pictures 2", {"destroyed": np.ones((2, 2))}),
        ("3 rows of looks for 4 faces", {"looks": np.ones((3, 36))}),
        ("1 origins for 4", {"origins": np.array([0])}),
        ("no row of a pool of 4", {"origins": np.array([0, 1, 2, 4])}),
    ],
)
def test_a_pool_that_does_not_fit_is_refused(message, columns):
    rows = np.ones((4, 3))
    # Some are also refused by the annotations, which only tests enforce.
    with pytest.raises((VlrfaceError, TypeError), match=f"{message}|Type-check"):
        Pool(**{"embeddings": rows, "destroyed": rows, **columns})


def test_faces_among_destroyed_pictures_mix_and_faces_beside_them_do_not():
    rng = np.random.default_rng(0)

    def around(center, n):
        rows = np.eye(32)[center] + 0.1 * rng.standard_normal((n, 32))
        return unit(rows).astype(np.float32)

    destroyed, all_of_it = around(0, 80), np.ones(80, bool)
    among = mixing_of(around(0, 40), destroyed, np.ones(40, bool), all_of_it)
    assert among.rest == pytest.approx(1 / 3)
    assert among.value == pytest.approx(1 / 3, abs=0.07)
    assert among.speaks_for
    beside = mixing_of(around(1, 40), destroyed, np.ones(40, bool), all_of_it)
    assert beside.value == 0
    assert not beside.speaks_for
