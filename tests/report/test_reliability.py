"""The page of a calibration: every number is there, and what is not known is said."""

import re

import numpy as np

from vlrface.metrics.calibration import Calibration
from vlrface.metrics.operating import Point
from vlrface.metrics.reliability import reliability
from vlrface.report.reliability import reliability_diagram, render_calibration, threshold_row

POINTS = (
    Point("fmr", 0.01, 0.41, 0.38, 0.44, 0.0099, 0.007, 0.014, 0.3, 0.2, 0.4, 12480, 40),
    Point("fpir", 0.1, 0.52, 0.5, 0.55, 0.1, 0.06, 0.15, float("nan"), float("nan"), float("nan"), 160, 40, 39),
    Point("fnmr", 0.2, 0.7, 0.6, float("nan"), 0.19, 0.1, 0.3, 0.4, 0.3, 0.5, 90, 40, 0, 0.01),
)
CALIBRATION = Calibration(1.0, 0.0, 0.0, 1.0, 159, 160, 0.6, 0.04, points=POINTS)


def found():
    draw = np.random.default_rng(0)
    score = draw.uniform(0, 1, 160)
    return reliability(score, draw.random(160) < score, np.arange(160) // 4, bins=8, resamples=50)


def test_the_page_shows_every_threshold_and_every_bin():
    page = render_calibration(CALIBRATION, found(), ["FMR 1e-05: too few <faces>"], title="T", data="40 people")
    for text in ("cosine 0.4100", "cosine 0.5200", "score 0.700", "12,480 pairs of different people, 40 people"):
        assert text in page
    for text in (
        "160 searches, 40 people, 39 people enrolled",
        "90 accepted genuine pairs, 40 people, pairs judged at",
    ):
        assert text in page
    bins = re.findall(r"<tr><th scope=\"row\">[\d.]+</th><td>[^<]+</td><td>[^<]+</td><td>(\d+)</td></tr>", page)
    assert [int(each) for each in bins] == [20] * 8
    assert "too few &lt;faces&gt;" in page
    idents = re.findall(r' id="(f\d+-[^"]+)"', page)
    assert len(idents) == len(set(idents))


def test_what_is_not_known_is_said_so():
    assert threshold_row(POINTS[2]).threshold_interval == "0.600 – not known"
    assert threshold_row(POINTS[1]).cost == "–"
    page = render_calibration(CALIBRATION, found(), [], title="T", data="d")
    assert not re.search(r"\bnan\b", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))


def test_the_diagram_says_what_it_shows():
    drawing = reliability_diagram(found(), ident="f0")
    assert drawing.svg.count("% right") == 8
    assert [entry.mark for entry in drawing.legend] == ["dot", "dashed"]
