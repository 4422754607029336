"""Measures filled into faces: from pictures on disk, from embeddings, each picture as it was encoded."""

import dataclasses

import cv2
import numpy as np
import pytest

from vlrface.data.manifest import Manifest
from vlrface.encode import SHRINK_SIDE
from vlrface.images.resize import resize
from vlrface.quality import BUILT_IN, measure_faces
from vlrface.quality.embeddings import center_of, norms, recognizability_score
from vlrface.quality.measure import measure_pictures
from vlrface.quality.pictures import sharpness
from vlrface.types import Faces, VlrfaceError

from .made import made_faces


@pytest.fixture
def data(tmp_path):
    """Faces, the manifest of their pictures in another order, and the pictures as they are decoded."""
    faces = made_faces(5, 3, 2)
    rng = np.random.default_rng(3)
    sizes = faces.sizes.copy()
    pictures = {}
    for row in range(8):
        path = tmp_path / str(faces.names[row])
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = rng.integers(0, 256, (int(sizes[row]) + 5, int(sizes[row]), 3), np.uint8)
        cv2.imwrite(str(path.with_suffix(".png")), picture[:, :, ::-1])
        pictures[row] = picture
    names = np.array([str(n).replace(".jpg", ".png") for n in faces.names])
    faces = dataclasses.replace(faces, names=names)
    order = np.random.default_rng(4).permutation(8)
    manifest = Manifest(names[order], faces.identities[order].astype(np.int64), faces.roles[order], root=tmp_path)
    return faces, manifest, pictures


def counting(seen):
    def measure(pictures):
        seen.append(len(pictures))
        return np.array([float(picture.mean()) for picture in pictures])

    return measure


def test_pictures_are_measured_by_role_and_name(data):
    faces, manifest, pictures = data
    found = measure_faces(faces, ["sharpness", "size", "sharpness_native"], manifest=manifest, progress=False)
    assert list(found.measures) == ["sharpness", "size", "sharpness_native"]
    expected = [pictures[row] for row in range(8)]
    np.testing.assert_allclose(found.measures["sharpness"][:8], sharpness(expected))
    np.testing.assert_allclose(found.measures["sharpness_native"][:8], sharpness(expected, side=None))
    assert np.isnan(found.measures["sharpness"][8:]).all()
    assert found.measures["size"].tolist() == faces.sizes.tolist()


def test_the_network_measure_gets_the_pictures_and_every_picture_is_read_once(data):
    faces, manifest, pictures = data
    seen = []
    found = measure_faces(faces, ["serfiq"], manifest=manifest, serfiq=counting(seen), progress=False)
    assert sum(seen) == 8
    assert found.measures["serfiq"][:8].tolist() == [pictures[row].mean() for row in range(8)]


def test_embeddings_give_norm_and_ers_without_pictures(data):
    faces, _, _ = data
    found = measure_faces(faces, ["norm", "ers"])
    np.testing.assert_array_equal(found.measures["norm"], norms(faces))
    np.testing.assert_array_equal(found.measures["ers"], recognizability_score(faces, center_of(faces)))
    center = np.ones(6)
    other = measure_faces(faces, ["ers"], center=center)
    np.testing.assert_array_equal(other.measures["ers"], recognizability_score(faces, center))


def test_what_was_there_stays_and_a_measure_of_that_name_is_replaced(data, tmp_path):
    faces, manifest, _ = data
    before = dataclasses.replace(faces, measures={"mine": np.arange(10.0), "sharpness": np.zeros(10)})
    after = measure_faces(before, ["sharpness"], manifest=manifest, progress=False)
    assert list(after.measures) == ["mine", "sharpness"]
    assert (after.measures["sharpness"][:8] > 0).all()
    after.save(tmp_path / "faces.npz")
    again = Faces.load(tmp_path / "faces.npz")
    np.testing.assert_array_equal(again.measures["sharpness"], after.measures["sharpness"])


