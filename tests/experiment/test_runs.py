"""`vlrface runs`: which runs there are, and how each stands."""

import json
import os
import signal
import time
from dataclasses import replace

import pytest
import torch

from vlrface.checkpoint import Checkpoint
from vlrface.experiment.runs import find_runs, list_runs
from vlrface.run_folder import begin_sitting
from vlrface.train.stopping import TerminatedError
from vlrface.types import Estimate, Report, VlrfaceError


def made(folder, *, epochs_done, rank1, seed=0, name="study", state=None, benchmark=None):
    config = {"name": name, "seed": seed, "training": {"epochs": 2}}
    card = {"config": config, "step": 10 * epochs_done, "epochs_done": epochs_done, "seconds": 90.0,
            "figures": {"rank1": rank1, "mAP": rank1 / 2, "index~size": 0.1}}  # fmt: skip
    Checkpoint({"weight": torch.ones(4)}, card).save(folder / "last.safetensors")
    if state is not None:
        replace(begin_sitting(folder, step=0, steps=20), state=state, message=f"{state} so").write(folder)
    if benchmark is not None:
        figures = {"rank1": Estimate(benchmark, 0.1, 0.9), "rank5": Estimate(0.9)}
        Report("TinyFace", "tinyface", figures, {}, {}, {}).save(folder / "tinyface.json")


@pytest.fixture
def runs(tmp_path):
    made(tmp_path / "alone", epochs_done=1, rank1=0.5, state="stopped")
    made(tmp_path / "best", epochs_done=2, rank1=0.7, seed=3, state="finished", benchmark=0.25)
    made(tmp_path / "old", epochs_done=2, rank1=0.6)  # of a version that left no state.json
    for seed in (0, 1):
        made(tmp_path / "study" / "full" / f"seed{seed}", epochs_done=2 - seed, rank1=0.6 + seed / 100, seed=seed,
             state="finished" if seed == 0 else "diverged")  # fmt: skip
    (tmp_path / "study" / "ablation.json").write_text("{}")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "last.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    (broken / "config.json").write_text('{"name": "cut')
    (broken / "state.json").write_text("{")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_every_run_is_found_and_said_how_it_stands(runs):
    found = {str(run.folder.relative_to(runs)): run for run in find_runs(runs)}
    assert {name: run.state for name, run in found.items()} == {
        "alone": "stopped", "best": "finished", "broken": "stopped", "old": "finished",
        "study/full/seed0": "finished", "study/full/seed1": "diverged",
    }  # fmt: skip
    best = found["best"]
    assert (best.step, best.steps, best.seed, best.seconds, best.group) == (20, 20, 3, 90.0, None)
    assert best.figures == {"rank1": 0.7, "mAP": 0.35, "index~size": 0.1, "tinyface:rank1": 0.25, "tinyface:rank5": 0.9}
    assert found["study/full/seed1"].group == runs / "study"
    assert found["old"].steps is None
    assert [each.partition(":")[0] for each in found["broken"].damaged] == [
        "last.safetensors", "config.json", "state.json",
    ]  # fmt: skip


def test_the_table_groups_ablations_and_names_what_is_damaged(runs, capsys):
    list_runs(runs, sort=None, json_path=None)
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].split() == [
        "run", "state", "steps", "rank1", "mAP", "tinyface:rank1", "time", "last", "written", "seed",
    ]  # fmt: skip
    assert next(line for line in lines if line.startswith("best")).split()[:6] == [
        "best", "finished", "20/20", "0.7000", "0.3500", "0.2500",
    ]  # fmt: skip
    assert "ablation study: 2 runs, 1 finished" in lines
    assert lines.index("ablation study: 2 runs, 1 finished") > lines.index(
        next(x for x in lines if x.startswith("old"))
    )
    assert "study/full/seed1: diverged: diverged so" in lines
    assert any(line.startswith("broken: damaged last.safetensors: ") for line in lines)


def test_sorted_best_first_and_those_without_the_figure_last(runs, capsys):
    found = list_runs(runs, sort="tinyface:rank1", json_path=runs / "runs.json")
    assert found[0].folder.name == "best"
    assert "ablation study:" not in capsys.readouterr().out
    held = json.loads((runs / "runs.json").read_text())
    assert [each["folder"] for each in held] == [str(run.folder) for run in found]
    assert held[0]["figures"]["tinyface:rank5"] == 0.9
    by_rank = [run.figures.get("rank1") for run in list_runs(runs, sort="rank1", json_path=None)]
    assert by_rank == [0.7, 0.61, 0.6, 0.6, 0.5, None]
    assert len(list_runs(runs, sort="last", json_path=None)) == 6
    with pytest.raises(VlrfaceError, match=r"--sort rank2: no run has this figure; there is began, .*tinyface:rank5"):
        list_runs(runs, sort="rank2", json_path=None)


def test_a_folder_without_runs_is_said(tmp_path):
    with pytest.raises(VlrfaceError, match="no run in it or below"):
        list_runs(tmp_path, sort=None, json_path=None)
    with pytest.raises(VlrfaceError, match="no such folder"):
        list_runs(tmp_path / "nowhere", sort=None, json_path=None)


def test_a_run_leaves_a_page_and_stands_in_the_list(data, tmp_path, capsys):
    from vlrface.experiment.training import run_training

    folder = tmp_path / "runs" / "recipe"
    run_training(
        data / "recipe.py", folder, data, tmp_path / "cache", progress=False, hook="collections:Counter",
        assignments=["training.epochs=1", "training.log_every=1"],
    )  # fmt: skip
    said = capsys.readouterr().out
    assert f"curves      {folder}/report.html, or tensorboard" in said
    assert "warning: the hook failed (TypeError" in said  # a class that takes other arguments
    page = (folder / "report.html").read_text()
    assert "Finished after 2 steps. Best on held-out training identities: rank1" in page
    assert "Parts of the loss" in page
    told = (folder / "log.txt").read_text().splitlines()
    assert "begins: 2 steps of 16 crops" in told[0]
    assert "epoch 1: rank1" in told[-2]
    assert "finished at step 2 of 2" in told[-1]
    (run,) = find_runs(tmp_path / "runs")
    assert (run.name, run.state, run.step, run.steps, run.damaged) == ("recipe", "finished", 2, 2, ())


@pytest.mark.own_process
def test_sigterm_before_the_first_step_takes_the_way_of_ctrl_c(data, tmp_path, monkeypatch):
    """So that half-written caches go, and worker processes end."""
    from vlrface.experiment.training import run_training

    def building(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    monkeypatch.setattr("vlrface.experiment.training.build", building)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TerminatedError):
        run_training(data / "recipe.py", tmp_path / "run", data, tmp_path / "cache", progress=False)
    assert signal.getsignal(signal.SIGTERM) == before
