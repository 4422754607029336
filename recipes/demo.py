"""The full method on built-in faces, from scratch, in about five minutes on two cores and without any data.

    vlrface demo
    vlrface train recipes/demo.py --out runs/demo

People that do not exist, drawn at 112 pixels and seen by a far camera at 12 to 40. It shows every part at work; its
figures say nothing of real faces.
"""

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
crops = ProceduralSource(identities=400, per_identity=12, degradation=SURVEILLANCE)
sharp = ProceduralSource(identities=400, per_identity=12)  # the same pictures before the camera
view = RandomFraming(Framing(), SIDE, SIDE, zoom=0.08, aspect=0.03, rotation_rad=0.05, shift=0.03)

experiment = Experiment(
    name="demo",
    seed=0,
    model=ModelConfig(MobileFaceNetConfig(SIDE), Framing(), dropout=0.2),
    data=DataConfig(
        parts=(
            PartConfig(crops, Chain((view,))),
            PartConfig(sharp, Chain((RandomDegradation(SURVEILLANCE), view))),
        ),
        validation=ValidationConfig(crops, identities=50),
        unrecognizable=UnrecognizableConfig(sharp, UNRECOGNIZABLE, count=192),
    ),
    head=ArcFaceConfig(scale=32.0, margin_rad=0.2),
    objective=ObjectiveConfig(
        ObjectiveWeights(regression=1.0, diversion=0.1, projection=0.1, diversion_from_epoch=3),
        target="log_ratio",
        deviation_floor=0.1,
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
