import base64
import contextlib
import json
import os
import pickle
import random
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlrface.data import recordio
from vlrface.data.cache import cached_crops
from vlrface.data.manifest import Archive, Manifest
from vlrface.data.recordio import RecordArchive, read_records
from vlrface.images.decode import DecodeError, encode_png
from vlrface.types import UNKNOWN_IDENTITY, VlrfaceError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "data_recordio.json").read_text())
MAGIC = struct.pack("<I", 0xCED7230A)


def packed(labels: float | Sequence[float], picture: bytes, key: int = 0) -> bytes:
    """The bytes of an image record."""
    if isinstance(labels, (int, float)):
        return struct.pack("<IfQQ", 0, labels, key, 0) + picture
    return struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0, key, 0, *labels) + picture


def record(data: bytes) -> bytes:
    """One record, cut where the magic number stands at a multiple of four bytes."""
    cuts = [at for at in range(0, len(data) // 4 * 4, 4) if data[at : at + 4] == MAGIC]
    begins = [0, *(at + 4 for at in cuts)]
    result = b""
    for i, (begin, end) in enumerate(zip(begins, [*cuts, len(data)], strict=True)):
        kind = 0 if not cuts else 1 if i == 0 else 3 if i == len(cuts) else 2
        part = data[begin:end]
        result += MAGIC + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
    return result


def written(rec: Path, records: Iterable[tuple[int, bytes]]) -> Path:
    """A .rec file and its index."""
    data, index = b"", ""
    for key, value in records:
        index += f"{key}\t{len(data)}\n"
        data += record(value)
    rec.write_bytes(data)
    rec.with_suffix(".idx").write_text(index)
    return rec


def insightface(people: Sequence[Sequence[bytes]], labels: Sequence[float] | None = None) -> list[tuple[int, bytes]]:
    """Records as insightface writes them: pictures from 1 on, record 0 behind them, then one record per person."""
    records: list[tuple[int, bytes]] = []
    runs: list[tuple[int, int]] = []
    key = 1
    for number, pictures in enumerate(people):
        runs.append((key, key + len(pictures)))
        for picture in pictures:
            records.append((key, packed([labels[number] if labels else number, 1.0], picture, key)))
            key += 1
    records.append((0, packed([key, key + len(people)], b"")))
    return records + [(key + i, packed(run, b"", key + i)) for i, run in enumerate(runs)]


PEOPLE = [[b"a0", b"a1", b"a2"], [b"b0"], [b"c0", b"c1"]]


@pytest.mark.parametrize("name", ["insightface", "plain"])
@pytest.mark.parametrize("index", [True, False])
def test_golden_files_of_mxnet(name: str, index: bool, tmp_path: Path) -> None:
    """Files written by MXNet's own code; among their pictures are some that hold the magic number."""
    golden = GOLDEN["sets"][name]
    rec = tmp_path / "train.rec"
    rec.write_bytes(base64.b64decode(golden["rec_base64"]))
    if index:
        rec.with_suffix(".idx").write_text(golden["idx"])
    m = read_records(rec)
    assert m.sources.tolist() == list(golden["pictures"])
    assert dict(zip(m.sources.tolist(), m.identities.tolist(), strict=True)) == golden["identities"]
    assert m.archive is not None
    for key, picture in golden["pictures"].items():
        assert m.archive.read(key) == base64.b64decode(picture)


def test_the_writer_of_these_tests_writes_the_golden_file(tmp_path: Path) -> None:
    golden = GOLDEN["sets"]["insightface"]
    labels = {1: [0, 1], 2: [0, 1], 3: [7, 1], 4: [7, 0], 5: [7, 1], 6: [3, 1]}
    records = [(k, packed(v, base64.b64decode(golden["pictures"][str(k)]), k)) for k, v in labels.items()]
    records += [(0, packed([7, 10], b""))]
    records += [(7 + i, packed(run, b"", 7 + i)) for i, run in enumerate([(1, 3), (3, 6), (6, 7)])]
    rec = written(tmp_path / "x.rec", records)
    assert rec.read_bytes() == base64.b64decode(golden["rec_base64"])
    assert rec.with_suffix(".idx").read_text() == golden["idx"]


def test_insightface_set(tmp_path: Path) -> None:
    m = read_records(written(tmp_path / "train.rec", insightface(PEOPLE)))
    assert m.sources.tolist() == ["1", "2", "3", "4", "5", "6"]
    assert m.identities.tolist() == [0, 0, 0, 1, 2, 2]
    assert set(m.splits.tolist()) == {"train"}
    assert m.root is None
    assert isinstance(m.archive, Archive)
    assert m.archive.path == tmp_path / "train.rec"
    assert [m.archive.read(s) for s in m.sources.tolist()] == [p for person in PEOPLE for p in person]


def test_labels_count_not_the_order_of_persons(tmp_path: Path) -> None:
    """A list that comes back to a person makes two runs of that person."""
    m = read_records(written(tmp_path / "train.rec", insightface(PEOPLE, labels=[5, 9, 5])))
    assert m.identities.tolist() == [5, 5, 5, 9, 5, 5]


def test_only_edges_of_runs_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = [[b"x"] * 50 for _ in range(20)]
    rec = written(tmp_path / "train.rec", insightface(people))
    looked = 0
    original = recordio._Reader.heads

    def heads(self: Any, offsets: np.ndarray) -> np.ndarray:
        nonlocal looked
        looked += len(offsets)
        return original(self, offsets)

    monkeypatch.setattr(recordio._Reader, "heads", heads)
    m = read_records(rec)
    assert looked == 1 + 20 + 2 * 20
    assert m.identities.tolist() == [i for i in range(20) for _ in range(50)]


@pytest.mark.parametrize("change", ["label", "gap", "overlap", "no run", "large"])
def test_runs_that_do_not_fit_are_not_believed(change: str, tmp_path: Path) -> None:
    """Then every record is looked at, and the labels say who is who."""
    records = dict(insightface(PEOPLE))
    expected = [0, 0, 0, 1, 2, 2]
    if change == "label":
        records[3], expected[2] = packed([8, 1], b"a2", 3), 8
    elif change == "gap":
        records[8] = packed([5, 5], b"")
    elif change == "overlap":
        records[8] = packed([3, 5], b"")
    elif change == "no run":
        del records[9]
    else:
        records[0] = packed([2**24 + 2, 2**24 + 5], b"")
    m = read_records(written(tmp_path / "train.rec", records.items()))
    assert m.identities.tolist() == expected
    assert m.sources.tolist() == ["1", "2", "3", "4", "5", "6"]


def test_plain_records_in_any_order(tmp_path: Path) -> None:
    records = [(7, packed(3, b"p")), (2, packed([4, 9, 9], b"q")), (30, packed([5], MAGIC)), (4, packed(3, b""))]
    m = read_records(written(tmp_path / "x.rec", records))
    assert m.sources.tolist() == ["7", "2", "30", "4"]
    assert m.identities.tolist() == [3, 4, 5, 3]
    assert m.archive is not None
    assert [m.archive.read(s) for s in m.sources.tolist()] == [b"p", b"q", MAGIC, b""]


def test_magic_number_in_the_head_of_a_record(tmp_path: Path) -> None:
    """Its parts are then joined before the label is read."""
    key = int.from_bytes(MAGIC, "little")
    label = struct.unpack("<f", MAGIC)[0]  # a negative number, no person
    rec = written(tmp_path / "x.rec", [(1, packed(6, b"one", key)), (2, packed([7, label], b"two", 2))])
    m = read_records(rec)
    assert m.identities.tolist() == [6, 7]
    assert m.archive is not None
    assert m.archive.read("1") == b"one"
    with pytest.raises(VlrfaceError, match=r"record 3 has label -1804698880\.0, no whole number"):
        read_records(written(tmp_path / "y.rec", [(3, packed(label, b"three", 3))]))


def test_pictures_decode_and_cache(tmp_path: Path) -> None:
    pictures = [np.full((6, 5 + i, 3), 40 * i, np.uint8) for i in range(3)]
    records = [(i, packed(i, encode_png(picture), i)) for i, picture in enumerate(pictures)]
    rec = written(tmp_path / "x.rec", [*records, (3, packed(1, b"no picture"))])
    m = read_records(rec)
    np.testing.assert_array_equal(m.picture(2), pictures[2])
    crops = cached_crops(m, tmp_path / "cache", progress=False)
    np.testing.assert_array_equal(crops[1], pictures[1])
    assert crops.failures[3].startswith("not a picture in a known format")
    with pytest.raises(DecodeError, match=r"x\.rec: 3: not a picture"):
        m.picture(3)


def test_archive_travels_to_other_processes(tmp_path: Path) -> None:
    m = read_records(written(tmp_path / "x.rec", insightface(PEOPLE)))
    again: Manifest = pickle.loads(pickle.dumps(m))
    assert again.archive is not None
    assert again.archive.read("6") == b"c1"
    assert again.fingerprint() == m.fingerprint()


@pytest.mark.parametrize("source", ["0", "7", "01", "-1", "1.0", "", "١", "1" * 30, "../x"])
def test_archive_knows_only_its_pictures(source: str, tmp_path: Path) -> None:
    m = read_records(written(tmp_path / "x.rec", insightface(PEOPLE)))
    assert m.archive is not None
    with pytest.raises(VlrfaceError, match=r"x\.rec: no picture '.*' among 6"):
        m.archive.read(source)


def test_archive_that_changed(tmp_path: Path) -> None:
    rec = written(tmp_path / "x.rec", insightface(PEOPLE))
    m = read_records(rec)
    assert m.archive is not None
    os.utime(rec, ns=(1, 1))
    with pytest.raises(VlrfaceError, match="changed since it was opened"):
        m.archive.read("1")
    rec.unlink()
    with pytest.raises(VlrfaceError, match="cannot be read"):
        m.archive.read("1")


def test_names_of_im2rec(tmp_path: Path) -> None:
    rec = written(tmp_path / "x.rec", [(3, packed([1, 2], b"p", 3)), (1, packed(0, b"q", 1))])
    rec.with_suffix(".lst").write_text("1\t0.000000\tann/1 é.jpg\n2\t5\tgone.jpg\n3\t1.0\t2.0\tbob/./2.jpg\n")
    m = read_records(rec)
    assert m.sources.tolist() == ["bob/2.jpg", "ann/1 é.jpg"]
    assert m.archive is not None
    assert [m.archive.read(s) for s in m.sources.tolist()] == [b"p", b"q"]
    for other in ("3", "gone.jpg", "a", "zzz" * 100):
        with pytest.raises(VlrfaceError, match="no picture"):
            m.archive.read(other)


@pytest.mark.parametrize(
    "text", ["1\tann/1.jpg\t0\n", "1 0 a.jpg\n", "x\t0\ta.jpg\n", "1\t0\n", "1\t0\t\udcff.jpg\n", "1\t0\ta"]
)
def test_lists_in_another_format_are_not_looked_at(text: str, tmp_path: Path) -> None:
    rec = written(tmp_path / "x.rec", [(1, packed(0, b"q", 1))])
    rec.with_suffix(".lst").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_records(rec).sources.tolist() == ["1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2\t0\ta.jpg\n", r"no line for 1 of 1 records, first 1"),
        ("1\t0\t../../x.jpg\n", r"x\.lst: line 1: '\.\./\.\./x\.jpg' points outside its root"),
        ("2\t0\ta.jpg\n1\t0\t/etc/hostname\n", r"line 2: '/etc/hostname' points outside"),
    ],
)
def test_bad_names(text: str, message: str, tmp_path: Path) -> None:
    rec = written(tmp_path / "x.rec", [(1, packed(0, b"q", 1))])
    rec.with_suffix(".lst").write_text(text)
    with pytest.raises(VlrfaceError, match=message):
        read_records(rec)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("", "the index is empty"),
        ("1\t0\n1\t40\n", "key 1 comes more than once"),
        ("1\t0\nx\t40\n", "line 2: not a key and a place"),
        ("1\t0\n\n2\t40\n", "line 2: not a key and a place"),
        ("1\t0\n2\t-4\n", "line 2"),
        ("1\t0\t5\n", "line 1"),
        ("1\n0\n", "line 1"),
        (f"1\t{2**63}\n", "line 1"),
        ("1\t4\n", "record 1 is damaged, or the .idx file is of another .rec file"),
        ("1\t0\n2\t4000\n3\t8000\n", r"2 of 3 records lie beyond its end, first 2\. Copy the whole file, or allow"),
    ],
)
def test_bad_indexes(index: str, message: str, tmp_path: Path) -> None:
    rec = written(tmp_path / "x.rec", [(1, packed(0, b"q" * 40, 1))])
    rec.with_suffix(".idx").write_text(index)
    with pytest.raises(VlrfaceError, match=message) as info:
        read_records(rec)
    assert "x.idx" in str(info.value) or "x.rec" in str(info.value)