def test_a_face_that_failed_has_none_and_is_not_read(data):
    faces, manifest, _ = data
    failures = faces.failures.copy()
    failures[2] = "truncated"
    (manifest.root / str(faces.names[2])).unlink()
    broken = dataclasses.replace(faces, failures=failures)
    found = measure_faces(broken, ["sharpness", "size", "norm"], manifest=manifest, progress=False).measures
    assert all(np.isnan(values[2]) for values in found.values())
    assert np.isfinite(found["sharpness"][[0, 1, 3]]).all()


def test_sizes_that_the_faces_do_not_know_come_from_the_pictures(data):
    faces, manifest, pictures = data
    blank = dataclasses.replace(faces, sizes=np.zeros(10, np.int32))
    found = measure_faces(blank, ["size"], manifest=manifest, progress=False).measures["size"]
    assert found[:8].tolist() == [min(pictures[row].shape[:2]) for row in range(8)]
    with pytest.raises(VlrfaceError, match="size: the pictures are needed"):
        measure_faces(blank, ["size"])


def test_a_picture_is_measured_as_small_as_it_was_encoded(data):
    faces, manifest, pictures = data
    side = 10
    truths = {SHRINK_SIDE: np.full(8, float(side))}
    shrinking = dataclasses.replace(manifest, truths=truths)
    small = dataclasses.replace(faces, sizes=np.full(10, side, np.int32))
    found = measure_faces(small, ["sharpness_native"], manifest=shrinking, progress=False).measures["sharpness_native"]
    expected = [
        resize(pictures[row], round(pictures[row].shape[0] * side / pictures[row].shape[1]), side) for row in range(8)
    ]
    np.testing.assert_allclose(found[:8], sharpness(expected, side=None))


def test_pictures_of_another_data_set_are_noticed(data):
    faces, manifest, _ = data
    with pytest.raises(VlrfaceError, match=r"its shorter side is .* pixels, but 99 in the faces"):
        measure_faces(
            dataclasses.replace(faces, sizes=np.full(10, 99, np.int32)),
            ["sharpness"],
            manifest=manifest,
            progress=False,
        )
    with pytest.raises(VlrfaceError, match=r"it lacks 5 of 10 faces: probe Testing_Set/Probe/0_0\.png"):
        measure_faces(faces, ["sharpness"], manifest=manifest.split("gallery"), progress=False)
    (manifest.root / str(faces.names[0])).write_bytes(b"no picture")
    with pytest.raises(VlrfaceError, match="has the file changed"):
        measure_faces(faces, ["sharpness"], manifest=manifest, progress=False)


def test_what_is_needed_is_asked_for(data):
    faces, manifest, _ = data
    for names, options, says in (
        (["blurriness"], {}, "there are size, sharpness"),
        (["sharpness"], {}, "sharpness: the pictures are needed once more, give them with --data"),
        (["serfiq"], {"manifest": manifest}, "needs a checkpoint"),
        (["ers"], {"center": np.ones(3)}, "3 dimensions"),
    ):
        with pytest.raises(VlrfaceError, match=says):
            measure_faces(faces, names, progress=False, **options)


def test_every_built_in_measure_can_be_had_at_once(data):
    faces, manifest, _ = data
    found = measure_faces(faces, BUILT_IN, manifest=manifest, serfiq=counting([]), progress=False)
    assert tuple(found.measures) == BUILT_IN
    assert all(np.isfinite(values[:8]).all() for values in found.measures.values())


def test_batches_do_not_show(data, monkeypatch):
    faces, manifest, _ = data
    seen = []
    monkeypatch.setattr("vlrface.quality.measure._BATCH", 3)
    values = measure_pictures(faces, manifest, {"mean": counting(seen)}, progress=False)["mean"]
    assert seen == [3, 3, 2]
    monkeypatch.undo()
    assert measure_pictures(faces, manifest, {"mean": counting([])}, progress=False)["mean"][:8].tolist() == (
        values[:8].tolist()
    )
