"""A run that is stopped in any way goes on as if nothing had been."""

import os
import signal
from dataclasses import replace

import pytest
import torch
from tiny_run import (
    CONFIG,
    OPTIONS,
    Killed,
    assert_same_run,
    before_each_batch,
    ingredients,
    run,
)

from vlrface.checkpoint import Checkpoint, fingerprint
from vlrface.train import (
    TrainingInterruptedError,
    train,
)
from vlrface.train.journal import read_log
from vlrface.train.state import RunState
from vlrface.types import VlrfaceError


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


@pytest.mark.own_process
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
    # The step, or the validation, that was running is finished.
    assert Checkpoint.load(tmp_path / "last.safetensors").card["step"] == {"batch": 3, "validation": 5}[where]
    run(tmp_path)
    assert_same_run(tmp_path, undisturbed[0])


def test_a_finished_run_has_nothing_left_to_do(undisturbed):
    folder, outcome = undisturbed
    before = outcome.last.read_bytes()
    again = run(folder)
    assert again.steps == outcome.steps
    assert again.figures == outcome.figures
    assert again.last.read_bytes() == before


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


def test_another_configuration_is_refused(tmp_path):
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=2)
    with pytest.raises(VlrfaceError, match="name: was 'tiny', is 'other'"):
        train(ingredients(), OPTIONS, tmp_path, config={**CONFIG, "name": "other"}, seed=7, progress=False)
