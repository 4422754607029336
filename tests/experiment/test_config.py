import dataclasses
import json
from pathlib import Path

import pytest

from vlrface.experiment.config import (
    ArcFaceConfig,
    DataConfig,
    Experiment,
    FolderSource,
    FoundConfig,
    IResNetConfig,
    IRNetConfig,
    LoraConfig,
    MobileFaceNetConfig,
    ModelConfig,
    ObjectiveConfig,
    PartConfig,
    UnrecognizableConfig,
    ValidationConfig,
    load_recipe,
    model_from_json,
    override,
    to_json,
)
from vlrface.images.framing import Framing
from vlrface.models.backbone import InputSpec
from vlrface.train import TrainingOptions
from vlrface.types import VlrfaceError

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.py"))


@pytest.mark.parametrize(
    ("trunk", "name", "value", "said"),
    [
        (IRNetConfig(), "order", "BGR", r"IRNetConfig\.order is 'BGR': give one of 'rgb', 'bgr'"),
        (IRNetConfig(), "depth", 20, r"IRNetConfig\.depth is 20"),
        (IResNetConfig(), "depth", 101, r"IResNetConfig\.depth is 101"),
        (MobileFaceNetConfig(), "variant", "CASIA", r"MobileFaceNetConfig\.variant is 'CASIA'"),
        (InputSpec(32, 32), "order", "bgr ", "order of colours is 'bgr '"),
    ],
)
def test_a_misspelt_trunk_is_refused(trunk, name, value, said):
    # In tests the annotations are enforced before the class sees the value; in use they are not.
    object.__setattr__(trunk, name, value)
    with pytest.raises(VlrfaceError, match=said):
        trunk.__post_init__()


def small():
    crops = FolderSource("crops")
    return Experiment(
        name="small",
        model=ModelConfig(MobileFaceNetConfig(size=64), Framing(1.2, 0.44)),
        data=DataConfig((PartConfig(crops),), ValidationConfig(crops, 10)),
        head=ArcFaceConfig(),
        objective=ObjectiveConfig(),
        training=TrainingOptions(epochs=2),
    )


def test_what_stands_in_a_tuple_is_replaced_by_its_number():
    crops = FolderSource("crops")
    data = dataclasses.replace(small().data, unrecognizable=(UnrecognizableConfig(crops), FoundConfig("pool", "a.csv")))
    given = dataclasses.replace(small(), data=data)
    changed = override(
        given,
        ["data.parts.0.copies=2", "data.unrecognizable.0.count=9", "data.unrecognizable.1.list=b.csv",
         "training.schedule.milestones.1=0.7"],
    )  # fmt: skip
    assert changed.data.parts[0].copies == 2.0
    assert changed.data.unrecognizable == (UnrecognizableConfig(crops, count=9), FoundConfig("pool", "b.csv"))
    assert changed.training.schedule.milestones == (0.5, 0.7)
    assert override(given, ["data.unrecognizable=[]"]).data.unrecognizable == ()


def test_own_choices_are_set_by_name():
    changed = override(
        small(),
        ["model.index_gradient=0", "model.serve=fused", "objective.projected=teacher", "objective.positive=teacher",
         "objective.emphasis=recognizability", "objective.distillation_emphasis=recognizability",
         "objective.statistics=study/statistics.safetensors", "training.refresh_from=averaged"],
    )  # fmt: skip
    assert (changed.model.index_gradient, changed.model.serve) == (0.0, "fused")
    assert changed.objective == ObjectiveConfig(
        projected="teacher",
        positive="teacher",
        emphasis="recognizability",
        distillation_emphasis="recognizability",
        statistics="study/statistics.safetensors",
    )
    assert changed.training.refresh_from == "averaged"


def test_unrecognizable_faces_without_their_tuple_are_explained():
    data = small().data
    for value in (None, UnrecognizableConfig(FolderSource("crops"))):
        # In tests the annotations are enforced before the class sees the value; in use they are not.
        object.__setattr__(data, "unrecognizable", value)
        with pytest.raises(VlrfaceError, match=r"data\.unrecognizable is a tuple"):
            data.__post_init__()


