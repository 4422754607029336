import hashlib
from pathlib import Path

import numpy as np
import pytest

from vlrface.data.manifest import hold_out
from vlrface.data.scface import PUBLISHED, read, read_finetuning, subjects_to_test
from vlrface.types import VlrfaceError

MUGSHOTS = "mugshot_frontal_cropped_all"


def _write(root: Path, *sources: str) -> None:
    for source in sources:
        (root / source).parent.mkdir(parents=True, exist_ok=True)
        (root / source).write_bytes(b"x")  # readers open nothing


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete set, with the upper-case endings of the archive's mugshots, and infra-red pictures beside."""
    root = tmp_path_factory.mktemp("scface")
    for subject in range(1, 131):
        _write(root, f"{MUGSHOTS}/{subject:03}_frontal.JPG")
        for distance in (1, 2, 3):
            for camera in range(1, 8):
                _write(
                    root,
                    f"surveillance_cameras_distance_{distance}/cam_{camera}/{subject:03}_cam{camera}_{distance}.jpg",
                )
    _write(root, "surveillance_cameras_IR_cam8/001_cam8.jpg", "surveillance_cameras_IR_cam8/002_cam8.jpg")
    _write(root, "surveillance_cameras_all/001_cam1_1.jpg", f"{MUGSHOTS}/Thumbs.db")
    return root


def test_whole_set(whole: Path) -> None:
    b = read(whole)
    m = b.manifest
    assert b.name == "scface"
    assert b.counts == {
        "subjects": 130,
        "gallery": 130,
        "distance1": 650,
        "distance2": 650,
        "distance3": 650,
        "infrared_excluded": 782,
        "missing": 0,
        "surplus": 0,
    }
    assert b.published == PUBLISHED
    assert PUBLISHED["gallery"] == 130
    assert [PUBLISHED[f"distance{k}"] for k in (1, 2, 3)] == [650] * 3
    gallery = m.split("gallery")
    assert gallery.sources[[0, 129]].tolist() == [f"{MUGSHOTS}/001_frontal.JPG", f"{MUGSHOTS}/130_frontal.JPG"]
    assert gallery.identities.tolist() == list(range(1, 131))
    for distance in (1, 2, 3):
        probes = m.split(f"distance{distance}")
        folder = f"surveillance_cameras_distance_{distance}"
        assert probes.sources[6] == f"{folder}/cam_2/002_cam2_{distance}.jpg"
        assert probes.identities.tolist() == np.repeat(np.arange(1, 131), 5).tolist()
    assert all(m.path(row).is_file() for row in range(len(m)))
    assert not any("cam6" in s or "cam7" in s or "cam8" in s for s in m.sources.tolist())


def test_missing_pictures(tmp_path: Path) -> None:
    for distance in (1, 2, 3):
        _write(tmp_path, f"surveillance_cameras_distance_{distance}/cam_1/007_cam1_{distance}.jpg")
    _write(tmp_path, f"{MUGSHOTS}/007_frontal.jpg")
    with pytest.raises(VlrfaceError, match="2076 files named by the lists are not on disk") as info:
        read(tmp_path)
    assert f"{MUGSHOTS}/001_frontal.jpg" in str(info.value)
    b = read(tmp_path, allow_missing=True)
    assert len(b.missing) == b.counts["missing"] == 2076
    assert len(b.manifest) == 130 + 3 * 650
    assert b.missing[129] == "surveillance_cameras_distance_1/cam_1/001_cam1_1.jpg"
    there = b.manifest.rows(~np.isin(b.manifest.sources, b.missing))
    assert there.identities.tolist() == [7] * 4
    assert there.splits.tolist() == ["gallery", "distance1", "distance2", "distance3"]
    with pytest.raises(VlrfaceError, match="files named by the lists"):
        read_finetuning(tmp_path)


