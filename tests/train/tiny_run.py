"""A run that takes two seconds: a small network on a few noise pictures."""

import numpy as np
import torch

from vlrface.checkpoint import Checkpoint
from vlrface.data.batches import Batches, Part
from vlrface.data.cache import crops_in_memory
from vlrface.images.framing import Framing, RandomFraming
from vlrface.losses.heads import ArcFace
from vlrface.losses.objective import MethodObjective, ObjectiveWeights
from vlrface.models.attention import PerceptibilityAttention
from vlrface.models.mobilefacenet import MobileFaceNet, mobilefacenet_input
from vlrface.models.recognizability import PerceptibilityRegression
from vlrface.models.recognizer import Recognizer
from vlrface.train import (
    Ingredients,
    TrainingOptions,
    Validation,
    train,
)
from vlrface.train.journal import read_log

SIDE = 32
CONFIG = {"kind": "Experiment", "name": "tiny"}
OPTIONS = TrainingOptions(
    epochs=3, batch_size=8, compiled=False, average_decay=0.8, refresh_every=2, log_every=1, save_every=3, threads=1
)  # fmt: skip


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def ingredients(weights=None, *, criterion=None, heads=True, measured=True, workers=0, classes=5):
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (40, 20, 16, 3), np.uint8))
    part = Part(crops_in_memory(pictures), np.arange(40) % classes, RandomFraming(Framing(1.2, 0.45), SIDE, SIDE))
    backbone = MobileFaceNet(mobilefacenet_input(SIDE, SIDE))
    recognizer = Recognizer(
        backbone,
        PerceptibilityRegression(backbone.feature_shape, dropout=0.2) if heads else None,
        PerceptibilityAttention(backbone.feature_shape[0]),
    )
    head = ArcFace(backbone.embedding_dim, classes, 32.0, 0.3)
    teacher = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(40, 128))).float())
    calls = []

    def validate(network, statistics):
        calls.append(statistics)
        assert not any(p.isnan().any() for p in network.parameters())
        # A value of the weights alone, as a real validation gives, unless a test asks for an order.
        value = float(network.backbone.linear.weight.detach().abs().sum())
        return Validation(
            {"rank1": 0.5}, value if criterion is None else criterion(len(calls)), {"calibration": {"slope": value}}
        )

    return Ingredients(
        recognizer=recognizer,
        objective=MethodObjective(head, weights or ObjectiveWeights(distillation=1.0)),
        batches=Batches([part], 8, SIDE, SIDE, seed=1, workers=workers),
        teachers=(teacher,),
        unrecognizable=torch.from_numpy(rng.integers(0, 40, (12, SIDE, SIDE, 3), np.uint8)) if measured else None,
        validate=validate,
    )


def run(folder, given=None, options=OPTIONS, **kwargs):
    return train(given or ingredients(), options, folder, config=CONFIG, seed=7, progress=False, **kwargs)


def before_each_batch(given, act):
    """Let `act(step of the epoch)` happen before the training step of each batch."""
    epoch = given.batches.epoch

    def acting(number, start=0):
        for step, batch in enumerate(epoch(number, start), start):
            act(step)
            yield batch

    given.batches.epoch = acting
    return given


def tensors(path):
    return dict(Checkpoint.load(path).tensors)


def assert_equal_tensors(ours, theirs):
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different


def assert_same_run(ours, theirs):
    """Weights, what the card says of them, and the log; only times may differ."""
    for name in ("last.safetensors", "best.safetensors"):
        one, other = Checkpoint.load(ours / name), Checkpoint.load(theirs / name)
        assert_equal_tensors(dict(one.tensors), dict(other.tensors))
        assert {**one.card, "seconds": 0} == {**other.card, "seconds": 0}
    assert log_without_speed(ours) == log_without_speed(theirs)


def log_without_speed(folder):
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in read_log(folder / "log.jsonl")]
