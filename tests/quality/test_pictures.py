"""Measures of pixels: by hand, by a slow loop, and what size does to sharpness."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.quality.pictures import sharpness, sizes
from vlrface.types import VlrfaceError


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_the_shorter_side_is_the_size():
    assert sizes([picture(20, 14), picture(9, 30), picture(5, 5)]).tolist() == [14, 9, 5]
    assert sizes([]).tolist() == []


@given(st.integers(0, 2**32), st.integers(3, 9), st.integers(3, 9))
def test_at_its_own_size_it_is_the_variance_of_the_four_neighbour_laplacian(seed, height, width):
    crop = picture(height, width, seed)
    grey = crop @ np.array([0.299, 0.587, 0.114])
    padded = np.pad(grey, 1, mode="reflect")  # without repeating the edge, as OpenCV
    values = [
        padded[y - 1, x] + padded[y + 1, x] + padded[y, x - 1] + padded[y, x + 1] - 4 * padded[y, x]
        for y in range(1, height + 1)
        for x in range(1, width + 1)
    ]
    assert sharpness([crop], side=None)[0] == pytest.approx(np.var(values), rel=1e-4)


def test_a_flat_crop_has_none():
    assert sharpness([np.full((20, 30, 3), 90, np.uint8)]).tolist() == pytest.approx([0], abs=1e-6)
    assert sharpness([np.full((4, 4, 3), 255, np.uint8)], side=None).tolist() == pytest.approx([0], abs=1e-6)


def test_blurring_lowers_it_at_every_size():
    for side in (12, 20, 40, 112, 200):
        crop = picture(side, side)
        blurred = cv2.GaussianBlur(crop, (0, 0), 1.0)
        for taken_at in (None, 32, 112):
            whole, soft = sharpness([crop, blurred], side=taken_at)
            assert soft < whole


def test_a_shrunk_face_is_sharper_by_its_own_pixels_and_softer_at_a_common_size():
    y, x = np.mgrid[0:120, 0:120] / 120
    face = 127 + 60 * np.sin(20 * x) * np.cos(17 * y) + 40 * np.sin(60 * x * y)
    large = np.repeat(face[:, :, None], 3, axis=2).astype(np.uint8)
    small = cv2.resize(large, (15, 15), interpolation=cv2.INTER_AREA)
    own_large, own_small = sharpness([large, small], side=None)
    common_large, common_small = sharpness([large, small])
    assert own_small > own_large
    assert common_small < common_large


def test_an_enlarged_crop_is_not_judged_by_its_rounding():
    y, x = np.mgrid[0:14, 0:14]
    smooth = np.repeat((100 + 3 * x + 2 * y)[:, :, None], 3, axis=2).astype(np.uint8)  # a slope: no Laplacian inside
    rounded = cv2.resize(smooth, (112, 112), interpolation=cv2.INTER_CUBIC)
    assert sharpness([smooth])[0] < 0.1 * sharpness([rounded], side=None)[0]


def test_aspect_is_kept_and_thin_crops_are_measured():
    assert np.isfinite(sharpness([picture(4, 60), picture(60, 4), picture(1, 1)])).all()


def test_refuses_a_side_below_one():
    with pytest.raises(VlrfaceError, match="at least 1 pixel"):
        sharpness([picture(5, 5)], side=0)
