"""Who may ask what: no key, a wrong one, a wrong role, another model. Each is refused, and the log says so."""

import json
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vlrface.gallery import Gallery
from vlrface.service import create_key, keys, read_keys, revoke_key
from vlrface.service.keys import KeyRing
from vlrface.types import VlrfaceError

from .made import DIM, MadeModel, made_app, people, png

FACE = png(people()[0, 0])
ROUTES = {
    "read": [
        ("GET", "/v1/model"), ("GET", "/metrics"), ("POST", "/v1/score"), ("POST", "/v1/verify"),
        ("POST", "/v1/identify"), ("GET", "/v1/people"), ("GET", "/v1/people/Ada"), ("GET", "/v1/faces/1/picture"),
    ],
    "enrol": [("POST", "/v1/people/Ada/faces")],
    "admin": [("DELETE", "/v1/people/Ada"), ("GET", "/v1/audit")],
}  # fmt: skip
ALL = [(role, *each) for role, routes in ROUTES.items() for each in routes]


@pytest.fixture
def given(tmp_path):
    """A file of keys, and the key of each role."""
    path = tmp_path / "keys.json"
    return path, {role: create_key(path, role, f"{role}er") for role in ("read", "enrol", "admin")}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def refused(reply, status):
    return reply.status_code == status and set(reply.json()["error"]) == {"code", "message"}


def test_the_file_holds_no_key_and_belongs_to_its_owner(given):
    path, made = given
    text = path.read_text()
    assert not any(key in text or key.split("_", 2)[2] in text for key in made.values())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [key.role for key in read_keys(path)] == ["read", "enrol", "admin"]
    assert len(set(made.values())) == 3
    assert all(len(key.split("_", 2)[2]) >= 43 for key in made.values()), "256 bits in base64"


def test_a_file_of_keys_keeps_its_mode_and_its_place(given, tmp_path):
    path, _ = given
    path.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    create_key(link, "read", "another")
    assert link.is_symlink()
    assert len(read_keys(path)) == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_ring_finds_good_keys_only(given):
    path, made = given
    ring = KeyRing(path)
    assert ring.find(made["enrol"]).role == "enrol"
    prefix, identity, secret = made["admin"].split("_", 2)
    other = made["read"].split("_", 2)[2]
    broken = [
        "",
        "vlrf",
        "vlrf__",
        f"{prefix}_{identity}_{secret}x",
        f"{prefix}_{identity}_{secret[:-1]}",
        "é",
        "\udcff",
    ]
    broken += [f"{prefix}_{identity}_{other}", f"{prefix}_00000000_{secret}", read_keys(path)[0].sha256]
    assert all(ring.find(key) is None for key in broken)


def test_files_that_are_none(tmp_path):
    path = tmp_path / "keys.json"
    with pytest.raises(VlrfaceError, match=r"cannot be read .*vlrface keys create"):
        read_keys(path)
    entry = {"id": "a", "name": "", "role": "read", "sha256": "0" * 64, "created": "now", "revoked": None}
    wrong = ["", "[]", '{"version": 2, "keys": []}', '{"version": 1, "keys": [1]}']
    changes = ({"role": "root"}, {"sha256": "0"}, {"id": 1}, {"revoked": 3})
    wrong += [json.dumps({"version": 1, "keys": [{**entry, **change}]}) for change in changes]
    wrong.append(json.dumps({"version": 1, "keys": [entry, entry]}))
    for text in wrong:
        path.write_text(text)
        with pytest.raises(VlrfaceError, match="Restore"):
            read_keys(path)
    path.write_text(json.dumps({"version": 1, "keys": []}))
    with pytest.raises(VlrfaceError, match="no good key"):
        KeyRing(path)
    with pytest.raises(VlrfaceError, match="printable"):
        create_key(path, "read", "a\nb")


