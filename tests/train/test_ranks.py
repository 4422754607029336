"""Several processes learn what one learns, save what one saves, and end when one of them is killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from ranks_run import OPTIONS_OF, STOPPED_AT, stopped
from small_run import STEPS, run

from vlrface.checkpoint import Checkpoint
from vlrface.train.journal import read_log
from vlrface.types import Share, VlrfaceError

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not torch.distributed.is_gloo_available(), reason="needs gloo and SIGKILL"
)

SCRIPT = Path(__file__).with_name("ranks_run.py")


def start(folder, *what, size=2):
    """Processes as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), *what],
            env={**os.environ, **where, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def ended(processes, seconds):
    try:
        return [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The runs of one process: whole, and stopped for two to go on with."""
    folder = tmp_path_factory.mktemp("alone")
    for name in ("ddp", "kept", "sampled"):
        run(folder / name, options=OPTIONS_OF[name])
    for name in ("ddp", "sampled"):
        stopped(folder / f"resumed-{name}", name)
    return folder


@pytest.fixture(scope="module")
def together(alone, tmp_path_factory):
    """The same runs by two processes, and those that go on from one process, in one start of both."""
    folder = tmp_path_factory.mktemp("together")
    for name in ("resumed-ddp", "resumed-sampled"):
        shutil.copytree(alone / name, folder / name)
    runs = ["ddp", "kept", "sampled", "fsdp", "local", "stopped-ddp", "stopped-sampled", "stopped-fsdp"]
    processes = start(folder, "gathering", "layers", "heads", *runs, "resumed-ddp", "resumed-sampled")
    found = ended(processes, 240)
    for process, (_, errors) in zip(processes, found, strict=True):
        assert process.returncode == 0, errors[-2000:]
    assert "epoch 2" in found[0][0] + found[0][1]
    assert found[1][0] == ""  # the second says nothing
    return folder


def assert_nearly_same(ours, theirs):
    """Log and checkpoint, up to float32 rounding over the steps."""
    for one, other in zip(read_log(ours / "log.jsonl"), read_log(theirs / "log.jsonl"), strict=True):
        for measured in ("images_per_second", "waiting"):
            one.pop(measured, None)
            other.pop(measured, None)
        assert one == pytest.approx(other, rel=1e-5, abs=1e-7)
    for name in ("last.safetensors", "best.safetensors"):
        first, second = Checkpoint.load(ours / name), Checkpoint.load(theirs / name)
        assert first.tensors.keys() == second.tensors.keys()
        assert first.card["step"] == second.card["step"]
        for tensor, value in first.tensors.items():
            torch.testing.assert_close(
                value, second.tensors[tensor], rtol=1e-3, atol=1e-5, msg=lambda text, at=tensor: f"{at}: {text}"
            )


@pytest.mark.parametrize(("name", "like"), [("ddp", "ddp"), ("kept", "kept"), ("sampled", "sampled"), ("fsdp", "kept")])
def test_two_processes_learn_what_one_learns(alone, together, name, like):
    assert_nearly_same(together / name, alone / like)


def test_the_compared_runs_differ_from_one_another(alone):
    losses = [read_log(alone / name / "log.jsonl")[5]["loss/recognition"] for name in ("ddp", "sampled")]
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_norms_of_own_rows_are_another_training(alone, together):
    ours, theirs = (read_log(folder / name / "log.jsonl") for folder, name in ((together, "local"), (alone, "ddp")))
    differences = [
        abs(a["loss/recognition"] / b["loss/recognition"] - 1) for a, b in zip(ours[:6], theirs[:6], strict=True)
    ]
    assert min(differences) > 1e-4
    assert max(differences) < 0.5


@pytest.mark.parametrize("name", ["ddp", "sampled"])
def test_two_processes_go_on_with_the_run_of_one(alone, together, name):
    assert_nearly_same(together / f"resumed-{name}", alone / name)


@pytest.mark.parametrize(("name", "like"), [("ddp", "ddp"), ("sampled", "sampled"), ("fsdp", "kept")])
def test_one_process_goes_on_with_the_run_of_two(alone, together, tmp_path, name, like):
    shutil.copytree(together / f"stopped-{name}", tmp_path / name)
    assert Checkpoint.load(tmp_path / name / "last.safetensors").card["step"] == STOPPED_AT
    run(tmp_path / name, options=OPTIONS_OF[name])
    assert_nearly_same(tmp_path / name, alone / like)


def test_a_killed_process_ends_the_run_and_another_number_goes_on(alone, tmp_path):
    processes = start(tmp_path, "killed")
    processes[1].wait(120)
    died = time.monotonic()
    (_, errors), _ = ended(processes, 120)
    waited = time.monotonic() - died
    assert [process.returncode for process in processes] == [1, -signal.SIGKILL]
    assert "process 0 of 2 lost another process of this run" in errors
    assert "last.safetensors is the last checkpoint" in errors
    assert "Traceback" not in errors
    print(f"the other one ended {waited:.1f} s later")
    assert waited < 30
    # It died before step 8; every third step is saved, and the end of the first epoch, step 6.
    assert Checkpoint.load(tmp_path / "killed" / "last.safetensors").card["step"] == 6
    assert run(tmp_path / "killed").steps == STEPS
    assert_nearly_same(tmp_path / "killed", alone / "ddp")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_are_all_and_nearly_equal(size):
    for count in (7, 8, 100):
        bounds = [Share(rank, size).bounds(count) for rank in range(size)]
        assert [at for first, last in bounds for at in range(first, last)] == list(range(count))
        assert max(last - first for first, last in bounds) - min(last - first for first, last in bounds) <= 1
        assert bounds[-1] == Share(0, size).bounds(count, size - 1)


@pytest.mark.parametrize(("rank", "size"), [(2, 2), (-1, 3), (0, 0)])
def test_a_share_that_is_none_is_refused(rank, size):
    with pytest.raises(VlrfaceError, match=f"share {rank} of {size}"):
        Share(rank, size)
