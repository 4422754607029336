"""Fine-tuning on QMUL-SurvFace: 220,890 faces of 5,319 people, 24 x 20 pixels on average, from surveillance cameras.

    vlrface train recipes/survface.py --data DIR --out runs/survface
    vlrface evaluate runs/survface --benchmark survface-id --data DIR/QMUL-SurvFace
    vlrface evaluate runs/survface --benchmark survface-verif --data DIR/QMUL-SurvFace

DIR holds QMUL-SurvFace as it unpacks (`QMUL-SurvFace/training_set/<id>/*.jpg`), and `weights/ms1mv3_arcface_r50.pth`,
the IResNet-50 of arcface_torch (non-commercial research). QMUL-SurvFace is for research. Not run by us: no figure is
claimed; the poster reports a TPR of 80.99 % at FAR 0.1 and a TPIR20 of 33.20 % at FPIR 0.3.

Why it is as it is:
- the trunk starts from aligned sharp faces and moves slowly; prototypes and heads are new and move fast.
- scale and margin are below those of large sets: many faces show next to nothing.
- the weights of the method's parts are those of `lfw_vlr.py`, which were chosen on held-out people there.
- the cut is tight, so that the whole crop is framed.
- 200 people are held out to choose the checkpoint, never the test set.
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
crops = FolderSource("QMUL-SurvFace/training_set")
framing = Framing()

# Real crops have seen a camera already: a few are made smaller, darker or noisier still.
worn = DegradationRange(
    side_px=(8, 24), kernels=("area", "linear"), gain=(0.6, 1.4), read_noise=(0.0, 5.0), jpeg_probability=0.0
)
view = RandomFraming(framing, SIDE, SIDE)

experiment = Experiment(
    name="survface",
    seed=0,
    model=ModelConfig(IResNetConfig(50, SIDE, "weights/ms1mv3_arcface_r50.pth"), framing, dropout=0.4),
    data=DataConfig(
        parts=(PartConfig(crops, Chain((RandomDegradation(worn, 0.15), view))),),
        validation=ValidationConfig(crops, identities=200, seed=0),
        unrecognizable=(UnrecognizableConfig(crops, UNRECOGNIZABLE, count=256),),
    ),
    head=ArcFaceConfig(scale=32.0, margin_rad=0.3),
    objective=ObjectiveConfig(
        ObjectiveWeights(regression=5.0, diversion=0.5, projection=10.0, diversion_from_epoch=2),
        target="log_ratio",
        deviation_floor=0.3,
    ),
    training=TrainingOptions(
        epochs=10,
        batch_size=128,
        trunk_rate=0.01,
        heads_rate=0.04,
        prototypes_rate=0.1,
        weight_decay=5e-4,
        schedule=Schedule("cosine", warmup=0.1),
        average_decay=0.998,
        refresh_every=50,
        validate_every=1,
        workers=8,
    ),
)
