"""What a picture shows is measured in the picture; how a face looks is for eyes (make a contact sheet and see)."""

import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlrface.images.anatomy import TRAITS
from vlrface.images.procedural import View, identity_vectors, procedural_faces, render
from vlrface.types import VlrfaceError

SIZE = 64


@pytest.fixture(scope="module")
def people():
    return identity_vectors(12, 3)


def grey(image):
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)


def both(identity, one, other, size=SIZE):
    return (grey(image) for image in render(identity, [one, other], size))


def test_identity_vectors_depend_on_seed_and_number_alone():
    vectors = identity_vectors(9, 5)
    assert vectors.shape == (9, len(TRAITS))
    assert (vectors >= 0).all()
    assert (vectors < 1).all()
    np.testing.assert_array_equal(identity_vectors(4, 5), vectors[:4])
    np.testing.assert_array_equal(identity_vectors(4, 5, first_identity=3), vectors[3:7])
    assert identity_vectors(0, 5).shape == (0, len(TRAITS))
    assert (identity_vectors(9, 6) != vectors).all()


def test_traits_are_uniform_and_independent():
    vectors = identity_vectors(1500, 0)
    np.testing.assert_allclose(vectors.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(vectors.std(axis=0), 1 / np.sqrt(12), atol=0.02)
    correlation = np.corrcoef(vectors.T) - np.eye(len(TRAITS))
    assert np.abs(correlation).max() < 0.12


def test_asking_for_more_changes_nothing_of_what_was_there():
    few, more = procedural_faces(2, 3, size=48, seed=1), procedural_faces(4, 5, size=48, seed=1)
    chosen = [0, 1, 2, 5, 6, 7]
    np.testing.assert_array_equal(few.images, more.images[chosen])
    np.testing.assert_array_equal(few.identities, more.identities[chosen])
    for name, truth in few.truths.items():
        np.testing.assert_array_equal(truth, more.truths[name][chosen])
    later = procedural_faces(2, 5, size=48, seed=1, first_identity=2)
    np.testing.assert_array_equal(later.images, more.images[10:])
    assert later.identities.tolist() == [2] * 5 + [3] * 5


def test_asking_for_more_degraded_ones_changes_nothing_either():
    few = procedural_faces(1, 2, size=48, seed=1, severity=(0.2, 0.9))
    more = procedural_faces(2, 4, size=48, seed=1, severity=(0.2, 0.9))
    np.testing.assert_array_equal(few.images, more.images[:2])
    np.testing.assert_array_equal(few.truths["severity"], more.truths["severity"][:2])


def test_what_comes_with_the_pictures():
    faces = procedural_faces(40, 5, size=16, seed=2)
    assert faces.images.shape == (200, 16, 16, 3)
    assert faces.images.dtype == np.uint8
    assert len(faces) == 200
    assert np.bincount(faces.identities).tolist() == [5] * 40
    bounds = {
        "yaw_rad": 0.6,
        "pitch_rad": 0.35,
        "roll_rad": 0.25,
        "light_azimuth_rad": 1.3,
        "light_elevation_rad": 0.95,
        "ambient": 0.75,
        "exposure": 1.22,
        "smile": 1.0,
        "mouth_open": 1.0,
        "glasses": 1.0,
        "severity": 0.0,
    }
    assert set(faces.truths) == set(bounds)
    for name, bound in bounds.items():
        values = faces.truths[name]
        assert values.shape == (200,)
        assert np.abs(values).max() <= bound
        assert bound == 0 or values.std() > 0.05 * bound
    # Some people never wear glasses, some nearly always: it says something about who it is, and not all.
    worn = faces.truths["glasses"].reshape(40, 5).mean(axis=1)
    assert 0.1 < worn.mean() < 0.45
    assert (worn == 0).mean() > 0.4
    assert ((worn > 0) & (worn < 1)).any()


def test_other_seeds_are_other_people():
    one, other = (procedural_faces(2, 2, size=32, seed=seed).images for seed in (0, 1))
    assert np.abs(one.astype(int) - other).mean() > 15


@pytest.mark.parametrize("size", [16, 17, 63, 112, 200])
def test_every_size_shows_the_same_face(people, size):
    view = View(yaw_rad=0.3, roll_rad=0.1, smile=0.7, mouth_open=1.0)
    image = render(people[0], [view], size)[0]
    assert image.shape == (size, size, 3)
    reference = render(people[0], [view], 112)[0]
    one, other = (cv2.resize(grey(i), (16, 16), interpolation=cv2.INTER_AREA).ravel() for i in (image, reference))
    assert np.corrcoef(one, other)[0, 1] > 0.9


def test_no_views_no_pictures(people):
    assert render(people[0], [], 32).shape == (0, 32, 32, 3)


def test_the_number_of_views_does_not_change_them(people):
    views = [View(yaw_rad=0.1 * i, background=i, glasses=i % 2 == 0) for i in range(4)]
    together = render(people[1], views, SIZE)
    for view, image in zip(views, together, strict=True):
        np.testing.assert_array_equal(render(people[1], [view], SIZE)[0], image)


@settings(max_examples=60)
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=len(TRAITS), max_size=len(TRAITS)))
def test_every_combination_of_traits_can_be_drawn(traits):
    identity = np.array(traits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = render(identity, [View(), View(yaw_rad=0.6, glasses=True, mouth_open=0.5, smile=1.0)], 32)
    assert images.std() > 10


def test_every_trait_can_be_seen_in_somebody():
    """Changing one trait alone changes the pictures of some people; it need not of all (a bald head has no parting)."""
    people = identity_vectors(60, 8)
    views = [View(), View(glasses=True)]
    seen = dict.fromkeys(TRAITS, 0.0)
    for number, identity in enumerate(people):
        base = render(identity, views, 48).astype(int)
        for trait in range(number % 6, len(TRAITS), 6):
            changed = identity.copy()
            changed[trait] = (changed[trait] + 0.5) % 1
            difference = np.abs(render(changed, views, 48) - base).mean()
            seen[TRAITS[trait]] = max(seen[TRAITS[trait]], difference)
    unseen = {name for name, difference in seen.items() if difference < 0.02}
    assert unseen <= {"glasses_habit"}, unseen  # which decides when, not how


def moved(one, other):
    """How far the middle of the second picture lies to the right and down of the first's, in pixels."""
    return cv2.phaseCorrelate(one[16:-16, 16:-16].copy(), other[16:-16, 16:-16].copy())[0]


def test_yaw_moves_the_features_to_its_side(people):
    moves = [moved(*both(p, View(yaw_rad=-0.15, ambient=1.0), View(yaw_rad=0.15, ambient=1.0)))[0] for p in people]
    assert np.mean(np.array(moves) > 0) > 0.9
    assert np.mean(moves) > 2


def test_nodding_moves_the_features_down(people):
    moves = [moved(*both(p, View(pitch_rad=-0.2, ambient=1.0), View(pitch_rad=0.2, ambient=1.0)))[1] for p in people]
    assert np.mean(np.array(moves) > 0) > 0.9
    assert np.mean(moves) > 2


def test_roll_turns_the_picture_clockwise(people):
    for identity in people[:4]:
        straight, tilted = both(identity, View(ambient=1.0), View(roll_rad=0.3, ambient=1.0))
        matrix = cv2.getRotationMatrix2D((SIZE / 2 - 0.5, SIZE / 2 - 0.5), -np.degrees(0.3), 1.0)
        turned = cv2.warpAffine(straight, matrix, (SIZE, SIZE))
        inner = slice(SIZE // 4, -SIZE // 4)
        assert np.corrcoef(turned[inner, inner].ravel(), tilted[inner, inner].ravel())[0, 1] > 0.95


def test_zoom_and_shift(people):
    base, shifted = both(people[0], View(), View(shift_x=0.25, shift_y=-0.125))
    np.testing.assert_allclose(shifted[10:40, 30:50], base[14:44, 22:42], atol=6)
    large = grey(render(people[0], [View(zoom=2.0)], SIZE)[0])
    part = cv2.resize(base[16:48, 16:48], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    assert np.corrcoef(large.ravel(), part.ravel())[0, 1] > 0.98


def test_light_comes_from_where_it_is_said_to(people):
    for identity in people:
        left, right = both(
            identity, View(light_azimuth_rad=-1.0, ambient=0.3), View(light_azimuth_rad=1.0, ambient=0.3)
        )
        change = (right - left)[20:50]
        assert change[:, SIZE // 2 + 4 : -14].mean() > 5
        assert change[:, 14 : SIZE // 2 - 4].mean() < -5
        above, below = both(
            identity, View(light_elevation_rad=0.9, ambient=0.3), View(light_elevation_rad=-0.9, ambient=0.3)
        )
        change = (above - below)[:, 24:40]
        assert change[10:24].mean() > change[44:58].mean()


def test_light_falls_on_the_turned_face(people):
    """A face that looks into the light is brighter than one that looks away from it."""
    middle = (slice(20, 50), slice(14, -14))
    for identity in people:
        gains = []
        for yaw in (0.4, -0.4):
            view = View(yaw_rad=yaw, light_azimuth_rad=0.9, ambient=0.0)
            lit, flat = both(identity, view, replace(view, ambient=1.0))
            gains.append(lit[middle].mean() / flat[middle].mean())
        assert gains[0] > 1.05 * gains[1]


def test_exposure_and_warmth(people):
    dark, light = both(people[2], View(exposure=0.4), View(exposure=0.8))
    face = (slice(28, 40), slice(26, 38))
    assert light[face].mean() / dark[face].mean() == pytest.approx(2, rel=0.08)
    blue, orange = (
        image[face].reshape(-1, 3).mean(axis=0)
        for image in render(people[2], [View(warmth=w) for w in (-1.0, 1.0)], SIZE)
    )
    assert orange[0] > blue[0]
    assert orange[2] < blue[2]


def test_the_background_is_seen_beside_the_face_and_not_through_it(people):
    one, other = render(people[0], [View(background=1), View(background=2)], SIZE)
    differs = (one != other).any(axis=2)
    assert differs[:3].mean() > 0.5
    assert not differs[20:48, 22:42].any()


def test_expression_and_glasses_change_their_part_only(people):
    neutral, smiling, open_mouth, glasses = (
        grey(i) for i in render(people[0], [View(), View(smile=1.0), View(mouth_open=1.0), View(glasses=True)], SIZE)
    )
    rows = np.arange(SIZE) / SIZE * 2 - 1
    for changed, top, bottom in ((smiling, 0.1, 0.95), (open_mouth, 0.2, 1.0), (glasses, -0.4, 0.25)):
        difference = np.abs(changed - neutral)
        assert difference.max() > 20
        assert difference[(rows < top) | (rows > bottom)].max() <= 2


def test_a_mouth_opens_in_three_steps(people):
    closed, ajar, parted, wide = render(people[0], [View(mouth_open=v) for v in (0.0, 0.1, 0.5, 1.0)], SIZE)
    assert np.abs(ajar.astype(int) - closed).mean() < np.abs(parted.astype(int) - closed).mean()
    assert (parted != wide).any()


def nearest_is_the_same_person(vectors, identities):
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    return (identities[similarity.argmax(axis=1)] == identities).mean()


def test_people_can_be_told_apart_and_not_by_pixels_alone():
    faces = procedural_faces(50, 4, size=32, seed=6)
    pixels = faces.images.reshape(len(faces), -1).astype(float)
    found = nearest_is_the_same_person(pixels, faces.identities)
    assert 0.15 < found < 0.7  # chance: 0.015; a small network finds nine in ten
    colours = faces.images.reshape(len(faces), -1, 3).mean(axis=1)
    assert nearest_is_the_same_person(colours, faces.identities) < 0.2


def test_severities_are_drawn_between_the_ends():
    sharp = procedural_faces(10, 4, size=64, seed=6)
    faces = procedural_faces(10, 4, size=64, seed=6, severity=(0.3, 0.8))
    severity = faces.truths["severity"]
    assert 0.3 <= severity.min() < 0.4
    assert 0.7 < severity.max() < 0.8
    for name in set(faces.truths) - {"severity"}:
        np.testing.assert_array_equal(faces.truths[name], sharp.truths[name])
    likeness = [
        np.corrcoef(grey(a).ravel(), grey(b).ravel())[0, 1] for a, b in zip(sharp.images, faces.images, strict=True)
    ]
    assert np.corrcoef(severity, likeness)[0, 1] < -0.4
    same = procedural_faces(2, 2, size=64, seed=6, severity=(0.0, 0.0))
    np.testing.assert_array_equal(same.images, sharp.images[[0, 1, 4, 5]])


GOLDEN = (
    (113.5, 74.4, 76.4, 123.5, 91.0, 86.5, 114.2, 85.8, 77.4, 127.3, 97.8, 87.7),
    (167.3, 147.5, 164.1, 170.0, 148.9, 168.1, 171.3, 154.1, 169.8, 163.6, 142.7, 149.0),
    (97.0, 81.9, 93.5, 90.9, 79.6, 89.6, 83.7, 73.3, 72.9, 84.9, 67.7, 90.8),
)


@pytest.mark.parametrize("number", range(3))
def test_golden_faces(number):
    """Mean colours of quarters, made by this implementation: a change of the drawing changes every demo and document.

    With a tolerance: processors round the relief differently, which moves single pixels by up to 2 levels.
    """
    faces = procedural_faces(3, 2, seed=0).images
    means = faces[2 * number + 1].reshape(2, 56, 2, 56, 3).mean(axis=(1, 3)).reshape(-1)
    np.testing.assert_allclose(means, GOLDEN[number], atol=0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: procedural_faces(0, 3), "0 identities with 3 pictures each"),
        (lambda: procedural_faces(3, 0), "at least 1 of both"),
        (lambda: procedural_faces(1, 1, size=15), "from 16 pixels on"),
        (lambda: procedural_faces(1, 1, seed=-1), "seed is -1"),
        (lambda: procedural_faces(1, 1, first_identity=-1), "first_identity is -1"),
        (lambda: procedural_faces(1, 1, severity=(0.5, 0.2)), r"severity is \(0.5, 0.2\)"),
        (lambda: procedural_faces(1, 1, severity=(0.5, 1.2)), "severity is"),
        (lambda: identity_vectors(-1, 0), "count is -1"),
        (lambda: render(np.zeros(3), [View()]), "row of identity_vectors"),
        (lambda: render(np.full(len(TRAITS), 1.5), [View()]), "traits in"),
        (lambda: render(np.full(len(TRAITS), np.nan), [View()]), "traits in"),
        (lambda: View(zoom=0.0), "zoom > 0"),
        (lambda: View(mouth_open=1.1), "mouth_open"),
        (lambda: View(ambient=-0.1), "ambient"),
        (lambda: View(exposure=float("nan")), "exposure"),
        (lambda: View(background=-1), "background is -1"),
    ],
)
def test_senseless_requests_are_refused(call, message):
    with pytest.raises(VlrfaceError, match=message):
        call()


def test_extreme_exposure_stays_in_range(people):
    images = render(people[0], [View(exposure=50.0, ambient=0.0), View(exposure=0.0)], 32)
    assert images[0][12:20, 12:20].mean() > 200
    assert images[1][12:20, 12:20].max() == 0
    assert replace(View(), exposure=0.0).exposure == 0


@pytest.mark.real
def test_a_face_detector_sees_faces(real_data):
    model = real_data / "weights" / "yunet_n_320_320.onnx"
    detector = cv2.FaceDetectorYN.create(str(model), "", (224, 224), 0.8)
    faces = procedural_faces(30, 2, seed=12).images
    found = 0
    for face in faces:
        scene = np.full((224, 224, 3), 128, np.uint8)
        scene[40:184, 40:184] = cv2.resize(face[..., ::-1], (144, 144))
        found += detector.detect(scene)[1] is not None
    assert found >= 58
