"""What training is built of: above all, that nobody who is held out is trained on."""

import dataclasses
import os

import numpy as np
import pytest
import torch
from PIL import Image

from vlrface.experiment import build as building
from vlrface.experiment.build import build, held_and_trained
from vlrface.experiment.check import check
from vlrface.experiment.config import (
    FolderSource,
    MobileFaceNetConfig,
    PartConfig,
    ProceduralSource,
    load_recipe,
)
from vlrface.experiment.sources import Places, load_source
from vlrface.experiment.training import train_experiment
from vlrface.images.augment import Chain
from vlrface.types import VlrfaceError


@pytest.fixture
def experiment(data):
    return load_recipe(data / "recipe.py")


def save(folder, people, seed):
    rng = np.random.default_rng(seed)
    for person in people:
        (folder / person).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, (24, 18, 3), np.uint8)).save(folder / person / f"{i}.png")


def test_people_are_known_by_name_across_sources_and_nobody_is_in_both_halves(experiment, tmp_path):
    save(tmp_path / "a", ["anna", "bob", "carl", "dora"], 0)
    save(tmp_path / "b", ["bob", "carl", "dora", "emil"], 1)
    a, b = FolderSource("a"), FolderSource("b")
    parts = tuple(PartConfig(source, experiment.data.parts[0].transform) for source in (a, b))
    validation = dataclasses.replace(experiment.data.validation, source=a, identities=2)
    mixed = dataclasses.replace(
        experiment, data=dataclasses.replace(experiment.data, parts=parts, validation=validation)
    )
    places = Places(tmp_path, tmp_path / "cache", progress=False)
    people = held_and_trained(mixed, {source: load_source(source, places) for source in (a, b)})
    assert len(people.held) == 2
    assert set(people.held) | set(people.trained) == {"anna", "bob", "carl", "dora", "emil"}
    assert not set(people.held) & set(people.trained)


def test_no_picture_of_a_held_out_person_reaches_training_or_the_unrecognizable_faces(
    experiment, data, tmp_path, monkeypatch
):
    seen = {}

    def batches(parts, *args, **kwargs):
        seen["parts"] = parts
        return building_batches(parts, *args, **kwargs)

    def inputs(configs, loaded, people, recognizer):
        source = loaded[configs[0].source]
        seen["pictures"] = source.people[source.usable(people)]
        return unrecognizable_inputs(configs, loaded, people, recognizer)

    building_batches, unrecognizable_inputs = building.Batches, building.unrecognizable_inputs
    monkeypatch.setattr(building, "Batches", batches)
    monkeypatch.setattr(building, "unrecognizable_inputs", inputs)
    places = Places(data, tmp_path, progress=False)
    ingredients = build(experiment, places).ingredients
    source = experiment.data.validation.source
    people = held_and_trained(experiment, {source: load_source(source, places)})
    assert len(people.held) == 4
    assert len(people.trained) == 8
    for part in seen["parts"]:
        assert {str(name).split("/")[0] for name in part.crops.names} == set(people.trained)
        assert sorted(set(part.labels.tolist())) == list(range(8))
    assert set(seen["pictures"]) == set(people.trained)
    assert ingredients.objective.head.classes == 8


def one_source(experiment, folder, identities):
    source = FolderSource(folder)
    parts = (PartConfig(source, experiment.data.parts[0].transform),)
    validation = dataclasses.replace(experiment.data.validation, source=source, identities=identities)
    unrecognizable = tuple(dataclasses.replace(each, source=source) for each in experiment.data.unrecognizable)
    data = dataclasses.replace(experiment.data, parts=parts, validation=validation, unrecognizable=unrecognizable)
    return dataclasses.replace(experiment, data=data)


def test_whoever_is_held_out_can_be_found_again(experiment, tmp_path):
    """People of whom one picture alone can be decoded are trained on, not held out."""
    save(tmp_path / "a", [f"{i}" for i in range(8)], 0)
    for person in range(5):
        for i in (1, 2):
            (tmp_path / "a" / f"{person}" / f"{i}.png").write_bytes(b"broken")
    given, places = one_source(experiment, "a", 3), Places(tmp_path, tmp_path / "cache", progress=False)
    source = load_source(FolderSource("a"), places)
    assert held_and_trained(given, {FolderSource("a"): source}).held.tolist() == ["5", "6", "7"]
    with pytest.raises(VlrfaceError, match="cannot hold out 4 identities"):
        held_and_trained(one_source(experiment, "a", 4), {FolderSource("a"): source})


def test_a_folder_whose_name_is_no_text_can_be_trained_on(experiment, tmp_path):
    save(tmp_path / "a", [f"{i}" for i in range(30)] + [os.fsdecode(b"\xff")], 0)
    given, places = one_source(experiment, "a", 3), Places(tmp_path, tmp_path / "cache", progress=False)
    assert len(build(given, places).data_fingerprint) == 16


def test_another_teacher_is_other_data(experiment, data, tmp_path):
    """So that a run does not go on with other targets."""
    places = Places(data, tmp_path, progress=False)
    plain, one = (build(each, places).data_fingerprint for each in (experiment, taught(experiment)))
    other = dataclasses.replace(taught(experiment), teacher=MobileFaceNetConfig(32, variant="casia"))
    found = {plain, one, build(other, places).data_fingerprint}
    assert len(found) == 3
    assert build(taught(experiment), places).data_fingerprint == one


def test_a_procedural_person_is_another_one_with_another_seed(tmp_path):
    places = Places(tmp_path, tmp_path, progress=False)
    one, same, other = (
        load_source(ProceduralSource(2, 2, first_identity=first, seed=seed), places)
        for first, seed in ((5, 0), (6, 0), (5, 1))
    )
    assert len(set(one.people) & set(same.people)) == 1
    assert not set(one.people) & set(other.people)


