"""What a gallery keeps, answers and forgets."""

import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from vlrface.gallery import Gallery, NewFace, Rules
from vlrface.gallery.database import files_of
from vlrface.metrics.cosine import unit_rows
from vlrface.metrics.templates import gallery_templates
from vlrface.types import Faces, VlrfaceError

DIM = 32
KEY = bytes(range(32))


def unit(rng, n, dim=DIM):
    rows = rng.standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def faces_of_person(embeddings, indices=None, **values):
    indices = np.full(len(embeddings), np.nan) if indices is None else indices
    return [NewFace(e, float(i), **values) for e, i in zip(embeddings, indices, strict=True)]


def create(path, **values):
    return Gallery.create(path, **{"space": "space-a", "dim": DIM, "model_name": "net", **values})


def search(gallery, embeddings, match=0.5, **rules):
    none = np.full(len(embeddings), np.nan)
    return gallery.identify(embeddings, none, none, Rules(match, **rules))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("key", [None, KEY])
def test_what_is_enrolled_is_there_after_opening_again(tmp_path, rng, key):
    path = tmp_path / "g.db"
    rows = unit(rng, 6)
    with create(path, key=key, keep_pictures=True) as gallery:
        anna = gallery.enrol("Anna", faces_of_person(rows[:3], [1.0, 3.0, 2.0], source="a.jpg", picture=b"JPEG"))
        gallery.enrol("Bob", faces_of_person(rows[3:4]))
        before = search(gallery, rows, match=0.0, candidates=2)
    with Gallery.open(path, space="space-a", key=key) as gallery:
        assert gallery.counts == (2, 4)
        assert [(p.name, p.faces) for p in gallery.people()] == [("Anna", 3), ("Bob", 1)]
        assert gallery.people()[0].recognizability == pytest.approx(2.0)
        assert [p.name for p in gallery.people(after="Anna", limit=1)] == ["Bob"]
        stored = gallery.faces("Anna")
        assert [f.face_id for f in stored] == list(anna.face_ids)
        assert (stored[0].source, stored[0].has_picture, stored[0].recognizability) == ("a.jpg", True, 1.0)
        assert gallery.picture(anna.face_ids[0]) == b"JPEG"
        assert gallery.picture(999) is None
        assert search(gallery, rows, match=0.0, candidates=2) == before
        assert before[1].candidates[0].face_id == anna.face_ids[1]  # the most recognizable
        assert gallery.verify("Bob", rows[3] * 7) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["mean", "recognizability"])
@pytest.mark.parametrize("indexed", [True, False])
def test_templates_are_those_of_the_evaluator_value_for_value(tmp_path, rng, kind, indexed):
    raw = 9 * rng.standard_normal((60, DIM)).astype(np.float32)
    people = np.repeat(np.arange(20), [1, 2, 3, 4, 5] * 4)[:60]
    indices = rng.standard_normal(60).astype(np.float32) if indexed else np.full(60, np.nan, np.float32)
    rows = unit_rows(raw).unit
    expected = gallery_templates(raw, people, kind if indexed else "mean", recognizability=indices)
    with create(tmp_path / "g.db", template=kind) as gallery:
        gallery.enrol("passing", faces_of_person(unit(rng, 2), [9.0, 8.0]))
        for person in rng.permutation(20):  # several enrolments, in any order
            mine = np.flatnonzero(people == person)
            for part in (mine[:2], mine[2:]):
                if len(part):
                    gallery.enrol(f"{person:02}", faces_of_person(rows[part], indices[part]))
        gallery.remove("passing")
        store = gallery._store
        np.testing.assert_array_equal([store.template(f"{p:02}") for p in range(20)], expected.embeddings)
    with Gallery.open(tmp_path / "g.db") as again:
        np.testing.assert_array_equal([again._store.template(f"{p:02}") for p in range(20)], expected.embeddings)


