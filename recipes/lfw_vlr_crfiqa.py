"""CR-FIQA's quality (Boutros et al., CVPR 2023) on the steps of `lfw_vlr.py`: ArcFace and a regression to its certainty
ratio, no unrecognizable faces, no attention.

    vlrface train recipes/lfw_vlr_crfiqa.py --data DIR --out runs/lfw_vlr_crfiqa
    vlrface encode runs/lfw_vlr_crfiqa DIR/lfw-vlr/tinyface -o crfiqa.npz

One of the quality measures that `vlrface evaluate --benchmark rejection --measure` compares with. The published network
is an IResNet trained on MS1M; this one differs from ours by the target alone, so that the comparison is the target's.
The published code weighs the regression by 10, with a SmoothL1 of its own width; here weight and width are those of
`lfw_vlr.py`.
"""

from dataclasses import replace
from pathlib import Path

from vlrface.experiment.config import load_recipe

full = load_recipe(Path(__file__).with_name("lfw_vlr.py"))

experiment = replace(
    full,
    name="lfw_vlr_crfiqa",
    model=replace(full.model, attention=False),
    data=replace(full.data, unrecognizable=()),
    objective=replace(
        full.objective,
        weights=replace(full.objective.weights, diversion=0.0, projection=0.0),
        target="certainty_ratio",
    ),
)
