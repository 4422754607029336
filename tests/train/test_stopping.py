"""A signal is heard in time, whatever the run is doing."""

import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from tiny_run import OPTIONS, SIDE, assert_same_run, before_each_batch, ingredients, run

import vlrface.data.workers as workers_module
import vlrface.train.stopping as stopping
from vlrface.checkpoint import Checkpoint
from vlrface.data.batches import Batches, Part
from vlrface.data.cache import crops_in_memory
from vlrface.run_folder import Sitting
from vlrface.train import TrainingInterruptedError
from vlrface.train.stopping import StopRequest, TerminatedError, terminable

pytestmark = pytest.mark.own_process


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(stopping, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(stopping, "LIMIT_SECONDS", 0.6)
    # Tests that run in the background of a script are born with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number):
    os.kill(os.getpid(), number)


def hangs(*_):
    """As a file system that does not answer: ended by an exception only."""
    send(signal.SIGTERM)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        time.sleep(0.01)
    raise AssertionError("nobody broke it off")


@pytest.mark.parametrize("where", ["batch", "validation", "measuring"])
def test_what_may_be_broken_off_is_and_the_run_saved(undisturbed, tmp_path, monkeypatch, where):
    given = ingredients()
    if where == "batch":
        before_each_batch(given, lambda step: hangs() if step == 2 else None)
    elif where == "validation":
        given = replace(given, validate=hangs)
    else:
        measure = given.recognizer.eval
        calls = []
        monkeypatch.setattr(given.recognizer, "eval", lambda: hangs() if len(calls) == 1 else calls.append(measure()))
    with pytest.raises(TrainingInterruptedError, match="Run the same command again") as stop:
        run(tmp_path, given, replace(OPTIONS, save_every=100))
    assert stop.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    card = Checkpoint.load(tmp_path / "last.safetensors").card
    assert (card["step"], card["epochs_done"]) == ({"batch": 2, "validation": 5, "measuring": 2}[where], 0)
    sitting = Sitting.read(tmp_path)
    assert sitting is not None
    assert sitting.state == "stopped"
    if where == "validation":  # the one that has most to undo
        run(tmp_path, options=replace(OPTIONS, save_every=100))
        assert [line for line in (tmp_path / "log.txt").read_text().splitlines() if "goes on from step 5" in line]
        ours, theirs = (Checkpoint.load(f / "best.safetensors") for f in (tmp_path, undisturbed[0]))
        assert ours.card["fingerprint"] == theirs.card["fingerprint"]


def test_a_step_that_takes_too_long_is_left_and_the_last_checkpoint_stands(undisturbed, tmp_path):
    given = ingredients()
    forward = given.objective.forward
    calls = []

    def slow(*values, **named):
        if len(calls) == 4:
            hangs()
        calls.append(1)
        return forward(*values, **named)

    given.objective.forward = slow
    with pytest.raises(
        TrainingInterruptedError, match=r"in the middle of step 5 of 15.*last.safetensors stands"
    ) as stop:
        run(tmp_path, given)
    assert stop.value.exit_code == 143
    assert Checkpoint.load(tmp_path / "last.safetensors").card["step"] == 3
    run(tmp_path)
    assert_same_run(tmp_path, undisturbed[0])


def test_saving_is_not_broken_off(tmp_path, monkeypatch):
    from vlrface.train.state import RunState

    save, calls = RunState.save_last, []

    def slowly(state, path):
        calls.append(state.step)
        if calls == [3]:
            send(signal.SIGINT)
            time.sleep(1.0)  # beyond both limits
        save(state, path)

    monkeypatch.setattr(RunState, "save_last", slowly)
    with pytest.raises(TrainingInterruptedError, match="stopped at step 3") as stop:
        run(tmp_path)
    assert calls == [3, 3]
    assert stop.value.exit_code == 130


def test_a_second_signal_acts_at_once():
    with StopRequest() as stop:
        send(signal.SIGINT)
        assert stop.requested
        assert stop.exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    with terminable(), StopRequest() as stop:
        send(signal.SIGINT)
        with pytest.raises(TerminatedError):  # another one, too
            send(signal.SIGTERM)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_in_another_thread_signals_are_left_to_the_caller():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with terminable(), StopRequest() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


class HangsAfterAWhile:
    """A transform that no longer answers from the ninth sample of a process on."""

    def __init__(self):
        self.calls = 0

    def __call__(self, image, rng):
        del image, rng
        self.calls += 1
        if self.calls > 8:
            time.sleep(600)
        return np.zeros((SIDE, SIDE, 3), np.uint8)


def test_a_worker_that_hangs_does_not_keep_its_trainer(monkeypatch):
    monkeypatch.setattr(workers_module, "_PATIENCE_SECONDS", 0.3)
    part = Part(crops_in_memory([np.zeros((4, 4, 3), np.uint8)] * 40), np.zeros(40, np.int64), HangsAfterAWhile())
    epoch = Batches([part], 8, SIDE, SIDE, seed=0, workers=1).epoch(0)
    assert len(next(epoch).rows) == 8
    began = time.monotonic()
    epoch.close()
    assert time.monotonic() - began < 20
