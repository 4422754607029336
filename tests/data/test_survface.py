from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from vlrface.data.survface import (
    PUBLISHED,
    PUBLISHED_VERIFICATION,
    read_identification,
    read_training,
    read_verification,
)
from vlrface.types import UNKNOWN_IDENTITY, VlrfaceError

Picture = Callable[..., Path]

IDENTIFICATION = "Face_Identification_Test_Set"
VERIFICATION = "Face_Verification_Test_Set"
GALLERY, GALLERY_IDS = ["9_cam1_1.jpg", "3_cam1_1.jpg", "3_cam2_2.jpg"], [5, 6, 6]
MATED, MATED_IDS = ["3_cam1_1.jpg", "x.jpg", "y.jpg"], [6, 5, 77]
POSITIVE = [("a.jpg", "b.jpg"), ("c.jpg", "d.jpg"), ("d.jpg", "b.jpg")]
NEGATIVE = [("a.jpg", "e.jpg"), ("f.jpg", "c.jpg")]


def _cells(values: list[Any], shape: tuple[int, ...] = (-1, 1)) -> np.ndarray:
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells.reshape(shape)


def _pairs(pairs: list[tuple[str, str]]) -> np.ndarray:
    return _cells([name for pair in pairs for name in pair], (-1, 2))


@pytest.fixture
def root(tmp_path: Path, picture: Picture) -> Path:
    """Prefixes of names that tell wrong persons, equal names in two folders, surplus files, odd files."""
    testing = tmp_path / IDENTIFICATION
    folders = {
        "gallery": [*GALLERY, "surplus.jpg"],
        "mated_probe": MATED,
        "unmated_probe": ["distractors_2.jpg", "9_cam1_1.jpg", "distractors_10.jpg"],
    }
    for folder, names in folders.items():
        for name in names:
            picture(testing / folder / name)
        (testing / folder / "Thumbs.db").write_bytes(b"x")
    savemat(
        testing / "gallery_img_ID_pairs.mat", {"gallery_set": _cells(GALLERY), "gallery_ids": np.array([GALLERY_IDS]).T}
    )
    savemat(
        testing / "mated_probe_img_ID_pairs.mat",
        {"mated_probe_set": _cells(MATED), "mated_probe_ids": np.array([MATED_IDS]).T},
    )
    for name in "abcdefg":
        picture(tmp_path / VERIFICATION / "verification_images" / f"{name}.jpg")
    savemat(tmp_path / VERIFICATION / "positive_pairs_names.mat", {"positive_pairs_names": _pairs(POSITIVE)})
    savemat(tmp_path / VERIFICATION / "negative_pairs_names.mat", {"any_name": _pairs(NEGATIVE)})
    for name in ("5/5_0.jpg", "5/5_1.jpg", "30/x.jpg"):
        picture(tmp_path / "training_set" / name)
    return tmp_path


def test_identification(root: Path) -> None:
    b = read_identification(root)
    m = b.manifest
    assert b.name == "survface-id"
    gallery, mated, unmated = m.split("gallery"), m.split("mated_probe"), m.split("unmated_probe")
    assert gallery.sources.tolist() == [f"{IDENTIFICATION}/gallery/{name}" for name in GALLERY]
    assert gallery.identities.tolist() == GALLERY_IDS
    assert mated.sources.tolist() == [f"{IDENTIFICATION}/mated_probe/{name}" for name in MATED]
    assert mated.identities.tolist() == MATED_IDS
    names = ["9_cam1_1.jpg", "distractors_10.jpg", "distractors_2.jpg"]
    assert unmated.sources.tolist() == [f"{IDENTIFICATION}/unmated_probe/{name}" for name in names]
    assert unmated.identities.tolist() == [UNKNOWN_IDENTITY] * 3
    assert m.splits.tolist() == ["gallery"] * 3 + ["mated_probe"] * 3 + ["unmated_probe"] * 3
    assert all(m.path(row).is_file() for row in range(len(m)))
    assert b.pairing is None
    assert b.counts == {
        "gallery": 3,
        "mated_probe": 3,
        "unmated_probe": 3,
        "test_images": 9,
        "gallery_identities": 2,
        "mated_probe_identities": 3,
        "mated_probe_without_mate": 1,
        "missing": 0,
        "surplus": 1,
    }
    assert b.missing == ()
    assert b.surplus == (f"{IDENTIFICATION}/gallery/surplus.jpg",)
    assert b.published == PUBLISHED
    assert PUBLISHED == {
        "mated_probe": 60423,
        "test_images": 242617,
        "test_identities": 10254,
        "train_identities": 5319,
        "train_images": 220890,
    }


