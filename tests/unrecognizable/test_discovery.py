"""Discovery on pools with a known truth."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unrecognizable.made import pool

from vlrface.types import VlrfaceError
from vlrface.unrecognizable import Pool, Settings, discover


@pytest.mark.parametrize("method", ["graph", "agglomerative"])
def test_the_region_of_the_unrecognizable_is_found_and_no_person(method):
    made, truth = pool()
    found = discover(made, Settings(method))
    assert found.method == method
    assert (found.found & truth).sum() / found.found.sum() > 0.95
    assert (found.found & truth).sum() / truth.sum() > 0.9
    assert found.clusters[0].chosen
    assert found.clusters[0].evidence["response"].speaks_for
    assert found.scores[truth].min() >= 0
    assert found.scores.max() <= 1
    assert np.linalg.norm(found.center) == pytest.approx(1)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000))
def test_the_order_of_the_pool_does_not_matter(seed):
    made, _ = pool(people=20, lost=40, destroyed=60)
    order = np.random.default_rng(seed).permutation(len(made.embeddings))
    place = np.argsort(order)
    moved = Pool(made.embeddings[order], made.destroyed, place[made.origins])
    first, second = discover(made), discover(moved)
    assert second.scores == pytest.approx(first.scores[order], abs=1e-6)
    assert second.criterion == pytest.approx(first.criterion)


def test_people_with_many_pictures_are_tight_but_not_unrecognizable():
    made, truth = pool(people=8, pictures=40, lost=60)
    assert not discover(made).found[~truth].any()


def test_several_regions_are_taken_together():
    first, truth = pool(seed=1)
    second, _ = pool(seed=2)
    made = Pool(
        np.concatenate([first.embeddings, second.embeddings[truth]]),
        np.concatenate([first.destroyed, second.destroyed]),
    )
    truth = np.concatenate([truth, np.ones(truth.sum(), bool)])
    found = discover(made)
    assert (found.found & truth).sum() / truth.sum() > 0.85
    assert (found.found & truth).sum() / found.found.sum() > 0.95


def test_a_face_that_was_not_encoded_has_no_score():
    made, _ = pool()
    embeddings = made.embeddings.copy()
    embeddings[[3, -1]] = np.nan
    found = discover(dataclasses.replace(made, embeddings=embeddings))
    assert np.flatnonzero(np.isnan(found.scores)).tolist() == [3, len(embeddings) - 1]
    assert not found.found[[3, -1]].any()
    assert found.labels[3] == -1


def test_predicted_recognizability_is_evidence():
    made, truth = pool()
    predicted = np.where(truth, 0.1, 1.0) + np.random.default_rng(0).normal(0, 0.1, len(truth))
    found = discover(dataclasses.replace(made, recognizability=predicted))
    assert found.score.terms["recognizability"][0] < 0
    assert found.clusters[0].evidence["recognizability"].speaks_for


def test_a_pool_without_such_faces_has_none():
    made, _ = pool(lost=0)
    with pytest.raises(VlrfaceError, match="no cluster of unrecognizable faces"):
        discover(made)


def test_a_cluster_against_which_most_speaks_is_refused():
    made, truth = pool()
    rng = np.random.default_rng(0)
    embeddings = made.embeddings * np.where(truth, 10, 1)[:, None].astype(np.float32)  # long, hence not lost
    looks = np.where(truth[:, None], 1.0, rng.standard_normal((len(truth), 36)))  # the same picture again and again
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    strange = Pool(embeddings, made.destroyed, None, np.where(truth, 2.0, 1.0), looks)
    with pytest.raises(VlrfaceError, match="refused by what else is known"):
        discover(strange)


def test_a_reference_tighter_than_what_is_looked_for_is_made_up_for():
    made, truth = pool(tight=0.85)
    found = discover(made)
    assert not found.found[~truth].any()
    assert (found.found & truth).sum() / truth.sum() > 0.9
    assert found.score.reached < 0.9


def test_too_little_to_judge_by_is_refused():
    made, _ = pool(people=4, pictures=2, lost=8, destroyed=16)
    with pytest.raises(VlrfaceError, match="16 faces and 16 destroyed pictures are too few"):
        discover(made)


@pytest.mark.parametrize("given_", [{"threshold": 0.0}, {"threshold": 1.5}, {"min_share": 1.0}])
def test_settings_out_of_range_are_refused(given_):
    with pytest.raises(VlrfaceError, match="give a number between 0 and 1"):
        Settings(**given_)


def test_json_has_clusters_and_how_a_score_is_made():
    found = discover(pool()[0]).to_json()
    assert found["clusters"][0]["chosen"]
    assert set(found["score"]["terms"]) == {"affinity", "log_length"}
    assert set(found["clusters"][0]["evidence"]["nearness"]) == {"value", "rest", "speaks_for"}
