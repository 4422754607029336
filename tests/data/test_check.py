import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from vlrface.data.check import Checked, Count, Kind, check
from vlrface.data.listed import first_twice
from vlrface.types import VlrfaceError

Picture = Callable[..., Path]


def _cells(*values: str, shape: tuple[int, ...] = (-1, 1)) -> np.ndarray:
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells.reshape(shape)


@pytest.fixture
def tinyface(tmp_path: Path, picture: Picture) -> Path:
    root = tmp_path / "tiny"
    testing = root / "Testing_Set"
    for name in ("Gallery_Match/a.jpg", "Gallery_Match/b.jpg", "Probe/c.jpg", "Gallery_Distractor/d.jpg"):
        picture(testing / name)
    lists = {
        "gallery_match_img_ID_pairs.mat": ("gallery", ["a.jpg", "b.jpg"]),
        "probe_img_ID_pairs.mat": ("probe", ["c.jpg"]),
    }
    for file, (key, names) in lists.items():
        savemat(testing / file, {f"{key}_set": _cells(*names), f"{key}_ids": np.arange(len(names))[:, None]})
    return root


@pytest.fixture
def survface(tmp_path: Path, picture: Picture) -> Path:
    root = tmp_path / "surv"
    testing, faces = root / "Face_Identification_Test_Set", root / "Face_Verification_Test_Set"
    for name in ("gallery/a.jpg", "mated_probe/b.jpg", "unmated_probe/distractors_1.jpg"):
        picture(testing / name)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture(faces / "verification_images" / name)
    savemat(testing / "gallery_img_ID_pairs.mat", {"gallery_set": _cells("a.jpg"), "gallery_ids": 1})
    savemat(testing / "mated_probe_img_ID_pairs.mat", {"mated_probe_set": _cells("b.jpg"), "mated_probe_ids": 1})
    savemat(faces / "positive_pairs_names.mat", {"p": _cells("a.jpg", "b.jpg", shape=(1, 2))})
    savemat(faces / "negative_pairs_names.mat", {"n": _cells("a.jpg", "c.jpg", shape=(1, 2))})
    return root


def _counts(checked: Checked) -> dict[str, tuple[int | None, int | None]]:
    assert first_twice(count.name for count in checked.counts) is None
    return {count.name: (count.found, count.published) for count in checked.counts}


def test_a_sound_set(tinyface: Path, picture: Picture) -> None:
    checked = check("tinyface", tinyface)
    assert checked.sound
    assert (checked.missing, checked.surplus, checked.equal_stems, checked.undecodable) == ((), (), (), ())
    assert _counts(checked) == {
        "gallery": (2, 4443),
        "probe": (1, 3728),
        "distractor": (1, 153428),
        "gallery_identities": (2, None),
        "probe_identities": (1, None),
        "probe_without_mate": (0, None),
        "train_identities": (None, 2570),
        "train_images": (None, 7804),
    }
    for name in ("1/x.jpg", "1/y.jpg", "2/z.jpg"):
        picture(tinyface / "training_set" / name)
    counts = _counts(check("tinyface", tinyface))
    assert counts["train_identities"] == (2, 2570)
    assert counts["train_images"] == (3, 7804)


def test_everything_that_can_be_wrong(tinyface: Path, picture: Picture) -> None:
    testing = tinyface / "Testing_Set"
    (testing / "Gallery_Match/b.jpg").unlink()
    (testing / "Probe/c.jpg").write_bytes(b"no picture")
    picture(testing / "Gallery_Match/a.png")
    picture(testing / "Gallery_Distractor/c.jpg")
    (picture(tinyface / "Training_Set/1/d.jpg")).write_bytes(b"")
    checked = check("tinyface", tinyface)
    assert not checked.sound
    assert not checked.passes(allow_missing=True)
    assert checked.missing == ("Testing_Set/Gallery_Match/b.jpg",)
    assert checked.surplus == ("Testing_Set/Gallery_Match/a.png",)
    assert checked.equal_stems == (
        ("Testing_Set/Gallery_Match/a.jpg", "Testing_Set/Gallery_Match/a.png"),
        ("Testing_Set/Probe/c.jpg", "Testing_Set/Gallery_Distractor/c.jpg"),
        ("Testing_Set/Gallery_Distractor/d.jpg", "Training_Set/1/d.jpg"),
    )
    assert [source for source, _ in checked.undecodable] == ["Testing_Set/Probe/c.jpg", "Training_Set/1/d.jpg"]
    assert checked.undecodable[1][1].startswith("the file is empty")
    assert _counts(checked)["gallery"] == (1, 4443)
    assert checked.text().splitlines()[-1] == "not sound: 1 missing, 2 undecodable"


