"""Benchmarks, comparison and data check through the functions that the commands call, on made sets and models."""

import dataclasses
import json
import typing

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file
from tests.evaluate.made import cross_resolution, pair_list, tinyface

from vlrface.data.check import KINDS
from vlrface.experiment.benchmark import evaluate_benchmark
from vlrface.experiment.checking import check_data
from vlrface.experiment.comparing import compare_files
from vlrface.experiment.encoding import encode_pictures
from vlrface.experiment.layouts import read_layout, told_layout
from vlrface.experiment.model import load_model
from vlrface.experiment.options import BenchmarkName, Kind, Layout, ModelOptions, Outputs, ProtocolOptions
from vlrface.experiment.protocols import protocol_of
from vlrface.images.degrade import SURVEILLANCE, degrade
from vlrface.images.procedural import procedural_faces
from vlrface.types import Faces, VlrfaceError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An ONNX model that gives the mean colour of each cell of a grid: enough to tell drawn people apart."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    pool = helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[8, 8], strides=[8, 8])
    flat = helper.make_node("Flatten", ["p"], ["y"])
    graph = helper.make_graph(
        [pool, flat],
        "grid",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 48])],
    )
    path = tmp_path_factory.mktemp("model") / "grid.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


GRID = ModelOptions(order="rgb", mean=127.5, scale=1 / 127.5)


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    """Folders of 12 drawn people, four small pictures each, and a pair list over them."""
    root = tmp_path_factory.mktemp("identities")
    camera = np.random.default_rng(0)
    people = procedural_faces(12, 4, size=64)
    for row, (face, person) in enumerate(zip(people.images, people.identities, strict=True)):
        folder = root / f"{person}"
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"{row % 4}.png"), degrade(face, SURVEILLANCE.draw(camera))[:, :, ::-1])
    lines = [f"{p}/{k}.png {p}/{k + 1}.png 1" for p in range(12) for k in range(3)]
    lines += [f"{p}/{k}.png {(p + 1) % 12}/{k}.png 0" for p in range(12) for k in range(3)]
    (root / "list.txt").write_text("\n".join(lines) + "\n")
    return root


def run(source, name, data=None, **options):
    return evaluate_benchmark(source, name, data, **{"resamples": 20, "progress": False, **options})


def test_an_onnx_model_runs_on_a_pair_list(model, identities, tmp_path):
    outputs = Outputs(tmp_path / "p.json", tmp_path / "p.html", tmp_path / "figures", tmp_path / "tables")
    report = run(
        model, "pairs", identities, list_file=identities / "list.txt", model_options=GRID, outputs=outputs,
        faces_path=tmp_path / "f.npz",
    )  # fmt: skip
    assert report.counts["genuine_pairs"] == report.counts["impostor_pairs"] == 36
    assert report.figures["auc"].value > 0.5
    assert json.loads((tmp_path / "p.json").read_text())["context"]["faces"]["model"] == "grid.onnx"
    assert "grid.onnx" in (tmp_path / "p.html").read_text()
    assert list((tmp_path / "figures").glob("*.pdf"))
    assert list((tmp_path / "tables").glob("*.tex"))
    again = run(tmp_path / "f.npz", "pairs")
    assert again.figures["auc"] == report.figures["auc"]


def test_measures_are_kept_and_compared(model, identities, tmp_path):
    scores = tmp_path / "mine.csv"
    faces = encode_pictures(
        model, identities, tmp_path / "f.npz", list_file=identities / "list.txt", model_options=GRID,
        measures=("size", "sharpness", "norm"), progress=False,
    )  # fmt: skip
    assert set(faces.measures) == {"size", "sharpness", "norm"}
    assert set(Faces.load(tmp_path / "f.npz").measures) == {"size", "sharpness", "norm"}
    rows = [
        f"{name},{k}" for k, (name, role) in enumerate(zip(faces.names, faces.roles, strict=True)) if role == "face"
    ]
    scores.write_text("name,quality\n" + "\n".join(rows) + "\n")
    options = ProtocolOptions(fmr=(0.3,))
    report = run(tmp_path / "f.npz", "rejection", measures=(f"mine={scores}:quality",), protocol_options=options)
    for name in ("size", "sharpness", "norm", "mine"):
        assert f"pauc@fmr=0.3,measure={name}" in report.figures
    with pytest.raises(VlrfaceError, match="needs a checkpoint of ours"):
        run(tmp_path / "f.npz", "rejection", measures=("serfiq",))


def test_cross_resolution_shrinks_the_probes(model, identities, tmp_path):
    report = run(model, "cross-resolution", identities, model_options=GRID, faces_path=tmp_path / "f.npz",
                 outputs=Outputs(tmp_path / "c.json", tmp_path / "c.html"))  # fmt: skip
    faces = Faces.load(tmp_path / "f.npz")
    assert set(faces.sizes[faces.roles == "side7"]) == {7}
    assert "rank1@side=14" in report.figures


def summary(faces, benchmark, tmp_path, capsys):
    faces.save(tmp_path / "f.npz")
    evaluate_benchmark(tmp_path / "f.npz", benchmark, None, resamples=5, outputs=Outputs(json=tmp_path / "f.json"))
    return capsys.readouterr().out


