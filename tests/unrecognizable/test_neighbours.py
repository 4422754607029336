"""Nearest neighbours, exact and searched, beside a slow obvious loop."""

import builtins

import numpy as np
import pytest

from vlrface.types import VlrfaceError
from vlrface.unrecognizable.neighbours import neighbours


def units(n, width=16, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_exact_neighbours_are_those_of_a_loop():
    unit = units(50)
    rows, cosines = neighbours(unit, 7)
    for i in range(len(unit)):
        ranked = sorted((-float(unit[i] @ unit[j]), j) for j in range(len(unit)) if j != i)[:7]
        assert rows[i].tolist() == [j for _, j in ranked]
        assert cosines[i] == pytest.approx([-c for c, _ in ranked], abs=1e-6)


def test_more_rows_than_a_chunk_change_nothing():
    unit = units(1500, width=8)
    rows, _ = neighbours(unit, 3)
    assert rows[1400].tolist() == np.argsort(-(unit[1400] @ unit.T))[1:4].tolist()


def test_copies_are_neighbours_but_nobody_is_their_own():
    unit = np.repeat(units(10), 3, axis=0)
    rows, cosines = neighbours(unit, 2)
    assert all(i not in rows[i] for i in range(len(unit)))
    assert cosines == pytest.approx(np.ones_like(cosines), abs=1e-6)


def test_searched_neighbours_of_clustered_rows_are_the_exact_ones():
    pytest.importorskip("faiss")
    centers = np.repeat(units(60, 32, seed=1), 40, axis=0)
    unit = centers + 0.3 * units(len(centers), 32, seed=2)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    exact, cosines = neighbours(unit, 10)
    found, near = neighbours(unit, 10, exact_up_to=100)
    assert all(i not in found[i][near[i] > -1] for i in range(len(unit)))
    hits = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), found.tolist(), strict=True)])
    assert hits > 0.85
    assert (near <= cosines + 1e-5).all()
    again, _ = neighbours(unit, 10, exact_up_to=100)
    assert np.array_equal(found, again)


@pytest.mark.parametrize("count", [0, 5, 6])
def test_a_count_out_of_range_is_refused(count):
    with pytest.raises(VlrfaceError, match="neighbours to each of 5 rows"):
        neighbours(units(5), count)


def test_without_faiss_many_rows_are_refused(monkeypatch):
    whole = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "faiss":
            raise ImportError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(VlrfaceError, match=r"need faiss.*vlrface\[cluster\]"):
        neighbours(units(30), 3, exact_up_to=10)
