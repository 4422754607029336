import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlrface.npz import read_arrays

ARRAYS: dict[str, Any] = {
    "a": np.arange(6.0).reshape(2, 3),
    "f": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "big": np.array([1, 2], ">u4"),
    "text": np.array(["é", "", "abc"]),
    "swapped": np.array(["é", "abc"], ">U3"),
    "truth": np.array([True, False]),
    "single": np.array("x"),
    "none": np.zeros((0, 4), np.float32),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_agrees_with_numpy(save: Any, tmp_path: Path) -> None:
    save(tmp_path / "x.npz", **ARRAYS)
    found = read_arrays(tmp_path / "x.npz")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        assert found[name].flags.writeable


def _file(path: Path, member: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", member)
    return path


def _member(array: Any, old: bytes = b"", new: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue().replace(old, new) if old else buffer.getvalue()


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (b"", "is no array"),
        (_member(np.zeros(3), b"(3,)", b"(4,)"), "does not have the bytes"),
        (_member(np.zeros(3), b"(3,), }     ", b"(99999999), }"), "does not have the bytes|no plain array"),
        (_member(np.zeros(3), b"<f8", b"|O8"), "no plain array"),
        (_member(np.zeros(3), b"{'descr'", b"{{{{descr"), "no plain array"),
        (_member(np.zeros(3)) + b"x", "does not have the bytes"),
        (_member(np.array(["ab"]))[:-1] + b"\xff", "no character"),
        (_member(np.array([True]))[:-1] + b"\x02", "no truth value"),
        (_member(np.zeros(3, [("a", "f4")])), "no plain array"),
    ],
)
def test_what_is_refused(member: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_arrays(_file(tmp_path / "x.npz", member))
