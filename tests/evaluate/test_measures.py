"""Quality measures side by side: figures against the metrics one by one, MagFace's own evaluation, which pairs."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.evaluate import evaluate
from vlrface.evaluate.findings import embeddings_of
from vlrface.evaluate.measured_pairs import is_probe, measured_pairs
from vlrface.evaluate.measures import RejectionByMeasure
from vlrface.evaluate.tinyface import TinyFace
from vlrface.metrics.identification import closed_set_ranks
from vlrface.metrics.pairs import genuine_impostor, listed_pairs
from vlrface.metrics.rejection import edc, partial_auc, rank1_after_reject
from vlrface.metrics.rejection_recomputed import last_ratios, recomputed_edc, sort_pairs
from vlrface.metrics.verification import tpr_at_far
from vlrface.quality.embeddings import norms
from vlrface.types import Faces, Pairing, VlrfaceError

from .made import blind, cross_resolution, failing, pair_list, scface, tinyface

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "quality_magface.json").read_text())


def measured(faces, seed=0):
    """With a good measure, a measure of nothing, a constant one, and one that half of the faces lack."""
    rng = np.random.default_rng(seed)
    n = len(faces)
    size = faces.sizes.astype(float)
    half = np.where(np.arange(n) % 2, size, np.nan)
    return dataclasses.replace(
        faces, measures={"size": size, "lots": rng.normal(size=n), "constant": np.ones(n), "half": half}
    )


MEASURES = ("recognizability", "norm", "size", "lots", "constant", "half")


@pytest.fixture(scope="module")
def faces():
    return measured(tinyface())


@pytest.fixture(scope="module")
def report(faces):
    protocol = RejectionByMeasure(fmrs=(0.1, 0.01), recompute_threshold=True)
    return evaluate(faces, protocol, resamples=100)


@pytest.fixture(scope="module")
def pairs(faces):
    probes, gallery = faces.role("probe"), faces.role("gallery")
    return genuine_impostor(probes.embeddings, probes.identities, gallery.embeddings, gallery.identities)


def qualities(faces):
    both = faces.role("probe", "gallery")
    return {"recognizability": both.recognizability.astype(float), "norm": norms(both), **both.measures}


@pytest.mark.parametrize("mode", ["pairs", "images"])
@pytest.mark.parametrize("fmr", [0.1, 0.01])
def test_areas_are_those_of_the_metrics(faces, report, pairs, fmr, mode):
    suffix = "" if mode == "pairs" else ",mode=images"
    *drawn, random, oracle = report.curves[f"edc@fmr={fmr:g}{suffix}"]
    assert tuple(curve.name for curve in drawn) == MEASURES
    assert (random.name, oracle.name) == ("random", "oracle")
    for curve, (name, quality) in zip(drawn, qualities(faces).items(), strict=True):
        alone = edc(pairs, quality, fmr, mode=mode)
        np.testing.assert_allclose(curve.y, alone.at(curve.x), atol=1e-12)
        assert set(random.y) == {curve.y[0]}
        for upper, part in ((0.3, ""), (0.2, ",reject=0.2"), (0.95, ",reject=0.95")):
            figure = f"pauc@fmr={fmr:g}{part}{suffix},measure={name}"
            if upper > alone.rejected[-1]:
                assert figure not in report.figures
                assert any(figure in reason for reason in report.context["left_out"])
                continue
            assert report.figures[figure].value == pytest.approx(partial_auc(alone, upper))
            assert report.figures[f"normalised_{figure}"].value == pytest.approx(
                partial_auc(alone, upper, normalised=True)
            )
    assert report.figures[f"fnmr@fmr={fmr:g}"].value == drawn[0].y[0]
    assert report.counts[f"accepted_impostors@fmr={fmr:g}"] == alone.accepted_impostors


@pytest.mark.parametrize("mode", ["pairs", "images"])
def test_recomputed_areas_are_those_of_published_tables(faces, report, pairs, mode):
    suffix = ",recomputed" if mode == "pairs" else ",recomputed,mode=images"
    *drawn, _, _ = report.curves[f"edc@fmr=0.1{suffix}"]
    exact = dataclasses.replace(pairs, genuine=pairs.genuine.astype(float), impostor=pairs.impostor.astype(float))
    for curve, (name, quality) in zip(drawn, qualities(faces).items(), strict=True):
        ordered = sort_pairs(exact)
        alone = recomputed_edc(ordered, last_ratios(ordered, quality, mode=mode), 0.1, mode=mode)
        np.testing.assert_allclose(curve.y, alone.fnmr)
        figure = f"pauc@fmr=0.1{suffix},measure={name}"
        if len(alone.fnmr) < 20:
            assert figure not in report.figures
            continue
        assert report.figures[figure].value == pytest.approx(partial_auc(alone, 0.95))
        normal = report.figures[f"normalised_{figure}"]
        assert normal.value == pytest.approx(partial_auc(alone, 0.95, normalised=True))


def test_gains_are_to_the_index_and_good_measures_have_more(report):
    def area(name):
        return report.figures[f"pauc@fmr=0.1,measure={name}"].value

    for name in MEASURES[1:]:
        gain = report.figures[f"pauc_gain@fmr=0.1,measure={name}"]
        assert gain.value == pytest.approx(area("recognizability") - area(name))
        assert gain.low <= gain.value <= gain.high
    assert "pauc_gain@fmr=0.1,measure=recognizability" not in report.figures
    assert report.figures["pauc_gain@fmr=0.1,measure=lots"].high < 0
    assert report.figures["pauc_gain@fmr=0.1,measure=constant"].high < 0
    assert report.figures["normalised_pauc@fmr=0.1,measure=size"].high < 0.3


def test_a_constant_measure_rejects_at_random(report):
    for figure, limit in (("", 0.3), (",reject=0.2", 0.2), (",mode=images", 0.3)):
        found = report.figures[f"normalised_pauc@fmr=0.1{figure},measure=constant"]
        assert (found.value, found.low, found.high) == pytest.approx((limit,) * 3)
    line = next(curve for curve in report.curves["edc@fmr=0.1"] if curve.name == "constant")
    np.testing.assert_allclose(line.y, line.y[0])


def test_the_figures_of_the_index_are_those_of_the_tinyface_protocol(faces, report):
    alone = evaluate(faces, TinyFace(), resamples=100)
    for figure in ("pauc@fmr=0.01", "normalised_pauc@fmr=0.01,reject=0.2", "pauc@fmr=0.01,mode=images"):
        here, there = report.figures[f"{figure},measure=recognizability"], alone.figures[figure]
        assert here.value == there.value
        assert (here.low, here.high) == pytest.approx((there.low, there.high), rel=0.1)
    assert report.figures["rank1"].value == alone.figures["rank1"].value
    for share in (0.1, 0.3, 0.5):
        here, there = (
            report.figures[f"rank1_gain@reject={share},measure=recognizability"],
            alone.figures[f"rank1_gain@reject={share}"],
        )
        assert (here.value, here.low, here.high) == pytest.approx((there.value, there.low, there.high))


def test_rank1_after_reject_is_that_of_the_metric(faces, report):
    probes, others = faces.role("probe"), faces.role("gallery", "distractor")
    ranks = closed_set_ranks(probes.embeddings, probes.identities, others.embeddings, others.identities)
    known = {"recognizability": probes.recognizability, "norm": norms(probes), **probes.measures}
    for name in MEASURES:
        for share in (0.1, 0.3, 0.5):
            value = report.figures[f"rank1@reject={share},measure={name}"].value
            assert value == pytest.approx(rank1_after_reject(ranks.first_mate, known[name], share))
    *drawn, random, oracle = report.curves["rank1_reject"]
    assert tuple(curve.name for curve in drawn) == MEASURES
    rank1 = report.figures["rank1"].value
    assert set(random.y) == {rank1}
    assert oracle.y[6] == pytest.approx(min(rank1 / 0.7, 1))
    for curve in drawn:
        assert (curve.y <= oracle.y + 1e-12).all()


def test_every_value_lies_in_its_interval(report):
    for name, estimate in report.figures.items():
        assert estimate.low - 1e-12 <= estimate.value <= estimate.high + 1e-12, name


def test_counts_and_title(report):
    counts = report.counts
    assert (counts["probes"], counts["gallery"], counts["faces"], counts["people"]) == (90, 60, 150, 30)
    assert (counts["genuine_pairs"], counts["impostor_pairs"]) == (180, 90 * 60 - 180)
    assert counts["probes_with_impostor_pairs"] == 90
    assert counts["faces_not_encoded"] == 0
    assert counts["faces_without@measure=half"] == 75
    assert counts["faces_without@measure=size"] == 0
    assert report.title == (
        "Quality measures compared by error versus reject, on the pairs of 90 probes and 60 gallery faces"
    )


def test_the_same_seed_gives_the_same_and_the_order_of_rows_does_not_matter(faces):
    protocol = RejectionByMeasure(fmrs=(0.1,), measures=("size", "norm"))
    first, again = (evaluate(faces, protocol, resamples=30) for _ in range(2))
    assert first.to_json() == again.to_json()
    shuffled = evaluate(faces.rows(np.random.default_rng(3).permutation(len(faces))), protocol, resamples=30)
    for name, estimate in first.figures.items():
        there = shuffled.figures[name]
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
            (there.value, there.low, there.high), abs=1e-9
        )


def test_measures_can_be_chosen_and_the_first_is_the_reference_where_the_index_is_not_among_them(faces):
    report = evaluate(faces, RejectionByMeasure(fmrs=(0.1,), measures=("size", "lots"), modes=("images",)), resamples=5)
    assert [curve.name for curve in report.curves["edc@fmr=0.1,mode=images"]] == ["size", "lots", "random", "oracle"]
    assert "edc@fmr=0.1" not in report.curves
    gains = [name for name in report.figures if name.startswith("pauc_gain")]
    assert gains == ["pauc_gain@fmr=0.1,mode=images,measure=lots"]
    late = evaluate(faces, RejectionByMeasure(fmrs=(0.1,), measures=("size", "recognizability")), resamples=5)
    assert "pauc_gain@fmr=0.1,measure=size" in late.figures
    assert "pauc_gain@fmr=0.1,measure=recognizability" not in late.figures


def test_a_measure_without_values_is_left_out(faces):
    empty = dataclasses.replace(blind(faces), measures={"mine": np.full(len(faces), np.nan), "size": faces.sizes * 1.0})
    report = evaluate(empty, RejectionByMeasure(fmrs=(0.1,)), resamples=5)
    assert [curve.name for curve in report.curves["edc@fmr=0.1"]] == ["norm", "size", "random", "oracle"]
    assert {"measure recognizability: the faces have none", "measure mine: the faces have none"} <= set(
        report.context["left_out"]
    )
    with pytest.raises(VlrfaceError, match="none of the measures mine has a value"):
        evaluate(empty, RejectionByMeasure(measures=("mine",)))


def test_a_measure_that_only_gallery_faces_have_is_not_asked_of_probes(faces):
    gallery_only = np.where(faces.roles == "gallery", faces.sizes, np.nan)
    report = evaluate(
        dataclasses.replace(faces, measures={"mine": gallery_only}), RejectionByMeasure(fmrs=(0.1,)), resamples=5
    )
    assert "pauc@fmr=0.1,mode=images,measure=mine" in report.figures
    assert "rank1@reject=0.3,measure=mine" not in report.figures
    assert "rank-1 after reject, measure mine: no probe has one" in report.context["left_out"]


def test_too_few_impostors_are_said_or_allowed(faces):
    refused = evaluate(faces, RejectionByMeasure(fmrs=(0.1, 0.001)), resamples=5)
    assert not any("fmr=0.001" in name for name in refused.figures)
    assert any("FMR 0.001: 5 of 5220 impostor pairs" in reason for reason in refused.context["left_out"])
    allowed = evaluate(faces, RejectionByMeasure(fmrs=(0.001,), allow_few_impostors=True), resamples=5)
    assert allowed.counts["accepted_impostors@fmr=0.001"] == 5
    assert "pauc@fmr=0.001,measure=norm" in allowed.figures


def test_failures_are_misses_and_go_first(faces):
    gallery = np.flatnonzero(faces.roles == "gallery")
    broken = failing(faces, np.array([0, 1, gallery[5]]))
    report = evaluate(broken, RejectionByMeasure(fmrs=(0.1,)), resamples=5)
    assert report.counts["faces_not_encoded"] == 3
    assert report.counts["faces_without@measure=constant"] == 0
    both = broken.role("probe", "gallery")
    kept, encoded = embeddings_of(both), both.encoded
    pairs = genuine_impostor(kept[:90], both.identities[:90], kept[90:], both.identities[90:])
    alone = edc(pairs, np.where(encoded, 1.0, np.nan), 0.1)
    assert report.figures["pauc@fmr=0.1,measure=constant"].value == pytest.approx(partial_auc(alone, 0.3))
    assert report.figures["pauc@fmr=0.1,measure=constant"].value < 0.3 * report.figures["fnmr@fmr=0.1"].value


# Which pairs


def test_a_list_decides_and_faces_in_no_pair_do_not_count():
    faces = measured(pair_list())
    report = evaluate(faces, RejectionByMeasure(fmrs=(0.2,), allow_few_impostors=True), resamples=20)
    assert faces.pairing is not None
    used = np.unique([faces.pairing.first, faces.pairing.second])
    assert report.counts["listed_pairs"] == 120
    assert report.counts["faces"] == len(used) < len(faces)
    assert report.title.endswith("on 120 listed pairs")
    pairs = listed_pairs(faces.embeddings, faces.identities, faces.pairing)
    for mode, suffix in (("pairs", ""), ("images", ",mode=images")):
        alone = edc(pairs, faces.measures["size"], 0.2, mode=mode, allow_few_impostors=True)
        assert report.figures[f"pauc@fmr=0.2{suffix},measure=size"].value == pytest.approx(partial_auc(alone, 0.3))
    assert "rank-1 after reject: the faces have no gallery" in report.context["left_out"]


@pytest.mark.parametrize("made", [scface, cross_resolution])
def test_every_distance_or_size_is_a_probe(made):
    faces = measured(made())
    report = evaluate(faces, RejectionByMeasure(fmrs=(0.1,)), resamples=5)
    probes = int((faces.roles != "gallery").sum())
    assert report.counts["probes"] == probes
    assert report.counts["genuine_pairs"] == probes
    assert "rank1@reject=0.3,measure=size" in report.figures


def test_strangers_distractors_and_made_faces_are_no_probes():
    faces = tinyface(people=3, probes=1, gallery=1, distractors=2)
    roles = np.array(
        ["probe", "mated_probe", "unmated_probe", "gallery", "gallery", "unrecognizable", "distractor", "side7"]
    )
    assert is_probe(dataclasses.replace(faces, roles=roles)).tolist() == [True, True, *[False] * 5, True]


def test_one_set_without_a_gallery_gives_all_its_pairs():
    faces = measured(tinyface(people=8, probes=4, gallery=0, distractors=0))
    found = measured_pairs(faces)
    assert found.kind == "within"
    assert (len(found.pairs.genuine), len(found.pairs.impostor)) == (8 * 6, 32 * 31 // 2 - 48)
    report = evaluate(faces, RejectionByMeasure(fmrs=(0.1,)), resamples=5)
    assert report.title.endswith("on all pairs of 32 faces")
    with pytest.raises(VlrfaceError, match="496 pairs, more than 400"):
        measured_pairs(faces, most=400)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 900))
def test_of_too_many_pairs_all_genuine_ones_stay(seed, most):
    faces = tinyface(people=6, probes=5, gallery=3, seed=seed)
    faces = failing(faces, np.array([1, 32]))
    whole, part = measured_pairs(faces, most=10**9), measured_pairs(faces, most=most)
    np.testing.assert_array_equal(part.rows, whole.rows)
    np.testing.assert_array_equal(part.pairs.identities, whole.pairs.identities)

    def listed(pairs, kind):
        scores, numbers = getattr(pairs, kind), getattr(pairs, f"{kind}_faces")
        return {(int(a), int(b)): float(s) for (a, b), s in zip(numbers, scores, strict=True)}

    all_genuine, genuine = listed(whole.pairs, "genuine"), listed(part.pairs, "genuine")
    assert genuine.keys() == all_genuine.keys()
    assert list(genuine.values()) == pytest.approx([all_genuine[key] for key in genuine], abs=1e-6)
    all_impostors, impostors = listed(whole.pairs, "impostor"), listed(part.pairs, "impostor")
    assert impostors.keys() <= all_impostors.keys()
    assert list(impostors.values()) == pytest.approx([all_impostors[key] for key in impostors], abs=1e-6)
    drawn = part.impostor_probes
    assert drawn == min(30, max(1, most // 18))
    assert len({probe for probe, _ in impostors}) <= drawn
    assert len(impostors) + part.pairs.failed_impostors == drawn * 15


def test_nothing_to_pair_is_said(faces):
    with pytest.raises(VlrfaceError, match="needs probes, or a list of pairs; the roles of the faces are distractor"):
        evaluate(faces.role("distractor"), RejectionByMeasure())
    apart = np.where(faces.roles == "probe", faces.identities + 1000, faces.identities)
    with pytest.raises(VlrfaceError, match="there are no genuine pairs"):
        evaluate(dataclasses.replace(faces, identities=apart), RejectionByMeasure())
    with pytest.raises(VlrfaceError, match="there are no impostor pairs"):
        evaluate(faces.rows(faces.identities == 0), RejectionByMeasure())
    none = np.zeros(0, np.int64)
    empty = dataclasses.replace(faces, pairing=Pairing(none, none, none.astype(bool), none))
    with pytest.raises(VlrfaceError, match="the list of pairs is empty"):
        evaluate(empty, RejectionByMeasure())


def test_options_are_checked(faces):
    with pytest.raises(VlrfaceError, match="no measure 'serfiq'; there are recognizability, norm, size"):
        evaluate(faces, RejectionByMeasure(measures=("serfiq",)))
    for fmrs in ((0.0,), (1.5,), ()):
        with pytest.raises(VlrfaceError, match="false match rates lie in"):
            RejectionByMeasure(fmrs=fmrs)


# A second peer


def magface_faces():
    """By the formula that made the golden file: two faces a pair, quality is their length."""

    def mixed(count, stream):
        x = (np.arange(count, dtype=np.uint64) * 2654435761 + stream * 40503 + 1) % 2**32
        x ^= x >> np.uint64(15)
        x = x * np.uint64(2246822519) % np.uint64(2**32)
        return (x ^ (x >> np.uint64(13))) / 2.0**32

    count, dim = 4000, 8
    same = np.arange(count) % 4 == 0
    first = (mixed(count, 1) * 200).astype(int)
    second = np.where(same, first, (first + 1 + (mixed(count, 2) * 199).astype(int)) % 200)
    people = np.column_stack([first, second]).ravel()
    quality, noise = 0.2 + mixed(2 * count, 4), mixed(2 * count * dim, 5).reshape(-1, dim) - 0.5
    x = (mixed(200 * dim, 3).reshape(200, dim) - 0.5)[people] + 0.9 * (1.3 - quality)[:, None] * noise
    x *= (quality / np.linalg.norm(x, axis=1))[:, None]
    n = 2 * count
    return Faces(
        embeddings=x.astype(np.float32),
        recognizability=np.full(n, np.nan, np.float32),
        identities=people,
        roles=np.full(n, "face"),
        names=np.array([str(i) for i in range(n)]),
        sizes=np.zeros(n, np.int32),
        failures=np.full(n, ""),
        pairing=Pairing(np.arange(0, n, 2), np.arange(1, n, 2), same, np.full(count, -1)),
    )


def test_magfaces_own_evaluation_finds_the_same_errors():
    faces = magface_faces()
    assert faces.pairing is not None
    protocol = RejectionByMeasure(
        fmrs=(0.000999,), modes=("pairs",), allow_few_impostors=True, recompute_threshold=True
    )
    report = evaluate(faces, protocol, resamples=5)
    assert report.figures["fnmr@fmr=0.000999"].value == pytest.approx(GOLDEN["fnmr"][0])
    pairs = listed_pairs(faces.embeddings, faces.identities, faces.pairing)
    length = norms(faces)
    genuine, impostor = (length[f].min(axis=1) for f in (pairs.genuine_faces, pairs.impostor_faces))
    ordered = np.sort(np.concatenate([genuine, impostor]))
    recomputed = next(c for c in report.curves["edc@fmr=0.000999,recomputed"] if c.name == "norm")
    same_impostor = 0
    for place, (ratio, fnmr) in enumerate(zip(GOLDEN["ratios"], GOLDEN["fnmr"], strict=True)):
        cut = ordered[int(ratio * 4000)]
        others = pairs.impostor[impostor >= cut]
        # its threshold is the (n / 1000)-th highest impostor from 0, which is ours at a rate just below 0.001
        assert 1 - tpr_at_far(pairs.genuine[genuine >= cut], others, 0.000999).tpr == pytest.approx(fnmr)
        if round(0.000999 * len(others)) == int(0.000999 * len(others)) + 1:
            # CR-FIQA's rate is reached at the same impostor; it takes the lowest genuine score that accepts no more
            assert recomputed.y[place] <= fnmr
            same_impostor += 1
    assert same_impostor >= 5