def test_verification(root: Path) -> None:
    b = read_verification(root)
    m, p = b.manifest, b.pairing
    assert b.name == "survface-verif"
    assert m.sources.tolist() == [f"{VERIFICATION}/verification_images/{name}.jpg" for name in "abcdef"]
    assert set(m.splits.tolist()) == {"face"}
    assert m.identities.tolist() == [0, 0, 0, 0, 1, 2]
    assert p is not None
    assert p.first.tolist() == [0, 2, 3, 0, 5]
    assert p.second.tolist() == [1, 3, 1, 4, 2]
    assert p.same.tolist() == [True, True, True, False, False]
    assert p.fold.tolist() == [-1] * 5
    assert b.counts == {
        "face": 6,
        "persons": 3,
        "positive_pairs": 3,
        "negative_pairs": 2,
        "contradictory_pairs": 0,
        "missing": 0,
        "surplus": 1,
    }
    assert b.surplus == (f"{VERIFICATION}/verification_images/g.jpg",)
    assert b.published == PUBLISHED_VERIFICATION == {"positive_pairs": 5320, "negative_pairs": 5320}


def test_contradictory_pairs_are_counted(root: Path) -> None:
    negative = [*NEGATIVE, ("a.jpg", "c.jpg"), ("e.jpg", "e.jpg")]
    savemat(root / VERIFICATION / "negative_pairs_names.mat", {"x": _pairs(negative)})
    b = read_verification(root)
    assert b.counts["contradictory_pairs"] == 2
    assert b.counts["negative_pairs"] == 4


def test_training(root: Path) -> None:
    m = read_training(root)
    assert m.sources.tolist() == ["5/5_0.jpg", "5/5_1.jpg", "30/x.jpg"]
    assert m.identities.tolist() == [5, 5, 30]
    assert set(m.splits.tolist()) == {"train"}
    (root / "training_set").rename(root / "Training_Set")
    assert len(read_training(root)) == 3


def test_lists_may_lie_one_folder_up(root: Path) -> None:
    before = read_identification(root), read_verification(root)
    for file in root.glob("*/*.mat"):
        file.rename(root / file.name)
    after = read_identification(root), read_verification(root)
    for one, other in zip(before, after, strict=True):
        assert one.manifest.sources.tolist() == other.manifest.sources.tolist()
        assert one.counts == other.counts


def test_the_list_in_the_folder_goes_before_one_above(root: Path) -> None:
    (root / "gallery_img_ID_pairs.mat").write_bytes(b"something else")
    assert read_identification(root).counts["gallery"] == 3


def test_folders_in_other_case(root: Path) -> None:
    (root / IDENTIFICATION).rename(root / IDENTIFICATION.lower())
    (root / VERIFICATION).rename(root / VERIFICATION.upper())
    assert read_identification(root).manifest.sources[0] == f"{IDENTIFICATION.lower()}/gallery/{GALLERY[0]}"
    assert read_verification(root).manifest.sources[0] == f"{VERIFICATION.upper()}/verification_images/a.jpg"