def test_three_kinds_of_answer_each_with_its_reason(tmp_path, rng):
    rows = unit(rng, 3)
    with create(tmp_path / "g.db") as gallery:
        empty = search(gallery, rows[:1])[0]
        gallery.enrol("Anna", faces_of_person(rows[:1]))
        queries = np.stack([rows[0], rows[1], rows[0], rows[0], np.full(DIM, np.nan, np.float32)])
        found = gallery.identify(
            queries,
            np.array([1.0, 1.0, 1.0, -1.0, np.nan]),
            np.array([0.9, 0.9, 0.2, 0.9, np.nan]),
            Rules(0.5, score=0.5, index=0.0),
        )
        assert [a.kind for a in found] == ["candidates", "unknown", *["not recognizable"] * 3]
        assert [c.person for c in found[0].candidates] == ["Anna"]
        assert "0.500" in found[1].reason
        assert found[1].nearest == pytest.approx(float(rows[0] @ rows[1]), abs=1e-6)
        assert "score 0.20 is below" in found[2].reason
        assert "recognizability -1.000 is below" in found[3].reason
        assert "could not be encoded" in found[4].reason
        assert empty.kind == "unknown"
        assert "empty" in empty.reason
        with pytest.raises(VlrfaceError, match="the model has none"):
            search(gallery, rows, score=0.5)
        with pytest.raises(VlrfaceError, match="model gives none"):
            search(gallery, rows, index=0.5)


def test_candidates_below_the_threshold_are_not_listed(tmp_path, rng):
    rows = unit(rng, 8)
    with create(tmp_path / "g.db") as gallery:
        for number, row in enumerate(rows):
            gallery.enrol(f"p{number}", faces_of_person(row[None]))
        answer = search(gallery, rows[:1], match=-1.0, candidates=8)[0]
        cosines = [c.cosine for c in answer.candidates]
        assert all(a >= b for a, b in pairwise(cosines))
        cut = search(gallery, rows[:1], match=cosines[3], candidates=8)[0]
        assert cut.candidates == answer.candidates[:4]  # at least the threshold: the fourth is listed


def test_duplicates_are_reported(tmp_path, rng):
    rows = unit(rng, 4)
    near = rows[0] + 0.05 * unit(rng, 1)[0]
    with create(tmp_path / "g.db") as gallery:
        first = gallery.enrol("Anna", faces_of_person(rows[:2]))
        assert not first.duplicates
        again = gallery.enrol("Anna", faces_of_person(rows[:3]))  # an enrolment that is repeated
        assert [(d.number, d.person, d.face_id, d.enrolled) for d in again.duplicates] == [
            (0, "Anna", first.face_ids[0], False),
            (1, "Anna", first.face_ids[1], False),
        ]
        assert len(again.face_ids) == 1
        other = gallery.enrol("Bob", faces_of_person(rows[1:2]))
        assert [(d.person, d.face_id, d.enrolled, d.cosine) for d in other.duplicates] == [
            ("Anna", first.face_ids[1], True, 1.0)
        ]
        gallery.enrol("Carl", faces_of_person(rows[3:4]))
        close = gallery.enrol("Dora", faces_of_person((rows[3] + 0.05 * unit(rng, 1)[0])[None]))
        assert [(d.person, d.face_id) for d in close.duplicates] == [("Carl", None)]
        assert close.duplicates[0].cosine > 0.99
        together = gallery.enrol_people(
            [("Eve", faces_of_person(rows[0:1])), ("Fay", faces_of_person(near[None]))], duplicate_at=0.95
        )
        assert {d.person for d in together[1].duplicates} == {"Eve"}
        assert gallery.counts == (6, 8)


