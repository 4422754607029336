"""An ablation as a value: what it refuses, in which order it trains, and which trainings it takes for done."""

import dataclasses
import shutil

import pytest

from vlrface.experiment.ablation import Ablation, Training, is_finished, load_ablation
from vlrface.experiment.config import load_recipe
from vlrface.types import VlrfaceError


@pytest.fixture(scope="module")
def experiment(data):
    return load_recipe(data / "recipe.py")


def test_seed_0_of_every_variant_comes_first(experiment):
    ablation = Ablation("t", {"a": experiment, "b": experiment}, "a", {"a": 3, "b": 1})
    assert [str(each) for each in ablation.trainings()] == ["a/seed0", "b/seed0", "a/seed1", "a/seed2"]
    assert [str(each) for each in ablation.trainings(["a"], 2)] == ["a/seed0", "a/seed1"]
    assert len(Ablation("t", {"a": experiment}, "a", 8).trainings()) == 8
    assert ablation.experiment(Training("a", 2)) == dataclasses.replace(experiment, seed=2)
    with pytest.raises(VlrfaceError, match="no variant is called c; there is a, b"):
        ablation.trainings(["c"])
    with pytest.raises(VlrfaceError, match="--seeds 0: give at least 1"):
        ablation.trainings(seeds=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variants": {}}, "has no variants"),
        ({"baseline": "b"}, "the baseline 'b' is no variant; there is a"),
        ({"seeds": 0}, "seeds is 0; give whole numbers from 1"),
        ({"seeds": {"a": 0}}, "give whole numbers from 1"),
        ({"seeds": {"a": 1, "b": 2}}, r"name different things \(b\)"),
        ({"seeds": {}}, r"name different things \(a\)"),
    ],
)
def test_what_cannot_be_is_refused(experiment, changes, said):
    with pytest.raises(VlrfaceError, match=said):
        Ablation(**{"name": "t", "variants": {"a": experiment}, "baseline": "a", "seeds": 1, **changes})


@pytest.mark.parametrize("name", ["../a", "", "a b", ".a", "a/b"])
def test_a_variant_names_a_folder(experiment, name):
    with pytest.raises(VlrfaceError, match="cannot name a folder"):
        Ablation("t", {name: experiment}, name)


def test_settings_that_contradict_each_other_are_refused_before_anything_is_trained(experiment):
    wrong = dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, attention=False))
    with pytest.raises(VlrfaceError, match=r"variant a: recipe recipe: .*needs model.attention=true"):
        Ablation("t", {"a": wrong}, "a")


def test_a_recipe_must_define_an_ablation(data, tmp_path):
    with pytest.raises(VlrfaceError, match=r"must define `ablation = Ablation\(...\)`"):
        load_ablation(data / "recipe.py")
    text = (data / "recipe.py").read_text() + "from vlrface.experiment.ablation import Ablation\n"
    (tmp_path / "a.py").write_text(text + "ablation = Ablation('t', {'x': experiment}, baseline='x')\n")
    assert load_ablation(tmp_path / "a.py").seeds_of("x") == 1


def test_a_training_made_by_hand_is_done_if_it_is_that_of_the_recipe(experiment, trained_run, tmp_path):
    assert is_finished(trained_run, experiment)
    assert is_finished(trained_run, dataclasses.replace(experiment, name="another"))
    assert not is_finished(tmp_path, experiment)
    shutil.copy(trained_run / "last.safetensors", tmp_path)
    assert not is_finished(tmp_path, experiment)  # it has no best.safetensors
    with pytest.raises(VlrfaceError, match="seed: there 0, in the recipe 3"):
        is_finished(trained_run, dataclasses.replace(experiment, seed=3))
    longer = dataclasses.replace(experiment, training=dataclasses.replace(experiment.training, epochs=9))
    with pytest.raises(VlrfaceError, match=r"training.epochs: there 2, in the recipe 9\): move it away"):
        is_finished(trained_run, longer)
