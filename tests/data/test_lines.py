from pathlib import Path

import pytest

from vlrface.data import lines
from vlrface.data.lines import text_array, text_lines
from vlrface.types import VlrfaceError


def read(path: Path, data: bytes, **limits: int) -> list[tuple[int, str]]:
    path.write_bytes(data)
    return list(text_lines(path, **{"max_bytes": 100, "max_line": 10} | limits))


def test_lines_keep_their_ends_and_lose_the_mark(tmp_path: Path) -> None:
    assert read(tmp_path / "x", b"") == []
    assert read(tmp_path / "x", b"\xef\xbb\xbfa\r\n\n\xef\xbb\xbfb") == [(1, "a\r\n"), (2, "\n"), (3, "\ufeffb")]


def test_limits_hold_to_the_byte(tmp_path: Path) -> None:
    assert read(tmp_path / "x", b"123456789\n1234567890") == [(1, "123456789\n"), (2, "1234567890")]
    with pytest.raises(VlrfaceError, match=r"x: line 2: longer than 10 bytes"):
        read(tmp_path / "x", b"1\n1234567890\n")
    assert len(read(tmp_path / "x", b"12345678\n1", max_bytes=10)) == 2
    with pytest.raises(VlrfaceError, match=r"x: 11 bytes are more than 10"):
        read(tmp_path / "x", b"12345678\n12", max_bytes=10)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(VlrfaceError, match=r"x: line 2: not UTF-8 text \(unexpected end of data\)\. Save it as UTF-8"):
        read(tmp_path / "x", b"a\n\xc3")


def test_room_of_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert text_array(["a", "bcd"], "list").tolist() == ["a", "bcd"]
    assert text_array([], "list").dtype.kind == "U"
    monkeypatch.setattr(lines, "_MAX_ARRAY_BYTES", 23)
    with pytest.raises(VlrfaceError, match="list: 2 entries of up to 3 characters need more than 23 bytes"):
        text_array(["a", "bcd"], "list")
