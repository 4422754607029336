"""Fine-tuning from a recipe: low rank in, plain weights out; teachers of another length; the shipped ways."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from vlrface.checkpoint import Checkpoint, read_card
from vlrface.experiment.ablation import load_ablation
from vlrface.experiment.build import build
from vlrface.experiment.check import check
from vlrface.experiment.config import IResNetConfig, IRNetConfig, LoraConfig, MobileFaceNetConfig, load_recipe
from vlrface.experiment.network import build_backbone, build_recognizer, load_trained
from vlrface.experiment.sources import Places
from vlrface.experiment.training import train_experiment
from vlrface.models.mobilefacenet import CASIA, MS1M
from vlrface.types import VlrfaceError

RECIPE = Path(__file__).parents[2] / "recipes" / "finetune.py"


@pytest.fixture
def experiment(data):
    return load_recipe(data / "recipe.py")


def test_what_was_trained_by_low_rank_serves_and_starts_others_as_plain_weights(experiment, data, tmp_path):
    model = dataclasses.replace(experiment.model, lora=LoraConfig(rank=2), frozen_steps=2)
    training = dataclasses.replace(experiment.training, average_decay=0.9)
    given = dataclasses.replace(experiment, model=model, training=training)
    train_experiment(given, tmp_path / "run", Places(data, tmp_path / "cache", progress=False))
    best, last = (load_trained(tmp_path / "run" / f"{name}.safetensors") for name in ("best", "last"))
    assert not any("parametrizations" in name for name in best.recognizer.state_dict())
    # The last epoch may not be the best: compare `last` with the run's own weights, merged by hand.
    inside = "averaged.module.backbone.widen.conv.parametrizations.weight"
    raw = Checkpoint.load(last.path).tensors
    up, down, scale = (raw[f"{inside}.0.{name}"] for name in ("up", "down", "scale"))
    by_hand = raw[f"{inside}.original"] + (scale * up @ down)[:, :, None, None]
    torch.testing.assert_close(last.recognizer.backbone.widen.conv.weight.detach(), by_hand)
    crops = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    assert np.isfinite(best.recognizer.embed_crops(crops)[0]).all()
    assert best.card["trained_parameters"] == last.card["trained_parameters"] > 0
    # As the start of another run.
    backbone = MobileFaceNetConfig(32, "run/best.safetensors")
    again = build_recognizer(dataclasses.replace(model, backbone=backbone), tmp_path)
    found = again.backbone.state_dict()["widen.conv.parametrizations.weight.original"]
    assert torch.equal(found, best.recognizer.backbone.widen.conv.weight)


def test_a_teacher_of_another_length_teaches_through_a_map(experiment, data, tmp_path):
    part = dataclasses.replace(experiment.data.parts[0], teacher=experiment.data.parts[0].source)
    weights = dataclasses.replace(experiment.objective.weights, distillation=1.0)
    given = dataclasses.replace(
        experiment,
        teacher=IResNetConfig(18, 32),
        data=dataclasses.replace(experiment.data, parts=(part,)),
        objective=dataclasses.replace(experiment.objective, weights=weights, teacher_map=True),
        training=dataclasses.replace(experiment.training, epochs=1),
    )
    folder = tmp_path / "run"
    train_experiment(given, folder, Places(data, tmp_path / "cache", progress=False))
    objective = Checkpoint.load(folder / "last.safetensors").group("objective")
    assert objective["teacher_map.weight"].shape == (512, 128)
    line = (folder / "log.jsonl").read_text()
    assert "validation/rank1" in line
    assert load_trained(folder).recognizer.embedding_dim == 128


def test_a_teacher_is_asked_again_when_it_takes_its_colours_in_another_order(experiment, data, tmp_path):
    places = Places(data, tmp_path, progress=False)
    part = dataclasses.replace(experiment.data.parts[0], teacher=experiment.data.parts[0].source)
    weights = dataclasses.replace(experiment.objective.weights, distillation=1.0)
    given = dataclasses.replace(
        experiment,
        data=dataclasses.replace(experiment.data, parts=(part,)),
        objective=dataclasses.replace(experiment.objective, weights=weights, teacher_map=True),
    )
    taught = [
        build(dataclasses.replace(given, teacher=IRNetConfig(18, 32, order=order)), places).ingredients.teachers[0]
        for order in ("bgr", "rgb")
    ]
    assert not torch.allclose(taught[0], taught[1], rtol=1e-2)
    assert len(list(tmp_path.glob("teacher-*.npy"))) == 2


def test_a_map_that_would_do_nothing_or_contradicts_is_refused(experiment):
    mapped = dataclasses.replace(experiment.objective, teacher_map=True)
    with pytest.raises(VlrfaceError, match=r"teacher_map needs objective\.weights\.distillation"):
        check(dataclasses.replace(experiment, objective=mapped))
    part = dataclasses.replace(experiment.data.parts[0], teacher=experiment.data.parts[0].source)
    weights = dataclasses.replace(mapped.weights, distillation=1.0)
    given = dataclasses.replace(
        experiment,
        teacher=IResNetConfig(18, 32),
        data=dataclasses.replace(experiment.data, parts=(part,)),
        objective=dataclasses.replace(mapped, weights=weights, projected="teacher"),
    )
    with pytest.raises(VlrfaceError, match="have no meaning"):
        check(given)


def test_both_public_mobilefacenets_have_their_constants():
    ms1m, casia = (build_backbone(MobileFaceNetConfig(32, variant=each), None) for each in ("ms1m", "casia"))
    assert (ms1m.stem.norm.eps, casia.stem.norm.eps) == (MS1M.norm_epsilon, CASIA.norm_epsilon)
    assert (ms1m.norm.weight.requires_grad, casia.norm.weight.requires_grad) == (False, True)


def test_the_shipped_ways_differ_in_what_their_names_say_and_share_their_steps():
    ablation = load_ablation(RECIPE)
    steps = {name: each.training.epochs for name, each in ablation.variants.items()}
    assert steps.pop("start") == 0
    assert len(set(steps.values())) == 1
    rows = {(part.source, part.copies) for each in ablation.variants.values() for part in each.data.parts}
    assert len(rows) == 2
    counted = {}
    for name, each in ablation.variants.items():
        model = dataclasses.replace(each.model, backbone=MobileFaceNetConfig(64))
        counted[name] = sum(p.numel() for p in build_recognizer(model, None).parameters() if p.requires_grad)
    for fewer, more in (
        ("embedding", "lora-4"), ("lora-4", "lora-16"), ("lora-16", "all"), ("embedding", "last-blocks"),
        ("last-blocks", "all"),
    ):  # fmt: skip
        assert counted[fewer] < counted[more]
    assert counted["all"] == counted["averaged"] == counted["distilled"] == counted["frozen-norms"]


@pytest.mark.real
def test_casia_weights_start_a_network(real_data):
    config = MobileFaceNetConfig(64, "weights/mobilefacenet_casia_112x96.ckpt", variant="casia")
    backbone = build_backbone(config, real_data)
    assert backbone.input.height == backbone.input.width == 64
    with pytest.raises(VlrfaceError, match='take MobileFaceNetConfig\\(variant="casia"\\)'):
        build_backbone(dataclasses.replace(config, variant="ms1m"), real_data)


def test_the_card_says_how_many_numbers_learned(trained_run):
    card = read_card(trained_run / "best.safetensors")
    recognizer = load_trained(trained_run).recognizer
    assert card["trained_parameters"] == sum(p.numel() for p in recognizer.parameters() if p.requires_grad)