def test_index_with_spaces_and_without_a_last_newline(tmp_path: Path) -> None:
    rec = written(tmp_path / "x.rec", [(1, packed(0, b"q", 1)), (2, packed(3, b"r", 2))])
    second = rec.with_suffix(".idx").read_text().splitlines()[1].split("\t")[1]
    rec.with_suffix(".idx").write_bytes(b"1  0 \r\n2\t" + second.encode())
    assert read_records(rec).identities.tolist() == [0, 3]


def test_index_in_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlrface.data.record_index._BLOCK", 10)
    rec = written(tmp_path / "x.rec", [(i, packed(i, b"q", i)) for i in range(40)])
    assert read_records(rec).identities.tolist() == list(range(40))
    rec.with_suffix(".idx").write_text(rec.with_suffix(".idx").read_text().replace("\n30\t", "\n3O\t"))
    with pytest.raises(VlrfaceError, match="line 31"):
        read_records(rec)


@pytest.mark.parametrize("label", [-1.0, 0.5, float("nan"), float("inf"), 1e30])
def test_labels_that_are_no_persons(label: float, tmp_path: Path) -> None:
    with pytest.raises(VlrfaceError, match=r"record 5 has label .*, no whole number ≥ 0"):
        read_records(written(tmp_path / "x.rec", [(2, packed(0, b"p")), (5, packed(label, b"q"))]))


