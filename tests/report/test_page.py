"""The page of an evaluation: complete, self-contained, safe, the same every time."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vlrface.report import Attention, EmbeddingMap, Pictures, write_report
from vlrface.report.page import render_report
from vlrface.types import Curve, Estimate, Report, VlrfaceError

from . import made

RECOGNIZABILITY = "How recognizable the faces are"
REJECT = "Refusing the hardest faces"
RECOGNITION = "Finding and accepting people"
OTHER = "Further curves"
TRAINING = "Training"
MAP = "Where the faces lie"
ATTENTION = "Where the network looks"
FIGURES = "All figures"
RUN = "This run"


@pytest.fixture(scope="module")
def full() -> str:
    return render_report(
        made.report(),
        pictures=made.pictures(unrecognizable=(0.1, 0.05)),
        embedding_map=made.embedding_map(),
        attention=made.attention(),
        training={"loss/a": made.curve(), "loss/b": made.curve(), "gradient_norm": made.curve()},
    )


@pytest.fixture(scope="module")
def page(full: str) -> made.Page:
    return made.Page(full)


def test_every_part_is_there_in_order(page: made.Page) -> None:
    wanted = [RECOGNIZABILITY, REJECT, RECOGNITION, OTHER, TRAINING, MAP, ATTENTION, FIGURES, RUN]
    assert page.headings == wanted


def test_the_page_reaches_for_nothing_outside(full: str, page: made.Page) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", re.sub(r"base64,[^\"]*", "", full))
    assert all(source.startswith(("data:image/webp;base64,", "#")) for source in page.sources)
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert "default-src 'none'" in full


def test_ids_are_unique_and_every_reference_has_its_target(page: made.Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert page.references
    assert set(page.references) <= set(page.ids)


def test_drawings_hold_no_nan_and_no_colour_of_their_own(full: str) -> None:
    drawings = re.findall(r'<svg class="plot".*?</svg>', full, re.DOTALL)
    assert len(drawings) == 2 + 4 + 2 + 1
    for drawing in drawings:
        assert not re.search(r"\bnan\b|\binf\b", drawing, re.IGNORECASE)
        assert not re.search(r"(fill|stroke): #", drawing)
        assert "<style" not in drawing
        assert "DejaVu" not in drawing
        assert "xmlns" not in drawing
        assert 'role="img" aria-label="' in drawing


def test_names_from_outside_are_escaped(full: str, page: made.Page) -> None:
    assert "<script" not in full
    assert 'alert("1")' not in full
    assert any("<script>" in words for words in page.words), "shown as text"


@pytest.mark.parametrize(
    ("given", "headings"),
    [
        ({}, []),
        ({"pictures": made.pictures()}, [RECOGNIZABILITY]),
        ({"embedding_map": made.embedding_map()}, [MAP]),
        ({"attention": made.attention()}, [ATTENTION]),
        ({"training": {"loss/a": made.curve()}}, [TRAINING]),
        ({"figures": {"rank1": Estimate(0.5)}}, [FIGURES]),
        ({"counts": {"probes": 4}}, [RUN]),
        ({"context": {"seed": 4}}, [RUN]),
        ({"curves": {"edc": (made.curve(),)}}, [REJECT]),
        ({"curves": {"roc": (made.curve(),)}}, [RECOGNITION]),
        ({"curves": {"new": (made.curve(),)}}, [OTHER]),
        ({"curves": {"training/loss/a": (made.curve(),)}}, [TRAINING]),
    ],
)
def test_a_part_is_there_exactly_when_its_data_is(given: dict[str, object], headings: list[str]) -> None:
    empty: dict[str, object] = {"figures": {}, "counts": {}, "curves": {}, "context": {}}
    report = made.report(**empty | {key: value for key, value in given.items() if key in empty})
    page = made.Page(render_report(report, **{key: value for key, value in given.items() if key not in empty}))
    assert page.headings == headings


def test_parts_with_nothing_that_can_be_drawn_are_left_out() -> None:
    nothing = np.full(5, np.nan)
    text = render_report(
        made.report(curves={}),
        pictures=Pictures([], nothing, list("abcde")),
        embedding_map=EmbeddingMap(np.full((5, 4), np.nan), nothing, np.zeros((0, 4))),
        attention=Attention([], np.zeros((0, 7, 7))),
    )
    assert made.Page(text).headings == [FIGURES, RUN]


def test_a_curve_without_a_finite_value_is_named_not_dropped() -> None:
    lost = Curve("a", np.arange(3.0), np.full(3, np.nan))
    text = render_report(made.report(curves={}), training={"loss/a": lost})
    assert "No value is finite" in text


def test_values_that_are_not_finite_are_counted_in_the_caption() -> None:
    y = np.array([1.0, np.nan, np.inf, 2.0])
    text = render_report(made.report(curves={}), training={"loss/a": Curve("a", np.arange(4.0), y)})
    assert "2 values of a are not finite and not drawn." in text


def test_cards_show_one_figure_of_each_family_with_its_interval(full: str) -> None:
    cards = re.findall(r'<li class="card">.*?</li>', full, re.DOTALL)
    assert len(cards) == 4
    assert "33.2\u202f%" in cards[0]
    assert "29.9 – 36.5\u202f%" in cards[0]
    assert not any("Rank-5" in card for card in cards)


def test_the_page_says_the_counts_the_time_and_the_configuration(page: made.Page) -> None:
    text = " ".join(page.words)
    for words in ("1,796", "3\u202fmin 12\u202fs", '"tau": 3.0', "seed"):
        assert words in text


_PROVENANCE: dict[str, object] = {
    "seconds": 12.0,
    "training_seconds": 7500.0,
    "data": "lfw-vlr/tinyface",
    "seed": 5,
    "resamples": 1000,
    "found": {"gallery": 689, "probe_without_mate": 7},
    "published": {"gallery": 4443, "probe": 3728},
    "left_out": ["error versus reject at FMR 0.001: too few", "pauc@fmr=0.01,reject=0.95: no pair"],
    "environment": {"machine": "Linux x86_64, 2 cores", "threads": 2, "torch": "2.13.0"},
    "faces": {
        "experiment": "lfw_vlr",
        "seed": 3,
        "fingerprint": "abc123",
        "step": 1200,
        "crops": "as given, unaligned",
        "data": "lfw-vlr/tinyface",
        "flip": True,
        "calibration": {"slope": 2.5},
        "statistics": None,
    },
    "config": {"tau": 3.0},
    "chance_rank1": 0.0021,
    "flag": False,
    "nothing": None,
}


def _row(name: str, *cells: str) -> str:
    return f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def test_how_it_was_made_names_data_times_machine_and_seeds() -> None:
    text = render_report(made.report(counts={}, context=_PROVENANCE)).replace("\u202f", " ")
    facts = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", text)
    assert facts == [
        ("data set", "lfw-vlr/tinyface"),
        ("crops", "as given, unaligned"),
        ("flip fusion", "yes"),
        ("experiment", "lfw_vlr"),
        ("training time", "2 h 5 min"),
        ("evaluation time", "12 s"),
        ("machine", "Linux x86_64, 2 cores"),
        ("threads", "2"),
        ("seed of the training", "3"),
        ("seed of the bootstrap", "5"),
        ("resamples of the bootstrap", "1000"),
        ("training step of the checkpoint", "1200"),
        ("fingerprint of the checkpoint", "abc123"),
        ("Rank-1 by chance", "0.2 %"),
        ("flag", "no"),
    ]


def test_found_counts_stand_beside_published_ones() -> None:
    text = render_report(made.report(context=_PROVENANCE))
    assert _row("gallery", "689", "4,443") in text
    assert _row("probe without mate", "7", "–") in text
    assert _row("probe", "–", "3,728") in text


def test_what_was_not_computed_is_a_list_and_the_rest_is_folded() -> None:
    text = render_report(made.report(context=_PROVENANCE)).replace("\u202f", " ")
    missing = text[text.index("<h3>Not computed</h3>") :]
    assert re.findall(r"<li>(.*?)</li>", missing) == [
        "error versus reject at FMR 0.001: too few",
        "Area under error versus reject, FMR 1 %, up to 95 % of pairs refused: no pair",
    ]
    assert re.findall(r"<summary>(.*?)</summary>", text) == [
        "Environment",
        "Encoded faces and their model",
        "Configuration",
    ]


def test_faces_may_be_a_sentence_and_empty_lists_are_left_out() -> None:
    text = render_report(made.report(counts={}, context={"faces": "built-in", "left_out": [], "found": {}}))
    assert "<div><dt>faces</dt><dd>built-in</dd></div>" in text
    assert "Not computed" not in text
    assert "Found and published" not in text


def test_the_same_values_give_the_same_bytes(full: str) -> None:
    again = render_report(
        made.report(),
        pictures=made.pictures(unrecognizable=(0.1, 0.05)),
        embedding_map=made.embedding_map(),
        attention=made.attention(),
        training={"loss/a": made.curve(), "loss/b": made.curve(), "gradient_norm": made.curve()},
    )
    assert again == full


def test_json_round_trips(tmp_path: Path) -> None:
    report = made.report()
    write_report(report, None, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == report.to_json()


def test_both_files_are_written_and_nothing_else(tmp_path: Path) -> None:
    write_report(made.report(), tmp_path / "a" / "r.html", tmp_path / "r.json")
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["r.html", "r.json"]
    assert (tmp_path / "a" / "r.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_a_failing_page_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "r.html"
    target.write_text("old")

    def fail(*_: object, **__: object) -> str:
        raise VlrfaceError("no page")

    monkeypatch.setattr("vlrface.report.page.render_report", fail)
    with pytest.raises(VlrfaceError, match="no page"):
        write_report(made.report(), target, None)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_names_that_are_not_utf8_do_not_stop_the_page(tmp_path: Path) -> None:
    write_report(Report("a\udcffb", "x", {}, {}, {}, {}), tmp_path / "r.html", None)
    assert "a\\udcffb" in (tmp_path / "r.html").read_text("utf-8")


_WITHOUT = """
import sys
from pathlib import Path
sys.modules["matplotlib"] = None
sys.modules["jinja2"] = None
from vlrface.report import write_report
from vlrface.types import Report, VlrfaceError
report = Report("t", "b", {}, {}, {}, {})
write_report(report, None, Path(sys.argv[1]) / "r.json")
try:
    write_report(report, Path(sys.argv[1]) / "r.html", None)
except VlrfaceError as error:
    print(error)
"""


def test_json_needs_no_optional_package_and_a_page_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "pip install 'vlrface[report]'" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]
