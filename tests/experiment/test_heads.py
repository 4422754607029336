"""Every head that a recipe can choose: settings reach it, from the command line too, and stand in the JSON."""

import dataclasses
import json
from typing import get_args

import pytest

from vlrface.experiment.build import build
from vlrface.experiment.config import HeadConfig, MagFaceConfig, load_recipe, override, to_json
from vlrface.experiment.heads import build_head
from vlrface.experiment.sources import Places
from vlrface.types import VlrfaceError

KINDS = get_args(HeadConfig)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
FIRST = {"first_mean": "norm_mean", "first_deviation": "norm_deviation"}  # settings that only set a buffer's start


def settings(config):
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name != "from_teacher"}


@pytest.fixture
def experiment(data):
    return load_recipe(data / "recipe.py")


def test_all_heads_of_the_ablation_can_be_chosen():
    assert {kind.__name__.removesuffix("Config") for kind in KINDS} == {
        "CrossEntropy", "NormFace", "CosFace", "ArcFace", "MVSoftmax", "CurricularFace", "MagFace", "AdaFace"
    }  # fmt: skip


@every_kind
def test_settings_reach_the_head(kind):
    changed = {}
    for name, value in settings(kind()).items():
        other = {"differentiated": "straight_through", "easy": "linear", True: False}
        changed[name] = other[value] if isinstance(value, str | bool) else value * 0.9
    head = build_head(kind(**changed), 6, 5, seed=3)
    assert type(head).__name__ == kind.__name__.removesuffix("Config")
    assert (head.dim, head.classes) == (6, 5)
    for name, value in changed.items():
        found = getattr(head, FIRST.get(name, name))
        assert found == value if isinstance(value, str | bool) else float(found) == pytest.approx(value), name


@every_kind
def test_defaults_are_those_of_the_head(kind):
    default = build_head(kind(), 6, 5)
    assert repr(default) == repr(type(default)(6, 5))


@every_kind
def test_a_head_is_set_from_the_command_line_and_named_in_the_json(kind, experiment):
    chosen = override(dataclasses.replace(experiment, head=kind()), ["head.from_teacher=true"])
    assert chosen.head == kind(from_teacher=True)
    for name, value in settings(kind()).items():
        if isinstance(value, float):
            assert getattr(override(chosen, [f"head.{name}=7"]).head, name) == 7.0
    stated = json.loads(json.dumps(to_json(chosen)))["head"]
    assert stated == {"kind": kind.__name__, **settings(kind()), "from_teacher": True}


def test_a_setting_that_another_head_has_is_refused(experiment):
    with pytest.raises(VlrfaceError, match="no field 'magnitude_weight'; there is scale, margin_rad"):
        override(experiment, ["head.magnitude_weight=3"])


def test_a_wrong_setting_is_refused_when_built():
    with pytest.raises(VlrfaceError, match="MagFace needs norms"):
        build_head(MagFaceConfig(lowest_norm=200.0), 6, 5)


@every_kind
def test_a_recipe_takes_any_head(kind, experiment, data, tmp_path_factory):
    places = Places(data, tmp_path_factory.getbasetemp() / "heads-cache", progress=False)
    ingredients = build(dataclasses.replace(experiment, head=kind()), places).ingredients
    assert type(ingredients.objective.head).__name__ == kind.__name__.removesuffix("Config")
    assert ingredients.objective.head.dim == ingredients.recognizer.embedding_dim