def test_missing_pictures_can_be_allowed(tmp_path: Path) -> None:
    rec = written(tmp_path / "x.rec", [(i, packed(i, b"q" * 20, i)) for i in range(5)])
    whole = rec.read_bytes()
    rec.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VlrfaceError, match="3 of 5 records lie beyond its end, first 2"):
        read_records(rec)
    m = read_records(rec, allow_missing=True)
    assert m.sources.tolist() == ["0", "1", "2", "3", "4"]
    assert m.identities.tolist() == [0, 1, *[UNKNOWN_IDENTITY] * 3]
    for row in (2, 3, 4):
        with pytest.raises(DecodeError, match=f"x.rec: {row}: (no whole record|a record beyond)"):
            m.picture(row)


def test_files_that_are_no_records(tmp_path: Path) -> None:
    rec = tmp_path / "x.rec"
    with pytest.raises(VlrfaceError, match="no such file"):
        read_records(rec)
    with pytest.raises(VlrfaceError, match="not a regular file"):
        read_records(tmp_path)
    for content in (b"", b"x", b"not records at all", bytes(100)):
        rec.write_bytes(content)
        with pytest.raises(VlrfaceError, match=r"x\.rec: (the file is empty|no whole record|a record beyond)"):
            read_records(rec)
    written(rec, [(0, packed([1, 1], b"")), (1, packed([1, 2], b""))])
    with pytest.raises(VlrfaceError, match="no picture in 2 records"):
        read_records(rec)
    for ids in ((3, 3), (2**63, 1)):  # then records are numbered
        written(rec, [(i, packed(i, b"x", key)) for i, key in enumerate(ids)])
        rec.with_suffix(".idx").unlink()
        assert read_records(rec).sources.tolist() == ["0", "1"]


