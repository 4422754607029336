"""Cross-resolution on made faces: every side against the metrics, paired losses, sides that do not belong together."""

import dataclasses

import numpy as np
import pytest

from vlrface.evaluate import CrossResolution, evaluate
from vlrface.evaluate.findings import Findings
from vlrface.metrics.identification import closed_set_ranks, rank_k
from vlrface.metrics.intervals import paired_difference
from vlrface.metrics.pairs import genuine_impostor
from vlrface.metrics.verification import tpr_at_far
from vlrface.types import VlrfaceError

from .made import blind, cross_resolution, failing


@pytest.fixture(scope="module")
def faces():
    return cross_resolution()


@pytest.fixture(scope="module")
def report(faces):
    return evaluate(faces, CrossResolution(), resamples=200)


def ranks_at(faces, side):
    probes, gallery = faces.role(f"side{side}"), faces.role("gallery")
    return closed_set_ranks(probes.embeddings, probes.identities, gallery.embeddings, gallery.identities)


def test_figures_are_those_of_the_metrics(faces, report):
    gallery = faces.role("gallery")
    for side in (7, 14, 28):
        assert report.figures[f"rank1@side={side}"].value == pytest.approx(rank_k(ranks_at(faces, side), 1))
        probes = faces.role(f"side{side}")
        pairs = genuine_impostor(probes.embeddings, probes.identities, gallery.embeddings, gallery.identities)
        point = tpr_at_far(pairs.genuine, pairs.impostor, 0.01)
        assert report.figures[f"tpr@far=0.01,side={side}"].value == point.tpr
        assert report.counts[f"accepted_impostors@far=0.01,side={side}"] == point.accepted_impostors == 11
    (line,) = report.curves["rank1_by_side"]
    assert line.x.tolist() == [7, 14, 28]
    assert line.y.tolist() == [report.figures[f"rank1@side={side}"].value for side in (7, 14, 28)]
    assert len(report.curves["tpr_by_side"]) == 1
    assert report.title == "60 probes shrunk to 7, 14, 28 pixels against 20 sharp faces"


def test_a_loss_is_paired(faces, report):
    first = {side: (ranks_at(faces, side).first_mate == 1).astype(float) for side in (7, 28)}
    people = faces.role("side7").identities
    expected = paired_difference(first[28], first[7], people, resamples=200)
    loss = report.figures["rank1_loss@side=7"]
    assert (loss.value, loss.low, loss.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert loss.low > 0
    tpr = [report.figures[f"tpr@far=0.01,side={side}"].value for side in (7, 28)]
    assert report.figures["tpr_loss@far=0.01,side=7"].value == pytest.approx(tpr[1] - tpr[0])
    assert "rank1_loss@side=28" not in report.figures


def test_every_value_lies_in_its_interval(report):
    for name, estimate in report.figures.items():
        assert estimate.low <= estimate.value <= estimate.high, name


def test_equal_sides_lose_nothing(faces):
    sharp, gallery = faces.role("side28"), faces.role("gallery")
    blurred = dataclasses.replace(sharp, roles=np.full(len(sharp), "side14"))
    found = Findings(resamples=20)
    CrossResolution().measure(gallery.joined(sharp).joined(blurred), found)
    for name in ("rank1_loss@side=14", "tpr_loss@far=0.01,side=14"):
        assert found.figures[name].value.tolist() == [0]
        assert not np.nan_to_num(found.figures[name].samples).any()


def test_the_order_of_rows_does_not_matter(faces, report):
    shuffled = evaluate(faces.rows(np.random.default_rng(3).permutation(len(faces))), CrossResolution(), resamples=200)
    for name, estimate in report.figures.items():
        there = shuffled.figures[name]
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((there.value, there.low, there.high))


def test_sides_are_ordered_as_numbers():
    faces = cross_resolution(sides=(112, 14, 9))
    (line,) = evaluate(faces, CrossResolution(), resamples=5).curves["rank1_by_side"]
    assert line.x.tolist() == [9, 14, 112]


def test_failures_are_misses(faces):
    lost = np.flatnonzero(faces.roles == "side7")[:3]
    report = evaluate(failing(faces, lost), CrossResolution(), resamples=5)
    assert report.counts["probe_failures@side=7"] == 3
    assert report.counts["probe_failures@side=28"] == 0
    assert report.figures["rank1@side=7"].value <= 57 / 60
    everything = failing(faces, np.flatnonzero(faces.roles == "side7"))
    report = evaluate(everything, CrossResolution(), resamples=5)
    assert report.figures["rank1@side=7"].value == 0
    assert "tpr@far=0.01,side=7" not in report.figures
    assert any("verification at side 7" in reason for reason in report.context["left_out"])


def test_no_index_is_needed(faces, report):
    assert evaluate(blind(faces), CrossResolution(), resamples=200).figures == report.figures


def test_sides_must_hold_the_same_probes(faces):
    one = int(np.flatnonzero(faces.roles == "side14")[0])
    with pytest.raises(VlrfaceError, match="sides 14 and 28 hold different probes: 1 names, first p0"):
        evaluate(faces.rows(np.arange(len(faces)) != one), CrossResolution())
    identities = faces.identities.copy()
    identities[one] = 5
    with pytest.raises(VlrfaceError, match="of other people"):
        evaluate(dataclasses.replace(faces, identities=identities), CrossResolution())


def test_missing_parts_are_named(faces):
    with pytest.raises(VlrfaceError, match="gallery missing"):
        evaluate(faces.rows(faces.roles != "gallery"), CrossResolution())
    with pytest.raises(VlrfaceError, match="roles such as side14, found gallery"):
        evaluate(faces.role("gallery"), CrossResolution())
    apart = np.where(faces.roles == "gallery", faces.identities + 1000, faces.identities)
    with pytest.raises(VlrfaceError, match="no probe has a mate"):
        evaluate(dataclasses.replace(faces, identities=apart), CrossResolution())


def test_one_person_and_one_side():
    report = evaluate(cross_resolution(people=1, probes=1, sides=(14,)), CrossResolution(), resamples=5)
    assert report.figures["rank1@side=14"].value == 1
    assert np.isnan(report.figures["rank1@side=14"].low)
    assert set(report.figures) == {"rank1@side=14"}


def test_few_impostors_are_counted():
    report = evaluate(cross_resolution(people=4, probes=1), CrossResolution(), resamples=5)
    assert report.counts["impostor_pairs@side=7"] == 12
    assert report.counts["accepted_impostors@far=0.01,side=7"] == 0  # what the threshold rests on
    assert not [reason for reason in report.context["left_out"] if reason.startswith("tpr")]  # the figure is there
