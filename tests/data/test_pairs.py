import contextlib
import hashlib
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vlrface.data import lines, pairs
from vlrface.data.manifest import Benchmark
from vlrface.data.pairs import read_pairs
from vlrface.types import VlrfaceError

Picture = Callable[..., Path]
Listed = Callable[..., Benchmark]

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "data_pairs.json").read_text())["lists"]


@pytest.fixture
def listed(tmp_path: Path) -> Listed:
    """Reads a list given as text; pictures may be missing unless told otherwise."""

    def read(text: str | bytes, allow_missing: bool = True, **options: Any) -> Benchmark:
        file = tmp_path / "pairs.txt"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        (tmp_path / "faces").mkdir(exist_ok=True)
        return read_pairs(file, tmp_path / "faces", allow_missing, **options)

    return read


def told(b: Benchmark) -> list[tuple[str, str, bool, int]]:
    """Pairs as the benchmark has them: both sources, whether they show one person, the fold."""
    assert b.pairing is not None
    s, p = b.manifest.sources.tolist(), b.pairing
    columns = (p.first.tolist(), p.second.tolist(), p.same.tolist(), p.fold.tolist())
    return [(s[i], s[j], same, fold) for i, j, same, fold in zip(*columns, strict=True)]


def made_list(name: str) -> str:
    """The lists of the golden file."""
    if name in ("LFW", "RFW"):
        text = "10\t300\n" if name == "LFW" else ""
        for f in range(0, 3000, 300):
            text += "".join(f"p{f + k}\t{k % 3 + 1}\t{k % 3 + 2}\n" for k in range(300))
            text += "".join(f"p{f + k}\t{k % 4 + 1}\tp{f + k + 1}\t{k % 5 + 1}\n" for k in range(300))
        return text
    if name == "CALFW":
        text = "".join(f"p{k}_0001.jpg {k // 300 + 1}\np{k}_0002.jpg {k // 300 + 1}\n" for k in range(3000))
        return text + "".join(f"p{k}_0001.jpg 0\np{k + 1}_0002.jpg 0\n" for k in range(3000))
    text = "".join(f"p{k}_1.jpg 1\np{k}_2.jpg 1\n" for k in range(3000))
    return text + "".join(f"p{k}_1.jpg 0\np{k + 7}_2.jpg 0\n" for k in range(3000))


@pytest.mark.parametrize("name", list(GOLDEN))
def test_golden_lists_of_facex_zoo(name: str, listed: Listed) -> None:
    b = listed(made_list(name))
    by_fold = sorted(told(b), key=lambda pair: (pair[3], not pair[2]))  # stable: list order within
    text = "".join(f"{fold} {one} {two} {int(same)}\n" for one, two, same, fold in by_fold)
    assert text.splitlines()[:2] == GOLDEN[name]["first"]
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN[name]["sha256"]
    assert b.counts["positive_pairs"] == b.counts["negative_pairs"] == 3000
    assert b.counts["folds"] == 10
    assert b.counts["missing"] == b.counts["face"]


LFW = (
    "2\t2\nann\t1\t2\nbob\t3\t1\nann\t1\tbob\t1\ncy\t1\tann\t2\nann\t2\t3\nann\t1\t3\ndee\t10\tbob\t3\nbob\t1\tann\t3\n"
)
LFW_NAMES = [
    "ann/ann_0001",
    "ann/ann_0002",
    "bob/bob_0003",
    "bob/bob_0001",
    "cy/cy_0001",
    "ann/ann_0003",
    "dee/dee_0010",
]


def test_lfw(tmp_path: Path, picture: Picture, listed: Listed) -> None:
    endings = [".jpg", ".png", ".JPG", ".jpeg", ".bmp", ".jpg", ".webp"]
    for name, ending in zip(LFW_NAMES, endings, strict=True):
        picture(tmp_path / "faces" / (name + ending))
    picture(tmp_path / "faces/ann/ann_0001.png")  # .jpg comes first
    picture(tmp_path / "faces/ann/ann_00012.jpg")
    b = listed(LFW, allow_missing=False)
    m = b.manifest
    assert b.name == "pairs"
    assert m.sources.tolist() == [n + e for n, e in zip(LFW_NAMES, endings, strict=True)]
    assert m.identities.tolist() == [0, 0, 1, 1, 2, 0, 3]
    assert set(m.splits.tolist()) == {"face"}
    assert all(m.path(i).is_file() for i in range(len(m)))
    assert b.pairing is not None
    assert b.pairing.first.tolist() == [0, 2, 0, 4, 1, 0, 6, 3]
    assert b.pairing.second.tolist() == [1, 3, 3, 1, 5, 5, 2, 5]
    assert b.pairing.same.tolist() == [True, True, False, False] * 2
    assert b.pairing.fold.tolist() == [0] * 4 + [1] * 4
    assert b.missing == b.surplus == ()
    assert b.counts == {
        "face": 7,
        "persons": 4,
        "positive_pairs": 4,
        "negative_pairs": 4,
        "contradictory_pairs": 0,
        "folds": 2,
        "missing": 0,
    }