def weighted(experiment, **weights):
    objective = experiment.objective
    return dataclasses.replace(objective, weights=dataclasses.replace(objective.weights, **weights))


def taught(experiment):
    """With a teacher of its own crops."""
    part = dataclasses.replace(experiment.data.parts[0], teacher=experiment.data.parts[0].source)
    data = dataclasses.replace(experiment.data, parts=(part,))
    return dataclasses.replace(experiment, data=data, teacher=MobileFaceNetConfig(32))


WRONG = {
    "parts": (lambda e: {"data": dataclasses.replace(e.data, parts=())}, "parts is empty"),
    "validation": (
        lambda e: {
            "data": dataclasses.replace(
                e.data, validation=dataclasses.replace(e.data.validation, source=FolderSource("x"))
            )
        },
        "must be the source of a part",
    ),
    "regression": (lambda e: {"model": dataclasses.replace(e.model, regression=False)}, "model.regression=true"),
    "attention": (lambda e: {"model": dataclasses.replace(e.model, attention=False)}, "model.attention=true"),
    "unrecognizable": (
        lambda e: {"data": dataclasses.replace(e.data, unrecognizable=())},
        "needs data.unrecognizable",
    ),
    "serve": (
        lambda e: {"model": dataclasses.replace(e.model, attention=False, serve="fused")},
        "model.attention=true",
    ),
    "untrained_attention": (
        lambda e: {
            "model": dataclasses.replace(e.model, serve="attended"),
            "objective": weighted(e, projection=0.0),
        },
        "nothing else trains the attention",
    ),
    "emphasis": (
        lambda e: {
            "model": dataclasses.replace(e.model, regression=False),
            "objective": dataclasses.replace(weighted(e, regression=0.0, diversion=0.0), emphasis="recognizability"),
        },
        "nothing else trains the index",
    ),
    "emphasis_without_unrecognizable": (
        lambda e: {
            "data": dataclasses.replace(e.data, unrecognizable=()),
            "objective": dataclasses.replace(
                weighted(e, diversion=0.0, projection=0.0),
                target="certainty_ratio",
                distillation_emphasis="recognizability",
            ),
        },
        "or an emphasis by recognizability needs data.unrecognizable or objective.statistics",
    ),
    "projected": (
        lambda e: {"objective": dataclasses.replace(e.objective, projected="teacher")},
        "part with a teacher",
    ),
    "positive": (lambda e: {"objective": dataclasses.replace(e.objective, positive="teacher")}, "part with a teacher"),
    "ers": (
        lambda e: {
            "data": taught(e).data,
            "objective": dataclasses.replace(e.objective, positive="teacher", target="ers"),
        },
        "d_P, which objective.target=ers does not have",
    ),
    "refresh_from": (
        lambda e: {"training": dataclasses.replace(e.training, refresh_from="averaged")},
        "needs training.average_decay",
    ),
    "from_teacher": (lambda e: {"head": dataclasses.replace(e.head, from_teacher=True)}, "a part with a teacher"),
    "teacher": (
        lambda e: {
            "data": dataclasses.replace(
                e.data, parts=(PartConfig(e.data.parts[0].source, Chain(()), teacher=FolderSource("hr")),)
            )
        },
        "names no teacher trunk",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_contradict_each_other_are_named(experiment, name):
    change, said = WRONG[name]
    check(experiment)
    with pytest.raises(VlrfaceError, match=said):
        check(dataclasses.replace(experiment, **change(experiment)))


def test_a_crop_without_its_aligned_picture_is_named(experiment, data, tmp_path):
    save(tmp_path / "hr", ["1"], 0)
    part = dataclasses.replace(experiment.data.parts[0], teacher=FolderSource(str(tmp_path / "hr")))
    without = dataclasses.replace(
        experiment, data=dataclasses.replace(experiment.data, parts=(part,)), teacher=MobileFaceNetConfig(32)
    )
    with pytest.raises(VlrfaceError, match="no aligned picture for 32 crops, first "):
        build(without, Places(data, tmp_path / "cache", progress=False))


def test_teacher_embeddings_are_cached_and_start_the_prototypes(experiment, data, tmp_path, monkeypatch):
    started = dataclasses.replace(taught(experiment), head=dataclasses.replace(experiment.head, from_teacher=True))
    places = Places(data, tmp_path, progress=False)
    first = build(started, places).ingredients
    monkeypatch.setattr("vlrface.experiment.teacher.encode_crops", None)  # a second pass would fail
    second = build(started, places).ingredients
    assert (first.teachers[0] == second.teachers[0]).all()
    prototypes = first.objective.head.prototypes.detach()
    # Four pictures of each person, in order: the rows of the first are the first four.
    unit = torch.nn.functional.normalize(first.teachers[0])
    mean = torch.nn.functional.normalize(unit[:4].mean(dim=0), dim=0)
    torch.testing.assert_close(prototypes[0], mean, atol=1e-5, rtol=0)


def test_a_run_is_not_resumed_on_other_pictures(experiment, tmp_path):
    save(tmp_path / "tinyface" / "Training_Set", [str(i) for i in range(12)], 0)
    short = dataclasses.replace(experiment, training=dataclasses.replace(experiment.training, epochs=1))
    places = Places(tmp_path, tmp_path / "cache", progress=False)
    train_experiment(short, tmp_path / "run", places)
    save(tmp_path / "tinyface" / "Training_Set", ["99"], 1)
    with pytest.raises(VlrfaceError, match="data"):
        train_experiment(short, tmp_path / "run", places)
