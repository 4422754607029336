"""The map of embeddings."""

import numpy as np
import pytest

from vlrface.report import EmbeddingMap
from vlrface.report.flat_map import MAX_POINTS, embedding_figure, flat_map

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
    assert drawing.notes[1:] == ("2,000 of 2,500 faces are drawn, evenly chosen.",)
    assert len(drawing.svg) < 100_000


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_faces_make_no_map(count: int) -> None:
    assert embedding_figure(made.embedding_map(count), ident="f") is None


def test_a_map_of_equal_embeddings() -> None:
    given = EmbeddingMap(np.ones((5, 4)), np.arange(5.0), np.ones((2, 4)), np.zeros(4))
    drawing = embedding_figure(given, ident="f")
    assert drawing is not None
    assert "nan" not in drawing.svg.lower()


def test_with_a_centre_the_horizontal_position_is_the_distance_from_it() -> None:
    given = made.embedding_map()
    flat = flat_map(given)
    assert flat is not None
    assert given.center is not None
    assert flat.center is not None
    for points, embeddings in ((flat.faces, given.embeddings), (flat.unrecognizable, given.unrecognizable)):
        for point, each in zip(points, embeddings, strict=True):
            assert point[0] == pytest.approx(1.0 - each @ given.center / np.linalg.norm(each), abs=1e-9)
    assert flat.center[0] == 0.0
    # Upwards: the component of what is orthogonal to the centre that has the largest variance, from its own loop.
    unit = [each / np.linalg.norm(each) for each in (*given.embeddings, *given.unrecognizable)]
    rest = np.array([each - (each @ given.center) * given.center for each in unit])
    values, vectors = np.linalg.eigh(np.cov(rest.T, bias=True))
    wanted = rest @ vectors[:, -1]
    found = np.concatenate([flat.faces, flat.unrecognizable])[:, 1]
    np.testing.assert_allclose(np.abs(found - flat.center[1]), np.abs(wanted), atol=1e-9)
    assert flat.shares[1] == pytest.approx(values[-1] / np.var(unit, axis=0).sum())
    assert flat.unrecognizable[:, 1].mean() <= found.mean()


def test_without_a_centre_positions_are_those_of_two_principal_components() -> None:
    given = made.embedding_map(unrecognizable=0)
    flat = flat_map(EmbeddingMap(given.embeddings, given.recognizability, given.unrecognizable))
    assert flat is not None
    assert flat.center is None
    unit = given.embeddings / np.linalg.norm(given.embeddings, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(np.cov(unit.T, bias=True))[::-1]
    np.testing.assert_allclose(flat.faces.var(axis=0), values[:2], rtol=1e-9)
    np.testing.assert_allclose(flat.shares, values[:2] / values.sum(), rtol=1e-9)
    assert "principal" in flat.axes[0]
    assert "centre" not in flat.caption
