"""What training is built of: above all, that nobody who is held out is trained on."""

import dataclasses

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

    def inputs(config, source, people, recognizer):
        seen["pictures"] = source.people[source.usable(people)]
        return unrecognizable_inputs(config, source, people, recognizer)

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


def test_a_procedural_person_is_another_one_with_another_seed(tmp_path):
    places = Places(tmp_path, tmp_path, progress=False)
    one, same, other = (
        load_source(ProceduralSource(2, 2, first_identity=first, seed=seed), places)
        for first, seed in ((5, 0), (6, 0), (5, 1))
    )
    assert len(set(one.people) & set(same.people)) == 1
    assert not set(one.people) & set(other.people)


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
        lambda e: {"data": dataclasses.replace(e.data, unrecognizable=None)},
        "needs data.unrecognizable",
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
    taught = dataclasses.replace(
        experiment, data=dataclasses.replace(experiment.data, parts=(part,)), teacher=MobileFaceNetConfig(32)
    )
    with pytest.raises(VlrfaceError, match="no aligned picture for 32 crops, first "):
        build(taught, Places(data, tmp_path / "cache", progress=False))


def test_teacher_embeddings_are_cached_and_start_the_prototypes(experiment, data, tmp_path, monkeypatch):
    source = experiment.data.parts[0].source
    part = dataclasses.replace(experiment.data.parts[0], teacher=source)
    taught = dataclasses.replace(
        experiment,
        data=dataclasses.replace(experiment.data, parts=(part,)),
        teacher=MobileFaceNetConfig(32),
        head=dataclasses.replace(experiment.head, from_teacher=True),
    )
    places = Places(data, tmp_path, progress=False)
    first = build(taught, places).ingredients
    monkeypatch.setattr("vlrface.experiment.teacher.encode_crops", None)  # a second pass would fail
    second = build(taught, places).ingredients
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
