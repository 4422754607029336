"""`vlrface detect`: crops, table and annotated pictures; numbering, failures, interruption, scoring."""

import csv
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vlrface import cli
from vlrface.encode.served import Looks, ServedModel
from vlrface.experiment import detecting, fetching
from vlrface.experiment.detecting import COLUMNS, Finding, crop_stems, cut_as, detect_faces, detector_file
from vlrface.images.aligning import TEMPLATE
from vlrface.images.decode import decode, encode_png
from vlrface.images.detect import Detection, Detector, cut, in_order
from vlrface.images.procedural import procedural_faces
from vlrface.metrics.calibration import Calibration
from vlrface.types import VlrfaceError

BOXES = ((60.0, 8.0, 20.0, 26.0), (5.0, 8.0, 20.0, 26.0), (30.0, 2.0, 20.0, 26.0))


class Three(Detector):
    """Finds three faces in a bright picture, in the wrong order for `in_order` to put right; none in a dark one."""

    looked = 0

    def __init__(self, *_, **__):
        pass

    def detect(self, picture):
        Three.looked += 1
        if picture.max() < 10:
            return ()
        return in_order([Detection(box, np.array(TEMPLATE) * 0.2 + box[:2], 0.9) for box in BOXES])


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of pictures, and a detector that finds three faces in each."""
    monkeypatch.setattr(detecting, "Detector", Three)
    Three.looked = 0
    (tmp_path / "yunet.onnx").write_bytes(b"made")
    folder = tmp_path / "photos"
    (folder / "day 2").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "day 2/a.png", "a.bmp"):
        cv2.imwrite(str(folder / name), rng.integers(100, 255, (60, 100, 3), np.uint8))
    (folder / "dark.png").write_bytes(encode_png(np.zeros((30, 30, 3), np.uint8)))
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder


def run(photos, output, **options):
    return detect_faces([photos], output, detector=photos.parent / "yunet.onnx", progress=False, **options)


def rows_of(output):
    with (output / "faces.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_face_is_a_numbered_crop_and_a_row(photos, tmp_path):
    done = run(photos, tmp_path / "out", annotate=tmp_path / "seen")
    assert (done.pictures, done.faces, done.failed, done.empty) == (5, 9, 1, 1)
    rows = rows_of(tmp_path / "out")
    assert tuple(rows[0]) == COLUMNS
    found = [row for row in rows if row["number"]]
    assert [row["crop"] for row in found if row["picture"] == "day 2/a.png"] == [f"day 2/a-0{i}.png" for i in (1, 2, 3)]
    assert {row["crop"] for row in found if row["picture"] == "a.bmp"} == {f"a.bmp-0{i}.png" for i in (1, 2, 3)}
    for picture in ("a.png", "a.bmp", "day 2/a.png"):
        mine = [row for row in found if row["picture"] == picture]
        # From top to bottom, then left to right.
        assert [(float(row["left"]), float(row["top"])) for row in mine] == [(30, 2), (5, 8), (60, 8)]
        whole = decode(photos / picture)
        for row in mine:
            box = tuple(float(row[side]) for side in ("left", "top", "width", "height"))
            expected = cut(whole, Detection(box, np.zeros((5, 2)), 0.9))
            np.testing.assert_array_equal(decode(tmp_path / "out" / row["crop"]), expected)
    assert float(found[0]["eye_left_x"]) == pytest.approx(30 + 0.2 * TEMPLATE[0][0], abs=0.06)
    by_picture = {row["picture"]: row for row in rows}
    assert by_picture["dark.png"]["reason"] == "no face was found in it"
    assert by_picture["torn.png"]["verdict"] == "failed"
    assert "truncated" in by_picture["torn.png"]["reason"]
    assert str(tmp_path) not in by_picture["torn.png"]["reason"]
    # Nothing but crops, the table and no leftovers; annotated pictures elsewhere.
    assert len(list((tmp_path / "out").rglob("*.*"))) == 10
    drawn = decode(tmp_path / "seen" / "day 2" / "a.jpg")
    assert np.abs(drawn.astype(int) - decode(photos / "day 2" / "a.png")).max() > 60


def test_an_interrupted_run_goes_on_and_repeats_nothing(photos, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    run(photos, whole)
    looked = Three.looked

    class Dies(Three):
        def detect(self, picture):
            if Three.looked == looked + 2:
                raise KeyboardInterrupt
            return super().detect(picture)

    monkeypatch.setattr(detecting, "Detector", Dies)
    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out")
    assert not (tmp_path / "out" / "faces.csv").exists()
    journal = tmp_path / "out" / ".faces.jsonl"
    with journal.open("a") as file:
        file.write('{"picture": "torn li')  # as a kill in the middle of a write leaves it
    monkeypatch.setattr(detecting, "Detector", Three)
    with pytest.raises(VlrfaceError, match="other options"):
        run(photos, tmp_path / "out", finding=Finding(smallest_px=20))
    run(photos, tmp_path / "out")
    assert Three.looked == looked + looked
    assert (tmp_path / "out" / "faces.csv").read_bytes() == (whole / "faces.csv").read_bytes()
    assert not journal.exists()


def test_crops_of_another_run_are_not_mixed_with(photos, tmp_path):
    run(photos, tmp_path / "out")
    with pytest.raises(VlrfaceError, match="another run"):
        run(photos, tmp_path / "out")


def test_what_is_written_must_not_be_read(photos, tmp_path):
    with pytest.raises(VlrfaceError, match="outside"):
        run(photos, photos / "faces")
    with pytest.raises(VlrfaceError, match="outside"):
        run(photos, tmp_path / "out", annotate=tmp_path / "out" / "seen")
    with pytest.raises(VlrfaceError, match="outside"):
        run(photos, tmp_path / "out", annotate=photos)
    assert not (tmp_path / "out").exists()


def test_no_picture_that_was_named_is_replaced(photos, tmp_path):
    named, crop = photos / "a.png", photos / "a-01.png"
    shutil.copy(named, photos / "a.jpg")
    shutil.copy(photos / "day 2" / "a.png", crop)
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    options = {"detector": tmp_path / "yunet.onnx", "progress": False}
    for paths, output, annotate in (
        ([photos / "a.jpg"], tmp_path / "out", photos),
        ([named, crop], photos, None),
        ([named, crop], tmp_path / "out", photos),
        # Crops and copies lie as their pictures do: of two folders, in folders of the same names.
        ([photos / "day 2", photos / "day 2" / "a.png"], photos, None),
        ([photos / "day 2" / "a.png", named], tmp_path, None),
        ([photos / "day 2"], tmp_path / "out", photos),
    ):
        with pytest.raises(VlrfaceError, match="replaced"):
            detect_faces(paths, output, annotate=annotate, **options)
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == before
    assert not (tmp_path / "out").exists()
    # Beside a named picture is a place like any other.
    assert detect_faces([named], photos / "faces", annotate=photos / "seen", **options).faces == 3


def test_nothing_that_was_there_is_replaced(photos, tmp_path):
    out, seen = tmp_path / "out", tmp_path / "seen"
    out.mkdir()
    (out / "a.png-01.png").write_bytes(b"mine")
    with pytest.raises(VlrfaceError, match="holds other things"):
        run(photos, out)
    (out / "a.png-01.png").rename(out / ".hidden")
    seen.mkdir()
    (seen / "dark.jpg").write_bytes(b"mine")
    with pytest.raises(VlrfaceError, match="there already, and would be replaced"):
        run(photos, out, annotate=seen)
    assert (seen / "dark.jpg").read_bytes() == b"mine"
    assert [each.name for each in out.iterdir()] == [".hidden"]
    run(photos, out)


def test_what_came_between_is_not_replaced_by_the_run_that_goes_on(photos, tmp_path, monkeypatch):
    out, seen = tmp_path / "out", tmp_path / "seen"

    class Dies(Three):
        def detect(self, picture):
            if any(seen.rglob("*.jpg")):
                raise KeyboardInterrupt
            return super().detect(picture)

    monkeypatch.setattr(detecting, "Detector", Dies)
    with pytest.raises(KeyboardInterrupt):
        run(photos, out, annotate=seen)
    monkeypatch.setattr(detecting, "Detector", Three)
    shutil.copy(photos / "a.png", photos / "new.png")
    (seen / "new.jpg").write_bytes(b"mine")
    with pytest.raises(VlrfaceError, match=r"new\.jpg: there already"):
        run(photos, out, annotate=seen)
    assert (seen / "new.jpg").read_bytes() == b"mine"
    (seen / "new.jpg").unlink()
    run(photos, out, annotate=seen)
    assert decode(seen / "new.jpg").shape == decode(photos / "new.png").shape


def test_a_name_that_is_not_utf8_has_a_row(photos, tmp_path):
    os.rename(photos / "a.bmp", os.fsencode(photos) + b"/caf\xe9.bmp")
    done = run(photos, tmp_path / "out")
    assert (done.pictures, done.faces) == (5, 9)
    assert "caf\\udce9.bmp" in {row["picture"] for row in rows_of(tmp_path / "out")}
    assert os.path.exists(os.fsencode(tmp_path / "out") + b"/caf\xe9-01.png")


def test_a_model_scores_the_very_crops(photos, tmp_path, monkeypatch):
    class Means(ServedModel):
        def __init__(self):
            object.__setattr__(self, "space", "made")
            object.__setattr__(self, "calibration", None)

        def look(self, crops, batch_size=64):  # noqa: ARG002
            means = np.array([crop.mean() for crop in crops], np.float32)
            ones = np.ones((len(crops), 2), np.float32)
            return Looks(ones, ones[:, 0], means, means.astype(float) / 255, np.full(len(crops), "doubtful"))

    made = Means()
    monkeypatch.setitem(sys.modules, "vlrface.experiment.served", SimpleNamespace(load_served=lambda _: made))
    run(photos, tmp_path / "out", model=tmp_path / "model.onnx")
    found = [row for row in rows_of(tmp_path / "out") if row["number"]]
    assert len(found) == 9
    for row in found:
        mean = decode(tmp_path / "out" / row["crop"]).mean()
        assert float(row["recognizability"]) == pytest.approx(mean, abs=1e-3)
        assert float(row["score"]) == pytest.approx(mean / 255, abs=1e-4)
        assert row["verdict"] == "doubtful"


def test_a_model_that_was_calibrated_anew_does_not_go_on(photos, tmp_path, monkeypatch):
    calibrated = Calibration(1.0, 0.0, 0.0, 1.0, gallery_size=9, faces=9, rank1=0.5, calibration_error=0.1)

    class Made(ServedModel):
        def __init__(self, calibration):
            object.__setattr__(self, "space", "made")
            object.__setattr__(self, "calibration", calibration)

    monkeypatch.setattr(Three, "detect", lambda *_: 1 / 0)
    for slope, error in ((1.0, ZeroDivisionError), (1.0, ZeroDivisionError), (2.0, VlrfaceError)):
        made = Made(replace(calibrated, slope=slope))
        monkeypatch.setattr(detecting, "_served", lambda _, made=made: made)
        with pytest.raises(error):
            run(photos, tmp_path / "out", model=tmp_path / "model.onnx")


def test_aligned_crops_say_so_and_why_not(photos, tmp_path):
    run(photos, tmp_path / "out", finding=Finding(cutting="aligned", size=48))
    found = [row for row in rows_of(tmp_path / "out") if row["number"]]
    assert {row["cut"] for row in found} == {"aligned"}
    assert decode(tmp_path / "out" / found[0]["crop"]).shape == (48, 48, 3)
    tiny = Detection((5.0, 5.0, 9.0, 12.0), np.array(TEMPLATE) * 0.1, 0.9)
    made = cut_as(np.zeros((50, 50, 3), np.uint8), tiny, "aligned")
    assert made.way == "loose"
    assert made.reason


def test_names_of_crops_never_meet():
    assert crop_stems(["a.png", "b.jpg"]) == ["a", "b"]
    assert crop_stems(["a.png", "A.jpg", "c/a.png"]) == ["a.png", "A.jpg", "c/a"]
    assert crop_stems(["a.png", "a.jpg", "a.jpg.png"]) == ["a.png", "a.jpg", "a.jpg.png"]


@pytest.mark.parametrize("values", [{"least_confidence": 1.5}, {"size": 4}])
def test_values_out_of_range_are_refused(values):
    with pytest.raises(VlrfaceError):
        Finding(**values)


def test_the_network_is_used_on_request_only(tmp_path, monkeypatch):
    monkeypatch.setenv("VLRFACE_CACHE", str(tmp_path))
    asked = []

    def urlopen(url, **_):
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr(fetching.urllib.request, "urlopen", urlopen)
    with pytest.raises(VlrfaceError, match="--detector auto"):
        detector_file(None)
    file = tmp_path / "mine.onnx"
    assert detector_file(file) == file
    assert asked == []
    with pytest.raises(VlrfaceError, match="no network"):
        detector_file(detecting.Path("auto"))
    assert asked == [fetching.YUNET.url]
    data = b"kept"
    made = fetching.Download("y.onnx", "https://nowhere.invalid/", hashlib.sha256(data).hexdigest(), len(data))
    (tmp_path / "y.onnx").write_bytes(data)
    monkeypatch.setattr(detecting, "YUNET", made)
    assert detector_file(None) == detector_file(detecting.Path("auto")) == tmp_path / "y.onnx"
    assert asked == [fetching.YUNET.url]


def test_the_service_takes_a_fetched_detector_and_says_when_it_cannot(tmp_path, monkeypatch):
    from vlrface.experiment.serving import Listening, serve

    monkeypatch.setenv("VLRFACE_CACHE", str(tmp_path))

    def urlopen(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(fetching.urllib.request, "urlopen", urlopen)
    # Before the model is looked at, which is not there.
    with pytest.raises(VlrfaceError, match="cannot be fetched"):
        serve(tmp_path / "none.onnx", detector=detecting.Path("auto"), listening=Listening(port=0))
    assert list(tmp_path.iterdir()) == []


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["vlrface", "detect", *map(str, arguments)])
    code = 0
    try:
        cli.main()
    except SystemExit as error:
        code = error.code or 0
    return code, *capsys.readouterr()


def test_the_command_says_what_it_did(photos, tmp_path, monkeypatch, capsys):
    common = ("--detector", tmp_path / "yunet.onnx", "--quiet")
    code, said, _ = command(monkeypatch, capsys, photos, "-o", tmp_path / "out", *common)
    assert code == 0
    assert "5, of which 1 show no face and 1 could not be read" in said
    assert command(monkeypatch, capsys, photos, "-o", tmp_path / "strict", *common, "--strict")[0] == 2
    code, _, error = command(monkeypatch, capsys, photos / "torn.png", "-o", tmp_path / "torn", *common)
    assert code == 1
    assert "none of 1 pictures" in error
    assert rows_of(tmp_path / "torn")[0]["reason"]


def test_detecting_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\nfrom vlrface.experiment.detecting import detect_faces, open_detector"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.real
def test_service_and_command_number_the_same_faces(real_data, tmp_path):
    faces = procedural_faces(4, 1, size=112).images
    frame = np.full((400, 700, 3), 110, np.uint8)
    for i, face in enumerate(faces):
        y, x = (200, 30, 210, 40)[i], 20 + 160 * i
        frame[y : y + 112, x : x + 112] = face
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "frame.png").write_bytes(encode_png(frame))
    yunet = real_data / "weights/yunet_n_320_320.onnx"
    detect_faces([folder], tmp_path / "out", detector=yunet, progress=False)
    found = Detector(yunet).detect(frame)
    rows = rows_of(tmp_path / "out")
    assert len(rows) == len(found) == 4
    for row, face in zip(rows, found, strict=True):
        assert float(row["left"]) == pytest.approx(face.box[0], abs=0.06)
        np.testing.assert_array_equal(decode(tmp_path / "out" / row["crop"]), cut(frame, face))
    # Crops alone are what `vlrface score` is given: nothing else in the folder is a picture.
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "faces.csv", "frame-01.png", "frame-02.png", "frame-03.png", "frame-04.png"
    ]  # fmt: skip
    shutil.rmtree(tmp_path / "out")
