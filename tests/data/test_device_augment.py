"""Augmentation on the device beside the same augmentation on the CPU: the same draws, nearly the same pixels."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from vlrface.data.batches import Batches, Part
from vlrface.data.cache import crops_in_memory
from vlrface.data.device_augment import augmented
from vlrface.data.sensing import compressed, sensed
from vlrface.images.augment import Chain, LooseCut, Mirror, RandomDegradation
from vlrface.images.degrade import SURVEILLANCE, Degradation, DegradationRange, degrade
from vlrface.images.drawing import AT, KERNELS, Steps, draw_together
from vlrface.images.framing import Framing, RandomFraming
from vlrface.images.procedural import procedural_faces
from vlrface.types import VlrfaceError

SIDE = 48
VIEW = RandomFraming(Framing(1.2, 0.44), SIDE, SIDE)
QUIET = replace(SURVEILLANCE, shot_noise=(0.0, 0.0), read_noise=(0.0, 0.0))
CALM = replace(QUIET, jpeg_probability=0.0)


@pytest.fixture(scope="module")
def pictures():
    """Aligned faces, and smaller ones of all shapes."""
    rng = np.random.default_rng(0)
    faces = [np.ascontiguousarray(face) for face in procedural_faces(6, 1, size=112, seed=0).images]
    sizes = [(int(rng.integers(14, 90)), int(rng.integers(16, 100))) for _ in faces]
    return faces + [cv2.resize(f, s, interpolation=cv2.INTER_AREA) for f, s in zip(faces, sizes, strict=True)]


def both(chain, pictures, count=24):
    """The same samples by the transform and by the device's way."""
    chosen = [pictures[i % len(pictures)] for i in range(count)]
    generators = [np.random.default_rng([1, i]) for i in range(count)]
    drawn = draw_together(chosen, [Steps.of(chain)] * count, generators)
    ours = augmented(torch.from_numpy(drawn.pixels), drawn.plans, SIDE, SIDE).numpy()
    again = [np.random.default_rng([1, i]) for i in range(count)]
    theirs = np.stack([chain(picture, rng) for picture, rng in zip(chosen, again, strict=True)])
    for one, other in zip(generators, again, strict=True):
        assert one.bit_generator.state == other.bit_generator.state  # exactly the same was drawn
    return ours, theirs


@pytest.mark.parametrize(
    "chain",
    [
        VIEW,
        Chain((replace(VIEW, linear_share=1.0),)),
        Chain((replace(VIEW, framing=Framing()),)),
        Chain((LooseCut(), VIEW)),
        *(Chain((RandomDegradation(replace(CALM, kernels=(kernel,))), VIEW)) for kernel in KERNELS),
        Chain((LooseCut(), RandomDegradation(replace(CALM, occlusion_probability=0.6), 0.8), VIEW)),
    ],
    ids=["view", "linear", "stretched", "cut", *KERNELS, "all"],
)
def test_equal_draws_give_nearly_equal_pictures(chain, pictures):
    ours, theirs = both(chain, pictures)
    error = np.abs(ours.astype(int) - theirs)
    assert error.mean() < 0.3
    assert np.percentile(error, 99.5) <= 2


def test_jpeg_differs_by_what_libjpeg_rounds(pictures):
    ours, theirs = both(Chain((RandomDegradation(replace(QUIET, jpeg_probability=1.0)), VIEW)), pictures)
    assert np.abs(ours.astype(int) - theirs).mean() < 1.0
    untouched, _ = both(Chain((RandomDegradation(CALM), VIEW)), pictures)
    assert np.abs(untouched.astype(int) - theirs).mean() > 2.5


@pytest.mark.parametrize("quality", [5, 30, 75, 95])
def test_jpeg_alone(pictures, quality):
    for picture in (pictures[0], pictures[-1], pictures[-2]):
        theirs = degrade(picture, Degradation(jpeg_quality=quality)).astype(int)
        size = torch.tensor([picture.shape[:2]])
        canvas = torch.full((1, picture.shape[0] + 5, picture.shape[1] + 3, 3), 77.0, dtype=torch.float64)
        canvas[0, : picture.shape[0], : picture.shape[1]] = torch.from_numpy(picture).double()
        ours = compressed(canvas, size, torch.tensor([quality]))[0, : picture.shape[0], : picture.shape[1]].numpy()
        error = np.abs(ours - theirs)
        assert error.mean() < 0.7
        assert np.array_equal(ours, np.rint(ours))


def noise(gain, shot, read, seeds):
    count = len(seeds)
    grey = torch.full((count, 40, 40, 3), 128.0, dtype=torch.float64)
    given = [torch.full((count,), v, dtype=torch.float64) for v in (1.0, gain, shot, read)]
    return sensed(grey, torch.full((count,), 40), *given, torch.tensor(seeds)).numpy()


