"""Several processes that make their shares of a batch make the batch."""

import numpy as np
import pytest

from vlrface.data.batches import Batches, Part
from vlrface.data.cache import crops_in_memory
from vlrface.data.views import PartViews, ViewBatches
from vlrface.types import WHOLE, Share

SIDE, ROWS, BATCH = 4, 30, 7


def noted(image, rng):
    """The crop's first value, and a number of the sample's generator."""
    result = np.full((SIDE, SIDE, 3), image[0, 0, 0], np.uint8)
    result[1] = rng.integers(0, 256)
    return result


def crops(share):
    images = [np.full((SIDE, SIDE, 3), i, np.uint8) for i in range(ROWS)]
    return Batches([Part(crops_in_memory(images), np.arange(ROWS), noted)], BATCH, SIDE, SIDE, seed=3, share=share)


def views(share):
    maps = np.arange(2 * ROWS * 3, dtype=np.float16).reshape(2, ROWS, 1, 1, 3)
    return ViewBatches([PartViews(maps, np.arange(ROWS))], BATCH, seed=3, share=share)


@pytest.mark.parametrize("source", [crops, views])
@pytest.mark.parametrize(("size", "rows"), [(2, [3, 4]), (3, [2, 2, 3]), (7, [1] * 7)])
def test_shares_make_the_batch(source, size, rows):
    shares = [list(source(Share(rank, size)).epoch(1, start=1)) for rank in range(size)]
    whole = list(source(WHOLE).epoch(1, start=1))
    assert len(whole) == 3
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert [len(part.rows) for part in parts] == rows
        for name in ("images", "labels", "parts", "rows"):
            assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(batch, name))
