import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import matfiles as mf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from vlrface.data.mat import parse_mat, read_mat
from vlrface.types import VlrfaceError

NAMES = ["b_2.jpg", "a_1.jpg", "long name, with blanks .JPEG", "ü.jpg"]


def _cells(values: list[Any], shape: tuple[int, ...] = (-1, 1)) -> np.ndarray:
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells.reshape(shape)


def _written(variables: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, variables, **options)
    return file.getvalue()


def _agree(ours: Any, theirs: Any) -> None:
    assert type(ours) is type(theirs) is np.ndarray
    assert ours.shape == theirs.shape
    assert ours.dtype.kind == theirs.dtype.kind
    if ours.dtype.kind == "O":
        for one, other in zip(ours.ravel(), theirs.ravel(), strict=True):
            _agree(one, other)
    else:
        np.testing.assert_array_equal(ours, theirs)


def _agrees_with_scipy(data: bytes) -> dict[str, np.ndarray]:
    ours = parse_mat(data, "list.mat")
    theirs = {name: value for name, value in loadmat(io.BytesIO(data)).items() if not name.startswith("__")}
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        _agree(value, theirs[name])
    return ours


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("oned_as", ["row", "column"])
@pytest.mark.parametrize(
    "value",
    [
        _cells(NAMES),
        _cells(NAMES, (1, -1)),
        _cells(NAMES, (2, 2)),
        _cells(NAMES[:1]),
        _cells([]),
        _cells([_cells(["x", "y"]), "z", np.arange(3), ""]),
        np.array(NAMES, object),
        np.array(NAMES),
        np.array(["same", "size"]),
        np.array([["ab", "c"], ["d", "efg"]])[0],
        "one.jpg",
        "",
        "two\u4e00\u20ac",
        np.arange(5),
        np.arange(6.0).reshape(2, 3),
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        np.array([[-(2**62)], [2**62]]),
        np.array([2**63], np.uint64),
        np.array([1.5, np.nan, np.inf], np.float32),
        np.zeros((0, 3)),
        7,
        *(np.arange(3).astype(kind) for kind in ("i1", "i2", "u2", "i4", "u4", "i8", ">i4", ">f8")),
    ],
)
def test_reads_what_scipy_writes_as_scipy_reads_it(value: Any, oned_as: str, compress: bool) -> None:
    found = _agrees_with_scipy(_written({"one": value, "other": 1}, oned_as=oned_as, do_compression=compress))
    assert list(found) == ["one", "other"]


# Without NUL: scipy's writer makes it a blank or drops it.
texts = st.text(
    st.characters(min_codepoint=1, max_codepoint=0xFFFF, exclude_categories=["Cs"]), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=1, max_size=9), st.lists(st.integers(-(2**63), 2**63 - 1)), st.booleans())
def test_any_texts_and_numbers(names: list[str], numbers: list[int], compress: bool) -> None:
    variables = {"names": _cells(names), "numbers": np.array(numbers, np.int64), "matrix": np.array(names)}
    found = _agrees_with_scipy(_written(variables, do_compression=compress))
    assert [cell.item() for cell in found["names"].ravel()] == names
    assert found["numbers"].ravel().tolist() == numbers


@pytest.mark.parametrize("mark", ["<", ">"])
@pytest.mark.parametrize("compress", [False, True])
def test_both_byte_orders(mark: str, compress: bool) -> None:
    variables = [
        mf.cells([mf.text(name, mark=mark) for name in NAMES], name="gallery_set", mark=mark, shape=(2, 2)),
        mf.doubles([1, 2, 30], name="gallery_ids", mark=mark),
    ]
    data = mf.header(mark) + b"".join(mf.compressed(v, mark) if compress else v for v in variables)
    found = parse_mat(data, "x")
    # scipy, unless told otherwise, cuts 16-bit characters to 8 bits: it loses the umlaut that MATLAB wrote.
    _agree(found["gallery_set"][:, 0], loadmat(io.BytesIO(data))["gallery_set"][:, 0])
    _agree(found["gallery_ids"], loadmat(io.BytesIO(data))["gallery_ids"])
    assert [[cell.item() for cell in row] for row in found["gallery_set"]] == [NAMES[::2], NAMES[1::2]]
    assert found["gallery_ids"].dtype == np.float64
    assert found["gallery_ids"].tolist() == [[1.0], [2.0], [30.0]]


