"""The loop on a few small noise pictures: what it guarantees, not how well it learns."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vlrface.checkpoint import Checkpoint, fingerprint
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
from vlrface.train.state import RunState
from vlrface.types import VlrfaceError

SIDE = 32
LINEAR = "averaged.module.backbone.linear.weight"
CONFIG = {"kind": "Experiment", "name": "tiny"}
OPTIONS = TrainingOptions(
    epochs=3, batch_size=8, compiled=False, average_decay=0.8, refresh_every=2, log_every=1, save_every=3, threads=1
)  # fmt: skip


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def ingredients(weights=None, *, criterion=None, heads=True, measured=True, workers=0, classes=5):
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (40, 20, 16, 3), np.uint8))
    part = Part(crops_in_memory(pictures), np.arange(40) % classes, RandomFraming(Framing(1.2, 0.45), SIDE, SIDE))
    backbone = MobileFaceNet(mobilefacenet_input(SIDE, SIDE))
    recognizer = Recognizer(
        backbone,
        PerceptibilityRegression(backbone.feature_shape, dropout=0.2) if heads else None,
        PerceptibilityAttention(backbone.feature_shape[0]),
    )
    head = ArcFace(backbone.embedding_dim, classes, 32.0, 0.3)
    teacher = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(40, 128))).float())
    calls = []

    def validate(network, statistics):
        calls.append(statistics)
        assert not any(p.isnan().any() for p in network.parameters())
        # A value of the weights alone, as a real validation gives, unless a test asks for an order.
        value = float(network.backbone.linear.weight.detach().abs().sum())
        return Validation(
            {"rank1": 0.5}, value if criterion is None else criterion(len(calls)), {"calibration": {"slope": value}}
        )

    return Ingredients(
        recognizer=recognizer,
        objective=MethodObjective(head, weights or ObjectiveWeights(distillation=1.0)),
        batches=Batches([part], 8, SIDE, SIDE, seed=1, workers=workers),
        teachers=(teacher,),
        unrecognizable=torch.from_numpy(rng.integers(0, 40, (12, SIDE, SIDE, 3), np.uint8)) if measured else None,
        validate=validate,
    )


def run(folder, given=None, options=OPTIONS, **kwargs):
    return train(given or ingredients(), options, folder, config=CONFIG, seed=7, progress=False, **kwargs)


def before_each_batch(given, act):
    """Let `act(step of the epoch)` happen before the training step of each batch."""
    epoch = given.batches.epoch

    def acting(number, start=0):
        for step, batch in enumerate(epoch(number, start), start):
            act(step)
            yield batch

    given.batches.epoch = acting
    return given


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Undisturbed runs by their options, each made once."""
    done = {}

    def undisturbed(options):
        if options not in done:
            folder = tmp_path_factory.mktemp("undisturbed")
            done[options] = folder, run(folder, options=options)
        return done[options]

    return undisturbed


@pytest.fixture(scope="module")
def undisturbed(runs):
    return runs(OPTIONS)


def tensors(path):
    return dict(Checkpoint.load(path).tensors)


def assert_equal_tensors(ours, theirs):
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different


def assert_same_run(ours, theirs):
    """Weights, what the card says of them, and the log; only times may differ."""
    for name in ("last.safetensors", "best.safetensors"):
        one, other = Checkpoint.load(ours / name), Checkpoint.load(theirs / name)
        assert_equal_tensors(dict(one.tensors), dict(other.tensors))
        assert {**one.card, "seconds": 0} == {**other.card, "seconds": 0}
    assert log_without_speed(ours) == log_without_speed(theirs)


def log_without_speed(folder):
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in read_log(folder / "log.jsonl")]


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


@pytest.mark.parametrize(
    ("stop_at", "optimizer", "average_decay", "workers"),
    [
        (1, "sgd", 0.8, 0),
        (5, "sgd", 0.8, 0),  # after an epoch's last step, before its validation
        (14, "sgd", 0.8, 1),
        (8, "sgd", None, 0),
        (8, "adamw", None, 1),
        (5, "adamw", 0.8, 0),
    ],
)
def test_a_stopped_and_resumed_run_ends_the_same(runs, tmp_path, stop_at, optimizer, average_decay, workers):
    options = replace(OPTIONS, optimizer=optimizer, average_decay=average_decay)
    with pytest.raises(TrainingInterruptedError, match=f"step {stop_at} of 15"):
        run(tmp_path, ingredients(workers=workers), options, stop_at=stop_at)
    outcome = run(tmp_path, ingredients(workers=workers), options)
    assert outcome.steps == 15
    assert_same_run(tmp_path, runs(options)[0])


