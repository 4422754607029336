import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlrface.data.cache import cached_crops, crops_in_memory
from vlrface.data.manifest import Manifest
from vlrface.encode import SHRINK_SIDE, Encoder, encode, encode_crops
from vlrface.encode.faces import shrunk
from vlrface.images.resize import resize
from vlrface.models.recognizer import Recognizer
from vlrface.types import VlrfaceError


def _pictures(folder, sizes):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in sizes]
    for i, each in enumerate(pictures):
        Image.fromarray(each).save(folder / f"{i}.png")
    return pictures


def _manifest(folder, n, **truths):
    names = np.array([f"{i}.png" for i in range(n)])
    return Manifest(names, np.arange(n), np.full(n, "probe"), {k: np.array(v) for k, v in truths.items()}, folder)


def test_importing_needs_no_torch():
    code = "import sys, vlrface.encode, vlrface.encode.onnx; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_our_network_and_any_object_with_the_members_are_encoders(shows):
    assert isinstance(shows, Encoder)
    assert all(hasattr(Recognizer, name) for name in ("input", "embedding_dim", "prepare", "embed_crops"))
    assert not isinstance(object(), Encoder)


def test_rows_keep_order_and_a_broken_file_keeps_its_row(tmp_path, shows):
    pictures = _pictures(tmp_path, [(6, 9), (10, 7), (8, 8)])
    (tmp_path / "1.png").write_bytes(b"no picture")
    faces = encode(shows, _manifest(tmp_path, 3), batch_size=2, progress=False, meta={"model": "m"})
    expected = [pictures[i].reshape(-1, 3).mean(axis=0).round() for i in (0, 2)]
    np.testing.assert_allclose(faces.embeddings[[0, 2]], expected)
    np.testing.assert_allclose(faces.recognizability[[0, 2]], [each[0] for each in expected])
    assert np.isnan(faces.embeddings[1]).all()
    assert "1.png" in faces.failures[1]
    assert faces.sizes.tolist() == [6, 0, 8]
    assert faces.meta == {"model": "m", "flip": False}
    assert faces.roles.tolist() == ["probe"] * 3
    assert shows.batches == [2, 1]  # one call per batch


def test_flip_and_batch_size_reach_the_network(tmp_path, shows):
    _pictures(tmp_path, [(6, 9)] * 70)
    single = encode(shows, _manifest(tmp_path, 70), progress=False)
    both = encode(shows, _manifest(tmp_path, 70), flip=True, batch_size=70, progress=False)
    np.testing.assert_allclose(both.embeddings, 2 * single.embeddings)
    assert both.meta["flip"] is True
    assert shows.batches[-1] == 70


def test_a_picture_is_shrunk_by_area_to_the_side_its_row_asks_for(tmp_path, shows):
    pictures = _pictures(tmp_path, [(20, 30), (30, 20), (20, 30), (5, 9)])
    manifest = _manifest(tmp_path, 4, shrink_side=[10.0, 7.0, np.nan, 7.0])
    faces = encode(shows, manifest, progress=False)
    expected = [resize(pictures[0], 10, 15), resize(pictures[1], 10, 7), pictures[2], pictures[3]]
    assert faces.sizes.tolist() == [10, 7, 20, 5]  # what is smaller already stays as it is
    for seen, right in zip(shows.seen, expected, strict=True):
        np.testing.assert_array_equal(seen, right)
    # The first by hand: 2 × 2 pixels become their mean.
    mean = pictures[0].reshape(10, 2, 15, 2, 3).mean(axis=(1, 3))
    assert np.abs(shows.seen[0] - mean).max() <= 0.5


def test_cached_crops_are_shrunk_alike(tmp_path, shows):
    _pictures(tmp_path, [(20, 30), (30, 20), (5, 9)])
    (tmp_path / "2.png").write_bytes(b"")
    manifest = _manifest(tmp_path, 3, shrink_side=[10.0, np.nan, 3.0])
    from_files = encode(shows, manifest, progress=False)
    crops = cached_crops(manifest, tmp_path / "cache", progress=False)
    cached = encode_crops(shows, crops, manifest)
    np.testing.assert_array_equal(cached.embeddings, from_files.embeddings)
    assert cached.sizes.tolist() == from_files.sizes.tolist() == [10, 20, 0]


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_a_shrunk_picture_has_the_side_and_nearly_the_aspect(height, width, side):
    picture = np.zeros((height, width, 3), np.uint8)
    small = shrunk(picture, float(side))
    shorter, factor = min(height, width), min(1.0, side / min(height, width))
    assert min(small.shape[:2]) == min(shorter, side)
    assert all(abs(new - factor * old) <= 0.5 for new, old in zip(small.shape, (height, width), strict=False))
    assert shrunk(picture, float("nan")) is picture


@pytest.mark.parametrize("side", [0.0, -3.0, 7.5, np.inf])
def test_a_side_that_is_none_is_refused_before_any_work(side, tmp_path, shows):
    with pytest.raises(VlrfaceError, match=r"0\.png.*shrink_side.*whole number"):
        encode(shows, _manifest(tmp_path, 1, shrink_side=[side]), progress=False)
    assert SHRINK_SIDE == "shrink_side"


def test_crops_in_memory(shows):
    images = [np.full((5, 4, 3), 9, np.uint8)]
    manifest = Manifest(np.array(["#0"]), np.array([3]), np.array(["crop"]))
    faces = encode_crops(shows, crops_in_memory(images), manifest)
    assert faces.embeddings.tolist() == [[9, 9, 9]]
    assert faces.sizes.tolist() == [4]