def test_headers_of_lfw(listed: Listed) -> None:
    body = LFW.split("\n", 1)[1]
    expected = told(listed(LFW))
    for text in ("2\n" + body, ("2 2\n" + body).replace("\t", " "), "\ufeff" + LFW, LFW.replace("\n", "\r\n\r\n")):
        assert told(listed(text)) == expected
    assert [fold for *_, fold in told(listed(body))] == [-1] * 8  # no header, and too few pairs for ten folds
    one = "2\n" + "\n".join(body.split("\n")[:4])
    assert [fold for *_, fold in told(listed(one))] == [-1] * 4  # a development list: one fold is none


def test_pairs_of_one_name_listed_as_two_persons_are_counted(listed: Listed) -> None:
    b = listed("ann 1 2\nann 1 ann 3\n")
    assert b.counts["contradictory_pairs"] == 1
    assert b.manifest.identities.tolist() == [0, 0, 0]


def test_lines_of_calfw_and_cplfw_join_persons(tmp_path: Path, picture: Picture, listed: Listed) -> None:
    for name in ("a_1.jpg", "a_2.jpg", "b_1.jpg", "b_2.jpg"):
        picture(tmp_path / "faces" / name)
    text = "a_1.jpg 3\na_2.jpg 3\nb_1.jpg 7\nb_2.jpg 7\na_1.jpg 0\nb_1.jpg 0\na_2.jpg 0\nb_2.jpg 0\n"
    b = listed(text, allow_missing=False)
    assert b.manifest.identities.tolist() == [0, 0, 1, 1]
    assert told(b) == [
        ("a_1.jpg", "a_2.jpg", True, 0),
        ("b_1.jpg", "b_2.jpg", True, 1),
        ("a_1.jpg", "b_1.jpg", False, 0),
        ("a_2.jpg", "b_2.jpg", False, 1),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "x/a.jpg b.jpg 1\nb.jpg c.jpg 0\n",
        "x/a.jpg\tb.jpg\t1\nb.jpg\tc.jpg\t0\n",
        "x/a.jpg,b.jpg,1\nb.jpg,c.jpg,0\n",
        'first, second, label\n"x/a.jpg", "b.jpg", True\n./b.jpg,y/../c.jpg,-1\n',
        "\n\npath1 path2 issame\n x/a.jpg   b.jpg 1\n\n b.jpg c.jpg false",
    ],
)
def test_two_paths(text: str, listed: Listed) -> None:
    b = listed(text)
    assert told(b) == [("x/a.jpg", "b.jpg", True, -1), ("b.jpg", "c.jpg", False, -1)]
    assert b.manifest.identities.tolist() == [0, 0, 1]
    assert b.counts["folds"] == 0


def test_two_paths_with_folds(listed: Listed) -> None:
    text = "a,b c.jpg,1,10\na,d,0,10\nb c.jpg,d,0,2\nd,e,1,7\n"
    assert [fold for *_, fold in told(listed(text))] == [2, 2, 0, 1]
    assert "b c.jpg" in listed(text).manifest.sources.tolist()


def test_form_can_be_chosen(listed: Listed) -> None:
    text = "ann 1 0\nbob 2 1\n"  # pictures 1 and 0 of ann, or paths without endings
    assert told(listed(text))[0] == ("ann/ann_0001.jpg", "ann/ann_0000.jpg", True, -1)
    assert told(listed(text, form="paths"))[0] == ("ann", "1", False, -1)
    assert told(listed("1 1\n2 1\n", form="lines")) == [("1", "2", True, -1)]


