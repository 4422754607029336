"""What a gallery in memory makes of its file while others change it, and of a file with a flaw."""

import sqlite3

import numpy as np
import pytest

from vlrface.gallery import Gallery, NewFace, Rules
from vlrface.types import VlrfaceError

DIM = 8
KEY = bytes(range(32))
FACES_READ = "SELECT person, id, recognizability"  # of people who were changed


def faces(rng, n=1):
    return [NewFace(row, 0.5, "a.jpg", b"\xff\xd8PICTURE") for row in rng.standard_normal((n, DIM)).astype(np.float32)]


def named(gallery):
    return [person.name for person in gallery.people()]


def found(gallery, query):
    none = np.array([np.nan])
    return {c.person for c in gallery.identify(query[None], none, none, Rules(-1.0))[0].candidates}


def once_before(gallery, statement, action):
    """Do something in the middle of a reading, before a statement."""
    reader = gallery._store._reader
    left = [action]

    def traced(text):
        if left and text.startswith(statement):
            left.pop()()

    reader.set_trace_callback(traced)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def two(request, tmp_path):
    """The same gallery, opened by two."""
    made = {"space": "s", "dim": DIM, "keep_pictures": True, "key": request.param}
    with Gallery.create(tmp_path / "g.db", **made) as ours, Gallery.open(tmp_path / "g.db", key=request.param) as other:
        other._store._writer.execute("PRAGMA busy_timeout=0")  # a removal does not wait for readers
        yield ours, other


def test_a_reading_that_fails_is_made_up_for(two, rng):
    ours, other = two
    for name in ("Ada", "Bob"):
        other.enrol(name, faces(rng))
    once_before(ours, FACES_READ, ours._store._reader.interrupt)
    with pytest.raises(VlrfaceError, match="interrupted"):
        _ = ours.counts
    assert named(ours) == ["Ada", "Bob"]
    assert ours.counts == (2, 2)


def test_a_removal_in_the_middle_of_a_reading_loses_nobody(two, rng):
    ours, other = two
    for name in ("Ada", "Bob"):
        other.enrol(name, faces(rng))
    once_before(ours, FACES_READ, lambda: other.remove("Bob"))
    assert "Ada" in named(ours)
    assert named(ours) == ["Ada"]


def test_what_a_removed_person_left_is_nothing(two, rng):
    ours, other = two
    other.enrol("Bob", faces(rng))
    (kept,) = other.enrol("Ada", faces(rng)).face_ids
    assert ours.picture(kept) == b"\xff\xd8PICTURE"
    other.remove("Ada")
    assert ours.picture(kept) is None
    assert other.picture(kept) is None


def test_a_removal_between_two_looks_leaves_faces_whole(two, rng, tmp_path):
    ours, other = two
    for name in ("Ada", "Bob"):
        other.enrol(name, faces(rng))
    assert named(ours) == ["Ada", "Bob"]
    once_before(ours, "SELECT id, source", lambda: other.remove("Ada"))
    assert [face.source for face in ours.faces("Ada")] == ["a.jpg"]  # as it was when that began
    once_before(ours, "SELECT id, source", lambda: other.remove("Bob"))
    assert np.linalg.norm(ours.export(tmp_path / "f.npz").embeddings, axis=1) == pytest.approx(np.ones(1))
    assert named(ours) == []


def test_listing_leaves_out_who_is_removed_meanwhile(two, rng, monkeypatch):
    ours, other = two
    other.enrol_people([(f"p{i}", faces(rng)) for i in range(5)], duplicate_at=None)
    assert len(named(ours)) == 5
    members = type(ours._store._mirror._members)
    names = members.names

    def slow(self):
        there = names(self)
        monkeypatch.setattr(members, "names", names)
        other.remove("p3")
        return there

    monkeypatch.setattr(members, "names", slow)
    assert named(ours) == ["p0", "p1", "p2", "p4"]


def test_people_are_listed_by_part_of_the_name(two, rng):
    ours, _ = two
    ours.enrol_people([(name, faces(rng)) for name in ("Ada", "Adam", "Bob", "MADAM")], duplicate_at=None)
    assert [p.name for p in ours.people(containing="ada")] == ["Ada", "Adam", "MADAM"]
    assert [p.name for p in ours.people(containing="ADA", after="Ada", limit=1)] == ["Adam"]
    assert ours.people(containing="x") == []


def test_two_of_one_name_are_told_apart_and_both_can_be_removed(tmp_path, rng):
    path = tmp_path / "g.db"
    with Gallery.create(path, space="s", dim=DIM) as gallery:
        for name, n in (("Ada", 1), ("Eva", 1), ("Bob", 1), ("Ben", 2)):
            gallery.enrol(name, faces(rng, n), duplicate_at=None)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE person SET name = ? WHERE name IN (?, ?)", (b"Ada", b"Eva", b"Ben"))
    query = rng.standard_normal(DIM).astype(np.float32)
    with Gallery.open(path) as gallery:
        assert named(gallery) == ["Ada", "Ada (person 2)", "Ada (person 4)", "Bob"]
        assert found(gallery, query) == set(named(gallery))
        for name in named(gallery)[:3]:
            gallery.remove(name)
        assert named(gallery) == ["Bob"]
        assert found(gallery, query) == {"Bob"}
