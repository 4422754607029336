"""The SurvFace protocol on made faces: figures against the metrics one by one, roles, failures, what is absent."""

import dataclasses

import numpy as np
import pytest

from vlrface.calibrate import fit_calibration
from vlrface.evaluate import evaluate
from vlrface.evaluate.survface import SurvFaceIdentification
from vlrface.metrics.open_set import open_set_at, search_open_set, tpir_area, tpir_at_fpir
from vlrface.metrics.templates import gallery_templates
from vlrface.types import Faces, VlrfaceError

from .made import failing

FPIRS = (0.3, 0.2, 0.1, 0.01)


def made_faces(people=40, gallery=3, mated=4, unmated=300, seed=0):
    """Larger faces have a higher index and less noise."""
    rng = np.random.default_rng(seed)
    identities = np.concatenate(
        [np.repeat(np.arange(people), gallery), np.repeat(np.arange(people), mated), np.full(unmated, -1)]
    )
    roles = np.repeat(["gallery", "mated_probe", "unmated_probe"], [people * gallery, people * mated, unmated])
    n = len(roles)
    sizes = rng.integers(12, 40, n)
    index = (sizes / 10 - 2 + 0.5 * rng.normal(size=n)).astype(np.float32)
    centres = rng.normal(size=(people, 16))
    centre = np.where(identities[:, None] >= 0, centres[identities], rng.normal(size=(n, 16)))
    embeddings = centre + (1.3 - 0.5 * np.clip(index, -1, 2))[:, None] * rng.normal(size=(n, 16))
    return Faces(
        embeddings=embeddings.astype(np.float32),
        recognizability=index,
        identities=identities,
        roles=roles,
        names=np.array([f"{i}.jpg" for i in range(n)]),
        sizes=sizes.astype(np.int32),
        failures=np.full(n, "", "<U20"),
    )


def searched(faces, kind="mean"):
    gallery, mated, unmated = (faces.role(role) for role in ("gallery", "mated_probe", "unmated_probe"))
    templates = gallery_templates(gallery.embeddings, gallery.identities, kind, recognizability=gallery.recognizability)
    return search_open_set(mated.embeddings, mated.identities, unmated.embeddings, unmated.identities, templates)


@pytest.fixture(scope="module")
def faces():
    return made_faces()


@pytest.fixture(scope="module")
def report(faces):
    return evaluate(faces, SurvFaceIdentification(), resamples=200, context={"data": "made"})


@pytest.mark.parametrize("kind", ["mean", "raw_mean", "recognizability"])
def test_figures_are_those_of_the_metrics(faces, kind):
    found = evaluate(faces, SurvFaceIdentification(template=kind, rank=5), resamples=20)
    search = searched(faces, kind)
    for fpir in FPIRS:
        point = tpir_at_fpir(search, fpir, 5)
        assert found.figures[f"tpir5@fpir={fpir:g}"].value == pytest.approx(point.tpir)
        assert found.counts[f"accepted_unmated@fpir={fpir:g}"] == point.accepted_unmated
    assert found.figures["tpir5_area"].value == pytest.approx(tpir_area(search, 5))
    assert found.figures["rank1"].value == (search.rank == 1).mean()
    assert found.figures["rank5"].value == (search.rank <= 5).mean()
    (curve,) = found.curves["open_set"]
    assert curve.name == "tpir5"
    assert curve.x[0] * 300 >= 1
    np.testing.assert_allclose(curve.y, open_set_at(search, curve.x, 5).tpir)
    (cmc,) = found.curves["cmc"]
    assert cmc.y[[0, 4]].tolist() == [found.figures["rank1"].value, found.figures["rank5"].value]


def test_templates_differ(faces):
    areas = {tpir_area(searched(faces, kind)) for kind in ("mean", "raw_mean", "recognizability")}
    assert len(areas) == 3


def test_every_value_lies_in_its_interval(report):
    for name, estimate in report.figures.items():
        assert estimate.low <= estimate.value <= estimate.high, name
    for key, curves in report.curves.items():
        for curve in curves:
            assert curve.low is not None, key
            assert (curve.low <= curve.y + 1e-12).all(), key
            assert (curve.y <= curve.high + 1e-12).all(), key


