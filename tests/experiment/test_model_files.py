"""A wrong file given as a model is called what it is, before torch is imported."""

import cv2
import numpy as np
import pytest
from tests.without_torch import vlrface_without_torch

from vlrface.experiment.model_files import check_model, kind_of
from vlrface.types import Faces, VlrfaceError


@pytest.fixture
def files(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((9, 9, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "named.safetensors.png"), np.zeros((9, 9, 3), np.uint8))
    Faces(
        np.ones((2, 3), np.float32), np.ones(2, np.float32), np.zeros(2, np.int64), np.full(2, "image"),
        np.array(["a", "b"]), np.ones(2, np.int32), np.full(2, ""),
    ).save(tmp_path / "faces.npz")  # fmt: skip
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    (tmp_path / "model.onnx").write_bytes(b"any")
    (tmp_path / "recipe.py").write_text("experiment = 1")
    (tmp_path / "nothing.safetensors").touch()
    (tmp_path / "torn.safetensors").write_bytes(b"any bytes at all")
    (tmp_path / "strange.dat").write_bytes(b"any bytes at all")
    for name in ("empty", "begun", "runs/one", "runs/two"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "begun" / "last.safetensors").touch()
    for name in ("one", "two"):
        (tmp_path / "runs" / name / "best.safetensors").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.jpg", "a picture, no model"),
        ("faces.npz", "a Faces file, of embeddings, no model"),
        ("arrays.npz", "arrays of numpy"),
        ("recipe.py", "a recipe"),
        ("nothing.safetensors", "an empty file"),
        ("strange.dat", "a file of another kind"),
        ("empty", "a folder without best.safetensors"),
        ("begun", "begun/last.safetensors"),
        ("runs", "runs/one, .*runs/two"),
        ("nosuch", "no such checkpoint"),
        ("model.onnx", "an .onnx file, not what one is made of"),
    ],
)
def test_a_wrong_file_is_called_what_it_is(name, said, files):
    with pytest.raises(VlrfaceError, match=said):
        check_model(files / name, onnx=False)
    if name != "model.onnx":
        with pytest.raises(VlrfaceError, match=said):
            check_model(files / name)


def test_what_may_be_a_model_is_left_to_its_reader(files):
    check_model(files / "model.onnx")
    check_model(files / "torn.safetensors")
    check_model(files / "runs" / "one")
    assert kind_of(files / "torn.safetensors") == ""


@pytest.mark.parametrize("arguments", [("a.jpg", "-o", "b.onnx"), ("runs/one", "-o", "b.onnx", "--parity-data", "no")])
def test_export_refuses_a_plain_mistake_without_torch(arguments, files):
    done = vlrface_without_torch("export", *arguments, cwd=files)
    assert done.returncode == 1
    assert "a picture" in done.stderr or "no: no such file or folder" in done.stderr
