"""The page knows every figure, curve and count that a benchmark gives: no raw key is shown."""

import html
import re

import pytest

from vlrface.report.grids import grids
from vlrface.report.headline import leading, summary
from vlrface.report.names import count_name, meaning
from vlrface.report.subjects import subject
from vlrface.report.wording import humanised
from vlrface.types import Report

from . import evaluated, made

_RAW = re.compile(r"[a-z]_[a-z]|@|\w=")
"""What keys have and words have not."""

_OWN_NAME = evaluated.MEASURES[-1]


@pytest.fixture(params=evaluated.BENCHMARKS, scope="module")
def report(request: pytest.FixtureRequest) -> Report:
    return evaluated.report(request.param)


@pytest.mark.parametrize(
    ("benchmark", "figures", "curves"),
    [
        ("tinyface", {"rank1_gain@reject=0.3", "normalised_pauc@fmr=0.01,reject=0.2,mode=images"}, {"cmc", "roc"}),
        ("survface-id", {"tpir20@fpir=0.1,size=16-20", "tpir20_area", "fpir@fpir=0.1,reject=0.3"}, {"open_set"}),
        ("survface-verif", {"tpr@far=0.3", "accuracy"}, {"roc"}),
        ("pairs", {"tpr@far=0.01,recognizability=2of5", "accuracy", "eer"}, {"roc"}),
        ("scface", {"rank1@distance=1", "recognizability@distance=3"}, {"cmc", "rank1_reject"}),
        ("cross-resolution", {"tpr@far=0.01,side=14", "rank1_loss@side=7"}, {"rank1_by_side", "tpr_by_side"}),
        (
            "rejection",
            {"pauc_gain@fmr=0.01,measure=norm", "pauc@fmr=0.001,recomputed,measure=ers"},
            {"edc@fmr=0.01,recomputed", "rank1_reject"},
        ),
    ],
)
def test_every_kind_of_figure_is_among_those_tested(benchmark: str, figures: set[str], curves: set[str]) -> None:
    found = evaluated.report(benchmark)
    assert figures <= set(found.figures)
    assert curves <= set(found.curves)


def test_every_figure_has_a_label_of_its_own_and_a_sentence(report: Report) -> None:
    known = {name: meaning(name) for name in report.figures}
    for name, each in known.items():
        label = each.label.replace(_OWN_NAME, "")
        assert label.lower() != humanised(name).lower() or name.isalpha(), name
        assert not _RAW.search(label), name
        assert each.sentence, name
        assert not _RAW.search(each.sentence), name
        assert each.group != "other", name
    assert len({each.label for each in known.values()}) == len(known)


def test_every_figure_has_its_unit(report: Report) -> None:
    numbers = ("auc", "pauc@", "normalised_pauc", "recognizability@", "spearman_", "tpir20_area")
    for name in report.figures:
        head = name.split("@")[0]
        if head.endswith(("_gain", "_loss")):
            wanted = "difference" if head == "pauc_gain" else "gain"
        else:
            wanted = "number" if name.startswith(numbers) else "share"
        assert meaning(name).unit == wanted, name


def test_every_curve_has_a_title_of_its_own(report: Report) -> None:
    subjects = {key: subject(key) for key in report.curves}
    for key, about in subjects.items():
        assert about.section != "other", key
        assert about.caption, key
        assert not _RAW.search(about.title), key
    assert len({about.title for about in subjects.values()}) == len(subjects)


def test_no_figure_is_lost_between_list_and_tables(report: Report) -> None:
    alone, tables = grids(report.figures, report.counts)
    placed = [name for table in tables for row in table.rows for name in row.names if name is not None]
    assert sorted([*alone, *placed]) == sorted(report.figures)
    assert len(alone) < 20
    for table in tables:
        assert len(table.rows) > 1
        assert len(table.columns) == len(table.units) == len(set(table.columns))
        for row in table.rows:
            assert len(row.names) == len(table.columns)
            assert len(row.counts) == len(table.counted)
            assert any(row.names)


def test_the_page_shows_no_raw_key(report: Report) -> None:
    text = evaluated.page(report.benchmark)
    page = made.Page(text)
    words = " ".join(page.words)
    spoken = html.unescape(" ".join(re.findall(r'(?:aria-label|title|alt)="([^"]*)"', text)))
    for key in (*report.figures, *report.curves, *report.counts):
        if _RAW.search(key):
            assert key not in words, key
            assert key not in spoken, key
    for name, number in report.counts.items():
        if number:
            assert count_name(name) in words, name


