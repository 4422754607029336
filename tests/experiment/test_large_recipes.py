"""The recipes for sets that nobody may pass on: each on generated data of the same layout, for two steps."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.experiment.streams import write_rec

from vlrface.checkpoint import read_card
from vlrface.experiment.config import MobileFaceNetConfig, load_recipe, override
from vlrface.experiment.sources import Places
from vlrface.experiment.training import train_experiment
from vlrface.images.procedural import procedural_faces

RECIPES = Path(__file__).parents[2] / "recipes"


def faces(people: int, each: int) -> list[list[bytes]]:
    """Encoded faces by person."""
    made = procedural_faces(people, each, size=40, seed=2)
    found: list[list[bytes]] = [[] for _ in range(people)]
    for number, image in zip(made.identities.tolist(), made.images, strict=True):
        file = io.BytesIO()
        Image.fromarray(np.asarray(image)).save(file, "JPEG")
        found[number].append(file.getvalue())
    return found


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def ms1m(root: Path) -> None:
    write_rec(root / "ms1m" / "train.rec", faces(8, 4))


def identity_folders(name: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for person, pictures in enumerate(faces(8, 4)):
            for number, data in enumerate(pictures):
                write(root / name / str(person + 1) / f"{person + 1}_{number}.jpg", data)

    return make


def scface(root: Path) -> None:
    pictures = faces(2, 4)
    for subject in range(1, 131):
        data = pictures[subject % 2]
        write(root / "SCface" / "mugshot_frontal_cropped_all" / f"{subject:03}_frontal.JPG", data[0])
        for distance in (1, 2, 3):
            for camera in range(1, 6):
                folder = root / "SCface" / f"surveillance_cameras_distance_{distance}" / f"cam_{camera}"
                write(folder / f"{subject:03}_cam{camera}_{distance}.jpg", data[distance])


LAYOUTS: dict[str, tuple[Callable[[Path], None], int, int]] = {
    "ms1m_rec": (ms1m, 6, 32),
    "ms1m_rec_full": (ms1m, 6, 32),
    "tinyface": (identity_folders("TinyFace/Training_Set"), 6, 32),
    "survface": (identity_folders("QMUL-SurvFace/Training_Set"), 6, 32),  # some copies spell it with capitals
    "scface": (scface, 48, 800),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_two_steps_on_data_of_the_same_layout(name: str, tmp_path: Path) -> None:
    make, classes, pictures = LAYOUTS[name]
    make(tmp_path)
    unrecognizable = ["data.unrecognizable.0.count=8"] if name != "ms1m_rec" else []
    experiment = override(
        load_recipe(RECIPES / f"{name}.py"),
        ["model.backbone.depth=18", "model.backbone.size=32", "model.backbone.weights=null",
         "data.parts.0.transform.steps.1.height=32", "data.parts.0.transform.steps.1.width=32",
         "data.validation.identities=2", "training.epochs=1", "training.workers=0", "training.compiled=false",
         "training.precision=float32", "training.threads=1", "training.log_every=1",
         f"training.batch_size={pictures * classes // (classes + 2) // 2}", *unrecognizable],
    )  # fmt: skip
    if name == "scface":
        experiment = override(experiment, ["data.parts.0.copies=0.02", "training.batch_size=7"])
    if name != "ms1m_rec":  # a trunk of a tenth of the size, which is faster saved
        experiment = replace(experiment, model=replace(experiment.model, backbone=MobileFaceNetConfig(32)))
    outcome = train_experiment(experiment, tmp_path / "run", Places(tmp_path, tmp_path / "cache", progress=False))
    assert outcome.steps == 2
    assert {"rank1", "mAP"} <= set(outcome.figures)
    card = read_card(outcome.best)
    assert card is not None
    assert card["config"]["name"] == name
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert any("loss/recognition" in line for line in lines)
