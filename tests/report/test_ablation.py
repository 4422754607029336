"""Tables and page of an ablation: every number where it belongs, and nothing that a name could break."""

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from vlrface.evaluate.ablation import AblationTable, Cell, Column, Cost
from vlrface.report import ablation_overview, write_ablation
from vlrface.report.ablation import render_ablation
from vlrface.report.ablation_tables import ablation_latex, ablation_markdown, ablation_tables
from vlrface.types import Estimate

from .made import NASTY

RANK1, AREA = (
    Column("tinyface", "rank1"),
    Column("held-out.rejection", "normalised_pauc@fmr=0.01,measure=recognizability"),
)
CONTEXT = {
    "seed": 0, "resamples": 1000, "notes": ["A note."], "left_out": ["b/seed1, tinyface: measured on other crops"],
    "recipe": "recipes/a.py", "command": f"vlrface ablate {NASTY}", "steps": [588, 600], "training_seconds": 75.0,
    "trainings": "5 of 6 measured", "trained_on": ["lfw-vlr/hr"], "environment": {"machine": "2 cores"},
    "failed": ["c/seed0: failed (exit code 1): error"],
    "data": {"tinyface": {"faces": "lfw-vlr/tinyface", "counts": {"probes": 796, "accepted_impostors@far=0.1": 3}}},
}  # fmt: skip


def cell(values, low, high, difference=None, chance=0.5):
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Cell(dict(enumerate(values)), Estimate(mean, low, high), spread, difference, chance, paired=True)


@pytest.fixture
def table():
    cells = {
        ("arcface", RANK1): cell([0.32, 0.34], 0.3, 0.36),
        ("full", RANK1): cell([0.35, 0.37], 0.33, 0.39, Estimate(0.03, 0.01, 0.05), 0.002),
        (NASTY, RANK1): cell([0.31], 0.29, 0.33, Estimate(-0.02, -0.05, 0.01)),
        ("full", AREA): cell([0.21, 0.23], 0.2, 0.24),
    }
    return AblationTable("study", "arcface", ("arcface", "full", NASTY), (RANK1, AREA), cells, CONTEXT)


def test_the_overview_has_means_spreads_and_marks(table):
    overview = ablation_tables(table)[0]
    rows = {label: [each.value for each in cells] for label, cells in overview.rows}
    assert overview.heads[:3] == ("Variant", "Seeds", "TinyFace: Rank-1 (%)")
    assert rows["arcface"] == ["2", "33.0 ± 1.4", "–"]
    assert rows["full"] == ["2", "36.0 ± 1.4 *", "0.220 ± 0.014"]
    assert rows[NASTY] == ["1", "31.0", "–"]


def test_each_measurement_has_its_intervals_and_differences(table):
    detailed = ablation_tables(table)[1]
    assert detailed.title == "TinyFace layout"
    assert detailed.heads == ("Variant", "Seeds", "Rank-1 (%)", "difference (points)")
    rows = dict(detailed.rows)
    assert [(each.value, each.interval) for each in rows["full"]][1:] == [
        ("36.0 ± 1.4", "33.0, 39.0"),
        ("+3.0 *", "+1.0, +5.0"),
    ]
    assert [(each.value, each.interval) for each in rows["arcface"]][2] == ("–", "")


def test_markdown_and_latex_say_how_it_was_made(table):
    markdown, latex = ablation_markdown(table), ablation_latex(table)
    for text in (markdown, latex):
        for said in (
            "588 to 600",
            "1 min 15",
            "recipes/a.py",
            "5 of 6 measured",
            "796 probes",
            "lfw-vlr/hr",
            "2 cores",
        ):
            assert said in text.replace("\\,", " ").replace("\u202f", " "), said
    assert markdown.count("A note.") == 1
    assert "<script>" not in markdown
    assert latex.count("\\begin{table*}") == latex.count("\\end{table*}") == 3
    assert "36.0 ± 1.4 \\*" in ablation_overview(table)
    assert "A note." not in ablation_overview(table)


def test_the_page_tells_who_differs_and_escapes_names(table):
    page = render_ablation(table)
    HTMLParser().feed(page)
    assert "<script" not in page
    # The first figure of tested faces, not the held-out one, makes the sentence.
    summary = re.search(r'class="summary">(.*?)</p>', page, re.DOTALL)[1]
    assert summary == "TinyFace: Rank-1, beside arcface: full is better; 1 more may differ by chance only."
    assert page.count('<svg class="plot"') == 2
    for said in (
        "+3.0\u202fpoints",
        "may be chance",
        "lfw-vlr/tinyface; 796 probes",
        "c/seed0: failed",
        "measured on other",
    ):
        assert said in page
    assert "accepted impostors" not in page
    assert render_ablation(table) == page


def test_costs_stand_beside_the_figures_where_they_are_known(table):
    assert "Trained parameters" not in ablation_overview(table) + render_ablation(table)
    costs = {"arcface": Cost(1_024_000, 75.0), "full": Cost(None, 9.04)}
    costly = dataclasses.replace(table, costs=costs)
    overview = ablation_tables(costly)[0]
    assert overview.heads[-2:] == ("Trained parameters", "Time of a training")
    rows = {label: [each.value for each in cells][-2:] for label, cells in overview.rows}
    assert rows == {
        "arcface": ["1,024,000", "1\u202fmin 15\u202fs"], "full": ["–", "9.0\u202fs"], NASTY: ["–", "–"],
    }  # fmt: skip
    page = render_ablation(costly)
    HTMLParser().feed(page)
    assert "<td>1,024,000</td><td>1\u202fmin 15\u202fs</td>" in page
    assert costly.to_json()["costs"]["arcface"] == {"trained_parameters": 1_024_000, "seconds": 75.0}


def test_a_smaller_area_is_better():
    cells = {
        ("a", AREA): cell([0.22, 0.24], 0.2, 0.25),
        ("b", AREA): cell([0.2, 0.2], 0.19, 0.21, Estimate(-0.03, -0.04, -0.02)),
    }
    page = render_ablation(AblationTable("t", "a", ("a", "b"), (AREA,), cells, {}))
    assert "beside a: b is better." in page
    assert '<td class="said first">' in page


def test_of_some_figures_neither_direction_is_better():
    column = Column("tinyface", "spearman_recognizability_size")
    cells = {
        ("a", column): cell([0.2, 0.2], 0.19, 0.21),
        ("b", column): cell([0.4, 0.4], 0.39, 0.41, Estimate(0.2, 0.1, 0.3)),
    }
    page = render_ablation(AblationTable("t", "a", ("a", "b"), (column,), cells, {}))
    assert "beside a: b is different." in page
    assert ">differs<" in page
    assert "said first" not in page
    assert "said second" not in page


def test_nothing_measured_is_a_page_too(tmp_path):
    write_ablation(AblationTable("t", "a", (), (), {}, {}), tmp_path)
    assert "No training has been measured yet" in (tmp_path / "ablation.html").read_text()
    assert "Nothing is measured yet" in (tmp_path / "ablation.md").read_text()
    assert (tmp_path / "ablation.tex").read_text().startswith("%")
    assert (tmp_path / "ablation.json").is_file()
