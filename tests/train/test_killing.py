"""Kill -9 at three moments of a run; `benchmarks/kill.py` does it at 20, with more in each."""

import multiprocessing
import sys
import time

import pytest
from tiny_run import assert_same_run, run

from vlrface.checkpoint import Checkpoint
from vlrface.train.journal import read_log


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_run_killed_at_any_moment_ends_the_same(undisturbed, tmp_path):
    """A process of its own each time, killed without warning wherever it happens to be, and at last left alone."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch.utils.tensorboard", "vlrface.train"])
    folder = tmp_path / "run"
    went_on: list[int] = []
    # (line of the log that is waited for, milliseconds after it); step 5 ends an epoch, with validation and saving.
    for step, delay in ((2, 15), (5, 3), (11, 40)):
        process = context.Process(target=run, args=(folder,))
        process.start()
        while max((line["step"] for line in read_log(folder / "log.jsonl")), default=0) < step:
            assert process.is_alive(), "it ended by itself"
            time.sleep(0.001)
        time.sleep(delay / 1000)
        process.kill()
        process.join()
        assert process.exitcode == -9
        went_on += [Checkpoint.load(path).card["step"] for path in folder.glob("[!.]*.safetensors")]
    assert went_on
    assert max(went_on) < 15
    assert run(folder).steps == 15
    assert_same_run(folder, undisturbed[0])
    told = (folder / "log.txt").read_text().splitlines()
    assert sum("steps of 8 crops; process" in line for line in told) == 4
    assert "finished at step 15 of 15" in told[-1]
