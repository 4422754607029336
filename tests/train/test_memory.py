"""Less memory, the same step: micro-batches, recomputed activations; and a fused optimiser."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_run import CONFIG, OPTIONS, SIDE, assert_equal_tensors, ingredients, run, tensors

from vlrface.losses.adaptive_heads import AdaFace
from vlrface.losses.objective import MethodObjective, ObjectiveWeights
from vlrface.losses.recognizability import UnrecognizableStatistics
from vlrface.train import TrainingDivergedError, TrainingInterruptedError, TrainingOptions
from vlrface.train.finite import FiniteWatch
from vlrface.train.microbatches import gradients_in_parts
from vlrface.train.state import RunState
from vlrface.types import VlrfaceError


def batch_norms(network):
    return [each for each in network.modules() if isinstance(each, torch.nn.modules.batchnorm._BatchNorm)]


def setting():
    """A network, an objective in which faces of a batch count by one another, and a batch."""
    network = ingredients().recognizer
    weights = ObjectiveWeights(distillation=2.0, diversion=0.5, diversion_from_epoch=0, attended_recognition=0.3)
    objective = MethodObjective(AdaFace(128, 5, 32.0), weights, emphasis="recognizability")
    center = torch.nn.functional.normalize(torch.ones(128), dim=0)
    objective.refresh(UnrecognizableStatistics(center, 0.2, 0.5))
    rng = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (8, SIDE, SIDE, 3), dtype=torch.uint8, generator=rng)
    labels = torch.arange(8) % 5
    teacher = torch.randn(8, 128, generator=rng)
    taught = torch.tensor([True] * 3 + [False] * 5)  # none in the second half

    def lose(output):
        return objective(
            output.embedding, output.attended, output.recognizability, labels, epoch=1.0, teacher=teacher,
            teacher_mask=taught,
        )  # fmt: skip

    return network, objective, images, lose


def gradients(*modules):
    return [p.grad.clone() for module in modules for p in module.parameters() if p.grad is not None]


def reseed(part):
    torch.manual_seed(100 + part)


@pytest.mark.parametrize("count", [2, 4])
def test_micro_batches_have_the_gradient_of_one_large_batch(count):
    results = []
    for parts in (1, count):
        network, objective, images, lose = setting()
        network.eval()  # batch norms alone see micro-batches: here they see their running statistics
        if parts == 1:
            result = lose(network(images))
            result.total.backward()
        else:
            result = gradients_in_parts(network, network, images, parts, lose, reseed)
        state = [objective.head.norm_mean, objective.head.norm_deviation]
        results.append((result.total.item(), state, gradients(network, objective)))
    (total, state, whole), (in_parts_total, in_parts_state, in_parts) = results
    assert in_parts_total == pytest.approx(total, rel=1e-5)
    assert torch.allclose(torch.stack(state), torch.stack(in_parts_state))
    assert len(whole) == len(in_parts) > 50
    for ours, theirs in zip(in_parts, whole, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5 * float(theirs.abs().max() + 1))


def test_batch_norms_take_each_micro_batch_once():
    network, _, images, lose = setting()
    other = setting()[0]
    network.train()
    gradients_in_parts(network, network, images, 2, lose, reseed)
    other.train()
    with torch.no_grad():
        for part in images.chunk(2):
            other(part)
    assert_equal_tensors(dict(network.named_buffers()), dict(other.named_buffers()))
    assert {int(norm.num_batches_tracked) for norm in batch_norms(network)} == {2}


def test_micro_batches_drop_the_same_in_both_passes():
    """The gradient is that of the embeddings the objective saw: with other dropout the two would be strangers."""
    network, _, images, _ = setting()
    network.train()
    drawn = []
    forward = network.regression.dropout.register_forward_hook(lambda *given: drawn.append(given[2] == 0))
    weights = ObjectiveWeights(diversion=0.0, projection=0.0)
    objective = MethodObjective(AdaFace(128, 5), weights, target="certainty_ratio")
    labels = torch.arange(8) % 5
    gradients_in_parts(network, network, images, 2, lambda o: objective(*o[:3], labels, epoch=0.0), reseed)
    forward.remove()
    assert len(drawn) == 4
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[0], drawn[1])


def test_micro_batches_divide_the_batch(tmp_path):
    with pytest.raises(VlrfaceError, match=r"training\.accumulate must .*divide batch_size, 8; it is 3"):
        TrainingOptions(epochs=1, batch_size=8, accumulate=3)
    options = replace(OPTIONS, accumulate=2, epochs=1)
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path / "stopped", options=options, stop_at=3)
    assert_equal_tensors(
        tensors(run(tmp_path / "stopped", options=options).last), tensors(run(tmp_path / "whole", options=options).last)
    )


def test_recomputed_activations_give_the_same_gradient_and_statistics():
    found = []
    for checkpointing in (False, True):
        network, objective, images, lose = setting()
        network.backbone.checkpointing = checkpointing
        network.train()
        reseed(0)
        lose(network(images)).total.backward()
        found.append((gradients(network, objective), dict(network.named_buffers())))
    (whole, buffers), (again, buffers_again) = found
    assert len(whole) == len(again) > 50
    for ours, theirs in zip(again, whole, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6 * float(theirs.abs().max() + 1))
    assert_equal_tensors(buffers_again, buffers)


def test_recomputing_keeps_less():
    def kept(checkpointing):
        network, _, images, _ = setting()
        network.backbone.checkpointing = checkpointing
        network.train()
        storages = {}

        def pack(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(images)
        return sum(storages.values())

    assert kept(True) < 0.6 * kept(False)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_fused_optimiser_steps_the_same(tmp_path, optimizer):
    found = []
    for fused in (False, True):
        given = ingredients()
        options = replace(OPTIONS, optimizer=optimizer, clip_norm=50.0, fused=fused)
        state = RunState(given.recognizer, given.objective, options, CONFIG)
        assert state.can_skip == fused
        rng = torch.Generator().manual_seed(0)
        for rate in (1.0, 0.5, 0.25):
            if rate == 0.25:  # what comes from a file is as good as what never left
                state.save_last(tmp_path / "half.safetensors")
                given = ingredients()
                state = RunState(given.recognizer, given.objective, options, CONFIG)
                state.restore(tmp_path / "half.safetensors")
            for parameter in [*given.recognizer.parameters(), *given.objective.parameters()]:
                parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=rng))
            assert float(state.gradient_norm()) > 50.0
            state.update(rate)
        state.save_last(tmp_path / f"{fused}.safetensors")
        found.append(tensors(tmp_path / f"{fused}.safetensors"))
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], rtol=1e-4, atol=1e-6, equal_nan=True), name


def test_marks_on_the_device_keep_a_bad_step_from_the_weights(tmp_path, monkeypatch):
    """As on a GPU: nothing is looked at until the log, and yet nothing bad is done to the weights or saved."""
    monkeypatch.setattr("vlrface.train.running.FiniteWatch", lambda device, _: FiniteWatch(device, deferred=True))
    options = replace(OPTIONS, fused=True, log_every=4, save_every=2)
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, options=options, stop_at=2)
    good = tensors(tmp_path / "last.safetensors")
    given = ingredients()
    given.teachers[0][:] = torch.nan
    with pytest.raises(TrainingDivergedError, match=r"'distillation' is not finite at step 2\. .*last good step"):
        run(tmp_path, given, options)
    assert_equal_tensors(tensors(tmp_path / "last.safetensors"), good)
    assert torch.equal(given.recognizer.backbone.linear.weight, good["recognizer.backbone.linear.weight"])


def test_marks_tell_the_first_bad_step_and_what_it_was():
    watch = FiniteWatch(torch.device("cpu"), deferred=True)
    good, bad, norm = torch.tensor(1.0), torch.tensor(np.inf), torch.tensor(2.0)
    assert watch.look(7, {"recognition": good, "regression": good}, norm) is None
    assert watch.found() is None
    assert float(watch.skip) == 0.0
    watch.look(8, {"recognition": good, "regression": bad}, norm)
    watch.look(9, {"recognition": bad, "regression": good}, norm)
    watch.look(10, {"recognition": bad}, torch.tensor(np.nan))
    assert float(watch.skip) == 1.0
    assert watch.found() == (8, ("regression",))
    at_once = FiniteWatch(torch.device("cpu"))
    assert at_once.skip is None
    assert at_once.look(3, {"recognition": good}, torch.tensor(np.nan)) == (3, ("the gradient",))
