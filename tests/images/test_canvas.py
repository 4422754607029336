import numpy as np
import pytest

from vlrface.images.canvas import WHOLE, Canvas


@pytest.fixture
def canvas():
    return Canvas(10, 1.0)  # five pixels a unit, centres at -0.9, -0.7 … 0.9


def test_places_of_the_points(canvas):
    np.testing.assert_allclose(canvas.x[0], np.linspace(-0.9, 0.9, 10), atol=1e-6)
    np.testing.assert_array_equal(canvas.x.T, canvas.y)
    assert canvas.pixels == 5


def test_windows_stay_inside(canvas):
    rows, columns = canvas.window(0.0, 0.0, 0.5, 0.3)
    x, y = canvas.at((rows, columns))
    assert np.abs(x).max() <= 0.5 + 0.2
    assert np.abs(y).max() <= 0.3 + 0.2
    assert canvas.window(5.0, 0.0, 0.5, 9.0) == (slice(0, 10), slice(10, 10))
    assert canvas.window(-0.9, 0.9, 0.3, 0.3)[1].start == 0


def test_cover_has_an_edge_one_pixel_wide(canvas):
    depth = np.array([-0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2], np.float32)
    np.testing.assert_allclose(canvas.cover(depth), [0, 0, 0.25, 0.5, 0.75, 1, 1], atol=1e-6)


def test_the_mask_covers_the_area_of_a_disc():
    fine = Canvas(200, 1.0)
    mask = fine.cover(np.float32(0.6) - np.sqrt(fine.x**2 + fine.y**2))
    assert mask.sum() / fine.pixels**2 == pytest.approx(np.pi * 0.36, rel=1e-3)


def test_paint_mixes_by_the_mask(canvas):
    canvas.colour[:] = 100
    mask = np.zeros((10, 10), np.float32)
    mask[2, 3], mask[4, 5] = 1, 0.25
    canvas.paint(WHOLE, mask, (200, 0, 100), 80.0)
    assert canvas.colour[:, 2, 3].tolist() == [200, 0, 100]
    assert canvas.colour[:, 4, 5].tolist() == [125, 75, 100]
    assert canvas.colour[:, 0, 0].tolist() == [100, 100, 100]
    assert canvas.gloss[2, 3] == 80
    assert canvas.gloss[4, 5] == 20
    assert not canvas.alpha.any()
    canvas.paint(WHOLE, mask, (0, 0, 0))
    assert canvas.gloss[2, 3] == 80


def test_body_hides_the_background(canvas):
    window = canvas.window(0.0, 0.0, 0.4, 0.4)
    canvas.body(window, np.full((4, 4), 0.5, np.float32), (10, 20, 30), 5.0)
    canvas.body(window, np.full((4, 4), 0.25, np.float32), (10, 20, 30), 5.0)
    assert canvas.alpha.max() == 0.5
    assert (canvas.alpha > 0).sum() == 16
    canvas.shade(window, np.full((4, 4), 0.5, np.float32))
    np.testing.assert_allclose(canvas.colour[:, 5, 5], np.array([10, 20, 30]) * (0.5 + 0.5 * 0.25) * 0.5)


def test_large_and_small_windows_are_painted_alike():
    rng = np.random.default_rng(0)
    large, small = Canvas(120, 1.0), Canvas(120, 1.0)  # all at once: more values than are painted in one piece
    mask = rng.random((120, 120), np.float32)
    planes = list(rng.random((3, 120, 120), np.float32))
    for colour in ((50, 100, 200), planes):
        large.paint(WHOLE, mask, colour)
        for rows in (slice(0, 30), slice(30, 60), slice(60, 90), slice(90, 120)):
            part = colour if colour is not planes else np.stack([plane[rows] for plane in planes])
            small.paint((rows, slice(None)), mask[rows], part)
        np.testing.assert_allclose(large.colour, small.colour, rtol=1e-6)
