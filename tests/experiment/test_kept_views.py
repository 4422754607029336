"""Training on kept views: what is kept, when it is made again, and that runs resume and start from a checkpoint."""

import dataclasses
import resource

import numpy as np
import pytest
import torch

from vlrface.checkpoint import Checkpoint
from vlrface.experiment.build import build
from vlrface.experiment.check import check
from vlrface.experiment.config import MobileFaceNetConfig, ViewsConfig, load_recipe, to_json
from vlrface.experiment.network import build_recognizer, load_trained
from vlrface.experiment.sources import Places
from vlrface.experiment.training import train_experiment
from vlrface.train import TrainingInterruptedError, train
from vlrface.types import VlrfaceError


@pytest.fixture
def frozen(data):
    experiment = load_recipe(data / "recipe.py")
    return dataclasses.replace(
        experiment,
        model=dataclasses.replace(experiment.model, frozen_steps=14),
        data=dataclasses.replace(experiment.data, views=ViewsConfig(count=2)),
    )


def test_views_are_made_once_and_again_when_they_would_differ(frozen, data, tmp_path):
    places = Places(data, tmp_path, progress=False)
    first = build(frozen, places).ingredients.batches
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("views-*.npy")}
    assert len(made) == 1
    # Other settings of training share the views.
    build(dataclasses.replace(frozen, training=dataclasses.replace(frozen.training, batch_size=8)), places)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("views-*.npy")} == made
    more = dataclasses.replace(frozen, data=dataclasses.replace(frozen.data, views=ViewsConfig(count=2, seed=1)))
    build(more, places)
    assert len(list(tmp_path.glob("views-*.npy"))) == 2
    batch = next(first.epoch(0))
    assert batch.images.shape == (16, 4, 4, 128)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path):
    held = bytearray(path.read_bytes())
    held[-1000] ^= 1
    path.write_bytes(held)


def test_damaged_views_are_made_again(frozen, data, tmp_path):
    places = Places(data, tmp_path, progress=False)
    good = next(build(frozen, places).ingredients.batches.epoch(0)).images
    (path,) = tmp_path.glob("views-*.npy")
    for damage in (cut, flip, lambda path: path.write_bytes(b"nonsense"), lambda path: np.save(path, np.zeros(3))):
        damage(path)
        with pytest.warns(UserWarning, match=r"damaged views .* made again"):
            again = build(frozen, places)
        np.testing.assert_array_equal(next(again.ingredients.batches.epoch(0)).images, good)
    path.with_suffix(".json").unlink()  # views of a version without checksums
    build(frozen, places)


def test_a_full_disk_leaves_no_half_views(frozen, data, tmp_path):
    places = Places(data, tmp_path, progress=False)
    build(frozen, places)
    (path,) = tmp_path.glob("views-*.npy")
    path.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(VlrfaceError, match=r"kept views: cannot write .*views-.*Free space"):
            build(frozen, places)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.glob("*views*.npy"))
    build(frozen, places)


def test_a_kept_map_is_what_the_frozen_steps_make_of_the_augmented_crop(frozen, data, tmp_path):
    pictures = build(dataclasses.replace(frozen, data=dataclasses.replace(frozen.data, views=None)),
                     Places(data, tmp_path, progress=False)).ingredients  # fmt: skip
    kept = build(frozen, Places(data, tmp_path, progress=False)).ingredients
    part = pictures.batches._parts[0]
    batch = next(kept.batches.epoch(0))
    from vlrface.data.batches import sample_generator

    recognizer = kept.recognizer.eval()
    for image, row in zip(batch.images, batch.rows.tolist(), strict=True):
        views = [part.transform(part.crops[row], sample_generator(0, view, position=row)) for view in range(2)]
        with torch.no_grad():
            maps = recognizer.stem_maps(torch.from_numpy(np.stack(views))).numpy()
        nearest = min(np.abs(maps - image.astype(np.float32)).max(axis=(1, 2, 3)))
        assert nearest < 0.01 * np.abs(maps).max()
    assert kept.unrecognizable is not None
    assert kept.unrecognizable.dtype == torch.float16


def test_a_run_on_views_resumes_bit_for_bit_and_leaves_the_stem_alone(frozen, data, tmp_path):
    def run(folder, **options):
        built = build(frozen, Places(data, tmp_path, progress=False))
        return train(built.ingredients, frozen.training, folder, config=to_json(frozen), progress=False, **options)

    undisturbed = run(tmp_path / "a")
    with pytest.raises(TrainingInterruptedError):
        run(tmp_path / "b", stop_at=1)
    resumed = run(tmp_path / "b")
    one, other = Checkpoint.load(undisturbed.last).tensors, Checkpoint.load(resumed.last).tensors
    assert all(torch.equal(one[name], other[name]) for name in one)
    start = build_recognizer(frozen.model, data, frozen.seed)
    trained = load_trained(undisturbed.best).recognizer
    assert trained.frozen_steps == 14
    for name, value in start.backbone.blocks[:12].state_dict().items():
        assert torch.equal(value, trained.backbone.blocks[:12].state_dict()[name])


def test_a_checkpoint_is_a_start_for_the_same_trunk_only(frozen, data, tmp_path):
    places = Places(data, tmp_path, progress=False)
    outcome = train_experiment(frozen, tmp_path / "run", places)
    backbone = MobileFaceNetConfig(32, str(outcome.best))
    begun = build_recognizer(dataclasses.replace(frozen.model, backbone=backbone), data, seed=1)
    trained = load_trained(outcome.best).recognizer
    for name, value in trained.backbone.state_dict().items():
        assert torch.equal(begun.backbone.state_dict()[name], value)
    with pytest.raises(VlrfaceError, match="another trunk"):
        build_recognizer(
            dataclasses.replace(frozen.model, backbone=dataclasses.replace(backbone, size=64)), data, seed=1
        )
    casia = dataclasses.replace(frozen.model, backbone=dataclasses.replace(backbone, variant="casia"))
    with pytest.raises(VlrfaceError, match="another trunk \\(variant 'ms1m', not 'casia'\\)"):  # of the same tensors
        build_recognizer(casia, data, seed=1)


def test_views_without_frozen_steps_are_refused(frozen):
    with pytest.raises(VlrfaceError, match=r"model\.frozen_steps above 0"):
        check(dataclasses.replace(frozen, model=dataclasses.replace(frozen.model, frozen_steps=0)))
