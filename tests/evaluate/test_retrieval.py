"""Leave-one-out retrieval against a slow loop; who is asked for, and who is only searched among."""

import numpy as np
import pytest

from vlrface.evaluate import Retrieval, compare, evaluate
from vlrface.metrics.intervals import bootstrap_shares
from vlrface.types import UNKNOWN_IDENTITY, VlrfaceError

from .made import blind, faces_of, failing, pair_list, tinyface


def slow(faces):
    """First mate and average precision of each picture of a known person that has a mate."""
    known = [
        i
        for i in range(len(faces))
        if faces.identities[i] >= 0 and faces.roles[i] not in ("distractor", "unrecognizable")
    ]
    unit = faces.embeddings / np.maximum(np.linalg.norm(faces.embeddings, axis=1, keepdims=True), 1e-9)
    found = []
    for i in known:
        mates = [j for j in known if j != i and faces.identities[j] == faces.identities[i]]
        if not mates:
            continue
        if not faces.encoded[i]:
            found.append((i, 0, 0.0))
            continue
        others = [j for j in range(len(faces)) if j != i and faces.roles[j] != "unrecognizable" and faces.encoded[j]]
        order = sorted(others, key=lambda j: -(unit[i] @ unit[j]))
        places = [place for place, j in enumerate(order, 1) if j in mates]
        precision = sum(n / place for n, place in enumerate(places, 1)) / len(mates)
        found.append((i, places[0] if places else 0, precision))
    return found


@pytest.fixture(scope="module")
def faces():
    """Probes, gallery, distractors; two unknown people, one person with a single picture, made faces, a failure."""
    made = tinyface(people=12, distractors=15)
    identities = np.concatenate([made.identities, [UNKNOWN_IDENTITY, UNKNOWN_IDENTITY, 40, 3, 3]])
    roles = np.concatenate([made.roles, ["gallery", "probe", "probe", "unrecognizable", "unrecognizable"]])
    return failing(faces_of(identities, roles), [2, 40])


def test_figures_are_those_of_a_slow_loop(faces):
    report = evaluate(faces, Retrieval(), resamples=100)
    expected = slow(faces)
    firsts, people = np.array([first for _, first, _ in expected]), faces.identities[[i for i, _, _ in expected]]
    for k in (1, 5, 20):
        wanted = bootstrap_shares(((firsts > 0) & (firsts <= k)).astype(float), people, resamples=100)
        assert report.figures[f"rank{k}"] == wanted
    assert report.figures["mAP"].value == pytest.approx(np.mean([precision for *_, precision in expected]), abs=1e-6)
    counts = report.counts
    assert (counts["queries"], counts["query_people"], counts["pictures_without_mate"]) == (60, 12, 1)
    assert (counts["distractors"], counts["query_failures"], counts["distractor_failures"]) == (17, 2, 0)
    assert report.title == "Leave-one-out retrieval: 60 pictures, each searched among 77 others"
    assert "rank1@reject=0.3" in report.figures


def test_any_faces_with_two_pictures_of_a_person_will_do():
    report = evaluate(blind(pair_list()), Retrieval(), resamples=20)
    assert report.counts["queries"] == 120
    assert "recognizability: the faces have none" in report.context["left_out"]


def test_two_models_are_compared():
    found = compare([tinyface(people=12, noise=0.5)], [tinyface(people=12, noise=2.5)], Retrieval(), resamples=50)
    assert found.figures["rank1"].certain
    assert found.benchmark == "retrieval"


def test_nobody_with_two_pictures_is_refused():
    with pytest.raises(VlrfaceError, match="needs a person with two pictures, and none of the 4 pictures"):
        evaluate(faces_of(np.arange(4), np.full(4, "probe")), Retrieval())
    with pytest.raises(VlrfaceError, match="none of the 0 pictures"):
        evaluate(faces_of(np.array([2, 2]), np.full(2, "distractor")), Retrieval())
