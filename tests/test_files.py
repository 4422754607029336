import errno
import os
import resource
import stat
import threading
from pathlib import Path

import pytest

from vlrface.files import written_atomically


def _names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_writes_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "values.json"
    with written_atomically(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".json"
        assert temporary != path
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert _names(path.parent) == ["values.json"]


def test_old_content_stays_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with written_atomically(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def _write_and_raise(path: Path, error: BaseException) -> None:
    with written_atomically(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_failure_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(type(error)):
        _write_and_raise(path, error)
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["x.txt"]


def test_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with (
            pytest.raises(OSError, match=r"cannot write .*x\.bin: File too large\. Free space") as info,
            written_atomically(path) as temporary,
        ):
            temporary.write_bytes(bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert info.value.errno == errno.EFBIG
    assert _names(tmp_path) == []


def test_place_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"cannot write .*y\.txt"), written_atomically(tmp_path / "file" / "y.txt"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*folder"), written_atomically(tmp_path / "folder") as temporary:
        temporary.write_text("x")
    assert _names(tmp_path) == ["file", "folder"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with written_atomically(tmp_path / "x") as temporary:
            temporary.write_text("x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_private_file_is_private_from_the_first_byte_on(tmp_path: Path) -> None:
    with written_atomically(tmp_path / "x", mode=0o600) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        temporary.write_text("x")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600


def test_several_writers_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"

    def write(letter: str) -> None:
        for _ in range(20):
            with written_atomically(path) as temporary:
                temporary.write_text(letter * 10_000)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "abc"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            assert len(set(path.read_text())) == 1
    for writer in writers:
        writer.join()
    assert path.stat().st_size == 10_000
    assert _names(tmp_path) == ["x.txt"]
