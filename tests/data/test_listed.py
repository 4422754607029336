import os
import posixpath
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vlrface.data.listed import (
    below,
    compared,
    first_twice,
    missing_below,
    name_inside,
    part,
    path_inside,
    refuse_missing,
    texts,
    whole_numbers,
)
from vlrface.types import VlrfaceError

Picture = Callable[..., Path]


@pytest.mark.parametrize(
    ("entry", "plain"),
    [
        ("a.jpg", "a.jpg"),
        ("person/a.jpg", "person/a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("x/../a.jpg", "a.jpg"),
        ("x//y/./a.jpg", "x/y/a.jpg"),
        ("..a.jpg", "..a.jpg"),
        ("a..", "a.."),
        ("ü/€.jpg", "ü/€.jpg"),
        (" a b.jpg", " a b.jpg"),
        ("~/a.jpg", "~/a.jpg"),
        ("12:30.jpg", "12:30.jpg"),
    ],
)
def test_paths_inside(entry: str, plain: str) -> None:
    assert path_inside(entry, "list") == plain


OUTSIDE = [
    "..", "../..", "../../x", "../x.jpg", "a/../../x", "x/../..", "/etc/hostname", "//host/share", "/", "C:\\x.jpg",
    "c:/x.jpg", "C:x.jpg", "\\x.jpg", "\\\\host\\share\\x.jpg", "..\\..\\x", "a\\..\\..\\x", "./../x",
]  # fmt: skip
NO_NAMES = [
    "", ".", "./", "a/..", "a/", "a/.", "a/b/", "a\0.jpg", "a.jpg\0", "\0", "a\\b.jpg", "a\n.jpg", "\x1b[2J", "\x7f",
    "\ud800.jpg",
]  # fmt: skip


@pytest.mark.parametrize("check", [path_inside, name_inside])
@pytest.mark.parametrize("entry", OUTSIDE)
def test_what_points_outside(entry: str, check: Callable[[str, str], str]) -> None:
    with pytest.raises(VlrfaceError, match=r"some list: .* points outside its root\."):
        check(entry, "some list")


@pytest.mark.parametrize("check", [path_inside, name_inside])
@pytest.mark.parametrize("entry", NO_NAMES)
def test_what_is_no_name(entry: str, check: Callable[[str, str], str]) -> None:
    with pytest.raises(VlrfaceError, match=r"some list: .* is not a file name\.") as info:
        check(entry, "some list")
    assert str(info.value).isprintable()


@pytest.mark.parametrize("entry", ["a/b.jpg", "./a.jpg", "x/../a.jpg"])
def test_names_have_no_folders(entry: str) -> None:
    with pytest.raises(VlrfaceError, match="is not a file name"):
        name_inside(entry, "list")


@pytest.mark.parametrize("entry", ["../" + "x" * 4000, "x" * 5000, "../" * 2000])
@pytest.mark.parametrize("check", [path_inside, name_inside])
def test_long_entries_are_cut_in_messages(entry: str, check: Callable[[str, str], str]) -> None:
    with pytest.raises(VlrfaceError) as info:
        check(entry, "list")
    assert len(str(info.value)) < 200


def test_lengths_are_bounded() -> None:
    # numpy gives every name the room of the longest: without a bound one name would fill the memory.
    assert path_inside("x" * 4096, "list")
    assert name_inside("ü" * 255, "list")
    with pytest.raises(VlrfaceError, match=r"list: 'x+'\.\.\. is not a file name, it is too long"):
        name_inside("x" * 256, "list")
    with pytest.raises(VlrfaceError, match=r"x\.\.\.' is not a file name, it is too long"):
        path_inside("x" * 4097, "list")


pieces = st.sampled_from(["..", ".", "/", "\\", "a", "C:", "", "\0", "x.jpg", "~", " "])


@given(st.one_of(st.text(max_size=20), st.lists(pieces, max_size=8).map("".join)))
@example("a/../..//../x")
def test_what_is_accepted_lies_below_the_root(entry: str) -> None:
    root = "/data/set"
    try:
        plain = path_inside(entry, "list")
    except VlrfaceError:
        return
    resolved = os.path.normpath(os.path.join(root, entry))
    assert resolved.startswith(root + "/")
    assert resolved == posixpath.join(root, plain)
    assert not {"\\", "\0"} & set(entry)


def test_first_twice() -> None:
    assert first_twice(["b", "a", "c", "b", "a"]) == "a"
    assert first_twice(["b", "a"]) is None
    assert first_twice([]) is None


def test_missing_files_are_refused_or_allowed() -> None:
    missing = [f"x/{i:02}.jpg" for i in range(12)]
    refuse_missing(Path("set"), [], False)
    refuse_missing(Path("set"), missing, True)
    with pytest.raises(VlrfaceError, match=r"^set: 12 files named by the lists are not on disk, first:") as info:
        refuse_missing(Path("set"), missing, False)
    assert str(info.value).count(".jpg") == 10


def test_missing_below(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jpg", "p/1.jpg", "p/2.jpg", "q/r/1.jpg"):
        picture(tmp_path / name)
    (tmp_path / "p/3.jpg").mkdir()
    (tmp_path / "p/4.jpg").symlink_to(tmp_path / "nowhere")
    sources = ["a.jpg", "p/2.jpg", "p/3.jpg", "b.jpg", "p/4.jpg", "q/r/1.jpg", "none/1.jpg", "a.jpg/x.jpg"]
    assert missing_below(tmp_path, sources) == ["p/3.jpg", "b.jpg", "p/4.jpg", "none/1.jpg", "a.jpg/x.jpg"]
    listed: list[str] = []
    original = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or original(path))
    assert missing_below(tmp_path, ["p/1.jpg", "p/2.jpg"] * 5) == []
    assert len(listed) == 1


def test_lists_and_folders(tmp_path: Path, picture: Picture) -> None:
    for name in ("b.jpg", "a.jpg", "._a.jpg"):
        picture(tmp_path / "set/faces" / name)
    (tmp_path / "set/faces/readme.txt").write_text("x")
    folder = tmp_path / "set/faces"
    assert compared(folder, ["c.jpg", "b.jpg", "d.jpg"]) == (["c.jpg", "d.jpg"], ["a.jpg"])
    assert compared(folder, ["readme.txt"]) == ([], ["a.jpg", "b.jpg"])
    assert below(tmp_path, folder, ["x.jpg"]) == ["set/faces/x.jpg"]


def test_parts_are_found_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "training_set").mkdir()
    (tmp_path / "TESTING_SET").write_text("a file")
    assert part(tmp_path, "Training_Set").name == "training_set"
    with pytest.raises(VlrfaceError, match=r"no folder Testing_Set\. Give the folder that holds it"):
        part(tmp_path, "Testing_Set")
    with pytest.raises(VlrfaceError, match="no folder x"):
        part(tmp_path / "nowhere", "x")
    (tmp_path / "TRAINING_SET").mkdir()
    with pytest.raises(VlrfaceError, match="TRAINING_SET and training_set are both Training_Set"):
        part(tmp_path, "Training_Set")
    assert part(tmp_path, "TRAINING_SET").name == "TRAINING_SET"


