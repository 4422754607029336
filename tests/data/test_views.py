import numpy as np
import pytest

from vlrface.data.batches import Batches, Part, in_order, sample_generator
from vlrface.data.cache import crops_in_memory
from vlrface.data.views import PartViews, ViewBatches
from vlrface.types import VlrfaceError

SIDE = 4


def noted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop's first value, and a number of the sample's generator."""
    result = np.full((SIDE, SIDE, 3), image[0, 0, 0], np.uint8)
    result[1] = rng.integers(0, 256)
    return result


def part(n: int, copies: float = 1.0, first: int = 0) -> Part:
    images = [np.full((SIDE, SIDE, 3), first + i, np.uint8) for i in range(n)]
    return Part(crops_in_memory(images), np.arange(n) * 10, noted, copies)


def views(n: int, count: int = 3, copies: float = 1.0, first: int = 0) -> PartViews:
    """Maps whose values say which view of which crop they are."""
    maps = np.empty((count, n, 1, 1, 2), np.float16)
    maps[..., 0] = np.arange(count)[:, None, None, None]
    maps[..., 1] = (first + np.arange(n))[None, :, None, None]
    return PartViews(maps, np.arange(n) * 10, copies)


def flat(batches):
    batches = list(batches)
    return [
        np.concatenate([getattr(batch, name) for batch in batches]) for name in ("images", "labels", "parts", "rows")
    ]


def test_every_crop_once_in_order_with_the_augmentation_of_its_row():
    seen = list(in_order(part(7), 3, SIDE, SIDE, seed=5, epoch=2))
    assert [len(batch.rows) for batch in seen] == [3, 3, 1]
    images, labels, _, rows = flat(seen)
    assert rows.tolist() == list(range(7))
    assert labels.tolist() == [10 * i for i in range(7)]
    for row, image in enumerate(images):
        np.testing.assert_array_equal(image, noted(part(7).crops[row], sample_generator(5, 2, position=row)))


def test_workers_make_the_same_samples_in_order():
    own = flat(in_order(part(9), 4, SIDE, SIDE, seed=1))
    theirs = flat(in_order(part(9), 4, SIDE, SIDE, seed=1, workers=2))
    for ours, other in zip(own, theirs, strict=True):
        np.testing.assert_array_equal(ours, other)


def test_the_order_of_samples_is_that_of_pictures_with_the_same_seed():
    pictures = Batches([part(10, 1.5), part(6, 0.5)], 4, SIDE, SIDE, seed=3)
    maps = ViewBatches([views(10, copies=1.5), views(6, copies=0.5)], 4, seed=3)
    assert maps.steps_per_epoch == pictures.steps_per_epoch == 4
    for epoch in (0, 1):
        _, labels, parts, rows = flat(pictures.epoch(epoch))
        _, same_labels, same_parts, same_rows = flat(maps.epoch(epoch))
        np.testing.assert_array_equal(labels, same_labels)
        np.testing.assert_array_equal(parts, same_parts)
        np.testing.assert_array_equal(rows, same_rows)


def test_a_batch_holds_a_view_of_the_very_crop_and_epochs_draw_all_views():
    batches = ViewBatches([views(5, count=4), views(3, count=2, first=100)], 4, seed=0)
    drawn = set()
    for epoch in range(30):
        images, labels, parts, rows = flat(batches.epoch(epoch))
        assert images.dtype == np.float16
        np.testing.assert_array_equal(images[:, 0, 0, 1], rows + 100 * parts)
        np.testing.assert_array_equal(labels, 10 * rows)
        drawn |= {(p, r, int(v)) for p, r, v in zip(parts.tolist(), rows.tolist(), images[:, 0, 0, 0], strict=True)}
    assert drawn == {(0, r, v) for r in range(5) for v in range(4)} | {(1, r, v) for r in range(3) for v in range(2)}


@pytest.mark.parametrize("start", [0, 1, 3])
def test_an_epoch_goes_on_where_it_stopped(start):
    batches = ViewBatches([views(16)], 4, seed=7)
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, start))
    assert len(rest) == len(whole) - start
    for one, other in zip(whole[start:], rest, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.rows, other.rows)


def test_another_seed_or_epoch_is_another_order():
    rows = [flat(ViewBatches([views(64)], 4, seed=s).epoch(e))[3].tolist() for s, e in ((0, 0), (1, 0), (0, 1))]
    assert rows[0] != rows[1]
    assert rows[0] != rows[2]


def test_what_cannot_be_drawn_from_is_refused():
    with pytest.raises(VlrfaceError, match="draw none"):
        views(3, copies=0.1)
    with pytest.raises(VlrfaceError, match="draw none"):
        PartViews(np.zeros((0, 3, 1, 1, 2), np.float16), np.arange(3))
    with pytest.raises(VlrfaceError, match="one shape"):
        ViewBatches([views(3), PartViews(np.zeros((1, 3, 2, 1, 2), np.float16), np.arange(3))], 2, seed=0)
    with pytest.raises(VlrfaceError, match="fewer than one batch"):
        ViewBatches([views(3)], 4, seed=0)
    with pytest.raises(VlrfaceError, match="batch_size=0"):
        ViewBatches([views(3)], 0, seed=0)
    with pytest.raises(VlrfaceError, match="no step 3 of epoch 0"):
        ViewBatches([views(4)], 2, seed=0).epoch(0, 3)
