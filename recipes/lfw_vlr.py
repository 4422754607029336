"""The full method on LFW-VLR: real faces of 12 to 40 pixels, unaligned, in the TinyFace layout.

    vlrface train recipes/lfw_vlr.py --data DIR --out runs/lfw_vlr
    vlrface evaluate runs/lfw_vlr --benchmark tinyface --data DIR/lfw-vlr/tinyface

DIR holds `weights/mobilefacenet_ms1m.safetensors` (non-commercial research) and `lfw-vlr/`. LFW-VLR is a surrogate of
surveillance data made from Labeled Faces in the Wild; its figures are no TinyFace figures.

Why it is as it is (each choice made on held-out training identities, never on the test set; docs/results.md has the
figures):
- 64 pixels: a face of 22 pixels holds no more, and a step costs a third of one at 112.
- the window keeps the aspect of a loosely cut face, and leaves out what is not face.
- the teacher is the very network that we start from, looking at the aligned high-resolution picture of the same face:
  its embedding tells more than a label, and its class means are good first prototypes.
"""

from vlrface.experiment.config import (
    ArcFaceConfig,
    DataConfig,
    Experiment,
    FolderSource,
    MobileFaceNetConfig,
    ModelConfig,
    ObjectiveConfig,
    PartConfig,
    UnrecognizableConfig,
    ValidationConfig,
)
from vlrface.images.augment import Chain, LooseCut, RandomDegradation
from vlrface.images.degrade import UNRECOGNIZABLE, DegradationRange
from vlrface.images.framing import Framing, RandomFraming
from vlrface.losses.objective import ObjectiveWeights
from vlrface.train import Schedule, TrainingOptions

SIDE = 64
WEIGHTS = "weights/mobilefacenet_ms1m.safetensors"
crops = FolderSource("lfw-vlr/tinyface/Training_Set")
sharp = FolderSource("lfw-vlr/hr/train")
framing = Framing(window=1.2, center_y=0.44)

# Real crops have seen a camera already: a few are made smaller, darker or noisier still.
worn = DegradationRange(
    side_px=(10, 30), kernels=("area", "linear"), gain=(0.6, 1.4), read_noise=(0.0, 5.0), jpeg_probability=0.0
)
# Sharp, aligned pictures are cut as loosely as the crops, then taken by a bad camera.
camera = DegradationRange(
    side_px=(12, 42),
    kernels=("area", "linear", "cubic", "nearest"),
    blur_px=(0.0, 6.0),
    motion_px=(2.0, 10.0),
    motion_probability=0.25,
    contrast=(0.7, 1.1),
    gain=(0.45, 1.15),
    shot_noise=(0.0, 4.0),
    read_noise=(0.0, 6.0),
    jpeg_quality=(40, 95),
    jpeg_probability=0.8,
)
view = RandomFraming(framing, SIDE, SIDE)
view_of_loose = RandomFraming(framing, SIDE, SIDE, zoom=0.05, aspect=0.03, rotation_rad=0.03, shift=0.02)

experiment = Experiment(
    name="lfw_vlr",
    seed=0,
    model=ModelConfig(MobileFaceNetConfig(SIDE, WEIGHTS), framing, dropout=0.4, serve="plain"),
    teacher=MobileFaceNetConfig(112, WEIGHTS),
    data=DataConfig(
        parts=(
            PartConfig(crops, Chain((RandomDegradation(worn, 0.25), view)), copies=1.2, teacher=sharp),
            PartConfig(
                sharp,
                Chain((LooseCut(), RandomDegradation(camera), view_of_loose)),
                copies=0.8,
                teacher=sharp,
            ),
        ),
        validation=ValidationConfig(crops, identities=80, seed=0),
        unrecognizable=(UnrecognizableConfig(crops, UNRECOGNIZABLE, count=256),),
    ),
    head=ArcFaceConfig(scale=32.0, margin_rad=0.3, from_teacher=True),
    objective=ObjectiveConfig(
        ObjectiveWeights(
            recognition=1.0,
            distillation=20.0,
            regression=5.0,
            diversion=0.5,
            projection=10.0,
            diversion_from_epoch=5,
        ),
        target="log_ratio",
        tau=3.0,
        deviation_floor=0.3,
    ),
    training=TrainingOptions(
        epochs=12,
        batch_size=128,
        trunk_rate=0.05,
        heads_rate=0.04,
        prototypes_rate=0.1,
        weight_decay=5e-4,
        schedule=Schedule("cosine", warmup=0.05),
        average_decay=0.998,
        refresh_every=50,
        validate_every=2,
    ),
)