def _cells(*values: object, shape: tuple[int, ...] = (-1, 1)) -> np.ndarray:
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells.reshape(shape)


def test_texts() -> None:
    one, two, three, four = (np.array([each]) for each in ("a ", "b", " c", "d"))
    assert texts(_cells(one, two), "x") == ["a", "b"]
    assert texts(_cells(one, two, three, four, shape=(2, 2)), "x") == ["a", " c", "b", "d"]
    assert texts(np.array(["ab  ", "abcd"]), "x") == ["ab", "abcd"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (_cells(), "list: the list is empty"),
        (np.empty(0, np.str_), "list: the list is empty"),
        (_cells(np.array(["a"]), np.array(["b", "c"])), "list: entry 2 is not one text"),
        (_cells(np.empty((0, 0))), "entry 1 is not one text"),
        (_cells(np.array([[5.0]])), "entry 1 is not one text"),
        (_cells(_cells(np.array(["a"]))), "entry 1 is not one text"),
        (np.array([[1.0]]), "entry 1 is not one text"),
    ],
)
def test_what_is_no_text(value: np.ndarray, message: str) -> None:
    with pytest.raises(VlrfaceError, match=message):
        texts(value, "list")


@pytest.mark.parametrize("kind", ["u1", "i2", "f4", "f8", "i8", "u8"])
def test_whole_numbers(kind: str) -> None:
    found = whole_numbers(np.array([[3], [0], [200 if kind != "i1" else 7]], kind), "x")
    assert found.dtype == np.int64
    assert found.tolist() == [3, 0, 200]


@pytest.mark.parametrize(
    "value", [np.array([1.5]), np.array([-1]), np.array([np.nan]), np.array([np.inf]), np.array(["7"]), _cells(1),
              np.array([2**63], np.uint64), np.array([1e300]), np.array([1j])]
)  # fmt: skip
def test_what_is_no_whole_number(value: np.ndarray) -> None:
    with pytest.raises(VlrfaceError, match="list: identities must be whole numbers"):
        whole_numbers(value, "list")


def test_names_that_no_system_can_have_are_missing(tmp_path: Path) -> None:
    long = "a" * 300 + "/b.jpg"
    assert missing_below(tmp_path, [long, "c/" * 2000 + "d.jpg"]) == [long, "c/" * 2000 + "d.jpg"]
    with pytest.raises(VlrfaceError, match="no folder x"):
        part(tmp_path, "x" * 300)
    with pytest.raises(VlrfaceError, match="no folder Probe"):
        part(tmp_path / ("x" * 300), "Probe")