@pytest.mark.parametrize(("gain", "shot", "read"), [(1.0, 0.0, 5.0), (0.6, 8.0, 0.0), (1.1, 4.0, 6.0)])
def test_noise_has_the_distribution_of_the_cpus(gain, shot, read):
    ours = noise(gain, shot, read, list(range(30)))
    grey = np.full((40, 40, 3), 128, np.uint8)
    made = Degradation(gain=gain, shot_noise=shot, read_noise=read)
    theirs = np.stack([degrade(grey, replace(made, seed=seed)) for seed in range(30)]).astype(float)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.1)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    levels = np.linspace(0.01, 0.99, 15)
    assert np.quantile(ours, levels) == pytest.approx(np.quantile(theirs, levels), abs=1.0)
    # White: no frequency, no pair of channels and no pair of pictures has more than its share.
    power = np.abs(np.fft.fft2(ours - ours.mean(), axes=(1, 2)))[:, 1:20, 1:20] ** 2
    cpus = np.abs(np.fft.fft2(theirs - theirs.mean(), axes=(1, 2)))[:, 1:20, 1:20] ** 2
    bands = [(p[:, :10, :10].mean(), p[:, 10:, 10:].mean()) for p in (power, cpus)]
    assert bands[0] == pytest.approx(bands[1], rel=0.05)
    flat = ours.reshape(30, -1, 3)
    assert np.abs(np.corrcoef(flat.reshape(-1, 3).T) - np.eye(3)).max() < 0.03
    assert np.abs(np.corrcoef(flat[..., 0]) - np.eye(30)).max() < 0.15


def test_noise_depends_on_the_seed_alone_not_on_the_batch():
    together, alone = noise(1.0, 3.0, 5.0, [7, 8, 2**31 - 1]), noise(1.0, 3.0, 5.0, [8])
    assert np.array_equal(together[1], alone[0])
    assert not np.array_equal(together[0], together[1])


def test_statistics_of_whole_pictures_are_the_cpus(pictures):
    """The whole chain with noise: means, contrast, edges and quantiles of many samples."""
    ours, theirs = both(Chain((LooseCut(), RandomDegradation(SURVEILLANCE), VIEW)), pictures, count=80)

    def statistics(images):
        values = images.astype(float)
        edges = np.abs(np.diff(values, axis=2)).mean(axis=(1, 2, 3))
        each = [values.mean(axis=(1, 2, 3)), values.std(axis=(1, 2, 3)), edges]
        return np.stack([np.quantile(v, np.linspace(0.1, 0.9, 5)) for v in each])

    assert statistics(ours) == pytest.approx(statistics(theirs), rel=0.05, abs=0.3)


def test_parameters_are_drawn_within_their_ranges():
    chain = Chain((LooseCut(), RandomDegradation(SURVEILLANCE), VIEW))
    steps = Steps.of(chain)
    plans = np.stack([steps.draw(112, 112, np.random.default_rng([2, i])) for i in range(400)])
    sides = plans[:, [AT["small_rows"], AT["small_columns"]]].min(axis=1)
    assert (sides.min(), sides.max()) == (12, 40)
    assert np.mean(plans[:, AT["motion"]] > 0) == pytest.approx(0.3, abs=0.07)
    assert np.mean(plans[:, AT["quality"]] > 0) == pytest.approx(0.8, abs=0.07)
    assert np.mean(plans[:, AT["mirrored"]]) == pytest.approx(0.5, abs=0.07)


def test_batches_are_the_same_for_any_number_of_workers_and_after_a_resume(pictures):
    chains = (Chain((LooseCut(), RandomDegradation(SURVEILLANCE), VIEW)), Chain((VIEW,)))
    parts = [Part(crops_in_memory(pictures), np.arange(len(pictures)), chain) for chain in chains]

    def images(workers, start=0):
        batches = Batches(parts, 8, SIDE, SIDE, 3, workers, drawn=True)
        found = list(batches.epoch(1, start))
        return found, [augmented(torch.from_numpy(b.drawn.pixels), b.drawn.plans, SIDE, SIDE) for b in found]

    (first, ours), (_, theirs), (_, rest) = images(0), images(1), images(0, start=2)
    assert len(ours) == 3
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert torch.equal(rest[0], ours[2])
    plain = list(Batches(parts, 8, SIDE, SIDE, 3).epoch(1))
    assert [b.labels.tolist() for b in first] == [b.labels.tolist() for b in plain]
    error = np.abs(np.stack([b.images for b in plain]).astype(int) - torch.stack(ours).numpy())
    assert np.median(error) <= 3  # noise apart, the very same samples


@pytest.mark.parametrize(
    "transform",
    [Chain(()), Chain((Mirror(), VIEW)), Chain((RandomDegradation(QUIET), LooseCut(), VIEW)), Mirror()],
)
def test_what_the_device_cannot_do_is_refused(transform):
    with pytest.raises(VlrfaceError, match="augment_on=device knows LooseCut, then RandomDegradation"):
        Steps.of(transform)


def test_a_picture_that_is_not_degraded_keeps_its_size():
    steps = Steps.of(Chain((RandomDegradation(DegradationRange(), 0.0), VIEW)))
    plan = steps.draw(30, 20, np.random.default_rng(0))
    assert (plan[AT["small_rows"]], plan[AT["small_columns"]], plan[AT["quality"]]) == (30, 20, 0)