@pytest.mark.parametrize("mark", ["<", ">"])
def test_short_elements(mark: str) -> None:
    numbers = mf.array(mf.DOUBLE, (1, 3), mf.short(mf.UINT8, b"\1\2\3", mark), name="ids", mark=mark)
    letters = mf.array(mf.CHAR, (1, 2), mf.short(mf.UTF8, b"ok", mark), name="word", mark=mark)
    found = _agrees_with_scipy(mf.header(mark) + numbers + letters)
    assert found["ids"].tolist() == [[1, 2, 3]]
    assert found["word"].tolist() == ["ok"]


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [(mf.UTF8, "utf-8"), (mf.UTF16, "utf-16-le"), (mf.UTF32, "utf-32-le"), (mf.UINT16, "utf-16-le")],
)
def test_encodings_of_text(kind: int, encoding: str) -> None:
    data = mf.array(mf.CHAR, (2, 2), mf.element(kind, "aäbß".encode(encoding)), name="x")
    assert parse_mat(mf.header() + data, "x")["x"].tolist() == ["ab", "äß"]


@pytest.mark.parametrize(("kind", "encoding"), [(mf.UTF8, "utf-8"), (mf.UINT16, "utf-16-le")])
def test_a_character_that_matlab_counts_twice(kind: int, encoding: str) -> None:
    data = mf.array(mf.CHAR, (1, 4), mf.element(kind, "a\U0001f600b".encode(encoding)), name="x")
    assert parse_mat(mf.header() + data, "x")["x"].tolist() == ["a\U0001f600b"]


def test_cells_never_filled_and_a_variable_without_name() -> None:
    cells = mf.cells([mf.element(mf.MATRIX, b""), mf.text("a")], name="x")
    unnamed = mf.array(mf.UINT8_CLASS, (1, 3), mf.element(mf.UINT8, b"abc"))
    found = parse_mat(mf.header() + cells + unnamed, "x")
    assert list(found) == ["x"]
    assert found["x"][0, 0].size == 0
    assert found["x"][1, 0].item() == "a"


def test_results_do_not_hold_the_file_and_can_be_written_to() -> None:
    found = parse_mat(_written({"x": np.arange(3)}), "x")["x"]
    found += 1
    assert found.tolist() == [[1, 2, 3]]


def _number(value: int, name: str = "x") -> bytes:
    return mf.doubles([value], name=name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no header of MATLAB 5"),
        (b"positive pairs\n1 2\n" * 20, "no header of MATLAB 5"),
        (struct.pack("<5i", 0, 1, 1, 0, 2) + b"x\0" + bytes(200), "perhaps of MATLAB 4"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + b"\x89HDF\r\n\x1a\n" + bytes(400), "7.3 file, which is HDF5"),
        (b"\x89HDF\r\n\x1a\n" + bytes(400), "7.3 file, which is HDF5"),
        (mf.header(version=0x0200), "7.3, which is HDF5"),
        (mf.header(version=0x0300), "version 0x0300"),
        (mf.header() + bytes(7), "ends early"),
        (mf.header() + mf.element(mf.INT32, bytes(8)), "type 5 where a variable"),
        (mf.header() + _number(1)[:-4], "an element of 64 bytes where 60 are left"),
        (mf.header() + _number(1) + _number(2), "a second variable 'x'"),
        (mf.header() + _number(1, name="x\x1b[2J"), "a variable 'x"),
        (mf.header() + _number(1, name="ü"), "ascii"),
        (mf.header() + mf.array(2, (1, 1), b"", name="x"), "a structure"),
        (mf.header() + mf.array(5, (1, 1), b"", name="x"), "a sparse array"),
        (mf.header() + mf.array(17, (1, 1), b"", name="x"), "cellstr"),
        (mf.header() + mf.array(99, (1, 1), b"", name="x"), "unknown class 99"),
        (mf.header() + mf.array(mf.DOUBLE, (1, 1), b"", flags=0x800), "complex numbers"),
        (mf.header() + mf.array(mf.DOUBLE, (1,), b""), "without dimensions"),
        (mf.header() + mf.array(mf.DOUBLE, (1,) * 33, b""), "without dimensions"),
        (mf.header() + mf.array(mf.DOUBLE, (-1, 1), b""), "-1 x 1 values"),
        (mf.header() + mf.array(mf.DOUBLE, (1, 2), mf.element(mf.DOUBLES, bytes(8))), "2 numbers in 8 bytes"),
        (mf.header() + mf.array(mf.DOUBLE, (1, 1), mf.element(mf.UTF8, bytes(8))), "numbers stored as data of type 16"),
        (mf.header() + mf.array(mf.CHAR, (1, 1), mf.element(mf.DOUBLES, bytes(8))), "characters stored as data"),
        (mf.header() + mf.array(mf.CHAR, (1, 3), mf.element(mf.UTF8, b"ab")), "2 characters in an array of 1 x 3"),
        (mf.header() + mf.array(mf.CHAR, (1, 2), mf.element(mf.UTF8, b"\xff\xff")), "utf-8"),
        (mf.header() + mf.array(mf.CHAR, (1, 1), mf.element(mf.UINT16, b"\0\xd8")), "utf-16"),
        (mf.header() + mf.array(mf.CHAR, (1, 1, 1), mf.element(mf.UTF8, b"a")), "3 dimensions"),
        (mf.header() + mf.cells([mf.element(mf.UTF8, b"a")]), "a cell that holds data of type 16"),
        (mf.header() + mf.element(mf.MATRIX, mf.element(mf.INT8, b"a")), "without flags"),
        (mf.header() + mf.compressed(_number(1))[:-3], "an element of"),
        (mf.header() + mf.element(mf.COMPRESSED, b"not zlib"), "Error -3"),
        (mf.header() + mf.element(mf.COMPRESSED, zlib.compress(_number(1))[:-6]), "ends early"),
        (mf.header() + mf.compressed(b""), "ends early"),
        (mf.header() + mf.compressed(mf.compressed(_number(1))), "type 15 where a variable"),
    ],
)
def test_unusable_files(content: bytes, reason: str) -> None:
    with pytest.raises(VlrfaceError, match=r"list\.mat: not a MATLAB file .* save\(\.\.\., '-v7'\)") as info:
        parse_mat(content, "list.mat")
    assert reason in str(info.value)


