import builtins
import contextlib
import csv
import io
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlrface.data import lines, table
from vlrface.data.manifest import Manifest
from vlrface.data.table import read_table
from vlrface.types import VlrfaceError

Tabled = Callable[..., Manifest]


@pytest.fixture
def tabled(tmp_path: Path) -> Tabled:
    """Reads a CSV table given as text or bytes."""

    def read(text: str | bytes, **options: Any) -> Manifest:
        file = tmp_path / "faces.csv"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_table(file, **options)

    return read


CSV = "source,identity,split,yaw,note\na/1.jpg,7,train,0.5,sharp\nb.jpg,7,dev,,dark\nc.jpg,,train,-1e-3,\n"


def same(a: Manifest, b: Manifest) -> None:
    for name in ("sources", "identities", "splits"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist()
    assert list(a.truths) == list(b.truths)
    for name in a.truths:
        np.testing.assert_array_equal(a.truths[name], b.truths[name])


def test_csv(tmp_path: Path, tabled: Tabled) -> None:
    m = tabled(CSV)
    assert m.sources.tolist() == ["a/1.jpg", "b.jpg", "c.jpg"]
    assert m.identities.tolist() == [7, 7, -1]
    assert m.splits.tolist() == ["train", "dev", "train"]
    assert list(m.truths) == ["yaw"]
    np.testing.assert_array_equal(m.truths["yaw"], [0.5, np.nan, -1e-3])
    assert m.root == tmp_path
    assert tabled(CSV, root=tmp_path / "faces").path(0) == tmp_path / "faces/a/1.jpg"


@pytest.mark.parametrize(
    "text",
    [
        CSV.replace(",", ";"),
        CSV.replace(",", "\t"),
        CSV.replace("\n", "\r\n"),
        "\ufeff" + CSV,
        CSV.replace("source", " Path ").replace("identity", "IDENTITY"),
        CSV.replace("source", "FILE"),
        CSV.replace("a/1.jpg", '"a/1.jpg"').replace("note", '"note"'),
        "\n\n" + CSV.replace("\nb", "\n\n\nb") + "\n",
        CSV.replace("a/1.jpg", "./x/../a/1.jpg"),
        CSV.replace(",7,", ",7.0,").replace("0.5", ".5e0"),
    ],
)
def test_ways_to_write_the_same_csv(text: str, tabled: Tabled) -> None:
    same(tabled(text), tabled(CSV))


def test_only_a_source(tabled: Tabled) -> None:
    m = tabled("file\na.jpg\nb;c.jpg\n")
    assert m.sources.tolist() == ["a.jpg", "b;c.jpg"]
    assert m.identities.tolist() == [-1, -1]
    assert m.splits.tolist() == ["train", "train"]
    assert tabled("file\na.jpg\n", split="probe").splits.tolist() == ["probe"]
    assert tabled("file,split\na.jpg,\nb.jpg,gallery\n", split="probe").splits.tolist() == ["probe", "gallery"]


def test_source_comes_before_path_and_file(tabled: Tabled) -> None:
    m = tabled("path,file,source\n1,2,a.jpg\n")
    assert m.sources.tolist() == ["a.jpg"]
    assert set(m.truths) == {"path", "file"}  # numbers of something else


def test_the_delimiter_is_the_one_that_parts_the_titles(tabled: Tabled) -> None:
    assert tabled("source;a,b;c,d,e\nx.jpg;1;2\n").truths.keys() == {"a,b", "c,d,e"}
    assert tabled("a;b,source\n1,x;y.jpg\n").sources.tolist() == ["x;y.jpg"]


def test_names_are_numbered_in_sorted_order(tabled: Tabled) -> None:
    m = tabled("source,identity\n1,zoe\n2,ann\n3,\n4,zoe\n5,12\n6,nan\n")
    assert m.identities.tolist() == [3, 1, -1, 3, 0, 2]


def test_numbers_stay_what_they_are(tabled: Tabled) -> None:
    m = tabled("source,identity\n1,900000000000\n2,0\n3,-1\n4,-100\n5,+3\n6,12e2\n7,4.0\n8,9223372036854775807\n")
    assert m.identities.tolist() == [900000000000, 0, -1, -100, 3, 1200, 4, 2**63 - 1]


@pytest.mark.parametrize("value", ["-2", "-0.5", "1.5", "nan", "NaN", "inf", "9223372036854775808", "9" * 40, "-inf"])
def test_bad_identities(value: str, tabled: Tabled) -> None:
    with pytest.raises(
        VlrfaceError, match=r"faces\.csv: row 2 \(b\.jpg\): '.*' is no identity\. Give whole numbers ≥ 0"
    ):
        tabled(f"source,identity\na.jpg,3\nb.jpg,{value}\n")


def test_columns_with_anything_but_numbers_are_no_truths(tabled: Tabled) -> None:
    text = "source,a,b,c,d,e,,f\nx,1,1,nan,,0x1,5,1_0\ny,,one,2,,2,6,2\nz,3,2,,,3,7,3\n"
    m = tabled(text)
    assert list(m.truths) == ["a", "c"]
    np.testing.assert_array_equal(m.truths["c"], [np.nan, 2, np.nan])
    assert tabled("source,\x1b[31m,\x85\nx,1,2\n").truths == {}
    assert tabled("source,a\nx,inf\n").truths == {}
    assert tabled("source,a\nx,1e999\n").truths == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        ("\n \n", "the table is empty"),
        ("source,identity\n", "the table has no rows"),
        ("image,person\na,1\n", "no column source, path or file; there are: 'image', 'person'"),
        ("a,source,source\n", "column 'source' comes more than once"),
        ("source,Yaw,yaw\n", "column 'yaw' comes more than once"),
        ("source,a\nx,1\ny\n", "line 3: 1 fields under 2 titles"),
        ("source,a\nx,1\n\ny,1,2\n", "line 4: 3 fields under 2 titles"),
        ('source,a\nx,"1\n', "line 2: not CSV"),
        ('source,a\nx,"1"2\n', "line 2: not CSV"),
        ('source,"a\nx,1\n', "line 1: not CSV"),
        ("source\ra.jpg\rb.jpg\r", "line 1: not CSV"),
        ("source,a\n,1\n", "line 2: '' is not a file name"),
        ("source\na\x00b\n", r"line 2: 'a\\x00b' is not a file name"),
        ("source\na\na\n", "a occurs more than once in split 'train'"),
        (b"source\na\n\xe9.jpg\n", "line 3: not UTF-8 text"),
        ("source\n".encode("utf-16"), "line 1: not UTF-8 text"),
        ("source\n" + "x" * 70000 + "\n", "line 2: longer than 65,536 bytes"),
        ("source" + ",x" * 300 + "\n", "301 columns are more than 256"),
    ],
)
def test_bad_tables(text: str | bytes, message: str, tabled: Tabled) -> None:
    with pytest.raises(VlrfaceError, match=message) as info:
        tabled(text)
    assert "faces.csv" in str(info.value) or "manifest" in str(info.value)


