"""Tiles cover a picture, and of many boxes of a face the whole one stays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.images.tiling import (
    COARSEST_PX,
    MOST_PIXELS,
    NEEDED_PX,
    OVERLAP_PX,
    TILE_PX,
    Tile,
    cut_off,
    finest_scale,
    merged,
    tiles_of,
)
from vlrface.types import VlrfaceError


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([6, 12, 16, 24, 50, 200]))
def test_every_tile_lies_within_and_none_is_larger_than_agreed(height, width, smallest):
    for tile in tiles_of(height, width, smallest):
        assert 0 <= tile.left <= tile.left + tile.width <= width
        assert 0 <= tile.top <= tile.top + tile.height <= height
        assert 1 <= tile.shown_width <= TILE_PX + 2
        assert 1 <= tile.shown_height <= TILE_PX + 2


@given(st.integers(700, 5000), st.integers(700, 5000), st.sampled_from([12, 24]), st.integers(0, 10**6))
def test_every_small_face_is_whole_in_a_tile_of_the_finest_level(height, width, smallest, seed):
    scale = finest_scale(height, width, smallest)
    side = int(OVERLAP_PX / scale) - 1
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, width - side), rng.integers(0, height - side)
    finest = [t for t in tiles_of(height, width, smallest) if abs(t.shown_width / t.width - scale) < 0.01 * scale]
    assert any(
        t.left <= x and x + side <= t.left + t.width and t.top <= y and y + side <= t.top + t.height for t in finest
    )


@pytest.mark.parametrize(("height", "width"), [(1, 1), (90, 120), (1080, 1920), (6000, 8000)])
def test_the_last_level_shows_the_whole_picture_small(height, width):
    last = tiles_of(height, width, 12)[-1]
    assert (last.left, last.top, last.width, last.height) == (0, 0, width, height)
    assert max(last.shown_width, last.shown_height) <= COARSEST_PX


def test_the_finest_level_shows_the_wished_face_as_large_as_needed():
    assert finest_scale(1000, 1000, 12) == pytest.approx(NEEDED_PX / 12)
    assert finest_scale(1000, 1000, 96) == pytest.approx(0.25)
    assert finest_scale(1000, 1000, 3) == 2.0  # more would only make faces softer


def test_an_enormous_picture_is_enlarged_less():
    scale = finest_scale(10_000, 10_000, 12)
    assert scale**2 * 1e8 == pytest.approx(MOST_PIXELS)


def test_tiles_cost_little_more_than_the_picture():
    for height, width in ((480, 640), (1080, 1920), (2160, 3840), (4000, 6000)):
        scale = finest_scale(height, width, 12)
        shown = sum(tile.shown_width * tile.shown_height for tile in tiles_of(height, width, 12))
        assert shown < 1.75 * height * width * scale**2  # a third for the coarser levels, the rest for overlaps


@pytest.mark.parametrize("size", [0, -3])
def test_no_size_is_refused(size):
    with pytest.raises(VlrfaceError, match="at least 1 pixel"):
        tiles_of(10, 10, size)


def test_a_box_is_cut_off_at_an_edge_beyond_which_the_picture_goes_on():
    tile = Tile(100, 0, 200, 150, 400, 300)  # shown twice as large; the picture has 400 x 150
    boxes = np.array([
        [100.2, 50, 20, 20],  # at the left edge: the picture goes on
        [290, 50, 10, 20],  # at the right edge
        [150, 0, 20, 20],  # at the picture's own top
        [150, 130, 20, 20],  # and bottom
        [150, 50, 20, 20],
    ])  # fmt: skip
    assert cut_off(boxes, tile, 150, 400).tolist() == [True, True, False, False, False]


def test_of_two_boxes_of_a_face_the_surer_stays():
    boxes = np.array([[10.0, 10, 20, 30], [11, 11, 20, 30], [100, 10, 20, 30]])
    assert merged(boxes, np.array([0.7, 0.9, 0.8]), np.zeros(3, bool)).tolist() == [1, 2]


def test_a_whole_box_is_preferred_to_a_surer_one_that_was_cut_off():
    boxes = np.array([[10.0, 10, 10, 30], [10, 10, 20, 30]])
    assert merged(boxes, np.array([0.95, 0.7]), np.array([True, False])).tolist() == [1]
    # Alone, a cut one is better than none.
    assert merged(boxes[:1], np.array([0.95]), np.array([True])).tolist() == [0]


def test_a_part_of_a_surer_face_goes_and_a_neighbour_stays():
    face, eye, neighbour = [0.0, 0, 100, 120], [20, 30, 20, 20], [90, 10, 100, 120]
    assert merged(np.array([face, eye, neighbour]), np.array([0.9, 0.7, 0.8]), np.zeros(3, bool)).tolist() == [0, 2]


def test_no_boxes_are_none():
    assert merged(np.empty((0, 4)), np.empty(0), np.empty(0, bool)).tolist() == []


@given(st.integers(1, 40), st.integers(0, 10**6))
def test_what_stays_does_not_depend_on_the_order_of_the_boxes(count, seed):
    rng = np.random.default_rng(seed)
    boxes = np.column_stack([rng.uniform(0, 60, (count, 2)), rng.uniform(5, 40, (count, 2))])
    sure, cut = rng.permutation(count) / count, rng.random(count) < 0.3
    order = rng.permutation(count)
    straight = set(merged(boxes, sure, cut).tolist())
    assert {int(order[i]) for i in merged(boxes[order], sure[order], cut[order])} == straight
