"""Figures measured band after band: which table they stand in, and how a page shows them."""

import math

import pytest

from vlrface.report.bands import band_tables
from vlrface.report.conditions import measure_name, phrase, row_label, split_name
from vlrface.report.grids import MAX_COLUMNS, grids
from vlrface.types import Estimate


@pytest.mark.parametrize(
    ("name", "head", "conditions"),
    [
        ("rank1", "rank1", {}),
        ("tpr@far=0.01,side=14", "tpr", {"far": "0.01", "side": "14"}),
        ("pauc@fmr=0.1,recomputed,measure=a", "pauc", {"fmr": "0.1", "recomputed": "", "measure": "a"}),
        ("pauc@measure=a,b=c@d", "pauc", {"measure": "a,b=c@d"}),
        ("x@measure=", "x", {"measure": ""}),
        ("x@,,a=1,", "x", {"a": "1"}),
        ("x@mymeasure=2", "x", {"mymeasure": "2"}),
    ],
)
def test_parts_of_a_name(name: str, head: str, conditions: dict[str, str]) -> None:
    assert split_name(name) == (head, conditions)


@pytest.mark.parametrize(
    ("key", "value", "text", "row"),
    [
        ("size", "1-12", "1–11 px", "1–11 px"),
        ("size", "odd", "odd", "odd"),
        ("recognizability", "1of5", "lowest fifth of recognizability", "lowest fifth"),
        ("recognizability", "4of5", "fourth fifth of recognizability", "fourth fifth"),
        ("recognizability", "10of10", "highest tenth of recognizability", "highest tenth"),
        ("recognizability", "6of10", "6th tenth of recognizability", "6th tenth"),
        ("recognizability", "3of7", "third part of recognizability", "third part"),
        ("distance", "1", "distance 1 (4.2 m)", "1 (4.2 m)"),
        ("distance", "far", "distance far", "far"),
        ("side", "14", "shrunk to 14 px", "14 px"),
        ("measure", "cr_fiqa", "by CR-FIQA", "CR-FIQA"),
        ("measure", "My Own", "by My Own", "My Own"),
        ("reject", "0.3", "30 % refused", "30 %"),
        ("camera", "left", "camera left", "camera left"),
    ],
)
def test_conditions_in_words(key: str, value: str, text: str, row: str) -> None:
    assert phrase(key, value).replace("\u202f", " ") == text
    assert row_label(key, value).replace("\u202f", " ") == row


def test_names_of_measures_are_known_in_any_spelling() -> None:
    assert measure_name("CR-FIQA") == measure_name("cr_fiqa") == measure_name("crfiqa") == "CR-FIQA"


def _figures(*names: str) -> dict[str, Estimate]:
    return {name: Estimate(0.5 + i / 100, 0.4, 0.9) for i, name in enumerate(names)}


def test_one_band_alone_makes_no_table() -> None:
    alone, tables = grids(_figures("rank1", "rank1@size=12-16"), {})
    assert (alone, tables) == (["rank1", "rank1@size=12-16"], [])


def test_bands_stand_in_rows_with_their_counts() -> None:
    names = ["rank1@size=12-16", "rank1@size=16-20", "tpr@far=0.01,size=16-20", "rank1@recognizability=1of5"]
    counts = {"probes@size=12-16": 7, "probes@size=99+": 1, "accepted@far=0.1": 3}
    alone, (table,) = grids(_figures(*names), counts)
    assert alone == ["rank1@recognizability=1of5"]
    assert table.columns == ("Rank-1", "TPR at FAR 1\u202f%")
    assert table.counted == ("probes",)
    assert [(row.names, row.counts) for row in table.rows] == [
        (("rank1@size=12-16", None), (7,)),
        (("rank1@size=16-20", "tpr@far=0.01,size=16-20"), (None,)),
    ]


def test_measures_are_ordered_from_best_to_worst_and_lost_ones_come_last() -> None:
    values = {"a": 0.3, "b": math.nan, "c": 0.1, "d": 0.2}
    less = {f"normalised_pauc@fmr=0.01,measure={name}": Estimate(value) for name, value in values.items()}
    more = {f"rank1@reject=0.3,measure={name}": Estimate(value) for name, value in values.items()}
    _, tables = grids({**more, **less}, {})
    assert [[row.label for row in table.rows] for table in tables] == [["c", "d", "a", "b"], ["a", "d", "c", "b"]]
    assert tables[0].subtitle == "Relative area under error versus reject, FMR 1\u202f%, pairs refused"


def test_a_wide_table_is_cut() -> None:
    names = [f"rank{k}@side={side}" for side in (7, 14) for k in range(1, 13)]
    _, tables = grids(_figures(*names), {})
    assert [len(table.columns) for table in tables] == [MAX_COLUMNS, MAX_COLUMNS, 2]


def test_cells_of_a_page_lie_on_their_scale() -> None:
    figures = {
        "rank1@side=7": Estimate(0.21, 0.1, 0.3),
        "rank1@side=14": Estimate(0.4, math.nan, math.nan),
        "rank1_loss@side=7": Estimate(0.19, 0.1, 0.28),
        "rank1_loss@side=14": Estimate(math.nan),
    }
    (band,) = band_tables(grids(figures, {})[1], figures)
    assert band.others == ()
    (share, scale), (_, gains) = band.first.columns
    assert (share, scale) == ("Rank-1", "0 – 40\u202f%")
    assert gains == "-30 – 30\u202fpoints"
    first, second = band.first.rows
    assert first.cells[0] is not None
    assert first.cells[0].whisker == {"value": 52.5, "low": 25.0, "high": 75.0}
    assert second.cells[0] is not None
    assert second.cells[0].whisker == {"value": 100.0, "low": 100.0, "high": 100.0}
    assert second.cells[1] is not None
    assert (second.cells[1].value, second.cells[1].whisker) == ("–", None)


def test_all_zero_or_undefined_columns_have_a_scale() -> None:
    for value in (0.0, math.nan):
        figures = {f"{head}@side={side}": Estimate(value) for head in ("rank1", "rank1_loss") for side in (7, 14)}
        (band,) = band_tables(grids(figures, {})[1], figures)
        assert band.first.columns[0][1] == "0 – 100\u202f%"
