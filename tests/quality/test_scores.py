"""A user's own scores: what stands on a command line, tables in every shape, and what is wrong with them."""

import contextlib
import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlrface.quality.embeddings import norms
from vlrface.quality.scores import MeasureRequest, from_file, parse_measure, read_scores
from vlrface.types import VlrfaceError

from .made import made_faces

FACES = made_faces()
NAMES = FACES.names[:7].tolist()  # those that are not made
SCORES = np.arange(7) / 4 - 1


def write(path, header, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


def table(path, names=NAMES, header=("name", "quality"), delimiter=","):
    return write(path, header, [[name, score] for name, score in zip(names, SCORES, strict=True)], delimiter)


def values_of(path, column=None, onto=FACES):
    found = read_scores(path, onto, column)
    assert np.isnan(found[7:]).all()  # made faces stand in no table
    return found[:7].tolist()


# On the command line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sharpness", MeasureRequest("sharpness")),
        ("mine=scores.csv", MeasureRequest("mine", Path("scores.csv"))),
        ("mine=scores.csv:quality", MeasureRequest("mine", Path("scores.csv"), "quality")),
        ("mine=a/b/scores.CSV:-brisque", MeasureRequest("mine", Path("a/b/scores.CSV"), "-brisque")),
        ("mine=s.parquet:q:1", None),
        ("magface=other.npz:norm", MeasureRequest("magface", Path("other.npz"), "norm")),
        ("x=C:\\data\\scores.csv", MeasureRequest("x", Path("C:\\data\\scores.csv"))),
        ("x=C:\\data\\scores.csv:q", MeasureRequest("x", Path("C:\\data\\scores.csv"), "q")),
        ("x=a=b.csv:q=1", MeasureRequest("x", Path("a=b.csv"), "q=1")),
        ("ers=other.npz:ers", MeasureRequest("ers", Path("other.npz"), "ers")),
    ],
)
def test_a_request_is_read(text, expected):
    if expected is None:
        with pytest.raises(VlrfaceError, match="ends in"):
            parse_measure(text)
    else:
        assert parse_measure(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("blurriness", "give one of size, sharpness"),
        ("", "no quality measure is called ''"),
        ("=scores.csv", "no name for a measure"),
        ("two words=scores.csv", "no name for a measure"),
        ("a,b=scores.csv", "no name for a measure"),
        ("recognizability=scores.csv", "none of recognizability"),
        ("oracle=scores.csv", "none of recognizability"),
        ("mine=scores.txt", "ends in .csv, .tsv, .parquet or .npz"),
        ("mine=", "ends in"),
        ("mine=scores.csv:", "ends in"),
        ("mine=scores.csv:-", "ends in"),
    ],
)
def test_a_wrong_request_is_refused(text, says):
    with pytest.raises(VlrfaceError, match=says):
        parse_measure(text)


@given(st.text(max_size=30))
def test_no_text_does_worse_than_our_own_error(text):
    with contextlib.suppress(VlrfaceError):
        parse_measure(text)


# Tables


def test_a_table_with_one_column_of_scores(tmp_path):
    assert values_of(table(tmp_path / "s.csv")) == SCORES.tolist()
    assert values_of(table(tmp_path / "s.tsv", delimiter="\t")) == SCORES.tolist()
    assert values_of(table(tmp_path / "p.csv", header=("path", "q")), "q") == SCORES.tolist()
    assert values_of(table(tmp_path / "p.csv", header=("path", "q")), "-q") == (-SCORES).tolist()


def test_parquet_says_the_same(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"name": NAMES, "a": SCORES.astype(np.float32), "b": [None, *range(6)]}), path)
    assert values_of(path, "a") == SCORES.tolist()
    assert np.isnan(read_scores(path, FACES, "-b")[0])
    assert read_scores(path, FACES, "-b")[1:7].tolist() == [0, -1, -2, -3, -4, -5]