def test_missing_files(tmp_path: Path, picture: Picture, listed: Listed) -> None:
    picture(tmp_path / "faces/ann/ann_0001.jpg")
    with pytest.raises(VlrfaceError, match="6 files named by the lists are not on disk") as info:
        listed(LFW, allow_missing=False)
    assert "ann/ann_0002.jpg" in str(info.value)
    b = listed(LFW)
    assert b.missing == tuple(n + ".jpg" for n in LFW_NAMES[1:])
    assert b.counts["missing"] == 6
    many = "".join(f"{i}.jpg {i + 1}.jpg 1\n" for i in range(12))
    with pytest.raises(VlrfaceError, match="13 files named") as info:
        listed(many, allow_missing=False)
    assert str(info.value).count(".jpg") == 10


@pytest.mark.parametrize(
    "text",
    [
        "../../x.jpg b.jpg 1",
        "b.jpg /etc/hostname 1",
        "a/../../x.jpg,b.jpg,0",
        "C:/x.jpg\tb.jpg\t0",
        "..\\x.jpg b.jpg 1",
        "../x.jpg 1\nb.jpg 1",
        "b.jpg 1\n/x.jpg 1",
        ".. 1 2",
        "ann 1 .. 2",
        "../ann 1 2",
    ],
)
def test_entries_outside_the_root_are_refused(text: str, listed: Listed) -> None:
    with pytest.raises(VlrfaceError, match=r"pairs\.txt: line \d: .* points outside its root"):
        listed(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list is empty"),
        ("\n \r\n", "the list is empty"),
        ("10 300\n", "promises 10 folds of 300 genuine and 300 impostor pairs; 0 pairs follow|no pair"),
        (LFW + "ann\t1\t2\n", "line 1: promises 2 folds of 2 .*; 9 pairs follow"),
        (LFW.replace("ann\t1\tbob\t1", "ann\t1\t7"), "line 1: fold 1 has 3 genuine pairs of 2"),
        ("0\nann 1 2\n", "promises 1 folds of 0 .*; 1 pairs follow"),
        ("999999999 999999999\nann 1 2\n", "promises 999999999 folds"),
        ("2 2\nann 1 2\nann x 2\n", "line 3: 'x' where the number of a picture belongs"),
        ("2 2\nann 1 -2\n", "line 2: '-2' where the number"),
        ("2 2\nann 1\n", r"line 2: 2 fields; expected `name 1 2`"),
        ("2 2\nann 1 2 3 4\n", r"line 2: 5 fields; expected `name 1 2`"),
        ("a/b 1 2\n", "line 1: 'a/b' is not a file name"),
        ("a\x00b 1 2\n", r"line 1: 'a\\x00b' is not a file name"),
        ("a.jpg 1\nb.jpg 1\nc.jpg 1\n", "line 3: expected two lines"),
        ("a.jpg 1\nb.jpg 2\n", "line 2: number 2 after 1"),
        ("a.jpg 1\nb.jpg x\n", "line 2: expected two lines"),
        ("a.jpg b.jpg 1\na.jpg b.jpg\n", "line 2: 2 fields; expected `path path 0|1`"),
        ("a.jpg b.jpg 1 1\na.jpg b.jpg 1\n", "line 2: 3 fields"),
        ("a.jpg b.jpg 2\n", "line 1: '2' where 1 .one person. or 0 .two. belongs"),
        ("a.jpg b.jpg 1 x\n", "line 1: 'x' where the number of a fold belongs"),
        ("path1 path2 label\n", "no pair in it"),
        ("a\n", "line 1: in no known form. Known forms: `10 300`"),
        ("a b c d e\n", "line 1: in no known form"),
        ("a b\n", "line 1: in no known form"),
        (b"a.jpg b.jpg 1\n\xff.jpg b.jpg 1\n", "line 2: not UTF-8 text .invalid start byte"),
        ("a.jpg b.jpg 1\n".encode("utf-16"), "line 1: not UTF-8"),
        ("a.jpg b.jpg 1\n" + "x" * 5000 + " b.jpg 1\n", "line 2: longer than 4,096 bytes"),
    ],
)
def test_bad_lists(text: str | bytes, message: str, listed: Listed) -> None:
    with pytest.raises(VlrfaceError, match=rf"pairs\.txt: .*({message})"):
        listed(text)


