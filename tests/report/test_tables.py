"""Tables for a paper: right, escaped, complete, the same every time."""

import math
import re
from pathlib import Path

import pytest

from vlrface.report import latex_table, markdown_table, write_tables
from vlrface.report.tables import as_latex, as_markdown, comparison_tables, report_tables, safe_name
from vlrface.types import Estimate, Report, VlrfaceError

from . import evaluated, made

_CONTEXT = {"seed": 3, "resamples": 1000, "faces": {"model": "a.onnx", "crops": "aligned"}}


def _report(**figures: Estimate) -> Report:
    return Report("100 probes", "tinyface", figures, {"probes": 100}, {}, _CONTEXT)


_TWO = {"model_a": _report(rank1=Estimate(0.462, 0.41, 0.515)), "100 % & more": _report(rank1=Estimate(0.5))}


def test_a_latex_table_in_full() -> None:
    two = {**_TWO, "[c]": _report(auc=Estimate(0.9313, 0.9, 0.95))}
    assert latex_table(two, ["rank1", "auc"]) == (
        r"""% needs \usepackage{booktabs}
\begin{table}
  \centering
  \caption{Benchmark tinyface}
  \label{tab:tinyface_models}
  \begin{tabular}{lrr}
    \toprule
    Model & Rank-1 (\%) & Area under the ROC \\
    \midrule
    model\_a & 46.2 {\scriptsize [41.0, 51.5]} & -- \\
    100 \% \& more & 50.0 & -- \\
    {[}c{]} & -- & 0.931 {\scriptsize [0.900, 0.950]} \\
    \bottomrule
  \end{tabular}

  \smallskip
  \begin{minipage}{\linewidth}
    \footnotesize
    In brackets: 95 \% intervals.
    Benchmark: tinyface (100 probes).
    Counts: 100 probes.
    Intervals: 95 \% percentile bootstrap over people, 1,000 resamples, seed 3.
    Crops: aligned.
    Matcher: a.onnx.
  \end{minipage}
\end{table}
"""
    )


def test_a_markdown_table_in_full() -> None:
    assert markdown_table(_TWO, ["rank1"]) == (
        "**Benchmark tinyface**\n\n| Model | Rank-1 (%) |\n|---|---:|\n| model\\_a | 46.2 \\[41.0, 51.5\\] |\n".replace(
            "\\[", "["
        ).replace("\\]", "]")
        + "| 100 % \\& more | 50.0 |\n\n"
        "In brackets: 95 % intervals.  \n"
        "Benchmark: tinyface (100 probes).  \n"
        "Counts: 100 probes.  \n"
        "Intervals: 95 % percentile bootstrap over people, 1,000 resamples, seed 3.  \n"
        "Crops: aligned.  \n"
        "Matcher: a.onnx.\n"
    )


def test_values_that_are_not_known_are_dashes() -> None:
    text = markdown_table({"a": _report(rank1=Estimate(math.nan), auc=Estimate(0.5, 0.4, math.nan))}, ["rank1", "auc"])
    assert "| a | – | 0.500 |" in text


def test_a_negative_difference_has_a_minus_sign_in_latex() -> None:
    name = "rank1_gain@reject=0.3"
    text = latex_table({"a": _report(**{name: Estimate(-0.021, -0.05, 0.01)})}, [name])
    assert r"\ensuremath{-}2.1 {\scriptsize [\ensuremath{-}5.0, +1.0]}" in text


@pytest.mark.parametrize(
    ("reports", "figures", "message"),
    [
        ({}, ["rank1"], "needs reports and figures"),
        (_TWO, [], "needs reports and figures"),
        (_TWO, ["rank2"], "no report has a figure 'rank2'; there are rank1"),
        ({"a": made.report(), "b": made.report(benchmark="pairs")}, ["rank1"], "pairs, tinyface cannot share a table"),
    ],
)
def test_what_cannot_be_a_table(reports: dict[str, Report], figures: list[str], message: str) -> None:
    for table in (latex_table, markdown_table):
        with pytest.raises(VlrfaceError, match=re.escape(message)):
            table(reports, figures)


@pytest.mark.parametrize("benchmark", evaluated.BENCHMARKS)
def test_every_figure_stands_in_one_cell(benchmark: str) -> None:
    report = evaluated.report(benchmark)
    tables = report_tables(report)
    cells = [cell for table in tables for _, row in table.rows for cell in row if cell.interval or "." in cell.value]
    assert len(cells) >= sum(math.isfinite(each.value) for each in report.figures.values())
    assert len({table.name for table in tables}) == len(tables)


@pytest.mark.parametrize("benchmark", ["rejection", "survface-id"])
@pytest.mark.parametrize("compared", [False, True])
def test_latex_is_well_formed(benchmark: str, compared: bool) -> None:
    made_of = evaluated.comparison(benchmark) if compared else evaluated.report(benchmark)
    for table in comparison_tables(made_of) if not isinstance(made_of, Report) else report_tables(made_of):
        text = re.sub(r"\\[{}]", "", as_latex(table))
        assert text.count("{") == text.count("}")
        body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
        for line in body.splitlines():
            if line.rstrip().endswith(r"\\") and r"\multicolumn" not in line:
                assert len(re.findall(r"(?<!\\)&", line)) == len(table.heads) - 1, line
        for begun in ("table", "tabular", "minipage"):
            assert (
                len(re.findall(rf"\\begin{{{begun}\*?}}", text)) == len(re.findall(rf"\\end{{{begun}\*?}}", text)) == 1
            )
        rows = [line for line in as_markdown(table).splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(table.heads) + 1}


def test_a_comparison_says_both_values_the_difference_and_a_verdict() -> None:
    first, *others = comparison_tables(evaluated.comparison("scface"))
    assert first.heads == ("Figure", "model_a", made.NASTY, "Difference", "Verdict")
    assert {others[k].name for k in range(len(others))} == {
        "scface_compared_01_size",
        "scface_compared_02_distance",
        "scface_compared_03_reject",
    }
    verdicts = {row[-1].value for table in (first, *others) for _, row in table.rows if row}
    assert verdicts <= {"model_a is better", f"{made.NASTY} is better", "may be chance", "no interval", "differs"}
    assert "model_a is better" in verdicts
    assert "<script>" not in as_markdown(first).replace("\\<script\\>", "")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("edc@fmr=0.01,mode=images", "edc_fmr-0p01_mode-images"),
        ("../../etc/passwd", "etc_passwd"),
        ("training/Loss", "training_loss"),
        ("Łódź", "d"),
        ("???", "figure"),
        ("a" * 300, "a" * 100),
        ("con. .", "con"),
    ],
)
def test_names_of_files_are_plain(name: str, wanted: str) -> None:
    assert safe_name(name) == wanted


def test_files_are_written_and_are_the_same_every_time(tmp_path: Path) -> None:
    paths = write_tables(evaluated.report("scface"), tmp_path / "a")
    again = write_tables(evaluated.report("scface"), tmp_path / "b")
    assert [path.name for path in paths] == [path.name for path in again]
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    assert sorted(paths) == sorted((tmp_path / "a").iterdir())
    assert {path.suffix for path in paths} == {".tex", ".md"}


def test_a_report_without_figures_makes_no_table(tmp_path: Path) -> None:
    assert write_tables(made.report(figures={}), tmp_path / "empty") == []
