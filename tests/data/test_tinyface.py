import builtins
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from vlrface.data.tinyface import PUBLISHED, read_testing, read_training
from vlrface.types import VlrfaceError

Picture = Callable[..., Path]

GALLERY = ["a_1.jpg", "b_1.jpg", "c_1.jpg"]
GALLERY_IDS = [10, 20, 30]
PROBE = ["b_2.jpg", "a_1.jpg", "z_9.jpg", "a_3.jpg"]
PROBE_IDS = [20, 10, 99, 10]
GALLERY_LIST = "gallery_match_img_ID_pairs.mat"
PROBE_LIST = "probe_img_ID_pairs.mat"


def _cells(names: list[str], shape: tuple[int, ...] = (-1, 1)) -> np.ndarray:
    cells = np.empty(len(names), object)
    cells[:] = names
    return cells.reshape(shape)


@pytest.fixture
def root(tmp_path: Path, picture: Picture) -> Path:
    """Names that tell nothing of the identities, equal names in two folders, surplus files, odd files."""
    testing = tmp_path / "Testing_Set"
    for name in [*GALLERY, "surplus.jpg"]:
        picture(testing / "Gallery_Match" / name)
    for name in [*PROBE, "surplus_1.jpg", "surplus_2.jpg"]:
        picture(testing / "Probe" / name)
    for name in ("2.jpg", "a_1.jpg", "10.JPG"):
        picture(testing / "Gallery_Distractor" / name)
    for folder in ("Gallery_Match", "Probe", "Gallery_Distractor"):
        (testing / folder / "Thumbs.db").write_bytes(b"x")
        (testing / folder / "._a_1.jpg").write_bytes(b"x")
    savemat(testing / GALLERY_LIST, {"gallery_set": _cells(GALLERY), "gallery_ids": np.array([GALLERY_IDS]).T})
    savemat(testing / PROBE_LIST, {"probe_set": _cells(PROBE), "probe_ids": np.array([PROBE_IDS]).T})
    for name in ("5/5_0.jpg", "5/5_1.jpg", "30/x.jpg"):
        picture(tmp_path / "Training_Set" / name)
    return tmp_path


def test_lists_decide(root: Path) -> None:
    b = read_testing(root)
    m = b.manifest
    assert b.name == "tinyface"
    gallery, probe, distractor = m.split("gallery"), m.split("probe"), m.split("distractor")
    assert gallery.sources.tolist() == [f"Testing_Set/Gallery_Match/{n}" for n in GALLERY]
    assert gallery.identities.tolist() == GALLERY_IDS
    assert probe.sources.tolist() == [f"Testing_Set/Probe/{n}" for n in PROBE]
    assert probe.identities.tolist() == PROBE_IDS
    assert [os.path.basename(s) for s in distractor.sources.tolist()] == ["10.JPG", "2.jpg", "a_1.jpg"]
    assert distractor.identities.tolist() == [-100] * 3
    assert all(m.path(i).is_file() for i in range(len(m)))
    assert len(np.unique(m.sources)) == len(m)
    assert b.missing == ()
    assert b.surplus == (
        "Testing_Set/Gallery_Match/surplus.jpg",
        "Testing_Set/Probe/surplus_1.jpg",
        "Testing_Set/Probe/surplus_2.jpg",
    )
    assert b.counts == {
        "gallery": 3,
        "probe": 4,
        "distractor": 3,
        "gallery_identities": 3,
        "probe_identities": 3,
        "probe_without_mate": 1,
        "missing": 0,
        "surplus": 3,
    }
    assert b.published == PUBLISHED
    assert (PUBLISHED["gallery"], PUBLISHED["probe"], PUBLISHED["distractor"]) == (4443, 3728, 153428)
    assert (PUBLISHED["train_identities"], PUBLISHED["train_images"]) == (2570, 7804)


def test_training(root: Path) -> None:
    m = read_training(root)
    assert m.sources.tolist() == ["5/5_0.jpg", "5/5_1.jpg", "30/x.jpg"]
    assert m.identities.tolist() == [5, 5, 30]
    assert set(m.splits.tolist()) == {"train"}