def test_a_face_that_differs_in_the_last_digits_is_there_already(tmp_path, rng):
    """As another engine, or another batch, gives it."""
    rows = unit(rng, 3)
    other = (rows + 3e-7 * rng.standard_normal(rows.shape)).astype(np.float32)
    with create(tmp_path / "g.db") as gallery:
        first = gallery.enrol("Anna", faces_of_person(rows[:2]))
        again = gallery.enrol("Anna", faces_of_person(other[[1, 2]]))
        assert [(d.number, d.person, d.face_id, d.enrolled) for d in again.duplicates] == [
            (0, "Anna", first.face_ids[1], False)
        ]
        assert again.duplicates[0].cosine == pytest.approx(1)
        twice = gallery.enrol("Bob", faces_of_person(np.stack([rows[0], other[0]])), duplicate_at=None)
        assert [(d.number, d.person, d.enrolled) for d in twice.duplicates] == [(0, "Anna", True), (1, "Bob", False)]
        assert gallery.counts == (2, 4)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_file_name_that_is_no_text_is_kept_as_text(tmp_path, rng, key):
    with create(tmp_path / "g.db", key=key) as gallery:
        gallery.enrol("Anna", faces_of_person(unit(rng, 1), source="Zo\u00eb \udcff\udcfe.jpg"))
        assert [face.source for face in gallery.faces("Anna")] == ["Zo\u00eb \\udcff\\udcfe.jpg"]


@pytest.mark.parametrize("key", [None, KEY])
def test_removal_takes_the_bytes_out_of_all_files(tmp_path, rng, key):
    """Many people come and go in every order; after each removal nothing of the person is in any file."""
    path = tmp_path / "g.db"
    gone = 0
    with create(path, keep_pictures=True, key=key) as gallery:
        rows = {f"NAME-{i:04}-{'x' * int(rng.integers(0, 80))}": unit(rng, rng.integers(1, 6)) for i in range(100)}
        pictures = {name: rng.bytes(int(rng.integers(20, 30_000))) for name in rows}
        there: list[str] = []
        for name in rows:
            gallery.enrol(name, faces_of_person(rows[name], source=f"src-{name}", picture=pictures[name]))
            there.append(name)
            if rng.random() < 0.6:
                leaving = there.pop(int(rng.integers(len(there))))
                assert gallery.remove(leaving).erased
                gone += 1
                content = b"".join(each.read_bytes() for each in files_of(path) if each.exists())
                assert leaving.encode()[:9] not in content
                assert pictures[leaving][:16] not in content
                assert pictures[leaving][-16:] not in content
                for row in rows[leaving]:
                    assert row.tobytes()[:16] not in content
                    assert row.tobytes()[-16:] not in content
        content = b"".join(each.read_bytes() for each in files_of(path) if each.exists())
        assert gone > 45
        for name in there:  # what is looked for can be found: the search above proves something
            assert (name.encode()[:9] in content) == (key is None)
            assert (rows[name][0].tobytes()[:16] in content) == (key is None)
        size = path.stat().st_size
        for name in there:
            gallery.remove(name)
        assert path.stat().st_size < size / 4  # freed pages leave the file
        assert gallery.counts == (0, 0)


def test_embeddings_of_another_model_are_refused(tmp_path, rng):
    path = tmp_path / "g.db"
    create(path).close()
    with pytest.raises(VlrfaceError, match=r"space space-a .*the model gives space-b"):
        Gallery.open(path, space="space-b")
    with Gallery.open(path) as gallery:
        with pytest.raises(VlrfaceError, match="16 dimensions"):
            gallery.enrol("Anna", faces_of_person(unit(rng, 1, 16)))
        with pytest.raises(VlrfaceError, match="16 dimensions"):
            search(gallery, unit(rng, 1, 16))


def test_keys(tmp_path):
    path = tmp_path / "g.db"
    create(path, key=KEY).close()
    with pytest.raises(VlrfaceError, match="VLRFACE_GALLERY_KEY"):
        Gallery.open(path)
    with pytest.raises(VlrfaceError, match="another key"):
        Gallery.open(path, key=bytes(32))
    with pytest.raises(VlrfaceError, match="32 bytes"):
        Gallery.open(path, key=b"short")
    with Gallery.open(path, key=KEY) as gallery:
        assert gallery.info.encrypted
    assert path.stat().st_mode & 0o077 == 0  # for its owner alone


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(VlrfaceError, match=r"none\.db: no such gallery"):
        Gallery.open(tmp_path / "none.db")
    text = tmp_path / "text.db"
    text.write_bytes(b"hello " * 1000)
    with pytest.raises(VlrfaceError, match=r"text\.db: damaged, or not a gallery"):
        Gallery.open(text)
    with pytest.raises(VlrfaceError, match="there is a file already"):
        create(text)
    path = tmp_path / "g.db"
    create(path).close()
    content = bytearray(path.read_bytes())
    content[60:64] = (7).to_bytes(4, "big")  # user_version
    path.write_bytes(content)
    with pytest.raises(VlrfaceError, match="a gallery of version 7"):
        Gallery.open(path)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201, "\x00", "a/b", ".", ".."])