def test_names_and_places_of_copies(tmp_path: Path) -> None:
    one, two, three = (f"surveillance_cameras_distance_{k}" for k in (1, 2, 3))
    _write(tmp_path, f"{MUGSHOTS}/001_frontal.jpeg", f"{MUGSHOTS}/2_Frontal.png")
    _write(tmp_path, f"{one}/001_cam1_1.jpg", f"{one}/002_CAM5_1.JPG", f"{two}/cam_3/3_cam3_2.bmp")
    _write(tmp_path, f"{three}/130_cam4_3.jpg", f"{one}/001_cam6_1.jpg", f"{one}/001_cam8.jpg", f"{two}/001_cam7_2.jpg")
    surplus = [
        f"{MUGSHOTS}/000_frontal.jpg",  # no such subject
        f"{MUGSHOTS}/131_frontal.jpg",
        f"{MUGSHOTS}/2_frontal.tif",  # there already
        f"{MUGSHOTS}/frontal.jpg",
        f"{one}/cam_2/001_cam1_1.jpg",  # in the folder of another camera
        f"{one}/003_cam1_2.jpg",  # of another distance
        f"{one}/004_cam1.jpg",
        f"{one}/131_cam6_1.jpg",
        f"{one}/portrait.jpg",
    ]
    _write(tmp_path, *surplus)
    b = read(tmp_path, allow_missing=True)
    there = b.manifest.rows(~np.isin(b.manifest.sources, b.missing))
    assert dict(zip(there.sources.tolist(), there.identities.tolist(), strict=True)) == {
        f"{MUGSHOTS}/001_frontal.jpeg": 1,
        f"{MUGSHOTS}/2_Frontal.png": 2,
        f"{one}/001_cam1_1.jpg": 1,
        f"{one}/002_CAM5_1.JPG": 2,
        f"{two}/cam_3/3_cam3_2.bmp": 3,
        f"{three}/130_cam4_3.jpg": 130,
    }
    assert b.counts["infrared_excluded"] == 3
    assert sorted(b.surplus) == sorted(surplus)


def test_the_folder_of_the_camera_goes_before_the_one_above(tmp_path: Path) -> None:
    one = "surveillance_cameras_distance_1"
    _write(tmp_path, f"{one}/cam_1/001_cam1_1.jpg", f"{one}/001_cam1_1.jpg", f"{MUGSHOTS}/001_frontal.jpg")
    (tmp_path / "surveillance_cameras_distance_2").mkdir()
    (tmp_path / "surveillance_cameras_distance_3").mkdir()
    b = read(tmp_path, allow_missing=True)
    assert f"{one}/cam_1/001_cam1_1.jpg" in b.manifest.sources
    assert b.surplus == (f"{one}/001_cam1_1.jpg",)


def test_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(VlrfaceError, match=f"no folder {MUGSHOTS}"):
        read(tmp_path)
    (tmp_path / MUGSHOTS).mkdir()
    with pytest.raises(VlrfaceError, match="no folder surveillance_cameras_distance_1"):
        read(tmp_path, allow_missing=True)


def test_who_is_tested() -> None:
    identities = np.repeat(np.arange(1, 131), 3)
    tested = subjects_to_test(identities)
    assert len(tested) == 80
    assert tested.tolist() == sorted(set(tested.tolist()))
    # The obvious way: the 80 smallest digests.
    digests = {number: hashlib.sha256(f"0 {number}".encode()).hexdigest() for number in range(1, 131)}
    assert set(tested.tolist()) == set(sorted(digests, key=lambda number: digests[number])[:80])
    assert tested[:8].tolist() == [1, 2, 4, 5, 6, 7, 10, 12]  # never changes
    np.testing.assert_array_equal(tested, subjects_to_test(identities[::-1].copy()))
    assert set(subjects_to_test(identities, 20).tolist()) < set(tested.tolist())
    assert set(subjects_to_test(identities, seed=1).tolist()) != set(tested.tolist())
    assert subjects_to_test(np.array([-1, -100, 4, 4]), 1).tolist() == [4]


@pytest.mark.parametrize("count", [-1, 0, 3])
def test_too_few_subjects(count: int) -> None:
    with pytest.raises(VlrfaceError, match=f"cannot test {count} of 2 subjects: ask for between 1 and 2"):
        subjects_to_test(np.array([5, 9, 9, -1]), count)


def test_finetuning(whole: Path) -> None:
    m = read_finetuning(whole, seed=3)
    tested = subjects_to_test(np.arange(1, 131), seed=3)
    persons, images = np.unique(m.identities, return_counts=True)
    assert sorted([*persons.tolist(), *tested.tolist()]) == list(range(1, 131))
    assert images.tolist() == [16] * 50
    assert set(m.splits.tolist()) == {"train"}
    assert m.path(0).is_file()
    remaining, _ = hold_out(read(whole).manifest, 80, 3)  # the same choice as everywhere
    assert remaining.sources.tolist() == m.sources.tolist()


@pytest.mark.real
def test_real_layout(real_data: Path) -> None:
    b = read(real_data / "lfw-vlr" / "scface")
    assert b.counts["gallery"] == 130
    assert sum(b.counts[f"distance{k}"] for k in (1, 2, 3)) == 1950
    assert b.counts["infrared_excluded"] == 780
    assert b.counts["missing"] == b.counts["surplus"] == 0
    assert len(read_finetuning(real_data / "lfw-vlr" / "scface")) == 800