@pytest.mark.parametrize("source", ["../../x.jpg", "/etc/hostname", "a/../../b", "C:\\x", "..\\x"])
def test_entries_outside_the_root_are_refused(source: str, tabled: Tabled, tmp_path: Path) -> None:
    with pytest.raises(VlrfaceError, match=r"faces\.csv: line 3: .* points outside its root"):
        tabled(f"source,a\nx,1\n{source},2\n")
    with pytest.raises(VlrfaceError, match=r"faces\.parquet: row 2: .* points outside its root"):
        read_table(parquet(tmp_path, {"source": ["x", source]}))


def test_bounds(tabled: Tabled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_MAX_ROWS", 2)
    with pytest.raises(VlrfaceError, match="line 4: more than 2 rows"):
        tabled("source\na\nb\nc\n")
    with pytest.raises(VlrfaceError, match="row 3: more than 2 rows"):
        read_table(parquet(tmp_path, {"source": ["a", "b", "c"]}))
    monkeypatch.setattr(lines, "_MAX_ARRAY_BYTES", 20)
    with pytest.raises(VlrfaceError, match="line 3: 2 entries of up to 3 characters need more than 20 bytes"):
        tabled("source\na\nbcd\n")
    monkeypatch.setattr(table, "_MAX_BYTES", 10)
    with pytest.raises(VlrfaceError, match="13 bytes are more than 10"):
        tabled("source\na\nb\nc\n")
    with pytest.raises(VlrfaceError, match="no such file"):
        read_table(tmp_path / "nowhere.csv")
    with pytest.raises(VlrfaceError, match="not a regular file"):
        read_table(tmp_path)


def parquet(folder: Path, columns: Any, **options: Any) -> Path:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as pq

    path = folder / "faces.parquet"
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"row_group_size": 2, "compression": "gzip"}])
def test_parquet(options: Any, tmp_path: Path, tabled: Tabled) -> None:
    columns = {
        "Source": ["a/1.jpg", "b.jpg", "c.jpg"],
        "identity": [7, 7, None],
        "split": ["train", "dev", None],
        "yaw": [0.5, None, -1e-3],
        "note": ["sharp", "dark", None],
        "flag": [True, False, True],
        "nested": [[1], [2], []],
        "empty": [None, None, None],
    }
    m = read_table(parquet(tmp_path, columns, **options))
    same(m, tabled(CSV))
    assert m.root == tmp_path
    renamed = tmp_path / "table.csv"  # what it is tells the content, not the name
    (tmp_path / "faces.parquet").rename(renamed)
    same(read_table(renamed), m)


