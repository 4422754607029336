"""Numbers and names in words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.report import wording
from vlrface.types import Estimate, Report

from . import made


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.3324, "33.2 %"),
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.9999, "99.99 %"),
        (0.0004, "0.04 %"),
        (0.00004, "0.004 %"),
        (1e-7, "1e-05 %"),
        (-0.02, "-2.0 %"),
        (math.nan, "–"),
    ],
)
def test_percent(share: float, text: str) -> None:
    assert wording.percent(share).replace("\u202f", " ") == text


@given(st.floats(0, 1))
def test_only_nothing_reads_as_0_and_only_all_as_100(share: float) -> None:
    text = wording.percent(share).removesuffix("\u202f%")
    assert math.isclose(float(text), 100 * share, abs_tol=0.051)
    if 1e-6 < share < 1 - 1e-6:
        assert float(text) not in (0.0, 100.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.93123, "0.931"),
        (1234567.0, "1,234,567"),
        (1234.5, "1,234"),
        (12.345, "12.3"),
        (0.00123, "0.00123"),
        (math.inf, "–"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.53, "0.5 s"),
        (42.0, "42 s"),
        (192.3, "3 min 12 s"),
        (59.9, "1 min 0 s"),
        (7500.0, "2 h 5 min"),
        (math.nan, "–"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert wording.duration(seconds).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("name", "label", "unit"),
    [
        ("rank1", "Rank-1", "share"),
        ("rank20", "Rank-20", "share"),
        ("rank1_distance_1", "Rank-1, distance 1", "share"),
        ("rank1@reject=0.3", "Rank-1 without the hardest 30 %", "share"),
        ("mAP", "Mean average precision", "share"),
        ("tpr@far=0.001", "TPR at FAR 0.1 %", "share"),
        ("tpr@far=1e-4", "TPR at FAR 0.01 %", "share"),
        ("tpir20@fpir=0.3", "TPIR20 at FPIR 30 %", "share"),
        ("fnmr@fmr=0.01", "FNMR at FMR 1 %", "share"),
        ("auc", "Area under the ROC", "number"),
        ("pauc_0.3", "pauc 0.3", "number"),
        ("spearman_size", "spearman size", "number"),
        ("chance_rank1", "Rank-1 by chance", "share"),
        ("rank1_gain@reject=0.3", "Gain of rank-1 without the hardest 30 %", "gain"),
        ("pauc@fmr=0.01", "Area under error versus reject, FMR 1 %, up to 30 % of pairs refused", "number"),
        (
            "normalised_pauc@fmr=0.01,reject=0.2,mode=images",
            "Relative area under error versus reject, FMR 1 %, up to 20 % of pictures refused",
            "number",
        ),
        ("recognizability@size=12-16", "Recognizability at 12–15 px", "number"),
        ("recognizability@size=32+", "Recognizability at 32 px and more", "number"),
        ("index~size", "Rank correlation of index and size", "number"),
        ("spearman_recognizability_size", "Rank correlation of recognizability and size", "number"),
    ],
)
def test_names_of_figures(name: str, label: str, unit: str) -> None:
    known = wording.meaning(name)
    assert (known.label.replace("\u202f", " "), known.unit) == (label, unit)


@given(st.text())
def test_no_name_is_an_error(name: str) -> None:
    wording.meaning(name)
    wording.operating_point(name)
    wording.threshold(name)
    wording.count_name(name)
    wording.left_out(name)


def test_families() -> None:
    def family(name: str) -> str:
        return wording.meaning(name).family

    assert family("rank1") == family("rank20")
    assert family("tpr@far=0.1") == family("tpr@far=0.001")
    assert family("rank1") != family("rank1@reject=0.3")
    assert family("rank1_distance_1") != family("rank1_distance_2")


def test_areas_do_not_hide_the_gain_behind_one_card() -> None:
    def family(name: str) -> str:
        return wording.meaning(name).family

    assert family("pauc@fmr=0.01") == family("pauc@fmr=0.01,reject=0.2")
    assert family("pauc@fmr=0.01,reject=0.2") != family("rank1@reject=0.3")


def test_the_sentence_of_an_area_says_what_no_use_looks_like() -> None:
    assert "refusing at random gives 0.3" in wording.meaning("normalised_pauc@fmr=0.01").sentence
    assert "refusing at random gives 0.95" in wording.meaning("normalised_pauc@fmr=0.001,reject=0.95").sentence


@pytest.mark.parametrize(
    ("gain", "text"),
    [
        (0.0421, "+4.2 points"),
        (-0.021, "-2.1 points"),
        (0.0, "0.0 points"),
        (-0.0, "0.0 points"),
        (0.0004, "+0.04 points"),
        (-0.00001, "-0.001 points"),
        (math.nan, "–"),
    ],
)
def test_a_gain_is_a_signed_difference_in_points(gain: float, text: str) -> None:
    assert wording.points(gain).replace("\u202f", " ") == text


@given(st.floats(-1, 1))
def test_a_gain_never_shows_the_wrong_sign(gain: float) -> None:
    text = wording.points(gain).removesuffix("\u202fpoints")
    assert math.isclose(float(text), 100 * gain, abs_tol=0.051)
    assert text.startswith("+") == (gain > 0 or text == "+0.000")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("probe_without_mate", "probe without mate"),
        ("accepted_impostors@far=0.001", "accepted impostors at FAR 0.1 %"),
        ("faces@size=12-16", "faces of 12–15 px"),
        ("faces@size=32+", "faces of 32 px and more"),
    ],
)
def test_names_of_counts(name: str, text: str) -> None:
    assert wording.count_name(name).replace("\u202f", " ") == text


def test_what_was_left_out_is_named_in_words() -> None:
    said = wording.left_out("pauc@fmr=0.01,reject=0.95: no genuine pair is left at 0.95 rejected")
    assert said.startswith("Area under error versus reject, FMR 1\u202f%, up to 95\u202f% of pairs refused: no genuine")
    assert wording.left_out("verdicts: the faces carry no calibration") == "verdicts: the faces carry no calibration"


def test_intervals() -> None:
    assert wording.interval_text(Estimate(0.042, 0.031, -0.004), "gain") == "+3.1 – -0.4\u202fpoints"
    assert wording.interval_text(Estimate(0.3), "share") == ""
    assert wording.interval_text(Estimate(0.3, 0.2, 0.4), "share") == "20.0 – 40.0\u202f%"
    assert wording.interval_text(Estimate(0.3, 0.2, 0.4), "number") == "0.200 – 0.400"


def test_the_summary_is_a_sentence_about_the_figures() -> None:
    assert wording.summary(made.report()).replace("\u202f", " ") == (
        "The right person is the first answer for 33.2 % (95 % interval 29.9 to 36.5 %) of 1,796 probes. "
        "Refusing the 30 % least recognizable raises this to 42.0 %."
    )


def test_the_summary_without_rank_1() -> None:
    report = made.report(figures={"tpr@far=0.1": Estimate(0.768), "new": Estimate(2.5)})
    assert wording.summary(report).replace("\u202f", " ") == (
        "TPR at FAR 10 % is 76.8 %: pairs of one person accepted, while 10 % of other pairs are. new is 2.500."
    )
    assert wording.summary(made.report(figures={})) == ""


def test_a_given_summary_is_taken() -> None:
    assert wording.summary(made.report(context={"summary": "All is well."})) == "All is well."


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
    assert said in wording.summary(Report("t", "tinyface", figures, {"probes": 9}, {}, {}))
