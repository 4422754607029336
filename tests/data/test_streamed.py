"""Pictures that stay in their files: the same pixels, orders and errors, whoever draws them."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.experiment.streams import break_picture, jpeg, sample, write_rec, write_shard

from vlrface.data import streamed
from vlrface.data.batches import Batch, Batches, OnBroken, Part, SampleError
from vlrface.data.cache import Pictures, cached_crops
from vlrface.data.order import Shuffle
from vlrface.data.recordio import read_records
from vlrface.data.shards import stream_shards
from vlrface.data.stream_index import kept_array, mapped
from vlrface.data.streamed import StreamedCrops, stream_records
from vlrface.images.decode import DecodeError
from vlrface.images.framing import Framing, RandomFraming
from vlrface.types import VlrfaceError

SIDE = 8
FRAMED = RandomFraming(Framing(window=0.9), SIDE, SIDE)
PEOPLE = [[jpeg(10 * person + i, 24 + 4 * i) for i in range(count)] for person, count in enumerate((3, 1, 4, 2))]
LABELS = [0, 0, 0, 1, 2, 2, 2, 2, 3, 3]


def records(folder: Path) -> StreamedCrops:
    return stream_records(write_rec(folder / "faces.rec", PEOPLE), folder / "cache")


def tars(folder: Path) -> StreamedCrops:
    pictures = [(label, data) for label, pictures in enumerate(PEOPLE) for data in pictures]
    samples = [(f"{i:04}", {"jpg": data, "cls": str(label).encode()}) for i, (label, data) in enumerate(pictures)]
    write_shard(folder / "a.tar", samples[:4])
    write_shard(folder / "b.tar", samples[4:])
    return stream_shards("{a,b}.tar", folder, folder / "cache")


def part(crops: StreamedCrops, cache: Path, on_broken: OnBroken = "stop", copies: float = 1.0) -> Part:
    file = kept_array(crops.persons, cache, "classes")
    return Part(crops.kept(cache), mapped(file), FRAMED, copies, on_broken, file)


def equal(a: Batch, b: Batch) -> bool:
    same = all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("images", "labels", "parts", "rows"))
    return same and a.broken == b.broken


def test_records_are_what_the_cache_holds(tmp_path: Path) -> None:
    large = [[jpeg(1, 400, 300)], *PEOPLE]  # shrunk alike
    rec = write_rec(tmp_path / "faces.rec", large)
    crops = stream_records(rec, tmp_path / "cache")
    assert isinstance(crops, Pictures)
    manifest = read_records(rec)
    kept = cached_crops(manifest, tmp_path / "cache", progress=False)
    assert crops.identities.tolist() == manifest.identities.tolist()
    assert [name.decode() for name in crops.names.tolist()] == manifest.sources.tolist()
    assert len(crops) == len(kept) == 11
    for row in range(len(kept)):
        np.testing.assert_array_equal(crops[row], kept[row])
        assert not crops[row].flags.writeable
    some = crops.rows(np.array([7, 2])).rows(np.array([True, False]))
    np.testing.assert_array_equal(some[0], kept[7])
    assert some.manifest().sources.tolist() == ["8"]
    again = cached_crops(some.manifest(), tmp_path / "cache", progress=False)
    np.testing.assert_array_equal(again[0], kept[7])
    with pytest.raises(VlrfaceError, match="no picture '1' among 1"):
        some.manifest().archive.read("1")  # type: ignore[union-attr]


def test_names_of_a_list_are_those_of_records(tmp_path: Path) -> None:
    rec = write_rec(tmp_path / "faces.rec", PEOPLE[:2], ["a/ä.jpg", "a/1.jpg", "a/2.jpg", "b/0.jpg"])
    crops = stream_records(rec, tmp_path / "cache")
    assert crops.names.tolist() == ["a/ä.jpg".encode(), b"a/1.jpg", b"a/2.jpg", b"b/0.jpg"]
    assert crops.identities.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("made", [records, tars])
def test_the_index_is_made_once_and_again_after_a_change(made: Any, tmp_path: Path, monkeypatch: Any) -> None:
    first = made(tmp_path)
    assert first.identities.tolist() == LABELS
    opened: list[str] = []
    original = streamed.indexed

    def seen(cache: Path, root: Path, kind: Any, files: Any, beside: Any, describe: Any) -> Any:
        def told() -> Any:
            opened.append(kind)
            return describe()

        return original(cache, root, kind, files, beside, told)

    monkeypatch.setattr("vlrface.data.streamed.indexed", seen)
    monkeypatch.setattr("vlrface.data.shards.indexed", seen)

    def again() -> StreamedCrops:
        if made is records:
            return stream_records(tmp_path / "faces.rec", tmp_path / "cache")
        return stream_shards("{a,b}.tar", tmp_path, tmp_path / "cache")

    assert again().fingerprint() == first.fingerprint()
    assert opened == []
    file = tmp_path / ("faces.idx" if made is records else "b.tar")
    os.utime(file, ns=(1, 1))
    assert again().fingerprint() != first.fingerprint()
    assert len(opened) == 1
    (tmp_path / "cache").joinpath(again().index.folder, "offsets.npy").write_bytes(b"\x93NUMPY")
    with pytest.warns(UserWarning, match=r"index-.*damaged index \(.*\); it is made again"):
        assert again().identities.tolist() == LABELS
    assert len(opened) == 2
    persons = again().index.folder / "persons.npy"
    persons.write_bytes(persons.read_bytes()[:-1] + b"\1")
    with pytest.warns(UserWarning, match="the checksum of persons is another"):
        assert again().identities.tolist() == LABELS
    sent = pickle.dumps(first)
    (first.index.folder / "card.json").unlink()
    with pytest.raises(VlrfaceError, match=r"index-.*gone or damaged"):
        pickle.loads(sent)


@pytest.mark.parametrize("made", [records, tars])
def test_workers_get_paths_and_make_the_same_batches(made: Any, tmp_path: Path) -> None:
    whole = made(tmp_path)
    crops = whole.rows(np.arange(1, 10))
    sent = pickle.dumps(part(crops, tmp_path / "cache"))
    many = whole.rows(np.tile(np.arange(10), 20_000))
    assert abs(len(pickle.dumps(part(many, tmp_path / "cache"))) - len(sent)) < 100
    got = pickle.loads(sent)
    np.testing.assert_array_equal(got.labels, LABELS[1:])
    np.testing.assert_array_equal(got.crops[3], crops[3])
    for shuffle in (Shuffle(), Shuffle("block", 2, 2)):
        source = part(crops, tmp_path / "cache", copies=1.7)
        alone = Batches([source], 3, SIDE, SIDE, 3, 0, shuffle=shuffle)
        expected = list(alone.epoch(1))
        assert len(expected) == 5
        assert sorted(np.concatenate([b.rows for b in expected]).tolist()) != sorted(range(9))
        helped = Batches([source], 3, SIDE, SIDE, 3, 2, shuffle=shuffle)
        assert all(equal(a, b) for a, b in zip(expected, helped.epoch(1), strict=True))
        assert all(equal(a, b) for a, b in zip(expected[2:], helped.epoch(1, 2), strict=True))
        assert all(equal(a, b) for a, b in zip(expected[4:], alone.epoch(1, 4), strict=True))


@pytest.mark.parametrize("made", [records, tars])
def test_a_broken_picture_stops_or_is_skipped(made: Any, tmp_path: Path) -> None:
    crops = made(tmp_path)
    file, key = (tmp_path / "faces.rec", "6") if made is records else (tmp_path / "b.tar", "0005")
    place = int(crops.index.offsets[5])
    break_picture(file, place)
    named = rf"{file}: {key} at byte {place}: "
    with pytest.raises(DecodeError, match=named):
        crops[5]
    with pytest.raises(SampleError, match=rf"{named}.*on_broken=\"skip\""):
        list(Batches([part(crops, tmp_path)], 5, SIDE, SIDE, 0).epoch(0))
    skipping = [part(crops, tmp_path, "skip")]
    whole = list(Batches(skipping, 5, SIDE, SIDE, 0, 0, shuffle=Shuffle()).epoch(0))
    told = [text for batch in whole for text in batch.broken]
    assert len(told) == 1
    assert told[0].startswith(f"{file}: {key} at byte {place}: ")
    rows = np.concatenate([batch.rows for batch in whole])
    assert 5 not in rows
    assert len(rows) == 10
    # Label, row and picture are those of the one that was taken instead.
    for batch in whole:
        assert batch.labels.tolist() == [LABELS[row] for row in batch.rows]
    helped = Batches(skipping, 5, SIDE, SIDE, 0, 1, shuffle=Shuffle()).epoch(0)
    assert all(equal(a, b) for a, b in zip(whole, helped, strict=True))


def test_nothing_but_broken_pictures_ends_the_search(tmp_path: Path) -> None:
    rec = write_rec(tmp_path / "faces.rec", [[b"no picture", b"nor this"], [b"either"]])
    crops = stream_records(rec, tmp_path / "cache")
    with pytest.raises(SampleError, match="100 pictures drawn in its place are broken too"):
        list(Batches([part(crops, tmp_path, "skip")], 3, SIDE, SIDE, 0).epoch(0))


def test_a_file_that_changes_during_a_run_is_refused(tmp_path: Path) -> None:
    crops = tars(tmp_path)
    assert crops[0].shape == (24, 20, 3)
    with (tmp_path / "a.tar").open("ab") as file:
        file.write(bytes(512))
    with pytest.raises(VlrfaceError, match=r"a\.tar: changed since it was opened"):
        crops[1]
    assert crops[5].shape == (28, 20, 3)


def test_more_files_than_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5):
        write_shard(tmp_path / f"{i}.tar", [(str(i), sample(i, i))])
    crops = stream_shards("?.tar", tmp_path, tmp_path / "cache")
    monkeypatch.setattr(crops.index._open, "_limit", 2)
    for row in (0, 1, 2, 3, 4, 0, 3, 3):
        np.testing.assert_array_equal(crops[row], stream_shards("?.tar", tmp_path, tmp_path / "cache")[row])
        assert len(crops.index._open._files) <= 2


def test_blocks_are_read_ahead_window_by_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        samples = [(f"{i:03}", sample(i % 7, i)) for i in range(30)]
        write_shard(tmp_path / f"{number}.tar", samples)
    crops = stream_shards("?.tar", tmp_path, tmp_path / "cache")
    asked: list[list[int]] = []
    original = StreamedCrops.will_need
    monkeypatch.setattr(
        StreamedCrops, "will_need", lambda self, rows: (asked.append(rows.tolist()), original(self, rows))[0]
    )
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr("os.posix_fadvise", lambda _, begin, length, __: calls.append((begin, length)))
    monkeypatch.setattr("vlrface.data.order._AHEAD", 4)
    batches = Batches([part(crops, tmp_path / "cache")], 4, SIDE, SIDE, 0, 0, shuffle=Shuffle("block", 5, 4))
    drawn = [batch.rows.tolist() for batch in batches.epoch(0)]
    assert len(drawn) == 15
    assert [len(rows) for rows in asked] == [20, 20, 20]
    assert sorted(row for rows in asked for row in rows) == list(range(60))
    for number in range(3):
        assert sorted(row for rows in drawn[5 * number : 5 * number + 5] for row in rows) == sorted(asked[number])
    assert len(calls) == 6  # what lies within a MiB is read in one go: once per window and file
    assert all(length > 0 for _, length in calls)
    crops.will_need(np.zeros(0, np.int64))  # a window may have nothing of a part
    assert len(calls) == 6
    asked.clear()
    assert next(iter(batches.epoch(0, 11))).rows.tolist() == drawn[11]
    assert [len(rows) for rows in asked] == [20]  # nothing of windows that are over
