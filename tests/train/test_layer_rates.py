"""Rates by layer, changes of low rank, and runs of no epoch, in the training loop."""

import dataclasses

import pytest
import torch
from tiny_run import OPTIONS, assert_equal_tensors, assert_same_run, ingredients, run, tensors

from vlrface.checkpoint import Checkpoint, fingerprint
from vlrface.models.lora import LoraConfig, adapt
from vlrface.train import TrainingInterruptedError
from vlrface.train.groups import parameter_groups, trained_parameters
from vlrface.train.journal import read_log


def rates(given, options):
    """The rate of each learning parameter by name, with weight decay."""
    names = {p: n for m in (given.recognizer, given.objective) for n, p in m.named_parameters() if p.requires_grad}
    groups = parameter_groups(given.recognizer, given.objective, options)
    listed = [p for group in groups for p in group["params"]]
    assert len(listed) == len(set(listed)) == len(names)
    assert all(group["rate"] == group["lr"] for group in groups)
    return {names[p]: (group["rate"], group["weight_decay"]) for group in groups for p in group["params"]}


def test_every_parameter_has_one_rate_and_vectors_do_not_decay():
    options = dataclasses.replace(OPTIONS, trunk_rate=0.5, heads_rate=0.25, prototypes_rate=0.125, weight_decay=0.01)
    given = ingredients()
    found = rates(given, options)
    assert found["backbone.stem.conv.weight"] == found["backbone.linear.weight"] == (0.5, 0.01)
    assert found["backbone.stem.norm.weight"] == (0.5, 0.0)
    assert found["regression.weight"] == found["attention.narrow.weight"] == (0.25, 0.01)
    assert found["regression.bias"] == (0.25, 0.0)
    assert found["head.prototypes"] == (0.125, 0.01)
    # Without decay by layer the trunk has two groups, as the optimisers of earlier runs have it.
    assert len(parameter_groups(given.recognizer, given.objective, options)) == 2 + 2 + 2 + 1


def test_rates_fall_by_layer_from_the_embedding_layer_to_the_pixels():
    options = dataclasses.replace(OPTIONS, trunk_rate=0.5, heads_rate=0.25, prototypes_rate=0.125, layer_decay=0.8)
    found = {name: rate for name, (rate, _) in rates(ingredients(), options).items()}
    assert found["backbone.linear.weight"] == found["backbone.gather.weight"] == 0.5
    for name, distance in (("widen", 1), ("blocks.14.expand", 2), ("blocks.0.project", 16), ("stem", 18)):
        assert found[f"backbone.{name}.conv.weight"] == found[f"backbone.{name}.norm.bias"] == 0.5 * 0.8**distance
    assert found["regression.weight"] == 0.25
    assert found["head.prototypes"] == 0.125


def test_learning_numbers_of_the_network_are_counted_without_prototypes():
    given = ingredients()
    counted = sum(p.numel() for p in given.recognizer.parameters() if p.requires_grad)
    assert trained_parameters(given.recognizer) == counted
    given.recognizer.backbone.stem.requires_grad_(False)
    assert trained_parameters(given.recognizer) == counted - 3 * 64 * 9 - 3 * 64


LOW_RANK = dataclasses.replace(OPTIONS, epochs=2)


def adapted():
    given = ingredients()
    adapt(given.recognizer.backbone, LoraConfig(rank=2))
    return given


@pytest.fixture(scope="module")
def lora_run(tmp_path_factory):
    folder, given = tmp_path_factory.mktemp("lora"), adapted()
    run(folder, given, LOW_RANK)
    return folder, given


def test_what_serves_of_a_run_with_low_rank_has_plain_weights(lora_run):
    folder, given = lora_run
    best = Checkpoint.load(folder / "best.safetensors")
    serving = best.group("recognizer")
    assert serving.keys() == ingredients().recognizer.state_dict().keys()
    assert best.card["fingerprint"] == fingerprint(serving)
    assert best.card["trained_parameters"] == trained_parameters(given.recognizer)
    # Whole weights outside, none inside of what learned by low rank.
    start, now = ingredients().recognizer.state_dict(), given.recognizer.state_dict()
    original = "backbone.widen.conv.parametrizations.weight.original"
    assert torch.equal(now[original], start["backbone.widen.conv.weight"])
    assert not torch.equal(serving["backbone.widen.conv.weight"], start["backbone.widen.conv.weight"])
    change = (serving["backbone.widen.conv.weight"] - start["backbone.widen.conv.weight"]).flatten(1)
    assert int(torch.linalg.matrix_rank(change, rtol=1e-3)) <= 2


def test_a_run_with_low_rank_goes_on_as_if_undisturbed(lora_run, tmp_path):
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, adapted(), LOW_RANK, stop_at=7)
    run(tmp_path, adapted(), LOW_RANK)
    assert_same_run(tmp_path, lora_run[0])


def test_rates_by_layer_and_resuming(tmp_path):
    options = dataclasses.replace(OPTIONS, epochs=1, layer_decay=0.9)
    run(tmp_path / "whole", options=options)
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path / "cut", options=options, stop_at=2)
    run(tmp_path / "cut", options=options)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


def test_a_run_of_no_epoch_measures_and_keeps_the_start(tmp_path):
    given = ingredients()
    start = {f"recognizer.{name}": value.clone() for name, value in given.recognizer.state_dict().items()}
    outcome = run(tmp_path, given, dataclasses.replace(OPTIONS, epochs=0))
    assert outcome.steps == 0
    assert outcome.figures == {"rank1": 0.5}
    assert Checkpoint.load(outcome.best).card["trained_parameters"] == 0
    kept = tensors(tmp_path / "best.safetensors")
    kept.pop("statistics.center")
    assert_equal_tensors(kept, start)
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == [0]
    before = (tmp_path / "best.safetensors").stat().st_mtime_ns
    run(tmp_path, options=dataclasses.replace(OPTIONS, epochs=0))
    assert (tmp_path / "best.safetensors").stat().st_mtime_ns == before
    assert len(read_log(tmp_path / "log.jsonl")) == 1
