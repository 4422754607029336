"""Faces in whole pictures."""

import cv2
import numpy as np
import pytest

from vlrface.images.detect import Detection, Detector, cut
from vlrface.images.procedural import procedural_faces
from vlrface.types import VlrfaceError


def test_a_missing_and_a_foreign_file_are_refused(tmp_path):
    with pytest.raises(VlrfaceError, match="no such file"):
        Detector(tmp_path / "none.onnx")
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"no model")
    with pytest.raises(VlrfaceError, match="YuNet"):
        Detector(foreign)


def test_a_crop_is_loose_and_keeps_the_aspect_of_the_box():
    picture = np.full((60, 60, 3), 200, np.uint8)
    picture[20:40, 20:30] = 100
    crop = cut(picture, Detection((20.0, 20.0, 10.0, 20.0), np.zeros((5, 2)), 0.9))
    assert crop.shape == (26, 13, 3)  # 15 % of each side on each side
    assert (crop == 100).all(axis=2).sum() == 200


def test_beyond_the_picture_its_edge_is_repeated():
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 59] = 200
    crop = cut(picture, Detection((50.0, 10.0, 20.0, 20.0), np.zeros((5, 2)), 0.9))
    assert crop.shape == (26, 26, 3)
    assert (crop[:, :12] == 0).all()  # columns 47 to 58
    assert (crop[:, 12:] == 200).all()


def test_a_box_outside_the_picture_gives_black():
    crop = cut(np.full((9, 9, 3), 5, np.uint8), Detection((50.0, 50.0, 4.0, 4.0), np.zeros((5, 2)), 0.9))
    assert crop.shape == (5, 5, 3)
    assert not crop.any()


class Bright:
    """In place of YuNet: finds bright squares of at least 24 pixels and at most 100, as they stand in what it sees."""

    size = (320, 320)

    def setInputSize(self, size):  # noqa: N802 (OpenCV's name)
        self.size = size

    def detect(self, shown):
        assert shown.shape[:2] == self.size[::-1]
        count, _, stats, _ = cv2.connectedComponentsWithStats((shown[..., 0] > 128).astype(np.uint8))
        rows = [
            [x, y, w, h, *([x + w / 2, y + h / 2] * 5), 0.5 + min(w, 50) / 200]
            for x, y, w, h in (map(float, stats[i, :4]) for i in range(1, count))
            if max(w, h) >= 24 and max(w, h) <= 100
        ]
        return None, np.array(rows, np.float32) if rows else None


@pytest.fixture
def bright(monkeypatch, tmp_path):
    """A detector of bright squares with the tiles of the real one."""
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: Bright())
    file = tmp_path / "made.onnx"
    file.touch()
    return lambda **options: Detector(file, **options)


def test_faces_of_all_sizes_are_found_once_each_wherever_they_stand(bright):
    rng = np.random.default_rng(5)
    picture = np.zeros((1500, 2600, 3), np.uint8)
    places = []
    for row, side in enumerate((13, 20, 40, 90, 170, 300)):
        for column in range(5):
            x, y = column * 500 + int(rng.integers(0, 90)), (10, 60, 120, 200, 340, 900)[row] + int(rng.integers(0, 20))
            picture[y : y + side, x : x + side] = 255
            places.append((y, x, side))
    found = bright().detect(picture)
    assert [(round(each.box[1]), round(each.box[0])) for each in found] == sorted(
        (round(each.box[1]), round(each.box[0])) for each in found
    )
    assert len(found) == len(places)
    for y, x, side in places:
        near = [each for each in found if np.allclose(each.box, (x, y, side, side), atol=0.12 * side)]
        assert len(near) == 1
        np.testing.assert_allclose(near[0].landmarks, np.full((5, 2), (x + side / 2, y + side / 2)), atol=0.1 * side)


def test_without_tiles_small_and_large_ones_are_missed(bright):
    picture = np.zeros((600, 600, 3), np.uint8)
    picture[10:26, 10:26] = picture[100:150, 100:150] = picture[300:500, 300:500] = 255
    assert len(bright(tiled=False).detect(picture)) == 1
    assert len(bright().detect(picture)) == 3


def test_larger_faces_only_take_fewer_tiles(bright):
    picture = np.zeros((600, 600, 3), np.uint8)
    picture[10:26, 10:26] = picture[100:150, 100:150] = 255
    assert [each.box[3] for each in bright(smallest_px=40).detect(picture)] == pytest.approx([50], abs=3)


def test_an_empty_picture_has_no_faces(bright):
    assert bright().detect(np.zeros((5, 7, 3), np.uint8)) == ()


def scene(sides, seed=0):
    """Procedural faces of these sizes in a row on a grey frame; and where they are."""
    faces = procedural_faces(len(sides), 1, size=224, first_identity=seed).images
    picture = np.full((700, 1600, 3), 110, np.uint8)
    places = []
    x = 20
    for face, side in zip(faces, sides, strict=True):
        picture[50 : 50 + side, x : x + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
        places.append((x, 50, side))
        x += side + 40
    return picture, places


@pytest.mark.real
def test_drawn_faces_of_all_sizes_are_found_in_order(real_data):
    picture, places = scene((36, 48, 64, 96, 200, 420))
    found = Detector(real_data / "weights/yunet_n_320_320.onnx", smallest_px=16).detect(picture)
    assert len(found) == len(places)
    for x, y, side in places:
        assert (
            sum(
                x < each.box[0] + each.box[2] / 2 < x + side and y < each.box[1] + each.box[3] / 2 < y + side
                for each in found
            )
            == 1
        )
    numbers = [(each.box[1], each.box[0]) for each in found]
    assert numbers == sorted(numbers)


@pytest.mark.real
def test_small_real_faces_are_found_with_tiles_only(real_data):
    files = sorted((real_data / "lfw-vlr/hr/dev").rglob("*.jpg"))[:60:3]
    picture = np.full((1000, 1400, 3), 128, np.uint8)
    places = []
    for i, file in enumerate(files):
        x, y = 60 + 250 * (i % 5) + 7 * i, 60 + 200 * (i // 5) + 3 * i
        picture[y : y + 13, x : x + 13] = cv2.resize(cv2.imread(str(file)), (13, 13), interpolation=cv2.INTER_AREA)[
            :, :, ::-1
        ]
        places.append((x + 6, y + 6))

    def hits(**options):
        found = Detector(real_data / "weights/yunet_n_320_320.onnx", **options).detect(picture)
        centres = np.array([(e.box[0] + e.box[2] / 2, e.box[1] + e.box[3] / 2) for e in found]).reshape(-1, 2)
        return sum(bool((np.abs(centres - place) < 5).all(axis=1).any()) for place in places), len(found)

    right, boxes = hits()
    assert right >= 16
    assert boxes <= right + 2
    assert hits(tiled=False)[0] < right


@pytest.mark.real
def test_real_faces_are_found_where_they_are(real_data):
    detector = Detector(real_data / "weights/yunet_n_320_320.onnx")
    files = sorted((real_data / "lfw-vlr/hr/dev").rglob("*.jpg"))[:20]
    found = 0
    for file in files:
        scene = np.full((300, 400, 3), 128, np.uint8)
        scene[120:232, 200:312] = cv2.imread(str(file))[:, :, ::-1]
        for each in detector.detect(scene):
            x, y, w, h = each.box
            found += 200 <= x + w / 2 <= 312 and 120 <= y + h / 2 <= 232
    assert found >= 18
