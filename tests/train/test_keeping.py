"""Which checkpoints stay, and what a run makes of damaged ones."""

from dataclasses import replace

import pytest
import torch
from tiny_run import OPTIONS, assert_same_run, run

from vlrface.checkpoint import Checkpoint
from vlrface.run_folder import numbered
from vlrface.train import TrainingInterruptedError
from vlrface.train.keeping import keep_numbered, newest_readable
from vlrface.types import VlrfaceError


def stopped(folder, at, **changes):
    with pytest.raises(TrainingInterruptedError):
        run(folder, options=replace(OPTIONS, **changes), stop_at=at)


def steps(folder):
    return [step for step, _ in numbered(folder)]


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path):
    """One bit, as a disk that rots: the length says nothing."""
    held = bytearray(path.read_bytes())
    held[-1000] ^= 1
    path.unlink()  # the numbered file is the same one
    path.write_bytes(held)


def test_the_newest_stay_under_their_numbers(undisturbed):
    folder = undisturbed[0]
    assert steps(folder) == [15, 12]
    assert (folder / "step-000015.safetensors").samefile(folder / "last.safetensors")
    assert Checkpoint.load(folder / "step-000012.safetensors").card["step"] == 12


def test_where_a_file_has_one_name_only_it_is_copied(tmp_path, monkeypatch):
    def refuses(*_):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuses)
    (tmp_path / "last.safetensors").write_bytes(b"weights")
    keep_numbered(tmp_path, 7, 1)
    assert (tmp_path / "step-000007.safetensors").read_bytes() == b"weights"
    keep_numbered(tmp_path, 9, 1)
    assert steps(tmp_path) == [9]
    keep_numbered(tmp_path, 9, 0)
    assert steps(tmp_path) == []


def test_a_damaged_last_falls_back_to_a_numbered_one(undisturbed, tmp_path, capsys):
    stopped(tmp_path, 8)
    assert steps(tmp_path) == [8, 6]
    cut(tmp_path / "last.safetensors")  # and the numbered one that is the same file
    assert run(tmp_path).steps == 15
    said = capsys.readouterr().out
    assert "last.safetensors: damaged" in said
    assert "step-000006.safetensors instead" in said
    assert "step-000006.safetensors instead" in (tmp_path / "log.txt").read_text()
    assert_same_run(tmp_path, undisturbed[0])
    assert steps(tmp_path) == [15, 12]


@pytest.mark.parametrize(
    ("damage", "taken"),
    [
        (flip, 8),  # it made a file of its own of it
        (lambda path: path.write_bytes(b""), 6),
        (lambda path: path.unlink(), 8),
    ],
)
def test_whatever_the_damage_the_newest_readable_one_is_taken(tmp_path, damage, taken):
    for step in (6, 8):
        Checkpoint({"weight": torch.full((4000,), float(step))}, {"step": step}).save(tmp_path / "last.safetensors")
        keep_numbered(tmp_path, step, 2)
    said = []
    path, checkpoint = newest_readable(tmp_path, said.append)
    assert (path.name, checkpoint.card["step"], said) == ("last.safetensors", 8, [])
    damage(tmp_path / "last.safetensors")
    path, checkpoint = newest_readable(tmp_path, said.append)
    assert path.name == f"step-{checkpoint.card['step']:06}.safetensors"
    assert checkpoint.card["step"] == taken
    assert said[0].startswith("warning: ")
    assert "Going on from" in said[0]


def test_a_future_that_a_damaged_file_took_away_goes(tmp_path):
    stopped(tmp_path, 8)
    cut(tmp_path / "last.safetensors")
    stopped(tmp_path, 7)
    assert steps(tmp_path) == [7, 6]


def test_nothing_readable_is_an_error_not_a_new_beginning(tmp_path):
    stopped(tmp_path, 4)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"nonsense")
    with pytest.raises(VlrfaceError, match=r"last.safetensors: damaged.*No checkpoint of this run can be read"):
        run(tmp_path)
    assert (tmp_path / "last.safetensors").read_bytes() == b"nonsense"


def test_how_a_run_is_kept_may_change_what_it_trains_may_not(tmp_path, capsys):
    from tiny_run import ingredients

    from vlrface.train import train

    def go(stop_at, **training):
        with pytest.raises(TrainingInterruptedError):
            train(
                ingredients(), OPTIONS, tmp_path, config={"training": training}, seed=7, progress=False, stop_at=stop_at
            )

    go(1, keep=2, workers=0, epochs=3)
    go(2, keep=5, workers=1, epochs=3)
    assert "a setting is another from now on: training.keep: was 2, is 5" in capsys.readouterr().out
    assert "training.workers: was 0, is 1" in (tmp_path / "log.txt").read_text()
    with pytest.raises(VlrfaceError, match=r"training\.epochs: was 3, is 4"):
        go(3, keep=5, workers=1, epochs=4)
