"""Fine-tuning on TinyFace: 7,804 faces of 2,570 people, 20 pixels on average, unaligned.

    vlrface train recipes/tinyface.py --data DIR --out runs/tinyface
    vlrface evaluate runs/tinyface --benchmark tinyface --data DIR/TinyFace

DIR holds TinyFace as it unpacks (`TinyFace/Training_Set/<id>/*.jpg`, `TinyFace/Testing_Set`), and
`weights/ms1mv3_arcface_r50.pth`, the IResNet-50 of arcface_torch (non-commercial research). TinyFace is for research.
Not run by us: no figure is claimed; the poster reports a rank-1 of 73.06 %.

Why it is as it is:
- the trunk starts from aligned sharp faces and moves slowly; prototypes and heads are new and move fast.
- scale and margin are below those of large sets: three faces of a person are few.
- the weights of the method's parts are those of `lfw_vlr.py`, which were chosen on held-out people there.
- the loose, unaligned crop is framed a little closer, with its aspect kept, as at use.
- 150 people are held out to choose the checkpoint, never the test set.
"""

from vlrface.experiment.config import (
    ArcFaceConfig,
    DataConfig,
    Experiment,
    FolderSource,
    IResNetConfig,
    ModelConfig,
    ObjectiveConfig,
    PartConfig,
    UnrecognizableConfig,
    ValidationConfig,
)
from vlrface.images.augment import Chain, RandomDegradation
from vlrface.images.degrade import UNRECOGNIZABLE, DegradationRange
from vlrface.images.framing import Framing, RandomFraming
from vlrface.losses.objective import ObjectiveWeights
from vlrface.train import Schedule, TrainingOptions

SIDE = 112
crops = FolderSource("TinyFace/Training_Set")
framing = Framing(window=1.1)

# Real crops have seen a camera already: a few are made smaller, darker or noisier still.
worn = DegradationRange(
    side_px=(10, 30), kernels=("area", "linear"), gain=(0.6, 1.4), read_noise=(0.0, 5.0), jpeg_probability=0.0
)
view = RandomFraming(framing, SIDE, SIDE)

experiment = Experiment(
    name="tinyface",
    seed=0,
    model=ModelConfig(IResNetConfig(50, SIDE, "weights/ms1mv3_arcface_r50.pth"), framing, dropout=0.4),
    data=DataConfig(
        parts=(PartConfig(crops, Chain((RandomDegradation(worn, 0.25), view))),),
        validation=ValidationConfig(crops, identities=150, seed=0),
        unrecognizable=(UnrecognizableConfig(crops, UNRECOGNIZABLE, count=256),),
    ),
    head=ArcFaceConfig(scale=32.0, margin_rad=0.3),
    objective=ObjectiveConfig(
        ObjectiveWeights(regression=5.0, diversion=0.5, projection=10.0, diversion_from_epoch=5),
        target="log_ratio",
        deviation_floor=0.3,
    ),
    training=TrainingOptions(
        epochs=20,
        batch_size=128,
        trunk_rate=0.01,
        heads_rate=0.04,
        prototypes_rate=0.1,
        weight_decay=5e-4,
        schedule=Schedule("cosine", warmup=0.1),
        average_decay=0.998,
        refresh_every=50,
        validate_every=2,
        workers=8,
    ),
)
