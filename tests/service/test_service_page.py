"""What the service tells its page: the caller's role, crops, what the model sees, names that are searched for."""

import base64

import numpy as np
import pytest

from vlrface.images.decode import decode_bytes
from vlrface.service import create_key
from vlrface.service.app import PAGE

from .made import SIDE, TILE, MadeModel, made_app, mosaic, people, png

FACES = people()


@pytest.mark.parametrize("role", ["read", "enrol", "admin"])
def test_the_role_of_the_key_is_told(make_client, tmp_path, role):
    key = create_key(tmp_path / "keys.json", role)
    client = make_client(app=made_app(tmp_path, keys=tmp_path / "keys.json", hosts=()))
    model = client.get("/v1/model", headers={"Authorization": f"Bearer {key}"}).json()
    assert (model["role"], model["keys"]) == (role, True)


def test_without_keys_this_machine_may_do_everything(client):
    assert client.get("/v1/model").json()["role"] == "admin"


def picture_of(text):
    return decode_bytes(base64.b64decode(text), "reply")


def test_crops_are_given_where_asked_for(client):
    whole = png(mosaic([FACES[0, 0], FACES[1, 0]]))
    assert [face["picture"] for face in client.post("/v1/score?detect=true", whole).json()["faces"]] == [None, None]
    for face, crop in zip(
        client.post("/v1/score?detect=true&picture=true", whole).json()["faces"], FACES[:2, 0], strict=True
    ):
        given = picture_of(face["picture"])
        assert given.shape == (TILE, TILE, 3)
        assert np.abs(given.astype(int) - crop).mean() < 12  # JPEG
        assert face["seen"] is None
    files = {"first": ("a.png", png(FACES[0, 0])), "second": ("b.png", png(FACES[1, 0]))}
    pair = client.ask("POST", "/v1/verify?picture=true", files=files).json()["faces"]
    assert all(picture_of(face["picture"]).shape == (TILE, TILE, 3) for face in pair)


def test_a_large_crop_comes_back_small(client):
    large = np.kron(FACES[0, 0], np.ones((4, 6, 1), np.uint8))
    face = client.post("/v1/score?picture=true", png(large)).json()["faces"][0]
    assert face["shorter_side_px"] == 4 * TILE
    assert picture_of(face["picture"]).shape == (85, 128, 3)


def test_what_the_model_sees_comes_with_its_attention(client, make_client):
    crop = FACES[0, 0][:50]
    client.post("/v1/people/p0/faces", png(crop))
    answer = client.post("/v1/identify?attention=true&picture=true", png(crop)).json()["answers"][0]
    for face in (answer["face"], client.post("/v1/score?attention=true", png(crop)).json()["faces"][0]):
        seen = picture_of(face["seen"])
        assert seen.shape == (SIDE, SIDE, 3)
        assert np.abs(seen.astype(int) - MadeModel().encoder.prepare(crop)).mean() < 12
        np.testing.assert_allclose(face["attention"], MadeModel().attention([crop])[0], atol=1e-4)
    assert answer["kind"] == "candidates"
    without = make_client(model=MadeModel(has_attention=False))
    assert without.post("/v1/score?attention=true", png(crop)).json()["faces"][0]["seen"] is None


def enrolled(client, *names):
    for i, name in enumerate(names):
        assert client.post(f"/v1/people/{name}/faces", png(FACES[i, 0])).status_code == 200


def names_of(reply):
    return [person["person"] for person in reply["people"]]


def test_people_are_searched_by_a_part_of_their_name(client):
    enrolled(client, "Ada Berg", "ODA", "Zoë", "bert")
    assert names_of(client.get("/v1/people?search=da").json()) == ["Ada Berg", "ODA"]
    assert names_of(client.get("/v1/people?search=BER").json()) == ["Ada Berg", "bert"]
    assert names_of(client.get("/v1/people", params={"search": "ZOË"}).json()) == ["Zoë"]
    assert client.get("/v1/people?search=x").json() == {"people": [], "next": None}


def test_a_search_goes_on_where_it_stopped(client):
    enrolled(client, "a1", "b2", "a3", "b4", "a5", "b6")
    part = client.get("/v1/people?search=a&limit=2").json()
    assert (names_of(part), part["next"]) == (["a1", "a3"], "a3")
    part = client.get("/v1/people?search=a&limit=2&after=a3").json()
    assert (names_of(part), part["next"]) == (["a5"], None)


def test_the_page_and_its_files_are_served_and_asked_for_anew(client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-cache"
    assert "<script type" in page.text
    assert "<style" not in page.text
    for file in PAGE.iterdir():
        reply = client.get(f"/page/{file.name}")
        assert (reply.status_code, reply.content) == (200, file.read_bytes())
        kind = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}[
            file.suffix
        ]
        assert reply.headers["content-type"].startswith(kind)
        assert reply.headers["cache-control"] == "no-cache"
        assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert client.get("/v1/model").headers["cache-control"] == "no-store"


def test_the_page_names_no_other_host_and_makes_no_markup_of_text():
    for file in PAGE.iterdir():
        text = file.read_text(encoding="utf-8")
        assert "https://" not in text
        assert text.replace("http://www.w3.org/2000/svg", "").count("http://") == 0
        for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage"):
            assert unsafe not in text, file.name
        assert len(text.splitlines()) <= 250
