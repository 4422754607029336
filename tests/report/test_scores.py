"""The page of `vlrface score`."""

import re
from pathlib import Path

import numpy as np

from vlrface.report import ScoredFace, write_score_page
from vlrface.report.scores import render_scores

from . import made


def _rows(count: int) -> list[ScoredFace]:
    rng = np.random.default_rng(0)
    faces = made.crops(min(count, 20))
    rows: list[ScoredFace] = []
    for i in range(count):
        score = float(rng.uniform())
        verdict = "recognizable" if score > 0.5 else "doubtful" if score > 0.2 else "unrecognizable"
        rows.append(ScoredFace(Path(f"in/{i}.jpg"), 2 * score, score, verdict, faces[i % len(faces)]))
    return rows


def test_faces_go_from_easy_to_hard_with_index_score_verdict_and_name() -> None:
    rows = [
        ScoredFace(Path("hard.jpg"), 0.1, 0.05, "unrecognizable", None, "below 12 px"),
        ScoredFace(Path("easy.jpg"), 0.9, 0.95, "recognizable", made.crops(1)[0]),
        ScoredFace(Path("odd.jpg"), float("nan"), float("nan"), "doubtful"),
    ]
    text = render_scores(rows, title="t")
    entries = re.findall(r'<li id="face-\d+".*?</li>', text, re.DOTALL)
    assert [re.search(r"(\w+)\.jpg</bdi>", entry)[1] for entry in entries] == ["easy", "hard", "odd"]  # type: ignore[index]
    for words in ("✕ unrecognizable", "0.05", "index 0.100", "below 12 px"):
        assert words in entries[1]
    assert "data:image/webp" in entries[0]
    assert "index –" in entries[2]
    made.Page(text)


def test_the_page_is_complete_safe_and_self_contained(tmp_path: Path) -> None:
    rows = [*_rows(30), ScoredFace(Path(f"dir/{made.NASTY}"), 0.3, 0.3, "doubtful", None, made.NASTY)]
    failures = [(Path("cut.jpg"), "truncated"), (made.NASTY, f"not a picture {made.NASTY}")]
    write_score_page(tmp_path / "s.html", rows, title=made.NASTY, failures=failures, calibration="0.5 is the median.")
    text = (tmp_path / "s.html").read_text("utf-8")
    page = made.Page(text)
    assert page.headings == ["Scores", "Could not be read", "Faces, from easy to hard"]
    assert "<script" not in text
    assert not re.search(r"https?:|//[a-z]|url\((?!#)", re.sub(r"base64,[^\"]*", "", text))
    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids)
    words = " ".join(page.words)
    assert "33 files: " in words
    assert "2 could not be read." in words
    assert "0.5 is the median." in words
    assert "truncated" in words


def test_verdicts_are_counted() -> None:
    rows = _rows(100)
    page = made.Page(render_scores(rows, title="t"))
    text = " ".join(" ".join(page.words).split())
    clear = sum(row.verdict == "recognizable" for row in rows)
    assert f"100 files: {clear} hold a face that can be recognised" in text
    assert f"✓ recognizable {clear} {clear}.0 % of the faces" in text


def test_nothing_scored() -> None:
    page = made.Page(render_scores([], title="t", failures=[("a.jpg", "empty file")]))
    assert page.headings == ["Could not be read"]
    assert "1 file, none of which could be scored." in " ".join(page.words)
    assert made.Page(render_scores([], title="t")).headings == []


def test_one_face_in_the_singular() -> None:
    text = render_scores([ScoredFace(Path("a.jpg"), 1.0, 1.0, "recognizable")], title="t")
    assert "1 file: 1 holds a face that can be recognised, 0 do not." in text


def test_five_thousand_faces_stay_usable() -> None:
    text = render_scores(_rows(5000), title="t")
    assert text.count("<li id=") == 5000
    assert len(text) < 12_000_000
    assert "content-visibility: auto" in text
