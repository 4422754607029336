from pathlib import Path

import numpy as np
import pytest

from vlrface.data.cross_resolution import read_cross_resolution
from vlrface.types import VlrfaceError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Person k has k pictures."""
    folder = tmp_path_factory.mktemp("people")
    for person in range(1, 6):
        (folder / f"{person:03}").mkdir()
        for picture in range(person):
            (folder / f"{person:03}" / f"{picture}.jpg").write_bytes(b"x")  # readers open nothing
    return folder


def test_one_picture_is_gallery_and_the_others_are_probes_at_each_side(root: Path) -> None:
    benchmark = read_cross_resolution(root, (28, 7))
    manifest = benchmark.manifest
    assert benchmark.name == "cross-resolution"
    assert benchmark.counts == {"persons": 4, "persons_left_out": 1, "gallery": 4, "probes": 10, "sides": 2}
    gallery, small, large = (manifest.split(name) for name in ("gallery", "side7", "side28"))
    assert gallery.identities.tolist() == [2, 3, 4, 5]
    assert small.sources.tolist() == large.sources.tolist()
    assert small.identities.tolist() == [2, 3, 3, 4, 4, 4, 5, 5, 5, 5]
    assert not set(gallery.sources) & set(small.sources)
    everything = {f"{k:03}/{i}.jpg" for k in range(2, 6) for i in range(k)}
    assert set(gallery.sources) | set(small.sources) == everything
    assert np.isnan(gallery.truths["shrink_side"]).all()
    assert set(small.truths["shrink_side"].tolist()) == {7.0}
    assert set(large.truths["shrink_side"].tolist()) == {28.0}
    assert manifest.splits.tolist() == ["gallery"] * 4 + ["side7"] * 10 + ["side28"] * 10
    assert manifest.path(0).is_file()


def test_the_seed_draws_the_gallery(root: Path) -> None:
    drawn = {tuple(read_cross_resolution(root, seed=seed).manifest.split("gallery").sources) for seed in range(20)}
    assert len(drawn) > 5
    again = read_cross_resolution(root, seed=3).manifest.sources.tolist()
    assert again == read_cross_resolution(root, seed=3).manifest.sources.tolist()


def test_others_in_the_folder_do_not_change_who_is_gallery(root: Path, tmp_path: Path) -> None:
    for picture in range(4):
        (tmp_path / "004").mkdir(exist_ok=True)
        (tmp_path / "004" / f"{picture}.jpg").write_bytes(b"x")
    alone = read_cross_resolution(tmp_path, seed=1).manifest.split("gallery").sources.tolist()
    assert alone[0] in read_cross_resolution(root, seed=1).manifest.split("gallery").sources.tolist()


def test_every_picture_is_drawn_about_equally_often(root: Path) -> None:
    drawn = [read_cross_resolution(root, (7,), seed).manifest.split("gallery").sources[3] for seed in range(300)]
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 5
    assert counts.min() > 40


@pytest.mark.parametrize("sides", [(), (0,), (7, 7), (14, -1)])
def test_refuses_sides_that_are_none(root: Path, sides: tuple[int, ...]) -> None:
    with pytest.raises(VlrfaceError, match="different sides"):
        read_cross_resolution(root, sides)


def test_refuses_people_with_one_picture(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "a.png").write_bytes(b"x")
    with pytest.raises(VlrfaceError, match="nobody has two pictures"):
        read_cross_resolution(tmp_path)
    with pytest.raises(VlrfaceError, match="no such folder"):
        read_cross_resolution(tmp_path / "nowhere")


@pytest.mark.real
def test_real_faces(real_data: Path) -> None:
    benchmark = read_cross_resolution(real_data / "lfw-vlr" / "hr" / "dev")
    assert benchmark.counts == {"persons": 336, "persons_left_out": 0, "gallery": 336, "probes": 1149, "sides": 5}
