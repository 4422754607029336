"""What stands around the service: who may call at all, what every answer carries, what log and counters say."""

import json
import logging
import re

import pytest

from vlrface.service import check_exposure
from vlrface.service.guard import CONTENT_SECURITY_POLICY
from vlrface.service.journal import LOGGER, JsonLines
from vlrface.service.settings import is_loopback
from vlrface.types import VlrfaceError

from .made import MadeModel, destroyed, mosaic, people, png

FACES = people()
FACE = png(FACES[0, 0])


def code(reply):
    return reply.status_code, reply.json()["error"]["code"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_its_own_names(client, host):
    assert client.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "", "127.0.0.1.nip.io"]
)
def test_names_of_others_that_point_here_are_refused(client, lines, host):
    assert code(client.get("/v1/people", headers={"host": host})) == (400, "host")
    reply = client.get("/", headers={"host": host})
    assert code(reply) == (400, "host")
    assert "--names" in reply.text
    assert lines[0]["event"] == "refused"


def test_with_keys_any_name_will_do_unless_some_are_given(make_client, tmp_path):
    from vlrface.service import create_key

    key = {"Authorization": f"Bearer {create_key(tmp_path / 'keys.json', 'read')}"}
    any_name = make_client(keys=tmp_path / "keys.json", hosts=())
    assert any_name.get("/v1/model", host="faces.example", client=("10.0.0.7", 1), headers=key).status_code == 200
    named = make_client(keys=tmp_path / "keys.json", hosts=("faces.example",))
    assert named.get("/v1/model", host="faces.example", client=("10.0.0.7", 1), headers=key).status_code == 200
    assert code(named.get("/v1/model", host="other.example", headers=key)) == (400, "host")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"origin": "http://localhost.evil.example:8000"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_may_not_ask(client, headers):
    assert code(client.post("/v1/people/Eve/faces", FACE, headers=headers)) == (403, "cross_origin")
    assert code(client.get("/v1/people", headers=headers)) == (403, "cross_origin")
    assert client.app.state.gallery.counts == (0, 0)


def test_its_own_page_may_ask_and_links_may_lead_to_it(client):
    own = {"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}
    assert client.post("/v1/score", FACE, headers=own).status_code == 200
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code in (200, 404)
    assert client.get("/v1/model", headers={"sec-fetch-site": "none"}).status_code == 200


def test_nothing_is_allowed_to_other_origins(client):
    reply = client.ask("OPTIONS", "/v1/score", headers={"origin": "http://localhost:8000"})
    assert not [name for name in reply.headers if name.startswith("access-control")]
    reply = client.post("/v1/score", FACE, headers={"origin": "http://localhost:8000"})
    assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize("address", ["10.0.0.7", "192.168.1.2", "::ffff:10.0.0.7", "2001:db8::1"])
def test_without_keys_other_machines_may_not_ask(client, address):
    assert code(client.get("/health", client=(address, 1))) == (403, "not_local")


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip"])
def test_without_keys_no_proxy_may_ask_for_others(client, header):
    assert code(client.get("/v1/model", headers={header: "10.0.0.7"})) == (403, "not_local")


def test_where_it_may_listen(tmp_path):
    for host in ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"):
        assert is_loopback(host)
        check_exposure(host, None)
    for host in ("0.0.0.0", "::", "10.0.0.7", "faces.example", "", "localhost.example"):  # noqa: S104
        assert not is_loopback(host)
        with pytest.raises(VlrfaceError, match="vlrface keys create"):
            check_exposure(host, None)
        check_exposure(host, tmp_path / "keys.json")


def test_every_answer_carries_the_headers(client):
    replies = [
        client.get("/health"), client.get("/v1/model"), client.get("/nothing"), client.post("/v1/score", b"text"),
        client.get("/health", headers={"host": "evil.example"}), client.get("/openapi.json"), client.get("/"),
        client.ask("PUT", "/v1/score"),
    ]  # fmt: skip
    for reply in replies:
        assert reply.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert re.fullmatch(r"[0-9a-f]{16}", reply.headers["x-request-id"])
    assert client.get("/v1/model").headers["cache-control"] == "no-store"
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY


class BrokenModel(MadeModel):
    """Fails after its first look."""

    def look(self, crops, batch_size=64):
        if self.calls:
            raise RuntimeError("Ada Lovelace is in this message")
        return super().look(crops, batch_size)


def test_a_failure_is_answered_and_told_without_its_message(make_client, lines):
    client = make_client(model=BrokenModel())
    reply = client.post("/v1/score", FACE)
    assert code(reply) == (500, "internal")
    assert "Ada" not in reply.text
    assert lines[0]["event"] == "failed"
    assert lines[0]["error"] == "RuntimeError"
    assert any("test_service_guard.py" in frame for frame in lines[0]["at"])
    assert "Ada" not in str(lines)
    assert lines[1]["status"] == 500
    assert client.get("/ready").status_code == 200, "the thread of the model lives on"


def test_the_log_tells_what_happened_and_never_of_whom(client, lines):
    name = "Ada%20Lovelace"
    client.post(f"/v1/people/{name}/faces", ("ada lovelace.png", FACE), ("secret file.png", b"nonsense"))
    client.post("/v1/identify", ("portrait of ada.png", FACE), png(destroyed(FACES[1, 0])))
    client.post("/v1/score?detect=true", ("whole ada.png", png(mosaic(FACES[:3, 0]))))
    client.get(f"/v1/people/{name}")
    client.get(f"/v1/people?after={name}")
    client.get(f"/nothing/{name}")
    client.ask("DELETE", f"/v1/people/{name}")
    client.post(f"/v1/people/{name}x/faces", ("ada.png", b"text"))
    text = "".join(JsonLines().format(record_of(line)) for line in lines).lower()
    text = re.sub('"id": "[0-9a-f]{16}"', "", text)  # drawn: may spell anything
    assert not re.search("ada|lovelace|secret|portrait|whole", text)
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in requests] == [200, 200, 200, 200, 200, 404, 200, 415]
    assert requests[0]["route"] == requests[-1]["route"] == "/v1/people/{person}/faces"
    assert [line.get("faces") for line in requests[:3]] == [1, 2, 3]
    assert requests[0]["key"] == "local"
    assert requests[0]["bytes_in"] > len(FACE)
    known = {"event", "level", "id", "method", "route", "status", "ms", "bytes_in", "key", "faces"}
    assert {name for line in requests for name in line} <= known