def test_the_summary_shows_what_a_benchmark_is_about(tmp_path, capsys):
    for benchmark, faces, wanted in (
        ("tinyface", tinyface(), "rank1 "),
        ("cross-resolution", cross_resolution(), "rank1@side=7 "),
        ("rejection", tinyface(), "normalised_pauc@fmr=0.01,measure=recognizability"),
        ("pairs", pair_list(), "accuracy"),
    ):
        assert wanted in summary(faces, benchmark, tmp_path, capsys)
    assert "no interval" in summary(tinyface(people=1), "tinyface", tmp_path, capsys)
    few = summary(pair_list(), "rejection", tmp_path, capsys)  # 60 impostor pairs decide no rate
    assert "not computed: error versus reject at FMR 0.01" in few


def test_faces_without_a_row_are_refused(tmp_path):
    faces = tinyface()
    faces.rows(np.zeros(0, np.int64)).save(tmp_path / "none.npz")
    with pytest.raises(VlrfaceError, match="needs faces with the roles probe, gallery, distractor"):
        evaluate_benchmark(tmp_path / "none.npz", "tinyface", None)


def test_compare_writes_sentences_numbers_and_a_page(tmp_path, capsys):
    for name, noise in (("good", 0.8), ("bad", 2.5), ("bad_s1", 2.6)):
        tinyface(noise=noise, seed=len(name)).save(tmp_path / f"{name}.npz")
    found = compare_files(
        [tmp_path / "good.npz"], [tmp_path / "bad.npz", tmp_path / "bad_s1.npz"], "tinyface", resamples=50
    )
    assert found.figures["rank1"].difference.value > 0
    assert "good is" in capsys.readouterr().out
    assert json.loads((tmp_path / "good-bad.tinyface.json").read_text())["runs"] == [1, 2]
    assert (tmp_path / "good-bad.tinyface.html").read_text().startswith("<!DOCTYPE html>")


def test_seeds_are_paired_where_they_agree(tmp_path):
    for name, seed in (("a0", 0), ("a1", 1), ("b0", 0), ("b1", 1)):
        made = tinyface(people=8, seed=seed + 10 * (name[0] == "b"))
        dataclasses.replace(made, meta={"seed": seed}).save(tmp_path / f"{name}.npz")
    paths = {name: tmp_path / f"{name}.npz" for name in ("a0", "a1", "b0", "b1")}
    options = {"resamples": 20, "pair_seeds": True, "outputs": Outputs(tmp_path / "c.json", tmp_path / "c.html")}
    found = compare_files([paths["a0"], paths["a1"]], [paths["b0"], paths["b1"]], "tinyface", **options)
    assert "Runs are paired" in found.context["notes"][-1]
    with pytest.raises(VlrfaceError, match="the runs have seeds 0, 1 and 1, 0"):
        compare_files([paths["a0"], paths["a1"]], [paths["b1"], paths["b0"]], "tinyface", **options)


def test_compare_refuses_faces_of_other_crops(tmp_path):
    tinyface().save(tmp_path / "a.npz")
    pair_list().save(tmp_path / "b.npz")
    with pytest.raises(VlrfaceError):
        compare_files([tmp_path / "a.npz"], [tmp_path / "b.npz"], "tinyface", resamples=5)


def test_check_says_what_is_undecodable(identities, tmp_path, capsys):
    assert check_data("identities", identities, None, allow_missing=False, progress=False)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "a.jpg").write_text("no picture")
    assert not check_data("identities", tmp_path, None, allow_missing=True, progress=False)
    assert "7/a.jpg" in capsys.readouterr().out


@pytest.mark.parametrize("name", typing.get_args(BenchmarkName))
def test_every_benchmark_has_a_protocol_of_its_name(name):
    assert protocol_of(name, ProtocolOptions()).name == name


def test_every_layout_has_a_reader_and_every_kind_a_check(tmp_path):
    (tmp_path / "x").mkdir()
    for layout in typing.get_args(Layout):
        with pytest.raises(VlrfaceError):
            read_layout(tmp_path / "x", layout)
    assert typing.get_args(Kind) == KINDS


def test_layouts_are_told_by_what_lies_there(tmp_path):
    for entry, layout in (("Testing_Set", "tinyface"), ("mugshot_frontal_cropped_all", "scface")):
        (tmp_path / layout / entry).mkdir(parents=True)
        assert told_layout(tmp_path / layout) == layout
    for name, layout in (("a.bin", "bin"), ("a.rec", "rec"), ("a.jpg", "pictures")):
        (tmp_path / name).touch()
        assert told_layout(tmp_path / name) == layout
    assert told_layout(tmp_path, tmp_path / "t.csv") == "table"
    assert told_layout(tmp_path, tmp_path / "pairs.txt") == "pairs"
    with pytest.raises(VlrfaceError, match="needs --list FILE"):
        read_layout(tmp_path, "pairs")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "order"),
        ({"order": "rgb", "mean": 0.0, "scale": 1.0, "center_y": 0.4}, "--window"),
        ({"order": "rgb", "mean": 0.0, "scale": 1.0, "input_size": (1, 2, 3)}, "--input-size takes"),
        ({"order": "rgb", "mean": 0.0, "scale": 1.0, "input_size": (64,)}, "64"),
    ],
)
def test_a_foreign_model_must_be_described(model, options, said):
    with pytest.raises(VlrfaceError, match=said):
        load_model(model, ModelOptions(**options))


def test_options_of_an_onnx_model_are_refused_for_a_checkpoint(tmp_path):
    save_file({}, tmp_path / "a.safetensors")
    with pytest.raises(VlrfaceError, match="knows its own input"):
        load_model(tmp_path / "a.safetensors", dataclasses.replace(GRID))
