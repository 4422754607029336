"""Length, distance to the unrecognizable faces, and another model's opinion of the same crops."""

import dataclasses

import numpy as np
import pytest
import torch

from vlrface.losses.recognizability import Proximities, UnrecognizableStatistics, recognizability_index
from vlrface.quality.embeddings import center_of, from_faces, norms, recognizability_score
from vlrface.types import Faces, VlrfaceError

from .made import made_faces


def failing(faces, row):
    embeddings, failures = faces.embeddings.copy(), faces.failures.copy()
    embeddings[row], failures[row] = 7, "truncated"
    return dataclasses.replace(faces, embeddings=embeddings, failures=failures)


def test_norms_are_lengths_and_a_failure_has_none():
    faces = failing(made_faces(), 1)
    expected = [float(sum(float(v) ** 2 for v in row)) ** 0.5 for row in faces.embeddings]
    found = norms(faces)
    assert np.isnan(found[1])
    assert found[[0, 2, 3]].tolist() == pytest.approx([expected[i] for i in (0, 2, 3)])


def test_the_center_is_the_one_that_training_measures():
    faces = made_faces(unrecognizable=5)
    lost = faces.role("unrecognizable")
    statistics = UnrecognizableStatistics.measure(torch.from_numpy(lost.embeddings), torch.zeros(5))
    np.testing.assert_allclose(center_of(faces), statistics.center.numpy(), atol=1e-6)


def test_ers_is_the_index_of_that_name_in_training():
    faces = made_faces(dim=3, seed=4)
    center = center_of(faces)
    unit = faces.embeddings / np.linalg.norm(faces.embeddings, axis=1, keepdims=True)
    distance = torch.from_numpy(1 - unit @ center.astype(np.float32))
    nothing = torch.full_like(distance, torch.nan)
    expected = recognizability_index(Proximities(nothing, nothing, distance), "ers")
    found = recognizability_score(faces, center)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    assert found.min() >= 0
    assert found.max() == 1  # more than a right angle away
    np.testing.assert_allclose(recognizability_score(faces, 9 * center), found)


def test_ers_by_hand():
    angles = np.radians([0, 60, 90, 180])
    faces = dataclasses.replace(
        made_faces(4, 0, 0), embeddings=np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32) * 5
    )
    found = recognizability_score(failing(faces, 3), np.array([2.0, 0.0]))
    assert found[:3].tolist() == pytest.approx([0, 0.5, 1], abs=1e-6)
    assert np.isnan(found[3])


def test_what_has_no_center_is_refused():
    faces = made_faces(unrecognizable=0)
    with pytest.raises(VlrfaceError, match="no face has the role 'unrecognizable'"):
        center_of(faces)
    opposite = made_faces(0, 0, 2)
    cancelling = dataclasses.replace(opposite, embeddings=np.array([[1, 0], [-2, 0]], np.float32))
    with pytest.raises(VlrfaceError, match="cancel out"):
        center_of(cancelling)
    for center, says in ((np.ones(4), "4 dimensions"), (np.zeros(6), "no direction")):
        with pytest.raises(VlrfaceError, match=says):
            recognizability_score(faces, center)


def test_another_models_values_are_joined_by_role_and_name():
    onto = made_faces()
    other = dataclasses.replace(made_faces(dim=9, seed=1), measures={"brisque": np.arange(9.0)})
    shuffled = other.rows(np.random.default_rng(2).permutation(9))
    for what, expected in (
        ("norm", norms(other)),
        ("recognizability", other.recognizability),
        ("brisque", np.arange(9.0)),
        ("-brisque", -np.arange(9.0)),
    ):
        np.testing.assert_allclose(from_faces(shuffled, what, onto), expected)


def test_equal_names_in_two_roles_are_two_faces():
    faces = dataclasses.replace(made_faces(1, 1, 0), names=np.array(["a", "a"]))
    other = faces.rows(np.array([1, 0]))
    assert from_faces(other, "norm", faces).tolist() == norms(faces).tolist()


def test_a_crop_that_failed_there_has_none():
    found = from_faces(failing(made_faces(), 2), "norm", made_faces())
    assert np.isnan(found).tolist() == [False, False, True] + [False] * 6


def test_absent_made_faces_do_no_harm_and_surplus_ones_neither():
    onto = made_faces()
    found = from_faces(onto.role("probe", "gallery"), "norm", onto)
    assert np.isnan(found[-2:]).all()
    assert np.isfinite(found[:-2]).all()
    assert from_faces(onto, "norm", onto.role("probe")).tolist() == norms(onto)[:4].tolist()


def test_absent_crops_are_named_ten_of_them():
    onto = made_faces(probes=14)
    with pytest.raises(
        VlrfaceError, match=r"^other\.npz lack 14 of 19 faces: probe .*0_0\.jpg, .* and 4 more\. Encode"
    ) as at:
        from_faces(onto.role("gallery"), "norm", onto, label="other.npz")
    assert str(at.value).count("probe ") == 10


def test_an_unknown_or_empty_measure_is_refused():
    faces = dataclasses.replace(made_faces(), measures={"mine": np.zeros(9)})
    with pytest.raises(VlrfaceError, match="no measure 'yours'; there are norm, recognizability, mine"):
        from_faces(faces, "yours", faces)
    blind = dataclasses.replace(faces, recognizability=np.full(9, np.nan, np.float32))
    with pytest.raises(VlrfaceError, match="have no recognizability"):
        from_faces(blind, "recognizability", faces)


def test_joining_nothing_gives_nothing():
    faces = made_faces()
    none = faces.rows(np.zeros(9, bool))
    assert isinstance(none, Faces)
    assert len(from_faces(faces, "norm", none)) == 0