@pytest.mark.parametrize(
    "damage",
    [
        MAGIC + struct.pack("<I", 3 << 29 | 4) + b"last",
        MAGIC + struct.pack("<I", 1 << 29 | 4) + b"1st.",
        MAGIC + struct.pack("<I", 5 << 29 | 4) + b"5th.",
        MAGIC + struct.pack("<I", 2**29 - 1) + b"long",
        MAGIC + struct.pack("<I", 8) + b"no head.",
        record(struct.pack("<IfQQ", 2**32 - 1, 0, 0, 0) + b"labels"),
        record(struct.pack("<IfQQ", 3, 0, 0, 0) + b"8 bytes."),
    ],
)
def test_damaged_records(damage: bytes, tmp_path: Path) -> None:
    rec = written(tmp_path / "x.rec", [(1, packed(0, b"q", 1))])
    start = rec.stat().st_size
    rec.write_bytes(rec.read_bytes() + damage + bytes(40 - len(damage)))
    rec.with_suffix(".idx").write_text(f"1\t0\n2\t{start}\n")
    with pytest.raises(VlrfaceError, match="record 2 is damaged"):
        read_records(rec)
    m = read_records(rec, allow_missing=True)
    assert m.identities.tolist() == [0, UNKNOWN_IDENTITY]
    with pytest.raises(DecodeError, match=r"x\.rec: 2: "):
        m.picture(1)


