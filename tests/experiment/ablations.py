"""An ablation recipe whose trainings take two seconds, on built-in faces."""

RECIPE = '''"""vlrface ablate tiny.py --out runs/tiny"""
from dataclasses import replace

from vlrface.experiment.ablation import Ablation
from vlrface.experiment.config import *
from vlrface.images.augment import Chain
from vlrface.images.framing import Framing, RandomFraming
from vlrface.losses.objective import ObjectiveWeights
from vlrface.train import TrainingOptions

crops = ProceduralSource(identities=10, per_identity=4)
arcface = Experiment(
    name="tiny",
    model=ModelConfig(MobileFaceNetConfig(size=32), Framing(), regression=False, attention=False),
    data=DataConfig((PartConfig(crops, Chain((RandomFraming(Framing(), 32, 32),))),), ValidationConfig(crops, 4)),
    head=ArcFaceConfig(scale=32.0, margin_rad=0.3),
    objective=ObjectiveConfig(ObjectiveWeights(regression=0.0, diversion=0.0, projection=0.0)),
    training=TrainingOptions(
        epochs=EPOCHS, batch_size=12, compiled=False, precision="float32", validate_every=EPOCHS, save_every=1,
        threads=1,
    ),
)
broken = replace(arcface, training=replace(arcface.training, trunk_rate=1e30))
ablation = Ablation(
    "tiny",
    {"arcface": arcface, "cosface": replace(arcface, head=CosFaceConfig(scale=32.0, margin=0.2)), "broken": broken},
    baseline="arcface",
    seeds={"arcface": 2, "cosface": 1, "broken": 1},
)
'''


def write_recipe(folder, epochs=1):
    """The recipe in a folder; its path."""
    path = folder / "tiny.py"
    path.write_text(RECIPE.replace("EPOCHS", str(epochs)))
    return path
