import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.images.augment import Chain, CropJitter, Erase, LooseCut, Mirror, RandomDegradation
from vlrface.images.degrade import SURVEILLANCE, DegradationRange
from vlrface.types import VlrfaceError

ALL = Chain(
    (
        Mirror(),
        LooseCut(),
        CropJitter(),
        RandomDegradation(SURVEILLANCE, 0.7),
        Erase(),
    )
)
STEPS = (*ALL.steps, ALL, Chain())


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
@given(height=st.integers(1, 60), width=st.integers(1, 60), seed=st.integers(0, 99))
def test_any_size_the_same_seed_and_an_untouched_input(step, height, width, seed):
    image = noise(height, width, seed)
    before = image.copy()
    one, other = (step(image, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(image, before)
    assert one.dtype == np.uint8
    assert one.flags.c_contiguous
    assert min(one.shape[:2]) >= 1


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_steps_can_be_sent_to_another_process(step):
    copy = pickle.loads(pickle.dumps(step))
    assert copy == step
    image = noise(40, 30)
    np.testing.assert_array_equal(copy(image, np.random.default_rng(3)), step(image, np.random.default_rng(3)))


def test_mirror():
    image, rng = noise(5, 8), np.random.default_rng(0)
    np.testing.assert_array_equal(Mirror(1.0)(image, rng), image[:, ::-1])
    np.testing.assert_array_equal(Mirror(0.0)(image, rng), image)
    mirrored = sum((Mirror(0.3)(image, rng) != image).any() for _ in range(2000))
    assert mirrored / 2000 == pytest.approx(0.3, abs=0.04)


def test_crop_jitter_gives_windows_of_the_picture():
    image = np.arange(40 * 50 * 3, dtype=np.uint32).reshape(40, 50, 3)
    small = (image % 251).astype(np.uint8)
    rng = np.random.default_rng(1)
    places = set()
    for _ in range(300):
        out = CropJitter(0.5, 0.9)(small, rng)
        height, width = out.shape[:2]
        assert 20 <= height <= 36
        assert width / 50 == pytest.approx(height / 40, abs=0.03)
        found = [
            (top, left)
            for top in range(40 - height + 1)
            for left in range(50 - width + 1)
            if (small[top, left] == out[0, 0]).all() and (small[top : top + height, left : left + width] == out).all()
        ]
        assert found
        places.add((found[0][0] / max(40 - height, 1), found[0][1] / max(50 - width, 1)))
    corners = np.array(sorted(places))
    assert corners.min() == 0
    assert corners.max() == 1


def test_the_whole_picture_is_a_crop_too():
    image = noise(12, 9)
    np.testing.assert_array_equal(CropJitter(1.0, 1.0)(image, np.random.default_rng(0)), image)


STILL = LooseCut(1.0, 1.0, 1.0, 0.0, 0.5, 0.0, 0.0, 0.0)


def spots(side=81):
    """Two spots, one in the middle and one 16 pixels to the right."""
    y, x = np.mgrid[0:side, 0:side] - side // 2
    values = np.exp(-(x**2 + y**2) / 18) + np.exp(-((x - 16) ** 2 + y**2) / 18)
    return np.repeat((250 * values).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def centre(image):
    """Place of the brightness, from the middle of the picture, to the right and down."""
    values = image[..., 0].astype(float)
    y, x = np.mgrid[0 : values.shape[0], 0 : values.shape[1]]
    middle = (np.array(values.shape[::-1]) - 1) / 2
    return np.array([(x * values).sum(), (y * values).sum()]) / values.sum() - middle


def test_loose_cut_without_freedom_changes_nothing():
    image = noise(30, 30)
    np.testing.assert_array_equal(STILL(image, np.random.default_rng(0)), image)


def test_loose_cut_keeps_the_scale_and_takes_the_middle():
    image, rng = noise(40, 40), np.random.default_rng(0)
    np.testing.assert_array_equal(replace(STILL, min_width=0.5, max_width=0.5)(image, rng), image[10:30, 10:30])
    tall = replace(STILL, min_width=0.5, max_width=0.5, aspect=1.5)(image, rng)
    np.testing.assert_array_equal(tall, image[5:35, 10:30])
    high = replace(STILL, min_width=0.5, max_width=0.5, center_y=0.25)(image, rng)
    np.testing.assert_array_equal(high, image[15:35, 10:30])


def test_loose_cut_draws_its_width_and_aspect():
    image, rng = noise(100, 100), np.random.default_rng(1)
    shapes = np.array([LooseCut()(image, rng).shape[:2] for _ in range(500)])
    assert 72 <= shapes[:, 1].min() < 76
    assert 92 < shapes[:, 1].max() <= 96
    aspects = shapes[:, 0] / shapes[:, 1]
    assert aspects.mean() == pytest.approx(1.38, abs=0.02)
    assert aspects.std() == pytest.approx(0.09, abs=0.015)


def test_loose_cut_turns_squeezes_and_moves():
    rng = np.random.default_rng(2)
    turned = [centre(replace(STILL, rotation_rad=0.2)(spots(), rng)) for _ in range(300)]
    angles = np.arctan2(*np.array(turned).T[::-1])
    assert angles.std() == pytest.approx(0.2, abs=0.03)
    moved = np.array([centre(replace(STILL, shift=0.05)(spots(), rng)) for _ in range(300)]) - centre(spots())
    np.testing.assert_allclose(moved.std(axis=0), 0.05 * 81, rtol=0.15)
    upright = spots().transpose(1, 0, 2)
    heights = [np.log(centre(replace(STILL, squeeze=0.1)(upright, rng))[1] / centre(upright)[1]) for _ in range(300)]
    assert np.std(heights) == pytest.approx(0.1, abs=0.015)


def test_loose_cut_fills_in_what_lies_outside():
    image = np.full((20, 20, 3), 77, np.uint8)
    wide = LooseCut(1.5, 2.0)
    assert all((wide(image, np.random.default_rng(seed)) == 77).all() for seed in range(20))


def test_random_degradation():
    image, rng = noise(112, 112), np.random.default_rng(4)
    outs = [RandomDegradation(SURVEILLANCE, 0.4)(image, rng) for _ in range(300)]
    small = [out for out in outs if out.shape != image.shape]
    assert len(small) / 300 == pytest.approx(0.4, abs=0.08)
    assert {min(out.shape[:2]) for out in small} <= set(range(12, 41))
    np.testing.assert_array_equal(RandomDegradation(DegradationRange())(image, rng), image)


def test_erase_paints_one_rectangle_of_the_asked_area():
    image, rng = np.zeros((100, 80, 3), np.uint8), np.random.default_rng(5)
    aspects = []
    for _ in range(300):
        out = Erase(1.0, 0.05, 0.2, 3.0)(image, rng)
        hidden = (out != 0).any(axis=2)
        if not hidden.any():  # black was drawn
            continue
        rows, columns = hidden.any(axis=1).nonzero()[0], hidden.any(axis=0).nonzero()[0]
        assert hidden.sum() == len(rows) * len(columns)
        assert 0.045 < hidden.mean() < 0.21
        assert len(np.unique(out[hidden], axis=0)) == 1
        aspects.append(len(rows) / len(columns))
    assert 0.3 < min(aspects) < 0.5
    assert 2 < max(aspects) < 3.4
    assert not any((Erase(0.0)(image, rng)).any() for _ in range(20))


def test_a_chain_takes_its_steps_in_order():
    image, rng = noise(10, 12), np.random.default_rng(0)
    shrink = CropJitter(0.5, 0.5)
    out = Chain((Mirror(1.0), shrink))(image, np.random.default_rng(7))
    other = np.random.default_rng(7)
    np.testing.assert_array_equal(out, shrink(Mirror(1.0)(image, other), other))
    np.testing.assert_array_equal(Chain()(image, rng), image)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mirror(1.2),
        lambda: Erase(-0.1),
        lambda: Erase(0.5, 0.3, 0.2),
        lambda: Erase(0.5, 0.1, 0.2, 0.5),
        lambda: CropJitter(0.0, 0.5),
        lambda: CropJitter(0.8, 1.1),
        lambda: CropJitter(0.9, 0.8),
        lambda: LooseCut(0.0),
        lambda: LooseCut(0.9, 0.8),
        lambda: replace(STILL, aspect=0.0),
        lambda: replace(STILL, shift=-0.1),
        lambda: RandomDegradation(SURVEILLANCE, 2.0),
    ],
)
def test_senseless_options_are_refused(make):
    with pytest.raises(VlrfaceError, match="give"):
        make()
