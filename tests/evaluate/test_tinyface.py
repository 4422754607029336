"""The TinyFace protocol on made faces: figures against the metrics one by one, roles, failures, what is absent."""

import dataclasses

import numpy as np
import pytest

from vlrface.calibrate import fit_calibration
from vlrface.evaluate import TinyFace, evaluate
from vlrface.evaluate.identification import RANKS
from vlrface.evaluate.verification import FARS
from vlrface.metrics.identification import closed_set_ranks, mean_average_precision, rank_k
from vlrface.metrics.pairs import genuine_impostor
from vlrface.metrics.rejection import edc, partial_auc, rank1_after_reject
from vlrface.metrics.verification import auc, eer, tpr_at_far
from vlrface.types import Faces, VlrfaceError

from .made import failing


def made_faces(people=40, probes=3, gallery=2, distractors=60, seed=0):
    """Larger faces have a higher index and less noise."""
    rng = np.random.default_rng(seed)
    identities = np.concatenate(
        [np.repeat(np.arange(people), probes), np.repeat(np.arange(people), gallery), np.full(distractors, -100)]
    )
    roles = np.repeat(["probe", "gallery", "distractor"], [people * probes, people * gallery, distractors])
    n = len(roles)
    sizes = rng.integers(12, 40, n)
    index = (sizes / 10 + 0.5 * rng.normal(size=n)).astype(np.float32)
    centres = np.vstack([rng.normal(size=(people, 16)), rng.normal(size=(100 + distractors, 16))])
    centre = np.where(identities[:, None] >= 0, centres[identities], centres[people + np.arange(n) % distractors])
    embeddings = centre + (2.5 - 0.5 * np.clip(index, 0, 4))[:, None] * rng.normal(size=(n, 16))
    return Faces(
        embeddings=embeddings.astype(np.float32),
        recognizability=index,
        identities=identities,
        roles=roles,
        names=np.array([f"{i}.jpg" for i in range(n)]),
        sizes=sizes.astype(np.int32),
        failures=np.full(n, "", "<U20"),
    )


@pytest.fixture(scope="module")
def faces():
    return made_faces()


@pytest.fixture(scope="module")
def report(faces):
    return evaluate(faces, TinyFace(), resamples=200, context={"data": "made"})


def test_identification_figures_are_those_of_the_metrics(faces, report):
    probes, others = faces.role("probe"), faces.role("gallery", "distractor")
    ranks = closed_set_ranks(probes.embeddings, probes.identities, others.embeddings, others.identities)
    for k in RANKS:
        assert report.figures[f"rank{k}"].value == pytest.approx(rank_k(ranks, k))
    assert report.figures["mAP"].value == pytest.approx(mean_average_precision(ranks))
    (cmc,) = report.curves["cmc"]
    assert cmc.x.tolist() == list(range(1, 51))
    assert cmc.y[[k - 1 for k in RANKS]].tolist() == [report.figures[f"rank{k}"].value for k in RANKS]
    for share in (0.1, 0.3, 0.5):
        value = rank1_after_reject(ranks.first_mate, probes.recognizability, share)
        assert report.figures[f"rank1@reject={share}"].value == pytest.approx(value)
        gain = report.figures[f"rank1_gain@reject={share}"]
        assert gain.value == pytest.approx(value - report.figures["rank1"].value)


def test_verification_and_reject_figures_are_those_of_the_metrics(faces, report):
    probes, gallery = faces.role("probe"), faces.role("gallery")
    pairs = genuine_impostor(probes.embeddings, probes.identities, gallery.embeddings, gallery.identities)
    for far in FARS:
        point = tpr_at_far(pairs.genuine, pairs.impostor, far)
        assert report.figures[f"tpr@far={far:g}"].value == point.tpr
        assert report.counts[f"accepted_impostors@far={far:g}"] == point.accepted_impostors
    assert report.figures["auc"].value == auc(pairs.genuine, pairs.impostor)
    assert report.figures["eer"].value == eer(pairs.genuine, pairs.impostor)
    quality = np.concatenate([probes.recognizability, gallery.recognizability])
    for mode, suffix in (("pairs", ""), ("images", ",mode=images")):
        curve = edc(pairs, quality, 0.01, mode=mode)
        assert report.figures[f"pauc@fmr=0.01{suffix}"].value == partial_auc(curve, 0.3)
        assert report.figures[f"normalised_pauc@fmr=0.01,reject=0.2{suffix}"].value == partial_auc(
            curve, 0.2, normalised=True
        )
        drawn, random, oracle = report.curves[f"edc@fmr=0.01{suffix}"]
        assert (drawn.name, random.name, oracle.name) == ("recognizability", "random", "oracle")
        np.testing.assert_allclose(drawn.y, curve.at(drawn.x))
        assert set(random.y) == {drawn.y[0]}
        assert oracle.y[0] == drawn.y[0]
        if mode == "pairs":
            assert (oracle.y[: len(drawn.y)] <= drawn.y + 1e-12).all()