def test_types_of_parquet_columns(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    columns = pa.table(
        {
            "path": pa.array(["a", "b"]).dictionary_encode(),
            "identity": pa.array([3.0, float("nan")]),
            "small": pa.array([1, 2], pa.int8()),
            "half": pa.array([0.1, 0.25], pa.float32()),
        }
    )
    with pytest.raises(VlrfaceError, match=r"faces\.parquet: row 2 \(b\): 'nan' is no identity"):
        read_table(parquet(tmp_path, columns))
    names = columns.set_column(1, "identity", pa.array(["zoe", "ann"], pa.large_string()))
    m = read_table(parquet(tmp_path, names))
    assert m.identities.tolist() == [1, 0]
    np.testing.assert_array_equal(m.truths["half"], np.array([0.1, 0.25], np.float32))
    with pytest.raises(VlrfaceError, match="no column source, path or file; there are: 'identity'"):
        read_table(parquet(tmp_path, {"identity": [1], "source": [b"bytes"]}))
    with pytest.raises(VlrfaceError, match="row 1: '' is not a file name"):
        read_table(parquet(tmp_path, {"source": pa.array([None], pa.string())}))
    with pytest.raises(VlrfaceError, match="the table has no rows"):
        read_table(parquet(tmp_path, {"source": pa.array([], pa.string())}))


def test_long_texts_in_parquet_are_not_unpacked(tmp_path: Path) -> None:
    """A text of 5 kB, a million times, takes a few kB in the file."""
    pa = pytest.importorskip("pyarrow")
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int32)), ["x" * 5000])
    path = parquet(tmp_path, pa.table({"source": column}))
    assert path.stat().st_size < 20_000
    with pytest.raises(VlrfaceError, match="a text of 5,000 bytes, more than 4,096"):
        read_table(path)


def test_damaged_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"source": [f"{i}.jpg" for i in range(50)], "identity": list(range(50))})
    whole = path.read_bytes()
    for length in range(4, len(whole), 41):
        path.write_bytes(whole[:length])
        with pytest.raises(VlrfaceError, match=r"faces\.parquet: damaged Parquet"):
            read_table(path)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tabled: Tabled) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    path = parquet(tmp_path, {"source": ["a"]})
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(VlrfaceError, match=r"pip install 'vlrface\[parquet\]'"):
        read_table(path)
    assert len(tabled(CSV)) == 3


WORDS = st.text('ab é,;"\t\n_-', min_size=1, max_size=8)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(-1, 10**15), st.floats(allow_infinity=False), WORDS),
        min_size=1,
        max_size=20,
        unique_by=lambda row: row[0],
    ),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_table_is_read_as_written(
    rows: list[tuple[int, int, float, str]], delimiter: str, end: str, tabled: Tabled, tmp_path: Path
) -> None:
    """Against the standard library's writer, and the same table as Parquet."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(["note", "source", "identity", "yaw"])
    writer.writerows([note, f"{i}.jpg", identity, yaw] for i, identity, yaw, note in rows)
    m = tabled(text.getvalue())
    assert m.sources.tolist() == [f"{i}.jpg" for i, *_ in rows]
    assert m.identities.tolist() == [identity for _, identity, *_ in rows]
    if all(math.isnan(yaw) for *_, yaw, _ in rows):
        assert m.truths == {}
    else:
        np.testing.assert_array_equal(m.truths["yaw"], [yaw for *_, yaw, _ in rows])
    columns = {"note": [row[3] for row in rows], "source": m.sources, "identity": m.identities}
    same(read_table(parquet(tmp_path, columns | {"yaw": [row[2] for row in rows]})), m)


SPLICES = [
    b"",
    b"\n",
    b"\r",
    b",",
    b";",
    b'"',
    b"..",
    b"../../x",
    b"/etc/passwd",
    b"\x00",
    b"\xff",
    b"-7",
    b"nan",
    b"1e400",
]


@given(rng=st.randoms(use_true_random=False), packed=st.booleans())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_our_errors_come_out(rng: random.Random, packed: bool, tmp_path: Path) -> None:
    """Of tables with bytes changed, cut out, doubled or put in; and no source leaves the root."""
    path = tmp_path / ("seed.parquet" if packed else "faces.csv")
    if packed and not path.exists():
        parquet(tmp_path, {"source": ["a", "b"], "identity": [1, 2], "split": ["x", "y"], "n": [0.5, 2]}).rename(path)
    data = bytearray(path.read_bytes() if packed else CSV.encode())
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.choice((0, 1, 4, 30))] = rng.choice(
            (rng.randbytes(1), rng.choice(SPLICES), bytes(data[at : at + 40]))
        )
    file = tmp_path / "mutated"
    file.write_bytes(data)
    with contextlib.suppress(VlrfaceError):
        m = read_table(file)
        root = tmp_path.resolve()
        assert all((root / source).resolve().is_relative_to(root) for source in m.sources.tolist())
