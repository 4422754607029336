import contextlib
import os
import pickle
import pickletools
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vlrface.data import insightface_bin
from vlrface.data.cache import cached_crops
from vlrface.data.insightface_bin import BinArchive, read_bin
from vlrface.data.manifest import Archive, Manifest
from vlrface.images.decode import DecodeError, encode_png
from vlrface.types import VlrfaceError

Written = Callable[[bytes], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(data: bytes) -> Path:
        path = tmp_path / "lfw.bin"
        path.write_bytes(data)
        return path

    return write


def pictures(pairs: int) -> list[bytes]:
    return [b"%d" % i * (1 + 200 * (i % 3)) for i in range(2 * pairs)]


def python2(blobs: list[bytes], same: list[bool], protocol: int = 2) -> bytes:
    """What Python 2 writes: byte strings, and in protocol 1 truth values as text. Checked against pickle below."""
    head = b"\x80\x02" if protocol == 2 else b"("
    memo = 0

    def kept(value: bytes) -> bytes:
        nonlocal memo
        memo += 1
        return value + (b"q" + bytes([memo - 1]) if memo <= 256 else b"r" + struct.pack("<I", memo - 1))

    def text(blob: bytes) -> bytes:
        size = b"U" + bytes([len(blob)]) if len(blob) < 256 else b"T" + struct.pack("<i", len(blob))
        return kept(size + blob)

    def listed(items: list[bytes]) -> bytes:
        result = kept(b"]")
        for i in range(0, len(items), 1000):  # the writer appends in batches, one alone in its own way
            batch = items[i : i + 1000]
            result += batch[0] + b"a" if len(batch) == 1 else b"(" + b"".join(batch) + b"e"
        return result

    truth = {True: b"\x88" if protocol == 2 else b"I01\n", False: b"\x89" if protocol == 2 else b"I00\n"}
    data = head + listed([text(blob) for blob in blobs]) + listed([truth[each] for each in same])
    return data + kept(b"\x86" if protocol == 2 else b"t") + b"."


def written_by(kind: str, blobs: list[bytes], same: list[bool]) -> bytes:
    if kind.startswith("python2"):
        return python2(blobs, same, int(kind[-1]))
    return pickle.dumps((blobs, same), protocol=int(kind[-1]))


KINDS = ["python2-1", "python2-2", "python3-3", "python3-4", "python3-5"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pairs", [1, 9, 10, 23, 1200])
def test_agrees_with_pickle(kind: str, pairs: int, written: Written) -> None:
    blobs, same = pictures(pairs), [i % 3 != 1 for i in range(pairs)]
    data = written_by(kind, blobs, same)
    loaded, truths = pickle.loads(data, encoding="bytes")
    assert (loaded, [bool(each) for each in truths]) == (blobs, same)
    b = read_bin(written(data))
    assert b.name == "pairs"
    assert b.pairing is not None
    m = b.manifest
    assert m.sources.tolist() == [str(i) for i in range(2 * pairs)]
    assert set(m.splits.tolist()) == {"face"}
    assert isinstance(m.archive, Archive)
    assert [m.archive.read(s) for s in m.sources.tolist()] == blobs
    assert b.pairing.first.tolist() == list(range(0, 2 * pairs, 2))
    assert b.pairing.second.tolist() == list(range(1, 2 * pairs, 2))
    assert b.pairing.same.tolist() == same
    assert b.counts == {
        "images": 2 * pairs,
        "face": 2 * pairs,
        "persons": 2 * pairs - sum(same),
        "positive_pairs": sum(same),
        "negative_pairs": pairs - sum(same),
        "contradictory_pairs": 0,
        "folds": 10 if pairs >= 10 else 0,
    }


@pytest.mark.parametrize(
    ("pairs", "sizes"), [(10, [1] * 10), (19, [2] * 9 + [1]), (23, [3] * 3 + [2] * 7), (6000, [600] * 10)]
)
def test_folds_are_those_of_insightface(pairs: int, sizes: list[int], written: Written) -> None:
    """Sizes as scikit-learn 1.9.1 gives them, KFold(10, shuffle=False), which insightface uses."""
    blobs = [b"%d" % i for i in range(2 * pairs)]
    b = read_bin(written(pickle.dumps((blobs, [True] * pairs), protocol=4)))
    assert b.pairing is not None
    assert b.pairing.fold.tolist() == [fold for fold, size in enumerate(sizes) for _ in range(size)]


def test_fewer_than_ten_pairs_have_no_folds(written: Written) -> None:
    b = read_bin(written(pickle.dumps((pictures(9), [True] * 9), protocol=4)))
    assert b.pairing is not None
    assert set(b.pairing.fold.tolist()) == {-1}


def test_equal_pictures_are_one(written: Written) -> None:
    """Whether the pickle repeats the bytes or recalls them."""
    a, b, c, d = b"aa", b"bb", b"cc", b"dd"
    blobs = [a, b, c, d, bytes(bytearray(a)), c, d, c, a, a]
    same = [True, False, False, True, True]
    found = read_bin(written(pickle.dumps((blobs, same), protocol=4)))
    assert found.pairing is not None
    m = found.manifest
    assert m.sources.tolist() == ["0", "1", "2", "3"]
    assert m.identities.tolist() == [0, 0, 1, 1]
    assert found.pairing.first.tolist() == [0, 2, 0, 3, 0]
    assert found.pairing.second.tolist() == [1, 3, 2, 2, 0]
    assert found.counts["images"] == 10
    assert found.counts["face"] == 4
    assert found.counts["persons"] == 2
    assert found.counts["contradictory_pairs"] == 1  # c and d, told apart by pair 1 and joined by pair 3


def test_pictures_decode_and_cache(written: Written, tmp_path: Path) -> None:
    images = [np.full((6 + i, 5, 3), 40 * i, np.uint8) for i in range(3)]
    blobs = [*(encode_png(image) for image in images), b"no picture"]
    m = read_bin(written(pickle.dumps((blobs, [True, False]), protocol=4))).manifest
    np.testing.assert_array_equal(m.picture(1), images[1])
    with pytest.raises(DecodeError, match=r"lfw\.bin: 3: not a picture"):
        m.picture(3)
    crops = cached_crops(m, tmp_path / "cache", progress=False)
    assert [failure[:13] for failure in crops.failures.tolist()] == ["", "", "", "not a picture"]


def test_archive_travels_to_other_processes(written: Written) -> None:
    m = read_bin(written(pickle.dumps((pictures(3), [True] * 3), protocol=4))).manifest
    again: Manifest = pickle.loads(pickle.dumps(m))
    assert again.archive is not None
    assert again.archive.read("4") == pictures(3)[4]


@pytest.mark.parametrize("source", ["6", "-1", "x", "", "1.0", "²", "1" * 30])
def test_archive_knows_only_its_pictures(source: str, written: Written) -> None:
    archive = read_bin(written(pickle.dumps((pictures(3), [True] * 3), protocol=4))).manifest.archive
    assert archive is not None
    with pytest.raises(VlrfaceError, match=r"lfw\.bin: no picture '.*'; there are 0 to 5"):
        archive.read(source)


def test_archive_that_changed(written: Written) -> None:
    data = pickle.dumps((pictures(3), [True] * 3), protocol=4)
    path = written(data)
    archive = read_bin(path).manifest.archive
    assert archive is not None
    path.write_bytes(data + b".")
    with pytest.raises(VlrfaceError, match="changed since it was opened"):
        archive.read("0")


def test_a_picture_above_the_limit_is_not_read(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = read_bin(written(pickle.dumps(([b"1234", b"12345"], [True]), protocol=4))).manifest.archive
    assert isinstance(archive, BinArchive)
    monkeypatch.setattr(insightface_bin, "MAX_PICTURE_BYTES", 4)
    assert archive.read("0") == b"1234"
    with pytest.raises(DecodeError, match="1: 5 bytes are more than 4"):
        archive.read("1")


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_executed(protocol: int, written: Written, tmp_path: Path) -> None:
    for value in (Hostile(tmp_path / "ran"), ([b"a", b"b"], [Hostile(tmp_path / "ran")])):
        path = written(pickle.dumps(value, protocol=protocol))
        with pytest.raises(VlrfaceError, match=r"refused: the opcode \w+ at byte \d+"):
            read_bin(path)
        assert not (tmp_path / "ran").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "ran").exists()  # so the file does what it is meant to


def test_every_other_opcode_is_refused_by_name(written: Written) -> None:
    known = {b"."} | set(insightface_bin._ACTIONS)
    others = [each for each in pickletools.opcodes if each.code.encode("latin-1") not in known]
    assert {"GLOBAL", "REDUCE", "BUILD", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "EXT1"} <= {
        each.name for each in others
    }
    assert len(others) + len(known) == len(pickletools.opcodes)
    for each in others:
        with pytest.raises(VlrfaceError, match=f"the opcode {each.name} at byte 2 does not belong"):
            read_bin(written(b"\x80\x04" + each.code.encode("latin-1") + b"os\nsystem\n."))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_say_what_to_do(protocol: int, written: Written) -> None:
    blobs = [np.frombuffer(each, np.uint8) for each in pictures(2)]
    with pytest.raises(VlrfaceError, match=r"begins a numpy array; only plain bytes .* save it again with plain bytes"):
        read_bin(written(pickle.dumps((blobs, [True, False]), protocol=protocol)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "not a pickle of two lists"),
        (7, "not a pickle of two lists"),
        (b"x", "not a pickle of two lists"),
        (([b"a", b"b"], [True], []), "not a pickle of two lists"),
        (([b"a", b"b"], 1), "not a pickle of two lists"),
        (([], []), "0 pictures and 0 pairs"),
        (([b"a", b"b", b"c"], [True]), "3 pictures and 1 pairs"),
        (([b"a", 7], [True]), "an entry of the list of pictures is no bytes"),
        (([b"a", b"b"], [2]), "neither true nor false"),
        (([b"a", b"b"], [b"x"]), "neither true nor false"),
        (([b"a", [b"b"]], [True]), "is no bytes"),
    ],
)
def test_other_contents(value: Any, message: str, written: Written) -> None:
    with pytest.raises(VlrfaceError, match=rf"lfw\.bin: .*{message}"):
        read_bin(written(pickle.dumps(value, protocol=4)))


@pytest.mark.parametrize("labels", [(1, 0), (True, False)])
def test_tuples_and_numbers_will_do(labels: tuple[Any, ...], written: Written) -> None:
    b = read_bin(written(pickle.dumps([tuple(pictures(2)), labels], protocol=4)))
    assert b.pairing is not None
    assert b.pairing.same.tolist() == [True, False]


def test_bytearrays_and_long_lengths_will_do(written: Written) -> None:
    data = b"\x80\x05](\x96" + struct.pack("<Q", 2) + b"ab\x8e" + struct.pack("<Q", 3) + b"abce](\x88e\x86."
    assert pickle.loads(data) == ([bytearray(b"ab"), b"abc"], [True])
    archive = read_bin(written(data)).manifest.archive
    assert archive is not None
    assert (archive.read("0"), archive.read("1")) == (b"ab", b"abc")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends early"),
        (b"\x80\x04", "ends early"),
        (b"\x80\x04B\xff\xff\xff\xffxx", "ends early, or a length in it is wrong"),
        (b"\x80\x04\x8e" + b"\xff" * 8 + b"xx", "a length in it is wrong"),
        (b"T\xff\xff\xff\xffx.", "a length in it is wrong"),
        (b"\xff\xd8\xff", r"not a pickle of pictures and pairs \(byte ff\)"),
        (b".", "takes a value that is not there"),
        (b"(.", "takes a value that is not there"),
        (b"a.", "takes a value that is not there"),
        (b"e.", "a mark is not there"),
        (b"K\x01e.", "a mark is not there"),
        (b"K\x01K\x02a.", "appends to what is no list"),
        (b"(e.", "appends to what is no list"),
        (b"h\x00.", "recalls a value that it did not keep"),
        (b"q\x00.", "takes a value that is not there"),
        (b"(\x94.", "takes a value that is not there"),
        (b"Ix\n.", "where a number belongs"),
        (b"I" + b"1" * 40 + b"\n.", "more than 20 digits"),
        (b"g-1\n.", "where a number belongs"),
    ],
)
def test_damaged_files(data: bytes, message: str, written: Written) -> None:
    with pytest.raises(VlrfaceError, match=rf"lfw\.bin: .*{message}"):
        read_bin(written(data))


