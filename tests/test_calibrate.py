"""From faces to a calibration."""

import numpy as np
import pytest

from vlrface.calibrate import Calibration, calibrate, fit_calibration
from vlrface.types import Faces, VlrfaceError


def made_faces(people=60, each=4, seed=0, failed=0):
    """Faces whose noise grows as their recognizability falls."""
    rng = np.random.default_rng(seed)
    n = people * each
    identities = np.repeat(np.arange(people), each)
    index = rng.uniform(0, 3, n).astype(np.float32)
    centres = rng.normal(size=(people, 16))
    embeddings = (centres[identities] + 4 * np.exp(-index)[:, None] * rng.normal(size=(n, 16))).astype(np.float32)
    failures = np.full(n, "", "<U16")
    failures[:failed] = "truncated"
    embeddings[:failed], index[:failed] = np.nan, np.nan
    return Faces(
        embeddings=embeddings,
        recognizability=index,
        identities=identities,
        roles=np.full(n, "held out"),
        names=np.array([f"{i}.png" for i in range(n)]),
        sizes=np.full(n, 20, np.int32),
        failures=failures,
    )


def test_a_true_index_is_calibrated():
    calibration = calibrate(made_faces(people=150))
    assert calibration.slope > 0.5
    assert calibration.calibration_error < 0.08
    assert (calibration.gallery_size, calibration.faces) == (599, 600)
    other = made_faces(people=150, seed=1)  # other people, same camera
    score = calibration.score(other.recognizability)
    again = calibrate(other)
    assert score.mean() == pytest.approx(again.rank1, abs=0.06)
    easy, hard = score[other.recognizability > 2.5], score[other.recognizability < 0.5]
    assert easy.min() > hard.max()


def test_failures_and_faces_without_a_mate_are_not_fitted_on():
    faces = made_faces(failed=3)  # leaves one face of the first person
    calibration = calibrate(faces)
    assert calibration.faces == len(faces) - 4
    assert calibration.gallery_size == len(faces) - 4
    assert calibration.verdict(faces.recognizability)[0] == "failed"


def test_unrecognizable_statistics_become_a_limit():
    calibration = calibrate(made_faces(), unrecognizable_mean=0.2, unrecognizable_deviation=0.1)
    assert calibration.unrecognizable_index == pytest.approx(0.4)
    with pytest.raises(VlrfaceError, match="both"):
        calibrate(made_faces(), unrecognizable_mean=0.2)


def test_a_constant_index_gives_the_base_rate():
    correct = np.array([True, False, False, True])
    calibration = fit_calibration(np.full(4, 0.1, np.float32), correct, gallery_size=3)
    assert (calibration.slope, calibration.scale) == (0, 1)
    assert calibration.score(np.array([0.1, 5.0])).tolist() == pytest.approx([0.5, 0.5])


def test_an_index_that_is_missing_is_left_out():
    calibration = fit_calibration(np.array([np.nan, 1.0, 2.0]), np.array([True, False, True]), gallery_size=2)
    assert calibration.faces == 2
    with pytest.raises(VlrfaceError, match="no face has a recognizability index"):
        fit_calibration(np.array([np.nan]), np.array([True]), gallery_size=2)


def test_people_with_one_face_each_cannot_calibrate():
    with pytest.raises(VlrfaceError, match="two encoded faces"):
        calibrate(made_faces(each=1))


def test_order_of_faces_does_not_matter():
    faces = made_faces()
    shuffled = faces.rows(np.random.default_rng(1).permutation(len(faces)))
    here, there = calibrate(faces), calibrate(shuffled)
    assert (here.slope, here.intercept) == pytest.approx((there.slope, there.intercept), rel=1e-6)
    assert Calibration.from_json(here.to_json()) == here
