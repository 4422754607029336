"""The SCface protocol on made faces: distances against the metrics, the seeded variant, resamples written out."""

import dataclasses

import numpy as np
import pytest

from vlrface.calibrate import fit_calibration
from vlrface.data.scface import subjects_to_test
from vlrface.evaluate import SCface, bands_of, evaluate
from vlrface.evaluate.findings import Findings
from vlrface.metrics.identification import closed_set_ranks, hits, rank_k
from vlrface.types import VlrfaceError

from .made import blind, failing, scface


@pytest.fixture(scope="module")
def faces():
    return scface()


@pytest.fixture(scope="module")
def report(faces):
    return evaluate(faces, SCface(), resamples=200)


def ranks_at(faces, *roles):
    probes, gallery = faces.role(*roles), faces.role("gallery")
    return closed_set_ranks(probes.embeddings, probes.identities, gallery.embeddings, gallery.identities)


def test_figures_are_those_of_the_metrics(faces, report):
    for k in (1, 5, 10):
        by_distance = [rank_k(ranks_at(faces, f"distance{d}"), k) for d in (1, 2, 3)]
        for distance, value in zip((1, 2, 3), by_distance, strict=True):
            assert report.figures[f"rank{k}@distance={distance}"].value == pytest.approx(value)
        assert report.figures[f"rank{k}"].value == pytest.approx(np.mean(by_distance))
    assert [curve.name for curve in report.curves["cmc"]] == ["distance 1", "distance 2", "distance 3"]
    for curve, distance in zip(report.curves["cmc"], (1, 2, 3), strict=True):
        assert curve.y[0] == report.figures[f"rank1@distance={distance}"].value
        assert (np.diff(curve.y) >= 0).all()
    probes = faces.role("distance1", "distance2", "distance3")
    index = probes.recognizability[probes.roles == "distance2"].mean()
    assert report.figures["recognizability@distance=2"].value == pytest.approx(index)


def test_every_value_lies_in_its_interval(report):
    for name, estimate in report.figures.items():
        assert estimate.low <= estimate.value <= estimate.high, name


def test_nearer_faces_are_found_more_often(report):
    far, middle, near = (report.figures[f"rank1@distance={d}"] for d in (1, 2, 3))
    assert far.value < middle.value < near.value
    assert report.figures["rank1_gain@reject=0.3"].low > 0


def test_resamples_agree_with_copied_probes(faces):
    found = Findings(seed=4, resamples=30)
    SCface().measure(faces, found)
    weights = np.random.default_rng(4).multinomial(20, np.full(20, 1 / 20), size=30)
    for row, drawn in enumerate(weights):
        means = []
        for distance in (1, 2, 3):
            ranks = ranks_at(faces, f"distance{distance}")
            first = hits(ranks, np.array([1]))[:, 0]
            means.append(np.mean(np.repeat(first, drawn[ranks.identities - 1])))
            assert found.figures[f"rank1@distance={distance}"].samples[row, 0] == pytest.approx(means[-1])
        assert found.figures["rank1"].samples[row, 0] == pytest.approx(np.mean(means))


def test_the_mean_weighs_distances_and_not_probes(faces):
    fewer = faces.rows((faces.roles != "distance3") | (np.arange(len(faces)) % 5 == 0))
    report = evaluate(fewer, SCface(), resamples=20)
    means = [rank_k(ranks_at(fewer, f"distance{d}"), 1) for d in (1, 2, 3)]
    assert report.figures["rank1"].value == pytest.approx(np.mean(means))
    assert report.figures["rank1"].value != pytest.approx(
        rank_k(ranks_at(fewer, "distance1", "distance2", "distance3"), 1)
    )


def test_bands_go_over_the_probes_of_all_distances(faces, report):
    probes = faces.role("distance1", "distance2", "distance3")
    ranks = ranks_at(faces, "distance1", "distance2", "distance3")
    inside = dict(bands_of(probes))["size=16-20"]
    assert report.figures["rank1@size=16-20"].value == pytest.approx((ranks.first_mate[inside] == 1).mean())


def test_80_subjects_are_drawn_by_the_seed():
    faces = scface(subjects=130, cameras=1)
    tested = subjects_to_test(np.arange(1, 131), 80, 3)
    report = evaluate(faces, SCface("80", split_seed=3), resamples=5)
    chosen = evaluate(faces.rows(np.isin(faces.identities, tested)), SCface(), resamples=5)
    assert report.figures == chosen.figures
    assert (report.counts["subjects"], report.counts["gallery"], report.counts["distance1"]) == (80, 80, 80)
    assert "mugshots of 80 subjects (drawn with seed 3)" in report.title
    other = evaluate(faces, SCface("80", split_seed=4), resamples=5)
    assert other.figures != report.figures
    assert evaluate(faces, SCface(), resamples=5).counts["subjects"] == 130


def test_too_few_subjects_for_the_variant(faces):
    with pytest.raises(VlrfaceError, match="80 of 20"):
        evaluate(faces, SCface("80"))


def test_failures_are_misses(faces):
    probe, mugshot = int(np.flatnonzero(faces.roles == "distance3")[7]), 3
    report = evaluate(failing(faces, np.array([probe, mugshot])), SCface(), resamples=5)
    assert report.counts["probe_failures"] == report.counts["gallery_failures"] == 1
    assert report.counts["distance3"] == 100
    assert report.figures["rank10@distance=3"].value <= (100 - 5 - 1) / 100
    assert report.counts["probes_without_mate"] == 0


def test_a_subject_without_mugshot_is_missed_and_counted(faces):
    report = evaluate(faces.rows((faces.roles != "gallery") | (faces.identities != 4)), SCface(), resamples=5)
    assert report.counts["probes_without_mate"] == 15
    assert report.counts["subjects"] == 19
    assert report.figures["rank10@distance=3"].value <= 0.95


def test_verdicts_and_blind_models(faces):
    probes = faces.role("distance1")
    calibration = fit_calibration(probes.recognizability, probes.recognizability > 0, gallery_size=20)
    known = evaluate(dataclasses.replace(faces, meta={"calibration": calibration.to_json()}), SCface(), resamples=5)
    verdicts = ("recognizable", "doubtful", "unrecognizable", "failed")
    assert sum(known.counts[f"distance1_{verdict}"] for verdict in verdicts) == 100
    none = evaluate(blind(faces), SCface(), resamples=5)
    assert not [name for name in none.figures if "recogn" in name or "reject" in name]
    assert "recognizability: the faces have none" in none.context["left_out"]


def test_one_subject_has_no_interval():
    report = evaluate(scface(subjects=1), SCface(), resamples=5)
    assert report.figures["rank1"].value == 1
    assert np.isnan(report.figures["rank1"].low)


@pytest.mark.parametrize("role", ["gallery", "distance2"])
def test_a_missing_role_is_named(faces, role):
    with pytest.raises(VlrfaceError, match=f"{role} missing, found"):
        evaluate(faces.rows(faces.roles != role), SCface())


def test_people_numbered_differently_are_an_error(faces):
    apart = np.where(faces.roles == "gallery", faces.identities + 1000, faces.identities)
    with pytest.raises(VlrfaceError, match="no probe has a mugshot"):
        evaluate(dataclasses.replace(faces, identities=apart), SCface())


def test_other_roles_and_their_people_are_ignored(faces, report):
    extra = dataclasses.replace(faces.role("gallery"), roles=np.full(20, "unrecognizable"), identities=np.full(20, -1))
    again = evaluate(faces.joined(extra), SCface(), resamples=200)
    assert again.to_json() == report.to_json()
