"""The table of an ablation against an obvious loop and against `compare`."""

import numpy as np
import pytest

from vlrface.evaluate import TinyFace, compare, measured
from vlrface.evaluate.ablation import Column, RunFigures, check_columns, tabulate
from vlrface.metrics.intervals import Sampled
from vlrface.types import VlrfaceError

from .made import tinyface

RANK1 = Column("tinyface", "rank1")
FIVE = {0: 0.3, 1: 0.32, 2: 0.31, 4: 0.3, 7: 0.32}


def figures(values, crops="c", name="rank1", resamples=40, seed=0):
    """Runs by seed: samples scatter around the value."""
    rng = np.random.default_rng(seed)
    return {
        number: {
            "tinyface": RunFigures(
                {name: Sampled(np.array([value]), value + 0.01 * rng.normal(size=(resamples, 1)), 9)}, crops
            )
        }
        for number, value in values.items()
    }


def slow_interval(runs, others, seed, *, paired):
    """Resample by resample: the drawn runs of each side, stretched, their difference; percentiles."""

    def side(given, picks):
        n, rows = len(given), []
        for row, drawn in enumerate(picks):
            middle = np.mean([run[row] for run in given])
            rows.append(middle + (n / (n - 1)) ** 0.5 * (np.mean([given[k][row] for k in drawn]) - middle))
        return np.array(rows)

    def picks(n, side):
        return np.random.default_rng([seed, 1 + side]).integers(0, n, (len(runs[0]), n))

    own = side(runs, picks(len(runs), 0))
    gain = own - side(others, picks(len(others), 0 if paired else 1))
    return np.percentile(own, (2.5, 97.5)), np.percentile(gain, (2.5, 97.5))


def test_a_cell_is_what_an_obvious_loop_says():
    runs = {"base": figures(FIVE, seed=1), "new": figures({k: v + 0.03 for k, v in FIVE.items()}, seed=2)}
    runs["apart"] = figures({0: 0.34, 1: 0.37}, seed=3)
    table = tabulate("t", runs, "base", [RANK1], seed=5)
    samples = {
        variant: [each["tinyface"].figures["rank1"].samples[:, 0] for each in by_seed.values()]
        for variant, by_seed in runs.items()
    }
    for variant, paired in (("new", True), ("apart", False)):
        cell = table.cells[variant, RANK1]
        values = list(cell.values.values())
        assert cell.mean.value == pytest.approx(sum(values) / len(values))
        middle = sum(values) / len(values)
        assert cell.deviation == pytest.approx((sum((v - middle) ** 2 for v in values) / (len(values) - 1)) ** 0.5)
        own, gain = slow_interval(samples[variant], samples["base"], 5, paired=paired)
        assert (cell.mean.low, cell.mean.high) == pytest.approx(tuple(own))
        assert (cell.difference.low, cell.difference.high) == pytest.approx(tuple(gain))
        assert cell.difference.value == pytest.approx(cell.mean.value - 0.31)
        assert cell.paired == paired
    base = table.cells["base", RANK1]
    assert (base.difference, base.certain, base.paired) == (None, False, False)
    assert any("elsewhere seeds are drawn apart" in note for note in table.context["notes"])


@pytest.mark.parametrize("seeds", [(0, 1, 2, 3, 4), (0, 1)])
def test_a_cell_is_what_compare_says(seeds):
    good = {seed: tinyface(people=20, noise=1.2, seed=seed) for seed in seeds}
    bad = {seed: tinyface(people=20, noise=1.9, seed=10 + seed) for seed in range(5)}
    paired = len(seeds) == 5

    def measure(faces):
        return {"tinyface": RunFigures(measured(faces, TinyFace(), resamples=60).figures, "c")}

    runs = {"bad": {k: measure(f) for k, f in bad.items()}, "good": {k: measure(f) for k, f in good.items()}}
    columns = [Column("tinyface", name) for name in ("rank1", "mAP", "tpr@far=0.01")]
    table = tabulate("t", runs, "bad", columns)
    found = compare(list(good.values()), list(bad.values()), TinyFace(), resamples=60, pair_runs=paired)
    for column in columns:
        cell, figure = table.cells["good", column], found.figures[column.figure]
        assert cell.paired == paired
        assert cell.mean == figure.first
        assert cell.difference == figure.difference
        assert (cell.chance, cell.certain) == (figure.chance, figure.certain)


def test_one_training_has_no_spread_and_says_so():
    table = tabulate("t", {"a": figures({0: 0.3}), "b": figures({0: 0.4}, seed=1)}, "a", [RANK1])
    cell = table.cells["b", RANK1]
    assert np.isnan(cell.deviation)
    assert not cell.paired
    assert cell.certain
    assert cell.to_json()["deviation"] is None
    assert any("one seed counts people only" in note for note in table.context["notes"])
    assert not any("draws the same seeds" in note for note in table.context["notes"])


def test_a_partial_table_holds_what_there_is():
    runs = {"a": {}, "b": figures({0: 0.3}), "c": figures({1: 0.2}, name="mAP")}
    table = tabulate("t", runs, "a", [RANK1, Column("tinyface", "mAP"), Column("scface", "rank1")])
    assert table.variants == ("b", "c")
    assert table.columns == (RANK1, Column("tinyface", "mAP"))
    assert table.cells["b", RANK1].difference is None
    assert ("c", RANK1) not in table.cells
    empty = tabulate("t", {"a": {}}, "a", [RANK1])
    assert (empty.variants, empty.columns) == ((), ())


def test_trainings_measured_on_other_crops_are_left_out_and_named():
    runs = {"b": figures({0: 0.4, 1: 0.4}, crops="other"), "a": figures({0: 0.3})}
    runs["b"][0] = figures({0: 0.5})[0]
    table = tabulate("t", runs, "a", [RANK1])
    assert list(table.cells["b", RANK1].values) == [0]
    assert table.context["left_out"] == ["b/seed1, tinyface: measured on other crops"]


def test_bands_of_other_people_cannot_be_paired():
    """As those of an index: the crops agree, the people in the band do not."""
    runs = {"a": figures({0: 0.3}), "b": figures({0: 0.4})}
    sampled = runs["b"][0]["tinyface"].figures["rank1"]
    runs["b"][0] = {"tinyface": RunFigures({"rank1": sampled._replace(people=8)}, "c")}
    table = tabulate("t", runs, "a", [RANK1])
    assert table.variants == ("a",)
    assert table.context["left_out"] == ["b/seed0, tinyface: measured on other crops"]


def test_json_holds_every_training(tmp_path):
    table = tabulate("t", {"a": figures({0: 0.25, 3: 0.5})}, "a", [RANK1], context={"resamples": 40})
    table.save(tmp_path / "t.json")
    values = table.to_json()
    assert values["variants"]["a"]["tinyface:rank1"]["values"] == {"0": 0.25, "3": 0.5}
    assert values["context"]["resamples"] == 40


def test_further_columns_are_read_from_their_names():
    assert check_columns(["tinyface:tpr@far=0.1,size=8-12"], ["tinyface"]) == [
        Column("tinyface", "tpr@far=0.1,size=8-12")
    ]
    for text in ("rank1", "tinyface:", "other:rank1"):
        with pytest.raises(VlrfaceError, match="write MEASUREMENT:FIGURE"):
            check_columns([text], ["tinyface"])