def test_bands_share_the_threshold_of_all(faces, report):
    search, mated, unmated = searched(faces), faces.role("mated_probe"), faces.role("unmated_probe")
    point = tpir_at_fpir(search, 0.1)
    found = search.found(20) & (search.mate_score >= point.threshold)
    inside, outside = ((f.sizes >= 16) & (f.sizes < 20) for f in (mated, unmated))
    assert report.figures["tpir20@fpir=0.1,size=16-20"].value == pytest.approx(found[inside].mean())
    assert report.figures["rank1@size=16-20"].value == pytest.approx((search.rank[inside] == 1).mean())
    assert report.figures["fpir@fpir=0.1,size=16-20"].value == pytest.approx(
        (search.best[outside] >= point.threshold).mean()
    )
    assert report.counts["mated_probes@size=16-20"] == inside.sum()
    assert report.counts["unmated_probes@size=16-20"] == outside.sum()
    fifths = [f"recognizability={k}of5" for k in range(1, 6)]
    assert sum(report.counts[f"mated_probes@{fifth}"] for fifth in fifths) == 160
    totals = [report.counts[f"mated_probes@{f}"] + report.counts[f"unmated_probes@{f}"] for f in fifths]
    assert max(totals) - min(totals) <= 1
    assert report.figures[f"rank1@{fifths[4]}"].value > report.figures[f"rank1@{fifths[0]}"].value


def test_rejecting_keeps_the_threshold_of_all(faces, report):
    search = searched(faces)
    point = tpir_at_fpir(search, 0.1)
    index = np.concatenate([faces.role(r).recognizability for r in ("mated_probe", "unmated_probe")])
    kept = np.ones(len(index), bool)
    kept[np.argsort(index)[: round(0.3 * len(index))]] = False
    found = search.found(20) & (search.mate_score >= point.threshold)
    value = found[kept[:160]].mean()
    assert report.figures["tpir20@fpir=0.1,reject=0.3"].value == pytest.approx(value)
    gain = report.figures["tpir20_gain@fpir=0.1,reject=0.3"]
    assert gain.value == pytest.approx(value - report.figures["tpir20@fpir=0.1"].value)
    assert gain.low > 0  # the index of these faces is worth something
    reported = (search.best >= point.threshold)[kept[160:]].mean()
    assert report.figures["fpir@fpir=0.1,reject=0.3"].value == pytest.approx(reported)


def test_counts_title_and_context(report):
    expected = {
        "mated_probes": 160,
        "mated_people": 40,
        "unmated_probes": 300,
        "gallery": 120,
        "gallery_people": 40,
        "templates": 40,
        "people_without_template": 0,
        "mated_probes_without_mate": 0,
        "gallery_failures": 0,
        "mated_probe_failures": 0,
        "unmated_probe_failures": 0,
    }
    assert {k: report.counts[k] for k in expected} == expected
    assert report.benchmark == "survface-id"
    assert report.title == "Open-set identification of 160 mated and 300 unmated probes among 40 people"
    assert report.context["data"] == "made"


def test_the_same_seed_gives_the_same_report(faces, report):
    again = evaluate(faces, SurvFaceIdentification(), resamples=200, context={"data": "made"})
    assert again.to_json() == report.to_json()
    other = evaluate(faces, SurvFaceIdentification(), resamples=200, seed=1)
    name = "tpir20@fpir=0.1"
    assert other.figures[name].value == report.figures[name].value
    assert other.figures[name] != report.figures[name]


def test_the_order_of_rows_does_not_matter_to_the_values(faces, report):
    shuffled = faces.rows(np.random.default_rng(3).permutation(len(faces)))
    again = evaluate(shuffled, SurvFaceIdentification(), resamples=5)
    assert set(again.figures) == set(report.figures)
    for name, estimate in report.figures.items():
        assert again.figures[name].value == pytest.approx(estimate.value, abs=1e-9), name


def test_failures_are_misses_or_left_out_and_counted(faces):
    mated, unmated = (np.flatnonzero(faces.roles == role) for role in ("mated_probe", "unmated_probe"))
    person = np.flatnonzero((faces.roles == "gallery") & (faces.identities == 7))
    broken = failing(faces, np.concatenate([mated[:2], unmated[:30], person]))
    report = evaluate(broken, SurvFaceIdentification(), resamples=20)
    assert report.counts["mated_probe_failures"] == 2
    assert report.counts["unmated_probe_failures"] == 30
    assert report.counts["gallery_failures"] == 3
    assert (report.counts["templates"], report.counts["people_without_template"]) == (39, 1)
    assert report.counts["mated_probes_without_mate"] == 0  # the mate is enrolled, and cannot be found
    assert report.counts["accepted_unmated@fpir=0.1"] == 27
    assert report.figures["rank20"].value <= (160 - 2 - 4) / 160
    assert sum(report.counts[f"mated_probes@recognizability={k}of5"] for k in range(1, 6)) == 158