@pytest.mark.parametrize("broken", [b"", b"PAR1", b"PAR1 and more PAR1", b"\x00" * 64])
def test_a_damaged_parquet_file_is_refused(tmp_path, broken):
    pytest.importorskip("pyarrow")
    path = tmp_path / "s.parquet"
    path.write_bytes(broken)
    with pytest.raises(VlrfaceError, match=r"s\.parquet: "):
        read_scores(path, FACES)


def test_order_surplus_rows_a_mark_and_blank_lines_do_not_matter(tmp_path):
    path = table(tmp_path / "s.csv")
    lines = path.read_text().splitlines()
    lines = ["\ufeff" + lines[0], "elsewhere/9_9.jpg,5", *reversed(lines[1:]), "", "9_9.jpg,not a number"]
    path.write_text("\r\n".join(lines) + "\n", encoding="utf-8")
    assert values_of(path) == SCORES.tolist()


def test_names_may_be_shorter_or_longer_by_whole_folders(tmp_path):
    for names in (
        [name.split("/")[-1] for name in NAMES],
        [f"/data/tinyface/{name}" for name in NAMES],
        ["./" + name for name in NAMES],
        [name.replace("/", "\\") for name in NAMES],
        [name.split("/", 1)[1] for name in NAMES],
    ):
        assert values_of(table(tmp_path / "s.csv", names)) == SCORES.tolist()
    with pytest.raises(VlrfaceError, match="no row for 7 of 9 faces"):
        values_of(table(tmp_path / "s.csv", [f"x{name.split('/')[-1]}" for name in NAMES]))


def test_a_name_that_fits_two_faces_needs_more_of_its_path_or_a_role(tmp_path):
    twins = dataclasses.replace(made_faces(1, 1, 0), names=np.array(["Probe/1.jpg", "Gallery/1.jpg"]))
    with pytest.raises(VlrfaceError, match=r"row 2: 1\.jpg fits several faces: probe Probe/1\.jpg, gallery"):
        read_scores(write(tmp_path / "s.csv", ["name", "q"], [["1.jpg", 1]]), twins)
    by_role = write(tmp_path / "s.csv", ["role", "name", "q"], [["gallery", "1.jpg", 1], ["probe", "1.jpg", 2]])
    assert read_scores(by_role, twins).tolist() == [2, 1]
    same = dataclasses.replace(twins, names=np.array(["1.jpg", "1.jpg"]))
    assert read_scores(by_role, same).tolist() == [2, 1]
    with pytest.raises(VlrfaceError, match="fits several"):
        read_scores(write(tmp_path / "s.csv", ["name", "q"], [["1.jpg", 1]]), same)


def test_an_empty_cell_or_nan_is_a_face_without_quality(tmp_path):
    cells = ["", "nan", "NaN", " none ", "1e-3", "-2", "N/A"]
    path = write(tmp_path / "s.csv", ["name", "q"], list(zip(NAMES, cells, strict=True)))
    np.testing.assert_array_equal(values_of(path), [np.nan] * 4 + [0.001, -2, np.nan])


def test_an_absent_face_that_failed_anyway_may_be_absent(tmp_path):
    failures = FACES.failures.copy()
    failures[1] = "truncated"
    path = write(tmp_path / "s.csv", ["name", "q"], [[name, 1] for name in NAMES if name != NAMES[1]])
    assert np.isnan(values_of(path, onto=dataclasses.replace(FACES, failures=failures))[1])
    with pytest.raises(
        VlrfaceError, match=r"s\.csv: no row for 1 of 9 faces: probe Testing_Set/Probe/1_1\.jpg\. Leave"
    ):
        values_of(path)


