"""The page, the contact sheet and the map of a searched pool."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.unrecognizable.made import pool

from vlrface.report import SearchedPool, write_unrecognizable
from vlrface.report.unrecognizable import EDGES, bands
from vlrface.types import VlrfaceError
from vlrface.unrecognizable import discover

from . import made


@pytest.fixture(scope="module")
def searched():
    given, _ = pool(people=20, lost=60, destroyed=60)
    crops = made.crops(len(given.embeddings))
    names = np.array([f"{i}.jpg" for i in range(len(crops) - 1)] + [made.NASTY])
    sizes = np.array([min(crop.shape[:2]) for crop in crops], np.int32)
    return discover(given), SearchedPool(given.embeddings, given.destroyed, names, sizes, lambda row: crops[row])


def test_bands_share_out_every_score_once():
    scores = np.array([1.0, 0.98, 0.5, 0.49, 0.02, 0.0, np.nan, 0.75, 0.7499])
    found = bands(scores)
    assert [band.low for band in found] == list(EDGES)
    assert [band.count for band in found] == [2, 0, 1, 2, 1, 0, 1, 1]
    assert [band.rows for band in found] == [(0, 1), (), (7,), (8, 2), (3,), (), (4,), (5,)]


def test_a_full_band_is_shown_evenly_from_the_surest_downwards():
    scores = np.linspace(0.5, 0.7499, 101)
    band = next(band for band in bands(scores, per_band=5) if band.low == 0.5)
    assert band.rows == (100, 75, 50, 25, 0)
    assert band.count == 101


def test_the_page_says_why_and_is_safe_and_self_contained(searched, tmp_path):
    found, given = searched
    written = write_unrecognizable(tmp_path, found, given)
    assert {path.name for path in written} == {"contact_sheet.html", "contact_sheet.png", "cluster_map.svg"}
    text = (tmp_path / "contact_sheet.html").read_text("utf-8")
    page = made.Page(text)
    assert page.headings == ["Why these clusters", "Where the faces lie", "Faces by score"]
    assert f"{found.found.sum()} of {len(found.scores)} faces" in text
    for name in found.clusters[0].evidence:
        assert f">{name}<small>" in text
    assert "<script" not in text
    assert not re.search(r"https?:|//[a-z]|url\((?!#)", re.sub(r"base64,[^\"]*", "", text))
    assert len(page.ids) == len(set(page.ids))
    first = text
    write_unrecognizable(tmp_path, found, given)
    assert (tmp_path / "contact_sheet.html").read_text("utf-8") == first


@pytest.mark.parametrize(("share", "said"), [(0.5, ""), (0.98, "nearly all"), (0.0, "hardly any")])
def test_a_page_doubts_a_finding_of_nearly_all_or_hardly_any(share, said, searched, tmp_path):
    found, given = searched
    rows = np.arange(len(found.scores)) < round(share * np.isfinite(found.scores).sum())
    found = replace(found, found=rows)
    write_unrecognizable(tmp_path, found, given)
    text = (tmp_path / "contact_sheet.html").read_text("utf-8")
    assert ("To be doubted" in text) == bool(said)
    assert said in found.doubt
    assert (found.doubt != "") == bool(said)
    assert found.to_json()["doubt"] == found.doubt


def test_the_sheet_shows_every_band_and_the_map_stands_alone(searched, tmp_path):
    found, given = searched
    write_unrecognizable(tmp_path, found, given)
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.width == 1440
        assert np.asarray(sheet).std() > 10
    svg = (tmp_path / "cluster_map.svg").read_text("utf-8")
    root = ET.fromstring(svg)  # noqa: S314 (written a line before)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(--" not in svg
    assert "currentColor" not in svg


def test_without_pictures_there_is_no_sheet(searched, tmp_path):
    found, given = searched
    bare = SearchedPool(given.embeddings, given.destroyed, given.names, given.sizes)
    written = write_unrecognizable(tmp_path, found, bare)
    assert [path.name for path in written] == ["contact_sheet.html", "cluster_map.svg"]
    assert "<img" not in (tmp_path / "contact_sheet.html").read_text("utf-8")


def test_the_same_values_give_the_same_t_sne(searched, tmp_path):
    pytest.importorskip("sklearn")
    found, given = searched
    maps = {}
    for projection in ("tsne", "tsne", "pca"):
        write_unrecognizable(tmp_path, found, given, projection=projection)
        maps.setdefault(projection, set()).add((tmp_path / "cluster_map.svg").read_text("utf-8"))
    assert len(maps["tsne"]) == len(maps["pca"]) == 1
    assert maps["tsne"] != maps["pca"]


def test_columns_of_different_lengths_are_refused(searched):
    _, given = searched
    # Some are also refused by the annotations, which only tests enforce.
    with pytest.raises((VlrfaceError, TypeError), match=r"columns of|Type-check"):
        SearchedPool(given.embeddings, given.destroyed, given.names[1:], given.sizes)
