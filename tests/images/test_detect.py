"""Faces in whole pictures."""

import cv2
import numpy as np
import pytest

from vlrface.images.detect import Detection, Detector, cut
from vlrface.types import VlrfaceError


def test_a_missing_and_a_foreign_file_are_refused(tmp_path):
    with pytest.raises(VlrfaceError, match="no such file"):
        Detector(tmp_path / "none.onnx")
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"no model")
    with pytest.raises(VlrfaceError, match="YuNet"):
        Detector(foreign)


def test_a_crop_is_square_loose_and_black_beyond_the_edge():
    picture = np.full((40, 60, 3), 200, np.uint8)
    crop = cut(picture, Detection((50.0, 10.0, 10.0, 20.0), np.zeros((5, 2)), 0.9))
    assert crop.shape == (30, 30, 3)  # 20 and a quarter of it on each side
    assert (crop[:, :20] == 200).all()  # columns 40 to 60
    assert (crop[:, 20:] == 0).all()


def test_a_box_outside_the_picture_gives_black():
    crop = cut(np.full((9, 9, 3), 5, np.uint8), Detection((50.0, 50.0, 4.0, 4.0), np.zeros((5, 2)), 0.9))
    assert crop.shape == (6, 6, 3)
    assert not crop.any()


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
