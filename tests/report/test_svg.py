"""An SVG that takes its colours and fonts from the page, and shares no id with its neighbours."""

import re

import matplotlib as mpl
from matplotlib.figure import Figure

from vlrface.report.svg import Ink, css, draw


def _paint(figure: Figure) -> None:
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [0, 1, 0], color=Ink.SERIES[0], marker="o")
    axes.fill_between([0, 1, 2], [0, 0, 0], [1, 1, 1], color=Ink.RAMP[4], alpha=0.2)
    axes.text(0.5, 0.5, "a < b & c", color=Ink.TEXT)


def _drawn(ident: str) -> str:
    return draw(_paint, ident=ident, label='x "<y>" & z', width=300, height=200)


def _ids(svg: str) -> set[str]:
    return set(re.findall(r' id="([^"]*)"', svg))


def test_two_figures_share_no_id_and_each_reference_has_its_target() -> None:
    first, second = _drawn("f1"), _drawn("f2")
    assert _ids(first)
    assert not _ids(first) & _ids(second)
    for svg in (first, second):
        assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) == _ids(svg)


def test_an_id_that_begins_another_figures_id_does_not_collide() -> None:
    assert not _ids(_drawn("f1")) & _ids(_drawn("f11"))


def test_reserved_colours_become_the_pages() -> None:
    svg = _drawn("f1")
    for ink in (Ink.SERIES[0], Ink.RAMP[4], Ink.TEXT, Ink.GRID, Ink.MUTED):
        assert css(ink) in svg
    assert css(Ink.TEXT) == "currentColor"
    assert not re.search(r"#01[0-9a-f]{4}", svg)


def test_every_reserved_colour_is_its_own() -> None:
    inks = [Ink.TEXT, Ink.MUTED, Ink.GRID, Ink.SURFACE, *Ink.SERIES, *Ink.RAMP, *Ink.VERDICT]
    assert len({css(ink) for ink in inks}) == len(inks)


def test_text_stays_text_and_is_escaped() -> None:
    svg = _drawn("f1")
    assert ">a &lt; b &amp; c</text>" in svg
    assert 'aria-label="x &quot;&lt;y&gt;&quot; &amp; z"' in svg
    assert "font-family" not in svg


def test_the_size_is_left_to_the_page() -> None:
    opening = _drawn("f1").split(">")[0]
    assert 'viewBox="0 0 300 200"' in opening
    assert "width=" not in opening


def test_settings_of_matplotlib_are_as_before() -> None:
    before = dict(mpl.rcParams)
    _drawn("f1")
    assert dict(mpl.rcParams) == before


def test_the_same_figure_gives_the_same_text() -> None:
    assert _drawn("f1") == _drawn("f1")