def record_of(line):
    record = LOGGER.makeRecord(LOGGER.name, logging.INFO, "", 0, line["event"], (), None)
    record.fields = {name: value for name, value in line.items() if name not in ("event", "level")}
    return record


def test_lines_are_json():
    try:
        raise KeyError("a name")
    except KeyError as error:
        info = (KeyError, error, error.__traceback__)
    record = LOGGER.makeRecord("uvicorn.error", logging.ERROR, "", 0, "line\nbreak %s", ("é",), info)
    line = JsonLines().format(record)
    assert "\n" not in line
    read = json.loads(line)
    assert read["event"] == "line\nbreak é"
    assert read["error"] == "KeyError"
    assert "a name" not in line


def test_what_is_counted(client):
    client.post("/v1/people/Ada/faces", FACE)
    client.post("/v1/identify", png(FACES[0, 1]), png(FACES[5, 1]), png(destroyed(FACES[0, 1])))
    client.post("/v1/score", b"text")
    client.get("/nothing/here")
    client.get("/health", headers={"host": "evil.example"})
    client.ask("BREW", "/v1/score")
    text = client.get("/metrics").text
    for line in (
        'vlrface_requests_total{method="POST",route="/v1/identify",status="200"} 1.0',
        'vlrface_requests_total{method="POST",route="/v1/score",status="415"} 1.0',
        'vlrface_requests_total{method="GET",route="other",status="404"} 1.0',
        'vlrface_requests_total{method="other",route="/v1/score",status="405"} 1.0',
        'vlrface_answers_total{kind="candidates"} 1.0',
        'vlrface_answers_total{kind="unknown"} 1.0',
        'vlrface_answers_total{kind="not recognizable"} 1.0',
        'vlrface_faces_total{verdict="recognizable"} 3.0',
        'vlrface_refusals_total{reason="host"} 1.0',
        "vlrface_gallery_people 1.0",
        "vlrface_faces_waiting 0.0",
        "vlrface_requests_in_flight 1.0",
    ):
        assert line in text, line
    assert "Ada" not in text
    assert client.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")


def test_two_services_count_apart(make_client):
    first, second = make_client(), make_client()
    first.post("/v1/score", FACE)
    assert "/v1/score" not in second.get("/metrics").text


def test_not_ready_without_its_gallery(client):
    assert client.get("/ready").status_code == 200
    client.app.state.gallery.close()
    reply = client.get("/ready")
    assert code(reply) == (503, "not_ready")
    assert client.get("/health").status_code == 200
