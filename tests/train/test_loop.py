"""The loop on a few small noise pictures: what it guarantees, not how well it learns."""

import os
import signal
import threading

import numpy as np
import pytest
import torch

from vlrface.checkpoint import Checkpoint
from vlrface.data.batches import Batches, Part
from vlrface.data.cache import crops_in_memory
from vlrface.images.framing import Framing, RandomFraming
from vlrface.losses.heads import ArcFace
from vlrface.losses.objective import MethodObjective, ObjectiveWeights
from vlrface.models.attention import PerceptibilityAttention
from vlrface.models.mobilefacenet import MobileFaceNet, mobilefacenet_input
from vlrface.models.recognizability import PerceptibilityRegression
from vlrface.models.recognizer import Recognizer
from vlrface.train import (
    Ingredients,
    TrainingDivergedError,
    TrainingInterruptedError,
    TrainingOptions,
    Validation,
    train,
)
from vlrface.train.journal import read_log
from vlrface.types import VlrfaceError

SIDE = 32
CONFIG = {"kind": "Experiment", "name": "tiny"}
OPTIONS = TrainingOptions(
    epochs=3, batch_size=8, compiled=False, average_decay=0.8, refresh_every=2, log_every=1, save_every=3, threads=1
)  # fmt: skip


def ingredients(weights=None, *, criterion=None):
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (40, 20, 16, 3), np.uint8))
    part = Part(crops_in_memory(pictures), np.arange(40) % 5, RandomFraming(Framing(1.2, 0.45), SIDE, SIDE))
    backbone = MobileFaceNet(mobilefacenet_input(SIDE, SIDE))
    recognizer = Recognizer(
        backbone,
        PerceptibilityRegression(backbone.feature_shape, dropout=0.2),
        PerceptibilityAttention(backbone.feature_shape[0]),
    )
    head = ArcFace(backbone.embedding_dim, 5, 32.0, 0.3)
    teacher = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(40, 128))).float())
    calls = []

    def validate(network, statistics):
        calls.append(statistics)
        assert not any(p.isnan().any() for p in network.parameters())
        # A value of the weights alone, as a real validation gives, unless a test asks for an order.
        value = (
            float(network.backbone.linear.weight.detach().abs().sum()) if criterion is None else criterion(len(calls))
        )
        return Validation({"rank1": 0.5}, value, {"calibration": None})

    return Ingredients(
        recognizer=recognizer,
        objective=MethodObjective(head, weights or ObjectiveWeights(distillation=1.0)),
        batches=Batches([part], 8, SIDE, SIDE, seed=1, workers=0),
        teachers=(teacher,),
        unrecognizable=torch.from_numpy(rng.integers(0, 40, (12, SIDE, SIDE, 3), np.uint8)),
        validate=validate,
    )


def run(folder, given=None, options=OPTIONS, **kwargs):
    return train(given or ingredients(), options, folder, config=CONFIG, seed=7, progress=False, **kwargs)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, run(folder)


def tensors(path):
    return dict(Checkpoint.load(path).tensors)


def assert_equal_tensors(ours, theirs):
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different


def test_a_run_leaves_checkpoints_log_and_events(undisturbed):
    folder, outcome = undisturbed
    assert outcome.steps == 15
    assert outcome.best == folder / "best.safetensors"
    best = Checkpoint.load(outcome.best)
    assert best.card["config"] == CONFIG
    assert set(best.card["statistics"]) == {"mean", "deviation"}
    assert best.group("statistics")["center"].norm() == pytest.approx(1.0, abs=1e-5)
    steps = [line["step"] for line in read_log(folder / "log.jsonl")]
    assert sorted(set(steps)) == list(range(1, 16))
    named = {"loss/recognition", "loss/regression", "loss/diversion", "loss/projection", "loss/distillation"}
    assert named <= {name for line in read_log(folder / "log.jsonl") for name in line}
    assert list((folder / "tensorboard").iterdir())


@pytest.mark.parametrize("stop_at", [1, 5, 8, 14])
def test_a_stopped_and_resumed_run_ends_with_the_same_weights(undisturbed, tmp_path, stop_at):
    with pytest.raises(TrainingInterruptedError, match=f"step {stop_at} of 15"):
        run(tmp_path, stop_at=stop_at)
    outcome = run(tmp_path)
    assert outcome.steps == 15
    assert_equal_tensors(tensors(outcome.last), tensors(undisturbed[1].last))
    assert_equal_tensors(tensors(outcome.best), tensors(undisturbed[1].best))
    ours, theirs = (read_log(folder / "log.jsonl") for folder in (tmp_path, undisturbed[0]))
    quiet = [{k: v for k, v in line.items() if k != "images_per_second"} for line in ours]
    assert quiet == [{k: v for k, v in line.items() if k != "images_per_second"} for line in theirs]


def test_a_run_killed_between_savings_goes_on_from_the_last_one(undisturbed, tmp_path):
    given = ingredients()
    steps = given.batches.epoch

    class Killed(BaseException):
        pass

    def dies(epoch, start=0):
        for number, batch in enumerate(steps(epoch, start)):
            if epoch == 1 and number == 3:  # step 8: the last saving was at step 6
                raise Killed
            yield batch

    given.batches.epoch = dies
    with pytest.raises(Killed):
        run(tmp_path, given)
    assert Checkpoint.load(tmp_path / "last.safetensors").card["step"] == 6
    assert_equal_tensors(tensors(run(tmp_path).last), tensors(undisturbed[1].last))


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    options = TrainingOptions(epochs=500, batch_size=8, compiled=False, save_every=10_000, threads=1)
    threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(TrainingInterruptedError, match="Run the same command again"):
        run(tmp_path, options=options)
    assert Checkpoint.load(tmp_path / "last.safetensors").card["step"] > 0


def test_a_finished_run_has_nothing_left_to_do(undisturbed):
    folder, outcome = undisturbed
    before = outcome.last.read_bytes()
    again = run(folder)
    assert again.steps == outcome.steps
    assert again.figures == outcome.figures
    assert again.last.read_bytes() == before


def test_nan_names_step_batch_and_part_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=4)
    good = (tmp_path / "last.safetensors").read_bytes()
    given = ingredients()
    given.teachers[0][:] = torch.nan
    with pytest.raises(TrainingDivergedError, match=r"(?s)'distillation'.*step 4 .*0:\d+.*last good step"):
        run(tmp_path, given)
    assert (tmp_path / "last.safetensors").read_bytes() == good


def test_another_configuration_is_refused(tmp_path):
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=2)
    with pytest.raises(VlrfaceError, match="name: was 'tiny', is 'other'"):
        train(ingredients(), OPTIONS, tmp_path, config={**CONFIG, "name": "other"}, seed=7, progress=False)


def test_the_best_validation_is_kept_not_the_last(tmp_path):
    outcome = run(tmp_path, ingredients(criterion=lambda calls: -float(calls)))
    assert Checkpoint.load(outcome.best).card["step"] == 5
    assert Checkpoint.load(outcome.last).card["step"] == 15


def test_a_compiler_that_fails_falls_back_to_eager(tmp_path, monkeypatch, capsys):
    def broken(_):
        def call(_):
            raise torch._dynamo.exc.TorchDynamoException("no compiler here")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    options = TrainingOptions(epochs=1, batch_size=8, compiled=True, threads=1)
    assert run(tmp_path, options=options).steps == 5
    assert "no compiler here" in capsys.readouterr().out