def test_every_value_lies_in_its_interval(report):
    for name, estimate in report.figures.items():
        assert estimate.low <= estimate.value <= estimate.high, name
    for key, curves in report.curves.items():
        for curve in curves:
            if curve.name in ("random", "oracle"):
                continue
            assert curve.low is not None, key
            assert curve.high is not None
            assert (curve.low <= curve.y + 1e-12).all(), key
            assert (curve.y <= curve.high + 1e-12).all(), key


def test_the_index_of_these_faces_is_worth_something(report):
    assert report.figures["rank1_gain@reject=0.3"].low > 0
    assert report.figures["normalised_pauc@fmr=0.01"].high < 0.3  # rejecting at random gives 0.3
    assert report.figures["spearman_recognizability_size"].low > 0.5


def test_sizes_fall_into_half_open_bands(faces, report):
    both = faces.role("probe", "gallery")
    inside = (both.sizes >= 16) & (both.sizes < 20)
    assert report.counts["faces@size=16-20"] == inside.sum()
    assert report.figures["recognizability@size=16-20"].value == pytest.approx(both.recognizability[inside].mean())
    assert report.counts["faces@size=32+"] == (both.sizes >= 32).sum()
    (curve,) = report.curves["recognizability_by_size"]
    assert len(curve.x) == 5
    assert (np.diff(curve.y) > 0).all()


def test_counts_and_context(report):
    assert {k: report.counts[k] for k in ("probes", "gallery", "distractors", "probe_people", "gallery_people")} == {
        "probes": 120,
        "gallery": 80,
        "distractors": 60,
        "probe_people": 40,
        "gallery_people": 40,
    }
    assert report.counts["genuine_pairs"] == 40 * 3 * 2
    assert report.counts["impostor_pairs"] == 120 * 80 - 240
    assert report.context["data"] == "made"
    assert report.context["seed"] == 0
    assert any("FMR 0.001: 9 of 9360 impostor pairs" in reason for reason in report.context["left_out"])
    assert not any("fmr=0.001" in name for name in report.figures)


def test_the_same_seed_gives_the_same_report(faces, report):
    again = evaluate(faces, TinyFace(), resamples=200, context={"data": "made"})
    assert again.to_json() == report.to_json()
    other = evaluate(faces, TinyFace(), resamples=200, seed=1)
    assert other.figures["rank1"].value == report.figures["rank1"].value
    assert other.figures["rank1"].low != report.figures["rank1"].low or other.figures["mAP"] != report.figures["mAP"]


def test_order_of_rows_does_not_matter(faces, report):
    shuffled = evaluate(faces.rows(np.random.default_rng(3).permutation(len(faces))), TinyFace(), resamples=200)
    for name, estimate in report.figures.items():
        there = shuffled.figures[name]
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
            (there.value, there.low, there.high), abs=1e-5
        ), name


def test_the_report_is_written(report, tmp_path):
    report.save(tmp_path / "report.json")
    assert (tmp_path / "report.json").stat().st_size > 1000


