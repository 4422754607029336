"""The full method on MS1M in RecordIO, going on from the trunk that `ms1m_rec.py` trained.

    vlrface train recipes/ms1m_rec.py --data DIR --out runs/ms1m_rec
    cp runs/ms1m_rec/best.safetensors DIR/weights/ms1m_rec.safetensors
    vlrface train recipes/ms1m_rec_full.py --data DIR --out runs/ms1m_rec_full

The index, its diversion and the attention are learned in four epochs at a tenth of the rate: they need embeddings that
tell people apart already, and a trunk that stays near them. Not run by us: no figure is claimed.
"""

from dataclasses import replace
from pathlib import Path

from vlrface.experiment.config import IResNetConfig, ModelConfig, ObjectiveConfig, UnrecognizableConfig, load_recipe
from vlrface.images.degrade import UNRECOGNIZABLE
from vlrface.losses.objective import ObjectiveWeights
from vlrface.train import Schedule

plain = load_recipe(Path(__file__).with_name("ms1m_rec.py"))
faces = plain.data.validation.source
size = plain.model.backbone.size

experiment = replace(
    plain,
    name="ms1m_rec_full",
    model=ModelConfig(IResNetConfig(50, size, "weights/ms1m_rec.safetensors"), plain.model.framing, dropout=0.4),
    data=replace(plain.data, unrecognizable=(UnrecognizableConfig(faces, UNRECOGNIZABLE, count=512),)),
    objective=ObjectiveConfig(
        ObjectiveWeights(regression=1.0, diversion=0.1, projection=1.0, diversion_from_epoch=1),
        target="log_ratio",
        deviation_floor=0.3,
    ),
    training=replace(
        plain.training, epochs=4, trunk_rate=0.01, heads_rate=0.05, schedule=Schedule("cosine", warmup=0.02)
    ),
)
