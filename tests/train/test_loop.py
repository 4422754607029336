"""The loop on a few small noise pictures: what it guarantees, not how well it learns."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny_run import CONFIG, OPTIONS, assert_equal_tensors, before_each_batch, ingredients, run

from vlrface.checkpoint import Checkpoint, fingerprint
from vlrface.losses.objective import ObjectiveWeights
from vlrface.train import (
    TrainingDivergedError,
    TrainingInterruptedError,
    TrainingOptions,
)
from vlrface.train.journal import read_log
from vlrface.types import VlrfaceError

LINEAR = "averaged.module.backbone.linear.weight"


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


def test_last_serves_like_best(undisturbed, tmp_path):
    """The last step was validated: the averaged weights, with the statistics and the calibration of that validation."""
    held = Checkpoint.load(undisturbed[1].last)
    card = held.card
    assert card["validated_step"] == card["step"] == 15
    assert card["calibration"]["slope"] == pytest.approx(float(held.tensors[LINEAR].abs().sum()))
    assert set(card["statistics"]) == {"mean", "deviation"}
    assert held.tensors["statistics.center"].norm() == pytest.approx(1.0, abs=1e-5)
    served = held.group("averaged.module")
    assert served.keys() == held.group("recognizer").keys()
    assert card["fingerprint"] == fingerprint(served) != fingerprint(held.group("recognizer"))

    always_better = run(tmp_path, ingredients(criterion=float))
    best, last = Checkpoint.load(always_better.best), Checkpoint.load(always_better.last)
    shared = ("step", "fingerprint", "statistics", "calibration")
    assert {k: best.card[k] for k in shared} == {k: last.card[k] for k in shared}
    assert_equal_tensors(best.group("recognizer"), last.group("averaged.module"))
    assert_equal_tensors(best.group("statistics"), last.group("statistics"))


def test_before_the_first_validation_last_claims_none(tmp_path):
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=4)
    last = Checkpoint.load(tmp_path / "last.safetensors")
    assert not last.card.keys() & {"validated_step", "fingerprint", "statistics", "calibration"}
    assert "statistics.center" not in last.tensors
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=5)
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=7)
    slope = Checkpoint.load(tmp_path / "last.safetensors").card["calibration"]
    with pytest.raises(TrainingInterruptedError):  # carried on through a resume that validates nothing
        run(tmp_path, stop_at=8)
    last = Checkpoint.load(tmp_path / "last.safetensors")
    assert (last.card["step"], last.card["validated_step"], last.card["calibration"]) == (8, 5, slope)
    assert slope["slope"] != float(last.tensors[LINEAR].abs().sum())
    assert last.card["fingerprint"] == fingerprint(last.group("averaged.module"))


def test_nan_names_step_batch_and_part_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=4)
    good = (tmp_path / "last.safetensors").read_bytes()
    given = ingredients()
    given.teachers[0][:] = torch.nan
    with pytest.raises(TrainingDivergedError, match=r"(?s)'distillation'.*step 4 .*0:\d+.*last good step"):
        run(tmp_path, given)
    assert (tmp_path / "last.safetensors").read_bytes() == good


def poisoned(step_of_epoch, **kwargs):
    """A batch norm loses its statistics: no loss sees it in training mode, all that comes later would."""
    given = ingredients(**kwargs)
    norm = next(m for m in given.recognizer.modules() if isinstance(m, torch.nn.BatchNorm2d))

    def poison(step):
        if step == step_of_epoch:
            norm.running_var.fill_(torch.inf)

    return before_each_batch(given, poison)


@pytest.mark.parametrize(
    ("step_of_epoch", "at"),
    [(2, "step 3"), (4, "step 5")],  # found by save_every; at the end of the epoch, before the validation
)
def test_weights_that_are_not_finite_are_never_saved(tmp_path, step_of_epoch, at):
    weights = ObjectiveWeights(regression=0.0, diversion=0.0, projection=0.0)
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, ingredients(weights, measured=False), stop_at=1)
    good = (tmp_path / "last.safetensors").read_bytes()
    given = poisoned(step_of_epoch, weights=weights, measured=False)
    options = OPTIONS if step_of_epoch == 2 else replace(OPTIONS, save_every=100)
    with pytest.raises(
        TrainingDivergedError, match=rf"running_var.* became NaN or infinite at {at}\. .*last good step"
    ):
        run(tmp_path, given, options)
    assert (tmp_path / "last.safetensors").read_bytes() == good
    assert not (tmp_path / "best.safetensors").exists()


def test_a_stop_does_not_save_weights_that_are_not_finite(tmp_path):
    weights = ObjectiveWeights(regression=0.0, diversion=0.0, projection=0.0)
    with pytest.raises(TrainingDivergedError, match=r"at step 2\. nothing had been saved yet"):
        run(tmp_path, poisoned(1, weights=weights, measured=False), stop_at=2)
    assert not (tmp_path / "last.safetensors").exists()


def test_faces_that_cannot_be_measured_name_the_step(tmp_path):
    given = ingredients()

    def poison(step):
        if step == 2:
            with torch.no_grad():
                given.recognizer.backbone.linear.weight.fill_(torch.nan)

    with pytest.raises(TrainingDivergedError, match=r"faces cannot be measured .*12 of 12.* at step 2\. nothing"):
        run(tmp_path, before_each_batch(given, poison))


def test_a_validation_that_fails_names_the_step(tmp_path):
    def validate(*_):
        raise VlrfaceError("all embeddings are the same")

    with pytest.raises(TrainingDivergedError, match=r"validation failed \(all embeddings.* at step 5\. .*good step"):
        run(tmp_path, replace(ingredients(), validate=validate))
    assert Checkpoint.load(tmp_path / "last.safetensors").card["step"] == 3


def test_without_regression_the_centre_is_still_measured(tmp_path):
    weights = ObjectiveWeights(regression=0.0, diversion=0.0, projection=1.0)
    outcome = run(tmp_path, ingredients(weights, heads=False), replace(OPTIONS, epochs=1))
    best = Checkpoint.load(outcome.best)
    assert best.card["statistics"] == {"mean": 0.0, "deviation": 0.0}
    assert best.tensors["statistics.center"].norm() == pytest.approx(1.0, abs=1e-5)
    assert any("loss/projection" in line for line in read_log(tmp_path / "log.jsonl"))


def test_the_speed_is_that_of_the_steps(tmp_path, monkeypatch):
    """By a clock that says a second per batch, 50 per measuring of unrecognizable faces, 100 per validation."""
    now = [0.0]
    monkeypatch.setattr("vlrface.train.running.time", SimpleNamespace(perf_counter=lambda: now[0]))
    given = ingredients()
    validate, evaluate = given.validate, given.recognizer.eval

    def passes(seconds):
        now[0] += seconds

    monkeypatch.setattr(given.recognizer, "eval", lambda: passes(50.0) or evaluate())
    given = replace(given, validate=lambda *values: passes(100.0) or validate(*values))
    run(tmp_path, before_each_batch(given, lambda _: passes(1.0)), replace(OPTIONS, average_decay=None))
    assert now[0] > 15 + 3 * 100 + 8 * 50
    speeds = [line["images_per_second"] for line in read_log(tmp_path / "log.jsonl") if "images_per_second" in line]
    assert speeds == [8.0] * 15


def test_the_best_validation_is_kept_not_the_last(tmp_path):
    outcome = run(tmp_path, ingredients(criterion=lambda calls: -float(calls)))
    assert Checkpoint.load(outcome.best).card["step"] == 5
    assert Checkpoint.load(outcome.last).card["step"] == 15


def test_a_compiler_that_fails_falls_back_to_eager(tmp_path, monkeypatch, capsys):
    def broken(_, **__):
        def call(_):
            raise torch._dynamo.exc.TorchDynamoException("no compiler here")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    options = TrainingOptions(epochs=1, batch_size=8, compiled=True, threads=1)
    assert run(tmp_path, options=options).steps == 5
    assert "no compiler here" in capsys.readouterr().out