def test_missing_files_can_be_allowed(tinyface: Path) -> None:
    (tinyface / "Testing_Set/Probe/c.jpg").unlink()
    checked = check("tinyface", tinyface)
    assert not checked.sound
    assert checked.passes(allow_missing=True)
    assert _counts(checked)["probe"] == (0, 3728)


def test_text_names_ten_and_the_number(tmp_path: Path) -> None:
    names = tuple(f"p/{i:02}.jpg" for i in range(12))
    counts = (Count("images", 123456, None), Count("persons", None, 7))
    reason = "the file is empty. Copy it again"
    checked = Checked(
        "scface", tmp_path, counts, names, names[:2], (("a.jpg", "b/a.jpg"),), (("x\x1b[2J.jpg", reason),)
    )
    assert checked.text().splitlines() == [
        f"scface: {tmp_path}",
        "               found  published",
        "  images     123,456          –",
        "  persons          –          7",
        "missing: 12",
        *(f"  {name}" for name in names[:10]),
        "  … and 2 more",
        "surplus (not used): 2",
        "  p/00.jpg",
        "  p/01.jpg",
        "equal stems: 1",
        "  a.jpg = b/a.jpg",
        "undecodable: 1",
        f"  'x\\x1b[2J.jpg: {reason}'",
        "not sound: 12 missing, 1 undecodable",
    ]
    assert Checked("scface", tmp_path, counts).text().splitlines()[-5:] == [
        "missing: none",
        "surplus (not used): none",
        "equal stems: none",
        "undecodable: none",
        "sound",
    ]


def test_a_large_group_of_equal_stems_is_cut(tmp_path: Path) -> None:
    group = tuple(f"{i}/1.jpg" for i in range(2000))
    lines = Checked("identities", tmp_path, (Count("images", 2000, None),), equal_stems=(group, group[:10])).text()
    assert f"  {' = '.join(group[:10])} = … (2,000 in all)\n  {' = '.join(group[:10])}\n" in lines


def test_survface(survface: Path, picture: Picture) -> None:
    picture(survface / "training_set/1/x.jpg")
    checked = check("survface-id", survface)
    assert checked.sound
    counts = _counts(checked)
    assert counts["test_images"] == (3, 242617)
    assert counts["test_identities"] == (None, 10254)
    assert counts["train_images"] == (1, 220890)
    picture(survface / "Face_Verification_Test_Set/verification_images/d.jpg")
    (survface / "Face_Verification_Test_Set/verification_images/b.jpg").unlink()
    checked = check("survface-verif", survface)
    assert checked.missing == ("Face_Verification_Test_Set/verification_images/b.jpg",)
    assert checked.surplus == ("Face_Verification_Test_Set/verification_images/d.jpg",)
    counts = _counts(checked)
    assert counts["face"] == (2, None)
    assert counts["positive_pairs"] == counts["negative_pairs"] == (1, 5320)


def test_scface(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "mugshot_frontal_cropped_all/009_frontal.JPG")
    for distance in (1, 2, 3):
        picture(tmp_path / f"surveillance_cameras_distance_{distance}/cam_1/009_cam1_{distance}.jpg")
    checked = check("scface", tmp_path)
    counts = _counts(checked)
    assert counts["gallery"] == counts["subjects"] == (1, 130)
    assert counts["distance3"] == (1, 650)
    assert len(checked.missing) == 2080 - 4
    assert checked.passes(allow_missing=True)


def test_identities(tmp_path: Path, picture: Picture) -> None:
    for name in ("1/a.jpg", "1/b.jpg", "2/a.png", "stray.jpg", "1/deeper/c.jpg"):
        picture(tmp_path / name)
    (tmp_path / "1/b.jpg").write_bytes(b"")
    checked = check("identities", tmp_path)
    assert _counts(checked) == {"identities": (2, None), "images": (3, None)}
    assert checked.surplus == ("stray.jpg", "1/deeper/c.jpg")
    assert checked.equal_stems == (("1/a.jpg", "2/a.png"),)
    assert [source for source, _ in checked.undecodable] == ["1/b.jpg"]
    assert not checked.sound


def test_bin(tmp_path: Path, picture: Picture) -> None:
    pictures = [picture(tmp_path / f"{i}.png", seed=i).read_bytes() for i in range(3)]
    file = tmp_path / "set.bin"
    file.write_bytes(pickle.dumps(([*pictures, b"no picture"], [True, False])))
    checked = check("bin", file)
    counts = _counts(checked)
    assert counts["positive_pairs"] == counts["negative_pairs"] == (1, None)
    assert counts["face"] == (4, None)
    assert checked.equal_stems == ()
    assert [source for source, _ in checked.undecodable] == ["3"]


