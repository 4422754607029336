"""What a service answers is what model, gallery and detector say."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from vlrface.gallery import Rules
from vlrface.images.decode import decode_bytes
from vlrface.metrics.calibration import Calibration
from vlrface.metrics.operating import Point
from vlrface.service.app import service_of
from vlrface.types import VlrfaceError

from .made import DIM, MATCH, TILE, MadeModel, cut_tile, destroyed, mosaic, people, png

FACES = people()


def enrol(client, count=4):
    for i in range(count):
        assert client.post(f"/v1/people/p{i}/faces", png(FACES[i, 0]), png(FACES[i, 1])).status_code == 200


def two(client, first, second, **rest):
    files = {"first": ("a.png", first), "second": ("b.png", second)}
    return client.ask("POST", "/v1/verify" + rest.pop("query", ""), files=files, **rest)


def test_scores_are_the_models(client):
    images = [FACES[0, 0], destroyed(FACES[1, 0]), FACES[2, 1][:40, :50]]
    looks = MadeModel().look(images)
    faces = client.post("/v1/score", *[png(image) for image in images]).json()["faces"]
    assert [face["file"] for face in faces] == ["0.png", "1.png", "2.png"]
    assert [face["number"] for face in faces] == [1, 1, 1]
    assert [face["verdict"] for face in faces] == list(looks.verdicts)
    assert [face["shorter_side_px"] for face in faces] == [TILE, TILE, 40]
    np.testing.assert_allclose([face["recognizability"] for face in faces], looks.recognizability, atol=1e-6)
    np.testing.assert_allclose([face["score"] for face in faces], looks.scores, atol=1e-6)
    assert all(face["box"] is face["attention"] is face["error"] is None for face in faces)


def test_attention_is_given_where_asked_for(client, make_client):
    images = [FACES[0, 0], FACES[1, 0]]
    faces = client.post("/v1/score?attention=true", *[png(image) for image in images]).json()["faces"]
    np.testing.assert_allclose([face["attention"] for face in faces], MadeModel().attention(images), atol=1e-4)
    without = make_client(model=MadeModel(has_attention=False))
    assert without.get("/v1/model").json()["has_attention"] is False
    assert without.post("/v1/score?attention=true", png(FACES[0, 0])).json()["faces"][0]["attention"] is None


def test_place_is_the_share_of_reference_faces_below(client):
    face = client.post("/v1/score", png(FACES[0, 0])).json()["faces"][0]
    below = service_of(client.app).settings.reference.recognizable < face["recognizability"]
    assert face["place"] == pytest.approx(below.mean(), abs=1 / 18)
    reference = client.get("/v1/model").json()["reference"]
    assert sum(reference["recognizable"]) == sum(reference["unrecognizable"]) == 18
    assert len(reference["edges"]) == len(reference["recognizable"]) + 1


def test_without_calibration_there_are_no_scores(make_client):
    client = make_client(model=MadeModel(calibration=None), score=None, reference=None)
    face = client.post("/v1/score", png(FACES[0, 0])).json()["faces"][0]
    assert face["score"] is face["place"] is None
    assert face["recognizability"] is not None
    assert face["verdict"] == ""
    model = client.get("/v1/model").json()
    assert model["calibration"] is model["reference"] is None


def test_every_face_of_a_whole_picture_is_numbered(client):
    whole = mosaic([FACES[i, 0] for i in range(4)])
    faces = client.post("/v1/score?detect=true", png(whole), png(FACES[5, 0])).json()["faces"]
    assert [(face["file"], face["number"]) for face in faces] == [("0.png", i + 1) for i in range(4)] + [("1.png", 1)]
    assert [tuple(face["box"][:2]) for face in faces[:4]] == [(0, 0), (TILE, 0), (2 * TILE, 0), (0, TILE)]
    alone = client.post("/v1/score", *[png(FACES[i, 0]) for i in (0, 1, 2, 3, 5)]).json()["faces"]
    assert [face["score"] for face in faces] == [face["score"] for face in alone]
    assert len(faces[0]["landmarks"]) == 5


def test_a_picture_without_a_face_is_said(client):
    blank = png(np.zeros((TILE, TILE, 3), np.uint8))
    faces = client.post("/v1/score?detect=true", blank, png(FACES[0, 0])).json()["faces"]
    assert faces[0]["verdict"] == "failed"
    assert faces[0]["error"] == "no face was found in it"
    assert faces[1]["error"] is None


def test_a_broken_file_among_others_is_named(client):
    faces = client.post("/v1/score", png(FACES[0, 0]), ("broken.jpg", b"\xff\xd8\xff nonsense")).json()["faces"]
    assert faces[0]["verdict"] == "recognizable"
    assert faces[1]["verdict"] == "failed"
    assert "truncated or damaged" in faces[1]["error"]
    assert faces[1]["recognizability"] is None


def test_verify_compares(client):
    looks = MadeModel().look([FACES[0, 0], FACES[0, 1], FACES[1, 0]])
    cosines = looks.embeddings @ looks.embeddings[0]
    same = two(client, png(FACES[0, 0]), png(FACES[0, 1])).json()
    other = two(client, png(FACES[0, 0]), png(FACES[1, 0])).json()
    assert (same["same"], other["same"]) == (True, False)
    np.testing.assert_allclose([same["cosine"], other["cosine"]], cosines[1:], atol=1e-5)
    assert same["threshold"] == MATCH
    assert "at least the threshold" in same["reason"]
    assert "below the threshold" in other["reason"]
    assert len(same["faces"]) == 2


def test_verify_says_nothing_of_a_face_that_is_not_recognizable(client):
    reply = two(client, png(FACES[0, 0]), png(destroyed(FACES[0, 0]))).json()
    assert reply["same"] is None
    assert reply["reason"].startswith("Not said: the second face is not recognizable (its score 0.0")
    assert reply["reason"].endswith(" is below the least of 0.10).")


def test_what_the_calibration_calls_unrecognizable_is_neither_searched_nor_enrolled(make_client):
    sharp, blurred = png(FACES[0, 0]), png(cv2.GaussianBlur(FACES[0, 1], (0, 0), 1.5))
    curve = Calibration(0.0, float(np.log(0.31 / 0.69)), 6.0, 1.0, 100, 500, 0.7, 0.02)  # the score is always 0.31
    indices = MadeModel().look([decode_bytes(each, "made") for each in (sharp, blurred)]).recognizability
    model = MadeModel(calibration=replace(curve, unrecognizable_index=float(indices.mean())))
    client = make_client(model=model, score=None, by_verdict=True)
    assert client.get("/v1/model").json()["rules"] == {"match": MATCH, "pair": MATCH, "score": None, "verdict": True}
    enrolled = client.post("/v1/people/Ada/faces", sharp, blurred).json()
    assert len(enrolled["enrolled"]) == 1
    assert "calls it unrecognizable: its score 0.31 is below 0.50, and its index" in enrolled["refused"][0]["reason"]
    kinds = [
        (each["kind"], each["face"]["verdict"])
        for each in client.post("/v1/identify", sharp, blurred).json()["answers"]
    ]
    assert kinds == [("candidates", "doubtful"), ("not recognizable", "unrecognizable")]
    said = two(client, sharp, blurred).json()
    assert said["same"] is None
    assert "the second face is not recognizable (the calibration calls it unrecognizable" in said["reason"]


def test_verify_without_a_threshold_gives_the_cosine(make_client):
    reply = two(make_client(gallery=False, match=None), png(FACES[0, 0]), png(FACES[0, 1])).json()
    assert reply["same"] is reply["threshold"] is None
    assert reply["cosine"] > 0.9


def test_two_faces_may_have_a_threshold_of_their_own(make_client):
    client = make_client(match=1.0, pair=0.8)
    enrol(client, 1)
    reply = two(client, png(FACES[0, 0]), png(FACES[0, 2])).json()
    assert (reply["same"], reply["threshold"]) == (True, 0.8)
    assert client.post("/v1/identify", png(FACES[0, 2])).json()["answers"][0]["kind"] == "unknown"
    rules = client.get("/v1/model").json()["rules"]
    assert (rules["match"], rules["pair"]) == (1.0, 0.8)


def test_verify_needs_one_face_each(client):
    good = png(FACES[0, 0])
    assert client.ask("POST", "/v1/verify", files={"first": ("a.png", good)}).json()["error"]["code"] == "no_file"
    assert two(client, good, b"nonsense").status_code == 415
    several = two(client, good, png(mosaic(FACES[:2, 0])), query="?detect=true")
    assert (several.status_code, several.json()["error"]["code"]) == (422, "several_faces")
    none = two(client, good, png(np.zeros((TILE, TILE, 3), np.uint8)), query="?detect=true")
    assert (none.status_code, none.json()["error"]["code"]) == (422, "no_face")


def test_identify_answers_as_the_gallery_does(client):
    enrol(client)
    images = [FACES[0, 2], FACES[5, 2], destroyed(FACES[1, 2])]
    answers = client.post("/v1/identify", *[png(image) for image in images]).json()["answers"]
    looks = MadeModel().look(images)
    rules = Rules(MATCH, 0.1)
    expected = client.app.state.gallery.identify(looks.embeddings, looks.recognizability, looks.scores, rules)
    assert [answer["kind"] for answer in answers] == ["candidates", "unknown", "not recognizable"]
    assert [answer["reason"] for answer in answers] == [answer.reason for answer in expected]
    best = answers[0]["candidates"][0]
    assert best["person"] == "p0"
    assert best["cosine"] == pytest.approx(expected[0].candidates[0].cosine, abs=1e-5)
    assert best["picture"] is True
    assert answers[1]["candidates"] == answers[2]["candidates"] == []
    assert answers[0]["face"]["verdict"] == "recognizable"


def test_identify_lists_as_many_candidates_as_asked_for(make_client):
    client = make_client(match=-1.0)
    enrol(client)
    counts = [
        len(client.post(f"/v1/identify?candidates={n}", png(FACES[0, 2])).json()["answers"][0]["candidates"])
        for n in (1, 3, 100)
    ]
    assert counts == [1, 3, 4]


def test_identify_in_a_whole_picture(client):
    enrol(client)
    whole = mosaic([FACES[3, 2], FACES[1, 2], destroyed(FACES[0, 2]), FACES[5, 0]])
    answers = client.post("/v1/identify?detect=true", png(whole)).json()["answers"]
    names = [answer["candidates"][0]["person"] if answer["candidates"] else answer["kind"] for answer in answers]
    assert names == ["p3", "p1", "not recognizable", "unknown"]
    assert [answer["number"] for answer in answers] == [1, 2, 3, 4]


def test_identify_of_a_file_without_a_face(client):
    answer = client.post("/v1/identify", b"nonsense", png(FACES[0, 0])).json()["answers"][0]
    assert answer["kind"] == "not recognizable"
    assert "not a picture in a known format" in answer["reason"]


def test_enrolment_keeps_refuses_and_reports(client):
    reply = client.post(
        "/v1/people/Ada/faces", png(FACES[0, 0]), png(destroyed(FACES[0, 1])), ("text.jpg", b"text"), png(FACES[0, 0])
    ).json()
    assert reply["person"] == "Ada"
    assert len(reply["enrolled"]) == 1
    assert [refused["file"] for refused in reply["refused"]] == ["1.png", "text.jpg"]
    assert "not recognizable" in reply["refused"][0]["reason"]
    assert [(each["file"], each["person"]) for each in reply["duplicates"]] == [("3.png", "Ada")]
    again = client.post("/v1/people/Grace/faces", png(FACES[0, 1])).json()
    assert [(each["person"], each["cosine"] > MATCH) for each in again["duplicates"]] == [("Ada", True)]
    assert client.app.state.gallery.counts == (2, 2)


def test_nothing_enrolled_makes_nobody(client):
    reply = client.post("/v1/people/Ada/faces", png(destroyed(FACES[0, 1]))).json()
    assert reply["enrolled"] == []
    assert client.get("/v1/people").json() == {"people": [], "next": None}


def test_enrolment_from_whole_pictures_takes_those_of_one_face(client):
    one, several = png(mosaic(FACES[:1, 0])), png(mosaic(FACES[:3, 0]))
    reply = client.post("/v1/people/Ada/faces?detect=true", one, several).json()
    assert len(reply["enrolled"]) == 1
    assert reply["refused"] == [{"file": "1.png", "reason": "it shows several faces: give a picture of one"}]
    embedding = MadeModel().look([cut_tile(FACES[0, 0], MadeDetectorFace)]).embeddings[0]
    assert client.app.state.gallery.verify("Ada", embedding) == pytest.approx(1, abs=1e-5)


class MadeDetectorFace:
    box = (0, 0, TILE, TILE)


def test_two_files_of_one_name_are_told_apart(client):
    same = [("face.png", png(FACES[i, 0])) for i in range(2)]
    reply = client.post("/v1/people/Ada/faces?detect=true", *same).json()
    assert len(reply["enrolled"]) == 2


def test_people_are_listed_in_parts(client):
    enrol(client, 5)
    names, after = [], ""
    while after is not None:
        part = client.get("/v1/people", params={"after": after, "limit": 2}).json()
        names += [person["person"] for person in part["people"]]
        after = part["next"]
    assert names == [f"p{i}" for i in range(5)]
    assert part["people"][0]["faces"] == 2


def test_a_person_with_faces_and_pictures(client):
    enrol(client, 1)
    person = client.get("/v1/people/p0").json()
    assert [face["source"] for face in person["faces"]] == ["0.png", "1.png"]
    assert all(face["picture"] for face in person["faces"])
    reply = client.get(f"/v1/faces/{person['faces'][0]['face_id']}/picture")
    assert reply.headers["content-type"] == "image/jpeg"
    assert reply.headers["cache-control"] == "no-store"
    shown = decode_bytes(reply.content, "kept")
    assert np.abs(shown.astype(int) - FACES[0, 0]).mean() < 10
    assert client.get("/v1/faces/999/picture").status_code == 404


def test_pictures_are_kept_only_where_wished(make_client):
    client = make_client(keep_pictures=False)
    enrol(client, 1)
    face = client.get("/v1/people/p0").json()["faces"][0]
    assert face["picture"] is False
    assert client.get(f"/v1/faces/{face['face_id']}/picture").status_code == 404
    assert client.post("/v1/identify", png(FACES[0, 2])).json()["answers"][0]["candidates"][0]["picture"] is False


def test_removal(client):
    enrol(client, 2)
    reply = client.ask("DELETE", "/v1/people/p0")
    assert reply.json() == {"person": "p0", "removed_faces": 2, "erased": True}
    assert client.ask("DELETE", "/v1/people/p0").status_code == 404
    assert client.get("/v1/people/p0").status_code == 404
    assert client.post("/v1/identify", png(FACES[0, 2])).json()["answers"][0]["kind"] == "unknown"


def test_names_that_are_none(client):
    for name in ("%20", "a%00b", "x" * 201):
        reply = client.post(f"/v1/people/{name}/faces", png(FACES[0, 0]))
        assert reply.status_code == 422, name
    assert client.post("/v1/people/Żółw%20%F0%9F%90%A2/faces", png(FACES[0, 0])).json()["person"] == "Żółw 🐢"


def test_the_audit_tells_who_did_what(client):
    enrol(client, 1)
    client.post("/v1/identify", png(FACES[0, 2]), png(FACES[5, 2]))
    client.ask("DELETE", "/v1/people/p0")
    entries = client.get("/v1/audit").json()["entries"]
    assert [entry["action"] for entry in entries] == ["remove", "identify", "enrol"]
    assert {entry["actor"] for entry in entries} == {"local"}
    assert entries[1]["outcome"] == "1 candidates, 1 unknown, 0 not recognizable"
    assert "p0" not in str(entries)
    assert len(client.get("/v1/audit?limit=1").json()["entries"]) == 1


def test_without_gallery_and_detector(make_client):
    client = make_client(gallery=False, detector=False)
    assert client.post("/v1/score", png(FACES[0, 0])).status_code == 200
    assert client.post("/v1/identify", png(FACES[0, 0])).json()["error"]["code"] == "no_gallery"
    assert client.get("/v1/people").status_code == 404
    reply = client.post("/v1/score?detect=true", png(FACES[0, 0]))
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "no_detector")
    model = client.get("/v1/model").json()
    assert (model["gallery"], model["detector"]) == (None, False)


def test_the_model_is_described(client):
    enrol(client, 2)
    model = client.get("/v1/model").json()
    assert model["input"] == [32, 32]
    assert model["embedding_dim"] == DIM
    assert model["has_index"]
    assert model["has_attention"]
    assert model["gallery"] == {"people": 2, "faces": 4, "keeps_pictures": True}
    assert model["rules"] == {"match": MATCH, "pair": MATCH, "score": 0.1, "verdict": False}
    assert model["limits"]["files"] == 32
    assert model["calibration"]["gallery_size"] == 100
    assert model["calibration"]["points"] == []
    assert model["keys"] is False


def test_the_measured_thresholds_are_told(make_client):
    point = Point("fmr", 0.01, 0.41, 0.38, 0.44, 0.0099, 0.007, 0.014, 0.3, 0.2, float("nan"), 12480, 40)
    known = replace(MadeModel().calibration, points=(point,), space="made", data="160 faces of 40 people, held_out")
    told = make_client(model=MadeModel(calibration=known)).get("/v1/model").json()["calibration"]
    assert told["points"] == [point.to_json()]
    assert told["points"][0]["cost_high"] is None
    assert told["data"] == "160 faces of 40 people, held_out"


LOCKED = "gallery.db: another process has been writing to it for more than 10 s. Try again"


def locked(*_, **__):
    raise VlrfaceError(LOCKED)


@pytest.mark.parametrize(
    ("part", "method", "url"),
    [
        ("person", "GET", "/v1/people/p0"),
        ("remove", "DELETE", "/v1/people/p0"),
        ("people", "GET", "/v1/people"),
        ("picture", "GET", "/v1/faces/1/picture"),
        ("audit", "GET", "/v1/audit"),
        ("counts", "GET", "/v1/model"),
        ("enrol", "POST", "/v1/people/p0/faces"),
        ("nearest", "POST", "/v1/identify"),
        ("record", "POST", "/v1/identify"),
    ],
)
def test_a_gallery_that_cannot_be_used_is_no_unknown_person(client, monkeypatch, part, method, url):
    enrol(client, 1)
    monkeypatch.setattr(client.app.state.gallery._store, part, locked)
    reply = client.ask(method, url, **({"files": [("files", ("a.png", png(FACES[0, 2])))]} if method == "POST" else {}))
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "gallery")
    assert LOCKED in reply.json()["error"]["message"]
    assert reply.headers["retry-after"] == "1"
    assert client.get("/metrics").status_code == 200


def test_who_is_not_there_is_unknown(client):
    for method in ("GET", "DELETE"):
        reply = client.ask(method, "/v1/people/nobody")
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_person")


def test_a_file_with_two_faces_spoils_no_other_of_its_name(client):
    same = [("image.png", png(FACES[0, 0])), ("image.png", png(mosaic(FACES[1:3, 0])))]
    reply = client.post("/v1/people/Ada/faces?detect=true", *same).json()
    assert len(reply["enrolled"]) == 1
    assert reply["refused"] == [{"file": "image.png", "reason": "it shows several faces: give a picture of one"}]
