"""ArcFace on MS1M in RecordIO, as insightface publishes it: 5.8 million aligned faces of 85,742 people, IResNet-50.

    vlrface train recipes/ms1m_rec.py --data DIR --out runs/ms1m_rec

DIR holds `ms1m/train.rec` and `ms1m/train.idx` (MS1MV2, MS1MV3; Glint and WebFace in the same form work too). Then
`ms1m_rec_full.py` goes on with the full method. Not run by us: no figure is claimed.

Why it is as it is:
- pictures stay in the .rec file and are decoded by workers as they are drawn: decoded, they would fill 220 GB.
- one of three faces is seen through a bad camera: the network is to be good at few pixels and at many.
- 20 epochs, scale 64, margin 0.5, rate 0.1 and its steps, as arcface_torch has them.
- 200 people are held out to choose the checkpoint; who they are depends on the seed alone.
- a few broken pictures must not end a run of days: others are drawn in their place, and the log says how many.
"""

from vlrface.experiment.config import (
    ArcFaceConfig,
    DataConfig,
    Experiment,
    IResNetConfig,
    ModelConfig,
    ObjectiveConfig,
    PartConfig,
    RecordSource,
    ValidationConfig,
)
from vlrface.images.augment import Chain, RandomDegradation
from vlrface.images.degrade import SURVEILLANCE
from vlrface.images.framing import Framing, RandomFraming
from vlrface.losses.objective import ObjectiveWeights
from vlrface.train import Schedule, TrainingOptions

SIDE = 112
faces = RecordSource("ms1m/train.rec", on_broken="skip")
view = RandomFraming(Framing(), SIDE, SIDE, zoom=0.02, aspect=0.01, rotation_rad=0.02, shift=0.01)

experiment = Experiment(
    name="ms1m_rec",
    seed=0,
    model=ModelConfig(IResNetConfig(50, SIDE), Framing(), regression=False, attention=False),
    data=DataConfig(
        parts=(PartConfig(faces, Chain((RandomDegradation(SURVEILLANCE, 0.33), view))),),
        validation=ValidationConfig(faces, identities=200, seed=0),
    ),
    head=ArcFaceConfig(scale=64.0, margin_rad=0.5),
    objective=ObjectiveConfig(ObjectiveWeights(regression=0.0, diversion=0.0, projection=0.0)),
    training=TrainingOptions(
        epochs=20,
        batch_size=512,
        trunk_rate=0.1,
        prototypes_rate=0.1,
        weight_decay=5e-4,
        schedule=Schedule("step", warmup=0.02, milestones=(0.5, 0.7, 0.9), factor=0.1),
        save_every=1000,
        log_every=50,
        workers=16,
    ),
)
