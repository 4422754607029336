"""`vlrface gallery` on drawn faces."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vlrface.command import gallery as command
from vlrface.encode.served import ServedModel
from vlrface.experiment import enrolling, searching
from vlrface.experiment.options import SearchOptions
from vlrface.gallery import Gallery
from vlrface.images.decode import decode
from vlrface.images.procedural import procedural_faces
from vlrface.metrics.calibration import Calibration
from vlrface.metrics.operating import Point
from vlrface.models import MobileFaceNet, PerceptibilityRegression, Recognizer
from vlrface.models.mobilefacenet import mobilefacenet_input
from vlrface.types import Faces, VlrfaceError


@pytest.fixture(autouse=True)
def served(monkeypatch):
    trunk = MobileFaceNet(mobilefacenet_input(32, 32), seed=0)
    network = Recognizer(trunk, PerceptibilityRegression(trunk.feature_shape, seed=0)).eval()
    model = ServedModel(network, "made", "made", None, flip=True)
    use(monkeypatch, model)
    monkeypatch.delenv("VLRFACE_GALLERY_KEY", raising=False)
    return model


def use(monkeypatch, model):
    for module in (enrolling, searching):
        monkeypatch.setattr(module, "load_served", lambda *_, **__: model)


def judged(served, below):
    """The model with a calibration: every score is 0.31, and faces of an index below are called unrecognizable."""
    curve = Calibration(0.0, float(np.log(0.31 / 0.69)), 0.0, 1.0, 100, 500, 0.7, 0.02, unrecognizable_index=below)
    return replace(served, calibration=curve)


def indices(served, folder):
    """The index of each picture of a folder, by name."""
    files = sorted(folder.glob("*.png"))
    return dict(zip(files, served.look([decode(file) for file in files]).recognizability.tolist(), strict=True))


@pytest.fixture
def people(tmp_path):
    """Two people of two pictures each, and a broken one."""
    faces = procedural_faces(identities=2, per_identity=2, seed=0)
    for i, image in enumerate(np.asarray(faces.images)):
        folder = tmp_path / "people" / ("Ada" if i < 2 else "Bob")
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{i}.png"), image[:, :, ::-1])
    (tmp_path / "people" / "Bob" / "broken.jpg").write_bytes(b"no picture")
    return tmp_path / "people"


@pytest.fixture
def path(tmp_path, people, capsys):
    """A gallery of them."""
    made = str(tmp_path / "g.db")
    enrolling.create_gallery(made, tmp_path, keep_pictures=True)
    assert enrolling.enrol_folder(made, tmp_path, people, json=tmp_path / "done.json", progress=False) == 1
    assert "broken.jpg" in capsys.readouterr().out
    return made


def test_people_come_and_go(path, capsys):
    enrolling.list_people(path)
    assert capsys.readouterr().out.splitlines() == ["Ada\t2 faces", "Bob\t2 faces"]
    with Gallery.open(Path(path)) as gallery:
        assert all(face.has_picture for face in gallery.faces("Ada"))
    enrolling.remove_person(path, "Ada")
    assert "2 faces" in capsys.readouterr().out
    enrolling.list_people(path)
    assert capsys.readouterr().out.splitlines() == ["Bob\t2 faces"]


def test_enrolling_again_adds_nothing_and_says_so(path, people, tmp_path, capsys):
    enrolling.enrol_folder(path, tmp_path, people, json=tmp_path / "again.json", progress=False)
    assert "there already" in capsys.readouterr().out
    again = json.loads((tmp_path / "again.json").read_text())
    assert [each["faces"] for each in again["people"]] == [0, 0]
    assert len(again["failures"]) == 1
    (people / "Ada again").mkdir()
    (people / "Ada again" / "0.png").write_bytes((people / "Ada" / "0.png").read_bytes())
    enrolling.enrol_folder(path, tmp_path, people, progress=False)
    assert "looks like Ada" in capsys.readouterr().out


def test_three_kinds_of_answers(path, people, tmp_path, capsys):
    sources = [str(people / "Ada" / "0.png"), str(people / "Bob")]
    kinds = searching.identify(path, tmp_path, sources, SearchOptions(match=0.5), tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert [each["answer"] for each in found] == ["candidates"] * 3 + ["failed"]
    assert found[0]["candidates"][0]["person"] == "Ada"
    assert "not a picture" in found[3]["reason"]
    assert kinds == {"candidates": 3, "failed": 1}
    said = capsys.readouterr().out
    assert "3 faces: 3 candidates, 0 unknown, 0 not recognizable\n1 could not be read" in said
    with Gallery.open(Path(path)) as gallery:
        assert gallery.audit(limit=1)[0].outcome == "3 candidates, 0 unknown, 0 not recognizable, 1 failed"
    searching.identify(path, tmp_path, sources, SearchOptions(match=1.0), tmp_path / "found.csv")
    with (tmp_path / "found.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["answer"] for row in rows] == ["unknown"] * 3 + ["failed"]
    assert "not a picture" in rows[3]["reason"]
    assert all("below the threshold" in row["reason"] for row in rows[:3])
    capsys.readouterr()
    searching.identify(path, tmp_path, sources[:1], SearchOptions(match=0.5))
    assert "0.png: Ada (" in capsys.readouterr().out
    with Gallery.open(Path(path)) as gallery:
        assert gallery.audit(limit=1)[0].outcome == "1 candidates, 0 unknown, 0 not recognizable"


def test_a_face_is_verified_against_a_person(path, people, tmp_path, capsys):
    options = SearchOptions(match=0.9)
    broken = str(people / "Bob" / "broken.jpg")
    assert searching.verify(path, tmp_path, "Ada", [str(people / "Ada")], options) == "match"
    assert searching.verify(path, tmp_path, "Ada", [broken, str(people / "Ada")], options) == "unanswered"
    strict = SearchOptions(match=1.0)
    assert searching.verify(path, tmp_path, "Ada", [broken, str(people / "Ada")], strict) == "none"
    said = capsys.readouterr().out
    assert "matches Ada" in said
    assert "does not match Ada" in said
    assert "failed: not a picture" in said
    assert "2 of 3 match Ada, 1 cannot be judged" in said


def test_verify_ends_with_a_status_for_each_answer(path, people, tmp_path):
    def ended(*sources, **options):
        with pytest.raises(SystemExit) as caught:
            command.verify(path, tuple(map(str, sources)), "Ada", tmp_path, SearchOptions(**options))
        return caught.value.code

    broken = people / "Bob" / "broken.jpg"
    assert ended(broken, match=0.9) == 4
    assert ended(broken, people / "Ada", match=1.0) == 3
    command.verify(path, (str(people / "Ada"),), "Ada", tmp_path, SearchOptions(match=0.9))


def test_identify_ends_with_2_for_unreadable_pictures_only_where_strict(path, people, tmp_path):
    given = {"model": tmp_path, "search": SearchOptions(match=0.9)}
    command.identify(path, (str(people),), **given)
    command.identify(path, (str(people / "Ada"),), **given, strict=True)
    with pytest.raises(SystemExit) as caught:
        command.identify(path, (str(people),), **given, strict=True)
    assert caught.value.code == 2


def test_a_least_score_that_the_model_does_not_give_is_refused(path, people, tmp_path):
    rules = SearchOptions(match=0.5, least_score=0.5)
    for ask in (
        lambda: searching.verify(path, tmp_path, "Ada", [str(people / "Ada")], rules),
        lambda: searching.identify(path, tmp_path, [str(people / "Ada")], rules),
        lambda: enrolling.enrol_folder(path, tmp_path, people, least_score=0.5, progress=False),
    ):
        with pytest.raises(VlrfaceError, match="the model has none"):
            ask()


def test_what_the_calibration_calls_unrecognizable_is_not_searched(served, path, people, tmp_path, monkeypatch, capsys):
    found = indices(served, people / "Ada")
    lost, kept = sorted(found, key=found.get)
    model = judged(served, below=(found[lost] + found[kept]) / 2)
    use(monkeypatch, model)
    sources = [str(kept), str(lost)]
    kinds = searching.identify(path, tmp_path, sources, SearchOptions(match=0.5), tmp_path / "found.json")
    assert kinds == {"candidates": 1, "not recognizable": 1}
    reason = json.loads((tmp_path / "found.json").read_text())[1]["reason"]
    assert reason.startswith("The calibration calls it unrecognizable: its score 0.31 is below 0.50, and its index ")
    assert searching.verify(path, tmp_path, "Ada", sources, SearchOptions(match=0.5)) == "unanswered"
    assert reason in capsys.readouterr().out
    for least in (0.0, 0.2):  # a score that is asked for takes the place of the verdict
        rules = SearchOptions(match=0.5, least_score=least)
        assert searching.identify(path, tmp_path, sources, rules) == {"candidates": 2}
        assert searching.verify(path, tmp_path, "Ada", sources, rules) == "match"


def test_what_the_calibration_calls_unrecognizable_is_not_enrolled(served, people, tmp_path, monkeypatch, capsys):
    found = indices(served, people / "Ada")
    lost, kept = sorted(found, key=found.get)
    use(monkeypatch, judged(served, below=(found[lost] + found[kept]) / 2))
    (people / "Bob" / "broken.jpg").unlink()
    made = str(tmp_path / "judged.db")
    enrolling.create_gallery(made, tmp_path)
    assert enrolling.enrol_folder(made, tmp_path, people, json=tmp_path / "done.json", progress=False) == 0
    assert f"not enrolled: {lost}: not recognizable. The calibration calls it" in capsys.readouterr().out
    done = json.loads((tmp_path / "done.json").read_text())
    assert str(lost) in done["refused"][0]
    with Gallery.open(Path(made)) as gallery:
        assert [face.source for face in gallery.faces("Ada")] == [kept.name]
    enrolling.enrol_folder(made, tmp_path, people, least_score=0.0, progress=False)
    with Gallery.open(Path(made)) as gallery:
        assert len(gallery.faces("Ada")) == 2


@pytest.mark.parametrize(("searched", "warned"), [(1, True), (2, False)])
def test_a_gallery_larger_than_the_measured_one_is_told(path, people, tmp_path, capsys, monkeypatch, searched, warned):
    none = float("nan")
    point = Point("fpir", 0.1, 0.5, *[none] * 8, counted=100, people=20, gallery_size=searched)
    calibration = Calibration(1.0, 0.0, 0.0, 1.0, 10, 20, 0.5, 0.1, points=(point,))
    model = replace(searching.load_served(), calibration=calibration)
    monkeypatch.setattr(searching, "load_served", lambda *_, **__: model)
    searching.identify(path, tmp_path, [str(people / "Ada")], SearchOptions(fpir=0.1))
    assert ("2 people are enrolled" in capsys.readouterr().err) == warned
    searching.identify(path, tmp_path, [str(people / "Ada")], SearchOptions(match=0.5))
    assert not capsys.readouterr().err


def test_what_is_missing_is_said(path, people, tmp_path):
    with pytest.raises(VlrfaceError, match="a search needs a threshold"):
        searching.identify(path, tmp_path, [str(people)], SearchOptions())
    with pytest.raises(VlrfaceError, match="vlrface calibrate"):
        searching.identify(path, tmp_path, [str(people)], SearchOptions(fpir=0.01))
    with pytest.raises(VlrfaceError, match=r"ends in \.csv or \.json"):
        searching.identify(path, tmp_path, [str(people)], SearchOptions(match=0.5), tmp_path / "x.txt")
    with pytest.raises(VlrfaceError, match="Cleo"):
        searching.verify(path, tmp_path, "Cleo", [str(people)], SearchOptions(match=0.5))


def test_a_gallery_in_milvus_says_what_it_cannot(tmp_path):
    with pytest.raises(VlrfaceError, match="--template mean"):
        enrolling.create_gallery(f"milvus:{tmp_path / 'm.db'}", tmp_path)
    with pytest.raises(VlrfaceError, match="milvus:http"):
        enrolling.create_gallery("milvus:#x", tmp_path)


def test_a_gallery_leaves_as_a_faces_file(path, tmp_path):
    enrolling.export_gallery(path, tmp_path / "faces.npz")
    faces = Faces.load(tmp_path / "faces.npz")
    assert len(faces) == 4
    assert set(faces.meta["people"].values()) == {"Ada", "Bob"}
    with pytest.raises(VlrfaceError, match=r"\.npz"):
        enrolling.export_gallery(path, tmp_path / "faces.csv")


def test_a_folder_without_people_is_refused(tmp_path):
    with pytest.raises(VlrfaceError, match="sub-folder"):
        enrolling.enrol_folder(str(tmp_path / "g.db"), tmp_path, tmp_path)
