"""Exact search against sorting everything, whatever scan proposes the candidates."""

import numpy as np
import pytest

from vlrface.gallery import search as module
from vlrface.gallery.search import ExactIndex

DIM = 24
SCANS = [True, False]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 64)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def unit(values):
    values = np.asarray(values, np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def filled(rows, coarse, step=50):
    index = ExactIndex(rows.shape[1], coarse=coarse, threads=2)
    for start in range(0, len(rows), step):
        index.append(rows[start : start + step])
    return index


def assert_exact(index, rows, queries, k):
    found = index.search(queries, k)
    scores = queries.astype(np.float64) @ rows.astype(np.float64).T
    for query, mine in enumerate(scores):
        best = sorted(range(len(rows)), key=lambda row: (-mine[row], row))[:k]
        np.testing.assert_allclose(found.scores[query], mine[best], atol=1e-12)
        assert found.rows[query].tolist() == best


@pytest.mark.parametrize("coarse", SCANS)
@pytest.mark.parametrize("queries", [1, 9])
@pytest.mark.parametrize("k", [1, 7, 1000])
def test_the_nearest_are_those_of_sorting_everything(rng, coarse, queries, k):
    rows = unit(rng.standard_normal((700, DIM)))
    assert_exact(filled(rows, coarse), rows, unit(rng.standard_normal((queries, DIM))), k)


@pytest.mark.parametrize("coarse", SCANS)
def test_rows_nearer_to_each_other_than_a_byte_can_tell(rng, coarse):
    rows = unit(rng.standard_normal(DIM) + 1e-4 * rng.standard_normal((900, DIM)))
    assert_exact(filled(rows, coarse), rows, rows[:2], 5)


@pytest.mark.parametrize("coarse", SCANS)
def test_values_that_no_byte_reaches(rng, coarse):
    wide = 200
    rows = unit(0.05 * rng.standard_normal((900, wide)) + 3 * np.eye(wide, dtype=np.float32)[rng.integers(0, 3, 900)])
    assert np.abs(rows).max() > 7 / wide**0.5
    assert_exact(filled(rows, coarse), rows, rows[:2], 5)


@pytest.mark.parametrize("coarse", SCANS)
def test_replaced_and_removed_rows(rng, coarse):
    rows = list(unit(rng.standard_normal((200, DIM))))
    index = filled(np.array(rows), coarse)
    for _ in range(150):
        row = int(rng.integers(len(rows)))
        if rng.random() < 0.3:
            rows[row] = unit(rng.standard_normal(DIM))
            index.replace(row, rows[row])
        elif rng.random() < 0.8:
            assert index.remove(row) == len(rows) - 1
            rows[row] = rows[-1]
            rows.pop()
        else:
            rows.append(unit(rng.standard_normal(DIM)))
            index.append(rows[-1][None])
    assert len(index) == len(rows)
    assert_exact(index, np.array(rows), unit(rng.standard_normal((2, DIM))), 10)


@pytest.mark.parametrize("dim", [2, 24, 64, 512])  # faiss has other code for multiples of 64
def test_the_copy_in_bytes_errs_by_no_more_than_it_says(rng, dim):
    rows = unit(rng.standard_normal((300, dim)))
    index = filled(rows, coarse=True)
    queries = unit(rng.standard_normal((4, dim)))
    coarse = index._bytes
    true = queries.astype(np.float64) @ rows.astype(np.float64).T
    search, errors = coarse.searched(queries, 64)
    for block in range(len(coarse.indexes)):
        scores, places = search(block)
        for query in range(len(queries)):
            there = places[query] >= 0
            assert there.any()
            known = true[query, places[query][there] + 64 * block]
            assert 0 < np.abs(scores[query][there] - known).max() <= errors[query] < 0.06


@pytest.mark.parametrize("dim", [24, 64, 512])
def test_bytes_suffice_for_vectors_in_all_directions(rng, dim, monkeypatch):
    rows = unit(rng.standard_normal((3000, dim)))
    index = filled(rows, coarse=True)
    monkeypatch.setattr(index, "_scan", None)  # which would take over
    assert_exact(index, rows, unit(rng.standard_normal((2, dim))), 5)


def test_a_removed_row_leaves_neither_copy(rng):
    rows = unit(rng.standard_normal((10, DIM)))
    index = filled(rows, coarse=True)
    codes = index._bytes._codes(9)  # the memory itself
    assert codes.any()
    index.remove(9)
    assert not index._blocks[0][9].any()
    assert not codes.any()
