import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.images.resize import ENLARGING, SHRINKING, resize
from vlrface.types import VlrfaceError

SIDES = st.integers(1, 40)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_shrinking_by_a_whole_factor_is_the_mean_of_the_blocks():
    image = noise(12, 18)
    want = image.reshape(4, 3, 6, 3, 3).mean(axis=(1, 3))
    assert np.abs(resize(image, 4, 6) - want).max() <= 0.51


def test_shrinking_is_the_overlap_weighted_mean_in_a_slow_loop():
    image, (height, width) = noise(7, 5), (3, 4)
    want = np.zeros((height, width, 3))
    for i in range(height):
        for j in range(width):
            weights = np.zeros(image.shape[:2])
            for y in range(7):
                for x in range(5):
                    down = max(0, min(y + 1, (i + 1) * 7 / height) - max(y, i * 7 / height))
                    across = max(0, min(x + 1, (j + 1) * 5 / width) - max(x, j * 5 / width))
                    weights[y, x] = down * across
            want[i, j] = (image * weights[..., None]).sum(axis=(0, 1)) / weights.sum()
    assert np.abs(resize(image, height, width) - want).max() <= 1


@pytest.mark.parametrize("size", [(20, 20), (20, 5), (5, 20), (11, 8)])
def test_enlarging_either_side_is_bilinear_in_a_slow_loop(size):
    image = noise(10, 8)
    out = resize(image, *size)
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = (i + 0.5) * 10 / size[0] - 0.5, (j + 0.5) * 8 / size[1] - 0.5
            value = np.zeros(3)
            for row in (int(np.floor(y)), int(np.floor(y)) + 1):
                for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                    weight = (1 - abs(y - row)) * (1 - abs(x - column))
                    value += weight * image[min(max(row, 0), 9), min(max(column, 0), 7)]
            assert np.abs(out[i, j] - value).max() <= 1


def test_the_named_constants_decide():
    image = noise(30, 30)
    np.testing.assert_array_equal(resize(image, 9, 30), cv2.resize(image, (30, 9), interpolation=SHRINKING))
    np.testing.assert_array_equal(resize(image, 31, 9), cv2.resize(image, (9, 31), interpolation=ENLARGING))


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 255))
def test_a_flat_picture_stays_flat_at_every_size(height, width, new_height, new_width, value):
    out = resize(np.full((height, width, 3), value, np.uint8), new_height, new_width)
    assert out.shape == (new_height, new_width, 3)
    assert (out == value).all()


@given(SIDES, SIDES, SIDES, SIDES)
def test_mirroring_before_or_after_is_the_same(height, width, new_height, new_width):
    image = noise(height, width)
    one, other = resize(image[:, ::-1], new_height, new_width), resize(image, new_height, new_width)[:, ::-1]
    assert np.abs(one.astype(int) - other).max() <= 1


def test_the_same_size_gives_a_copy():
    image = noise(6, 7)
    out = resize(image, 6, 7)
    np.testing.assert_array_equal(out, image)
    assert not np.shares_memory(out, image)


@pytest.mark.parametrize(("height", "width"), [(0, 4), (4, 0), (-3, 4)])
def test_sides_below_one_are_refused(height, width):
    with pytest.raises(VlrfaceError, match="at least 1"):
        resize(noise(4, 4), height, width)


def test_an_empty_picture_is_refused():
    with pytest.raises(VlrfaceError, match="empty picture of 0 x 4"):
        resize(noise(4, 4)[:0], 4, 4)