def test_missing_files(root: Path) -> None:
    gone = [f"{IDENTIFICATION}/gallery/{GALLERY[1]}", f"{IDENTIFICATION}/mated_probe/x.jpg"]
    gone_faces = [f"{VERIFICATION}/verification_images/{name}.jpg" for name in "be"]
    for source in gone + gone_faces:
        (root / source).unlink()
    with pytest.raises(VlrfaceError, match="2 files named by the lists are not on disk") as info:
        read_identification(root)
    assert all(source in str(info.value) for source in gone)
    b = read_identification(root, allow_missing=True)
    assert b.missing == tuple(gone)
    assert b.counts["missing"] == 2
    assert b.counts["gallery"] == 3  # still there, and a miss later
    with pytest.raises(VlrfaceError, match="2 files named by the lists are not on disk"):
        read_verification(root)
    v = read_verification(root, allow_missing=True)
    assert v.missing == tuple(gone_faces)
    assert v.counts["face"] == 6
    assert v.pairing is not None
    assert len(v.pairing) == 5


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"a": _pairs(POSITIVE), "b": 1}, "one variable with pairs is expected; there are: a, b"),
        ({}, "one variable with pairs is expected; there are: none"),
        ({"a": _cells(["a.jpg", "b.jpg"])}, "a: not a cell array of n x 2 names but 2 x 1"),
        ({"a": _cells(["a.jpg"] * 6, (3, 1, 2))}, "n x 2 names but 3 x 1 x 2"),
        ({"a": np.zeros((3, 2))}, "not a cell array"),
        ({"a": _cells(["a.jpg", 5], (1, 2))}, "entry 2 is not one text"),
        ({"a": np.empty((0, 2), object)}, "not a cell array|list is empty"),
        ({"a": _pairs([("a.jpg", "../gallery/b.jpg")])}, "points outside its root"),
        ({"a": _pairs([("/etc/hostname", "b.jpg")])}, "points outside its root"),
        ({"a": _pairs([("x/a.jpg", "b.jpg")])}, "is not a file name"),
    ],
)
def test_bad_pair_lists(root: Path, variables: dict[str, Any], message: str) -> None:
    savemat(root / VERIFICATION / "positive_pairs_names.mat", variables)
    with pytest.raises(VlrfaceError, match=message) as info:
        read_verification(root, allow_missing=True)
    assert "positive_pairs_names.mat" in str(info.value)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"gallery_set": _cells(MATED)}, "no variable 'mated_probe_set'; there are: gallery_set"),
        ({"mated_probe_set": _cells(["../../x"]), "mated_probe_ids": [1]}, "'../../x' points outside its root"),
        ({"mated_probe_set": _cells(["x.jpg"] * 2), "mated_probe_ids": [1, 2]}, "x.jpg is listed more than once"),
        ({"mated_probe_set": _cells(["x.jpg"]), "mated_probe_ids": [1, 2]}, "1 names but 2 identities"),
    ],
)
def test_bad_lists(root: Path, variables: dict[str, Any], message: str) -> None:
    savemat(root / IDENTIFICATION / "mated_probe_img_ID_pairs.mat", variables)
    with pytest.raises(VlrfaceError, match=message):
        read_identification(root, allow_missing=True)


def test_missing_parts(root: Path) -> None:
    with pytest.raises(VlrfaceError, match=f"no folder {IDENTIFICATION}"):
        read_identification(root / IDENTIFICATION)
    with pytest.raises(VlrfaceError, match=f"no folder {VERIFICATION}"):
        read_verification(root / VERIFICATION)
    with pytest.raises(VlrfaceError, match="no folder Training_Set"):
        read_training(root / VERIFICATION)
    (root / IDENTIFICATION / "gallery_img_ID_pairs.mat").unlink()
    with pytest.raises(VlrfaceError, match=f"{IDENTIFICATION}/gallery_img_ID_pairs.mat: no such list"):
        read_identification(root)
    (root / VERIFICATION / "verification_images").rename(root / VERIFICATION / "faces")
    with pytest.raises(VlrfaceError, match="no folder verification_images"):
        read_verification(root, allow_missing=True)


@pytest.mark.real
def test_real_layout(real_data: Path) -> None:
    root = real_data / "lfw-vlr" / "survface"
    b = read_identification(root)
    counts = ("gallery_identities", "gallery", "mated_probe", "unmated_probe")
    assert tuple(b.counts[name] for name in counts) == (201, 376, 440, 1419)
    assert b.counts["missing"] == b.counts["surplus"] == b.counts["mated_probe_without_mate"] == 0
    v = read_verification(root)
    assert (v.counts["positive_pairs"], v.counts["negative_pairs"]) == (2000, 2000)
    assert v.counts["missing"] == v.counts["contradictory_pairs"] == 0
    assert v.counts["face"] + v.counts["surplus"] == 1485
    # The persons that pairs join are never more than one person by the names, which the reader does not look at.
    named = [source.rsplit("/", 1)[1].split("_")[0] for source in v.manifest.sources.tolist()]
    joined = set(zip(named, v.manifest.identities.tolist(), strict=True))
    assert len({person for _, person in joined}) == len(joined) == v.counts["persons"]
