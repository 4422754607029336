"""Hooks: what they get, and that nothing depends on them."""

import json
import sys
from types import SimpleNamespace

import pytest
from tiny_run import run

from vlrface.run_folder import begin_sitting
from vlrface.train import TrainingInterruptedError, hooks
from vlrface.types import VlrfaceError


def test_a_hook_gets_every_line_of_the_log(tmp_path):
    got = []
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=6, hook=lambda folder, step, figures: got.append((folder, step, dict(figures))))
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [{"step": step, **figures} for _, step, figures in got] == log
    assert {folder for folder, _, _ in got} == {tmp_path}


def test_a_hook_that_fails_is_dropped_and_the_run_goes_on(tmp_path, capsys):
    calls = []

    def fails(*_):
        calls.append(1)
        raise RuntimeError("no network")

    with pytest.raises(TrainingInterruptedError):
        run(tmp_path, stop_at=3, hook=fails)
    assert calls == [1]
    assert "the hook failed (RuntimeError: no network)" in capsys.readouterr().out
    assert "goes on without it" in (tmp_path / "log.txt").read_text()


def test_a_hook_is_found_by_name(tmp_path, monkeypatch):
    (tmp_path / "mine_here.py").write_text("def tell(folder, step, figures): pass\nnumber = 3\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert hooks.load_hook("mine_here:tell").__name__ == "tell"
    assert sys.path == before
    assert hooks.load_hook("vlrface.train.hooks:mlflow") is hooks.mlflow
    for name, said in (
        ("wandb", "write MODULE:FUNCTION"),
        ("nowhere_at_all:tell", "No module named"),
        ("mine_here:shout", "no attribute 'shout'"),
        ("mine_here:number", "cannot be called"),
    ):
        with pytest.raises(VlrfaceError, match=said):
            hooks.load_hook(name)


@pytest.fixture
def folder(tmp_path):
    begin_sitting(tmp_path, step=0, steps=10)
    (tmp_path / "config.json").write_text('{"seed": 3}')
    return tmp_path


def test_weights_and_biases_goes_on_with_its_run(folder, monkeypatch):
    said = []
    service = SimpleNamespace(run=None, log=lambda figures, step: said.append((step, figures)))
    service.init = lambda **named: (said.append(named), setattr(service, "run", object()))
    monkeypatch.setitem(sys.modules, "wandb", service)
    hooks.wandb(folder, 1, {"a": 1.0})
    hooks.wandb(folder, 2, {"a": 2.0})
    begin_sitting(folder, step=1, steps=10)
    service.run = None  # another process
    hooks.wandb(folder, 2, {"a": 2.0})
    first, second = said[0], said[3]
    assert said[1:3] == [(1, {"a": 1.0}), (2, {"a": 2.0})]
    assert first == second
    assert (first["resume"], first["config"], len(first["id"])) == ("allow", {"seed": 3}, 16)


def test_mlflow_goes_on_with_its_run(folder, monkeypatch):
    said, runs, active = [], [], []

    def search_runs(filter_string, search_all_experiments, output_format):
        assert search_all_experiments
        assert output_format == "list"
        return [run for run in runs if f"tags.vlrface_run = '{run.tag}'" == filter_string]

    def start_run(run_id=None, run_name=None, tags=None):
        assert run_id or run_name == folder.name
        said.append(("start", run_id))
        if tags:
            runs.append(SimpleNamespace(tag=tags["vlrface_run"], info=SimpleNamespace(run_id="r1")))
        active.append(1)

    service = SimpleNamespace(
        active_run=lambda: active or None, search_runs=search_runs, start_run=start_run,
        log_dict=lambda values, name: said.append((name, values)),
        log_metrics=lambda figures, step: said.append((step, figures)),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "mlflow", service)
    hooks.mlflow(folder, 1, {"validation/index~size": 1.0})
    active.clear()
    hooks.mlflow(folder, 2, {"a": 2.0})
    assert said == [
        ("start", None), ("config.json", {"seed": 3}), (1, {"validation/index-size": 1.0}),
        ("start", "r1"), (2, {"a": 2.0}),
    ]  # fmt: skip
