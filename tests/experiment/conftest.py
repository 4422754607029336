"""A small data set in the official TinyFace layout, and a network trained on it for a moment."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from tests.exports import write_tiny_export

from vlrface.experiment.config import load_recipe
from vlrface.experiment.sources import Places
from vlrface.experiment.training import train_experiment
from vlrface.images.degrade import SURVEILLANCE, degrade
from vlrface.images.procedural import procedural_faces

RECIPE = '''"""vlrface train recipe.py"""
from vlrface.experiment.config import *
from vlrface.images.augment import Chain
from vlrface.images.framing import Framing, RandomFraming
from vlrface.losses.objective import ObjectiveWeights
from vlrface.train import TrainingOptions

crops = FolderSource("tinyface/Training_Set")
framing = Framing(1.2, 0.5)
experiment = Experiment(
    name="recipe",
    model=ModelConfig(MobileFaceNetConfig(size=32), framing),
    data=DataConfig(
        (PartConfig(crops, Chain((RandomFraming(framing, 32, 32),))),),
        ValidationConfig(crops, 4),
        (UnrecognizableConfig(crops, count=16),),
    ),
    head=ArcFaceConfig(scale=32.0, margin_rad=0.3),
    objective=ObjectiveConfig(ObjectiveWeights()),
    training=TrainingOptions(epochs=2, batch_size=16, compiled=False, threads=1),
)
'''


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A folder with `tinyface/`: 12 training identities, 4 test identities, 5 distractors."""
    root = tmp_path_factory.mktemp("data")
    train = procedural_faces(12, 4, seed=1)
    test = procedural_faces(4, 4, seed=1, first_identity=500)
    others = procedural_faces(5, 1, seed=1, first_identity=900)
    draw = np.random.default_rng(0)

    def save(path, image):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(degrade(image, SURVEILLANCE.draw(draw))).save(path, quality=95)

    base = root / "tinyface"
    for i, image in enumerate(train.images):
        save(base / "Training_Set" / str(train.identities[i]) / f"{i}.jpg", image)
    lists = {"gallery_match": [], "probe": []}
    for i, image in enumerate(test.images):
        part, folder = (("gallery_match", "Gallery_Match"), ("probe", "Probe"))[i % 2]
        save(base / "Testing_Set" / folder / f"{test.identities[i]}_{i // 2}.jpg", image)
        lists[part].append((f"{test.identities[i]}_{i // 2}.jpg", int(test.identities[i])))
    for i, image in enumerate(others.images):
        save(base / "Testing_Set" / "Gallery_Distractor" / f"{i:06d}.jpg", image)
    for part, key in (("gallery_match", "gallery"), ("probe", "probe")):
        names = np.array([[np.array([n], dtype=object)] for n, _ in lists[part]], dtype=object)
        ids = np.array([[i] for _, i in lists[part]])
        savemat(base / "Testing_Set" / f"{part}_img_ID_pairs.mat", {f"{key}_set": names, f"{key}_ids": ids})
    (root / "recipe.py").write_text(RECIPE)
    return root


@pytest.fixture(scope="session")
def trained_run(data, tmp_path_factory) -> Path:
    """The folder of a short run of the recipe."""
    folder = tmp_path_factory.mktemp("runs") / "recipe"
    experiment = load_recipe(data / "recipe.py")
    train_experiment(experiment, folder, Places(data, tmp_path_factory.mktemp("cache"), progress=False))
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A tiny exported model."""
    path = tmp_path_factory.mktemp("bulk-model") / "model.onnx"
    write_tiny_export(path)
    return path


@pytest.fixture(scope="session")
def crops(tmp_path_factory) -> Path:
    """120 pictures in 3 folders, two of them broken."""
    root = tmp_path_factory.mktemp("bulk-crops")
    draw = np.random.default_rng(0)
    for number in range(120):
        path = root / f"{number % 3}" / f"{number:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (20, 24, 3), np.uint8)).save(path)
        if number in (5, 77):
            path.write_bytes(b"broken")
    return root
