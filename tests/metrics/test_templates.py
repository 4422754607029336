"""Templates: a slow loop, hand-worked weights, properties, failures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.metrics.templates import gallery_templates, index_weights
from vlrface.types import VlrfaceError

KINDS = ("mean", "raw_mean", "recognizability")


def some_gallery(seed=0, faces=30):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(faces, 5)).astype(np.float32) * rng.uniform(0.1, 30, (faces, 1)).astype(np.float32)
    embeddings[rng.random(faces) < 0.2] = np.nan
    index = np.where(rng.random(faces) < 0.8, np.round(rng.normal(-3, 5, faces)), np.nan)
    return embeddings, rng.choice([-100, -1, 0, 3, 8], faces), index


def slow_template(embeddings, weights, raw):
    """One person: add up faces one by one."""
    total = np.zeros(embeddings.shape[1])
    for face, weight in zip(embeddings.astype(float), weights, strict=True):
        if not np.isnan(face).any():
            total += weight * (face if raw else face / np.sqrt((face**2).sum()))
    length = np.sqrt((total**2).sum())
    return total / length if length else np.full(len(total), np.nan)


def slow_weights(index, encoded):
    """Compare every face with every face."""
    known = [float(x) for x, e in zip(index, encoded, strict=True) if e and not np.isnan(x)]
    weigh = {x: (sum(y < x for y in known) + sum(y == x for y in known) / 2) / len(known) for x in known}
    return [weigh.get(float(x), 0.5) for x in index]


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 2**32))
def test_agrees_with_a_slow_loop(kind, seed):
    embeddings, identities, index = some_gallery(seed)
    encoded = ~np.isnan(embeddings).any(axis=1)
    if not (encoded & ~np.isnan(index)).any():
        return
    templates = gallery_templates(embeddings, identities, kind, recognizability=index)
    weights = np.array(slow_weights(index, encoded) if kind == "recognizability" else np.ones(len(index)))
    known = sorted({int(i) for i in identities if i >= 0})
    alone = [np.array([row]) for row in np.flatnonzero(identities < 0)]
    for place, rows in enumerate([*(np.flatnonzero(identities == i) for i in known), *alone]):
        expected = slow_template(embeddings[rows], weights[rows], raw=kind == "raw_mean")
        np.testing.assert_allclose(templates.embeddings[place], expected, atol=1e-6)
        assert templates.faces[place] == encoded[rows].sum()
        assert templates.identities[place] == identities[rows[0]]
    assert len(templates) == len(known) + len(alone)


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 2**32))
def test_the_order_of_faces_does_not_matter(kind, seed):
    embeddings, identities, index = some_gallery(seed)
    identities = np.abs(identities)
    index[0], embeddings[0] = 1.5, 1.0
    order = np.random.default_rng(seed).permutation(len(identities))
    here = gallery_templates(embeddings, identities, kind, recognizability=index)
    there = gallery_templates(embeddings[order], identities[order], kind, recognizability=index[order])
    np.testing.assert_array_equal(here.identities, there.identities)
    np.testing.assert_allclose(here.embeddings, there.embeddings, atol=1e-6)


@given(st.integers(0, 2**32))
def test_the_length_of_a_face_matters_to_the_raw_mean_only(seed):
    embeddings, identities, index = some_gallery(seed)
    index[0], embeddings[0] = 1.5, 1.0
    scaled = embeddings * np.float32(2) ** np.random.default_rng(seed).integers(-3, 4, (len(index), 1))
    for kind in ("mean", "recognizability"):
        here, there = (gallery_templates(e, identities, kind, recognizability=index) for e in (embeddings, scaled))
        np.testing.assert_allclose(here.embeddings, there.embeddings, atol=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.sampled_from([np.cbrt, np.arctan, lambda x: 3 * x - 7]))
def test_only_the_order_of_the_index_matters(values, rising):
    index = np.round(np.array(values), 2)
    weights = index_weights(index)
    assert (weights > 0).all()
    assert (weights < 1).all()
    assert weights.mean() == pytest.approx(0.5)
    if len(np.unique(rising(index))) == len(np.unique(index)):
        np.testing.assert_allclose(index_weights(rising(index)), weights)


def test_weights_by_hand():
    index = np.array([-5.0, 2.0, np.nan, 2.0, 9.0])
    assert index_weights(index).tolist() == [1 / 8, 1 / 2, 1 / 2, 1 / 2, 7 / 8]


def test_a_constant_index_gives_the_mean():
    embeddings, identities, _ = some_gallery(3)
    flat = np.full(len(identities), -2.0)
    np.testing.assert_allclose(
        gallery_templates(embeddings, identities, "recognizability", recognizability=flat).embeddings,
        gallery_templates(embeddings, identities).embeddings,
        atol=1e-6,
    )


def test_templates_by_hand():
    embeddings = np.array([[3, 0], [0, 1], [0, 4], [np.nan, np.nan]], np.float32)
    identities = np.array([7, 7, 2, 5])
    templates = gallery_templates(embeddings, identities)
    assert templates.identities.tolist() == [2, 5, 7]
    assert templates.faces.tolist() == [1, 0, 2]
    assert templates.encoded.tolist() == [True, False, True]
    np.testing.assert_allclose(templates.embeddings[[0, 2]], [[0, 1], [0.5**0.5, 0.5**0.5]], atol=1e-7)
    assert np.isnan(templates.embeddings[1]).all()
    raw = gallery_templates(embeddings, identities, "raw_mean")
    np.testing.assert_allclose(raw.embeddings[2], [3 / 10**0.5, 1 / 10**0.5], atol=1e-7)
    weighed = gallery_templates(embeddings, identities, "recognizability", recognizability=np.array([4.0, -1, 0, 99]))
    weights = np.array([5 / 6, 1 / 6])  # the index of the face that was not encoded counts nowhere
    np.testing.assert_allclose(weighed.embeddings[2], weights / np.linalg.norm(weights), atol=1e-7)


def test_a_gallery_without_an_encoded_face_keeps_its_people():
    templates = gallery_templates(np.full((3, 4), np.nan, np.float32), np.array([1, 1, 2]))
    assert templates.identities.tolist() == [1, 2]
    assert not templates.encoded.any()


def test_long_vectors_do_not_overflow():
    embeddings = np.array([[3e30, 0], [0, 3e30]], np.float32)
    template = gallery_templates(embeddings, np.array([1, 1]), "raw_mean")
    np.testing.assert_allclose(template.embeddings[0], [0.5**0.5, 0.5**0.5], atol=1e-7)


def test_refuses():
    one = np.array([[1.0, 0.0]], np.float32)
    who = np.array([4])
    for call, says in (
        (lambda: gallery_templates(one[:0], who[:0]), "no gallery faces"),
        (lambda: gallery_templates(one * 0, who), "row 0 has length 0"),
        (lambda: gallery_templates(np.vstack([one, -one]), np.array([4, 4])), "cancel one another out, first 4"),
        (lambda: gallery_templates(one, who, "recognizability"), "an index each, got none"),
        (lambda: gallery_templates(one, who, "recognizability", recognizability=np.zeros(2)), "got 2"),
        (
            lambda: gallery_templates(one, who, "recognizability", recognizability=np.array([np.nan])),
            "no gallery face has an index",
        ),
    ):
        with pytest.raises(VlrfaceError, match=says):
            call()