@pytest.mark.parametrize(
    "variables",
    [
        {"gallery_set": _cells(GALLERY, (1, -1)), "gallery_ids": np.array([GALLERY_IDS])},
        {"gallery_set": _cells(GALLERY), "gallery_ids": np.array([GALLERY_IDS], np.float64).T},
        {"gallery_set": _cells(GALLERY), "gallery_ids": np.array([GALLERY_IDS], np.uint8).T},
        {"gallery_set": np.array(["a_1.jpg", "b_1.jpg", "c_1.jpg"]), "gallery_ids": np.array([GALLERY_IDS]).T},
    ],
    ids=["rows", "float", "uint8", "characters"],
)
def test_shapes_and_types_of_the_lists(root: Path, variables: dict[str, Any]) -> None:
    savemat(root / "Testing_Set" / GALLERY_LIST, variables)
    gallery = read_testing(root).manifest.split("gallery")
    assert [os.path.basename(s) for s in gallery.sources.tolist()] == GALLERY
    assert gallery.identities.tolist() == GALLERY_IDS


def test_character_matrix_padding_is_removed(root: Path, picture: Picture) -> None:
    picture(root / "Testing_Set/Gallery_Match/longer_name.jpg")
    names = np.array(["a_1.jpg", "longer_name.jpg"])
    savemat(root / "Testing_Set" / GALLERY_LIST, {"gallery_set": names, "gallery_ids": [10, 20]})
    assert read_testing(root).manifest.split("gallery").sources[0].endswith("/a_1.jpg")


@pytest.mark.parametrize("name", [_cells(["a_1.jpg"]), "a_1.jpg"], ids=["cell", "text"])
def test_single_entry(root: Path, name: Any) -> None:
    savemat(root / "Testing_Set" / GALLERY_LIST, {"gallery_set": name, "gallery_ids": 10})
    gallery = read_testing(root).manifest.split("gallery")
    assert gallery.sources.tolist() == ["Testing_Set/Gallery_Match/a_1.jpg"]
    assert gallery.identities.tolist() == [10]


def test_missing_files_are_an_error_that_lists_ten(root: Path) -> None:
    names = [f"gone_{i:02}.jpg" for i in range(12)]
    savemat(root / "Testing_Set" / PROBE_LIST, {"probe_set": _cells(names), "probe_ids": np.arange(12)})
    with pytest.raises(VlrfaceError, match="12 files named by the lists are not on disk") as info:
        read_testing(root)
    assert str(info.value).count("gone_") == 10
    assert "Probe/gone_09.jpg" in str(info.value)


def test_missing_files_can_be_allowed(root: Path) -> None:
    (root / "Testing_Set/Probe/a_3.jpg").unlink()
    (root / "Testing_Set/Gallery_Match/b_1.jpg").unlink()
    b = read_testing(root, allow_missing=True)
    assert b.missing == ("Testing_Set/Gallery_Match/b_1.jpg", "Testing_Set/Probe/a_3.jpg")
    assert b.counts["missing"] == 2
    assert len(b.manifest.split("probe")) == 4  # still there, and a miss later
    assert len(b.manifest.split("gallery")) == 3