def test_bounds(listed: Listed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_MAX_PAIRS", 2)
    with pytest.raises(VlrfaceError, match="line 3: more than 2 pairs"):
        listed("a b.jpg 1\n" * 3)
    monkeypatch.setattr(pairs, "_MAX_BYTES", 20)
    with pytest.raises(VlrfaceError, match=r"pairs\.txt: 30 bytes are more than 20"):
        listed("a b.jpg 1\n" * 3)
    monkeypatch.setattr(lines, "_MAX_ARRAY_BYTES", 20)
    with pytest.raises(VlrfaceError, match="2 entries of up to 5 characters need more than 20 bytes"):
        listed("a b.jpg 1\n")
    with pytest.raises(VlrfaceError, match="no such file"):
        read_pairs(tmp_path / "nowhere.txt", tmp_path)
    with pytest.raises(VlrfaceError, match="no such folder"):
        read_pairs(tmp_path / "pairs.txt", tmp_path / "nowhere")


NAMES = st.text("abcé_-. ,\xa0\x85x", min_size=1, max_size=8).map(lambda s: s.strip(" .,") or "n")


@given(
    rows=st.lists(st.tuples(NAMES, NAMES, st.booleans(), st.integers(0, 12)), min_size=1, max_size=30),
    folds=st.booleans(),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_list_of_paths_is_read_as_written(
    rows: list[tuple[str, str, bool, int]], folds: bool, listed: Listed
) -> None:
    text = "".join("\t".join([a, b, str(int(s)), *([str(f)] if folds else [])]) + "\n" for a, b, s, f in rows)
    b = listed(text, form="paths")
    numbers = sorted({f for *_, f in rows})
    assert told(b) == [(a, b, s, numbers.index(f) if folds else -1) for a, b, s, f in rows]
    assert sorted(b.manifest.sources.tolist()) == sorted({name for a, b, *_ in rows for name in (a, b)})
    person = dict(zip(b.manifest.sources.tolist(), b.manifest.identities.tolist(), strict=True))
    assert all(person[a] == person[b] for a, b, same, _ in rows if same)


@given(st.lists(st.booleans(), max_size=80))
def test_even_folds(kinds: list[bool]) -> None:
    same = np.array(kinds, np.bool_)
    fold = pairs._even_folds(same)
    if min(same.sum(), (~same).sum()) < 10:
        assert (fold == -1).all()
        return
    for kind in (same, ~same):
        sizes = np.bincount(fold[kind], minlength=10)
        assert sizes.max() - sizes.min() <= 1
        assert (np.diff(fold[kind]) >= 0).all()


SEEDS = [LFW, "a_1.jpg 1\na_2.jpg 1\na_1.jpg 0\nb.jpg 0\n", "a,b,1,0\nb,c,0,1\n", "x/a.jpg b.jpg 1\n"]
SPLICES = [b"", b"\n", b"\t", b" ", b",", b"..", b"../../x", b"/etc/passwd", b"\\", b"\x00", b"\xff", b"-1", b"9" * 30]


@given(rng=st.randoms(use_true_random=False), seed=st.sampled_from(SEEDS))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_our_errors_come_out(rng: random.Random, seed: str, tmp_path: Path, listed: Listed) -> None:
    """Of lists with bytes changed, cut out, doubled or put in; and nothing outside the root is looked at."""
    data = bytearray(seed.encode())
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.choice((0, 1, 4, 30))] = rng.choice(
            (rng.randbytes(1), rng.choice(SPLICES), bytes(data[at : at + 40]))
        )
    seen: list[str] = []
    with LOOKS.into(seen), contextlib.suppress(VlrfaceError):
        m = listed(bytes(data)).manifest
        assert all(os.path.abspath(m.path(row)).startswith(f"{tmp_path}/faces/") for row in range(len(m)))
    assert all(os.path.abspath(path).startswith(str(tmp_path)) for path in seen), seen


class _Looks:
    """Which paths are opened or listed."""

    def __init__(self) -> None:
        self._seen: list[str] | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._seen is not None and event in ("open", "os.listdir", "os.scandir"):
            self._seen.append(os.fsdecode(arguments[0]))

    @contextlib.contextmanager
    def into(self, seen: list[str]) -> Any:
        self._seen = seen
        yield
        self._seen = None


LOOKS = _Looks()