def test_truncated_anywhere(written: Written) -> None:
    for kind in KINDS:
        whole = written_by(kind, pictures(3), [True, False, True])
        for length in range(0, len(whole), 13):
            with pytest.raises(VlrfaceError, match=r"ends early"):
                read_bin(written(whole[:length]))


def test_the_number_of_opcodes_is_bounded(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insightface_bin, "_MAX_OPCODES", 1000)
    for filler in (b"]", b"(", b"\x80\x04", b"]\x94"):
        with pytest.raises(VlrfaceError, match="more than 1,000 opcodes"):
            read_bin(written(filler * 2000 + b"."))


def test_a_list_that_holds_itself(written: Written) -> None:
    with pytest.raises(VlrfaceError, match="is no bytes"):
        read_bin(written(b"\x80\x04]q\x00(h\x00h\x00e](\x88e\x86."))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(VlrfaceError, match="no such file"):
        read_bin(tmp_path / "x.bin")
    with pytest.raises(VlrfaceError, match="not a regular file"):
        read_bin(tmp_path)


@given(
    blobs=st.lists(st.binary(max_size=600), min_size=2, max_size=30), kind=st.sampled_from(KINDS), seed=st.integers()
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_set_is_read_as_written(blobs: list[bytes], kind: str, seed: int, written: Written) -> None:
    blobs = blobs[: len(blobs) // 2 * 2]
    same = [bool(seed >> i & 1) for i in range(len(blobs) // 2)]
    b = read_bin(written(written_by(kind, blobs, same)))
    assert b.pairing is not None
    assert b.manifest.archive is not None
    assert b.pairing.same.tolist() == same
    kept = [b.manifest.archive.read(s) for s in b.manifest.sources.tolist()]
    assert kept == list(dict.fromkeys(blobs))
    pairs = zip(b.pairing.first.tolist(), b.pairing.second.tolist(), strict=True)
    assert [kept[row] for pair in pairs for row in pair] == blobs


SPLICES = [each.code.encode("latin-1") for each in pickletools.opcodes] + [b"\xff" * 4, b"cos\nsystem\n(S'x'\ntR."]


@given(rng=st.randoms(use_true_random=False), kind=st.sampled_from(KINDS))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_our_errors_come_out(rng: random.Random, kind: str, written: Written) -> None:
    """Of files with bytes changed, cut out, doubled or put in."""
    data = bytearray(written_by(kind, pictures(3), [True, False, True]))
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.choice((0, 1, 4, 30))] = rng.choice(
            (b"", rng.randbytes(1), rng.choice(SPLICES), bytes(data[at : at + 40]))
        )
    Image.init()  # else Pillow imports its readers when it meets a picture that it does not know
    before = set(sys.modules)
    with contextlib.suppress(VlrfaceError):
        m = read_bin(written(bytes(data))).manifest
        for row in range(len(m)):
            with pytest.raises(DecodeError):
                m.picture(row)
    assert set(sys.modules) == before


@given(data=st.binary(max_size=60))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_refused(data: bytes, written: Written) -> None:
    with pytest.raises(VlrfaceError, match=r"lfw\.bin: "):
        read_bin(written(data))
