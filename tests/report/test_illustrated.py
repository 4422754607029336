"""Figures for a paper that show faces, embeddings and attention."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlrface.report import Attention, Illustrations, Pictures, write_figures
from vlrface.report.illustrated import illustrated
from vlrface.report.paper import plates
from vlrface.report.plate import PAGE_INCHES, Plate, rendered

from . import made

NAMES = ["recognizability_histogram", "embedding_map", "attention"]


def _shown(**changes: object) -> Illustrations:
    given = {"pictures": made.pictures(), "embedding_map": made.embedding_map(), "attention": made.attention()}
    return Illustrations(**{**given, **changes})


def _only(shown: Illustrations) -> Plate:
    (plate,) = illustrated(shown, ["A fact."])
    return plate


def _pictures(svg: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", svg)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGB")) for each in found]


def test_all_that_is_at_hand_has_a_figure_with_its_facts() -> None:
    found = list(illustrated(_shown(pictures=made.pictures(unrecognizable=(0.1, 0.05))), ["A fact."]))
    assert [plate.name for plate in found] == NAMES
    assert [plate.wide for plate in found] == [True, False, True]
    for plate in found:
        assert plate.caption.endswith("A fact.")
        assert "\u202f" not in plate.caption
        files = rendered(plate)
        svg = files[".svg"].decode()
        assert f'width="{72 * plate.width:g}pt"' in svg
        assert "nan" not in re.sub(r"base64,[^\"]*", "", svg).lower()
        assert "<text" not in svg
        assert "pixelated" not in svg, "whoever shows the file smooths the faces"
        assert files[".pdf"].startswith(b"%PDF")
    assert list(illustrated(Illustrations(), [])) == []


def test_the_faces_under_the_histogram_are_those_of_the_page_from_hard_to_easy() -> None:
    n = 100
    index = np.random.default_rng(4).permutation(n) / n
    crops = [np.full((6, 8, 3), row, np.uint8) for row in range(n)]
    plate = _only(Illustrations(Pictures(crops, index, [""] * n)))
    shown = [int(picture[0, 0, 0]) for picture in _pictures(rendered(plate)[".svg"].decode())]
    assert len(shown) == 50
    assert (np.diff(index[shown]) > 0).all()


@pytest.mark.parametrize(("shape", "side"), [((5, 9), 5), ((200, 150), 64), ((64, 64), 64), ((1, 30), 1)])
def test_a_face_is_cut_to_its_middle_and_only_shrunk(shape: tuple[int, int], side: int) -> None:
    face = np.zeros((*shape, 3), np.uint8)
    height, width = shape
    y, x = np.mgrid[:height, :width]
    face[(abs(2 * y - height + 1) <= min(shape)) & (abs(2 * x - width + 1) <= min(shape))] = 200
    plate = _only(Illustrations(Pictures([face], np.array([0.5]), ["a"])))
    (picture,) = _pictures(rendered(plate)[".svg"].decode())
    assert picture.shape == (side, side, 3)
    assert (picture == 200).all()


def test_a_histogram_without_faces_is_one_column_wide() -> None:
    plate = _only(Illustrations(Pictures([], np.linspace(0, 1, 30), [""] * 30)))
    assert not plate.wide
    assert _pictures(rendered(plate)[".svg"].decode()) == []


@pytest.mark.parametrize(
    "shown",
    [
        Illustrations(Pictures([], np.full(3, np.nan), [""] * 3)),
        Illustrations(embedding_map=made.embedding_map(2)),
        Illustrations(attention=Attention([], np.zeros((0, 7, 7)))),
    ],
)
def test_what_is_empty_has_no_figure(shown: Illustrations) -> None:
    assert list(illustrated(shown, [])) == []


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (9, 2), (30, 3)])
def test_attention_comes_in_rows_of_eight(count: int, rows: int) -> None:
    plate = _only(Illustrations(attention=Attention(made.crops(count), np.full((count, 3, 3), 0.5))))
    assert plate.inches == pytest.approx(rows * (2 * 0.96 * PAGE_INCHES / 8 + 0.06) + 0.3)
    assert len(_pictures(rendered(plate)[".svg"].decode())) == 2 * min(count, 24) + 1


def test_tones_differ_in_grey() -> None:
    svg = rendered(_only(Illustrations(made.pictures())))[".svg"].decode()
    tones = dict.fromkeys(re.findall(r'style="fill: #([0-9a-f]{6}); opacity: 0\.3"', svg))
    grey = [np.dot([int(tone[i : i + 2], 16) for i in (0, 2, 4)], (0.299, 0.587, 0.114)) for tone in tones]
    assert len(grey) == 5
    assert (np.diff(grey) > 20).all()


def test_files_are_named_by_the_benchmark_or_as_asked(tmp_path: Path) -> None:
    report = made.report(figures={}, curves={})
    names = [plate.name for plate in plates(report, _shown())]
    assert names[-3:] == [f"tinyface_{name}" for name in NAMES]
    paths = write_figures(report, tmp_path, _shown(), start="My run")
    assert {f"my_run_{name}{suffix}" for name in NAMES for suffix in (".svg", ".pdf", ".tex", ".txt")} <= {
        path.name for path in paths
    }
    assert "\\begin{figure*}" in (tmp_path / "my_run_attention.tex").read_text()
    assert "\\begin{figure}" in (tmp_path / "my_run_embedding_map.tex").read_text()
    again = rendered(plates(report, _shown(), start="My run")[-1])
    assert (tmp_path / "my_run_attention.svg").read_bytes() == again[".svg"]
