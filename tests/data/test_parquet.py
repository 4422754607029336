from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlrface.data.parquet import parquet_rows
from vlrface.types import VlrfaceError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def _written(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_texts_and_numbers_as_in_csv_others_are_left_out(tmp_path: Path) -> None:
    file = _written(
        tmp_path / "a.parquet",
        name=["a", None, ""],
        role=pa.array(["p", "q", "p"]).dictionary_encode(),
        whole=pa.array([1, None, -3]),
        part=np.array([0.5, np.nan, 1e-30], np.float32),
        nothing=pa.nulls(3),
        nested=[[1], [2], [3]],
        truth=[True, False, None],
    )
    titles, rows = parquet_rows(file)
    assert titles == ["name", "role", "whole", "part", "nothing"]
    first, second, third = rows
    assert first == ("a", "p", "1", "0.5", "")
    assert second == ("", "q", "", "nan", "")
    assert float(third[3]) == np.float32(1e-30)


def test_more_rows_than_a_batch_stay_in_order(tmp_path: Path) -> None:
    titles, rows = parquet_rows(_written(tmp_path / "a.parquet", n=np.arange(40_000)))
    assert titles == ["n"]
    assert [int(text) for (text,) in rows] == list(range(40_000))


def test_a_repeated_long_text_is_refused(tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(np.zeros(100_000, np.int32), ["x" * 1_000_000])
    _, rows = parquet_rows(_written(tmp_path / "a.parquet", name=column))
    with pytest.raises(VlrfaceError, match=r"a\.parquet: a text of 1,000,000 bytes"):
        next(rows)


def test_too_many_rows_are_refused_before_they_are_read(tmp_path: Path) -> None:
    file = _written(tmp_path / "a.parquet", n=np.zeros(10_000_001, np.int8))
    with pytest.raises(VlrfaceError, match="10,000,001 rows"):
        parquet_rows(file)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return _written(tmp_path_factory.mktemp("p") / "a.parquet", name=["a", "b"], n=[1.5, 2]).read_bytes()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_do_no_worse_than_our_own_error(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / "a.parquet"
    file.write_bytes(changed)
    try:
        list(parquet_rows(file)[1])
    except VlrfaceError as error:
        assert str(file) in str(error)  # noqa: PT017 (most changes are refused, some are not)
