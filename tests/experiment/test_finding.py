"""`vlrface unrecognizable find` on pools that are made: drawn faces, and pictures that show nothing."""

import csv
import json
import typing
import weakref
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vlrface.data.manifest import Manifest
from vlrface.experiment import finding, options
from vlrface.experiment.encoding import encode_pictures
from vlrface.experiment.finding import NOTHING_LEFT, find_unrecognizable
from vlrface.experiment.options import ModelOptions
from vlrface.images.decode import DecodeError
from vlrface.images.degrade import degraded
from vlrface.images.procedural import procedural_faces
from vlrface.report import Projection
from vlrface.types import Faces, VlrfaceError
from vlrface.unrecognizable import Method

GREY = ModelOptions(order="rgb", mean=127.5, scale=1 / 127.5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An ONNX model that gives fine detail (a Laplacian of 32 x 32 pixels) and a 1: without detail, all are alike."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    laplacian = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], np.float32) / 3
    weights = [
        numpy_helper.from_array(np.broadcast_to(laplacian, (1, 3, 3, 3)).copy(), "kernel"),
        numpy_helper.from_array(np.array([0, 0, 0, 1], np.int64), "pads"),
        numpy_helper.from_array(np.array(1.0, np.float32), "one"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["detail"], strides=[2, 2]),
        helper.make_node("Flatten", ["detail"], ["flat"]),
        helper.make_node("Pad", ["flat", "pads", "one"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detail",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 226])],
        weights,
    )
    path = tmp_path_factory.mktemp("model") / "detail.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """120 drawn people at 64 pixels (00000 to 00119), and 80 pictures with nothing left, one file no picture."""
    root = tmp_path_factory.mktemp("pool")
    faces = list(procedural_faces(200, 1, size=64, seed=3).images)
    faces = faces[:120] + degraded(faces[120:], NOTHING_LEFT, seed=9)
    for row, face in enumerate(faces):
        cv2.imwrite(str(root / f"{row:05d}.png"), face[:, :, ::-1])
    (root / "99999.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def found(folder, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("found")
    return find_unrecognizable(folder, model, out, model_options=GREY, progress=False), out


def rows_of(out):
    with (out / "unrecognizable.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_pictures_with_nothing_left_are_found(found):
    result, out = found
    rows = rows_of(out)
    assert list(rows[0]) == ["file", "score"]
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0.5
    truth = {f"{row:05d}.png" for row in range(120, 200)}
    names = {row["file"] for row in rows}
    assert len(names & truth) / len(names) > 0.9
    assert len(names & truth) / len(truth) > 0.7
    assert result.found.sum() == len(rows)


def test_json_says_what_was_found_and_how(found):
    result, out = found
    values = json.loads((out / "unrecognizable.json").read_text())
    assert values["counts"] == {"faces": 201, "not_encoded": 1, "found": int(result.found.sum())}
    assert values["clusters"][0]["chosen"]
    assert values["encoder"]["file"] == "detail.onnx"
    assert values["settings"]["seed"] == 0
    assert values["reference"]["degradation"]["side_px"] == [4, 9]
    assert set(values["clusters"][0]["evidence"]) <= set(values["meanings"])


def test_statistics_are_those_of_the_found_faces(found):
    safetensors = pytest.importorskip("safetensors.numpy")
    result, out = found
    values = safetensors.load_file(out / "statistics.safetensors")
    assert values["center"] == pytest.approx(result.center, abs=1e-6)
    assert set(values) == {"center", "mean", "deviation"}
    assert 0 <= values["mean"] <= 1


def test_the_pages_are_there(found):
    _, out = found
    assert {path.name for path in out.iterdir()} == {
        "unrecognizable.csv", "unrecognizable.json", "statistics.safetensors", "contact_sheet.html",
        "contact_sheet.png", "cluster_map.svg",
    }  # fmt: skip


def test_lists_and_encoded_faces_give_the_same(folder, model, found, tmp_path):
    result, _ = found
    names = sorted(path.name for path in folder.iterdir())
    (tmp_path / "list.txt").write_text("# the pool\n" + "\n".join(names) + "\n")
    (tmp_path / "list.csv").write_text("file,identity\n" + "\n".join(f"{name},7" for name in names) + "\n")
    faces = tmp_path / "faces.npz"
    encode_pictures(model, folder, faces, layout="pictures", model_options=GREY, progress=False)
    for pool in (tmp_path / "list.txt", tmp_path / "list.csv", faces):
        again = find_unrecognizable(pool, model, tmp_path / "out", pictures=folder, model_options=GREY, progress=False)
        assert again.scores == pytest.approx(result.scores, abs=1e-6, nan_ok=True)


def test_whole_pictures_are_destroyed_one_by_one(monkeypatch):
    alive: list[weakref.ref] = []
    most = 0

    def picture(_, row):
        nonlocal most
        if row == 7:
            raise DecodeError("damaged")
        made = np.full((40, 50, 3), row, np.uint8)
        most = max(most, sum(each() is not None for each in alive))
        alive.append(weakref.ref(made))
        return made

    monkeypatch.setattr(Manifest, "picture", picture)
    looks, destroyed, origins = finding._seen(finding._manifest(np.array([f"#{n}" for n in range(20)]), None), 0)
    assert most <= 2
    assert origins.tolist() == [row for row in range(20) if row != 7]
    assert len(destroyed) == 19
    assert max(max(picture.shape) for picture in destroyed) < 20
    assert np.isnan(looks[7]).all()
    same = degraded([np.full((40, 50, 3), row, np.uint8) for row in origins], NOTHING_LEFT, 0)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(destroyed, same, strict=True))


def test_what_cannot_be_searched_is_refused(folder, model, tmp_path):
    def find(pool, **given):
        return find_unrecognizable(pool, model, tmp_path / "out", model_options=GREY, progress=False, **given)

    with pytest.raises(VlrfaceError, match="no such folder, list or Faces file"):
        find(tmp_path / "none")
    with pytest.raises(VlrfaceError, match="leave out --pictures"):
        find(folder, pictures=folder)
    (tmp_path / "empty.txt").write_text("\n# nothing\n")
    with pytest.raises(VlrfaceError, match="names no picture"):
        find(tmp_path / "empty.txt")
    (tmp_path / "outside.txt").write_text("../a.png\n")
    with pytest.raises(VlrfaceError, match="points outside"):
        find(tmp_path / "outside.txt")
    faces = tmp_path / "faces.npz"
    encode_pictures(model, folder, faces, layout="pictures", model_options=GREY, progress=False)
    with pytest.raises(VlrfaceError, match="--pictures"):
        find(faces)
    with pytest.raises(VlrfaceError, match="encoded pictures are not there"):
        find(faces, pictures=tmp_path)
    with pytest.raises(VlrfaceError, match=r"made by another model \(its mean"):
        find_unrecognizable(
            faces, model, tmp_path / "out", pictures=folder, model_options=replace(GREY, mean=0.0), progress=False
        )
    several = Faces.load(faces)
    several.meta["views"] = 5
    several.save(tmp_path / "several.npz")
    with pytest.raises(VlrfaceError, match=r"made by another model \(views 5"):
        find(tmp_path / "several.npz", pictures=folder)
    other = Faces.load(faces)
    other.meta["sha256"] = "0" * 64
    other.save(faces)
    with pytest.raises(VlrfaceError, match="made by another model"):
        find(faces, pictures=folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(VlrfaceError, match="give a folder"):
        find_unrecognizable(folder, model, tmp_path / "file", model_options=GREY)


def test_the_options_of_the_command_are_those_of_what_it_calls():
    assert set(typing.get_args(options.Clustering)) == set(typing.get_args(Method))
    assert options.Projection == Projection


def test_a_finding_of_nearly_all_is_doubted_aloud(found, capsys):
    result, out = found
    count = len(result.scores)
    faces = Faces(
        np.ones((count, 2), np.float32), np.full(count, np.nan, np.float32), np.zeros(count, np.int64),
        np.full(count, "image"), np.arange(count).astype(str), np.ones(count, np.int32), np.full(count, ""),
    )  # fmt: skip
    finding._say(result, faces, [out / "unrecognizable.csv"])
    assert "doubtful" not in capsys.readouterr().out
    finding._say(replace(result, found=np.isfinite(result.scores)), faces, [out / "unrecognizable.csv"])
    assert "check the card of the model" in capsys.readouterr().out
