"""Figures kept beside a training: what comes back, and when they are made again."""

import dataclasses
import json

import numpy as np
import pytest
from tests.evaluate.made import tinyface
from tests.experiment.ablations import write_recipe

from vlrface.evaluate import TinyFace, measured
from vlrface.experiment.ablation import load_ablation
from vlrface.experiment.ablation_measures import (
    MEASUREMENTS,
    Settings,
    data_name,
    faces_up_to_date,
    load_samples,
    measure_training,
    parse_benchmarks,
    samples_path,
    wanted,
)
from vlrface.types import VlrfaceError

TINYFACE, RETRIEVAL = (
    next(each for each in MEASUREMENTS if each.name == name) for name in ("tinyface", "tinyface.retrieval")
)
SETTINGS = Settings(resamples=30)


def of(fingerprint="f", **options):
    return dataclasses.replace(
        tinyface(people=10, **options), meta={"fingerprint": fingerprint, "data": "d", "flip": True}
    )


def test_kept_figures_are_the_measured_ones(tmp_path):
    measure_training(tmp_path, TINYFACE, of(), SETTINGS)
    found = load_samples(samples_path(tmp_path, TINYFACE), "f", None, SETTINGS)
    expected = measured(of(), TinyFace(), resamples=30)
    assert found.figures.keys() == expected.figures.keys()
    for name, figure in expected.figures.items():
        if figure.people > 1:
            np.testing.assert_array_equal(found.figures[name].samples, figure.samples)
        assert (found.figures[name].value, found.figures[name].people) == (figure.value, figure.people)
    assert found.counts == expected.counts
    report = json.loads((tmp_path / "tinyface.json").read_text())
    assert report["figures"]["rank1"]["value"] == expected.figures["rank1"].value[0]
    assert report["context"]["faces"]["fingerprint"] == "f"


def test_figures_of_another_checkpoint_data_set_or_settings_are_not_taken(tmp_path):
    path = samples_path(tmp_path, RETRIEVAL)
    assert load_samples(path, "f", None, SETTINGS) is None
    measure_training(tmp_path, RETRIEVAL, of(), SETTINGS)
    assert load_samples(path, "f", None, SETTINGS) is not None
    assert load_samples(path, None, None, SETTINGS) is not None  # the checkpoint is gone
    assert load_samples(path, "f", "d", SETTINGS) is not None
    assert load_samples(path, "f", "another", SETTINGS) is None
    for fingerprint, settings in (("g", SETTINGS), ("f", Settings(20)), ("f", Settings(30, seed=1))):
        assert load_samples(path, fingerprint, None, settings) is None
    path.write_bytes(path.read_bytes()[:100])
    assert load_samples(path, "f", None, SETTINGS) is None


def test_a_data_set_is_known_by_the_end_of_its_folder(tmp_path):
    experiment = load_ablation(write_recipe(tmp_path)).variants["arcface"]
    benchmarks = {"tinyface": tmp_path / "lfw-vlr" / "tinyface"}
    assert [data_name(each, experiment, benchmarks) for each in (TINYFACE, RETRIEVAL)] == ["lfw-vlr/tinyface"] * 2
    assert data_name(MEASUREMENTS[0], experiment, {}) == "4 held-out identities of procedural faces, seed 0"


def test_one_person_has_values_without_samples(tmp_path):
    measure_training(tmp_path, RETRIEVAL, dataclasses.replace(tinyface(people=1), meta={}), SETTINGS)
    figure = load_samples(samples_path(tmp_path, RETRIEVAL), None, None, SETTINGS).figures["rank1"]
    assert figure.people == 1
    assert np.isnan(figure.estimate().low)


def test_the_order_of_rows_makes_no_other_crops(tmp_path):
    first = of()
    turned = first.rows(np.arange(len(first))[::-1])
    other = dataclasses.replace(first, names=np.array([f"x{name}" for name in first.names]))
    crops = []
    for faces in (first, turned, other):
        measure_training(tmp_path, RETRIEVAL, faces, SETTINGS)
        crops.append(load_samples(samples_path(tmp_path, RETRIEVAL), "f", None, SETTINGS).crops)
    assert crops[0] == crops[1] != crops[2]


def test_saved_faces_are_taken_if_they_are_of_this_checkpoint_and_data(tmp_path):
    path = tmp_path / "tinyface.npz"
    assert faces_up_to_date(path, "f", "d") is None
    of().save(path)
    assert faces_up_to_date(path, "f", "d") is not None
    assert faces_up_to_date(path, "g", "d") is None
    assert faces_up_to_date(path, "f", "e") is None
    dataclasses.replace(of(), meta={"fingerprint": "f", "data": "d", "flip": False}).save(path)
    assert faces_up_to_date(path, "f", "d") is None
    path.write_text("no faces")
    assert faces_up_to_date(path, "f", "d") is None


def test_benchmarks_are_read_from_names_and_folders(tmp_path):
    folders = parse_benchmarks([f"tinyface={tmp_path}", f"scface={tmp_path}"])
    assert folders == {"tinyface": tmp_path, "scface": tmp_path}
    assert {each.faces for each in wanted(folders, held_out=True)} == {"held-out", "tinyface", "scface"}
    assert {each.faces for each in wanted({}, held_out=True)} == {"held-out"}
    names = [each.name for each in wanted(folders, held_out=False)]
    assert set(names) == {"tinyface", "tinyface.retrieval", "tinyface.rejection", "scface"}
    for text, said in (
        ("tinyface", "write NAME=FOLDER"),
        ("rejection=.", "NAME being one of tinyface, survface-id"),
        ("held-out=.", "NAME being one of tinyface, survface-id"),
        ("scface=nowhere", "nowhere is not there"),
    ):
        with pytest.raises(VlrfaceError, match=said):
            parse_benchmarks([text])
    with pytest.raises(VlrfaceError, match="is there already"):
        parse_benchmarks([f"scface={tmp_path}"] * 2)
