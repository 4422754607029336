"""From faces to a calibration."""

from dataclasses import replace

import numpy as np
import pytest

from vlrface.calibrate import (
    Calibration,
    Wishes,
    calibrate,
    fit_calibration,
    judged_reliability,
    search_held_out,
    watch_list,
    wished_points,
)
from vlrface.metrics.cosine import unit_rows
from vlrface.metrics.identification import leave_one_out_ranks
from vlrface.metrics.templates import gallery_templates
from vlrface.types import Faces, VlrfaceError


def made_faces(people=60, each=4, seed=0, failed=0):
    """Faces whose noise grows as their recognizability falls."""
    rng = np.random.default_rng(seed)
    n = people * each
    identities = np.repeat(np.arange(people), each)
    index = rng.uniform(0, 3, n).astype(np.float32)
    centres = rng.normal(size=(people, 16))
    embeddings = (centres[identities] + 4 * np.exp(-index)[:, None] * rng.normal(size=(n, 16))).astype(np.float32)
    failures = np.full(n, "", "<U16")
    failures[:failed] = "truncated"
    embeddings[:failed], index[:failed] = np.nan, np.nan
    return Faces(
        embeddings=embeddings,
        recognizability=index,
        identities=identities,
        roles=np.full(n, "held out"),
        names=np.array([f"{i}.png" for i in range(n)]),
        sizes=np.full(n, 20, np.int32),
        failures=failures,
    )


def test_a_true_index_is_calibrated():
    calibration = calibrate(made_faces(people=150))
    assert calibration.slope > 0.5
    assert calibration.calibration_error < 0.08
    assert (calibration.gallery_size, calibration.faces) == (599, 600)
    other = made_faces(people=150, seed=1)  # other people, same camera
    score = calibration.score(other.recognizability)
    again = calibrate(other)
    assert score.mean() == pytest.approx(again.rank1, abs=0.06)
    easy, hard = score[other.recognizability > 2.5], score[other.recognizability < 0.5]
    assert easy.min() > hard.max()


def test_failures_and_faces_without_a_mate_are_not_fitted_on():
    faces = made_faces(failed=3)  # leaves one face of the first person
    calibration = calibrate(faces)
    assert calibration.faces == len(faces) - 4
    assert calibration.gallery_size == len(faces) - 4
    assert calibration.verdict(faces.recognizability)[0] == "failed"


def test_unrecognizable_statistics_become_a_limit():
    calibration = calibrate(made_faces(), unrecognizable_mean=0.2, unrecognizable_deviation=0.1)
    assert calibration.unrecognizable_index == pytest.approx(0.4)
    with pytest.raises(VlrfaceError, match="both"):
        calibrate(made_faces(), unrecognizable_mean=0.2)


def test_a_constant_index_gives_the_base_rate():
    correct = np.array([True, False, False, True])
    calibration = fit_calibration(np.full(4, 0.1, np.float32), correct, gallery_size=3)
    assert (calibration.slope, calibration.scale) == (0, 1)
    assert calibration.score(np.array([0.1, 5.0])).tolist() == pytest.approx([0.5, 0.5])


def test_an_index_that_is_missing_is_left_out():
    calibration = fit_calibration(np.array([np.nan, 1.0, 2.0]), np.array([True, False, True]), gallery_size=2)
    assert calibration.faces == 2
    with pytest.raises(VlrfaceError, match="no face has a recognizability index"):
        fit_calibration(np.array([np.nan]), np.array([True]), gallery_size=2)


def test_people_with_one_face_each_cannot_calibrate():
    with pytest.raises(VlrfaceError, match="two encoded faces"):
        calibrate(made_faces(each=1))


def test_destroyed_faces_are_no_gallery():
    faces = made_faces()
    lost = replace(faces, identities=np.full(len(faces), -1), roles=np.full(len(faces), "unrecognizable"))
    assert calibrate(faces.joined(lost)) == calibrate(faces)


def test_order_of_faces_does_not_matter():
    faces = made_faces()
    shuffled = faces.rows(np.random.default_rng(1).permutation(len(faces)))
    here, there = calibrate(faces), calibrate(shuffled)
    assert (here.slope, here.intercept) == pytest.approx((there.slope, there.intercept), rel=1e-6)
    assert Calibration.from_json(here.to_json()) == here


