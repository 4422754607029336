"""ArcFace without the parts of the method, under the same data, distillation, steps and rates as `lfw_vlr.py`.

    vlrface train recipes/lfw_vlr_arcface.py --data DIR --out runs/lfw_vlr_arcface
    vlrface evaluate runs/lfw_vlr_arcface --benchmark tinyface --data DIR/lfw-vlr/tinyface

The baseline that `lfw_vlr.py` is compared with. Only the method's own parts are taken out: recognizability, diversion,
attention. Distillation, first prototypes, augmentation and schedule stay, so that the difference is the method's.
"""

from dataclasses import replace
from pathlib import Path

from vlrface.experiment.config import load_recipe

full = load_recipe(Path(__file__).with_name("lfw_vlr.py"))

experiment = replace(
    full,
    name="lfw_vlr_arcface",
    model=replace(full.model, regression=False, attention=False),
    data=replace(full.data, unrecognizable=()),
    objective=replace(
        full.objective, weights=replace(full.objective.weights, regression=0.0, diversion=0.0, projection=0.0)
    ),
)
