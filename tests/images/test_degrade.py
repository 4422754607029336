import hashlib
import math
import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrface.images.decode import decode
from vlrface.images.degrade import (
    SURVEILLANCE,
    UNRECOGNIZABLE,
    Degradation,
    DegradationRange,
    degradation_at,
    degrade,
)
from vlrface.images.procedural import procedural_faces
from vlrface.types import VlrfaceError

STEPS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 1.0)


@pytest.fixture(scope="module")
def faces():
    return procedural_faces(24, 1, seed=9).images


def pattern(height=112, width=112):
    """A picture from whole numbers alone."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * y % 251, (x * 7 + y * 3) % 256, (x * x + y) % 256], axis=2).astype(np.uint8)


def test_the_default_changes_nothing():
    image = pattern()
    out = degrade(image, Degradation())
    np.testing.assert_array_equal(out, image)
    assert not np.shares_memory(out, image)
    assert Degradation().severity == 0


@pytest.mark.parametrize(
    ("size", "side", "want"),
    [((112, 112), 20, (20, 20)), ((140, 100), 25, (35, 25)), ((60, 90), 13, (13, 20)), ((16, 16), 40, (16, 16))],
)
def test_the_shorter_side_and_the_aspect_are_kept(size, side, want):
    for upscaled in (1.0, 1.7):
        assert degrade(pattern(*size), Degradation(side_px=side, upscaled=upscaled)).shape == (*want, 3)


def test_pictures_of_one_pixel_are_no_problem():
    rng = np.random.default_rng(0)
    for size in ((1, 1), (1, 9), (3, 2)):
        for _ in range(20):
            assert degrade(pattern(*size), UNRECOGNIZABLE.draw(rng)).shape[2] == 3


def test_light_by_hand():
    image = np.full((4, 4, 3), 100, np.uint8)
    assert (degrade(image, Degradation(gain=0.5)) == 50).all()
    assert (degrade(image, Degradation(contrast=0.5)) == 114).all()  # (100 - 128) / 2 + 128
    assert (degrade(image, Degradation(contrast=0.5, gain=2.0)) == 228).all()
    assert (degrade(image, Degradation(gain=9.0)) == 255).all()
    assert (degrade(image, Degradation(contrast=9.0)) == 0).all()


@pytest.mark.parametrize(("level", "shot", "read"), [(120, 0.0, 6.0), (120, 9.0, 0.0), (200, 9.0, 5.0), (60, 9.0, 5.0)])
def test_noise_has_the_named_deviation(level, shot, read):
    image = np.full((200, 200, 3), level, np.uint8)
    out = degrade(image, Degradation(shot_noise=shot, read_noise=read, seed=3)).astype(float)
    assert out.mean() == pytest.approx(level, abs=0.15)
    assert out.std() == pytest.approx(math.sqrt(shot**2 * level / 255 + read**2 + 1 / 12), rel=0.02)


def test_noise_comes_after_the_light_and_the_resampling():
    image = np.full((112, 112, 3), 200, np.uint8)
    out = degrade(image, Degradation(side_px=56, gain=0.25, read_noise=8.0)).astype(float)
    assert out.mean() == pytest.approx(50, abs=0.5)
    assert out.std() == pytest.approx(8, rel=0.03)


def test_compression_is_that_of_opencv():
    image = pattern(24, 20)
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 35])[1]
    want = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(degrade(image, Degradation(jpeg_quality=35)), want)


@pytest.mark.parametrize("occluder", ["edge", "rectangle"])
@given(share=st.floats(0.02, 0.98), seed=st.integers(0, 999))
def test_the_hidden_share_is_as_named(occluder, share, seed):
    image = pattern(100, 120)
    out = degrade(image, Degradation(occlusion=float(share), occluder=occluder, seed=seed))
    hidden = (out != image).any(axis=2)
    assert hidden.mean() == pytest.approx(share, abs=0.03)
    rows, columns = hidden.any(axis=1).nonzero()[0], hidden.any(axis=0).nonzero()[0]
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / hidden.size
    assert box == pytest.approx(share, abs=0.03)  # one upright rectangle
    if occluder == "edge":
        assert rows[0] == 0 or columns[0] == 0 or rows[-1] == 99 or columns[-1] == 119
    assert len(np.unique(out[hidden].reshape(-1, 3), axis=0)) <= 2  # one colour (rounded borders aside)


def test_blur_is_relative_to_the_face():
    image = pattern(112, 112)
    large = cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR)
    one = degrade(image, Degradation(side_px=28, blur_px=4.0))
    other = degrade(large, Degradation(side_px=28, blur_px=4.0))
    assert np.abs(one.astype(int) - other).mean() < 3


def test_an_enlarged_picture_holds_less_than_its_size():
    image = pattern(112, 112)
    plain = degrade(image, Degradation(side_px=40)).astype(float)
    enlarged = degrade(image, Degradation(side_px=40, upscaled=3.0)).astype(float)
    assert np.abs(np.diff(enlarged, axis=1)).mean() < 0.5 * np.abs(np.diff(plain, axis=1)).mean()


def test_the_same_description_gives_the_same_pixels(faces):
    rng = np.random.default_rng(4)
    for face in faces[:10]:
        one = SURVEILLANCE.draw(rng)
        np.testing.assert_array_equal(degrade(face, one), degrade(face.copy(), replace(one)))
    noisy = Degradation(read_noise=5.0, seed=1)
    assert (degrade(faces[0], noisy) != degrade(faces[0], replace(noisy, seed=2))).any()


GOLDEN = {
    "lens": (Degradation(side_px=21, kernel="cubic", blur_px=1.7, motion_px=5.0, motion_rad=0.6), "4968d07640a1f7c3"),
    "motion": (Degradation(motion_px=30.0, motion_rad=2.1), "507c13c185bc2f2a"),
    "lanczos": (Degradation(side_px=33, kernel="lanczos", upscaled=1.4, contrast=0.8, gain=0.7), "68ab330972c35b61"),
    "noise": (Degradation(side_px=16, shot_noise=9.0, read_noise=4.0, occlusion=0.2, seed=5), "ff7d6d04dd1a076f"),
    "jpeg": (
        Degradation(side_px=24, kernel="linear", jpeg_quality=40, occluder="rectangle", occlusion=0.1),
        "242ca046073c29b8",
    ),
    "ladder": (degradation_at(0.7, 3), "5ce8e45910e20a90"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_hashes(name):
    """SHA-256 of the pixels, made by this implementation: a change of any of them changes training data everywhere."""
    degradation, want = GOLDEN[name]
    assert hashlib.sha256(degrade(pattern(), degradation).tobytes()).hexdigest()[:16] == want


MANY = """
import hashlib
import numpy as np
from vlrface.images.degrade import SURVEILLANCE, UNRECOGNIZABLE, degrade
rng = np.random.default_rng(0)
image = rng.integers(0, 256, (112, 112, 3)).astype(np.uint8)
digest = hashlib.sha256()
for preset in (SURVEILLANCE, UNRECOGNIZABLE):
    for _ in range(100):
        digest.update(degrade(image, preset.draw(rng)).tobytes())
