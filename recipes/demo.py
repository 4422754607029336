"""The full method on built-in faces, from scratch, in about six minutes on two cores and without any data.

    vlrface demo
    vlrface train recipes/demo.py --out runs/demo

People that do not exist, drawn at 112 pixels and seen by cameras from near to hopelessly far, 5 to 40 pixels, so that
the recognizability index has something to tell. It shows every part at work; its figures say nothing of real faces.
"""

from dataclasses import replace

from vlrface.experiment.config import (
    ArcFaceConfig,
    DataConfig,
    Experiment,
    MobileFaceNetConfig,
    ModelConfig,
    ObjectiveConfig,
    PartConfig,
    ProceduralSource,
    UnrecognizableConfig,
    ValidationConfig,
)
from vlrface.images.augment import Chain, RandomDegradation
from vlrface.images.degrade import SURVEILLANCE, UNRECOGNIZABLE
from vlrface.images.framing import Framing, RandomFraming
from vlrface.losses.objective import ObjectiveWeights
from vlrface.train import Schedule, TrainingOptions

SIDE = 32
camera = replace(SURVEILLANCE, side_px=(5, 40), gain=(0.3, 1.1), read_noise=(0.0, 12.0))
crops = ProceduralSource(identities=400, per_identity=12, degradation=camera)
sharp = ProceduralSource(identities=400, per_identity=12)  # the same pictures before the camera
view = RandomFraming(Framing(), SIDE, SIDE, zoom=0.08, aspect=0.03, rotation_rad=0.05, shift=0.03)

experiment = Experiment(
    name="demo",
    seed=0,
    model=ModelConfig(MobileFaceNetConfig(SIDE), Framing(), dropout=0.2),
    data=DataConfig(
        parts=(
            PartConfig(crops, Chain((view,))),
            PartConfig(sharp, Chain((RandomDegradation(camera), view))),
        ),
        validation=ValidationConfig(crops, identities=50),
        unrecognizable=(UnrecognizableConfig(sharp, UNRECOGNIZABLE, count=192),),
    ),
    head=ArcFaceConfig(scale=32.0, margin_rad=0.2),
    objective=ObjectiveConfig(
        ObjectiveWeights(regression=2.0, diversion=0.05, projection=0.1, diversion_from_epoch=4),
        target="log_ratio",
        deviation_floor=0.3,
    ),
    training=TrainingOptions(
        epochs=6,
        batch_size=64,
        trunk_rate=0.1,
        heads_rate=0.1,
        prototypes_rate=0.1,
        schedule=Schedule("cosine", warmup=0.05),
        average_decay=0.99,
        precision="float32",
        compiled=False,  # compiling would take longer than it saves here
        validate_every=2,
    ),
)