@pytest.mark.parametrize(
    ("benchmark", "start"),
    [
        ("tinyface", "The right person is the first answer for "),
        ("survface-id", "Of 120 probes of known people, "),
        ("survface-verif", "Of 2,160 pairs, "),
        ("pairs", "Of 2,160 pairs, "),
        ("scface", "The right person is the first answer for "),
        ("cross-resolution", "The right person is the first answer for "),
    ],
)
def test_the_summary_of_each_benchmark_is_about_it(benchmark: str, start: str) -> None:
    assert summary(evaluated.report(benchmark)).startswith(start)


def test_the_summaries_in_full() -> None:
    def said(benchmark: str) -> str:
        text = summary(evaluated.report(benchmark)).replace("\u202f", " ")
        return re.sub(r"[+-]?\d+\.\d+( to [+-]?\d+\.\d+)?", "N", text)

    assert "N % (95 % interval N %) are found among the first 20 while 10 % of 200 probes of strangers" in said(
        "survface-id"
    )
    assert "are judged rightly. N % (95 % interval N %) of 240 pairs of one person are accepted, while 1 % of" in said(
        "pairs"
    )
    assert "for N % at distance 1, N % at distance 2 and N % at distance 3 of the probes" in said("scface")
    assert "for N % at 7 px, N % at 14 px and N % at 21 px of the probes" in said("cross-resolution")
    assert "Of 12 quality measures, " in said("rejection")


@pytest.mark.parametrize(
    ("benchmark", "cards"),
    [
        ("tinyface", ["rank1", "mAP", "tpr@far=0.01", "rank1@reject=0.3"]),
        ("survface-id", ["tpir20@fpir=0.3", "tpir20@fpir=0.1", "tpir20@fpir=0.01", "tpir20_area"]),
        ("survface-verif", ["accuracy", "tpr@far=0.1", "tpr@far=0.01", "auc"]),
        ("pairs", ["accuracy", "tpr@far=0.01", "tpr@far=0.001", "eer"]),
        ("scface", ["rank1@distance=1", "rank1@distance=2", "rank1@distance=3"]),
        ("cross-resolution", ["rank1@side=7", "rank1@side=14", "rank1@side=21"]),
    ],
)
def test_the_cards_show_what_a_person_looks_for(benchmark: str, cards: list[str]) -> None:
    found = evaluated.report(benchmark)
    assert leading(found.figures, benchmark)[: len(cards)] == cards


def test_the_cards_of_rejection_are_the_best_measures() -> None:
    report = evaluated.report("rejection")
    names = leading(report.figures, "rejection")
    assert len(names) == 4
    areas = {
        name: each.value
        for name, each in report.figures.items()
        if re.fullmatch(r"normalised_pauc@fmr=0.01,measure=.*", name)
    }
    assert names == sorted(areas, key=areas.__getitem__)[:4]
    cards = re.findall(r'<li class="card">.*?</li>', evaluated.page("rejection"), re.DOTALL)
    assert len(cards) == 4
    assert "Relative area" not in cards[0].split("<strong>")[0], "the heading is the measure"


def test_twelve_measures_are_told_apart_and_large() -> None:
    text = evaluated.page("rejection")
    legends = re.findall(r'<ul class="legend">.*?</ul>', text, re.DOTALL)
    assert text.count('<figure class="panel beside">') == 9
    for legend in legends:
        keys = re.findall(r'style="color: ([^"]*)">(.*?)</svg>', legend, re.DOTALL)
        assert len(keys) == 14
        assert len(set(keys)) == 14


def test_a_measure_keeps_its_stroke_from_one_figure_to_the_next() -> None:
    text = evaluated.page("rejection")
    keys = re.findall(r'style="color: ([^"]*)">(.*?)</svg>ERS</li>', text)
    assert len(keys) == 9
    assert len(set(keys)) == 1


def test_figures_that_could_not_be_computed_are_listed_in_words() -> None:
    text = evaluated.page("tinyface")
    assert "Not computed" in text
    assert "error versus reject at FMR 0.001" in text