def test_the_chance_in_a_smaller_gallery_is_that_of_drawing_it():
    faces = made_faces(people=12, each=3)
    searched = search_held_out(faces, 20)
    draw = np.random.default_rng(0)
    unit = faces.embeddings / np.linalg.norm(faces.embeddings, axis=1, keepdims=True)
    hits = np.zeros(len(faces))
    for _ in range(400):
        for row, person in enumerate(faces.identities):
            others = np.flatnonzero(faces.identities != person)
            mates = np.setdiff1d(np.flatnonzero(faces.identities == person), [row])
            drawn = draw.permutation(others)[: 20 - len(mates)]
            hits[row] += (unit[mates] @ unit[row]).max() > (unit[drawn] @ unit[row]).max()
    assert searched.gallery_size == 20
    np.testing.assert_allclose(searched.correct, hits / 400, atol=0.12)
    assert abs(searched.correct.mean() - hits.mean() / 400) < 0.01
    everybody = search_held_out(faces)
    ranks = leave_one_out_ranks(faces.embeddings, faces.identities)
    np.testing.assert_array_equal(everybody.correct, ranks.first_mate == 1)


def test_a_smaller_gallery_is_easier_and_a_larger_one_is_not_guessed():
    faces = made_faces()
    scores = [calibrate(faces, gallery_size=size).score(np.array([1.0]))[0] for size in (20, 100, 239)]
    assert scores[0] > scores[1] > scores[2]
    for size in (3, 240):
        with pytest.raises(VlrfaceError, match=f"a gallery of {size} faces cannot be drawn from 239"):
            calibrate(faces, gallery_size=size)


def test_a_watch_list_by_a_loop():
    faces = made_faces(people=9, each=3)
    listed = watch_list(faces)
    for row, person in enumerate(faces.identities):
        templates = gallery_templates(
            faces.embeddings, faces.identities, "recognizability", recognizability=faces.recognizability
        )
        unit = faces.embeddings[row] / np.linalg.norm(faces.embeddings[row])
        cosines = templates.embeddings @ unit
        assert listed.best[row] == pytest.approx(cosines[templates.identities != person].max(), abs=1e-5)
    assert listed.people == 8
    assert listed.mated.tolist() == list(range(len(faces)))
    right = np.isfinite(listed.found)
    assert (listed.found[right] > listed.best[right]).all()
    fewer = watch_list(faces, 3)
    assert (fewer.best <= listed.best + 1e-6).all()
    with pytest.raises(VlrfaceError, match="a gallery of 9 people cannot be drawn from 8"):
        watch_list(faces, 9)


def test_one_to_one_against_templates_is_a_search_in_a_gallery_of_one():
    """Faces that have something in common: an FMR of pairs is not that of a face and a template, as the pages say."""

    def drawn(people, seed):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(people), 6)
        own, chance = rng.normal(size=(people, 64)), 2 * rng.normal(size=(len(who), 64))
        faces = made_faces(people=people, each=6, seed=seed)
        return replace(faces, embeddings=(own[who] + chance + 0.7).astype(np.float32))

    held_out, others = drawn(200, 0), drawn(300, 1)
    wishes = Wishes(fmr=(0.03,), fpir=(0.03,), gallery_people=1)
    (fmr, fpir), refused = wished_points(held_out, calibrate(held_out), wishes, resamples=20)
    assert not refused
    template = np.arange(len(others)) % 6 < 5
    mine = others.rows(template)
    templates = gallery_templates(mine.embeddings, mine.identities, "mean").embeddings
    probes = unit_rows(others.embeddings[~template]).unit
    strangers = (probes @ templates.T)[~np.eye(300, dtype=bool)]
    assert np.mean(strangers >= fmr.threshold) > 0.05
    assert 0.015 < np.mean(strangers >= fpir.threshold) < 0.04