def test_a_missing_mate_is_a_miss_and_counted(faces):
    without = faces.rows(~((faces.roles == "gallery") & (faces.identities < 10)))
    report = evaluate(without, SurvFaceIdentification(), resamples=5)
    assert report.counts["mated_probes_without_mate"] == 40
    assert report.counts["gallery_people"] == 30
    assert report.figures["rank20"].value <= 0.75


def test_without_recognizability_its_parts_are_absent(faces):
    blind = dataclasses.replace(faces, recognizability=np.full(len(faces), np.nan, np.float32))
    report = evaluate(blind, SurvFaceIdentification(), resamples=5)
    assert not [name for name in report.figures if "reject" in name or "recognizability" in name]
    assert "tpir20@fpir=0.1,size=16-20" in report.figures
    assert "recognizability: the probes have none" in report.context["left_out"]
    with pytest.raises(VlrfaceError, match="no gallery face has an index"):
        evaluate(blind, SurvFaceIdentification(template="recognizability"))


def test_sizes_may_be_unknown(faces):
    report = evaluate(
        dataclasses.replace(faces, sizes=np.zeros(len(faces), np.int32)), SurvFaceIdentification(), resamples=5
    )
    assert not [name for name in report.figures if "size" in name]


def test_a_band_of_strangers_only_has_no_tpir(faces):
    sizes = np.where(faces.roles == "unmated_probe", 14, 25).astype(np.int32)
    report = evaluate(dataclasses.replace(faces, sizes=sizes), SurvFaceIdentification(), resamples=5)
    assert "tpir20@fpir=0.1,size=12-16" not in report.figures
    assert report.figures["fpir@fpir=0.1,size=12-16"].value == pytest.approx(0.1)
    assert report.figures["tpir20@fpir=0.1,size=20-26"].value == report.figures["tpir20@fpir=0.1"].value
    assert "fpir@fpir=0.1,size=20-26" not in report.figures


def test_verdicts_are_counted_where_faces_carry_a_calibration(faces):
    index = faces.recognizability
    calibration = fit_calibration(index, index > 0, gallery_size=40)
    known = dataclasses.replace(faces, meta={"calibration": calibration.to_json()})
    report = evaluate(known, SurvFaceIdentification(), resamples=5)
    words = ("recognizable", "doubtful", "unrecognizable", "failed")
    assert sum(report.counts[f"unmated_probes_{v}"] for v in words) == 300


def test_one_person_has_no_intervals():
    report = evaluate(made_faces(people=1), SurvFaceIdentification(), resamples=5)
    assert np.isnan(report.figures["tpir20@fpir=0.1"].low)
    assert report.curves["open_set"][0].low is None


def test_other_roles_are_ignored(faces, report):
    extra = dataclasses.replace(
        faces.role("unmated_probe"), roles=np.full(300, "unrecognizable"), identities=np.full(300, -1)
    )
    again = evaluate(faces.joined(extra), SurvFaceIdentification(), resamples=200, context={"data": "made"})
    assert again.to_json() == report.to_json()


@pytest.mark.parametrize("role", ["gallery", "mated_probe", "unmated_probe"])
def test_a_missing_role_is_named(faces, role):
    with pytest.raises(VlrfaceError, match=f"{role} missing, found"):
        evaluate(faces.rows(faces.roles != role), SurvFaceIdentification())


def test_refuses_people_numbered_differently_and_strangers_that_are_enrolled(faces):
    apart = np.where(faces.roles == "mated_probe", faces.identities + 1000, faces.identities)
    with pytest.raises(VlrfaceError, match="no mated probe has a mate"):
        evaluate(dataclasses.replace(faces, identities=apart), SurvFaceIdentification())
    enrolled = np.where(faces.roles == "unmated_probe", 3, faces.identities)
    with pytest.raises(VlrfaceError, match="300 unmated probes show an enrolled person"):
        evaluate(dataclasses.replace(faces, identities=enrolled), SurvFaceIdentification())


@pytest.mark.parametrize("options", [{"rank": 0}, {"fpirs": (0.1, 1.5)}, {"rejected": (1.0,)}, {"split_fpir": -0.1}])
def test_refuses_options_that_mean_nothing(options):
    with pytest.raises(VlrfaceError, match="the rank must be at least 1"):
        SurvFaceIdentification(**options)
