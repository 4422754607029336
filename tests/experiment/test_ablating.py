"""`vlrface ablate` as a person meets it: by-hand trainings, failures, kills, partial tables."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.experiment.ablations import write_recipe

from vlrface.checkpoint import read_card
from vlrface.experiment.ablating import _Progress, ablate_recipe
from vlrface.experiment.ablation import Training, load_ablation
from vlrface.experiment.ablation_measures import Settings
from vlrface.experiment.ablation_run import Job, run_job
from vlrface.experiment.sources import Places
from vlrface.experiment.training import train_experiment
from vlrface.metrics.identification import leave_one_out_ranks, rank_k
from vlrface.train.journal import read_log
from vlrface.types import Faces, VlrfaceError

SETTINGS = Settings(resamples=40)


@pytest.fixture(scope="module")
def ablated(tmp_path_factory, data):
    """A folder with two trainings of arcface made by hand, of which only the first and cosface's are measured."""
    root = tmp_path_factory.mktemp("ablation")
    recipe = write_recipe(root)
    ablation = load_ablation(recipe)
    places = Places(root, root / "cache", progress=False)
    for training in (Training("arcface", 0), Training("arcface", 1)):
        train_experiment(ablation.experiment(training), training.folder(root / "out"), places)
    for training in (Training("arcface", 0), Training("cosface", 0)):
        run_job(job(root, training, {"tinyface": data / "tinyface"}))
    return root


def job(root, training, benchmarks):
    return Job(root / "tiny.py", root / "out", root, root / "cache", *training, benchmarks, True, SETTINGS)


def ablate(root, **options):
    given = {"resamples": 40, "progress": False, **options}
    return ablate_recipe(root / "tiny.py", root / "out", root, root / "cache", **given)


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in (".npz", ".safetensors")}


def values(root):
    return json.loads((root / "out" / "ablation.json").read_text())


def test_a_job_survives_its_text(data, tmp_path):
    given = job(tmp_path, Training("arcface", 1), {"tinyface": data})
    assert Job.from_text(given.to_text()) == given


def test_held_out_figures_are_those_of_the_validation(ablated):
    folder = ablated / "out" / "arcface" / "seed0"
    faces = Faces.load(folder / "held-out.npz")
    card = read_card(folder / "best.safetensors")
    assert len(np.unique(faces.identities)) == 4
    assert faces.meta["fingerprint"] == card["fingerprint"]
    rank1 = rank_k(leave_one_out_ranks(faces.embeddings, faces.identities), 1)
    report = json.loads((folder / "held-out.json").read_text())
    assert report["figures"]["rank1"]["value"] == rank1 == card["figures"]["rank1"]


def test_a_partial_table_shows_what_is_measured(ablated, capsys):
    assert ablate(ablated, only_table=True) == []
    table = values(ablated)
    assert list(table["variants"]) == ["arcface", "cosface"]
    assert table["variants"]["arcface"]["held-out:rank1"]["seeds"] == 1
    assert table["variants"]["cosface"]["tinyface:rank1"]["difference"]["low"] is not None
    assert table["variants"]["cosface"].keys() >= {"tinyface.retrieval:mAP", "tinyface:rank20", "held-out:mAP"}
    assert table["context"]["trainings"] == "2 of 4 measured"
    assert table["context"]["steps"] == [2]
    assert "| cosface | 1 |" in capsys.readouterr().out
    for suffix, text in ((".md", "**Ablation tiny**"), (".tex", "\\toprule"), (".html", "<svg")):
        assert text in (ablated / "out" / f"ablation{suffix}").read_text()
    assert str(ablated) not in (ablated / "out" / "ablation.html").read_text()


def test_what_is_there_is_neither_trained_nor_measured_again(ablated, data):
    before = stamps(ablated / "out")
    options = {"benchmarks": [f"tinyface={data / 'tinyface'}"], "variants": ("arcface", "cosface"), "seeds": 1}
    assert ablate(ablated, **options) == []
    assert stamps(ablated / "out") == before
    run_job(job(ablated, Training("arcface", 0), {"tinyface": data / "tinyface"}))
    assert stamps(ablated / "out") == before


def test_figures_are_made_again_from_saved_faces(ablated):
    folder = ablated / "out" / "cosface" / "seed0"
    before = stamps(folder)
    (folder / "held-out.samples.npz").unlink()
    run_job(job(ablated, Training("cosface", 0), {}))
    changed = {path.name for path, stamp in stamps(folder).items() if before.get(path) != stamp}
    assert changed == {"held-out.samples.npz"}


def test_further_figures_become_columns(ablated):
    ablate(ablated, only_table=True, figures=("tinyface:rank5",))
    assert "tinyface:rank5" in values(ablated)["variants"]["arcface"]
    with pytest.raises(VlrfaceError, match="write MEASUREMENT:FIGURE"):
        ablate(ablated, only_table=True, figures=("rank5",))