def test_points_are_kept_and_asked_for_by_rate():
    faces = made_faces()
    calibration = calibrate(faces)
    points, refused = wished_points(faces, calibration, Wishes((0.01, 1e-9), (0.1,), (0.5,), (0.4,)), resamples=20)
    assert [(p.wish, p.wished) for p in points] == [("fmr", 0.01), ("fpir", 0.1), ("accept", 0.5), ("fnmr", 0.4)]
    assert len(refused) == 1
    assert refused[0].startswith("FMR 1e-09: ")
    kept = Calibration.from_json({**calibration.to_json(), "points": [p.to_json() for p in points]})
    assert kept.point("fpir", 0.1) == points[1]
    with pytest.raises(VlrfaceError, match=r"no threshold for fmr 0\.001 \(it has: fmr 0\.01, .*vlrface calibrate"):
        kept.point("fmr", 0.001)
    old = {key: value for key, value in calibration.to_json().items() if key not in ("points", "space", "data")}
    assert Calibration.from_json(old) == calibration


def test_the_cost_of_acceptance_is_that_of_the_stated_gallery():
    faces = made_faces(people=60)
    costs = []
    for size in (20, 100, None):
        calibration = calibrate(faces, gallery_size=size)
        (point,), _ = wished_points(faces, calibration, Wishes(accept=(0.7,)), gallery_size=size, resamples=20)
        searched = search_held_out(faces, size)
        accepted = calibration.score(searched.index) >= point.threshold
        assert point.cost == pytest.approx(1 - searched.correct[accepted].mean(), abs=1e-12)
        assert point.cost_low <= point.cost <= point.cost_high
        costs.append(point.cost)
    assert costs[0] < costs[1] < costs[2]
    with pytest.raises(VlrfaceError, match="a gallery of 1000 faces cannot be drawn"):
        wished_points(faces, calibration, Wishes(accept=(0.7,)), gallery_size=1000, resamples=20)


def test_thresholds_serve_the_embeddings_they_were_measured_on():
    calibration = calibrate(made_faces())
    calibration.check_space("anything")  # without thresholds there is nothing to misuse
    points, _ = wished_points(made_faces(), calibration, Wishes(fmr=(0.01,)), resamples=20)
    kept = replace(calibration, points=tuple(points), space="abc+flip")
    kept.check_space("abc+flip")
    for other in ("abc", "abc-int8+flip", "def+flip"):
        with pytest.raises(VlrfaceError, match="measured on embeddings of abc"):
            kept.check_space(other)
    assert Calibration.from_json(kept.to_json()) == kept
    with pytest.raises(VlrfaceError, match="origin is no text"):
        Calibration.from_json({**kept.to_json(), "space": 3})


def test_pairs_of_many_faces_are_those_of_some(monkeypatch):
    faces = made_faces(people=50)
    calibration, wishes = calibrate(faces), Wishes((0.05,), (0.1,), (0.5,), (0.4,))
    whole, _ = wished_points(faces, calibration, wishes, resamples=20)
    monkeypatch.setattr("vlrface.calibrate.wishes._PAIRED_FACES", 120)
    some, refused = wished_points(faces, calibration, wishes, resamples=20)
    assert not refused
    drawn = faces.rows(np.sort(np.random.default_rng(0).permutation(200)[:120]))
    assert some[0] == wished_points(drawn, calibration, Wishes((0.05,)), resamples=20)[0][0]
    assert some[3] == wished_points(drawn, calibration, Wishes(fnmr=(0.4,)), resamples=20)[0][0]
    assert some[1:3] == whole[1:3]  # searches and shares are of all faces
    assert some[0].threshold_low < whole[0].threshold < some[0].threshold_high


def test_reliability_counts_every_face_once():
    faces = made_faces(people=100)
    calibration = calibrate(faces)
    searched = search_held_out(faces)
    found = judged_reliability(calibration, searched)
    assert found.faces.sum() == found.histogram.sum() == len(faces)
    assert found.right @ found.faces == pytest.approx(searched.correct.sum())
    assert (np.diff(found.score) > 0).all()
    assert (found.low <= found.right + 1e-9).all()
    assert (found.right <= found.high + 1e-9).all()
    error = np.abs(found.score - found.right) @ found.faces / len(faces)
    assert error == pytest.approx(calibration.calibration_error, abs=1e-9)
