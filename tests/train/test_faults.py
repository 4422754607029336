"""Full disks, dead workers, broken files: each ends in a clear message, and the run goes on from what is saved."""

import errno
import multiprocessing
import os
import resource
import signal
from dataclasses import replace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import OPTIONS, assert_same_run, before_each_batch, ingredients, log_without_speed, run

import vlrface.train.diary as diary
from vlrface.checkpoint import Checkpoint
from vlrface.locks import locked
from vlrface.run_folder import DIARY_NAME, Sitting, state_of
from vlrface.train import TrainingDivergedError, TrainingInterruptedError
from vlrface.train.journal import Journal
from vlrface.types import VlrfaceError


def state(folder):
    sitting = Sitting.read(folder)
    assert sitting is not None
    return sitting.state


def test_a_disk_that_is_full_when_a_checkpoint_is_written(undisturbed, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fills(step):
        if step == 4:  # of the first epoch: after the saving of step 3
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))

    try:
        with pytest.raises(OSError, match=r"cannot write .*(best|last)\.safetensors: .*Free space"):
            run(tmp_path, before_each_batch(ingredients(), fills))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert state(tmp_path) == "failed"
    assert "cannot write" in (tmp_path / "log.txt").read_text().splitlines()[-1]
    assert Checkpoint.load(tmp_path / "last.safetensors").card["step"] == 3
    assert not list(tmp_path.glob(".*"))  # no half file
    run(tmp_path)
    assert_same_run(tmp_path, undisturbed[0])
    assert state(tmp_path) == "finished"


class FillsUp:
    """A file on a disk with room for some bytes."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def write(self, data):
        taken = self._file.write(data[: self._room])
        self._room -= taken
        if taken == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return taken

    def close(self):
        self._file.close()


def test_a_disk_that_is_full_when_the_log_is_written(undisturbed, tmp_path, monkeypatch):
    begin = Journal.__enter__

    def on_a_small_disk(journal):
        journal._file = FillsUp(journal._file, 3000)
        return begin(journal)

    monkeypatch.setattr(Journal, "__enter__", on_a_small_disk)
    with pytest.raises(OSError, match=r"cannot write .*log.jsonl: No space left on device. Free space"):
        run(tmp_path)
    monkeypatch.undo()
    assert len((tmp_path / "log.jsonl").read_bytes()) == 3000
    assert not (tmp_path / "log.jsonl").read_text().endswith("\n")  # a line was cut
    run(tmp_path)
    assert_same_run(tmp_path, undisturbed[0])


def test_log_txt_on_a_full_disk_ends_nothing(tmp_path, capsys):
    (tmp_path / DIARY_NAME).mkdir()
    told = diary.Diary(tmp_path)
    told.write("one")
    told.write("two")
    assert capsys.readouterr().err.count("warning: cannot write") == 1


def test_tensorboard_that_cannot_write_ends_nothing(tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("torch.utils.tensorboard.writer.SummaryWriter.add_scalar", full)
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=3)
    assert capsys.readouterr().out.count("TensorBoard's events cannot be written") == 1
    assert [line["step"] for line in log_without_speed(tmp_path)] == [1, 2, 3]


def test_lines_that_a_kill_cut_are_repaired_and_each_step_stands_once(undisturbed, tmp_path):
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=7)
    log = tmp_path / "log.jsonl"
    whole = log.read_bytes()
    # A later line cut short, one of zeros as a power cut leaves it, and the beginning of another.
    log.write_bytes(whole + b'{"step": 8, "loss/recogni\n' + bytes(40) + b"\n" + b'{"step": 9')
    with (tmp_path / "log.txt").open("a") as told:
        told.write("2026-01-01 a line without an e")
    run(tmp_path)
    assert_same_run(tmp_path, undisturbed[0])
    assert "without an e\n" in (tmp_path / "log.txt").read_text()


def test_tensorboard_shows_each_step_once_after_a_kill(tmp_path):
    """Events beyond the last checkpoint were written by the run that died: they are made again."""
    options = replace(OPTIONS, epochs=1, save_every=2)

    class DiedError(BaseException):
        pass

    def dies(step):
        if step == 4:
            raise DiedError

    with pytest.raises(DiedError):
        run(tmp_path, before_each_batch(ingredients(), dies), replace(options, save_every=3))
    events = next((tmp_path / "tensorboard").iterdir())
    events.write_bytes(events.read_bytes()[:-7])  # and its last record is cut
    run(tmp_path, options=replace(options, save_every=3))
    shown = EventAccumulator(str(tmp_path / "tensorboard"), purge_orphaned_data=True)
    shown.Reload()
    assert [event.step for event in shown.Scalars("loss/recognition")] == [1, 2, 3, 4, 5]


def test_a_killed_worker_loses_no_step(tmp_path):
    def kill(step):
        if step == 0:
            for each in multiprocessing.active_children():
                os.kill(each.pid, signal.SIGKILL)

    given = before_each_batch(ingredients(workers=1), kill)
    options = replace(OPTIONS, save_every=100)
    with pytest.raises(VlrfaceError, match="a worker process died"):
        run(tmp_path, given, options)
    reached = Checkpoint.load(tmp_path / "last.safetensors").card["step"]
    assert reached >= 1
    assert f"step {reached} is saved" in (tmp_path / "log.txt").read_text()


def test_a_folder_is_trained_into_by_one_process(tmp_path, monkeypatch):
    monkeypatch.setattr(diary, "LOCK_SECONDS", 0.0)
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=1)
    with locked(tmp_path / DIARY_NAME, 0.0):
        assert state_of(tmp_path, done=False)[0] == "running"
        with pytest.raises(VlrfaceError, match=r"process \d+ on .* trains there.*another --out"):
            run(tmp_path)
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "1")  # the first rank holds it for all
        with diary.alone(tmp_path):
            pass
    assert state_of(tmp_path, done=False)[0] == "stopped"


def test_how_a_run_ended_stands_in_its_folder(tmp_path):
    given = ingredients()
    given.teachers[0][:] = float("nan")
    with pytest.raises(TrainingDivergedError):
        run(tmp_path, given)
    assert state(tmp_path) == "diverged"
    assert "diverged at step 0 of 15: loss part 'distillation'" in (tmp_path / "log.txt").read_text()
