import json
import os

import pytest

from vlrface.run_folder import BOARD_NAME
from vlrface.train.journal import LOG_NAME, Journal, read_log, training_curves


def test_a_resumed_journal_drops_what_came_after_its_step(tmp_path):
    with Journal(tmp_path, start_step=0, steps=10, batch_size=2, progress=False) as journal:
        for step in (2, 4, 6):
            journal.write(step, {"loss/recognition": float(step)})
    with Journal(tmp_path, start_step=4, steps=10, batch_size=2, progress=False) as journal:
        journal.write(6, {"loss/recognition": 60.0})
    assert [(line["step"], line["loss/recognition"]) for line in read_log(tmp_path / LOG_NAME)] == [
        (2, 2.0),
        (4, 4.0),
        (6, 60.0),
    ]


@pytest.mark.parametrize(("validated", "kept"), [(True, [2, 4, 4]), (False, [2, 4])])
def test_a_validation_that_will_be_made_again_is_dropped(tmp_path, validated, kept):
    with Journal(tmp_path, start_step=0, steps=10, batch_size=2, progress=False) as journal:
        journal.write(2, {"validation/rank1": 0.1})
        journal.write(4, {"loss/recognition": 1.0})
        journal.write(4, {"validation/rank1": 0.2})
    with Journal(tmp_path, start_step=4, steps=10, batch_size=2, progress=False, validated=validated):
        pass
    lines = read_log(tmp_path / LOG_NAME)
    assert [line["step"] for line in lines] == kept
    assert "loss/recognition" in lines[1]


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path):
    path = tmp_path / LOG_NAME
    path.write_text(json.dumps({"step": 1, "a": 1.0}) + '\n{"step": 2, "a"')
    assert [line["step"] for line in read_log(path)] == [1]
    curves = training_curves(tmp_path)
    assert curves["a"].x.tolist() == [1.0]
    assert curves["a"].y.tolist() == [1.0]


def test_a_run_goes_on_without_tensorboard(tmp_path):
    (tmp_path / BOARD_NAME).write_text("in its place")
    with Journal(tmp_path, start_step=0, steps=2, batch_size=2, progress=False) as journal:
        journal.write(1, {"norm": 1.0})
    assert "TensorBoard's events cannot be written" in (tmp_path / "log.txt").read_text()
    assert [line["step"] for line in read_log(tmp_path / LOG_NAME)] == [1]


def test_a_path_that_is_no_text_does_not_end_a_run(tmp_path):
    with Journal(tmp_path, start_step=0, steps=2, batch_size=2, progress=False) as journal:
        journal.say(f"cannot read {os.fsdecode(bytes([255]))}.png")
    assert "cannot read \\udcff.png" in (tmp_path / "log.txt").read_text()


def test_values_that_are_not_finite_leave_a_gap(tmp_path):
    with Journal(tmp_path, start_step=0, steps=2, batch_size=2, progress=False) as journal:
        journal.write(1, {"norm": float("inf")})
        journal.write(2, {"norm": 3.0})
    assert training_curves(tmp_path)["norm"].x.tolist() == [2.0]
