"""Names of figures and counts in words, and tables of those measured band after band."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.report.conditions import split_name
from vlrface.report.names import count_name, is_of_a_part, left_out, meaning
from vlrface.report.wording import threshold


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
    known = meaning(name)
    assert (known.label.replace("\u202f", " "), known.unit) == (label, unit)


@given(st.text())
def test_no_name_is_an_error(name: str) -> None:
    meaning(name)
    threshold(name)
    split_name(name)
    is_of_a_part(name)
    count_name(name)
    left_out(name)


def test_families() -> None:
    def family(name: str) -> str:
        return meaning(name).family

    assert family("rank1") == family("rank20")
    assert family("tpr@far=0.1") == family("tpr@far=0.001")
    assert family("rank1") != family("rank1@reject=0.3")
    assert family("rank1_distance_1") != family("rank1_distance_2")


def test_areas_do_not_hide_the_gain_behind_one_card() -> None:
    def family(name: str) -> str:
        return meaning(name).family

    assert family("pauc@fmr=0.01") == family("pauc@fmr=0.01,reject=0.2")
    assert family("pauc@fmr=0.01,reject=0.2") != family("rank1@reject=0.3")


def test_the_sentence_of_an_area_says_what_no_use_looks_like() -> None:
    assert "refusing at random gives 0.3" in meaning("normalised_pauc@fmr=0.01").sentence
    assert "refusing at random gives 0.95" in meaning("normalised_pauc@fmr=0.001,reject=0.95").sentence


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
    assert count_name(name).replace("\u202f", " ") == text


def test_what_was_left_out_is_named_in_words() -> None:
    said = left_out("pauc@fmr=0.01,reject=0.95: no genuine pair is left at 0.95 rejected")
    assert said.startswith("Area under error versus reject, FMR 1\u202f%, up to 95\u202f% of pairs refused: no genuine")
    assert left_out("verdicts: the faces carry no calibration") == "verdicts: the faces carry no calibration"
