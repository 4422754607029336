"""WebDataset shards: what is in them, and what is refused."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from tests.experiment.streams import jpeg, sample, write_shard

from vlrface.data import shards
from vlrface.data.shards import shard_names, stream_shards
from vlrface.images.decode import decode_bytes
from vlrface.types import VlrfaceError


def test_samples_of_all_shards(tmp_path: Path) -> None:
    deep = "train/" + "deep/" * 30 + "7"  # longer than a plain header holds
    write_shard(tmp_path / "t" / "a-0.tar", [("0001", sample(5, 1)), (deep, sample(3, 2))])
    labelled = {"json": json.dumps({"label": 9, "x": [1]}).encode(), "PNG": b"", "txt": b"a note"}
    labelled["PNG"] = jpeg(3)
    write_shard(tmp_path / "t" / "a-1.tar", [("./0001", sample(5, 4)), ("note", {"txt": b"x"}), ("ü", labelled)])
    crops = stream_shards("t/a-{0..1}.tar", tmp_path, tmp_path / "cache")
    assert [name.decode() for name in crops.names.tolist()] == ["0001", deep, "0001", "ü"]
    assert crops.identities.tolist() == [5, 3, 5, 9]
    assert crops.index.labels.tolist() == [3, 5, 9]
    for row, seed in enumerate((1, 2, 4, 3)):
        np.testing.assert_array_equal(crops[row], decode_bytes(jpeg(seed), "x"))
    assert crops.name(2).startswith(f"{tmp_path}/t/a-1.tar: 0001 at byte ")
    manifest = crops.rows(np.array([3, 0])).manifest()
    assert manifest.sources.tolist() == ["t/a-1.tar/ü", "t/a-0.tar/0001"]
    assert manifest.identities.tolist() == [9, 5]
    np.testing.assert_array_equal(manifest.picture(0), decode_bytes(jpeg(3), "x"))


@pytest.mark.filterwarnings("error")
def test_one_shard_is_indexed_once(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [("0001", sample(5, 1)), ("0002", sample(3, 2))])
    crops = [stream_shards("a.tar", tmp_path, tmp_path / "cache") for _ in range(2)]
    cards = [(each.index.folder / "card.json").stat().st_mtime_ns for each in crops]
    assert cards[0] == cards[1]
    assert crops[1].identities.tolist() == [5, 3]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-*.tar", ["a-01.tar", "a-02.tar", "a-10.tar"]),
        ("a-{02..10}.tar", [f"a-{i:02}.tar" for i in range(2, 11)]),
        ("a-{9..11}.tar", ["a-9.tar", "a-10.tar", "a-11.tar"]),
        ("{x,y}-{1..2}.tar", ["x-1.tar", "x-2.tar", "y-1.tar", "y-2.tar"]),
        ("{a,b}-*.tar", ["a-01.tar", "a-02.tar", "a-10.tar", "b-1.tar"]),
        ("one.tar", ["one.tar"]),
    ],
)
def test_patterns(pattern: str, names: list[str], tmp_path: Path) -> None:
    for name in ("a-10.tar", "a-01.tar", "a-02.tar", "b-1.tar"):
        (tmp_path / name).touch()
    found = shard_names(pattern, tmp_path)
    assert sorted(found) == sorted(names) if "," in pattern else found == names


def test_patterns_that_name_nothing(tmp_path: Path) -> None:
    with pytest.raises(VlrfaceError, match=r"no-\*\.tar: no shard of this name"):
        shard_names("no-*.tar", tmp_path)
    with pytest.raises(VlrfaceError, match="more than 20,000 shards"):
        shard_names("a-{0..999999999999}.tar", tmp_path)
    (tmp_path / "a.tar").touch()
    with pytest.raises(VlrfaceError, match="1 shards come twice"):
        shard_names("{a,*}.tar", tmp_path)
    with pytest.raises(VlrfaceError, match=r"b\.tar: no such file"):
        stream_shards("{a,b}.tar", tmp_path, tmp_path)


BAD = {
    "no label": ([("a", sample(0, 0)), ("b", {"jpg": jpeg(1)})], r"sample 'b' at byte \d+ has no label"),
    "no picture": ([("b", {"cls": b"1"}), ("a", sample(0, 0))], "sample 'b' at byte 0 has no picture"),
    "two pictures": ([("a", {"jpg": jpeg(0), "png": jpeg(1), "cls": b"1"})], "'a' at byte 0 has more than one picture"),
    "below 0": ([("a", {"jpg": jpeg(0), "cls": b"-1"})], r"'a' at byte 0 has label -1 in its \.cls"),
    "a truth": ([("a", {"jpg": jpeg(0), "cls": b"true"})], r"has label True in its \.cls"),
    "a fraction": ([("a", {"jpg": jpeg(0), "json": b'{"label": 1.5}'})], r"has label 1\.5 in its \.json"),
    "a word": ([("a", {"jpg": jpeg(0), "cls": b"anna"})], r"has a \.cls that cannot be read"),
    "json without label": ([("a", {"jpg": jpeg(0), "json": b"[]"})], "'a' at byte 0 has no label"),
    "a long label": ([("a", {"jpg": jpeg(0), "json": b" " * (2**20 + 1)})], r"\.json has 1,048,577 bytes"),
    "twice": ([("a", sample(0, 0)), ("b", sample(0, 0)), ("a", sample(0, 0))], "sample 'a' comes twice"),
    "nothing": ([("a", {"txt": b"x"})], "no sample in it"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_samples_are_named(name: str, tmp_path: Path) -> None:
    samples, said = BAD[name]
    path = write_shard(tmp_path / "x.tar", samples)
    with pytest.raises(VlrfaceError, match=said) as info:
        stream_shards("x.tar", tmp_path, tmp_path / "cache")
    assert str(path) in str(info.value)


@pytest.mark.parametrize("where", ["in a picture", "between members", "in the last block", "a header", "compressed"])
def test_damaged_shards_are_refused(where: str, tmp_path: Path) -> None:
    path = write_shard(tmp_path / "x.tar", [(str(i), sample(i, i)) for i in range(6)])
    data = path.read_bytes()
    third = data.index(b"3.jpg")
    cuts = {"in a picture": third + 600, "between members": third, "in the last block": len(data.rstrip(b"\0")) + 5}
    if where == "a header":
        data = data[: third + 3] + b"?" + data[third + 4 :]
    elif where == "compressed":
        data = gzip.compress(data)
    else:
        data = data[: cuts[where]]
    path.write_bytes(data)
    with pytest.raises(VlrfaceError, match=r"x\.tar: (no whole tar file|damaged or cut off at byte \d+).*again"):
        stream_shards("x.tar", tmp_path, tmp_path / "cache")


def test_an_interrupted_walk_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(4):
        write_shard(tmp_path / f"{i}.tar", [(str(i), sample(i, i))])
    walked: list[str] = []
    original = shards._walked

    def walk(file: shards.PackedFile) -> shards._Shard:
        if len(walked) == 2:
            raise KeyboardInterrupt
        walked.append(file.path.name)
        return original(file)

    monkeypatch.setattr(shards, "_walked", walk)
    with pytest.raises(KeyboardInterrupt):
        stream_shards("?.tar", tmp_path, tmp_path / "cache")
    assert walked == ["0.tar", "1.tar"]
    walked.clear()
    walked.clear()
    assert len(stream_shards("?.tar", tmp_path, tmp_path / "cache")) == 4
    assert walked == ["2.tar", "3.tar"]
    walked.clear()
    write_shard(tmp_path / "4.tar", [("4", sample(4, 4))])
    assert stream_shards("?.tar", tmp_path, tmp_path / "cache").identities.tolist() == [0, 1, 2, 3, 4]
    assert walked == ["4.tar"]


def test_a_damaged_part_of_the_index_is_made_again(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.tar", [("0", sample(0, 0))])
    stream_shards("0.tar", tmp_path, tmp_path / "cache")
    (part,) = (tmp_path / "cache" / "shards").iterdir()
    part.write_bytes(part.read_bytes()[:100])
    write_shard(tmp_path / "1.tar", [("1", sample(1, 1))])
    assert len(stream_shards("{0,1}.tar", tmp_path, tmp_path / "cache")) == 2