print(digest.hexdigest())
"""


def test_another_kind_of_processor_gives_the_same_pixels():
    """As this one does it, and without any vector instruction that OpenCV, numpy, OpenBLAS or libjpeg may add."""
    plain = {
        "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,AVX,FP16,SSE4.2,SSE4.1",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL",
        "OPENBLAS_CORETYPE": "Prescott",
        "JSIMD_FORCENONE": "1",
    }
    one, other = (
        subprocess.run([sys.executable, "-c", MANY], env={**os.environ, **more}, capture_output=True, check=True).stdout
        for more in ({}, plain)
    )
    assert len(one) == 65
    assert one == other


def test_severity_by_hand():
    # Side 28 of 112: ln(28 / 4) / ln(112 / 4) of the detail is kept.
    assert Degradation(side_px=28).severity == pytest.approx(1 - math.log(7) / math.log(28))
    assert Degradation(side_px=56, upscaled=2.0).severity == pytest.approx(1 - math.log(7) / math.log(28))
    assert Degradation(occlusion=0.3).severity == pytest.approx(0.3)
    assert Degradation(jpeg_quality=50).severity == pytest.approx(1 - 1 / 1.25)  # tables times 1
    assert Degradation(jpeg_quality=25).severity == pytest.approx(1 - 1 / 1.5)  # tables times 2
    assert Degradation(read_noise=50.0).severity == pytest.approx(0.5)  # noise as strong as the face
    assert Degradation(shot_noise=50.0 * math.sqrt(2)).severity == pytest.approx(0.5)
    width = math.sqrt(1 + 12 * 4.0 + 18.0)
    assert Degradation(blur_px=2.0, motion_px=6.0).severity == pytest.approx(math.log(width) / math.log(28))
    # At a gain of 2, half of the levels around 127.5 are clipped: nearly half of what is there.
    assert Degradation(gain=2.0).severity == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    "nothing", [{"side_px": 4}, {"gain": 0.0}, {"contrast": 0.0}, {"occlusion": 1.0}, {"blur_px": 99.0}]
)
def test_nothing_left(nothing):
    assert Degradation(**nothing).severity == 1


@given(
    st.sampled_from(["blur_px", "motion_px", "upscaled", "shot_noise", "read_noise", "occlusion"]),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(4, 112),
)
def test_severity_grows_with_every_harm(name, one, other, side):
    low, high = sorted((float(one), float(other)))
    scale, start = (1.0, 0.0) if name == "occlusion" else (5.0, 1.0 if name == "upscaled" else 0.0)
    base = Degradation(side_px=side, gain=0.8)
    mild, severe = (replace(base, **{name: start + scale * v}) for v in (low, high))
    assert 0 <= base.severity <= mild.severity + 1e-12
    assert mild.severity <= severe.severity + 1e-12 <= 1 + 1e-9


def test_severity_falls_with_size_light_and_quality():
    sides = [Degradation(side_px=side).severity for side in range(4, 113)]
    assert (np.diff(sides) < 0).all()
    qualities = [Degradation(jpeg_quality=quality).severity for quality in range(1, 101)]
    assert (np.diff(qualities) < 0).all()
    gains = [Degradation(gain=gain, read_noise=3.0).severity for gain in np.linspace(0, 1, 20).tolist()]
    assert (np.diff(gains) < 0).all()


def test_the_ladder_has_the_severity_it_names():
    for seed in range(5):
        measured = [degradation_at(step, seed).severity for step in np.linspace(0, 1, 101).tolist()]
        assert (np.diff(measured) >= 0).all()
        assert np.abs(np.array(measured) - np.linspace(0, 1, 101)).max() < 0.02
        assert measured[0] == 0
        assert measured[-1] == 1


def test_every_value_of_the_ladder_gets_worse():
    ladder = [degradation_at(step, 2) for step in np.linspace(0.02, 1, 50).tolist()]
    for name in ("blur_px", "motion_px", "occlusion"):
        assert (np.diff([getattr(d, name) for d in ladder]) >= 0).all()
    for name in ("gain", "contrast"):
        assert (np.diff([getattr(d, name) for d in ladder]) <= 0).all()
    assert (np.diff([d.side_px or 112 for d in ladder]) <= 0).all()
    assert (np.diff([d.jpeg_quality or 100 for d in ladder]) <= 0).all()
    assert len({(d.kernel, d.occluder, d.motion_rad) for d in ladder}) == 1
    assert degradation_at(0.5, 1) != degradation_at(0.5, 2)


def grey(image):
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)


def test_what_is_seen_falls_along_the_ladder(faces):
    likeness, sharpness = [], []
    for step in STEPS:
        correlations, gradients = [], []
        for seed, face in enumerate(faces):
            small = degrade(face, degradation_at(step, seed))
            seen = grey(cv2.resize(small, (112, 112), interpolation=cv2.INTER_LINEAR))
            one, other = (values - values.mean() for values in (seen, grey(face)))
            correlations.append((one * other).mean() / (max(seen.std(), 1e-9) * other.std()))
            gradients.append(np.abs(cv2.Sobel(seen, cv2.CV_64F, 1, 0)).mean() / 8)
        likeness.append(np.mean(correlations))
        sharpness.append(np.mean(gradients))
    assert (np.diff(likeness) < 0).all(), likeness
    # Noise has gradients too, so only over the steps where pixels are lost.
    assert (np.diff(sharpness[STEPS.index(0.45) :]) < 0).all(), sharpness
    assert likeness[0] == pytest.approx(1)
    assert likeness[-1] < 0.4


def test_who_it_is_gets_lost_along_the_ladder():
    """The nearest other picture by plain pixels is of the same person less and less often."""
    found = []
    for step in (0.0, 0.5, 0.8, 0.95):
        people = procedural_faces(40, 4, size=64, seed=5, severity=(step, step))
        pixels = np.stack([cv2.resize(i, (16, 16), interpolation=cv2.INTER_AREA).ravel() for i in people.images])
        pixels = pixels.astype(float) - pixels.mean(axis=1, keepdims=True)
        pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
        similarity = pixels @ pixels.T
        np.fill_diagonal(similarity, -1)
        found.append((people.identities[similarity.argmax(axis=1)] == people.identities).mean())
    assert found[0] > 0.3
    assert found[3] < 0.2
    assert found[0] > found[1] > found[2] > found[3]


@pytest.mark.parametrize("preset", [SURVEILLANCE, UNRECOGNIZABLE])
def test_draws_lie_in_the_range_and_depend_on_the_generator_alone(preset):
    one, other = (np.random.default_rng(8) for _ in range(2))
    draws = [preset.draw(one) for _ in range(300)]
    assert draws == [preset.draw(other) for _ in range(300)]
    assert len({d.seed for d in draws}) == 300
    assert {d.kernel for d in draws} == set(preset.kernels)
    assert {d.side_px for d in draws} == set(range(preset.side_px[0], preset.side_px[1] + 1))
    for name in ("blur_px", "contrast", "gain", "shot_noise", "read_noise"):
        low, high = getattr(preset, name)
        values = np.array([getattr(d, name) for d in draws])
        assert values.min() >= low
        assert values.max() <= high
        assert values.std() > 0.2 * (high - low)
    hidden = np.array([d.occlusion for d in draws])
    assert (hidden > 0).mean() == pytest.approx(preset.occlusion_probability, abs=0.08)
    assert set(hidden[hidden == 0]) == {0.0}


def test_a_draw_takes_the_same_from_the_generator_whatever_it_gives():
    one, other = (np.random.default_rng(8) for _ in range(2))
    SURVEILLANCE.draw(one)
    DegradationRange().draw(other)
    assert one.random() == other.random()


def test_an_empty_range_draws_nothing():
    drawn = DegradationRange().draw(np.random.default_rng(0))
    assert drawn.severity == 0
    np.testing.assert_array_equal(degrade(pattern(), drawn), pattern())


def test_the_presets_are_what_they_say():
    rng = np.random.default_rng(1)
    seen = np.array([SURVEILLANCE.draw(rng).severity for _ in range(500)])
    lost = np.array([UNRECOGNIZABLE.draw(rng).severity for _ in range(500)])
    sides = np.array([SURVEILLANCE.draw(rng).side_px for _ in range(2000)])
    assert 0.6 < np.median(seen) < 0.8
    assert np.median(sides) == pytest.approx(22, abs=1)
    assert lost.min() > 0.85
    assert np.median(lost) > np.quantile(seen, 0.99)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"side_px": -1}, "side_px is -1"),
        ({"upscaled": 0.5}, "upscaled is 0.5: give a finite value from 1 to"),
        ({"gain": -0.1}, "gain"),
        ({"gain": math.nan}, "gain is nan"),
        ({"blur_px": math.inf}, "blur_px is inf"),
        ({"occlusion": 1.2}, "occlusion is 1.2: .* from 0 to 1"),
        ({"jpeg_quality": 101}, "jpeg_quality"),
        ({"seed": -1}, "seed"),
    ],
)
def test_senseless_values_are_refused(wrong, message):
    with pytest.raises(VlrfaceError, match=message):
        Degradation(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kernels": ()}, "kernels is empty"),
        ({"gain": (1.0, 0.5)}, r"gain is \(1.0, 0.5\): give \(low, high\)"),
        ({"gain": (-1.0, 0.5)}, "gain is -1"),
        ({"side_px": (0, 5)}, "low side must be at least 1"),
        ({"jpeg_probability": 1.5}, "give a probability"),
    ],
)
def test_senseless_ranges_are_refused(wrong, message):
    with pytest.raises(VlrfaceError, match=message):
        DegradationRange(**wrong)


def test_senseless_steps_and_empty_pictures_are_refused():
    for severity in (-0.1, 1.1, math.nan):
        with pytest.raises(VlrfaceError, match="severity is"):
            degradation_at(severity, 0)
    with pytest.raises(VlrfaceError, match="seed is -1"):
        degradation_at(0.5, -1)
    with pytest.raises(VlrfaceError, match="empty picture"):
        degrade(pattern(0, 5), Degradation())


@pytest.mark.real
def test_surveillance_looks_like_the_crops_of_a_far_camera(real_data):
    """Brightness, contrast and sharpness of sharp faces after it, beside the same faces in the LFW-VLR training set."""
    rng = np.random.default_rng(0)
    real, made = [], []
    for path in sorted((real_data / "lfw-vlr" / "tinyface" / "Training_Set").rglob("*.jpg"))[::12]:
        sharp = decode(real_data / "lfw-vlr" / "hr" / "train" / path.parent.name / path.name)
        real.append(_statistics(decode(path), sharp))
        made.append(_statistics(degrade(sharp, SURVEILLANCE.draw(rng)), sharp))
    real, made = np.median(real, axis=0), np.median(made, axis=0)
    np.testing.assert_allclose(made, real, rtol=0.12)


def _statistics(crop, sharp):
    small, full = grey(crop), grey(sharp)
    return small.mean() / full.mean(), small.std() / full.std(), np.abs(np.diff(small, axis=1)).mean() / small.std()
