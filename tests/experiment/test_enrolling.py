"""`vlrface gallery` on drawn faces."""

import cv2
import numpy as np
import pytest

from vlrface.encode.served import ServedModel
from vlrface.experiment import enrolling
from vlrface.images.procedural import procedural_faces
from vlrface.models import MobileFaceNet, PerceptibilityRegression, Recognizer
from vlrface.models.mobilefacenet import mobilefacenet_input
from vlrface.types import VlrfaceError


@pytest.fixture(autouse=True)
def served(monkeypatch):
    trunk = MobileFaceNet(mobilefacenet_input(32, 32), seed=0)
    network = Recognizer(trunk, PerceptibilityRegression(trunk.feature_shape, seed=0)).eval()
    model = ServedModel(network, "made", "made", None, flip=True)
    monkeypatch.setattr(enrolling, "load_served", lambda _: model)
    monkeypatch.delenv("VLRFACE_GALLERY_KEY", raising=False)


def test_people_come_and_go(tmp_path, capsys):
    faces = procedural_faces(identities=2, per_identity=2, seed=0)
    for person in ("Ada", "Bob"):
        (tmp_path / "people" / person).mkdir(parents=True)
    for i, image in enumerate(np.asarray(faces.images)):
        name = "Ada" if i < 2 else "Bob"
        cv2.imwrite(str(tmp_path / "people" / name / f"{i}.png"), image[:, :, ::-1])
    (tmp_path / "people" / "Bob" / "broken.jpg").write_bytes(b"no picture")
    path = tmp_path / "g.db"
    enrolling.create_gallery(path, tmp_path)
    assert enrolling.enrol_folder(path, tmp_path, tmp_path / "people") == 1
    assert "broken.jpg" in capsys.readouterr().out
    enrolling.list_people(path)
    assert capsys.readouterr().out.splitlines() == ["Ada\t2 faces", "Bob\t2 faces"]
    enrolling.remove_person(path, "Ada")
    capsys.readouterr()
    enrolling.list_people(path)
    assert capsys.readouterr().out.splitlines() == ["Bob\t2 faces"]


def test_a_folder_without_people_is_refused(tmp_path):
    with pytest.raises(VlrfaceError, match="sub-folder"):
        enrolling.enrol_folder(tmp_path / "g.db", tmp_path, tmp_path)
