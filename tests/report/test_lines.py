"""Line figures: what is drawn, what is thinned, what is said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.report.lines import MAX_POINTS, line_figure, thinned
from vlrface.report.subjects import SUBJECTS, subject
from vlrface.report.training import DENSE, condensed, training_panels
from vlrface.types import Curve

from . import made


@pytest.mark.parametrize(
    ("key", "title", "section"),
    [
        ("edc", "Errors left after refusing the hardest", "reject"),
        ("edc@fmr=0.001", "Errors left after refusing the hardest (FMR 0.1\u202f%)", "reject"),
        (
            "edc@fmr=0.01,mode=images",
            "Errors left after refusing the hardest (FMR 1\u202f%, whole pictures refused)",
            "reject",
        ),
        ("cmc/dev", "Found within the first answers (dev)", "recognition"),
        ("tpir20@fpir", "Finding known people among strangers", "recognition"),
        ("open_set", "Finding known people among strangers", "recognition"),
        (
            "edc@fmr=0.01,recomputed",
            "Errors left after refusing the hardest (FMR 1\u202f%, threshold recomputed)",
            "reject",
        ),
        ("rank1_by_side", "Rank-1 by size that the probes were shrunk to", "recognition"),
        ("tpr_by_side", "TPR by size that the probes were shrunk to", "recognition"),
        ("recognizability_by_distance", "Mean recognizability by distance of the camera", "reject"),
        ("rank1_by_moon", "Rank1 by moon", "other"),
        ("rank1@reject", "Rank-1 after refusing the hardest", "reject"),
        ("recognizability_by_size", "Recognizability by size of the face", "reject"),
        ("rocket_science", "Rocket science", "other"),
    ],
)
def test_keys_of_curves(key: str, title: str, section: str) -> None:
    assert (subject(key).title, subject(key).section) == (title, section)


def test_bounds_follow_from_the_first_error() -> None:
    drawing = line_figure([made.curve("ours")], SUBJECTS["edc"], ident="f")
    assert drawing is not None
    assert [entry.name for entry in drawing.legend] == ["ours", "random", "oracle"]


def test_measures_on_one_matcher_share_their_bounds_others_do_not() -> None:
    one = line_figure([made.curve("a"), made.curve("b")], SUBJECTS["edc"], ident="f")
    other = Curve("b", made.curve().x, 2 * made.curve().y)
    two = line_figure([made.curve("a"), other], SUBJECTS["edc"], ident="f")
    assert one is not None
    assert two is not None
    assert len(one.legend) == 4
    assert len(two.legend) == 6


def test_given_bounds_are_taken() -> None:
    curves = [made.curve("ours"), made.curve("Random")]
    drawing = line_figure(curves, SUBJECTS["edc"], ident="f")
    assert drawing is not None
    assert [(entry.name, entry.mark) for entry in drawing.legend] == [("ours", "line"), ("Random", "dashed")]


def test_a_single_line_needs_no_legend() -> None:
    drawing = line_figure([made.curve()], SUBJECTS["rank1_reject"], ident="f")
    assert drawing is not None
    assert drawing.legend == ()


def test_lines_differ_in_more_than_colour() -> None:
    drawing = line_figure([made.curve(str(i)) for i in range(24)], SUBJECTS["cmc"], ident="f")
    assert drawing is not None
    assert len({(entry.colour, entry.mark) for entry in drawing.legend}) == 24
    assert {entry.mark for entry in drawing.legend} == {"line", "dashed", "dashdot"}  # dots are the oracle's


def test_no_finite_value_gives_no_drawing() -> None:
    assert line_figure([Curve("a", np.arange(3.0), np.full(3, np.nan))], SUBJECTS["edc"], ident="f") is None
    assert line_figure([], SUBJECTS["edc"], ident="f") is None


_EDGE = {
    "one point": ([0.5], [0.5]),
    "constant": ([0.0, 1.0], [0.3, 0.3]),
    "zeros": ([0.0, 1.0], [0.0, 0.0]),
    "one position": ([1.0, 1.0], [0.2, 0.4]),
    "falling positions": (list(np.linspace(1, 0, 1000)), list(np.linspace(1, 0, 1000))),
    "huge": ([0.0, 1.0], [1e300, -1e300]),
    "tiny": ([1e-12, 2e-12], [1e-12, 2e-12]),
    "gap": ([0.0, 1.0, 2.0], [0.1, float("nan"), 0.2]),
}


@pytest.mark.parametrize("name", _EDGE)
@pytest.mark.parametrize("key", ["edc", "roc", "new"])
def test_strange_curves_are_drawn_without_warning(name: str, key: str) -> None:
    x, y = (np.array(values, np.float64) for values in _EDGE[name])
    drawing = line_figure([Curve("a", x, y, y, y)], subject(key), ident="f")
    assert drawing is None or "nan" not in drawing.svg.lower()


@given(st.integers(MAX_POINTS + 1, 3000), st.integers(0, 5), st.booleans())
def test_thinning_keeps_the_ends_and_the_extremes(n: int, seed: int, log: bool) -> None:
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.uniform(1e-6, 1.0, n)), rng.normal(size=n)
    rows = thinned(x, y, log=log)
    assert len(rows) <= MAX_POINTS
    assert (np.diff(rows) > 0).all()
    assert {0, n - 1, int(y.argmin()), int(y.argmax())} <= set(rows.tolist())


def test_thinning_leaves_a_short_line_alone() -> None:
    assert thinned(np.arange(5.0), np.arange(5.0)).tolist() == [0, 1, 2, 3, 4]


def test_scalars_with_one_prefix_share_a_panel_of_six_lines_at_most() -> None:
    training = {f"loss/{i}": made.curve() for i in range(8)} | {"gradient_norm": made.curve()}
    panels = list(training_panels(training))
    assert [(about.title, len(curves)) for about, curves in panels] == [
        ("Parts of the loss", 6),
        ("Parts of the loss (2)", 2),
        ("Gradient norm", 1),
    ]


def test_validation_shares_are_percent_and_named_in_words() -> None:
    [(about, curves)] = training_panels({"validation/rank1": made.curve(), "validation/mAP": made.curve()})
    assert about.y.unit == "share"
    assert [curve.name for curve in curves] == ["Rank-1", "Mean average precision"]


def test_several_runs_of_one_scalar_keep_their_names() -> None:
    [(_, curves)] = training_panels({"loss/total": (made.curve("seed 0"), made.curve("seed 1"))})
    assert [curve.name for curve in curves] == ["total, seed 0", "total, seed 1"]


def test_a_loss_over_decades_gets_a_log_scale() -> None:
    x = np.arange(10.0)
    [(wide, _)] = training_panels({"loss/a": Curve("a", x, 10.0**-x)})
    [(zero, _)] = training_panels({"loss/a": Curve("a", x, x)})
    assert wide.y.log
    assert not zero.y.log


def test_a_long_curve_becomes_means_and_ranges() -> None:
    n = 1200
    y = np.tile([1.0, 3.0], n // 2)
    y[7] = np.nan
    found = condensed(Curve("a", np.arange(float(n)), y))
    assert found.low is not None
    assert found.high is not None
    drawn = np.isfinite(found.y)
    assert drawn.sum() == 120
    assert (~drawn).sum() == 1, "kept, so that the figure counts it"
    assert np.nanmin(found.low) == 1.0
    assert np.nanmax(found.high) == 3.0
    np.testing.assert_allclose(found.y[drawn], 2.0, atol=0.2)
    short = made.curve(n=DENSE)
    assert condensed(short) is short
