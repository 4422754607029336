"""IResNet-50 from scratch, on built-in faces and worn real ones: does the method help where no weights are given?

    vlrface ablate recipes/study/scratch.py --data DIR --out runs/scratch \
        --benchmark tinyface=DIR/lfw-vlr/tinyface retrieval=DIR/lfw-vlr/tinyface

1,000 built-in people and the training people of LFW-VLR, 64 pixels, no distillation, no starting weights. So few people
make no good network of this size; the question is the difference between the rows.
"""

import runpy
from dataclasses import replace
from pathlib import Path

from vlrface.experiment.ablation import Ablation
from vlrface.experiment.config import Experiment, IResNetConfig, PartConfig, ProceduralSource, load_recipe
from vlrface.images.augment import Chain, RandomDegradation

here = Path(__file__).parent
rows: Ablation = runpy.run_path(str(here / "rows.py"))["ablation"]
full = load_recipe(here.parent / "lfw_vlr.py")
# The camera and the framing of the sharp pictures serve for the built-in ones; these are not cut loosely.
(degradation,) = (each for each in full.data.parts[1].transform.steps if isinstance(each, RandomDegradation))
view = full.data.parts[0].transform.steps[-1]
procedural = PartConfig(ProceduralSource(identities=1000, per_identity=8), Chain((degradation, view)))


def scratch(short: Experiment) -> Experiment:
    """A row of the study without starting weights or a teacher."""
    return replace(
        short,
        teacher=None,
        model=replace(short.model, backbone=IResNetConfig(50, full.model.backbone.size), frozen_steps=0),
        data=replace(short.data, views=None, parts=(*(replace(p, teacher=None) for p in full.data.parts), procedural)),
        head=replace(short.head, from_teacher=False),
        training=replace(full.training, epochs=24, validate_every=24, trunk_rate=0.1, heads_rate=0.1),
    )


ablation = Ablation(
    name="scratch",
    variants={row: scratch(rows.variants[row]) for row in ("arcface", "full")},
    baseline="arcface",
    seeds=3,
)
