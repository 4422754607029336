"""Histograms, the faces under one, and attention over faces."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlrface.report import Attention, Pictures
from vlrface.report.crops import MAX_ATTENTION, bins, columns, data_address, overlay, overlays
from vlrface.report.distributions import recognizability_histogram, score_histogram

from . import made


def _decoded(address: str) -> np.ndarray:
    head, _, data = address.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


@given(st.lists(st.floats(-2, 2) | st.just(float("nan")), max_size=80))
def test_bins_hold_every_finite_value_once_in_order(values: list[float]) -> None:
    index = np.array(values, np.float64)
    parts = bins(index)
    rows = np.concatenate([*parts, np.empty(0, np.int64)])
    assert sorted(rows.tolist()) == np.flatnonzero(np.isfinite(index)).tolist()
    assert (np.diff(index[rows.astype(int)]) >= 0).all()
    assert max((len(part) for part in parts), default=0) - min((len(part) for part in parts), default=0) <= 1


def test_columns_go_from_hard_to_easy_and_read_only_what_they_show() -> None:
    opened: list[int] = []

    class Lazy(list[np.ndarray]):
        def __getitem__(self, row: int) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
            opened.append(row)
            return super().__getitem__(row)

    n = 500
    index = np.random.default_rng(0).permutation(n) / n
    given = Pictures(made.crops(n), index, [str(i) for i in range(n)])
    object.__setattr__(given, "crops", Lazy(given.crops))
    found = columns(given)
    assert len(found) == 10
    assert [len(column.faces) for column in found] == [5] * 10
    assert np.argsort(index)[opened].size == 50
    assert (np.diff(index[opened]) > 0).all()
    assert [column.tone for column in found] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    np.testing.assert_allclose([column.median for column in found], np.arange(0.0495, 1, 0.1), atol=1e-3)


def test_fewer_faces_than_columns() -> None:
    given = Pictures(made.crops(3), np.array([0.3, 0.1, 0.2]), list("abc"))
    assert [column.faces[0].text for column in columns(given)] == [
        "b, recognizability 0.100",
        "c, recognizability 0.200",
        "a, recognizability 0.300",
    ]


def test_crops_may_be_one_array() -> None:
    given = Pictures(np.zeros((4, 9, 7, 3), np.uint8), np.arange(4.0), list("abcd"))
    assert len(columns(given)) == 4


def test_a_small_crop_keeps_every_pixel() -> None:
    crop = made.crops(1)[0]
    np.testing.assert_array_equal(_decoded(data_address(crop)), crop)


@pytest.mark.parametrize(("shape", "wanted"), [((200, 100), (64, 32)), ((1, 900), (1, 64)), ((64, 10), (64, 10))])
def test_a_large_crop_is_shrunk(shape: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert _decoded(data_address(np.zeros((*shape, 3), np.uint8))).shape[:2] == wanted


_INDEX = {
    "one": np.array([0.4]),
    "equal": np.full(20, 0.4),
    "far ones": np.append(np.linspace(0, 1, 999), 1e6),
    "with nan": np.array([0.1, np.nan, 0.3]),
    "float32": np.linspace(0, 1, 50).astype(np.float32),
}


_BANDS = [(0.2, 0.1), (1e9, 0.1), (float("nan"), 1.0), (0.2, 0.0)]


@pytest.mark.parametrize(
    ("name", "band", "wide"),
    [(name, None, True) for name in _INDEX]
    + [("float32", band, False) for band in _BANDS]
    + [("one", (0.2, 0.1), True)],
)
def test_strange_indexes_are_drawn_without_warning(name: str, band: tuple[float, float] | None, wide: bool) -> None:
    index = _INDEX[name]
    given = Pictures(made.crops(len(index)), index, [str(i) for i in range(len(index))], unrecognizable=band)
    drawing = recognizability_histogram(given, ident="f", wide=wide)
    assert drawing is not None
    assert "nan" not in drawing.svg.lower()
    assert "refused" in drawing.svg


def test_what_the_histogram_leaves_out_is_said() -> None:
    index = np.concatenate([np.linspace(0, 1, 998), [1e6, np.nan]])
    drawing = recognizability_histogram(Pictures([], index, [""] * 1000), ident="f", wide=True)
    assert drawing is not None
    assert drawing.notes == (
        "Faces without an index, as those that could not be encoded: 1.",
        "The outermost bars count what lies beyond the ends of the axis, too: 1.",
    )


def test_the_band_and_the_line_are_named() -> None:
    given = made.pictures(unrecognizable=(0.1, 0.05), reject_share=0.25)
    drawing = recognizability_histogram(given, ident="f", wide=True)
    assert drawing is not None
    assert ">unrecognizable</text>" in drawing.svg
    assert ">hardest 25\u202f% refused</text>" in drawing.svg


def test_scores_by_verdict() -> None:
    drawing = score_histogram({"recognizable": np.array([1.0, 0.9]), "doubtful": np.zeros(0)}, ident="f", wide=True)
    assert drawing is not None
    assert [entry.name for entry in drawing.legend] == ["recognizable"]
    assert "2 recognizable" in drawing.svg
    assert score_histogram({}, ident="f", wide=True) is None


def test_an_overlay_is_brighter_where_the_attention_is_high() -> None:
    face = np.full((20, 16, 3), 120, np.uint8)
    weights = np.zeros((7, 7))
    weights[:3] = 1.0
    shown = overlay(face, weights).astype(float)
    assert shown[:30].mean() > shown[80:].mean() + 50


def test_one_scale_serves_all_overlays() -> None:
    maps = np.stack([np.full((3, 3), 0.2), np.full((3, 3), 0.6)])
    found, scale = overlays(Attention(made.crops(2), maps))
    assert scale == (0.2, 0.6)
    assert len(found) == 2
    _, flat = overlays(Attention(made.crops(1), np.full((1, 3, 3), 0.5)))
    assert flat == (0.5, 0.5)
    many, _ = overlays(Attention(made.crops(30), np.zeros((30, 3, 3))))
    assert len(many) == MAX_ATTENTION