def test_failures_are_misses_and_are_counted(faces):
    gallery = np.flatnonzero(faces.roles == "gallery")
    broken = failing(faces, np.array([0, 1, gallery[5], len(faces) - 1]))
    report = evaluate(broken, TinyFace(), resamples=20)
    assert report.counts["probe_failures"] == 2
    assert report.counts["gallery_failures"] == 1
    assert report.counts["distractor_failures"] == 1
    assert report.counts["impostor_pairs_not_encoded"] == 2 * 78 + 117 - 2  # pairs of two failures once
    assert report.counts["genuine_pairs"] == 240
    assert report.figures["rank50"].value <= 118 / 120
    assert report.figures["tpr@far=0.1"].value < 1
    both = broken.role("probe", "gallery")
    inside = both.encoded & (both.sizes >= 20) & (both.sizes < 26)
    assert report.figures["recognizability@size=20-26"].value == pytest.approx(both.recognizability[inside].mean())
    probes = broken.role("probe")
    others = broken.role("gallery", "distractor")
    others = others.rows(others.encoded)
    kept = np.argsort(np.where(probes.encoded, probes.recognizability, -np.inf))[12:]
    ranks = closed_set_ranks(probes.embeddings[kept], probes.identities[kept], others.embeddings, others.identities)
    assert report.figures["rank1@reject=0.1"].value == pytest.approx(rank_k(ranks, 1))


def test_without_recognizability_its_parts_are_absent(faces):
    blind = dataclasses.replace(faces, recognizability=np.full(len(faces), np.nan, np.float32))
    report = evaluate(blind, TinyFace(), resamples=20)
    assert set(report.curves) == {"cmc", "roc"}
    assert not [name for name in report.figures if any(w in name for w in ("reject", "pauc", "recogniz", "fnmr"))]
    assert "recognizability: the faces have none" in report.context["left_out"]


def test_verdicts_are_counted_where_faces_carry_a_calibration(faces):
    probes = faces.role("probe")
    calibration = fit_calibration(probes.recognizability, probes.recognizability > 2, gallery_size=100)
    known = failing(dataclasses.replace(faces, meta={"calibration": calibration.to_json()}), np.array([0]))
    report = evaluate(known, TinyFace(), resamples=20)
    verdicts = [report.counts[f"probes_{v}"] for v in ("recognizable", "doubtful", "unrecognizable", "failed")]
    assert sum(verdicts) == 120
    assert verdicts[3] == 1
    assert verdicts[0] == pytest.approx((calibration.score(probes.recognizability[1:]) >= 0.5).sum())
    assert report.counts["distractors_failed"] == 0


def test_other_roles_are_ignored(faces, report):
    extra = dataclasses.replace(
        faces.role("distractor"), roles=np.full(60, "unrecognizable"), identities=np.full(60, -1)
    )
    again = evaluate(faces.joined(extra), TinyFace(), resamples=200, context={"data": "made"})
    assert again.to_json() == report.to_json()


def test_a_distractor_is_nobodys_mate_whatever_its_number(faces):
    numbered = dataclasses.replace(faces, identities=np.where(faces.roles == "distractor", 0, faces.identities))
    plain, odd = (evaluate(f, TinyFace(), resamples=5).figures["mAP"].value for f in (faces, numbered))
    assert plain == odd


def test_sizes_may_be_unknown(faces):
    report = evaluate(dataclasses.replace(faces, sizes=np.zeros(len(faces), np.int32)), TinyFace(), resamples=5)
    assert "recognizability_by_size" not in report.curves
    assert any("by size" in reason for reason in report.context["left_out"])


@pytest.mark.parametrize("role", ["probe", "gallery", "distractor"])
def test_a_missing_role_is_named(faces, role):
    with pytest.raises(VlrfaceError, match=f"{role} missing, found"):
        evaluate(faces.rows(faces.roles != role), TinyFace())


def test_people_numbered_differently_are_an_error(faces):
    apart = np.where(faces.roles == "probe", faces.identities + 1000, faces.identities)
    with pytest.raises(VlrfaceError, match="no probe has a mate"):
        evaluate(dataclasses.replace(faces, identities=apart), TinyFace())


def test_one_person_has_no_impostors_and_no_intervals():
    report = evaluate(made_faces(people=1), TinyFace(), resamples=5)
    assert np.isnan(report.figures["rank1"].low)
    assert report.curves["cmc"][0].low is None
    assert "roc" not in report.curves
    assert any("verification" in reason for reason in report.context["left_out"])