def test_nesting_is_bounded() -> None:
    nested = mf.text("deep")
    for _ in range(8):
        nested = mf.cells([nested])
    assert parse_mat(mf.header() + nested, "x") == {}
    for _ in range(2000):
        nested = mf.cells([nested])
    with pytest.raises(VlrfaceError, match="more than 8 deep"):
        parse_mat(mf.header() + nested, "x")


@pytest.mark.parametrize("shape", [(2**31 - 1, 1), (2**15, 2**15), (2**31 - 1, 2**31 - 1), (0, 2**31 - 1), (2**20, 0)])
@pytest.mark.parametrize("array_class", [mf.CELL, mf.CHAR, mf.DOUBLE])
def test_giant_dimensions_allocate_nothing(array_class: int, shape: tuple[int, int]) -> None:
    data = mf.header() + mf.array(array_class, shape, mf.element(mf.UINT8, b"abc"), name="x")
    tracemalloc.start()
    try:
        found = parse_mat(data, "x")
        assert found["x"].size == 0  # an empty array is one, however long its other side
    except VlrfaceError:
        assert array_class == mf.DOUBLE or shape != (2**20, 0)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20


def test_what_unpacks_to_too_much_is_stopped_on_the_way() -> None:
    bomb = mf.header() + mf.compressed(mf.element(mf.MATRIX, bytes(64 * 2**20)))
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(VlrfaceError, match="unpacks to more"):
            parse_mat(bomb, "x", max_bytes=2**20)
        assert tracemalloc.get_traced_memory()[1] < 3 * 2**20
    finally:
        tracemalloc.stop()


def test_the_cap_counts_all_variables_together() -> None:
    data = mf.header() + b"".join(
        mf.compressed(mf.array(mf.DOUBLE, (1, 50_000), mf.element(mf.UINT8, bytes(50_000)), name=f"x{i}"))
        for i in range(9)
    )
    assert len(parse_mat(data, "x", max_bytes=2**20)) == 9
    with pytest.raises(VlrfaceError, match="unpacks to more"):
        parse_mat(data, "x", max_bytes=2**19)