def test_names_that_are_none(tmp_path, rng, name):
    with create(tmp_path / "g.db") as gallery, pytest.raises(VlrfaceError, match="is no name"):
        gallery.enrol(name, faces_of_person(unit(rng, 1)))


def test_a_name_is_the_same_however_it_is_written(tmp_path, rng):
    rows, composed, taken_apart = unit(rng, 3), "Jos\u00e9", "Jose\u0301"
    with create(tmp_path / "g.db") as gallery:
        gallery.enrol(taken_apart, faces_of_person(rows[:1]))
        gallery.enrol(f" {composed} ", faces_of_person(rows[1:2]))
        assert [(each.name, each.faces) for each in gallery.people(containing=taken_apart.upper())] == [(composed, 2)]
        assert gallery.verify(taken_apart, rows[0]) == gallery.verify(composed, rows[0])
        assert len(gallery.faces(taken_apart)) == 2
        gallery.record("desk", "identify", person=taken_apart)
        assert gallery.audit(limit=1)[0].subject == f"person {gallery.person(composed).number}"
        assert gallery.remove(taken_apart).faces == 2
        assert gallery.counts == (0, 0)


def test_a_name_of_an_older_file_is_composed_when_it_is_read(tmp_path, rng, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr("vlrface.gallery.gallery.check_name", str)
        with create(tmp_path / "g.db") as gallery:
            gallery.enrol("Jose\u0301", faces_of_person(unit(rng, 2)))
    with Gallery.open(tmp_path / "g.db") as gallery:
        assert [each.name for each in gallery.people()] == ["Jos\u00e9"]
        assert gallery.remove("Jos\u00e9").faces == 2


@pytest.mark.parametrize("kind", ["mean", "recognizability"])
def test_a_person_whose_faces_cancel_can_be_searched_and_removed(tmp_path, rng, kind):
    (face, other), path = unit(rng, 2), tmp_path / "g.db"
    with create(path, template=kind) as gallery:
        gallery.enrol("Anna", faces_of_person(np.stack([face, -face])))
        gallery.enrol("Bob", faces_of_person(other[None]))
        for _ in range(2):
            assert search(gallery, face[None])[0].candidates[0].person == "Anna"
    with Gallery.open(path) as gallery:
        assert gallery.verify("Anna", face) == pytest.approx(1.0)  # by the oldest face
        assert gallery.remove("Anna").faces == 2
        assert gallery.counts == (1, 1)


def test_bad_faces_are_refused_and_nothing_is_stored(tmp_path, rng):
    rows = unit(rng, 2)
    with create(tmp_path / "g.db") as gallery:
        for bad in (np.zeros(DIM), np.full(DIM, np.nan), np.full(DIM, np.inf)):
            with pytest.raises(VlrfaceError):
                gallery.enrol_people([("Anna", faces_of_person(rows)), ("Bob", faces_of_person(bad[None]))])
        with pytest.raises(VlrfaceError, match="no faces"):
            gallery.enrol("Anna", [])
        with pytest.raises(VlrfaceError, match="twice"):
            gallery.enrol_people([("Anna", faces_of_person(rows)), ("Anna", faces_of_person(rows))])
        assert gallery.counts == (0, 0)
        for call in (gallery.remove, gallery.faces, lambda who: gallery.verify(who, rows[0])):
            with pytest.raises(VlrfaceError, match="'Anna' is not in the gallery"):
                call("Anna")


def test_the_audit_names_people_by_number(tmp_path, rng):
    with create(tmp_path / "g.db") as gallery:
        gallery.enrol("Anna", faces_of_person(unit(rng, 2)), actor="desk")
        number = gallery.people()[0].number
        gallery.record("camera", "identify", person="Anna", outcome="1 candidates")
        gallery.record("camera", "identify", person="Nobody", outcome="unknown")
        gallery.remove("Anna", actor="chief")
        entries = [(e.actor, e.action, e.subject, e.outcome) for e in gallery.audit()]
    assert entries == [
        ("chief", "remove", f"person {number}", "2 faces"),
        ("camera", "identify", "", "unknown"),
        ("camera", "identify", f"person {number}", "1 candidates"),
        ("desk", "enrol", f"person {number}", "2 faces"),
    ]


def test_a_second_connection_sees_every_change(tmp_path, rng):
    rows = unit(rng, 4)
    with create(tmp_path / "g.db") as first, Gallery.open(tmp_path / "g.db") as second:
        first.enrol("Anna", faces_of_person(rows[:1]))
        assert search(second, rows[:1])[0].candidates[0].person == "Anna"
        second.enrol("Anna", faces_of_person(rows[1:2]))
        second.enrol("Bob", faces_of_person(rows[2:3]))
        assert [(p.name, p.faces) for p in first.people()] == [("Anna", 2), ("Bob", 1)]
        first.remove("Anna")
        assert search(second, rows[:1])[0].kind == "unknown"
        second.enrol("Anna", faces_of_person(rows[3:]))  # another one of this name
        assert first.counts == (2, 2)


def test_read_only_answers_and_refuses_changes(tmp_path, rng):
    rows = unit(rng, 1)
    with create(tmp_path / "g.db") as gallery:
        gallery.enrol("Anna", faces_of_person(rows))
        with Gallery.open(tmp_path / "g.db", read_only=True) as reader:
            assert search(reader, rows)[0].kind == "candidates"
            with pytest.raises(VlrfaceError, match="reading only"):
                reader.remove("Anna")


def test_export_is_a_faces_file(tmp_path, rng):
    rows = unit(rng, 3)
    with create(tmp_path / "g.db") as gallery:
        gallery.export(tmp_path / "empty.npz")
        gallery.enrol("Bob", faces_of_person(rows[:1], [4.0]))
        gallery.enrol("Anna", faces_of_person(rows[1:]))
        gallery.export(tmp_path / "g.npz")
        numbers = {p.name: p.number for p in gallery.people()}
    faces = Faces.load(tmp_path / "g.npz")
    assert list(faces.identities) == [numbers["Anna"]] * 2 + [numbers["Bob"]]
    np.testing.assert_array_equal(faces.embeddings, rows[[1, 2, 0]])
    assert faces.names[2].startswith("Bob/")
    assert len(Faces.load(tmp_path / "empty.npz")) == 0


def test_threads_enrol_search_and_remove_at_once(tmp_path, rng):
    rows = unit(rng, 120)
    errors: list[BaseException] = []
    with create(tmp_path / "g.db") as gallery:

        def work(part):
            try:
                for number in part:
                    gallery.enrol(f"p{number}", faces_of_person(rows[number : number + 1]), duplicate_at=None)
                    assert search(gallery, rows[number : number + 1])[0].candidates[0].person == f"p{number}"
                    if number % 3 == 0:
                        gallery.remove(f"p{number}")
                        assert search(gallery, rows[number : number + 1], match=0.999)[0].kind == "unknown"
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(range(i, 120, 4),)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert [p.name for p in gallery.people(limit=200)] == sorted(f"p{i}" for i in range(120) if i % 3)
        with Gallery.open(tmp_path / "g.db") as again:
            assert repr(again.people(limit=200)) == repr(gallery.people(limit=200))


def test_no_torch_is_needed(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['safetensors.torch'] = None; "
        "sys.modules['matplotlib'] = None; from vlrface.gallery import Gallery; from pathlib import Path; "
        f"Gallery.create(Path({str(tmp_path / 'g.db')!r}), space='s', dim=4).close()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert Path(tmp_path / "g.db").is_file()
