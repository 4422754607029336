"""What a run's folder says of it, without its weights."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from vlrface.checkpoint import Checkpoint
from vlrface.locks import InUseError, is_locked, locked
from vlrface.run_folder import (
    DIARY_NAME,
    STATE_NAME,
    Sitting,
    begin_sitting,
    numbered,
    numbered_name,
    read_header,
    state_of,
)


def test_numbered_checkpoints_newest_first(tmp_path):
    for name in ("step-000200", "step-1000000", "step-000090", "step-12", "step-x"):
        (tmp_path / f"{name}.safetensors").touch()
    assert [step for step, _ in numbered(tmp_path)] == [1000000, 200, 90]
    assert numbered_name(200) == "step-000200.safetensors"


def test_a_sitting_is_written_and_read(tmp_path):
    first = begin_sitting(tmp_path, step=0, steps=9)
    assert Sitting.read(tmp_path) == first
    second = begin_sitting(tmp_path, step=4, steps=9)
    assert (second.run, second.began, second.sittings, second.step) == (first.run, first.began, 2, 4)
    for damage in ("{", "[]", '{"run": 1}', json.dumps("x")):
        (tmp_path / STATE_NAME).write_text(damage)
        assert Sitting.read(tmp_path) is None


HOLDS = """
import sys, time
from pathlib import Path
from vlrface.locks import locked
with locked(Path(sys.argv[1]), 0.0):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_a_lock_goes_with_a_process_however_it_ends(tmp_path):
    path = tmp_path / DIARY_NAME
    begin_sitting(tmp_path, step=0, steps=9)
    assert is_locked(path) is None  # there is no such file
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert is_locked(path)
        assert state_of(tmp_path, done=False)[0] == "running"
        with pytest.raises(InUseError), locked(path, 0.15):
            pass
        process.kill()
    assert is_locked(path) is False
    assert state_of(tmp_path, done=False) == ("killed", f"process {os.getpid()} ended without a word")
    with locked(path, 0.0):
        pass


def test_how_a_run_stands(tmp_path):
    assert state_of(tmp_path, done=False) == ("stopped", "")  # of an earlier version: it left no word
    assert state_of(tmp_path, done=True) == ("finished", "")
    (tmp_path / DIARY_NAME).touch()
    sitting = begin_sitting(tmp_path, step=0, steps=9)
    replace(sitting, state="diverged", message="loss is NaN").write(tmp_path)
    assert state_of(tmp_path, done=False) == ("diverged", "loss is NaN")
    # Whether a process lives on another machine cannot be told from here.
    replace(sitting, host=f"not {socket.gethostname()}").write(tmp_path)
    past = time.time() - 7200
    for name in (DIARY_NAME, STATE_NAME):
        os.utime(tmp_path / name, (past, past))
    state, remark = state_of(tmp_path, done=False)
    assert state == "unknown"
    assert remark.endswith("last sign of life 2 hours ago")
    assert state_of(tmp_path, done=True)[0] == "finished"


def test_a_header_is_read_without_torch_and_a_cut_file_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    Checkpoint({"weight": torch.ones(3, 2)}, {"step": 7, "config": {"name": "x"}}).save(path)
    assert read_header(path) == {"step": 7, "config": {"name": "x"}}
    whole = path.read_bytes()
    for held in (whole[:-1], whole + b"\0", whole[:40], b"", b"\xff" * 16):
        path.write_bytes(held)
        with pytest.raises(ValueError, match=r"truncated|delimiter|Expecting"):
            read_header(path)
    code = "import sys, vlrface.run_folder, vlrface.experiment.runs\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