def test_a_failure_is_reported_with_its_log_and_others_go_on(ablated, capsys):
    """One process fails, one measures a training that was made by hand."""
    before = (ablated / "out/arcface/seed1/best.safetensors").stat().st_mtime_ns
    failed = ablate(ablated, jobs=2)
    assert len(failed) == 1
    assert failed[0].startswith("broken/seed0: failed (exit code 1): error: ")
    assert "is not finite at step" in failed[0]
    log = ablated / "out" / "broken" / "seed0" / "ablate.log"
    assert failed[0].endswith(f"({log})")
    assert log.is_file()
    table = values(ablated)
    assert table["variants"]["arcface"]["held-out:rank1"]["seeds"] == 2
    assert (ablated / "out/arcface/seed1/best.safetensors").stat().st_mtime_ns == before
    assert table["context"]["failed"] == failed
    assert "failed: broken/seed0" in capsys.readouterr().err


def test_a_training_of_another_recipe_is_not_overwritten(ablated, tmp_path):
    recipe = tmp_path / "tiny.py"
    recipe.write_text((ablated / "tiny.py").read_text().replace("margin_rad=0.3", "margin_rad=0.4"))
    failed = ablate_recipe(
        recipe,
        ablated / "out",
        ablated,
        ablated / "cache",
        resamples=40,
        variants=("arcface",),
        seeds=1,
        progress=False,
    )
    assert len(failed) == 1
    assert "head.margin_rad: there 0.3, in the recipe 0.4" in failed[0]
    assert "arcface" not in values(ablated)["variants"]  # nor are its figures taken for the recipe's


def test_a_table_leaves_out_what_another_recipe_trained(ablated, tmp_path, capsys):
    recipe = tmp_path / "tiny.py"
    recipe.write_text((ablated / "tiny.py").read_text().replace("margin=0.2", "margin=0.25"))
    given = {"resamples": 40, "progress": False, "only_table": True}
    assert ablate_recipe(recipe, ablated / "out", ablated, ablated / "cache", **given) == []
    assert list(values(ablated)["variants"]) == ["arcface"]
    assert "left out: cosface/seed0" in capsys.readouterr().err
    assert "head.margin: there 0.2, in the recipe 0.25" in values(ablated)["context"]["failed"][0]


def test_nothing_measured_is_a_table_too(tmp_path):
    write_recipe(tmp_path)
    assert ablate(tmp_path, only_table=True) == []
    assert values(tmp_path)["variants"] == {}
    assert "Nothing is measured yet" in (tmp_path / "out" / "ablation.md").read_text()


def free(folder):
    """Whether no process holds a training's folder."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def wait_until(true, seconds=240):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.slow
def test_a_kill_leaves_nothing_running_and_the_same_command_goes_on(tmp_path):
    write_recipe(tmp_path, epochs=40)
    words = ["-m", "vlrface", "ablate", "tiny.py", "--out", "out", "--variants", "arcface", "--seeds", "1",
             "--resamples", "40", "--quiet"]  # fmt: skip
    folder = tmp_path / "out" / "arcface" / "seed0"
    for number in (signal.SIGKILL, signal.SIGTERM):
        step = (read_card(folder / "last.safetensors") or {"step": 0})["step"]
        run = subprocess.Popen([sys.executable, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: (read_card(folder / "last.safetensors") or {"step": 0})["step"] > step + 2)  # noqa: B023
        os.kill(run.pid, number)
        _, said = run.communicate()
        wait_until(lambda: free(folder))
        assert not (folder / "best.safetensors").exists(), "the training was too quick for this test"
    assert run.returncode == 130
    assert "Run the same command again to go on" in said
    ended = subprocess.run([sys.executable, *words], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "going on from step" in (folder / "ablate.log").read_text()
    assert read_card(folder / "last.safetensors")["step"] == 80
    assert [line["step"] for line in read_log(folder / "log.jsonl") if "validation/rank1" in line] == [80]
    assert values(Path(tmp_path))["variants"]["arcface"]["held-out:rank1"]["seeds"] == 1


class Bar:
    n = 0

    def update(self, count):
        self.n += count


def test_the_time_left_is_that_of_trainings_like_these():
    a, b = ([Training(name, k) for k in range(3)] for name in "ab")
    progress = _Progress(Bar(), [*a, *b], 2, {})
    assert progress.seconds_left({"a/seed0": 5.0}) is None
    progress.ended(a[0], 10.0)
    assert progress.seconds_left({}) == (2 * 10 + 3 * 10) / 2
    progress.ended(b[0], 30.0)
    assert progress.seconds_left({}) == (2 * 10 + 2 * 30) / 2
    assert progress.seconds_left({"a/seed1": 4.0, "b/seed1": 5.0}) == (6 + 10 + 25 + 30) / 2
    assert progress.seconds_left({"a/seed1": 4.0, "b/seed1": 99.0}) == 30  # the longest alone takes so long
    for each, seconds in ((a[1], 10.0), (a[2], 10.0), (b[1], 30.0)):
        progress.ended(each, seconds)
    assert progress.seconds_left({"b/seed2": 10.0}) == 20  # one alone is not halved by two
