"""Splits by size and recognizability: bands by hand, figures against masks, the pair's worse face."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.evaluate import TinyFace, bands_of, evaluate
from vlrface.evaluate.bands import by_recognizability, by_size, measure_rank1_by_band, measure_tpr_by_band
from vlrface.evaluate.findings import Findings
from vlrface.metrics.identification import Ranks, closed_set_ranks
from vlrface.metrics.pairs import genuine_impostor
from vlrface.metrics.resampled import resample_pairs
from vlrface.metrics.verification import tpr_at_far

from .made import blind, faces_of, failing, tinyface


def with_sizes(sizes, index=None):
    n = len(sizes)
    faces = faces_of(np.arange(n), np.full(n, "probe"), sizes=np.array(sizes))
    return faces if index is None else dataclasses.replace(faces, recognizability=np.array(index, np.float32))


def test_bands_of_size_are_half_open_and_unknown_sizes_are_in_none():
    banding = by_size(with_sizes([0, 1, 11, 12, 15, 16, 19, 20, 25, 26, 31, 32, 500]))
    names = [banding.names[k] if k >= 0 else "" for k in banding.level]
    assert names == ["", *["size=1-12"] * 2, *["size=12-16"] * 2, *["size=16-20"] * 2, *["size=20-26"] * 2,
                     *["size=26-32"] * 2, *["size=32+"] * 2]  # fmt: skip


def test_fifths_are_by_rank_and_ties_stay_together():
    nan = float("nan")
    banding = by_recognizability(with_sizes([20] * 11, [5, 4, 3, 2, 1, nan, 10, 9, 8, 7, 6]))
    assert banding.level.tolist() == [2, 1, 1, 0, 0, -1, 4, 4, 3, 3, 2]
    tied = by_recognizability(with_sizes([20] * 5, [1, 1, 1, 2, 3]))
    assert tied.level.tolist() == [0, 0, 0, 3, 4]
    assert by_recognizability(with_sizes([20] * 3, [nan] * 3)).level.tolist() == [-1] * 3


@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(0, 2**32))
def test_bands_are_disjoint_and_hold_all_that_is_known(sizes, seed):
    index = np.random.default_rng(seed).integers(0, 8, len(sizes)).astype(np.float32)
    faces = with_sizes(sizes, index)
    bands = bands_of(faces)
    for kind, known in (("size=", faces.sizes > 0), ("recognizability=", np.isfinite(index))):
        masks = [mask for name, mask in bands if name.startswith(kind)]
        if masks:
            assert len(masks) > 1
            assert all(mask.any() for mask in masks)
            assert (np.sum(masks, axis=0) == known).all()
    values = [index[mask] for name, mask in bands if name.startswith("recognizability")]
    assert all(low.max() < high.min() for low, high in pairwise(values))


def test_faces_of_one_band_are_not_split():
    faces = with_sizes([112] * 4, [1, 1, 1, 1])
    assert bands_of(faces) == []
    found = Findings()
    measure_rank1_by_band(found, Ranks(np.ones(4, int), np.ones(4), np.arange(4), np.ones(4, int)), faces)
    assert found.figures == {}
    assert found.left_out == [
        "rank-1 by size: all faces are in the band size=32+",
        "rank-1 by recognizability: all faces are in the band recognizability=1of5",
    ]


def test_a_failed_face_keeps_its_size_and_has_no_index():
    faces = failing(with_sizes([14, 18, 30], [1, 2, 3]), np.array([0]))
    bands = dict(bands_of(faces))
    assert bands["size=12-16"].tolist() == [True, False, False]
    assert not any(mask[0] for name, mask in bands.items() if name.startswith("recog"))


@pytest.fixture(scope="module")
def report():
    return evaluate(tinyface(), TinyFace(), resamples=100)


def test_rank1_by_band_is_rank1_of_its_probes(report):
    faces = tinyface()
    probes, others = faces.role("probe"), faces.role("gallery", "distractor")
    ranks = closed_set_ranks(probes.embeddings, probes.identities, others.embeddings, others.identities)
    bands = bands_of(probes)
    assert {f"rank1@{name}" for name, _ in bands} == {
        name for name in report.figures if name.startswith(("rank1@size", "rank1@recog"))
    }
    total = 0.0
    for name, inside in bands:
        figure = report.figures[f"rank1@{name}"]
        assert figure.value == pytest.approx((ranks.first_mate[inside] == 1).mean())
        assert figure.low <= figure.value <= figure.high
        assert report.counts[f"probes@{name}"] == inside.sum()
        total += figure.value * inside.sum() * name.startswith("size")
    assert total / len(probes) == pytest.approx(report.figures["rank1"].value)
    assert report.figures["rank1@recognizability=1of5"].high < report.figures["rank1@recognizability=5of5"].low


def test_tpr_by_band_takes_the_worse_face_and_the_threshold_of_all(report):
    faces = tinyface()
    probes, gallery = faces.role("probe"), faces.role("gallery")
    pairs = genuine_impostor(probes.embeddings, probes.identities, gallery.embeddings, gallery.identities)
    threshold = tpr_at_far(pairs.genuine, pairs.impostor, 0.01).threshold
    both = faces.role("probe", "gallery")
    smaller = both.sizes[pairs.genuine_faces].min(axis=1)
    inside = (smaller >= 16) & (smaller < 20)
    assert report.figures["tpr@far=0.01,size=16-20"].value == (pairs.genuine[inside] >= threshold).mean()
    assert report.counts["genuine_pairs@size=16-20"] == inside.sum()
    fifths = by_recognizability(both).level
    worse = fifths[pairs.genuine_faces].min(axis=1) == 1
    assert report.figures["tpr@far=0.01,recognizability=2of5"].value == (pairs.genuine[worse] >= threshold).mean()
    counted = sum(v for k, v in report.counts.items() if k.startswith("genuine_pairs@recog"))
    assert counted == len(pairs.genuine)


def test_resamples_of_a_band_agree_with_copied_pairs():
    faces = tinyface(people=12, probes=4)
    probes, gallery = faces.role("probe"), faces.role("gallery")
    both = faces.role("probe", "gallery")
    pairs = genuine_impostor(probes.embeddings, probes.identities, gallery.embeddings, gallery.identities)
    drawn = resample_pairs(pairs, fars=(0.05,), resamples=40, seed=3)
    found = Findings()
    measure_tpr_by_band(found, pairs, drawn, both, far=0.05)
    smaller = both.sizes[pairs.genuine_faces].min(axis=1)
    inside = (smaller >= 12) & (smaller < 16)
    sampled = found.figures["tpr@far=0.05,size=12-16"]
    who = drawn.people.number
    for row in range(1, 41):
        weights = drawn.weights[row].astype(int)
        genuine = np.repeat(pairs.genuine[inside], weights[who[pairs.genuine_faces[inside, 0]]])
        impostor = np.repeat(
            pairs.impostor, weights[who[pairs.impostor_faces[:, 0]]] * weights[who[pairs.impostor_faces[:, 1]]]
        )
        if not len(genuine):
            assert np.isnan(sampled.samples[row - 1, 0])
            continue
        assert sampled.samples[row - 1, 0] == pytest.approx(tpr_at_far(genuine, impostor, 0.05).tpr, abs=0.1)
    assert sampled.people == len(np.unique(both.identities[pairs.genuine_faces[inside, 0]]))


def test_a_band_of_one_person_has_no_interval():
    faces = tinyface(people=10)
    sizes = np.full(len(faces), 30, np.int32)
    sizes[:3] = 14  # the probes of person 0
    report = evaluate(dataclasses.replace(faces, sizes=sizes), TinyFace(), resamples=20)
    for name in ("rank1@size=12-16", "tpr@far=0.01,size=12-16"):
        assert np.isnan(report.figures[name].low), name
    assert not np.isnan(report.figures["tpr@far=0.01,size=26-32"].low)


def test_without_index_and_size_nothing_is_split():
    faces = blind(dataclasses.replace(tinyface(), sizes=np.zeros(len(tinyface()), np.int32)))
    report = evaluate(faces, TinyFace(), resamples=5)
    assert not [name for name in report.figures if "size=" in name or "recogn" in name]
    assert "rank-1 by size: no face has a known size" in report.context["left_out"]
    assert "TPR at FAR 0.01 by recognizability: no face has an index" in report.context["left_out"]
