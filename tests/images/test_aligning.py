"""Landmarks bring a face to the template: against OpenCV's fit and a plain least-squares solution, and in pixels."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.images.aligning import TEMPLATE, aligned, landmark_error, similarity, unreliable
from vlrface.images.detect import Detection
from vlrface.types import VlrfaceError

POINTS = np.array(TEMPLATE)


def least_squares(source, target):
    """The same problem as one linear system in (a, b, x, y)."""
    rows, right = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        right += [u, v]
    a, b, x, y = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    return np.array([[a, -b, x], [b, a, y]])


def turned(points, angle, scale, shift):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn.T + shift


def face(points, confidence=0.9):
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    width, height = right - left, bottom - top
    return Detection(
        (float(left - width / 2), float(top - height / 2), float(2 * width), float(2 * height)), points, confidence
    )


@given(st.integers(0, 10**6), st.integers(2, 9))
def test_the_fit_is_the_least_squares_one(seed, count):
    rng = np.random.default_rng(seed)
    source = rng.normal(0, 20, (count, 2))
    target = rng.normal(0, 20, (count, 2))
    np.testing.assert_allclose(similarity(source, target), least_squares(source, target), atol=1e-7)


def test_the_fit_agrees_with_opencv_without_outliers():
    rng = np.random.default_rng(3)
    source = turned(POINTS, 0.4, 0.3, (70, 20))
    target = POINTS + rng.normal(0, 0.05, (5, 2))
    theirs, _ = cv2.estimateAffinePartial2D(source, target, method=cv2.LMEDS)
    np.testing.assert_allclose(similarity(source, target), theirs, atol=0.5)


@given(st.floats(-3, 3), st.floats(0.1, 5), st.floats(-100, 100), st.floats(-100, 100))
def test_a_moved_template_comes_back_exactly(angle, scale, x, y):
    points = turned(POINTS, angle, scale, (x, y))
    matrix = similarity(points, POINTS)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], POINTS, atol=1e-7)
    assert landmark_error(points) < 1e-8


def test_points_in_one_place_are_refused():
    with pytest.raises(VlrfaceError, match="one place"):
        similarity(np.ones((5, 2)), POINTS)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0, 6.0])
@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_marks_on_a_face_come_where_the_template_has_them(scale, angle):
    points = turned(POINTS, angle, scale, (260, 120))
    picture = np.zeros((1100, 1100, 3), np.uint8)
    for x, y in points:
        cv2.circle(picture, (round(x * 16), round(y * 16)), round(3 * scale * 16), (255, 255, 255), -1, shift=4)
    made = aligned(picture, face(points))
    assert (made.way, made.reason, made.crop.shape) == ("aligned", "", (112, 112, 3))
    for x, y in POINTS:
        near = made.crop[round(y) - 7 : round(y) + 8, round(x) - 7 : round(x) + 8, 0].astype(float)
        rows, columns = np.mgrid[round(y) - 7 : round(y) + 8, round(x) - 7 : round(x) + 8]
        centre = (columns * near).sum() / near.sum(), (rows * near).sum() / near.sum()
        assert np.hypot(centre[0] - x, centre[1] - y) < 0.3 + 0.5 / scale  # the circle lies on whole pixels


@pytest.mark.parametrize("scale", [1.0, 1.4, 1.6, 2.5, 5.0, 10.0, 20.0])
@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_a_large_face_has_no_black_edge_where_the_picture_goes_on(scale, angle):
    side = round(200 * scale) + 20
    picture = np.full((side, side, 3), 200, np.uint8)
    centre = POINTS.mean(axis=0)
    points = turned(POINTS - centre, angle, scale, (side / 2, side / 2))
    made = aligned(picture, face(points))
    assert made.way == "aligned"
    assert (made.crop == 200).all()


def test_what_lies_beyond_the_picture_is_black_for_a_large_face_too():
    points = turned(POINTS, 0.0, 6.0, (-300.0, 20.0))
    made = aligned(np.full((800, 800, 3), 200, np.uint8), face(points))
    assert (made.crop[:, :48] == 0).all()
    assert (made.crop[:100, 55:] == 200).all()


def test_a_smaller_size_shows_the_same():
    points = turned(POINTS, 0.2, 2.0, (50, 60))
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 255, (20, 20, 3), np.uint8), (500, 500), interpolation=cv2.INTER_CUBIC)
    large, small = (aligned(picture, face(points), size).crop for size in (112, 56))
    shrunk = cv2.resize(large, (56, 56), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(float) - small).mean() < 5  # half a pixel of the template's own


@pytest.mark.parametrize(
    ("points", "confidence", "said"),
    [
        (turned(POINTS, 0, 0.1, (20, 20)), 0.9, "3.5 pixels apart, less than 4"),
        (POINTS, 0.65, "not sure of it"),
        (POINTS * (0.5, 1.0), 0.9, "no frontal face"),
        (np.full((5, 2), 7.0), 0.9, "one place"),
    ],
)
def test_unreliable_landmarks_give_a_loose_crop_that_says_why(points, confidence, said):
    picture = np.full((150, 150, 3), 90, np.uint8)
    made = aligned(picture, Detection((10.0, 10.0, 20.0, 30.0), points, confidence))
    assert said in made.reason
    assert (made.way, made.crop.shape) == ("loose", (39, 26, 3))


def test_unreliable_landmarks_are_used_on_request_where_they_can_be():
    picture = np.full((150, 150, 3), 90, np.uint8)
    unsure = Detection((10.0, 10.0, 20.0, 30.0), POINTS, 0.65)
    assert aligned(picture, unsure, strict=False).way == "aligned"
    nowhere = Detection((10.0, 10.0, 20.0, 30.0), np.zeros((5, 2)), 0.9)
    assert aligned(picture, nowhere, strict=False).way == "loose"
    assert unreliable(face(POINTS)) == ""
