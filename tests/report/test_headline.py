"""The sentence at the top of a page and the figures of its cards."""

import pytest

from vlrface.report.headline import summary
from vlrface.types import Estimate, Report

from . import made


def test_the_summary_is_a_sentence_about_the_figures() -> None:
    assert summary(made.report()).replace("\u202f", " ") == (
        "The right person is the first answer for 33.2 % (95 % interval 29.9 to 36.5 %) of 1,796 probes. "
        "Refusing the 30 % least recognizable changes this to 42.0 %, which may be chance."
    )


def test_the_summary_without_rank_1() -> None:
    report = made.report(figures={"tpr@far=0.1": Estimate(0.768), "new": Estimate(2.5)})
    assert summary(report).replace("\u202f", " ") == (
        "TPR at FAR 10 % is 76.8 %: pairs of one person accepted, while 10 % of other pairs are. new is 2.500."
    )
    assert summary(made.report(figures={})) == ""


def test_a_given_summary_is_taken() -> None:
    assert summary(made.report(context={"summary": "All is well."})) == "All is well."


@pytest.mark.parametrize("value", [0.4, 0.46, 0.5])
def test_without_an_interval_nothing_is_known(value):
    figures = {"rank1": Estimate(0.46), "rank1@reject=0.3": Estimate(value)}
    said = summary(Report("t", "tinyface", figures, {"probes": 9}, {}, {}))
    assert "changes this to" in said
    assert "which may be chance" in said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.01, 0.06, "raises this to 50.0"), (-0.01, 0.06, "which may be chance"), (-0.06, -0.01, "lowers this to")],
)
def test_the_summary_claims_no_more_than_its_interval(low, high, said):
    figures = {
        "rank1": Estimate(0.46, 0.41, 0.5),
        "rank1@reject=0.3": Estimate(0.5, 0.45, 0.55),
        "rank1_gain@reject=0.3": Estimate((low + high) / 2, low, high),
    }
    assert said in summary(Report("t", "tinyface", figures, {"probes": 9}, {}, {}))