def test_a_record_may_not_be_larger_than_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rec = written(tmp_path / "x.rec", [(1, packed(0, b"q" * 400 + MAGIC * 50, 1)), (2, packed(0, b"r", 2))])
    m = read_records(rec)
    monkeypatch.setattr(recordio, "MAX_PICTURE_BYTES", 300)
    with pytest.raises(DecodeError, match="1: more than 300 bytes"):
        m.picture(0)
    assert m.archive is not None
    assert m.archive.read("2") == b"r"


@given(
    people=st.lists(
        st.lists(st.binary(max_size=12) | st.just(MAGIC * 2), min_size=1, max_size=4), min_size=1, max_size=6
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_set_is_read_as_written(people: list[list[bytes]], tmp_path: Path) -> None:
    records = insightface(people)
    expected = [(i, p) for i, pictures in enumerate(people) for p in pictures]
    for shuffled in (False, True):
        if shuffled:
            records = [records[i] for i in np.random.default_rng(0).permutation(len(records))]
        m = read_records(written(tmp_path / "x.rec", records))
        assert isinstance(m.archive, RecordArchive)
        order = np.argsort(m.sources.astype(int))
        found = [(int(m.identities[row]), m.archive.read(str(m.sources[row]))) for row in order]
        assert found == expected


@given(rng=st.randoms(use_true_random=False), allow_missing=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_our_errors_come_out(rng: random.Random, allow_missing: bool, tmp_path: Path) -> None:
    """Of files with bytes changed, cut out or doubled."""
    rec = written(tmp_path / "x.rec", insightface(PEOPLE))
    rec.with_suffix(".lst").write_text("".join(f"{i}\t0\tp/{i}.jpg\n" for i in range(12)))
    for suffix in (".rec", ".idx", ".lst"):
        file = rec.with_suffix(suffix)
        data = bytearray(file.read_bytes())
        for _ in range(rng.choice((0, 0, 1, 3))):
            at = rng.randrange(len(data) + 1)
            data[at : at + rng.choice((0, 1, 4, 30))] = rng.choice(
                (b"", rng.randbytes(1), rng.randbytes(4), b"\xff" * 4, MAGIC, b"\n", b"../x", bytes(data[at : at + 40]))
            )
        file.write_bytes(data)
    with contextlib.suppress(VlrfaceError):
        m = read_records(rec, allow_missing)
        for row in range(len(m)):
            with pytest.raises(DecodeError):  # the pictures are none
                m.picture(row)
