"""Devices by name, and what a run does on one: the CPU tells the same story in all but speed."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import OPTIONS, ingredients, run

from vlrface.checkpoint import Checkpoint
from vlrface.train import TrainingInterruptedError, TrainingOptions
from vlrface.train.device import chosen_device, computing_on, exact_products
from vlrface.train.journal import read_log
from vlrface.types import VlrfaceError

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def test_auto_takes_cuda_where_it_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto") == chosen_device("cpu") == CPU
    for name in ("cuda", "cuda:1"):
        with pytest.raises(VlrfaceError, match=rf"training\.device is '{name}'.*set it to auto or cpu"):
            chosen_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert chosen_device("auto") == chosen_device("cuda") == torch.device("cuda", 1)
    assert chosen_device("cuda:0") == torch.device("cuda", 0)
    assert chosen_device("cpu") == CPU
    with pytest.raises(VlrfaceError, match="'cuda:2', but there are 2 CUDA devices: cuda:0 to cuda:1"):
        chosen_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", ""])
def test_another_name_is_refused(name):
    with pytest.raises(VlrfaceError, match=r"training\.device must be auto, cpu, cuda or cuda:N"):
        TrainingOptions(epochs=1, device=name)


def test_settings_of_cuda_do_not_touch_the_cpu():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    with computing_on(CPU), exact_products(CPU):
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark) == before


def test_a_run_may_go_on_elsewhere(tmp_path):
    """The device is no part of what a run is; all else still is."""

    def config(**training):
        return {"name": "tiny", "training": {"epochs": 3, "device": "auto", **training}}

    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=2, config=config())
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=3, config=config(device="cpu"))
    with pytest.raises(VlrfaceError, match=r"training\.epochs: was 3, is 4"):
        run(tmp_path, config=config(device="cpu", epochs=4))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamw", "accumulate": 2},
        {"checkpointing": True, "precision": "bf16"},
    ],
)
def test_a_run_on_cuda_loses_as_the_cpu_does(tmp_path, changes):
    options = replace(OPTIONS, epochs=1, precision="float32", average_decay=0.8)
    run(tmp_path / "cpu", ingredients(), replace(options, device="cpu"))
    outcome = run(tmp_path / "cuda", ingredients(workers=1), replace(options, device="cuda", **changes))
    assert Checkpoint.load(outcome.best).group("recognizer")
    theirs, ours = (read_log(tmp_path / name / "log.jsonl")[0] for name in ("cpu", "cuda"))
    names = ("loss/recognition", "loss/distillation")  # of step 1; dropout differs, so the regression's is another
    tolerance = 0.1 if "precision" in changes or "accumulate" in changes else 1e-2
    assert [ours[n] for n in names] == pytest.approx([theirs[n] for n in names], rel=tolerance)


COMPILED = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tiny_run import OPTIONS, run
changes = {"checkpointing": True, "precision": "bf16", "compiled": True, "device": "cuda", "epochs": 1}
run(Path(sys.argv[2]), options=replace(OPTIONS, **changes))
"""


@pytest.mark.gpu
@needs_gpu
def test_a_compiled_run_on_cuda_recomputes(tmp_path):
    """A process of its own: the compiler cannot look through the checks of shapes that tests switch on."""
    command = [sys.executable, "-c", COMPILED, str(Path(__file__).parent), str(tmp_path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "torch.compile does not work" not in said.stdout + said.stderr
    assert Checkpoint.load(tmp_path / "last.safetensors").card["step"] == 5


@pytest.mark.gpu
@needs_gpu
def test_a_run_goes_on_from_cpu_to_cuda_and_back(tmp_path):
    for stop, device in ((3, "cpu"), (7, "cuda"), (9, "cpu")):
        with pytest.raises(TrainingInterruptedError):
            run(tmp_path, ingredients(), replace(OPTIONS, device=device), stop_at=stop)
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl") if "gradient_norm" in line] == list(range(1, 10))


@pytest.mark.gpu
@needs_gpu
def test_nan_on_cuda_names_its_step_and_keeps_the_weights(tmp_path):
    options = replace(OPTIONS, device="cuda", log_every=7, save_every=100)
    given = ingredients()
    given.teachers[0][:] = torch.nan
    before = given.recognizer.backbone.linear.weight.detach().clone()
    with pytest.raises(VlrfaceError, match=r"'distillation' is not finite at step 0\."):
        run(tmp_path, given, options)
    assert torch.equal(given.recognizer.backbone.linear.weight.detach().cpu(), before)