def test_revoking(given, tmp_path):
    path, made = given
    identity = made["read"].split("_")[1]
    assert revoke_key(path, identity).revoked
    assert KeyRing(path).find(made["read"]) is None
    assert KeyRing(path).find(made["enrol"])
    with pytest.raises(VlrfaceError, match="already"):
        revoke_key(path, identity)
    with pytest.raises(VlrfaceError, match="no key 'zz'"):
        revoke_key(path, "zz")
    with pytest.raises(VlrfaceError, match="cannot be read"):
        revoke_key(tmp_path / "none.json", "zz")


def test_keys_that_are_made_at_once_are_all_kept(tmp_path):
    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: create_key(path, "read", str(number)), range(8)))
    assert {key.name for key in read_keys(path)} == {str(number) for number in range(8)}
    assert all(KeyRing(path).find(key) for key in made)


def test_a_key_made_meanwhile_undoes_no_revocation(given, monkeypatch):
    path, _ = given
    first = read_keys(path)[0].id
    write, revoking = keys._write, threading.Thread(target=revoke_key, args=(path, first))

    def slowly(*what):
        monkeypatch.setattr(keys, "_write", write)
        revoking.start()
        revoking.join(0.3)
        write(*what)

    monkeypatch.setattr(keys, "_write", slowly)
    create_key(path, "read", "late")
    revoking.join()
    assert read_keys(path)[0].revoked
    assert read_keys(path)[-1].name == "late"


def test_who_waits_for_the_file_in_vain_is_told(given, monkeypatch):
    path, _ = given
    monkeypatch.setattr(keys, "_WAIT_S", 0.0)
    with keys._changing(path), pytest.raises(VlrfaceError, match="Try again"):
        create_key(path, "read")
    create_key(path, "read")


@pytest.mark.parametrize(("role", "method", "url"), ALL)
def test_every_route_asks_for_its_role(given, make_client, lines, role, method, url):
    path, made = given
    client = make_client(keys=path)
    assert refused(client.ask(method, url), 401)
    assert lines[0]["event"] == "refused"
    assert lines[0]["reason"] == "key"
    assert lines[0]["client"] == "127.0.0.1"
    order = ["read", "enrol", "admin"]
    for each in order:
        reply = client.ask(method, url, headers=bearer(made[each]))
        if order.index(each) < order.index(role):
            assert refused(reply, 403)
            assert lines[-2]["reason"] == "role"
            assert lines[-2]["key"] == made[each].split("_")[1]
        else:
            assert reply.status_code not in (401, 403)
    for text in (lines, client.ask("GET", "/v1/audit", headers=bearer(made["admin"])).text):
        assert not any(key in str(text) for key in made.values())


def test_ways_to_give_no_good_key(given, make_client):
    path, made = given
    client = make_client(keys=path)
    for header in ("", "Bearer", f"Basic {made['read']}", made["read"], "Bearer nonsense", f"Bearer {made['read']} x"):
        reply = client.get("/v1/model", headers={"Authorization": header})
        assert reply.status_code == 401, header
        assert reply.headers["www-authenticate"] == "Bearer"
    assert client.get(f"/v1/model?key={made['read']}").status_code == 401
    assert client.get("/v1/model", headers={"authorization": f"bearer {made['read']}"}).status_code == 200


def test_a_body_is_not_read_before_the_key(given, make_client):
    client = make_client(keys=given[0])
    reply = client.ask("POST", "/v1/score", content=b"x" * 100_000, headers={"content-type": "multipart/form-data"})
    assert reply.status_code == 401


def test_open_to_all_are_life_and_page_only(given, make_client):
    client = make_client(keys=given[0])
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"status": "ready"}
    assert client.get("/openapi.json").status_code == 200


