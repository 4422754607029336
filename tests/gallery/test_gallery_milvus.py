"""A gallery in Milvus answers as one in SQLite, as far as its page says."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

PROGRAM = """
import json, sys, warnings
from pathlib import Path
import numpy as np
from pymilvus import MilvusClient
from vlrface.gallery import Gallery, NewFace, Rules
from vlrface.gallery.answers import Info
from vlrface.gallery.milvus import MilvusStore, create_milvus
from vlrface.types import VlrfaceError

folder = Path(sys.argv[1])
DIM = 16
draw = np.random.default_rng(0)

def unit(n):
    rows = draw.standard_normal((n, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)

def refused(action):
    try:
        action()
    except VlrfaceError as error:
        return str(error)
    return "not refused"

rows = unit(40)
create_milvus(str(folder / "g.db"), Info("space", DIM, "net", "mean"))
sqlite = Gallery.create(folder / "s.db", space="space", dim=DIM, model_name="net", template="mean")
found = {"refused": [
    refused(lambda: create_milvus(str(folder / "g.db"), Info("space", DIM, "net", "mean"))),
    refused(lambda: create_milvus(str(folder / "h.db"), Info("space", DIM))),
]}

def filled(gallery):
    said = []
    for person in range(10):
        faces = [NewFace(rows[3 * person + k], float(k) if person % 2 else float("nan"), f"{k}.jpg") for k in range(3)]
        done = gallery.enrol(f"person {person}", faces[:2], duplicate_at=0.99, actor="me")
        said.append(len(done.face_ids))
        done = gallery.enrol(f"person {person}", faces[1:], duplicate_at=0.99, actor="me")  # one is there already
        said.append([len(done.face_ids), [(d.number, d.person, d.enrolled) for d in done.duplicates]])
    done = gallery.enrol("stranger", [NewFace(rows[0], 1.0)], actor="me")
    said.append([(d.person, round(d.cosine, 5), d.enrolled) for d in done.duplicates])
    return said

def answers(gallery):
    nan = np.full(40, np.nan)
    listed = gallery.identify(rows, nan, nan, Rules(-1.0, candidates=4))
    return [[(c.person, round(c.cosine, 6)) for c in each.candidates] for each in listed]

def shown(gallery):
    return {
        "counts": gallery.counts,
        "people": [(p.name, p.faces, p.recognizability if p.recognizability == p.recognizability else None)
                   for p in gallery.people(limit=50)],
        "page": [p.name for p in gallery.people(after="person 3", limit=2)],
        "faces": [(f.source, f.has_picture) for f in gallery.faces("person 3")],
        "verify": round(gallery.verify("person 4", rows[12]), 6),
        "audit": [(e.actor, e.action, e.outcome.split(",")[0]) for e in gallery.audit(limit=3)],
    }

milvus = Gallery(MilvusStore(str(folder / "g.db")))
def flush(*_, **__):
    raise AssertionError("a server allows one flush in ten seconds")
MilvusClient.flush = flush
for name, gallery in (("milvus", milvus), ("sqlite", sqlite)):
    found[name] = {"said": filled(gallery), "answers": answers(gallery), "shown": shown(gallery)}
milvus.close()
milvus = Gallery(MilvusStore(str(folder / "g.db")))
found["again"] = answers(milvus) == [[tuple(c) for c in each] for each in found["milvus"]["answers"]]
for name, gallery in (("milvus", milvus), ("sqlite", sqlite)):
    gone = gallery.remove("person 2", actor="me")
    found[name]["removed"] = [gone.faces, answers(gallery), gallery.counts]
    faces = gallery.export(folder / f"{name}.npz")
    found[name]["export"] = [len(faces), sorted(str(n).split("/")[0] for n in faces.names)]
found["erased"] = gone.erased
found["unknown"] = [refused(lambda: milvus.faces("person 2")), refused(lambda: milvus.check_space("another")),
                    refused(lambda: MilvusStore(str(folder / "g.db"), prefix="other"))]

class Stopped(BaseException):
    pass

def broken(*_, **__):
    raise Stopped

def stored():
    return len(list(milvus._store._all("faces", "id >= 0", ["id"])))

upsert, before = MilvusClient.upsert, stored()
MilvusClient.upsert = lambda self, name, rows: broken() if name.endswith("people") else upsert(self, name, rows)
try:
    milvus.enrol("Orphan", [NewFace(rows[38]), NewFace(rows[39])], duplicate_at=None)
except Stopped:
    MilvusClient.upsert = upsert
broke_off = stored()
milvus.close()
milvus = Gallery(MilvusStore(str(folder / "g.db")))
reopened = stored()
milvus.enrol("person 0", [NewFace(rows[37])], duplicate_at=None)
found["broken off"] = [broke_off - before, reopened - before, stored() - before, stored() == milvus.counts[1]]
long = "an_archive/a_camera/a_day/frame_%09d.jpg"
many = [NewFace(each, 0.5, long % i) for i, each in enumerate(unit(700))]
found["many"] = refused(lambda: milvus.enrol("Many", many, duplicate_at=None))
pages = MilvusClient.query_iterator
MilvusClient.query_iterator = broken
found["searched"] = len(answers(milvus)[0])  # without reading everybody
found["counted"] = milvus.counts[0]
MilvusClient.query_iterator = pages
milvus.close(); sqlite.close()
print("FOUND " + json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """In a process of its own: milvus-lite warns, and holds its file until the process ends."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(PROGRAM), str(tmp_path_factory.mktemp("milvus"))],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stdout[-2000:] + done.stderr[-3000:]
    return json.loads(lines[0].removeprefix("FOUND "))


def test_enrolments_and_duplicates_are_told_alike(found):
    assert found["milvus"]["said"] == found["sqlite"]["said"]
    assert found["sqlite"]["said"][1][0] == 1


def test_answers_are_those_of_the_file(found):
    for ours, theirs in zip(found["milvus"]["answers"], found["sqlite"]["answers"], strict=True):
        assert [name for name, _ in ours] == [name for name, _ in theirs]
        np.testing.assert_allclose([c for _, c in ours], [c for _, c in theirs], atol=2e-6)
    assert found["again"]


def test_people_faces_and_audit_are_shown_alike(found):
    assert found["milvus"]["shown"] == found["sqlite"]["shown"]


def test_who_is_removed_is_in_no_answer(found):
    faces, answers, counts = found["milvus"]["removed"]
    assert faces == 3
    assert counts == found["sqlite"]["removed"][2]
    assert not any(name == "person 2" for answer in answers for name, _ in answer)
    assert found["milvus"]["export"] == found["sqlite"]["export"]


def test_what_cannot_be_is_refused(found):
    there, kind = found["refused"]
    assert "already" in there
    assert "--template mean" in kind
    gone, space, other = found["unknown"]
    assert "is not in the gallery" in gone
    assert "cannot be compared" in space
    assert "no gallery other" in other


def test_what_an_enrolment_that_broke_off_left_goes_with_the_next(found):
    assert found["broken off"] == [2, 2, 1, True]


def test_searching_and_counting_read_no_list(found):
    assert found["searched"] == 4
    assert found["counted"] == 10


def test_a_person_of_too_many_faces_is_refused_before_any_is_written(found):
    assert "700 faces are more than Milvus keeps" in found["many"]


KILLED = """
import os, signal, sys
import numpy as np
from vlrface.gallery import Gallery, NewFace
from vlrface.gallery.answers import Info
from vlrface.gallery.milvus import MilvusStore, create_milvus

create_milvus(sys.argv[1], Info("space", 4, "net", "mean"))
gallery = Gallery(MilvusStore(sys.argv[1]))
gallery.enrol_people([(f"p{i}", [NewFace(row)]) for i, row in enumerate(np.eye(4, dtype=np.float32))])
gallery.remove("p3")
gallery.record("me", "identify", outcome="none")
print("DONE", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

OPENED = """
import sys
from vlrface.gallery import Gallery
from vlrface.gallery.milvus import MilvusStore

gallery = Gallery(MilvusStore(sys.argv[1]))
print("FOUND", [p.name for p in gallery.people()], gallery.counts, [e.action for e in gallery.audit()])
"""


def test_what_was_acknowledged_outlives_a_kill(tmp_path):
    said = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "g.db")],
            capture_output=True, text=True, check=False, timeout=120,
        ).stdout
        for program in (KILLED, OPENED)
    ]  # fmt: skip
    assert "DONE" in said[0]
    there = "FOUND ['p0', 'p1', 'p2'] (3, 3) ['identify', 'remove', 'enrol', 'enrol', 'enrol', 'enrol']"
    assert there in said[1]
