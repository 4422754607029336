"""The page of a comparison: what it claims, what it draws, that it is safe and stands alone."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlrface.evaluate import Compared, Comparison
from vlrface.report import write_comparison
from vlrface.report.comparison import render_comparison
from vlrface.report.forest import MAX_ROWS, forest_figure, forests
from vlrface.report.names import meaning
from vlrface.report.overlays import overlays
from vlrface.report.verdicts import sentence, tally, verdict
from vlrface.types import Curve, Estimate

from . import evaluated, made


def compared(first: float, second: float, low: float = math.nan, high: float = math.nan) -> Compared:
    difference = Estimate(first - second, low, high)
    return Compared(Estimate(first), Estimate(second), difference, 0.012 if math.isfinite(low) else math.nan)


def comparison(figures: dict[str, Compared], **changes: Any) -> Comparison:
    values: dict[str, Any] = {
        "title": "A against B", "benchmark": "tinyface", "names": ("A", "B"), "runs": (1, 3), "figures": figures,
        "counts": {}, "curves": {}, "context": {},
    }  # fmt: skip
    return Comparison(**{**values, **changes})


@pytest.mark.parametrize(
    ("figure", "found", "said"),
    [
        ("rank1", compared(0.5, 0.4, 0.05, 0.15), "A is better"),
        ("rank1", compared(0.4, 0.5, -0.15, -0.05), "B is better"),
        ("eer", compared(0.1, 0.2, -0.15, -0.05), "A is better"),
        ("rank1", compared(0.5, 0.4, -0.05, 0.15), "may be chance"),
        ("rank1", compared(0.5, 0.4, 0.0, 0.15), "may be chance"),
        ("rank1", compared(0.5, 0.4), "no interval"),
        ("rank1", compared(math.nan, 0.4), "no interval"),
        ("new", compared(2.0, 1.0, 0.5, 1.5), "differs"),
    ],
)
def test_a_model_is_named_only_where_its_interval_leaves_0_out(figure: str, found: Compared, said: str) -> None:
    assert verdict(found, meaning(figure), ("A", "B")) == said


@pytest.mark.parametrize(
    ("figure", "found", "said"),
    [
        ("rank1", compared(0.5, 0.4, 0.05, 0.15),
         "Rank-1 is 50.0 % for A and 40.0 % for B. The difference of +10.0 points (95 % interval +5.0 to +15.0 points) "
         "is more than chance (p = 0.012): A is better."),
        ("pauc@fmr=0.1", compared(0.02, 0.03, -0.05, 0.01),
         "Area under error versus reject, FMR 10 %, up to 30 % of pairs refused is 0.020 for A and 0.030 for B. The "
         "difference of -0.010 (95 % interval -0.050 to +0.010) may be chance."),
        ("rank1", compared(0.5, 0.4), "Rank-1 is 50.0 % for A and 40.0 % for B. The difference of +10.0 points has no "
         "interval, so that chance cannot be judged."),
        ("rank1", compared(math.nan, 0.4), "Rank-1 is – for A and 40.0 % for B."),
        ("new", compared(2.0, 1.0, 0.5, 1.5), "new is 2 for A and 1 for B. The difference of +1.000 (95 % interval "
         "+0.500 to +1.500) is more than chance (p = 0.012)."),
    ],
)  # fmt: skip
def test_sentences(figure: str, found: Compared, said: str) -> None:
    assert sentence(comparison({figure: found}), figure).replace("\u202f", " ") == said


def test_the_tally() -> None:
    figures = {
        "rank1": compared(0.5, 0.4, 0.05, 0.15),
        "rank5": compared(0.5, 0.4, -0.05, 0.15),
        "eer": compared(0.2, 0.1, 0.05, 0.15),
        "spearman_recognizability_size": compared(0.2, 0.1, 0.05, 0.15),
    }
    found = comparison(figures)
    assert tally(found, list(figures)) == (
        "Of 3 figures, A is better in 1, B is better in 1, in 1 no difference is certain."
    )
    assert tally(found, ["rank1"]) == ""


@pytest.fixture(params=evaluated.BENCHMARKS, scope="module")
def whole(request: pytest.FixtureRequest) -> tuple[Comparison, str]:
    found = evaluated.comparison(request.param)
    return found, render_comparison(found)


def test_the_page_stands_alone_and_is_safe(whole: tuple[Comparison, str]) -> None:
    _, text = whole
    page = made.Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert set(page.references) <= set(page.ids)
    assert not {"script", "link", "iframe", "img", "object", "form"} & set(page.tags)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)
    assert 'alert("1")' not in text
    assert page.headings == ["Differences", "Both models' curves", "All figures", "This comparison"]


def test_every_figure_is_in_a_table_with_its_verdict(whole: tuple[Comparison, str]) -> None:
    found, text = whole
    rows = re.findall(r'<tr><th scope="row">(?!<bdi>).*?</tr>', text)
    assert len(rows) == len(found.figures)
    assert all(re.search(r"is better|may be chance|no interval|differs", row) for row in rows)


def test_no_raw_key_and_no_nan_is_shown(whole: tuple[Comparison, str]) -> None:
    found, text = whole
    words = " ".join(made.Page(text).words)
    for key in (*found.figures, *found.curves):
        if re.search(r"\w_\w|@", key):
            assert key not in words, key
    for drawing in re.findall(r'<svg class="plot".*?</svg>', text, re.DOTALL):
        assert not re.search(r"\bnan\b|\binf\b", drawing, re.IGNORECASE)


def test_the_same_values_give_the_same_bytes() -> None:
    found = evaluated.comparison("pairs")
    assert render_comparison(found) == render_comparison(found)


def test_nothing_compared_still_makes_a_page() -> None:
    page = made.Page(render_comparison(comparison({}, context={"left_out": ["rank1: not measured for B"]})))
    assert page.headings == ["This comparison"]
    assert "Not compared" in page.words


def test_what_differs_between_runs_is_said() -> None:
    context = {"counts_apart": {"probe_failures": [0, None, 12345]}, "notes": [f"Mind {made.NASTY}"], "models": "odd"}
    words = " ".join(made.Page(render_comparison(comparison({}, context=context))).words)
    assert "0, –, 12,345" in words
    assert f"Mind {made.NASTY}" in words
    assert "3 runs" in words


def test_undefined_differences_are_tabled_not_drawn() -> None:
    found = comparison({"rank1": compared(math.nan, 0.4), "rank5": compared(0.5, 0.4, 0.1, 0.1)})
    (forest,) = forests(found)
    assert [branch.label for branch in forest.branches] == ["Rank-5"]
    assert "Rank-1" in render_comparison(found)


def test_points_and_numbers_do_not_share_an_axis() -> None:
    found = forests(comparison({"rank1": compared(0.5, 0.4, 0.1, 0.1), "auc": compared(0.9, 0.8)}))
    assert [(each.unit, len(each.branches)) for each in found] == [("gain", 1), ("difference", 1)]
    assert found[0].branches[0].value == pytest.approx(10.0)
    assert found[1].branches[0].value == pytest.approx(0.1)


def test_a_long_forest_is_cut() -> None:
    found = forests(comparison({f"rank{k}": compared(0.5, 0.4, 0.0, 0.2) for k in range(1, MAX_ROWS + 2)}))
    assert [len(each.branches) for each in found] == [8, 9]
    assert len({each.key for each in found}) == 2


def test_a_forest_of_long_names_equal_values_and_no_interval() -> None:
    figures = {
        "word " * 60: compared(0.0, 0.0),
        "x" * 200: compared(0.0, 0.0, 0.0, 0.0),
        "$a_b$": compared(1e9, 0.0),
        "東京": compared(1.0, 0.0),
    }
    (forest,) = forests(comparison(figures, names=("$A$" * 30, made.NASTY)))
    drawing = forest_figure(forest, ident="f")
    assert "nan" not in drawing.svg.lower()
    assert "<script" not in drawing.svg
    assert "$a b$" in drawing.svg
    assert "東京" in drawing.svg


def test_lines_of_both_models_meet_in_one_figure_each() -> None:
    x = np.linspace(0, 1, 5)
    names = [f"m{k}" for k in range(6)]
    many = tuple(Curve(f"{model}: {name}", x, x) for name in names for model in ("A", "B"))
    curves = {
        "cmc": (Curve("A", x, x), Curve("B", x, x)),
        "edc@fmr=0.01": many,
        "edc@fmr=0.001": many,
        "rank1_reject": many[:4],
    }
    drawn, omitted = overlays(comparison({}, curves=curves))
    assert omitted == 6, "the other operating point"
    assert len({each.key for each in drawn}) == len(drawn) == 1 + 6 + 2
    assert all([curve.name for curve in each.curves] == ["A", "B"] for each in drawn)
    assert drawn[1].about.title == "Errors left after refusing the hardest (FMR 1\u202f%): m0"


def test_both_files_are_written(tmp_path: Path) -> None:
    found = evaluated.comparison("pairs")
    write_comparison(found, tmp_path / "c.html", tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text()) == found.to_json()
    assert (tmp_path / "c.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.html", "c.json"]
