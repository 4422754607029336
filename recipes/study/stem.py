"""The warm trunk that all trainings of the study start from: distillation alone, with no identity label and no part of
the method, so that it favours none of them.

    vlrface train recipes/study/stem.py --data DIR --out runs/study_stem
    mkdir DIR/study; cp runs/study_stem/best.safetensors DIR/study/stem.safetensors

The data, framing, rates and teacher are those of `lfw_vlr.py`; 160 training identities are held out instead of 80, the
same ones in the whole study: its choices are made on them.
"""

from dataclasses import replace
from pathlib import Path

from vlrface.experiment.config import load_recipe

arcface = load_recipe(Path(__file__).parents[1] / "lfw_vlr_arcface.py")

experiment = replace(
    arcface,
    name="study_stem",
    data=replace(arcface.data, validation=replace(arcface.data.validation, identities=160)),
    objective=replace(arcface.objective, weights=replace(arcface.objective.weights, recognition=0.0)),
)
