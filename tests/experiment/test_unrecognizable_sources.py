"""Unrecognizable faces that were made or found, statistics from a file, and trainings with the method's own choices."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from vlrface.checkpoint import Checkpoint
from vlrface.experiment.build import build, held_and_trained
from vlrface.experiment.config import FoundConfig, MobileFaceNetConfig, load_recipe, override
from vlrface.experiment.network import load_trained
from vlrface.experiment.sources import Places, load_source, load_statistics
from vlrface.experiment.training import train_experiment
from vlrface.types import VlrfaceError

FOUND = FoundConfig("pool", "study/unrecognizable.csv")


@pytest.fixture
def places(data, tmp_path):
    """A data folder of its own, with a pool of six pictures of which a list names three."""
    (tmp_path / "tinyface").symlink_to(data / "tinyface")
    shutil.copy(data / "recipe.py", tmp_path / "recipe.py")
    rng = np.random.default_rng(3)
    for i in range(6):
        path = tmp_path / "pool" / ("a" if i % 2 else "b") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 60, (20 + i, 16, 3), np.uint8)).save(path)
    (tmp_path / "study").mkdir()
    (tmp_path / FOUND.list).write_text("file,score\na/5.png,0.99\nb/0.png,0.875\na/3.png,0.5\n")
    return Places(tmp_path, tmp_path / "cache", progress=False)


@pytest.fixture
def experiment(places):
    return load_recipe(places.data / "recipe.py")


def having(experiment, *unrecognizable):
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, unrecognizable=unrecognizable))


def inputs(experiment, places):
    return build(experiment, places).ingredients.unrecognizable


def test_found_faces_are_the_listed_pictures_of_the_pool(experiment, places):
    given = having(experiment, FOUND)
    built = build(given, places).ingredients
    assert built.unrecognizable.shape == (3, 32, 32, 3)
    for row, name in enumerate(("a/5.png", "b/0.png", "a/3.png")):
        picture = np.asarray(Image.open(places.data / "pool" / name))
        assert np.array_equal(built.unrecognizable[row].numpy(), built.recognizer.prepare(picture))


def test_all_kinds_are_taken_together(experiment, places):
    made = experiment.data.unrecognizable[0]
    other = dataclasses.replace(made, count=5, seed=1)
    each = [inputs(having(experiment, config), places) for config in (made, FOUND, other)]
    assert [len(part) for part in each] == [16, 3, 5]
    assert torch.equal(inputs(having(experiment, made, FOUND, other), places), torch.cat(each))


def test_none_are_none(experiment, places):
    off = [f"objective.weights.{part}=0" for part in ("regression", "diversion", "projection")]
    assert inputs(override(experiment, [*off, "data.unrecognizable=[]"]), places) is None


def test_other_found_faces_are_other_data(experiment, places):
    given = having(experiment, FOUND)
    before = build(given, places).data_fingerprint
    assert build(given, places).data_fingerprint == before
    (places.data / FOUND.list).write_text("file,score\na/5.png,0.99\n")
    assert build(given, places).data_fingerprint != before


def test_found_faces_of_held_out_people_are_not_trained_with(experiment, places, capsys):
    source = experiment.data.validation.source
    people = held_and_trained(experiment, {source: load_source(source, places)})
    folder = places.data / source.folder
    files = [
        str(next((folder / person).iterdir()).relative_to(folder)) for person in (people.held[0], people.trained[0])
    ]
    (places.data / "list.csv").write_text("file,score\n" + "".join(f"{file},0.9\n" for file in files))
    given = having(experiment, FoundConfig(source.folder, "list.csv"))
    built = build(given, places).ingredients
    assert "1 of 2 pictures show held-out people" in capsys.readouterr().out
    assert len(built.unrecognizable) == 1
    picture = np.asarray(Image.open(folder / files[1]).convert("RGB"))
    assert np.abs(built.unrecognizable[0].numpy().astype(int) - built.recognizer.prepare(picture)).max() <= 2


def test_a_list_or_picture_that_is_missing_is_named(experiment, places):
    given = having(experiment, FOUND)
    (places.data / "pool" / "b" / "0.png").unlink()
    with pytest.raises(VlrfaceError, match=r"1 of 3 pictures are missing in .*pool.*b/0\.png"):
        build(given, places)
    (places.data / FOUND.list).unlink()
    with pytest.raises(VlrfaceError, match=r"no such list of unrecognizable faces. `vlrface unrecognizable find"):
        build(given, places)


def test_a_list_does_not_lead_out_of_its_pool(experiment, places):
    (places.data / FOUND.list).write_text("file,score\n../recipe.py,1\n")
    with pytest.raises(VlrfaceError, match="points outside its root"):
        build(having(experiment, FOUND), places)


# --- statistics of a file --------------------------------------------------------------------------------------------


def statistics_file(places, **changed):
    center = torch.zeros(128)
    center[3] = 1.0
    tensors = {"center": center, "mean": torch.tensor(0.25), "deviation": torch.tensor(0.5)} | changed
    path = places.data / "study" / "statistics.safetensors"
    save_file({name: value for name, value in tensors.items() if value is not None}, path)
    return path


def test_statistics_of_a_file_hold_from_the_first_step_to_the_last(experiment, places, tmp_path):
    path = statistics_file(places)
    given = override(experiment, ["objective.statistics=study/statistics.safetensors"])
    known = build(given, places).ingredients.objective.statistics
    assert (known.mean, known.deviation) == (0.25, 0.5)
    train_experiment(given, tmp_path / "run", places)
    trained = Checkpoint.load(tmp_path / "run" / "last.safetensors")
    assert torch.equal(trained.tensors["objective.ui_center"], load_statistics(path).center)
    assert float(trained.tensors["objective.ui_mean"]) == 0.25
    assert "calibration" in trained.card  # the validation still measures the unrecognizable faces
    assert trained.card["statistics"]["mean"] != 0.25


def test_statistics_of_a_file_stand_in_for_unrecognizable_faces(experiment, places):
    statistics_file(places)
    given = override(experiment, ["objective.statistics=study/statistics.safetensors", "data.unrecognizable=[]"])
    built = build(given, places).ingredients
    assert built.unrecognizable is None
    assert built.objective.fixed


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mean": None}, "no statistics of unrecognizable faces .*mean"),
        ({"center": torch.ones(128)}, "norm 1"),
        ({"deviation": torch.tensor(torch.nan)}, "must be finite"),
        ({"mean": torch.zeros(3)}, "must hold center"),
    ],
)
def test_a_file_that_holds_no_statistics_is_explained(places, changed, said):
    with pytest.raises(VlrfaceError, match=said):
        load_statistics(statistics_file(places, **changed))


def test_a_statistics_file_that_is_missing_damaged_or_of_another_length_is_explained(experiment, places):
    path = places.data / "study" / "statistics.safetensors"
    with pytest.raises(VlrfaceError, match=r"no such statistics\. `vlrface unrecognizable find"):
        load_statistics(path)
    path.write_text("nothing")
    with pytest.raises(VlrfaceError, match="no statistics of unrecognizable faces"):
        load_statistics(path)
    statistics_file(places, center=torch.ones(1))
    with pytest.raises(VlrfaceError, match="the UI centre has 1 values, the embeddings have 128"):
        build(override(experiment, ["objective.statistics=study/statistics.safetensors"]), places)


# --- own choices in a training ---------------------------------------------------------------------------------------


def test_a_training_with_every_own_choice(experiment, places, tmp_path):
    source = experiment.data.parts[0].source
    part = dataclasses.replace(experiment.data.parts[0], teacher=source)
    given = dataclasses.replace(
        experiment,
        data=dataclasses.replace(
            experiment.data, parts=(part,), unrecognizable=(*experiment.data.unrecognizable, FOUND)
        ),
        teacher=MobileFaceNetConfig(32),
    )
    given = override(
        given,
        ["model.serve=fused", "model.index_gradient=0", "objective.projected=teacher", "objective.positive=teacher",
         "objective.emphasis=recognizability", "objective.distillation_emphasis=recognizability",
         "objective.weights.distillation=1", "training.average_decay=0.9", "training.refresh_from=averaged"],
    )  # fmt: skip
    outcome = train_experiment(given, tmp_path / "run", places)
    assert np.isfinite(outcome.figures["mAP"])
    trained = load_trained(outcome.best)
    assert trained.recognizer.serve == "fused"
    assert trained.recognizer.regression.gradient == 0.0
