"""A run of a second that behaves: three small layers, low rates. Float32 rounding stays rounding over its steps.

The network of `tiny_run` has batch norms over 32 values and starts at random: there a last bit grows a hundredfold with
each step, so that it can say that two runs are the same, but not that they are nearly the same.
"""

import numpy as np
import torch
from torch import nn

from vlrface.data.batches import Batches, Part
from vlrface.data.cache import crops_in_memory
from vlrface.images.framing import Framing, RandomFraming
from vlrface.losses.heads import ArcFace
from vlrface.losses.objective import MethodObjective, ObjectiveWeights
from vlrface.models.attention import PerceptibilityAttention
from vlrface.models.backbone import Backbone, EmbeddingNorm, InputSpec, initialise
from vlrface.models.recognizability import PerceptibilityRegression
from vlrface.models.recognizer import Recognizer
from vlrface.ranks import current
from vlrface.train import Ingredients, TrainingOptions, Validation, train

SIDE, DIM, CLASSES, BATCH = 16, 12, 11, 10
CONFIG = {"kind": "Experiment", "name": "small"}
OPTIONS = TrainingOptions(
    epochs=2, batch_size=BATCH, compiled=False, average_decay=0.8, refresh_every=2, log_every=1, save_every=3,
    precision="float32", trunk_rate=0.002, heads_rate=0.002, prototypes_rate=0.02, threads=1,
)  # fmt: skip
STEPS = 12


class SmallBackbone(Backbone):
    def __init__(self):
        super().__init__()
        self.input = InputSpec(SIDE, SIDE)
        self.embedding_dim = DIM
        self.feature_shape = (16, 4, 4)
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.activation = nn.PReLU(8)
        self.widen = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False)
        self.dropout = nn.Dropout(0.1)
        self.linear = nn.Linear(16 * 4 * 4, DIM)
        self.last = EmbeddingNorm(DIM)
        initialise(self, 3)

    def steps(self):
        return self.conv, self.norm, self.activation, self.widen

    def embed(self, features, measured=None):
        return self.last(self.linear(self.dropout(features.flatten(1))), measured)


def ingredients(head=None, share=None):
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (60, 14, 14, 3), np.uint8))
    part = Part(crops_in_memory(pictures), np.arange(60) % CLASSES, RandomFraming(Framing(1.2, 0.45), SIDE, SIDE))
    backbone = SmallBackbone()
    recognizer = Recognizer(
        backbone,
        PerceptibilityRegression(backbone.feature_shape, dropout=0.3),
        PerceptibilityAttention(backbone.feature_shape[0], reduction=4, kernel=3),
    )
    teacher = torch.from_numpy(rng.normal(size=(60, DIM))).float()

    def validate(network, statistics):
        del statistics
        value = float(network.backbone.linear.weight.detach().abs().sum())
        _, index = network.embed_crops(np.arange(5 * SIDE * SIDE * 3, dtype=np.uint8).reshape(5, SIDE, SIDE, 3))
        return Validation({"rank1": 0.5, "index": float(index.mean())}, value, {"calibration": {"slope": value}})

    weights = ObjectiveWeights(distillation=1.0, attended_recognition=0.2, diversion_from_epoch=1)
    return Ingredients(
        recognizer=recognizer,
        objective=MethodObjective(head or ArcFace(DIM, CLASSES, 16.0, 0.3), weights, emphasis="recognizability"),
        batches=Batches([part], BATCH, SIDE, SIDE, seed=1, share=share or current()),
        teachers=(teacher,),
        unrecognizable=torch.from_numpy(rng.integers(0, 40, (13, SIDE, SIDE, 3), np.uint8)),
        validate=validate,
    )


def run(folder, given=None, options=OPTIONS, **kwargs):
    return train(given or ingredients(), options, folder, config=CONFIG, seed=7, progress=False, **kwargs)