@pytest.mark.parametrize(
    ("header", "rows", "column", "says"),
    [
        (["name", "a", "b"], [["x", 1, 2]], None, "say which column holds the scores; there are a, b"),
        (["name", "a"], [["x", 1]], "b", "no column 'b' of scores; there are a"),
        (["name"], [["x"]], None, "there are none"),
        (["picture", "a"], [["x", 1]], None, "no column name or path or file"),
        (["name", "a", "a"], [["x", 1, 2]], "a", "two columns are called 'a'"),
        (["name", "a"], [[NAMES[0], "good"]], None, "row 2: a is 'good', not a number"),
        (["name", "a"], [[NAMES[0], "inf"]], None, "row 2: a is infinite"),
        (["name", "a"], [[NAMES[0], 1], [NAMES[0], 1]], None, "row 3: probe .* had a score in row 2 already"),
        (["name", "a"], [[NAMES[0], 1], ["0_0.jpg", 1]], None, "row 3: probe .* had a score in row 2 already"),
        (["name", "a"], [[NAMES[0], 1, 2]], None, "row 2: 3 cells under 2"),
        (["name", "a"], [], None, "at least one row"),
        (["name", "a"], [[name, ""] for name in NAMES], None, "has no score at all"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, header, rows, column, says):
    with pytest.raises(VlrfaceError, match=says):
        read_scores(write(tmp_path / "s.csv", header, rows), FACES, column)


def test_no_table_at_all(tmp_path):
    with pytest.raises(VlrfaceError, match="no such file"):
        read_scores(tmp_path / "s.csv", FACES)
    with pytest.raises(VlrfaceError, match="read from"):
        read_scores(tmp_path / "s.xlsx", FACES)
    (tmp_path / "s.csv").write_bytes(b"name,a\n\xff\xfe,1\n")
    with pytest.raises(VlrfaceError, match=r"s\.csv: line 2: not UTF-8"):
        read_scores(tmp_path / "s.csv", FACES)
    (tmp_path / "s.csv").write_text("name,a\n" + '"' + "x" * 200_000 + '",1\n')
    with pytest.raises(VlrfaceError, match=r"s\.csv: line 2: longer than 65,536 bytes"):
        read_scores(tmp_path / "s.csv", FACES)
    (tmp_path / "s.csv").write_text("name,a\n" + '"' + ("x" * 60_000 + "\n") * 3 + '",1\n')
    with pytest.raises(VlrfaceError, match="not a table"):
        read_scores(tmp_path / "s.csv", FACES)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120) | st.text(alphabet='name,q01.\n"\r\\/x', max_size=120).map(str.encode))
def test_no_bytes_do_worse_than_our_own_error(tmp_path, content):
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    try:
        read_scores(path, made_faces(1, 0, 0))
    except VlrfaceError as error:
        assert str(path) in str(error)  # noqa: PT017 (most inputs are refused, some are not)


# Either kind of file


def test_a_faces_file_gives_its_norm_or_a_measure(tmp_path):
    other = dataclasses.replace(FACES, measures={"brisque": np.arange(9.0)})
    other.save(tmp_path / "o.npz")
    for text, expected in (
        ("a=o.npz:norm", norms(other)),
        ("a=o.npz:-brisque", -np.arange(9.0)),
        ("a=o.npz:recognizability", other.recognizability),
    ):
        request = parse_measure(text)
        assert request.path is not None
        request = dataclasses.replace(request, path=tmp_path / request.path)
        np.testing.assert_allclose(from_file(request, FACES), expected)
    with pytest.raises(VlrfaceError, match=r"say which measure, a=.*:COLUMN, of norm, recognizability, brisque"):
        from_file(MeasureRequest("a", tmp_path / "o.npz"), FACES)
    with pytest.raises(VlrfaceError, match=r"no such file"):
        from_file(MeasureRequest("a", tmp_path / "missing.npz", "norm"), FACES)


def test_a_table_goes_the_same_way_and_a_built_in_does_not(tmp_path):
    table(tmp_path / "s.csv")
    assert from_file(MeasureRequest("a", tmp_path / "s.csv", "-quality"), FACES)[:7].tolist() == (-SCORES).tolist()
    with pytest.raises(VlrfaceError, match="no measure from a file"):
        from_file(MeasureRequest("size"), FACES)