def test_many_cells_of_nothing_are_counted() -> None:
    data = mf.header() + mf.compressed(mf.cells([mf.element(mf.MATRIX, b"")] * 10_000, name="x"))
    assert parse_mat(data, "x", max_bytes=4 * 2**20)["x"].size == 10_000
    with pytest.raises(VlrfaceError, match="unpacks to more"):
        parse_mat(data, "x", max_bytes=2**20)


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "list.mat"
    with pytest.raises(VlrfaceError, match=r"list\.mat: no such list"):
        read_mat(file)
    file.write_bytes(_written({"x": np.arange(50_000)}))
    assert read_mat(file)["x"].size == 50_000
    with pytest.raises(VlrfaceError, match="larger than 1,000 bytes"):
        read_mat(file, max_bytes=1000)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VlrfaceError, match="pipe: no such list"):
        read_mat(tmp_path / "pipe")
    with pytest.raises(VlrfaceError, match="no such list"):
        read_mat(tmp_path)


BASES = [
    mf.cells([mf.text(name) for name in NAMES], name="names") + mf.doubles([1, 2, 3], name="ids"),
    mf.cells([mf.text(name, mark=">") for name in NAMES], name="names", mark=">"),
    mf.array(mf.CHAR, (3, 2), mf.element(mf.UTF8, b"abcdef"), name="matrix")
    + mf.array(mf.UINT8_CLASS, (1, 2), mf.short(mf.UINT8, b"\1\2"), name="few")
    + mf.cells([mf.cells([mf.text("x")]), mf.element(mf.MATRIX, b"")], name="nested"),
]


def _bounded(data: bytes) -> None:
    """Reads or raises the project's own error, and takes no more memory than a few times the cap."""
    cap = 2**16
    tracemalloc.start()
    try:
        parse_mat(data, "x", max_bytes=cap)
    except VlrfaceError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 6 * cap


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 2**16), st.binary(min_size=1, max_size=4)), max_size=4))
def test_changed_bytes(base: int, changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(BASES[base])
    for at, value in changes:
        at %= len(content)
        content[at : at + len(value)] = value
    mark = ">" if base == 1 else "<"
    _bounded(mf.header(mark) + bytes(content))
    _bounded(mf.header(mark) + mf.compressed(bytes(content), mark))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2), st.integers(0, 600), st.sampled_from([0, 1, 4, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF]))
def test_every_size_field_may_lie(base: int, at: int, size: int) -> None:
    mark = ">" if base == 1 else "<"
    content = bytearray(BASES[base])
    at = at * 4 % len(content)
    content[at : at + 4] = struct.pack(mark + "I", size)
    _bounded(mf.header(mark) + bytes(content))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.booleans(), st.booleans())
def test_random_bytes(content: bytes, with_header: bool, packed: bool) -> None:
    content = mf.compressed(content) if packed else content
    _bounded((mf.header() if with_header else b"") + content)


@pytest.mark.parametrize("base", range(3))
@pytest.mark.parametrize("compress", [False, True])
def test_each_truncation(base: int, compress: bool) -> None:
    mark = ">" if base == 1 else "<"
    whole = mf.header(mark) + (mf.compressed(BASES[base], mark) if compress else BASES[base])
    if not compress:
        parse_mat(whole, "x")
    for length in range(128 + 1, len(whole)):
        try:
            found = parse_mat(whole[:length], "x")
        except VlrfaceError:
            continue
        assert found  # cut exactly between two variables
        assert not compress


def test_a_list_of_published_length_is_read_in_moments(tmp_path: Path) -> None:
    file = tmp_path / "list.mat"
    file.write_bytes(_written({"s": _cells([f"{i}_cam1_{i}.jpg" for i in range(60_423)])}, do_compression=True))
    # In a process of its own: here the types of all calls are checked, which takes longer than reading.
    script = (
        "import sys, time; from pathlib import Path; from vlrface.data.mat import read_mat\n"
        "begin = time.perf_counter(); found = read_mat(Path(sys.argv[1]))\n"
        "print(found['s'].size, time.perf_counter() - begin)"
    )
    done = subprocess.run([sys.executable, "-c", script, file], capture_output=True, text=True, check=True)
    size, seconds = done.stdout.split()
    assert int(size) == 60_423
    assert float(seconds) < 5  # 0.35 where nothing else runs


@pytest.mark.real
def test_real_lists(real_data: Path) -> None:
    files = sorted((real_data / "lfw-vlr").rglob("*.mat"))
    assert len(files) == 6
    for file in files:
        assert _agrees_with_scipy(file.read_bytes()).keys() == read_mat(file).keys()