def test_a_broken_link_is_missing(root: Path) -> None:
    file = root / "Testing_Set/Probe/a_3.jpg"
    file.unlink()
    file.symlink_to(root / "nowhere.jpg")
    with pytest.raises(VlrfaceError, match="1 files named"):
        read_testing(root)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"other": 1, "probe_ids": [1]}, "no variable 'probe_set'; there are: other, probe_ids"),
        ({"probe_set": _cells(["a_1.jpg"])}, "no variable 'probe_ids'"),
        ({"probe_set": _cells(["a_1.jpg"]), "probe_ids": [1, 2]}, "1 names but 2 identities"),
        ({"probe_set": _cells(["a_1.jpg"]), "probe_ids": [1.5]}, "whole numbers"),
        ({"probe_set": _cells(["a_1.jpg"]), "probe_ids": [-4]}, "whole numbers"),
        ({"probe_set": _cells(["a_1.jpg"]), "probe_ids": [np.nan]}, "whole numbers"),
        ({"probe_set": _cells(["a_1.jpg"]), "probe_ids": [np.inf]}, "whole numbers"),
        ({"probe_set": _cells(["a_1.jpg"]), "probe_ids": "x"}, "whole numbers"),
        ({"probe_set": np.arange(3), "probe_ids": [1, 2, 3]}, "entry 1 is not one text"),
        ({"probe_set": _cells([]), "probe_ids": []}, "list is empty"),
        ({"probe_set": _cells(["a_1.jpg"] * 2), "probe_ids": [1, 1]}, "a_1.jpg is listed more than once"),
        ({"probe_set": _cells(["../Gallery_Match/a_1.jpg"]), "probe_ids": [1]}, "points outside its root"),
        ({"probe_set": _cells(["/etc/hostname"]), "probe_ids": [1]}, "points outside its root"),
        ({"probe_set": _cells([".."]), "probe_ids": [1]}, "points outside its root"),
        ({"probe_set": _cells(["folder/a_1.jpg"]), "probe_ids": [1]}, "is not a file name"),
    ],
)
def test_bad_lists(root: Path, variables: dict[str, Any], message: str) -> None:
    savemat(root / "Testing_Set" / PROBE_LIST, variables)
    with pytest.raises(VlrfaceError, match=message) as info:
        read_testing(root, allow_missing=True)
    assert PROBE_LIST in str(info.value)


@pytest.mark.parametrize("content", [b"", b"not a list", b"\x00" * 500, bytes(range(256)) * 4])
def test_files_that_are_no_lists(root: Path, content: bytes) -> None:
    (root / "Testing_Set" / PROBE_LIST).write_bytes(content)
    with pytest.raises(VlrfaceError, match=r"not a MATLAB file|no variable"):
        read_testing(root)


def test_truncated_list(root: Path) -> None:
    file = root / "Testing_Set" / PROBE_LIST
    whole = file.read_bytes()
    for length in range(1, len(whole), 37):
        file.write_bytes(whole[:length])
        with pytest.raises(VlrfaceError, match=PROBE_LIST):
            read_testing(root)


def test_hdf5_list_says_what_to_do(root: Path) -> None:
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (root / "Testing_Set" / PROBE_LIST).write_bytes(header + b"\x89HDF\r\n\x1a\n" + bytes(400))
    with pytest.raises(VlrfaceError, match="-v7"):
        read_testing(root)


def test_missing_parts(root: Path) -> None:
    (root / "Testing_Set" / PROBE_LIST).unlink()
    with pytest.raises(VlrfaceError, match=f"{PROBE_LIST}: no such list"):
        read_testing(root)
    shutil.rmtree(root / "Testing_Set/Gallery_Match")
    with pytest.raises(VlrfaceError, match="no folder Gallery_Match"):
        read_testing(root, allow_missing=True)
    with pytest.raises(VlrfaceError, match="no folder Testing_Set"):
        read_testing(root / "Testing_Set")
    with pytest.raises(VlrfaceError, match="no folder Training_Set"):
        read_training(root / "Testing_Set")


def test_the_lists_need_no_scipy(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert len(read_testing(root).manifest) == 10


def test_folders_may_be_spelt_in_any_case(root: Path) -> None:
    (root / "Training_Set").rename(root / "training_set")
    (root / "Testing_Set/Probe").rename(root / "Testing_Set/PROBE")
    assert read_testing(root).manifest.split("probe").sources[0] == "Testing_Set/PROBE/b_2.jpg"
    assert len(read_training(root)) == 3


@pytest.mark.real
def test_real_layout(real_data: Path) -> None:
    root = real_data / "lfw-vlr" / "tinyface"
    b = read_testing(root)
    assert (b.counts["gallery"], b.counts["probe"], b.counts["distractor"]) == (689, 796, 1500)
    assert b.counts["gallery_identities"] == b.counts["probe_identities"] == 336
    assert b.counts["missing"] == b.counts["surplus"] == b.counts["probe_without_mate"] == 0
    training = read_training(root)
    assert (len(training), len(np.unique(training.identities))) == (4874, 1008)
    assert not np.isin(training.identities, b.manifest.identities).any()
