"""Unit rows and copies: a slow loop, signed zeros, rows that agree in their first columns only."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics import cosine
from vlrface.metrics.cosine import copied_rows, unit_rows
from vlrface.types import VlrfaceError


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 30))
def test_copies_agree_with_a_slow_loop(seed, width, count):
    rows = np.random.default_rng(seed).integers(-1, 2, (count, width)).astype(np.float32)
    rows[::3] *= np.float32(-1)  # -0 among them
    copies, originals = copied_rows(rows)
    expected = []
    for i in range(count):
        same = [j for j in range(i) if (rows[j] == rows[i]).all()]
        if same:
            expected.append((i, same[0]))
    assert list(zip(copies.tolist(), originals.tolist(), strict=True)) == expected


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_unit_rows_do_not_depend_on_the_chunk(seed, chunk):
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(11, 3)) * 10.0 ** rng.integers(-20, 20, (11, 1))).astype(np.float32)
    rows[rng.random(11) < 0.2, 1] = np.nan
    whole = unit_rows(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine, "_CHUNK_ROWS", chunk)
        parts = unit_rows(rows)
    for here, there in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(here, there)
    lengths = np.sqrt((rows[whole.rows].astype(float) ** 2).sum(axis=1))
    np.testing.assert_allclose(whole.unit, rows[whole.rows] / lengths[:, None], rtol=1e-6)
    assert whole.rows.tolist() == np.flatnonzero(~np.isnan(rows).any(axis=1)).tolist()


def test_double_precision_becomes_single():
    unit = unit_rows(np.array([[3.0, 4.0]])).unit
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [[0.6, 0.8]])


def test_refuses_rows_without_direction():
    for value, says in ((0.0, "row 1 has length 0"), (np.inf, "row 1 has length inf")):
        rows = np.array([[1.0, 0], [value, 0]])
        with pytest.raises(VlrfaceError, match=says):
            unit_rows(rows)