def test_fields_are_replaced_by_dotted_names():
    changed = override(
        small(),
        ["training.epochs=5", "training.trunk_rate=1", "training.clip_norm=3.5", "training.schedule.kind=step",
         "training.schedule.milestones=[0.4, 0.9]", "name=other", "objective.weights.diversion=0"],
    )  # fmt: skip
    assert changed.training.epochs == 5
    assert changed.training.trunk_rate == 1.0
    assert isinstance(changed.training.trunk_rate, float)
    assert changed.training.clip_norm == 3.5
    assert changed.training.schedule.kind == "step"
    assert changed.training.schedule.milestones == (0.4, 0.9)
    assert changed.name == "other"
    assert changed.objective.weights.diversion == 0.0
    assert small().training.epochs == 2


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("training.epoch=5", "no field 'epoch'; there is epochs"),
        ("training.epochs", "write NAME=VALUE"),
        ("training.epochs=many", "'many' is not int"),
        ("training.epochs=null", "None is not int"),
        ("training.clip_norm=abc", "'abc' is not float"),
        ("training.optimizer=adam", "not one of sgd, adamw"),
        ("training.schedule=null", "None is not Schedule"),
        ("model.serve=fast", "not one of plain, attended, fused"),
        ("model.index_gradient=1.5", "a share lies in"),
        ("training.schedule.milestones=[1, true]", "is not tuple"),
        ("training.epochs.x=1", "nothing below it"),
        ("data.parts.1.copies=1", "no field '1'; there is 0"),
        ("data.unrecognizable.0.count=1", "nothing below it"),
        ("data.unrecognizable=null", "is not tuple"),
        ("objective.projected=other", "not one of own, teacher"),
        ("objective.emphasis=size", "not one of equal, recognizability"),
        ("training.refresh_from=best", "not one of current, averaged"),
        ("training.epochs=-1", "at least 0"),
        ("training.layer_decay=0", "layer_decay must lie in"),
        ("model.backbone.variant=cifar", "not one of ms1m, casia"),
    ],
)
def test_a_wrong_assignment_is_explained(assignment, said):
    with pytest.raises(VlrfaceError, match=said):
        override(small(), [assignment])


@pytest.mark.parametrize(
    "backbone",
    [
        MobileFaceNetConfig(size=64, weights="a/b", variant="casia"),
        IResNetConfig(depth=50, size=32),
        IRNetConfig(depth=101, size=32, order="rgb"),
    ],
)
@pytest.mark.parametrize("lora", [None, LoraConfig(rank=3, alpha=1.5, first_step=2, last_step=9, embedding=False)])
def test_a_model_survives_its_json(backbone, lora):
    model = ModelConfig(
        backbone, Framing(1.1, 0.4), dropout=0.3, index_gradient=0.5, serve="fused", frozen_norms=True, lora=lora
    )
    values = json.loads(json.dumps(to_json(model)))
    assert model_from_json(values) == model
    # What an earlier version wrote says nothing of these.
    for name in ("frozen_norms", "lora"):
        del values[name]
    assert model_from_json(values) == dataclasses.replace(model, frozen_norms=False, lora=None)


def test_a_checkpoint_of_another_version_is_explained():
    values = to_json(ModelConfig(MobileFaceNetConfig()))
    with pytest.raises(VlrfaceError, match="'Transformer' is not known"):
        model_from_json({**values, "backbone": {"kind": "Transformer"}})
    with pytest.raises(VlrfaceError, match="does not fit this version"):
        model_from_json({**values, "colour": "grey"})


def test_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        small().training.epochs = 3


def test_a_file_that_is_no_recipe_is_explained(tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text("experiment = 3\n")
    with pytest.raises(VlrfaceError, match="must define `experiment"):
        load_recipe(path)
    with pytest.raises(VlrfaceError, match="no such recipe"):
        load_recipe(tmp_path / "other.py")
    path.write_text("x = 1\nexperiment = Experiment()\n")
    with pytest.raises(VlrfaceError, match=r"recipe\.py, line 2: NameError"):
        load_recipe(path)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_and_says_its_command(recipe):
    experiment = load_recipe(recipe)
    assert json.dumps(to_json(experiment), allow_nan=False)
    assert experiment.name == recipe.stem
    assert "vlrface " in recipe.read_text().split('"""')[1]
