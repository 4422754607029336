"""Verification on pair lists: figures against the metrics and insightface's numbers, folds, failures."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from vlrface.evaluate import PairVerification, SurvFaceVerification, evaluate
from vlrface.metrics.folds import accuracy_10_fold, dealt_folds, decide_by_folds
from vlrface.metrics.pairs import listed_pairs, listed_scores
from vlrface.metrics.rejection import edc, partial_auc
from vlrface.metrics.verification import auc, eer, tpr_at_far
from vlrface.types import Faces, Pairing, VlrfaceError

from .made import blind, failing, pair_list

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics_pairs.json").read_text())


@pytest.fixture(scope="module")
def faces():
    return pair_list(genuine=150, impostors=1500)


@pytest.fixture(scope="module")
def report(faces):
    return evaluate(faces, PairVerification(), resamples=200, context={"data": "made"})


def test_figures_are_those_of_the_metrics(faces, report):
    pairs = listed_pairs(faces.embeddings, faces.identities, faces.pairing)
    for far in (0.1, 0.01, 0.001):
        point = tpr_at_far(pairs.genuine, pairs.impostor, far)
        assert report.figures[f"tpr@far={far:g}"].value == point.tpr
        assert report.counts[f"accepted_impostors@far={far:g}"] == point.accepted_impostors
    assert report.figures["auc"].value == auc(pairs.genuine, pairs.impostor)
    assert report.figures["eer"].value == eer(pairs.genuine, pairs.impostor)
    scores = listed_scores(faces.embeddings, faces.pairing)
    decided = decide_by_folds(scores, faces.pairing.same, faces.pairing.fold).accuracy()
    assert report.figures["accuracy"].value == decided.mean
    assert (report.counts["folds"], report.counts["accuracy_pairs"]) == (10, 1650)
    curve = edc(pairs, faces.recognizability, 0.01)
    assert report.figures["pauc@fmr=0.01"].value == partial_auc(curve, 0.3)
    assert [curve.name for curve in report.curves["roc"]] == ["roc"]


def test_accuracy_is_that_of_insightface():
    golden = GOLDEN["easy"]
    cosine, same = np.array(golden["cosine"]), np.array(golden["same"])
    n = 2 * len(cosine)
    embeddings = np.empty((n, 2), np.float32)
    embeddings[0::2], embeddings[1::2] = (1, 0), np.stack([cosine, np.sqrt(1 - cosine**2)], axis=1)
    identities = np.arange(n)
    identities[1::2][same] = identities[0::2][same]
    rows = np.arange(0, n, 2)
    faces = Faces(
        embeddings, np.full(n, np.nan), identities, np.full(n, "face"), np.arange(n).astype(str),
        np.zeros(n, np.int32), np.full(n, ""), pairing=Pairing(rows, rows + 1, same, np.full(len(rows), -1)),
    )  # fmt: skip
    report = evaluate(faces, PairVerification(), resamples=50)
    # Its list is written fold by fold, so that dealt folds are its consecutive ones.
    assert report.figures["accuracy"].value == pytest.approx(np.mean(golden["accuracy_exact_thresholds"]), abs=1e-12)
    assert report.figures["auc"].value == pytest.approx(golden["auc"], abs=1e-12)


def test_every_value_lies_in_its_interval(report):
    for name, estimate in report.figures.items():
        assert estimate.low <= estimate.value <= estimate.high, name
    low, high = (getattr(report.figures["accuracy"], end) for end in ("low", "high"))
    assert 0 < high - low < 0.2


def test_the_interval_of_accuracy_is_about_that_of_independent_pairs():
    """One pair per person: resampling people is resampling pairs of a kind."""
    faces = pair_list(people=400, pictures=2, genuine=400, impostors=400)
    first, second = np.arange(0, 800, 2), np.arange(1, 800, 2)
    pairing = faces.pairing
    alone = dataclasses.replace(
        pairing, first=np.concatenate([first, first]), second=np.concatenate([second, np.roll(second, 7)])
    )
    report = evaluate(dataclasses.replace(faces, pairing=alone), PairVerification(), resamples=400)
    accuracy = report.figures["accuracy"]
    half = 1.96 * np.sqrt(accuracy.value * (1 - accuracy.value) / 800)
    assert 0.7 * half < (accuracy.high - accuracy.low) / 2 < 1.6 * half


def test_a_list_without_folds_is_dealt(faces):
    pairing = faces.pairing
    free = dataclasses.replace(faces, pairing=dataclasses.replace(pairing, fold=np.full(len(pairing), -1)))
    report = evaluate(free, PairVerification(), resamples=5)
    scores = listed_scores(faces.embeddings, pairing)
    decided = decide_by_folds(scores, pairing.same, dealt_folds(pairing.same)).accuracy()
    assert report.figures["accuracy"].value == decided.mean
    # The genuine pairs stand first: consecutive stretches of the whole list would be judged by lopsided thresholds.
    assert report.figures["accuracy"].value != accuracy_10_fold(scores, pairing.same).mean
    half = np.where(np.arange(len(pairing)) < 9, pairing.fold, -1)
    with pytest.raises(VlrfaceError, match="9 of 1650 listed pairs have a fold"):
        evaluate(dataclasses.replace(faces, pairing=dataclasses.replace(pairing, fold=half)), PairVerification())


def test_survface_has_its_own_rates_and_counts_their_impostors(faces):
    report = evaluate(faces, SurvFaceVerification(), resamples=20)
    assert report.benchmark == "survface-verif"
    assert [name for name in report.figures if name.startswith("tpr@far=") and "," not in name] == [
        "tpr@far=0.3",
        "tpr@far=0.1",
        "tpr@far=0.01",
        "tpr@far=0.001",
    ]
    assert report.counts["accepted_impostors@far=0.3"] == 450
    pairs = listed_pairs(faces.embeddings, faces.identities, faces.pairing)
    accepted = tpr_at_far(pairs.genuine, pairs.impostor, 0.001).accepted_impostors
    assert report.counts["accepted_impostors@far=0.001"] == accepted <= 1
    assert "150 genuine and 1,500 impostor pairs" in report.title


def test_the_smaller_face_decides_the_band(faces, report):
    pairs = listed_pairs(faces.embeddings, faces.identities, faces.pairing)
    smaller = faces.sizes[pairs.genuine_faces].min(axis=1)
    inside = (smaller >= 20) & (smaller < 26)
    threshold = tpr_at_far(pairs.genuine, pairs.impostor, 0.01).threshold
    assert report.figures["tpr@far=0.01,size=20-26"].value == (pairs.genuine[inside] >= threshold).mean()


def test_failures_are_misses_and_never_correct_rejections(faces):
    lost = np.unique(faces.pairing.first[:20])
    broken = failing(faces, lost)
    report = evaluate(broken, PairVerification(), resamples=20)
    pairing = faces.pairing
    touched = np.isin(pairing.first, lost) | np.isin(pairing.second, lost)
    assert report.counts["impostor_pairs_not_encoded"] == (touched & ~pairing.same).sum()
    assert report.counts["genuine_pairs"] == 150
    assert report.counts["accuracy_pairs"] == 1650 - (touched & ~pairing.same).sum()
    missed = touched & pairing.same
    assert report.figures["tpr@far=0.1"].value <= 1 - missed.sum() / 150
    kept = pairing.same | ~touched
    scores = np.where(touched, -np.inf, listed_scores(faces.embeddings, pairing))[kept]
    decided = decide_by_folds(scores, pairing.same[kept], pairing.fold[kept])
    assert report.figures["accuracy"].value == decided.accuracy().mean
    assert not decided.right[missed[kept]].any()
    assert report.counts["face_failures"] == len(lost)


def test_faces_in_no_pair_are_ignored(faces, report):
    extra = dataclasses.replace(faces.rows(np.arange(7)), roles=np.full(7, "unrecognizable"), pairing=None)
    joined = extra.joined(dataclasses.replace(faces, pairing=None))
    moved = dataclasses.replace(
        faces.pairing, first=faces.pairing.first + 7, second=faces.pairing.second + 7
    )  # fmt: skip
    again = evaluate(
        dataclasses.replace(joined, pairing=moved), PairVerification(), resamples=200, context={"data": "made"}
    )
    assert again.to_json() == report.to_json()


def test_without_recognizability_its_parts_are_absent(faces):
    report = evaluate(blind(faces), PairVerification(), resamples=5)
    assert not [name for name in report.figures if any(w in name for w in ("pauc", "recogniz", "fnmr"))]
    assert "recognizability: the faces have none" in report.context["left_out"]


def test_strangers_are_people_of_their_own():
    faces = pair_list(genuine=30, impostors=300)
    in_genuine = np.unique(np.concatenate([faces.pairing.first[:30], faces.pairing.second[:30]]))
    unknown = np.where(np.isin(np.arange(len(faces)), in_genuine), faces.identities, -1)
    strangers = dataclasses.replace(faces, identities=unknown)
    known, lone = (evaluate(f, PairVerification(), resamples=50) for f in (faces, strangers))
    values = {name: each.value for name, each in known.figures.items()}
    assert {name: each.value for name, each in lone.figures.items()} == pytest.approx(values)
    assert lone.counts["people"] > known.counts["people"]


def test_a_contradicting_list_is_measured_and_counted(faces):
    pairing = faces.pairing
    first = pairing.first.copy()
    second = pairing.second.copy()
    first[-1], second[-1] = 0, 1  # two pictures of person 0, said to be two people
    report = evaluate(
        dataclasses.replace(faces, pairing=dataclasses.replace(pairing, first=first, second=second)),
        PairVerification(),
        resamples=5,
    )
    assert report.counts["impostor_pairs_of_one_person"] == 1
    assert report.counts["impostor_pairs"] == 1500


def only(faces, rows):
    pairing = faces.pairing
    columns = (pairing.first, pairing.second, pairing.same, pairing.fold)
    return dataclasses.replace(faces, pairing=Pairing(*(column[rows] for column in columns)))


def test_few_pairs():
    faces = pair_list(genuine=10, impostors=10)
    one_of_each = evaluate(only(faces, np.array([0, 19])), PairVerification(), resamples=10)
    assert one_of_each.figures["auc"].value in (0, 0.5, 1)
    assert "accuracy" in one_of_each.figures  # two listed folds, of one pair each
    single = only(faces, np.array([0, 19]))
    dealt = dataclasses.replace(single, pairing=dataclasses.replace(single.pairing, fold=np.array([-1, -1])))
    report = evaluate(dealt, PairVerification(), resamples=10)
    assert "accuracy" not in report.figures
    assert (
        "accuracy: 1 pairs of a kind cannot make 10 folds: at least one of each kind is needed"
        in (report.context["left_out"])
    )
    lost = np.where(np.arange(len(faces)) == single.pairing.second[1], "damaged", "")
    unseen = evaluate(dataclasses.replace(single, failures=lost), PairVerification(), resamples=10)
    assert unseen.figures == {}
    assert "accuracy: no impostor pair of two encoded faces" in unseen.context["left_out"]
    for row, kind in ((19, "genuine"), (0, "an impostor pair")):
        with pytest.raises(VlrfaceError, match=f"none of the 1 listed pairs is {kind}"):
            evaluate(only(faces, np.array([row])), PairVerification())
    for nothing in (dataclasses.replace(faces, pairing=None), only(faces, np.zeros(0, int))):
        with pytest.raises(VlrfaceError, match="needs faces with listed pairs"):
            evaluate(nothing, PairVerification())


def test_a_genuine_pair_of_two_people_is_refused(faces):
    with pytest.raises(VlrfaceError, match="genuine pairs have faces of two persons"):
        evaluate(dataclasses.replace(faces, identities=np.arange(len(faces))), PairVerification())


def test_tied_scores_count_against_the_system():
    faces = pair_list(genuine=20, impostors=20, noise=0.0)
    same = dataclasses.replace(faces, embeddings=np.ones_like(faces.embeddings))
    report = evaluate(same, PairVerification(), resamples=5)
    assert report.figures["tpr@far=0.1"].value == 0
    assert (report.figures["auc"].value, report.figures["eer"].value) == (0.5, 0.5)
    assert report.figures["accuracy"].value == 0.5
