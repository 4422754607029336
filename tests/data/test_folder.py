import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vlrface.data.folder import file_names, is_image_name, read_identity_folder, read_images
from vlrface.types import VlrfaceError

Picture = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("a.jpg", True),
        ("a.JPEG", True),
        ("a.b.png", True),
        ("a.webp", True),
        ("a", False),
        ("jpg", False),
        ("a.txt", False),
        (".jpg", False),
        ("._a.jpg", False),
    ],
)
def test_image_names(name: str, taken: bool) -> None:
    assert is_image_name(name) is taken


def test_numeric_identities_are_kept_in_numeric_order(tmp_path: Path, picture: Picture) -> None:
    for name in ("10/b.jpg", "10/a.PNG", "9/x.jpg", "007/x.jpg"):
        picture(tmp_path / name)
    m = read_identity_folder(tmp_path, split="dev")
    assert m.sources.tolist() == ["007/x.jpg", "9/x.jpg", "10/a.PNG", "10/b.jpg"]
    assert m.identities.tolist() == [7, 9, 10, 10]
    assert m.splits.tolist() == ["dev"] * 4
    assert m.path(0) == tmp_path / "007/x.jpg"


def test_named_identities_count_the_sorted_folders(tmp_path: Path, picture: Picture) -> None:
    for name in ("zoe/1.jpg", "ann/1.jpg", "12/1.jpg", "ann/2.jpg"):
        picture(tmp_path / name)
    m = read_identity_folder(tmp_path)
    assert m.sources.tolist() == ["12/1.jpg", "ann/1.jpg", "ann/2.jpg", "zoe/1.jpg"]
    assert m.identities.tolist() == [0, 1, 1, 2]


def test_numbers_beyond_64_bits_are_names(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / f"{2**63}/1.jpg")
    picture(tmp_path / "5/1.jpg")
    m = read_identity_folder(tmp_path)
    assert m.sources.tolist() == ["5/1.jpg", f"{2**63}/1.jpg"]
    assert m.identities.tolist() == [0, 1]


def test_what_is_no_identity_or_image_is_left_alone(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "1/a.jpg")
    picture(tmp_path / "stray.jpg")
    picture(tmp_path / "1/deeper/a.jpg")
    picture(tmp_path / "1/._a.jpg")
    picture(tmp_path / ".cache/a.jpg")
    (tmp_path / "1/notes.txt").write_text("x")
    (tmp_path / "2").mkdir()
    assert read_identity_folder(tmp_path).sources.tolist() == ["1/a.jpg"]


def test_identity_folder_errors(tmp_path: Path, picture: Picture) -> None:
    with pytest.raises(VlrfaceError, match="nowhere: no such folder"):
        read_identity_folder(tmp_path / "nowhere")
    with pytest.raises(VlrfaceError, match=r"no image in 0 folders\. Expected one folder per person"):
        read_identity_folder(tmp_path)
    with pytest.raises(VlrfaceError, match=r"x\.jpg: cannot be listed"):
        read_identity_folder(picture(tmp_path / "x.jpg"))
    picture(tmp_path / "7/a.jpg")
    picture(tmp_path / "07/a.jpg")
    with pytest.raises(VlrfaceError, match="folders 07 and 7 are the same number"):
        read_identity_folder(tmp_path)


def test_listing_needs_no_stat(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "b.jpg")
    picture(tmp_path / "a.jpg")
    (tmp_path / "folder.jpg").mkdir()
    monkeypatch.setattr(os, "stat", lambda *_a, **_k: pytest.fail("a file was stat'ed"))
    assert file_names(tmp_path) == ["a.jpg", "b.jpg"]


def test_images_of_one_folder(tmp_path: Path, picture: Picture) -> None:
    for name in ("b.jpg", "a/2.jpg", "a/1.png", ".hidden/1.jpg", ".x.jpg", "a/readme.md"):
        picture(tmp_path / name)
    m = read_images([tmp_path])
    assert m.sources.tolist() == ["b.jpg", "a/1.png", "a/2.jpg"]
    assert m.root == tmp_path
    assert set(m.identities.tolist()) == {-1}
    assert set(m.splits.tolist()) == {"image"}
    assert all(m.path(i).is_file() for i in range(3))


def test_relative_folder_stays_relative(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "faces/1.jpg")
    monkeypatch.chdir(tmp_path)
    m = read_images([Path("faces")])
    assert m.path(0) == Path("faces/1.jpg")


def test_images_of_files_and_folders(tmp_path: Path, picture: Picture) -> None:
    for name in ("a/x.jpg", "b/x.jpg", "b/deep/y.jpg", "strange.bin"):
        picture(tmp_path / name)
    m = read_images([tmp_path / "strange.bin", tmp_path / "b", tmp_path / "a" / "x.jpg", tmp_path / "b" / "x.jpg"])
    assert m.root == tmp_path
    assert m.sources.tolist() == ["strange.bin", "b/x.jpg", "b/deep/y.jpg", "a/x.jpg"]


def test_single_file(tmp_path: Path, picture: Picture) -> None:
    m = read_images([picture(tmp_path / "one.jpg")])
    assert m.sources.tolist() == ["one.jpg"]
    assert m.path(0) == tmp_path / "one.jpg"


def test_links_to_folders_are_not_followed(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "a/x.jpg")
    (tmp_path / "a/loop").symlink_to(tmp_path / "a")
    assert read_images([tmp_path / "a"]).sources.tolist() == ["x.jpg"]


def test_images_errors(tmp_path: Path) -> None:
    with pytest.raises(VlrfaceError, match="nowhere: no such file or folder"):
        read_images([tmp_path / "nowhere"])
    with pytest.raises(VlrfaceError, match=r"no image found in .* Known endings: \.bmp"):
        read_images([tmp_path])
    with pytest.raises(VlrfaceError, match="no image found in nothing"):
        read_images([])


def test_a_link_to_itself_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"b")
    assert file_names(tmp_path) == ["b.jpg"]
    (tmp_path / "1").mkdir()
    (tmp_path / "1/c.jpg").write_bytes(b"c")
    assert read_identity_folder(tmp_path).sources.tolist() == ["1/c.jpg"]
