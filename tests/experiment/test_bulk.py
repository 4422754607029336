"""`vlrface score` and `encode` of many pictures by an export: whole after kills, without torch, on a cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.experiment.bulk_tables import rows_of
from tests.without_torch import vlrface_without_torch

from vlrface.experiment import bulk
from vlrface.experiment.encoding import encode_bulk
from vlrface.experiment.options import BulkOptions
from vlrface.experiment.scoring import score_paths
from vlrface.types import VlrfaceError


@pytest.fixture(scope="module")
def expected(model, crops, tmp_path_factory):
    output = tmp_path_factory.mktemp("bulk-expected") / "scores.csv"
    assert score_paths(model, [crops], output, progress=False) == 2
    return rows_of(output)


def same(found, expected):
    assert [row["path"] for row in found] == [row["path"] for row in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["verdict"] == theirs["verdict"]
        assert ours["reason"] == theirs["reason"]
        if theirs["score"]:
            assert float(ours["score"]) == pytest.approx(float(theirs["score"]), abs=2e-3)


def command(model, crops, output, *more):
    return [
        sys.executable, "-m", "vlrface", "score", str(model), str(crops), "-o", str(output), "--part-items", "7",
        "--batch-size", "4", "--threads", "1", "--quiet", *more,
    ]  # fmt: skip


def test_killed_at_any_moment_it_goes_on_without_loss_or_repeat(model, crops, expected, tmp_path):
    output = tmp_path / "scores.csv"
    parts = tmp_path / ".scores.csv.parts"
    chance = np.random.default_rng(0)
    kills, seen = 0, set()
    while kills < 6 and not output.exists():
        run = subprocess.Popen(command(model, crops, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = len(list(parts.glob("part-*")))
        until = time.monotonic() + 60
        while len(list(parts.glob("part-*"))) < before + chance.integers(1, 4) and time.monotonic() < until:
            if run.poll() is not None:
                break
            time.sleep(0.002)
        time.sleep(chance.random() * 0.02)
        run.send_signal(signal.SIGKILL)
        run.wait()
        kills += 1
        seen.add(len(list(parts.glob("part-*"))))
    assert len(seen) >= 2  # it got on between kills
    subprocess.run(command(model, crops, output), check=True, capture_output=True)
    same(rows_of(output), expected)
    assert not parts.exists()


def test_a_folder_of_parts_says_when_it_is_whole(model, crops, expected, tmp_path):
    options = BulkOptions(part_items=50)
    score_paths(model, [crops], tmp_path / "out", options=options, progress=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "_job.json", "_summary.json", "part-00000.parquet", "part-00001.parquet", "part-00002.parquet",
    ]  # fmt: skip
    summary = json.loads((tmp_path / "out" / "_summary.json").read_text())
    assert (summary["faces"], summary["failed"]) == (len(expected), 2)
    (crops / "2" / "new.png").write_bytes((crops / "0" / "000.png").read_bytes())
    try:
        with pytest.raises(VlrfaceError, match=r"part-00002\.parquet: made of other pictures"):
            score_paths(model, [crops], tmp_path / "out", options=options, progress=False)
    finally:
        (crops / "2" / "new.png").unlink()
    with pytest.raises(VlrfaceError, match=r"another job \(part_items was 50, is 60\)"):
        score_paths(model, [crops], tmp_path / "out", options=BulkOptions(part_items=60), progress=False)


def test_sources_that_are_not_there_are_refused_before_the_model_is_read(tmp_path):
    for work in (score_paths, encode_bulk):
        with pytest.raises(VlrfaceError, match="nosuch: no such file, folder or pattern"):
            work(tmp_path / "none.onnx", [str(tmp_path / "nosuch")], tmp_path / "a.parquet", progress=False)


def test_a_least_score_is_one_and_has_a_list(model, crops, tmp_path):
    for given, reason in (({"least_score": 7.0, "accepted": tmp_path / "good.txt"}, "from 0 to 1"),
                          ({"least_score": 0.5}, "give both")):  # fmt: skip
        with pytest.raises(VlrfaceError, match=reason):
            score_paths(model, [crops], tmp_path / "a.csv", progress=False, **given)


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("--part-items -5", {"options": BulkOptions(part_items=-5)}),
        ("--part-items 0", {"options": BulkOptions(part_items=0)}),
        ("--threads 0", {"options": BulkOptions(threads=0)}),
        ("--batch-size 0", {"batch_size": 0}),
    ],
)
def test_numbers_out_of_range_are_refused(option, given, model, crops, tmp_path):
    with pytest.raises(VlrfaceError, match=f"{option}: give a whole number from 1"):
        score_paths(model, [crops], tmp_path / "a.csv", progress=False, **given)


def test_the_accepted_are_listed_and_can_be_scored_again(model, crops, expected, tmp_path, capsys):
    scores = sorted(float(row["score"]) for row in expected if row["score"])
    least = scores[len(scores) // 2]
    score_paths(model, [crops], tmp_path / "a.csv", least_score=least, accepted=tmp_path / "good.txt", progress=False)
    good = (tmp_path / "good.txt").read_text().splitlines()
    assert len(good) == pytest.approx(sum(score >= least for score in scores), abs=2)
    assert score_paths(model, [tmp_path / "good.txt"], tmp_path / "b.csv", progress=False) == 0
    assert [row["path"] for row in rows_of(tmp_path / "b.csv")] == good
    assert "accepted" in capsys.readouterr().out


def accepted_of(model, sources, output, **options):
    good = output.parent / "lists" / f"{output.name}.txt"
    score_paths(model, sources, output, least_score=0.0, accepted=good, progress=False, **options)
    return good


def test_each_accepted_picture_is_listed_once_however_often_it_is_given(model, crops, tmp_path):
    sources = [str(crops / "0"), str(crops / "0" / "003.png"), os.path.relpath(crops / "0" / "006.png")]
    good = accepted_of(model, sources, tmp_path / "a.csv", options=BulkOptions(part_items=7))
    names = good.read_text().splitlines()
    assert names == sorted(str(path) for path in (crops / "0").iterdir())


def test_accepted_pictures_are_found_from_the_folder_of_the_list(model, crops, tmp_path, monkeypatch):
    monkeypatch.chdir(crops)
    good = accepted_of(model, ["0/000.png", "../" + crops.name + "/1/001.png"], tmp_path / "a.csv")
    monkeypatch.chdir("/")
    assert score_paths(model, [str(good)], tmp_path / "b.csv", progress=False) == 0
    assert [os.path.realpath(row["path"]) for row in rows_of(tmp_path / "b.csv")] == [
        os.path.realpath(crops / name) for name in ("0/000.png", "1/001.png")
    ]
    # Where the list lies beside the pictures, they are called as they were given.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crops").symlink_to(crops)
    score_paths(model, ["crops/0"], tmp_path / "c.csv", least_score=0.0, accepted=Path("good.txt"), progress=False)
    assert Path("good.txt").read_text().splitlines()[0] == "crops/0/000.png"


def test_of_whole_pictures_the_picture_is_accepted_not_its_face(model, crops, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "finder", lambda _: lambda picture: [picture, picture[:9], picture[3:]])
    (tmp_path / "none.onnx").write_bytes(b"a detector")
    options = BulkOptions(detector=tmp_path / "none.onnx", part_items=3)
    good = accepted_of(model, [str(crops / "0")], tmp_path / "a.csv", options=options)
    assert len(rows_of(tmp_path / "a.csv")) == 3 * 40
    assert good.read_text().splitlines() == sorted(str(path) for path in (crops / "0").iterdir())


@pytest.mark.parametrize("output", ["a.csv", "parts"])
def test_an_accepted_name_that_is_not_utf8_is_a_source(output, model, crops, tmp_path):
    folder = tmp_path / "named"
    folder.mkdir()
    path = os.fsencode(folder) + b"/caf\xe9.png"
    with open(path, "wb") as file:
        file.write((crops / "0" / "000.png").read_bytes())
    good = accepted_of(model, [str(folder)], tmp_path / output)
    assert good.read_bytes() == path + b"\n"
    assert score_paths(model, [str(good)], tmp_path / "again.csv", progress=False) == 0


def test_embeddings_in_parts_and_in_one_file(model, crops, tmp_path):
    from pyarrow import parquet

    assert encode_bulk(model, [str(crops)], tmp_path / "e.parquet", progress=False) == 2
    encode_bulk(model, [str(crops)], tmp_path / "e", options=BulkOptions(part_items=64), progress=False)
    whole, parts = parquet.read_table(tmp_path / "e.parquet"), parquet.read_table(tmp_path / "e")
    assert whole.column("path").to_pylist() == parts.column("path").to_pylist()
    first, second = (np.array(t.column("embedding").to_pylist(), np.float32) for t in (whole, parts))
    np.testing.assert_allclose(first, second, atol=1e-4)
    good = ~np.isnan(first[:, 0])
    assert good.sum() == 118
    np.testing.assert_allclose(np.linalg.norm(first[good], axis=1), 1, rtol=1e-5)


def test_without_torch(model, crops, expected, tmp_path):
    done = vlrface_without_torch("score", model, crops, "-o", "scores.csv", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    same(rows_of(tmp_path / "scores.csv"), expected)


def test_too_many_for_a_page_become_a_table(model, crops, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("vlrface.experiment.scoring.MOST_ON_A_PAGE", 100)
    (tmp_path / "s.csv").write_text("mine")
    score_paths(model, [crops], tmp_path / "s.html", progress=False)
    assert not (tmp_path / "s.html").exists()
    same(rows_of(tmp_path / "s.html.csv"), expected)
    assert (tmp_path / "s.csv").read_text() == "mine"
    score_paths(model, [crops], tmp_path / "s.html", progress=False)  # the same again
    (tmp_path / "s.html.csv").write_text("mine")
    with pytest.raises(VlrfaceError, match=r"s\.html\.csv: there already"):
        score_paths(model, [crops], tmp_path / "s.html", progress=False)


CLUSTER = """
import sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from vlrface.experiment.options import BulkOptions
from vlrface.experiment.scoring import score_paths

model, crops, output = map(Path, sys.argv[1:])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, include_dashboard=False, log_to_driver=False)
parts = output.parent / f".{output.name}.parts"

def kill():
    until = time.monotonic() + 60
    while len(list(parts.glob("part-*"))) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    cluster.remove_node(second, allow_graceful=False)
    print("killed with", len(list(parts.glob("part-*"))), "parts", flush=True)

threading.Thread(target=kill, daemon=True).start()
options = BulkOptions(ray=cluster.address, threads=1, part_items=4)
score_paths(model, [crops], output, options=options, batch_size=2, progress=False)
print("all is done", flush=True)
"""


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_gives_the_same(model, crops, expected, tmp_path):
    pytest.importorskip("ray")
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CLUSTER, str(model), str(crops), str(tmp_path / "scores.csv")],
        capture_output=True, text=True, check=False, env=environment, timeout=300,
    )  # fmt: skip
    # Not the exit code: Ray's own is 1 where a node was lost, whatever the driver did.
    assert "killed with" in done.stdout, done.stdout + done.stderr[-3000:]
    assert "all is done" in done.stdout, done.stdout + done.stderr[-3000:]
    same(rows_of(tmp_path / "scores.csv"), expected)