def test_the_audit_names_the_key(given, make_client):
    path, made = given
    client = make_client(keys=path)
    client.post("/v1/people/Ada/faces", FACE, headers=bearer(made["enrol"]))
    client.ask("DELETE", "/v1/people/Ada", headers=bearer(made["read"]))
    client.ask("DELETE", "/v1/people/Ada", headers=bearer(made["admin"]))
    entries = client.get("/v1/audit", headers=bearer(made["admin"])).json()["entries"]
    ids = {role: f"{role}er ({key.split('_')[1]})" for role, key in made.items()}
    assert [(entry["action"], entry["actor"]) for entry in entries] == [
        ("remove", ids["admin"]), ("refused", ids["read"]), ("enrol", ids["enrol"])
    ]  # fmt: skip
    assert entries[1]["outcome"] == "role: /v1/people/{person}"


def test_a_revoked_key_ends_while_the_service_runs(given, make_client, monkeypatch):
    path, made = given
    monkeypatch.setattr(keys, "_LOOK_AGAIN_S", 0.0)
    client = make_client(keys=path)
    assert client.get("/v1/model", headers=bearer(made["read"])).status_code == 200
    revoke_key(path, made["read"].split("_")[1])
    assert client.get("/v1/model", headers=bearer(made["read"])).status_code == 401
    new = create_key(path, "read")
    assert client.get("/v1/model", headers=bearer(new)).status_code == 200


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{")])
def test_a_lost_file_of_keys_opens_to_nobody(given, make_client, monkeypatch, damage):
    path, made = given
    monkeypatch.setattr(keys, "_LOOK_AGAIN_S", 0.0)
    client = make_client(keys=path)
    whole = path.read_bytes()
    damage(path)
    assert client.get("/v1/model", headers=bearer(made["admin"])).status_code == 401
    assert client.get("/ready").status_code == 503
    path.write_bytes(whole)
    assert client.get("/v1/model", headers=bearer(made["admin"])).status_code == 200
    assert client.get("/ready").status_code == 200


def test_a_changed_file_is_looked_at_once_a_second(given):
    ring = KeyRing(given[0])
    revoke_key(given[0], given[1]["read"].split("_")[1])
    assert ring.find(given[1]["read"]), "not looked at yet"
    ring._looked -= 2
    assert ring.find(given[1]["read"]) is None


def test_a_rewritten_file_of_the_same_length_and_time_is_seen(given):
    path, made = given
    ring = KeyRing(path)
    before = os.stat(path)
    text = path.read_text().replace(read_keys(path)[0].sha256, "0" * 64)
    other = path.with_name("other")
    other.write_text(text)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    ring._looked = time.monotonic() - 2
    assert ring.find(made["read"]) is None


def test_another_model_is_refused(given, make_client, lines):
    path, made = given
    client = make_client(keys=path)
    good = {**bearer(made["read"]), "Vlrface-Space": "made-1"}
    assert client.post("/v1/identify", FACE, headers=good).status_code == 200
    reply = client.post("/v1/identify", FACE, headers={**good, "Vlrface-Space": "made-2"})
    assert refused(reply, 409)
    assert "made-1" in reply.json()["error"]["message"]
    assert [line["reason"] for line in lines if line["event"] == "refused"] == ["space"]


def test_a_gallery_of_another_model_is_not_served(tmp_path):
    with pytest.raises(VlrfaceError, match=r"space other.*gives made-1"):
        gallery_app(tmp_path, space="other")
    with pytest.raises(VlrfaceError, match="32 numbers"):
        gallery_app(tmp_path, dim=32)


def gallery_app(tmp_path, *, space="made-1", dim=DIM):
    from vlrface.service import create_app

    from .made import made_settings

    with Gallery.create(tmp_path / f"{space}{dim}.db", space=space, dim=dim) as gallery:
        return create_app(MadeModel(), gallery, None, made_settings())


def test_what_does_not_fit_together_is_not_served(tmp_path):
    with pytest.raises(VlrfaceError, match="--match"):
        made_app(tmp_path, match=None)
    with pytest.raises(VlrfaceError, match="no calibration"):
        made_app(tmp_path, gallery=False, model=MadeModel(calibration=None))