def test_rec(tmp_path: Path, picture: Picture) -> None:
    pictures = [picture(tmp_path / f"{i}.png", seed=i).read_bytes() for i in range(2)] + [b"no picture"]
    index = ""
    with (tmp_path / "train.rec").open("wb") as file:
        for key, data in enumerate(pictures):
            index += f"{key}\t{file.tell()}\n"
            record = struct.pack("<IfQQ", 0, key // 2, key, 0) + data
            file.write(struct.pack("<II", 0xCED7230A, len(record)) + record + bytes(-len(record) % 4))
    (tmp_path / "train.idx").write_text(index)
    checked = check("rec", tmp_path / "train.rec")
    assert _counts(checked) == {"identities": (2, None), "images": (3, None)}
    assert [source for source, _ in checked.undecodable] == ["2"]
    assert not checked.sound


def test_pairs(tmp_path: Path, picture: Picture) -> None:
    for name in ("faces/a.jpg", "faces/b.jpg", "faces/c.jpg"):
        picture(tmp_path / name)
    (tmp_path / "faces/b.jpg").write_bytes(b"")
    (tmp_path / "pairs.txt").write_text("a.jpg b.jpg 1\na.jpg gone/c.jpg 0\n")
    checked = check("pairs", tmp_path / "faces", tmp_path / "pairs.txt")
    counts = _counts(checked)
    assert counts["positive_pairs"] == counts["negative_pairs"] == (1, None)
    assert counts["face"] == (2, None)
    assert checked.missing == ("gone/c.jpg",)
    assert checked.surplus == ("c.jpg",)
    assert [source for source, _ in checked.undecodable] == ["b.jpg"]


def test_table(tmp_path: Path, picture: Picture) -> None:
    for name in ("faces/a.jpg", "faces/p/b.jpg", "faces/c.jpg"):
        picture(tmp_path / name)
    table = tmp_path / "table.csv"
    table.write_text("source,identity\na.jpg,1\np/b.jpg,1\np/a.jpg,2\n")
    checked = check("table", tmp_path / "faces", table)
    assert _counts(checked) == {"identities": (2, None), "images": (2, None)}
    assert checked.missing == ("p/a.jpg",)
    assert checked.surplus == ("c.jpg",)
    assert checked.equal_stems == (("a.jpg", "p/a.jpg"),)
    assert checked.undecodable == ()
    shutil.rmtree(tmp_path / "faces")
    (tmp_path / "faces").mkdir()
    checked = check("table", tmp_path / "faces", table)
    assert checked.missing == ("a.jpg", "p/b.jpg", "p/a.jpg")
    assert checked.passes(allow_missing=True)


def test_what_is_refused(tmp_path: Path, tinyface: Path) -> None:
    for kind in ("pairs", "table"):
        with pytest.raises(VlrfaceError, match=f"checking {kind} needs its list: the "):
            check(kind, tmp_path)
    with pytest.raises(VlrfaceError, match="checking tinyface has its lists inside: give none"):
        check("tinyface", tinyface, tmp_path / "list.txt")
    with pytest.raises(VlrfaceError, match="no folder Testing_Set"):
        check("tinyface", tmp_path)
    with pytest.raises(VlrfaceError, match="no such folder"):
        check("identities", tmp_path / "nowhere")


def test_progress_is_shown_on_request(tinyface: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check("tinyface", tinyface)
    assert capsys.readouterr() == ("", "")
    check("tinyface", tinyface, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "4/4" in err


@pytest.mark.real
@pytest.mark.parametrize(
    ("kind", "folder", "counts"),
    [
        ("tinyface", "tinyface", {"gallery": 689, "probe": 796, "distractor": 1500, "train_images": 4874}),
        ("survface-id", "survface", {"gallery": 376, "mated_probe": 440, "unmated_probe": 1419}),
        ("survface-verif", "survface", {"positive_pairs": 2000, "negative_pairs": 2000}),
        ("scface", "scface", {"gallery": 130, "distance1": 650, "infrared_excluded": 780}),
    ],
)
def test_real_layouts_are_sound(real_data: Path, kind: Kind, folder: str, counts: dict[str, int]) -> None:
    checked = check(kind, real_data / "lfw-vlr" / folder)
    assert checked.sound
    assert checked.equal_stems == ()
    found = _counts(checked)
    assert {name: found[name][0] for name in counts} == counts
