"""The filters against Pillow, OpenCV and slow loops, and the promise that nothing rounds differently elsewhere."""

import math
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlrface.images.optics import moved, resampled, to_bytes

KERNELS = ("nearest", "linear", "area", "cubic", "lanczos")
PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "linear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "cubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("kernel", ["linear", "cubic", "lanczos"])
@pytest.mark.parametrize("size", [(13, 9), (31, 40), (50, 20), (40, 31)])
def test_agrees_with_pillow(kernel, size):
    image = noise(40, 31) // 3 + 80  # Pillow clips between its two passes: stay away from the ends
    other = np.asarray(Image.fromarray(image).resize(size[::-1], PILLOW[kernel]))
    assert np.abs(to_bytes(resampled(image, *size, kernel, 0.0)).astype(int) - other).max() <= 1


@pytest.mark.parametrize("size", [(10, 30), (20, 8), (8, 16), (57, 70)])
def test_nearest_is_exact_and_agrees_with_pillow(size):
    image = noise(40, 32)
    places = [
        [Fraction((2 * i + 1) * old, 2 * new) for i in range(new)] for old, new in zip((40, 32), size, strict=True)
    ]
    rows, columns = ([math.floor(place) for place in axis] for axis in places)
    out = resampled(image, *size, "nearest", 0.0)
    np.testing.assert_array_equal(out, image[rows][:, columns])
    # Pillow falls to either side where the place is a border between two pixels.
    clear = np.ix_(*([place.denominator > 1 for place in axis] for axis in places))
    other = np.asarray(Image.fromarray(image).resize(size[::-1], PILLOW["nearest"]))
    np.testing.assert_array_equal(out[clear], other[clear])


def test_area_is_the_exact_overlap():
    image = noise(7, 5)
    want = np.zeros((3, 5, 3))
    for i in range(3):
        for y in range(7):
            want[i] += image[y] * max(0.0, min(y + 1.0, (i + 1) * 7 / 3) - max(y, i * 7 / 3)) * 3 / 7
    assert np.abs(resampled(image, 3, 5, "area", 0.0) - want).max() < 0.3


def test_area_is_bilinear_when_enlarging():
    image = noise(9, 9)
    np.testing.assert_array_equal(resampled(image, 20, 20, "area", 0.0), resampled(image, 20, 20, "linear", 0.0))


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.5])
def test_blur_agrees_with_opencv_away_from_the_border(sigma):
    image = noise(48, 40)
    other = cv2.GaussianBlur(image.astype(np.float64), (41, 41), sigma)
    inside = slice(12, -12)
    assert np.abs(resampled(image, 48, 40, "area", sigma) - other)[inside, inside].max() < 0.5


def test_blur_and_shrinking_in_one_step_are_both_after_each_other():
    image = noise(48, 48)
    at_once = resampled(image, 12, 12, "linear", 2.0)
    stepwise = resampled(to_bytes(resampled(image, 48, 48, "area", 2.0)), 12, 12, "linear", 0.0)
    assert np.abs(at_once - stepwise).max() < 1


@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.integers(1, 24),
    st.sampled_from(KERNELS),
    st.floats(0, 5),
    st.integers(0, 255),
)
def test_flat_pictures_stay_exactly_flat(height, new_height, new_width, kernel, blur, value):
    image = np.full((height, 9, 3), value, np.uint8)
    assert (resampled(image, new_height, new_width, kernel, float(blur)) == value).all()
    assert (moved(image, 0.1 + 4 * float(blur), 1.1) == value).all()


@given(st.sampled_from(KERNELS), st.integers(1, 30), st.integers(0, 9))
def test_results_are_whole_multiples_of_the_weights_unit(kernel, side, seed):
    # What makes them the same on every machine: float64 holds each of them exactly.
    values = resampled(noise(20, 17, seed), side, side, kernel, 0.7)
    scaled = values * 4096.0**2
    np.testing.assert_array_equal(scaled, np.rint(scaled))
    assert np.abs(scaled).max() < 2**53


def test_square_pictures_take_the_same_way_as_others():
    image = noise(24, 24)
    wide = np.concatenate([image, image[:, :1]], axis=1)
    assert np.abs(resampled(image, 8, 8, "area", 0.0) - resampled(wide[:, :24], 8, 8, "area", 0.0)).max() == 0
    np.testing.assert_array_equal(
        resampled(image, 8, 12, "cubic", 1.0),
        resampled(image.transpose(1, 0, 2), 12, 8, "cubic", 1.0).transpose(1, 0, 2),
    )


def test_a_sideways_motion_is_a_moving_average():
    image = noise(9, 40)
    out = moved(image, 4.0, 0.0)
    want = np.zeros(image.shape)
    for along in np.linspace(-2, 2, 4001):
        low = math.floor(along)
        for shift, weight in ((low, 1 - (along - low)), (low + 1, along - low)):
            want += weight * np.roll(image, -shift, axis=1) / 4001
    inside = slice(4, -4)
    assert np.abs(out.astype(int) - want)[:, inside].max() < 12
    assert np.abs(out.astype(int) - want)[:, inside].mean() < 4
    np.testing.assert_array_equal(moved(image.transpose(1, 0, 2), 4.0, math.pi / 2), out.transpose(1, 0, 2))


@pytest.mark.parametrize("length", [0.3, 3.0, 12.5])
def test_motion_spreads_a_point_along_its_direction(length):
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    for angle in (0.0, 0.5, 2.0):
        out = moved(image, length, angle)[..., 0].astype(float)
        y, x = np.mgrid[-20:21, -20:21]
        along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        spread = math.sqrt((out * along**2).sum() / out.sum())
        assert spread == pytest.approx(length / math.sqrt(12), abs=0.45)
        assert math.sqrt((out * across**2).sum() / out.sum()) < 0.6
        assert out.sum() == pytest.approx(255, abs=12)
        np.testing.assert_array_equal(out, moved(image, length, angle + math.pi)[..., 0])


def test_rounding_is_half_to_even_and_clips():
    values = np.array([[[-3.0, 0.5, 1.5], [2.5, 254.6, 300.0]]])
    assert to_bytes(values).tolist() == [[[0, 0, 2], [2, 255, 255]]]
