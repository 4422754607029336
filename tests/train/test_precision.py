from dataclasses import replace

import pytest
import torch
from tiny_run import OPTIONS, run

from vlrface.checkpoint import Checkpoint
from vlrface.train import TrainingInterruptedError
from vlrface.train import precision as module
from vlrface.train.precision import autocast, computes_bf16, resolved

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _forget():
    computes_bf16.cache_clear()
    yield
    computes_bf16.cache_clear()


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False}, "float32"),
        ({"avx512_f": True, "avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"architecture": "aarch64", "bf16": True}, "bf16"),
        ({}, "float32"),
    ],
)
def test_auto_is_what_the_processor_computes_in(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolved("auto", CPU) == expected
    with autocast("auto", CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if expected == "bf16" else torch.float32)


def test_an_older_torch_is_asked_otherwise(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert resolved("auto", CPU) == "bf16"


def test_what_is_asked_for_is_given(monkeypatch):
    monkeypatch.setattr(module, "computes_bf16", lambda _: False)
    assert resolved("bf16", CPU) == "bf16"
    assert resolved("float32", CPU) == "float32"


def test_devices_that_nobody_knows_get_float32():
    assert resolved("auto", torch.device("meta")) == "float32"


def test_another_precision_after_a_resume_is_announced(tmp_path, capsys, monkeypatch):
    options = replace(OPTIONS, precision="auto")
    for has, stop_at in ((False, 2), (True, 3)):
        monkeypatch.setattr(module, "computes_bf16", lambda _, has=has: has)
        with pytest.raises(TrainingInterruptedError):
            run(tmp_path, options=options, stop_at=stop_at)
    assert "warning: this run was in float32 before and is in bf16 now" in capsys.readouterr().out
    assert Checkpoint.load(tmp_path / "last.safetensors").card["precision"] == "bf16"
