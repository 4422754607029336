import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.data.manifest import Benchmark, Manifest, hold_out
from vlrface.types import VlrfaceError


def _manifest(identities: list[int], root: Path | None = None, **changes: object) -> Manifest:
    n = len(identities)
    names = [f"{i}.jpg" if root else f"#{i}" for i in range(n)]
    values: dict[str, object] = {
        "sources": np.array(names, np.str_),
        "identities": np.array(identities, np.int64),
        "splits": np.full(n, "train"),
        "root": root,
    }
    return Manifest(**{**values, **changes})  # type: ignore[arg-type]


def test_rows_and_splits_keep_order_truths_and_root(tmp_path: Path) -> None:
    splits = np.array(["probe", "gallery", "probe", "distractor"])
    m = _manifest([3, 3, 5, -100], tmp_path, splits=splits, truths={"yaw_rad": np.arange(4.0)})
    part = m.split("distractor", "probe")
    assert part.sources.tolist() == ["0.jpg", "2.jpg", "3.jpg"]
    assert part.truths["yaw_rad"].tolist() == [0.0, 2.0, 3.0]
    assert part.path(1) == tmp_path / "2.jpg"
    assert m.rows(np.array([2, 0])).identities.tolist() == [5, 3]
    assert len(m.rows(np.array([False, True, False, False]))) == 1


def test_same_source_in_two_splits_is_allowed() -> None:
    m = _manifest([1, 1], sources=np.array(["#0", "#0"]), splits=np.array(["probe", "gallery"]))
    assert len(m) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": np.array([], np.str_)}, "at least one"),
        ({"splits": np.array(["train"])}, r"splits has shape \(1,\), there are 3 sources"),
        ({"truths": {"yaw_rad": np.zeros(2)}}, "yaw_rad has shape"),
        ({"sources": np.array([b"a", b"b", b"c"])}, "array of str"),
        ({"sources": np.array(["#1", "#2", "#1"])}, "#1 occurs more than once in split 'train'"),
        ({"sources": np.array(["#0", "a.jpg", "#2"])}, "'a.jpg' is no array row"),
        ({"identities": np.array([0, -2, 1])}, "identity -2 of #1"),
        ({"identities": np.array([0, -99, 1])}, "identity -99"),
    ],
)
def test_refuses(changes: dict[str, object], message: str) -> None:
    # Different lengths are also refused by the annotations, which only tests enforce.
    with pytest.raises((VlrfaceError, TypeError)) as info:
        _manifest([0, 1, 2], **changes)
    if isinstance(info.value, VlrfaceError):
        assert info.match(message)


def test_lengths_are_checked_without_the_annotations() -> None:
    m = _manifest([0, 1, 2])
    object.__setattr__(m, "splits", np.array(["train"]))
    with pytest.raises(VlrfaceError, match=r"splits has shape \(1,\), there are 3 sources"):
        m.__post_init__()


def test_unknown_and_distractor_identities_are_allowed() -> None:
    assert _manifest([-1, -100, 0]).identities.min() == -100


def test_split_that_is_not_there() -> None:
    with pytest.raises(VlrfaceError, match="no split 'probe'; there are train"):
        _manifest([1]).split("probe")


def test_array_rows_have_no_path() -> None:
    with pytest.raises(VlrfaceError, match="#0 is no file of its own"):
        _manifest([1]).path(0)


def test_fingerprint_follows_the_files(tmp_path: Path, picture: Callable[..., Path]) -> None:
    file = picture(tmp_path / "0.jpg")
    m = _manifest([1], tmp_path)
    seen = [m.fingerprint()]
    assert m.fingerprint() == seen[0]
    assert _manifest([2], tmp_path).fingerprint() == seen[0]  # the same pictures

    os.utime(file, ns=(1, 1))
    seen.append(m.fingerprint())
    file.write_bytes(file.read_bytes() + b"x")
    os.utime(file, ns=(1, 1))
    seen.append(m.fingerprint())
    file.unlink()
    seen.append(m.fingerprint())
    assert len(set(seen)) == 4


