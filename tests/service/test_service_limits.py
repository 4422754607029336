"""What costs too much is refused before it does: bytes, pixels, files, requests; and what is no request."""

import asyncio
import struct
import threading
import tracemalloc
import zlib

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.service import Batching, Limits, Rate, ServiceSettings
from vlrface.service.app import service_of
from vlrface.service.rates import Buckets
from vlrface.types import VlrfaceError

from .conftest import TLS
from .made import MadeModel, made_settings, mosaic, people, png

FACES = people()
FACE = png(FACES[0, 0])
BOUNDARY = "frontier"
TYPE = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(data=FACE, disposition='form-data; name="files"; filename="a.png"'):
    return f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def code(reply):
    return reply.status_code, reply.json()["error"]["code"]


def bomb(width=60_000, height=60_000):
    """A PNG file of some bytes that says that it has billions of pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


def post(client, body, url="/v1/score", headers=TYPE):
    return client.ask("POST", url, content=body, headers=headers)


def test_a_form_by_hand_is_read(client):
    assert post(client, part() + END).status_code == 200
    assert post(client, b"preamble\r\n" + part() + END).status_code in (200, 400)


MALFORMED = {
    "empty": b"",
    "cut within the picture": part()[:200],
    "no last boundary": part(),
    "another boundary": part().replace(b"frontier", b"elsewhere") + END,
    "no name": part(disposition="form-data") + END,
    "no headers": f"--{BOUNDARY}\r\n\r\nx\r\n".encode() + END,
    "header without end": f"--{BOUNDARY}\r\nContent-Disposition: form-data".encode(),
    "long header": part(disposition="x" * 10_000) + END,
    "many headers": f"--{BOUNDARY}\r\n".encode() + b"A: b\r\n" * 100 + b"\r\nx\r\n" + END,
    "long header of no use": part(disposition='form-data; name="files"\r\nX-Long: ' + ";" * 9_000) + END,
    "noise": bytes(range(256)) * 10,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_malformed_bodies(client, body):
    assert code(post(client, body)) == (400, "malformed")


@given(st.binary(max_size=400), st.integers(0, 400))
def test_any_bytes_are_answered(body, cut):
    answered.client.post  # noqa: B018 (made below, once)
    for each in (body, part()[:cut] + body, part(body) + END, part(disposition=body.hex()) + END):
        assert post(answered.client, each).status_code in (200, 400, 413, 415, 422)


class answered:  # noqa: N801 (a place for what all examples share)
    client = None


@pytest.fixture(autouse=True, scope="module")
def shared_client(tmp_path_factory):
    from .conftest import Client
    from .made import made_app

    answered.client = Client(made_app(tmp_path_factory.mktemp("shared")))
    yield
    answered.client.close()


def test_wrong_kinds_of_body(client):
    assert code(client.ask("POST", "/v1/score", json={})) == (415, "not_multipart")
    assert code(client.ask("POST", "/v1/score")) == (415, "not_multipart")
    assert code(post(client, part() + END, headers={"content-type": "multipart/form-data"})) == (400, "malformed")
    long = {"content-type": f"multipart/form-data; boundary={'b' * 5000}"}
    assert post(client, part() + END, headers=long).status_code == 400


def test_wrong_fields(client):
    assert code(post(client, END)) == (422, "no_file")
    assert code(post(client, part(disposition='form-data; name="file"; filename="a"') + END)) == (422, "unknown_field")
    assert code(post(client, part(disposition='form-data; name="files"') + END)) == (422, "no_file")
    assert code(post(client, part() + END, "/v1/verify")) == (422, "unknown_field")


def test_wrong_options(client):
    for query in ("attention=perhaps", "detct=true", "detect=true&x=1"):
        assert code(post(client, part() + END, f"/v1/score?{query}")) == (422, "invalid_value"), query
    for query in ("candidates=0", "candidates=101", "candidates=x"):
        assert code(post(client, part() + END, f"/v1/identify?{query}")) == (422, "invalid_value"), query
    for url in ("/v1/people?limit=0", "/v1/people?limit=1001", "/v1/audit?limit=x", f"/v1/faces/{2**63}/picture"):
        assert code(client.get(url)) == (422, "invalid_value"), url


def test_unknown_routes_and_methods(client):
    assert code(client.get("/v2/model")) == (404, "not_found")
    reply = client.ask("PUT", "/v1/score")
    assert code(reply) == (405, "method_not_allowed")
    assert reply.headers["allow"] == "POST"


def test_the_limit_of_bytes_is_exact(client):
    frame = len(part(b"") + END)
    inside, outside = (part(b"x" * (2**20 - frame + more)) + END for more in (0, 1))
    assert post(client, inside).status_code == 415
    assert code(post(client, outside)) == (413, "too_large")


def test_a_body_without_a_length_is_counted_as_it_comes(client):
    served = 0

    async def endless():
        nonlocal served
        yield part()[:-2]
        while served < 1000:
            served += 1
            yield b"x" * 2**16

    assert code(post(client, endless())) == (413, "too_large")


def test_bodies_are_not_held_after_the_answer(client):
    for body in (part() + END, part(b"x" * 2**21), part()[:100]):
        post(client, body)
    assert service_of(client.app).intake.held == 0


def test_a_body_that_says_it_is_too_large_is_not_kept(client):
    tracemalloc.start()
    post(client, b"x" * 2**24)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21 + 2**24, "the sender's own copy, and no second one"


def test_no_temporary_files(client, monkeypatch):
    import tempfile

    def forbidden(*_, **__):
        raise AssertionError("a face would lie on the disk")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, forbidden)
    large = png(np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8))
    assert post(client, part(large) + END).status_code == 200


def test_pixels_are_counted_before_they_are_decoded(client):
    assert code(client.post("/v1/score", bomb())) == (413, "too_large")
    tracemalloc.start()
    client.post("/v1/score", bomb(20_000, 20_000))
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


def test_pixels_are_counted_together(make_client):
    client = make_client(limits=Limits(pixels=3 * 64 * 64, held_pixels=1))
    assert client.post("/v1/score", FACE, FACE, FACE).status_code == 200
    assert code(client.post("/v1/score", FACE, FACE, FACE, FACE)) == (413, "too_large")


def test_pixels_of_all_requests_are_counted_before_they_are_decoded(make_client):
    gate = threading.Event()
    gate.set()

    class Waiting(MadeModel):
        def look(self, crops, batch_size=64):
            gate.wait(10)
            return super().look(crops, batch_size)

    client = make_client(model=Waiting(), limits=Limits(files=4, held_pixels=5 * 64 * 64))
    looker = service_of(client.app).looker
    held = []

    async def asked():
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", verify=TLS) as caller:
            one, four = [("files", ("a.png", FACE))], [("files", ("a.png", FACE))] * 4
            tasks = [asyncio.create_task(caller.post("/v1/score", files=each)) for each in [one] * 8 + [four] * 2]
            gate.clear()
            while looker.held_pixels < 5 * 64 * 64:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            held.append(looker.held_pixels)
            gate.set()
            while not all(task.done() for task in tasks):
                held.append(looker.held_pixels)
                await asyncio.sleep(0)
            return [task.result().status_code for task in tasks]

    assert client.loop.run(asked()) == [200] * 10
    assert max(held) == 5 * 64 * 64
    assert looker.held_pixels == 0


def test_a_picture_that_fails_holds_no_pixels_for_ever(client):
    for body in (FACE[:200], b"text", bomb(), png(FACES[0, 0][:3, :3])):
        client.post("/v1/score", body)
        client.post("/v1/score", body, FACE)
    assert service_of(client.app).looker.held_pixels == 0


def test_files_and_faces_are_counted(make_client):
    client = make_client(limits=Limits(files=2, faces=3))
    assert client.post("/v1/score", FACE, FACE).status_code == 200
    assert code(client.post("/v1/score", FACE, FACE, FACE)) == (413, "too_many")
    assert client.post("/v1/score?detect=true", png(mosaic(FACES[:3, 0]))).status_code == 200
    assert code(client.post("/v1/score?detect=true", png(mosaic(FACES[:4, 0])))) == (413, "too_many_faces")


def test_no_picture_at_all(client):
    assert code(client.post("/v1/score", b"", b"text")) == (415, "no_picture")
    assert code(client.post("/v1/people/Ada/faces", b"text")) == (415, "no_picture")
    assert code(client.post("/v1/score", png(FACES[0, 0][:3, :3]))) == (415, "no_picture")


def test_a_slow_body_is_given_up(make_client):
    client = make_client(limits=Limits(body_seconds=0.1))

    async def slow():
        yield part()[:-2]
        await asyncio.sleep(0.5)
        yield END

    assert code(post(client, slow())) == (408, "too_slow")


def test_all_bodies_together_are_counted(make_client):
    client = make_client(limits=Limits(body_bytes=2**16, held_bytes=2**16))
    service_of(client.app).intake._held = 2**16
    reply = post(client, part() + END)
    assert code(reply) == (503, "overloaded")
    assert reply.headers["retry-after"] == "1"
    service_of(client.app).intake._held = 0
    assert post(client, part() + END).status_code == 200


def test_requests_at_once_are_counted(make_client):
    client = make_client(limits=Limits(in_flight=2))

    async def asked():
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as caller:

            async def body():
                yield part()
                await asyncio.sleep(0.2)
                yield END

            return await asyncio.gather(*[caller.post("/v1/score", content=body(), headers=TYPE) for _ in range(3)])

    assert sorted(reply.status_code for reply in client.loop.run(asked())) == [200, 200, 503]
    assert post(client, part() + END).status_code == 200


def held_up(client, count, meanwhile, headers=None):
    """Let requests begin bodies that do not end while `meanwhile(caller)` asks; gives their replies and its answer."""

    async def asked():
        end = asyncio.Event()

        async def body():
            yield part()
            await end.wait()
            yield END

        transport = httpx.ASGITransport(client.app, client=("10.0.0.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", verify=TLS) as caller:
            given = {**TYPE, **(headers or {})}
            tasks = [asyncio.create_task(caller.post("/v1/score", content=body(), headers=given)) for _ in range(count)]
            await asyncio.sleep(0.1)
            done = [task.done() for task in tasks]
            found = await meanwhile(caller)
            end.set()
            return done, await asyncio.gather(*tasks), found

    return client.loop.run(asked())


def keyed(make_client, tmp_path, **limits):
    """A client of a service with keys, and the header of a good one."""
    from vlrface.service import create_key

    good = {"Authorization": f"Bearer {create_key(tmp_path / 'keys.json', 'read')}"}
    return make_client(keys=tmp_path / "keys.json", hosts=(), limits=Limits(**limits)), good


@pytest.mark.parametrize("status", [401, 409])
def test_refused_bodies_that_do_not_come_keep_nobody_out(make_client, tmp_path, status):
    client, good = keyed(make_client, tmp_path, in_flight=2)
    headers = None if status == 401 else {**good, "Vlrface-Space": "another"}

    async def meanwhile(caller):
        text = (await caller.get("/metrics", headers=good)).text
        return text, *[(await caller.get(url, headers=good)).status_code for url in ("/health", "/v1/model")]

    done, replies, (text, *codes) = held_up(client, 5, meanwhile, headers)
    assert not any(done), "their bodies are taken, or they would lose the answer"
    assert {reply.status_code for reply in replies} == {status}
    assert codes == [200, 200]
    assert "vlrface_requests_in_flight 1.0" in text


def test_only_so_many_bodies_of_an_address_are_taken_without_a_key(make_client, tmp_path):
    client, _ = keyed(make_client, tmp_path)

    async def meanwhile(caller):
        return (await caller.get("/health")).status_code

    done, replies, health = held_up(client, 20, meanwhile)
    assert sum(done) == 4, "answered at once"
    assert [reply.headers.get("connection") for reply in replies] == [None] * 16 + ["close"] * 4
    assert {reply.status_code for reply in replies} == {401}
    assert health == 200
    done, replies, _ = held_up(client, 16, meanwhile)
    assert not any(done), "places come back"


def test_health_and_readiness_are_answered_when_full(make_client, tmp_path):
    client, good = keyed(make_client, tmp_path, in_flight=2)

    async def meanwhile(caller):
        return [(await caller.get(url, headers=good)).status_code for url in ("/health", "/ready", "/v1/model")]

    _, replies, codes = held_up(client, 2, meanwhile, good)
    assert codes == [200, 200, 503]
    assert [reply.status_code for reply in replies] == [200, 200]


def test_the_rate_is_per_picture_and_comes_back(make_client):
    client = make_client(rate=Rate(0.5, 3.0))
    assert client.post("/v1/score", FACE, FACE, FACE).status_code == 200
    reply = client.post("/v1/score", FACE)
    assert code(reply) == (429, "too_often")
    assert reply.headers["retry-after"] == "2"
    client.loop.run(asyncio.sleep(2.2))
    assert client.post("/v1/score", FACE).status_code == 200


def test_who_has_no_key_uses_up_no_other_rate(make_client, tmp_path):
    from vlrface.service import create_key

    good = {"Authorization": f"Bearer {create_key(tmp_path / 'keys.json', 'read')}"}
    client = make_client(keys=tmp_path / "keys.json", rate=Rate(0.01, 2.0))
    assert [client.get("/v1/model").status_code for _ in range(4)] == [401, 401, 429, 429]
    assert [client.get("/v1/model", headers=good).status_code for _ in range(3)] == [200, 200, 429]


def test_buckets():
    now = [0.0]
    buckets = Buckets(Rate(2.0, 4.0), lambda: now[0])
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    now[0] = 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == 0.5
    now[0] = 100
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    buckets.charge("c", 9)
    assert buckets.take("c") == 3.0
    for i in range(20_000):
        buckets.take(str(i))
    assert len(buckets._buckets) == 10_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limits(body_bytes=0), lambda: Limits(held_bytes=1), lambda: Rate(0.0, 1.0), lambda: Rate(1.0, 0.5),
        lambda: Rate(float("inf"), 1.0), lambda: Batching(0), lambda: Batching(waiting=0),
        lambda: Batching(wait_ms=-1.0),
        lambda: made_settings(pair=2.0),
        lambda: made_settings(match=2.0), lambda: made_settings(score=-0.1), lambda: ServiceSettings(hosts=()),
        lambda: made_settings(batching=Batching(waiting=10)),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(make):
    with pytest.raises(VlrfaceError):
        make()
