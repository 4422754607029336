"""How alike pictures look."""

import numpy as np
import pytest

from vlrface.images.procedural import procedural_faces
from vlrface.unrecognizable import looks_of


def test_a_product_of_two_rows_is_their_correlation():
    pictures = list(procedural_faces(4, 1, size=48).images)
    rows = looks_of(pictures)
    small = [p.reshape(6, 8, 6, 8, 3).mean(axis=(1, 3, 4)).ravel() for p in pictures]
    expected = np.corrcoef(small)
    assert rows @ rows.T == pytest.approx(expected, abs=0.02)


def test_light_and_contrast_do_not_count():
    picture = procedural_faces(1, 1, size=48).images[0]
    darker = (picture // 2 + 20).astype(np.uint8)
    rows = looks_of([picture, darker])
    assert rows[0] @ rows[1] > 0.99


def test_a_flat_picture_is_like_nothing():
    rows = looks_of([np.full((9, 5, 3), 77, np.uint8), np.zeros((4, 4, 3), np.uint8)])
    assert not rows.any()