def test_fingerprint_does_not_depend_on_the_place_but_on_the_list(tmp_path: Path, picture: Callable[..., Path]) -> None:
    for folder in ("a", "b"):
        os.utime(picture(tmp_path / folder / "0.jpg"), ns=(5, 5))
        os.utime(picture(tmp_path / folder / "1.jpg"), ns=(5, 5))
    a, b = _manifest([1, 2], tmp_path / "a"), _manifest([1, 2], tmp_path / "b")
    assert a.fingerprint() == b.fingerprint()
    assert a.rows(np.array([1, 0])).fingerprint() != a.fingerprint()
    assert a.rows(np.array([0])).fingerprint() != a.fingerprint()


def test_fingerprint_of_names_that_are_not_unicode(tmp_path: Path) -> None:
    m = _manifest([1], tmp_path, sources=np.array([os.fsdecode(b"\xff.jpg")]))
    assert len(m.fingerprint()) == 64


def test_fingerprint_of_arrays_is_that_of_the_list() -> None:
    assert _manifest([1, 2]).fingerprint() == _manifest([3, 4]).fingerprint()
    assert _manifest([1, 2]).fingerprint() != _manifest([1]).fingerprint()


@given(
    st.lists(st.integers(-1, 6), min_size=1, max_size=40),
    st.integers(1, 7),
    st.integers(-(2**70), 2**70),
    st.integers(1, 3),
)
def test_hold_out_is_a_partition_by_person(identities: list[int], count: int, seed: int, least: int) -> None:
    m = _manifest(identities)
    candidates = {i for i in identities if i >= 0 and identities.count(i) >= least}
    held_rows = [i for i in identities if i in candidates]
    if count > len(candidates) or (count == len(candidates) and len(held_rows) == len(identities)):
        with pytest.raises(VlrfaceError, match="hold"):
            hold_out(m, count, seed, min_images=least)
        return
    kept, held = hold_out(m, count, seed, min_images=least)
    assert sorted(kept.sources.tolist() + held.sources.tolist()) == sorted(m.sources.tolist())
    people = set(held.identities.tolist())
    assert len(people) == count
    assert people <= candidates
    assert not people & set(kept.identities.tolist())
    for part in (kept, held):
        rows = [int(s[1:]) for s in part.sources.tolist()]
        assert rows == sorted(rows)


def test_hold_out_is_seeded_and_nested() -> None:
    m = _manifest([i // 2 for i in range(200)])
    chosen = [set(hold_out(m, n, seed=4)[1].identities.tolist()) for n in (5, 10, 20)]
    assert chosen[0] < chosen[1] < chosen[2]
    assert chosen[0] == set(hold_out(m, 5, seed=4)[1].identities.tolist())
    assert chosen[0] != set(hold_out(m, 5, seed=5)[1].identities.tolist())
    # Frozen, because published splits depend on it.
    assert sorted(chosen[0]) == FROZEN


FROZEN = [6, 11, 13, 30, 68]


def test_hold_out_says_how_many_there_are() -> None:
    with pytest.raises(VlrfaceError, match=r"1 of 3 have at least 2 images\. Ask for between 1 and 1"):
        hold_out(_manifest([1, 1, 2, 3]), 2, seed=0)
    with pytest.raises(VlrfaceError, match="would leave no crop"):
        hold_out(_manifest([1, 1]), 1, seed=0)


def test_benchmark_knows_its_missing_files(tmp_path: Path) -> None:
    m = _manifest([1, 2], tmp_path)
    assert Benchmark("x", m, {"probe": 2}, {}, ("1.jpg",)).missing == ("1.jpg",)
    with pytest.raises(VlrfaceError, match=r"missing 7\.jpg is not in the manifest"):
        Benchmark("x", m, {}, {}, ("7.jpg",))


def test_another_index_of_the_same_file_is_another_fingerprint() -> None:
    class Packed:
        def __init__(self, places: bytes) -> None:
            self.path = Path("a.rec")
            self.places = places

        def contents(self) -> bytes:
            return self.places

        def read(self, source: str) -> bytes:
            return source.encode()

    def fingerprint(places: bytes) -> str:
        sources = np.array(["0", "1"])
        return Manifest(sources, np.zeros(2, np.int64), np.array(["a", "a"]), archive=Packed(places)).fingerprint()

    assert fingerprint(b"x") == fingerprint(b"x") != fingerprint(b"y")
