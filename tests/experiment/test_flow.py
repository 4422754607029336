"""Recipe → checkpoint → Faces → report and scores, through the functions that the commands call."""

import csv
import dataclasses
import json
import resource
import subprocess
import sys
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from vlrface.experiment.benchmark import evaluate_benchmark
from vlrface.experiment.encoding import encode_pictures
from vlrface.experiment.network import load_trained
from vlrface.experiment.options import Outputs
from vlrface.experiment.scoring import score_paths
from vlrface.experiment.training import run_training
from vlrface.types import Faces, VlrfaceError


def evaluate(source, data=None, json=None, report=None, **changes):
    options = {"outputs": Outputs(json, report), "batch_size": 8, "resamples": 50, "progress": False}
    return evaluate_benchmark(source, "tinyface", data, **{**options, **changes})


@pytest.fixture(scope="module")
def evaluated(trained_run, data):
    report = evaluate(trained_run, data / "tinyface", faces_path=trained_run / "faces.npz")
    return report, trained_run


def test_a_run_keeps_its_resolved_configuration(trained_run):
    config = json.loads((trained_run / "config.json").read_text())
    assert config["training"]["epochs"] == 2
    assert config == load_trained(trained_run).card["config"]
    assert json.loads((trained_run / "environment.json").read_text())["torch"] == torch.__version__


def test_train_goes_on_where_it_was_and_refuses_another_configuration(data, tmp_path, capsys):
    def run(**kwargs):
        return run_training(
            data / "recipe.py", tmp_path / "run", data, tmp_path / "cache", progress=False, **kwargs
        )  # fmt: skip

    first = run(assignments=["training.epochs=1"])
    assert "next        vlrface evaluate" in capsys.readouterr().out
    assert run(assignments=["training.epochs=1"]).steps == first.steps
    with pytest.raises(VlrfaceError, match="seed: was 0, is 5"):
        run(assignments=["training.epochs=1"], seed=5)


def test_evaluation_writes_numbers_page_and_faces(evaluated):
    report, folder = evaluated
    numbers = json.loads((folder / "tinyface.json").read_text())
    assert numbers["counts"]["probes"] == 8
    assert numbers["figures"]["rank1"]["value"] == report.figures["rank1"].value
    page = (folder / "tinyface.html").read_text()
    HTMLParser().feed(page)
    assert page.count("data:image/") >= 8
    faces = Faces.load(folder / "faces.npz")
    assert {str(role) for role in np.unique(faces.roles)} == {"probe", "gallery", "distractor", "unrecognizable"}


def test_saved_faces_give_the_same_numbers_without_the_network(evaluated, tmp_path):
    report, folder = evaluated
    again = evaluate(folder / "faces.npz", json=tmp_path / "a.json", report=tmp_path / "a.html")
    assert {k: str(v) for k, v in again.figures.items()} == {k: str(v) for k, v in report.figures.items()}
    assert "data:image/" not in (tmp_path / "a.html").read_text()


def test_faces_of_another_data_set_are_refused(evaluated, data):
    _, folder = evaluated
    faces = Faces.load(folder / "faces.npz")
    renamed = dataclasses.replace(faces, names=np.array([f"x{name}" for name in faces.names]))
    renamed.save(folder / "renamed.npz")
    with pytest.raises(VlrfaceError, match="not the data set of these faces"):
        evaluate(folder / "renamed.npz", data / "tinyface")


def test_saved_faces_are_measured_without_torch(evaluated):
    _, folder = evaluated
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from vlrface.command.measuring import evaluate; from pathlib import Path\n"
        f"evaluate(Path({str(folder / 'faces.npz')!r}), resamples=20, quiet=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "rank1" in done.stdout


def test_the_last_checkpoint_serves_too(trained_run):
    last = load_trained(trained_run / "last.safetensors")
    best = load_trained(trained_run)
    assert last.calibration is not None
    assert last.card["config"] == best.card["config"]


def test_encode_writes_the_same_rows(evaluated, data, tmp_path):
    _, folder = evaluated
    faces = encode_pictures(folder, data / "tinyface", tmp_path / "f.npz", batch_size=5, progress=False)
    earlier = Faces.load(folder / "faces.npz")
    assert faces.names.tolist() == earlier.names.tolist()
    np.testing.assert_allclose(faces.embeddings, earlier.embeddings, atol=1e-4)


def test_a_checkpoint_needs_pictures(trained_run):
    with pytest.raises(VlrfaceError, match="give --data DIR"):
        evaluate(trained_run)


def bomb(path, side=30_000):
    """A valid grey PNG of `side` × `side` pixels, some hundred kilobytes small."""

    def chunk(kind, content):
        body = kind + content
        return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Five pictures that can be scored and five that cannot."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (30, 22, 3), np.uint8))
    rgb.save(folder / "good.jpg")
    rgb.convert("L").save(folder / "grey.png")
    rgb.convert("RGBA").save(folder / "rgba.png")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(rng.integers(0, 65536, (30, 22), np.uint16)).save(folder / "deep.png")
    (folder / "cut.jpg").write_bytes((folder / "good.jpg").read_bytes()[:-200])
    bomb(folder / "huge.png")
    (folder / "text.jpg").write_text("I am no picture")
    (folder / "empty.jpg").touch()
    rgb.resize((1, 1)).save(folder / "dot.png")
    return folder


