import os
import pickle
from pathlib import Path

import pytest

from vlrface.data.packed import PackedFile
from vlrface.types import VlrfaceError


def test_a_file_as_it_was_found(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    found = pickle.loads(pickle.dumps(PackedFile.found(path)))
    assert found.size == 3
    with found.opened() as file:
        assert file.read() == b"abc"
    os.utime(path, ns=(5, 5))
    with pytest.raises(VlrfaceError, match="changed since it was opened"), found.opened():
        pytest.fail("opened")
    path.unlink()
    with pytest.raises(VlrfaceError, match=r"x: cannot be read \(No such file"), found.opened():
        pytest.fail("opened")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    for name, reason in (("nowhere", "no such file"), ("", "not a regular file"), ("pipe", "not a regular file")):
        with pytest.raises(VlrfaceError, match=f"{reason}. Give the path"):
            PackedFile.found(tmp_path / name)


def test_a_failure_while_reading_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    with pytest.raises(VlrfaceError, match="cannot be read"), PackedFile.found(path).opened():
        raise OSError(5, "Input/output error")
