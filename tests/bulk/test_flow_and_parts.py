"""The flow keeps the order and bounds its memory; parts are whole, and of the items they say."""

import gc
import itertools
import threading

import numpy as np
import pytest

from vlrface.bulk import Job, list_items, look_at, open_parts
from vlrface.bulk.flow import _Seen
from vlrface.bulk.parts import parquet_table
from vlrface.types import VlrfaceError


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_rows_keep_the_order_of_items(batch_size, model, folder):
    found = list(look_at(list_items([str(folder)]), model, batch_size=batch_size, threads=3))
    assert [item.key for item, _ in found] == [item.key for item in list_items([str(folder)])]
    rows = [row for _, each in found for row in each]
    assert [row.recognizability for row in rows if not row.reason] == [0, 1, 2, 3, 4, 5]
    broken = rows[5]
    assert broken.verdict == "failed"
    assert "broken.png" not in broken.reason
    assert np.isnan(broken.embedding).all()
    assert {row.side for row in rows if not row.reason} == {12}
    np.testing.assert_allclose([np.linalg.norm(row.embedding) for row in rows if not row.reason], 1, rtol=1e-6)
    assert model.encoder.batches == [max(1, n) for n in model.encoder.batches]


def test_faces_of_whole_pictures_are_numbered(model, folder):
    def find(crop):
        number = int(crop[0, 0, 0])
        return [crop[:4, :4]] * (number % 3)

    rows = [row for _, each in look_at(list_items([str(folder)]), model, find=find) for row in each]
    names = [row.key.removeprefix(f"{folder}/") for row in rows]
    assert names == ["0.png", "1.png", "b/2.png", "b/2.png@2", "b/3.png", "b/4.png", "b/broken.png", "z.png", "z.png@2"]
    assert [row.reason for row in rows if "0.png" in row.key] == ["no face was found"]
    assert {row.side for row in rows} == {0, 4}


def test_few_pictures_are_ahead_however_many_there_are(model, folder):
    (one,) = list_items([str(folder / "1.png")])
    asked = itertools.count()

    def items():
        while next(asked) >= 0:
            yield one

    flow = look_at(items(), model, batch_size=4)
    for _ in range(50):
        next(flow)
    assert next(asked) < 50 + 8 * 4
    flow.close()
    assert threading.active_count() < 20


def test_what_is_read_and_not_decoded_is_bounded_in_bytes(model, shard, monkeypatch):
    monkeypatch.setattr("vlrface.bulk.flow._MOST_BYTES", 1)
    one = next(list_items([str(shard)]))
    asked = []
    go = threading.Event()

    def items():
        for number in range(40):
            asked.append(number)
            if number == 10:  # so many would have been asked for, were nothing waited for
                go.set()
            yield one

    def find(picture):
        go.wait(0.2)
        seen.append(len(asked))
        go.set()
        return [picture]

    seen = []
    assert len(list(look_at(items(), model, threads=2, find=find))) == 40
    assert seen[0] <= 2 + 2  # two are held, and one more is asked for


def test_what_is_decoded_is_held_only_until_it_is_given(model, shard):
    one = next(list_items([str(shard)]))
    held = []
    for number, _ in enumerate(look_at(itertools.repeat(one, 600), model, batch_size=4)):
        if number % 100 == 99:
            held.append(sum(type(each) is _Seen for each in gc.get_objects()))
    assert max(held) < 50  # four batches ahead and two in hand


@pytest.mark.parametrize("form", ["npz", "parquet"])
@pytest.mark.parametrize("columns", ["scores", "embeddings"])
def test_parts_come_back(form, columns, model, folder, tmp_path):
    found = list(look_at(list_items([str(folder)]), model))
    parts = open_parts(tmp_path / "parts", Job({"model": "m"}, columns, 4), form)
    for number, chunk in enumerate((found[:4], found[4:])):
        parts.write(number, [item for item, _ in chunk], [row for _, each in chunk for row in each])
    again = open_parts(tmp_path / "parts", Job({"model": "m"}, columns, 4), form)
    assert again.count() == 2
    again.check(0, [item for item, _ in found[:4]])
    tables = list(again.read())
    assert [len(table) for table in tables] == [4, 3]
    names = [name for table in tables for name in table.texts["path"]]
    assert names == [item.key for item, _ in found]
    index = np.concatenate([table.numbers["recognizability"] for table in tables])
    np.testing.assert_array_equal(index, [row.recognizability for _, each in found for row in each])
    for table in tables:
        assert (table.embeddings is None) == (columns == "scores")
        assert parquet_table(table).num_rows == len(table)
    parts.remove()
    assert not (tmp_path / "parts").exists()


def test_parts_of_other_work_are_refused(model, folder, tmp_path):
    items = list(list_items([str(folder)]))
    parts = open_parts(tmp_path / "parts", Job({"model": "m"}), "npz")
    parts.write(0, items, [row for _, each in look_at(iter(items), model) for row in each])
    with pytest.raises(VlrfaceError, match=r"another job \(model was 'm', is 'n'\).*--restart"):
        open_parts(tmp_path / "parts", Job({"model": "n"}), "npz")
    with pytest.raises(VlrfaceError, match="made of other pictures"):
        parts.check(0, items[1:])
    parts.path(0).write_bytes(parts.path(0).read_bytes()[:100])
    with pytest.raises(VlrfaceError, match=r"part-00000\.npz: damaged"):
        list(parts.read())
    fresh = open_parts(tmp_path / "parts", Job({"model": "n"}), "npz", restart=True)
    assert fresh.count() == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(VlrfaceError, match="holds other things"):
        open_parts(tmp_path / "full", Job({}), "npz")


def written(folder, model, items, numbers, form="parquet"):
    """Parts of two items each."""
    parts = open_parts(folder, Job({"model": "m"}, part_items=2), form)
    for number in numbers:
        its = items[2 * number : 2 * number + 2]
        parts.write(number, its, [row for _, each in look_at(iter(its), model) for row in each])
    return parts


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_parts_behind_a_gap_are_there_only_if_they_fit(form, model, folder, tmp_path):
    items = list(list_items([str(folder)]))
    parts = written(tmp_path / "parts", model, items, (0, 2, 3), form)
    assert parts.count() == 1
    left = [(number, its, there) for number, its, there in parts.missing(iter(items[2:]), 1)]
    assert left == [(1, items[2:4], False), (2, items[4:6], True), (3, items[6:], True)]
    parts.path(3).write_bytes(parts.path(3).read_bytes()[:50])
    fewer = items[:3] + items[4:]  # all behind it move up
    assert [there for *_, there in parts.missing(iter(fewer[2:]), 1)] == [False, False]
    assert not parts.path(3).exists()  # nothing lies there any more
    assert parts.path(2).exists()