GOOD = {"good.jpg", "grey.png", "rgba.png", "cmyk.jpg", "deep.png"}
BAD = {
    "cut.jpg": "truncated",
    "huge.png": "30,000 x 30,000 pixels",
    "text.jpg": "not a picture",
    "empty.jpg": "empty",
    "dot.png": "1 x 1 pixels",
}


def test_score_names_every_failure_and_scores_the_rest(trained_run, mixed, tmp_path, capsys):
    output = tmp_path / "scores.csv"
    assert score_paths(trained_run, [mixed], output, progress=False) == len(BAD)
    with output.open() as file:
        rows = {row["path"].removeprefix(f"{mixed}/"): row for row in csv.DictReader(file)}
    assert rows.keys() == GOOD | BAD.keys()
    for name in GOOD:
        assert 0 <= float(rows[name]["score"]) <= 1
        assert rows[name]["verdict"] in ("recognizable", "doubtful", "unrecognizable")
        assert not rows[name]["reason"]
    for name, reason in BAD.items():
        assert rows[name]["verdict"] == "failed"
        assert reason in rows[name]["reason"]
    said = capsys.readouterr().out
    assert "5 of 10 scored" in said
    assert all(name in said for name in BAD)


@pytest.mark.parametrize(("flags", "code"), [((), 0), (("--strict",), 2)])
def test_score_exits_with_0_or_with_2_when_strict_and_stays_small(trained_run, mixed, tmp_path, flags, code):
    words = ["score", trained_run, mixed, "-o", tmp_path / "s.html", "--quiet", *flags]
    done = subprocess.run(
        [sys.executable, "-m", "vlrface", *map(str, words)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == code, done.stderr
    assert "5 of 10 scored" in done.stdout
    # The largest child so far, in kibibytes: more than this one, never less.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2 * 1024**2


def test_score_writes_parquet_and_a_page_with_the_same_values(trained_run, mixed, tmp_path):
    import pyarrow.parquet as pq

    score_paths(trained_run, [mixed], tmp_path / "s.parquet", progress=False)
    score_paths(trained_run, [mixed], tmp_path / "s.csv", progress=False)
    score_paths(trained_run, [mixed], tmp_path / "s.html", progress=False)
    table = pq.read_table(tmp_path / "s.parquet").to_pylist()
    with (tmp_path / "s.csv").open() as file:
        for ours, theirs in zip(table, csv.DictReader(file), strict=True):
            assert ours["path"] == theirs["path"]
            assert ours["verdict"] == theirs["verdict"]
            if ours["score"] is not None:
                assert ours["score"] == pytest.approx(float(theirs["score"]), abs=1e-4)
    page = (tmp_path / "s.html").read_text()
    for name in GOOD | BAD.keys():
        assert name in page


def test_a_run_without_recognizability_says_that_it_cannot_score(data, tmp_path, mixed):
    settings = [f"objective.weights.{part}=0" for part in ("regression", "diversion", "projection")]
    run_training(
        data / "recipe.py", tmp_path / "plain", data, tmp_path / "cache", progress=False,
        assignments=[*settings, "training.epochs=1", "model.regression=false", "model.attention=false",
                     "data.unrecognizable=[]"],
    )  # fmt: skip
    with pytest.raises(VlrfaceError, match="trained without recognizability"):
        score_paths(tmp_path / "plain", [mixed], tmp_path / "s.csv", progress=False)
    report = evaluate(tmp_path / "plain", data / "tinyface")
    assert "rank1" in report.figures
    assert "rank1@reject=0.3" not in report.figures


def test_a_folder_with_loose_pictures_is_encoded_whole(trained_run, mixed, tmp_path, capsys):
    folder = tmp_path / "crops"
    (folder / "more").mkdir(parents=True)
    for place in (folder, folder / "more"):
        (place / "a.jpg").write_bytes((mixed / "good.jpg").read_bytes())
    faces = encode_pictures(trained_run, folder, tmp_path / "f.npz", flip=False, batch_size=4, progress=False)
    assert sorted(faces.names) == ["a.jpg", "more/a.jpg"]
    assert "layout: pictures" in capsys.readouterr().out


def test_names_that_mislead_are_refused_before_any_work(trained_run, data, tmp_path):
    def encode_to(output):
        encode_pictures(trained_run, data, output, flip=False, batch_size=4, progress=False)

    with pytest.raises(VlrfaceError, match=r"ends in \.npz"):
        encode_to(tmp_path / "f.csv")
    with pytest.raises(VlrfaceError, match=r"ends in \.json"):
        evaluate(trained_run, data / "tinyface", json=tmp_path / "n.txt")
    with pytest.raises(VlrfaceError, match="nowhere: no such file or folder"):
        evaluate(trained_run, tmp_path / "nowhere")
    table = tmp_path / "s.csv"
    table.touch()
    with pytest.raises(VlrfaceError, match=r"give a checkpoint"):
        evaluate(table)


def test_two_faces_files_in_one_folder_keep_their_own_results(evaluated):
    _, folder = evaluated
    for name in ("one", "two"):
        (folder / f"{name}.npz").write_bytes((folder / "faces.npz").read_bytes())
        evaluate(folder / f"{name}.npz")
    assert {"one.tinyface.json", "two.tinyface.json"} <= {each.name for each in folder.iterdir()}


def test_scoring_nothing_is_an_error_that_keeps_the_reasons(trained_run, mixed, tmp_path):
    with pytest.raises(VlrfaceError, match="none of 1 pictures could be scored"):
        score_paths(trained_run, [mixed / "empty.jpg"], tmp_path / "s.csv", progress=False)
    assert "empty" in (tmp_path / "s.csv").read_text()