def test_the_options_of_the_resume_test_matter(runs):
    weights = [
        fingerprint(Checkpoint.load(runs(replace(OPTIONS, optimizer=o, average_decay=a))[1].last).group("recognizer"))
        for o, a in (("sgd", 0.8), ("adamw", 0.8))
    ]
    assert len(set(weights)) == 2


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_loop import run
run(Path(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_run_killed_at_any_moment_ends_the_same(undisturbed, tmp_path):
    """A process of its own, killed without warning wherever it happens to be."""
    rng = np.random.default_rng(20)
    step, delay = int(rng.integers(4, 11)), float(rng.uniform(0.0, 0.1))
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(Path(__file__).parent), str(folder)]) as process:
        # The line of step 4 comes after the saving of step 3.
        while max((line["step"] for line in read_log(folder / "log.jsonl")), default=0) < step:
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    saved = Checkpoint.load(folder / "last.safetensors").card["step"]
    print(f"killed {1000 * delay:.0f} ms after step {step}; going on from step {saved}")
    assert 3 <= saved < 15
    assert run(folder).steps == 15
    assert_same_run(folder, undisturbed[0])


def test_a_run_killed_between_savings_goes_on_from_the_last_one(undisturbed, tmp_path):
    reached = []

    def dies(_):
        if len(reached) == 8:  # the last saving was at step 6
            raise Killed
        reached.append(1)

    with pytest.raises(Killed):
        run(tmp_path, before_each_batch(ingredients(), dies))
    assert Checkpoint.load(tmp_path / "last.safetensors").card["step"] == 6
    run(tmp_path)
    assert_same_run(tmp_path, undisturbed[0])


def test_a_run_killed_between_validation_and_saving_logs_it_once(runs, tmp_path, monkeypatch):
    options = replace(OPTIONS, save_every=5)
    save = RunState.save_last

    def dies(state, path):
        if state.epochs_done == 2:
            raise Killed
        save(state, path)

    monkeypatch.setattr(RunState, "save_last", dies)
    with pytest.raises(Killed):
        run(tmp_path, options=options)
    assert "validation/rank1" in read_log(tmp_path / "log.jsonl")[-1]
    monkeypatch.undo()
    run(tmp_path, options=options)
    assert_same_run(tmp_path, runs(options)[0])


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


@pytest.mark.parametrize("where", ["batch", "validation"])
def test_ctrl_c_saves_and_says_how_to_go_on(undisturbed, tmp_path, where):
    def press(step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    given = ingredients()
    if where == "batch":
        before_each_batch(given, press)
    else:
        validate = given.validate
        given = replace(given, validate=lambda *values: press(2) or validate(*values))
    with pytest.raises(TrainingInterruptedError, match="Run the same command again"):
        run(tmp_path, given)
    # The step that was running is finished; after a validation, the next one.
    assert Checkpoint.load(tmp_path / "last.safetensors").card["step"] == {"batch": 3, "validation": 6}[where]
    run(tmp_path)
    assert_same_run(tmp_path, undisturbed[0])


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


def test_other_data_is_refused(tmp_path):
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=2, data_fingerprint="abc")
    assert Checkpoint.load(tmp_path / "last.safetensors").card["data_fingerprint"] == "abc"
    with pytest.raises(VlrfaceError, match=r"on other data: .*added, removed.*another --out"):
        run(tmp_path, data_fingerprint="abd")
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=3, data_fingerprint="abc")


def test_tensors_that_do_not_fit_are_explained(tmp_path):
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=2)
    with pytest.raises(VlrfaceError, match=r"does not fit what is trained now \(.*size mismatch.*number of classes"):
        run(tmp_path, ingredients(classes=4))


def test_threads_are_given_back_and_another_number_is_announced(tmp_path, capsys):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for threads, stop_at in ((1, 2), (1, 3)):
            with pytest.raises(TrainingInterruptedError):
                run(tmp_path, options=replace(OPTIONS, threads=threads), stop_at=stop_at)
            assert torch.get_num_threads() == 2
            assert Checkpoint.load(tmp_path / "last.safetensors").card["threads"] == 1
        assert "torch threads" not in capsys.readouterr().out
        with pytest.raises(TrainingInterruptedError):
            run(tmp_path, options=replace(OPTIONS, threads=None), stop_at=4)
        assert "warning: this run used 1 torch threads before and 2 now" in capsys.readouterr().out
        assert Checkpoint.load(tmp_path / "last.safetensors").card["threads"] == 2
    finally:
        torch.set_num_threads(before)


def test_the_speed_is_that_of_the_steps(tmp_path, monkeypatch):
    """By a clock that says a second per batch, 50 per measuring of unrecognizable faces, 100 per validation."""
    now = [0.0]
    monkeypatch.setattr("vlrface.train.loop.time", SimpleNamespace(perf_counter=lambda: now[0]))
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
