"""The map of embeddings."""

import numpy as np
import pytest

from vlrface.report import EmbeddingMap
from vlrface.report.flat_map import MAX_POINTS, embedding_figure

from . import made


def test_the_map_separates_what_the_embeddings_separate() -> None:
    drawing = embedding_figure(made.embedding_map(), ident="f")
    assert drawing is not None
    assert [entry.mark for entry in drawing.legend] == ["dot"] * 5 + ["cross", "star"]
    assert "nan" not in drawing.svg.lower()


def test_the_map_without_unrecognizable_ones() -> None:
    given = made.embedding_map(unrecognizable=0)
    drawing = embedding_figure(EmbeddingMap(given.embeddings, given.recognizability, given.unrecognizable), ident="f")
    assert drawing is not None
    assert len(drawing.legend) == 5


def test_the_map_of_many_faces_says_how_many_it_draws_and_stays_small() -> None:
    drawing = embedding_figure(made.embedding_map(MAX_POINTS + 500), ident="f")
    assert drawing is not None
    assert drawing.notes == ("2,000 of 2,500 faces are drawn, evenly chosen.",)
    assert len(drawing.svg) < 100_000


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_faces_make_no_map(count: int) -> None:
    assert embedding_figure(made.embedding_map(count), ident="f") is None


def test_a_map_of_equal_embeddings() -> None:
    given = EmbeddingMap(np.ones((5, 4)), np.arange(5.0), np.ones((2, 4)), np.zeros(4))
    drawing = embedding_figure(given, ident="f")
    assert drawing is not None
    assert "nan" not in drawing.svg.lower()
