import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.images.framing import Framing, Jitter, RandomFraming, frame
from vlrface.images.resize import resize
from vlrface.types import VlrfaceError


def gradient(height, width):
    """A picture whose red is its column and whose green is its row, in whole grey levels."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8)


def test_without_a_window_the_whole_crop_is_stretched():
    image = gradient(30, 20)
    np.testing.assert_array_equal(frame(image, Framing(), 64, 48), resize(image, 64, 48))


def test_a_window_as_wide_as_the_crop_keeps_scale_and_centre():
    image = gradient(200, 100)
    seen = frame(image, Framing(1.0, 0.5), 100, 100, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(seen[..., 0], image[50:150, :, 0])
    np.testing.assert_array_equal(seen[..., 1], image[50:150, :, 1])


def slow_window(image, framing, height, width):
    """Bilinear sampling of the window's pixel centres, one by one, with edges repeated."""
    rows, columns = image.shape[:2]
    pixel = framing.window * columns / width
    out = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            v = framing.center_y * rows - 0.5 + (y + 0.5 - height / 2) * pixel
            u = columns / 2 - 0.5 + (x + 0.5 - width / 2) * pixel
            top, left = math.floor(v), math.floor(u)
            for dy, wy in ((0, 1 - (v - top)), (1, v - top)):
                for dx, wx in ((0, 1 - (u - left)), (1, u - left)):
                    inside = min(max(top + dy, 0), rows - 1), min(max(left + dx, 0), columns - 1)
                    out[y, x] += wy * wx * image[inside]
    return out


@pytest.mark.parametrize(("window", "center_y"), [(1.2, 0.44), (0.7, 0.5), (1.0, 0.3)])
def test_the_window_against_a_slow_loop(window, center_y):
    image = np.random.default_rng(0).integers(0, 256, (26, 19, 3), np.uint8)
    framing = Framing(window, center_y)
    seen = frame(image, framing, 32, 24, interpolation=cv2.INTER_LINEAR)
    # OpenCV keeps positions in 32nds of a pixel.
    assert np.abs(seen - slow_window(image, framing, 32, 24)).max() < 256 / 32 * 2 + 1


@given(
    rows=st.integers(1, 300),
    columns=st.integers(1, 300),
    height=st.sampled_from([32, 64, 112]),
    width=st.sampled_from([32, 64, 96]),
    window=st.one_of(st.none(), st.floats(0.5, 2.0)),
    level=st.integers(0, 255),
)
def test_any_crop_gives_the_input_size_and_flat_stays_flat(rows, columns, height, width, window, level):
    image = np.full((rows, columns, 3), level, np.uint8)
    seen = frame(image, Framing(window), height, width)
    assert seen.shape == (height, width, 3)
    assert (seen == level).all()


def test_a_large_crop_is_averaged_not_sampled():
    stripes = np.zeros((448, 448, 3), np.uint8)
    stripes[:, ::2] = 255
    seen = frame(stripes, Framing(1.0), 32, 32)
    assert np.abs(seen.astype(int) - 127).max() <= 8


def test_zoom_shift_and_turn_move_the_window():
    image = gradient(100, 100)
    plain = Framing(1.0)
    center = frame(image, plain, 51, 51)[25, 25].astype(int)
    moved = frame(image, plain, 51, 51, Jitter(shift_x=0.1, shift_y=-0.2))[25, 25].astype(int)
    assert moved[0] - center[0] == pytest.approx(10, abs=1)
    assert moved[1] - center[1] == pytest.approx(-20, abs=1)
    wide = frame(image, plain, 51, 51, Jitter(zoom=1.0))[25]
    near = frame(image, plain, 51, 51, Jitter(zoom=0.5))[25]
    assert np.ptp(near[:, 0].astype(int)) == pytest.approx(np.ptp(wide[:, 0].astype(int)) / 2, abs=2)
    turned = frame(image, plain, 51, 51, Jitter(rotation_rad=math.pi / 2))
    assert np.ptp(turned[25, :, 0].astype(int)) <= 2
    assert np.ptp(turned[25, :, 1].astype(int)) > 80


def test_random_framing_depends_on_its_generator_alone():
    image = np.random.default_rng(0).integers(0, 256, (30, 22, 3), np.uint8)
    step = RandomFraming(Framing(1.2, 0.44), 32, 32)
    one, two, other = (step(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_without_spread_random_framing_is_the_exact_frame_or_its_mirror():
    image = np.random.default_rng(0).integers(0, 256, (30, 22, 3), np.uint8)
    framing = Framing(1.2, 0.44)
    step = RandomFraming(framing, 32, 32, zoom=0.0, aspect=0.0, rotation_rad=0.0, shift=0.0, linear_share=0.0)
    exact = frame(image, framing, 32, 32)
    rng = np.random.default_rng(0)
    kinds = {"same" if (seen == exact).all() else "mirrored" for seen in (step(image, rng) for _ in range(20))
             if (seen == exact).all() or (seen[:, ::-1] == exact).all()}  # fmt: skip
    assert kinds == {"same", "mirrored"}


@pytest.mark.parametrize("window", [0.0, -1.0, 11.0])
def test_a_window_out_of_range_is_refused(window):
    with pytest.raises(VlrfaceError, match=r"framing\.window"):
        Framing(window)
