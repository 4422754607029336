"""Two models on the same faces: differences against the metrics and slow resamples, seeds, matching, sentences."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.evaluate import (
    Comparison,
    CrossResolution,
    PairVerification,
    RejectionByMeasure,
    SCface,
    TinyFace,
    compare,
    evaluate,
)
from vlrface.evaluate.compare import over_runs
from vlrface.evaluate.comparison import Compared
from vlrface.evaluate.matching import matched, with_rows
from vlrface.metrics.identification import closed_set_ranks
from vlrface.metrics.intervals import Sampled, paired_difference
from vlrface.types import Estimate, Faces, VlrfaceError

from .made import cross_resolution, failing, pair_list, scface, tinyface


@pytest.fixture(scope="module")
def good():
    return [tinyface(seed=seed, noise=1.2) for seed in range(3)]


@pytest.fixture(scope="module")
def bad():
    return [tinyface(seed=seed, noise=1.9) for seed in range(10, 13)]


@pytest.fixture(scope="module")
def comparison(good, bad):
    return compare(good[:1], bad[:1], TinyFace(), resamples=200)


def found_first(faces):
    probes, others = faces.role("probe"), faces.role("gallery", "distractor")
    ranks = closed_set_ranks(probes.embeddings, probes.identities, others.embeddings, others.identities)
    return (ranks.first_mate == 1).astype(float), probes.identities


def test_one_run_each_is_a_paired_difference_over_people(good, bad, comparison):
    (first, people), (second, _) = found_first(good[0]), found_first(bad[0])
    expected = paired_difference(first, second, people, resamples=200)
    figure = comparison.figures["rank1"]
    got = figure.difference
    assert (got.value, got.low, got.high) == pytest.approx((expected.value, expected.low, expected.high))
    for side, faces in ((figure.first, good[0]), (figure.second, bad[0])):
        assert side == evaluate(faces, TinyFace(), resamples=200).figures["rank1"]
    assert figure.certain
    assert figure.chance == pytest.approx(2 / 201)
    assert comparison.runs == (1, 1)


def test_every_difference_is_that_of_its_figures(comparison):
    for name, figure in comparison.figures.items():
        assert figure.difference.value == pytest.approx(figure.first.value - figure.second.value), name
        assert figure.difference.low <= figure.difference.value <= figure.difference.high, name
        assert 0 < figure.chance <= 1


def test_figures_that_say_nothing_between_models_are_left_out(comparison):
    assert not [name for name in comparison.figures if "recognizability" in name or "spearman" in name]
    assert "rank1@size=16-20" in comparison.figures
    assert "pauc@fmr=0.01" in comparison.figures
    left_out = comparison.context["left_out"]
    assert "spearman_recognizability_size: each model has its own index" in left_out
    assert "rank1@recognizability=1of5: each model has its own index" in left_out


def test_the_same_model_twice_differs_by_nothing(good):
    same = compare(good[:1], good[:1], TinyFace(), resamples=50)
    for figure in same.figures.values():
        assert (figure.difference.value, figure.difference.low, figure.difference.high) == (0, 0, 0)
        assert (figure.chance, figure.certain) == (1, False)
    assert same.sentences[0].startswith("A and B are equal in rank-1 [0.0, 0.0]: may be chance, the interval holds 0")


def test_swapping_the_models_turns_every_difference_round(good, bad, comparison):
    turned = compare(bad[:1], good[:1], TinyFace(), resamples=200)
    for name, figure in comparison.figures.items():
        other = turned.figures[name]
        here, there = figure.difference, other.difference
        assert (here.value, here.low, here.high) == pytest.approx((-there.value, -there.high, -there.low), abs=1e-12)
        assert figure.chance == other.chance


# Several runs


def test_paired_runs_of_equal_seeds_cancel_what_a_seed_does(good):
    """Twice the same runs: paired they never differ, apart they do."""
    paired = compare(good, good, TinyFace(), resamples=60, pair_runs=True)
    apart = compare(good, good, TinyFace(), resamples=60)
    for name, figure in paired.figures.items():
        assert (figure.difference.low, figure.difference.high) == (0, 0), name
    assert apart.figures["rank1"].difference.low < 0 < apart.figures["rank1"].difference.high
    assert "Runs are paired" in paired.context["notes"][-1]
    with pytest.raises(VlrfaceError, match="3 and 2 runs cannot be paired: give runs of the same seeds"):
        compare(good, good[:2], TinyFace(), pair_runs=True)


def slow_over_runs(values, picks):
    n = values.shape[0]
    rows = []
    for row, drawn in enumerate(picks):
        middle = sum(values[:, row]) / n
        rows.append(middle + np.sqrt(n / (n - 1)) * (sum(values[k, row] for k in drawn) / n - middle))
    return rows


@given(st.integers(2, 5), st.integers(0, 2**32))
def test_runs_are_drawn_as_a_slow_loop_draws_them(n, seed):
    rng = np.random.default_rng(seed)
    values, picks = rng.random((n, 7)), rng.integers(0, n, (7, n))
    runs = [Sampled(np.array([row.mean()]), row[:, None], 9) for row in values]
    drawn = over_runs(runs, picks)
    np.testing.assert_allclose(drawn.samples[:, 0], slow_over_runs(values, picks))
    assert drawn.value[0] == pytest.approx(values.mean())
    assert drawn.people == 9


def test_the_spread_of_drawn_means_is_that_of_a_mean_of_runs():
    """Stretched, it is the unbiased standard error; without that it would be √((n-1)/n) of it."""
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(400):
        values = rng.normal(size=3)
        runs = [Sampled(np.array([v]), np.full((500, 1), v), 9) for v in values]
        errors.append(over_runs(runs, rng.integers(0, 3, (500, 3))).samples.var())
    assert np.mean(errors) == pytest.approx(1 / 3, rel=0.1)


def test_several_runs_count_their_seeds(good, bad):
    people_only = compare(good[:1], bad[:1], TinyFace(), resamples=400)
    several = compare(good, bad, TinyFace(), resamples=400)
    assert several.runs == (3, 3)
    figure = several.figures["rank1"]
    firsts = [np.mean(found_first(faces)[0]) for faces in (*good, *bad)]
    assert figure.first.value == pytest.approx(np.mean(firsts[:3]))
    assert figure.second.value == pytest.approx(np.mean(firsts[3:]))
    assert figure.difference.value == pytest.approx(np.mean(firsts[:3]) - np.mean(firsts[3:]))
    assert figure.difference.low <= figure.difference.value <= figure.difference.high
    assert "training seed" not in several.sentences[0]
    assert "(one run each: other training seeds are not counted)" in people_only.sentences[0]
    mixed = compare(good, bad[:1], TinyFace(), resamples=20, names=("full", "arcface"))
    assert "(one run of arcface: other training seeds" in mixed.sentences[0]
    assert "full: 3 runs; its interval counts people and training seeds." in mixed.context["notes"]
    assert any("3 runs say little of seeds" in note for note in several.context["notes"])


def test_seeds_that_disagree_widen_the_interval(good):
    lucky, unlucky = (tinyface(seed=40, noise=noise) for noise in (0.9, 2.2))
    agreeing = compare(good, good[:2], TinyFace(), resamples=300).figures["rank1"].difference
    apart = compare(good, [lucky, unlucky], TinyFace(), resamples=300).figures["rank1"].difference
    assert apart.high - apart.low > 2 * (agreeing.high - agreeing.low)


def test_two_equal_models_are_told_apart_by_chance_only():
    """Of sets of three runs each from the same distribution, few are called more than chance."""
    wrong = 0
    for trial in range(20):
        runs = [cross_resolution(people=15, sides=(14,), seed=1000 + 6 * trial + k) for k in range(6)]
        wrong += compare(runs[:3], runs[3:], CrossResolution(), resamples=100).figures["rank1@side=14"].certain
    assert wrong <= 4


# Matching


def test_rows_may_stand_in_any_order(good, bad, comparison):
    shuffled = bad[0].rows(np.random.default_rng(5).permutation(len(bad[0])))
    again = compare(good[:1], [shuffled], TinyFace(), resamples=200)
    for name, figure in comparison.figures.items():
        there = again.figures[name].difference
        here = figure.difference
        assert (there.value, there.low, there.high) == pytest.approx((here.value, here.low, here.high), abs=1e-6), name


def test_listed_pairs_follow_their_rows():
    first, second = pair_list(impostors=400, seed=5), pair_list(impostors=400, noise=1.9)
    order = np.random.default_rng(6).permutation(len(second))
    straight = compare([first], [second], PairVerification(), resamples=50)
    turned = compare([first], [with_rows(second, order)], PairVerification(), resamples=50)
    assert straight.figures.keys() == turned.figures.keys()
    assert {"accuracy", "tpr@far=0.01", "eer"} <= straight.figures.keys()
    for name, figure in straight.figures.items():
        assert turned.figures[name].difference.value == pytest.approx(figure.difference.value, abs=1e-6)
    assert straight.figures["accuracy"].difference.low > 0
    assert straight.figures["eer"].difference.high < 0


def test_dimensions_and_extra_faces_may_differ(good):
    wide = tinyface(seed=3, dimension=32)
    extra = dataclasses.replace(
        wide.role("distractor"), roles=np.full(40, "unrecognizable"), identities=np.full(40, -1)
    )
    alone, beside = (compare(good[:1], [faces], TinyFace(), resamples=20) for faces in (wide, wide.joined(extra)))
    assert alone.figures == beside.figures


def test_crops_that_are_not_in_both_are_named(good):
    faces = good[0]
    with pytest.raises(VlrfaceError, match=r"1 of A are not in B: probe 0.jpg\. Encode the same data set"):
        compare([faces], [faces.rows(np.arange(len(faces)) > 0)], TinyFace())
    with pytest.raises(VlrfaceError, match=r"20 of B \(run 2\) are not in A: .*\.\.\."):
        compare([faces.rows(np.arange(len(faces)) > 19)], [faces.rows(np.arange(len(faces)) > 19), faces], TinyFace())
    renamed = dataclasses.replace(faces, roles=np.where(faces.roles == "probe", "gallery", "probe"))
    with pytest.raises(VlrfaceError, match="do not describe the same crops"):
        compare([faces], [renamed], TinyFace())
    identities = faces.identities.copy()
    identities[4] = 17
    with pytest.raises(VlrfaceError, match=r"number people differently: 1 crops, first probe 4.jpg \(1 and 17\)"):
        compare([faces], [dataclasses.replace(faces, identities=identities)], TinyFace())


def test_lists_of_pairs_must_agree():
    faces = pair_list()
    pairing = faces.pairing
    turned = dataclasses.replace(pairing, same=np.concatenate([pairing.same[:-1], [True]]))
    with pytest.raises(VlrfaceError, match="different pairs: 1 of 120, first pair 119"):
        compare([faces], [dataclasses.replace(faces, pairing=turned)], PairVerification())
    with pytest.raises(VlrfaceError, match="A has listed pairs, B has none"):
        compare([faces], [dataclasses.replace(faces, pairing=None)], PairVerification())
    fewer = type(pairing)(*(getattr(pairing, f.name)[:5] for f in dataclasses.fields(pairing)))
    with pytest.raises(VlrfaceError, match="A lists 120 pairs, B 5"):
        compare([faces], [dataclasses.replace(faces, pairing=fewer)], PairVerification())


def test_a_pair_of_a_face_that_is_left_out_is_refused():
    with pytest.raises(VlrfaceError, match="pair 0 of the list names a face that is left out"):
        with_rows(pair_list(), np.array([119]))


def test_sizes_are_those_of_the_first_file_that_knows_them(good):
    faces = good[0]
    unknown = dataclasses.replace(faces, sizes=np.zeros(len(faces), np.int32))
    other = dataclasses.replace(faces, sizes=np.where(np.arange(len(faces)) < 5, 99, faces.sizes).astype(np.int32))
    both = matched({"A": unknown, "B": other})
    assert both.sizes_apart == 0
    assert all((each.sizes == other.sizes).all() for each in both.faces)
    apart = compare([faces], [other], TinyFace(), resamples=5)
    assert any("size of 5 crops differs" in note for note in apart.context["notes"])


def test_failures_of_one_model_are_its_misses(good):
    faces = good[0]
    broken = failing(faces, np.arange(9))
    result = compare([faces], [broken], TinyFace(), resamples=20)
    lost = np.mean(found_first(faces)[0]) - np.mean(np.concatenate([np.zeros(9), found_first(faces)[0][9:]]))
    assert result.figures["rank1"].difference.value == pytest.approx(lost)
    assert result.context["counts_apart"]["probe_failures"] == [0, 9]
    assert result.counts["probes"] == 90
    assert "probe_failures" not in result.counts


def test_what_one_model_lacks_is_left_out_and_named(good):
    blind = dataclasses.replace(good[0], recognizability=np.full(len(good[0]), np.nan, np.float32))
    result = compare(good[:1], [blind], TinyFace(), resamples=5)
    assert "pauc@fmr=0.01" not in result.figures
    assert "pauc@fmr=0.01: not measured for B" in result.context["left_out"]
    assert set(result.curves) == {"cmc", "roc"}


def test_gains_over_different_measures_are_left_out(good, bad):
    measures = {"size": good[0].sizes.astype(np.float64)}
    with_index, other = (dataclasses.replace(each[0], measures=measures) for each in (good, bad))
    without = dataclasses.replace(other, recognizability=np.full(len(other), np.nan, np.float32))
    gain, protocol = "pauc_gain@fmr=0.1,measure=size", RejectionByMeasure(fmrs=(0.1,))
    assert gain in compare([with_index], [other], protocol, resamples=5).figures
    found = compare([with_index], [without], protocol, resamples=5)
    assert gain not in found.figures
    assert f"{gain}: the gain of each model is over another measure" in found.context["left_out"]


def test_refuses_nothing_to_compare(good):
    with pytest.raises(VlrfaceError, match="not 1 and 0 files"):
        compare(good[:1], [], TinyFace())
    with pytest.raises(VlrfaceError, match="both models are called 'x'"):
        compare(good[:1], good[1:2], TinyFace(), names=("x", "x"))


def test_one_person_has_differences_without_intervals():
    runs = [tinyface(people=1, seed=seed) for seed in range(4)]
    result = compare(runs[:2], runs[2:], TinyFace(), resamples=5)
    figure = result.figures["rank1"]
    assert np.isnan([figure.difference.low, figure.chance]).all()
    assert not figure.certain
    assert result.sentences[0].endswith("no interval can be given")


# What a reader gets


def test_other_benchmarks_are_compared_alike():
    for make, protocol, key in (
        (scface, SCface(), "rank1@distance=2"),
        (cross_resolution, CrossResolution(), "rank1@side=14"),
    ):
        result = compare([make(noise=1.0)], [make(noise=2.0, seed=4)], protocol, resamples=50)
        assert result.benchmark == protocol.name
        assert result.figures[key].difference.value > 0
        assert any(
            f"in rank-1 at {key.partition('@')[2].replace('=', ' ')}" in sentence for sentence in result.sentences
        )


def test_curves_carry_the_names_of_the_models(good, bad):
    result = compare(good, bad, TinyFace(), resamples=5, names=("full", "arcface"))
    full, arcface = result.curves["cmc"]
    assert (full.name, arcface.name) == ("full", "arcface")
    assert full.y[0] == pytest.approx(result.figures["rank1"].first.value)
    assert [curve.name for curve in result.curves["edc@fmr=0.01"]] == ["full", "arcface"]
    lines = compare([scface()], [scface(seed=4)], SCface(), resamples=5).curves["cmc"]
    assert [curve.name for curve in lines][:2] == ["A: distance 1", "B: distance 1"]
    assert len(lines) == 6


def said(difference, figure="rank1", runs=(2, 2)):
    one = Compared(Estimate(0.5), Estimate(0.4), difference, 0.5)
    return Comparison("t", "b", ("full", "plain"), runs, {figure: one}, {}, {}, {}).sentence(figure)


def test_sentences():
    assert said(Estimate(0.033, 0.012, 0.055)) == (
        "full is 3.3 points better than plain in rank-1 [1.2, 5.5]: more than chance"
    )
    assert said(Estimate(-0.033, -0.055, -0.012)) == (
        "full is 3.3 points worse than plain in rank-1 [1.2, 5.5]: more than chance"
    )
    assert said(Estimate(0.004, -0.012, 0.02)) == (
        "full is 0.4 points better than plain in rank-1 [-1.2, 2.0]: may be chance, the interval holds 0"
    )
    assert said(Estimate(-0.012, -0.02, -0.003), "eer") == (
        "full is 1.2 points better than plain in equal error rate [0.3, 2.0]: more than chance"
    )
    assert said(Estimate(0.1, 0.0, 0.2), "normalised_pauc@fmr=0.01") == (
        "full is 0.1 worse than plain in relative area under error versus reject at FMR 1 % [0, 0.2]: may be chance, "
        "the interval holds 0"
    )
    assert said(Estimate(0.0002, -0.001, 0.001), "tpir20@fpir=0.1").startswith(
        "full is 0.02 points better than plain in TPIR20 at FPIR 10 % [-0.1, 0.1]"
    )
    assert "at FMR 1 %, mode images, measure my far=x, v2 [" in said(
        Estimate(0.1, 0.0, 0.2), "pauc@fmr=0.01,mode=images,measure=my far=x, v2"
    )
    for less in ("rank1_loss@side=7", "tpr_loss@far=0.01,side=7", "fpir@fpir=0.1,size=16-20", "eer"):
        assert said(Estimate(0.1, 0.05, 0.2), less).startswith("full is 10.0 points worse than plain in ")
    assert " in AdaFace 2 at side 7 [" in said(Estimate(0.1, 0.0, 0.2), "AdaFace_2@side=7")
    assert said(Estimate(0.01), "accuracy") == (
        "full is 1.0 points better than plain in accuracy; no interval can be given"
    )
    with pytest.raises(VlrfaceError, match="no figure 'x' was compared; there are rank1"):
        Comparison("t", "b", ("a", "b"), (1, 1), {"rank1": Compared(*[Estimate(0.0)] * 3, 1.0)}, {}, {}, {}).sentence(
            "x"
        )


def test_sentences_are_of_the_figures_that_a_reader_asks_for(comparison):
    heads = [sentence.partition(" in ")[2].partition(" [")[0] for sentence in comparison.sentences]
    assert heads == [
        "rank-1",
        "mean average precision",
        "TPR at FAR 10 %",
        "TPR at FAR 1 %",
        "equal error rate",
        "relative area under error versus reject at FMR 1 %",
        "rank-1 at 30 % rejected",
    ]


def test_it_is_written_as_json(good, tmp_path):
    result = compare([tinyface(people=1)], [tinyface(people=1, seed=2)], TinyFace(), resamples=5, context={"data": "d"})
    result.save(tmp_path / "comparison.json")
    read = json.loads((tmp_path / "comparison.json").read_text())
    assert read == json.loads(json.dumps(result.to_json()))
    assert read["figures"]["rank1"]["difference"]["low"] is None
    assert read["names"] == ["A", "B"]
    assert read["runs"] == [1, 1]
    assert read["sentences"] == list(result.sentences)
    assert read["context"]["data"] == "d"
    assert read["title"] == "A against B. Identification of 3 probes among 42 faces"
    assert compare(good[:1], good[1:2], TinyFace(), resamples=5).to_json()["figures"]["rank1"]["chance"] > 0


def test_the_same_seed_gives_the_same_comparison(good, bad):
    here, there, other = (compare(good, bad, TinyFace(), resamples=50, seed=seed) for seed in (1, 1, 2))
    assert here.to_json() == there.to_json()
    assert other.figures["rank1"].difference != here.figures["rank1"].difference


def test_faces_are_not_changed(good):
    before = [np.array(getattr(good[0], f.name)) for f in dataclasses.fields(Faces)[:7]]
    compare(good[:1], good[1:2], TinyFace(), resamples=5)
    for values, field in zip(before, dataclasses.fields(Faces), strict=False):
        np.testing.assert_array_equal(values, getattr(good[0], field.name))
