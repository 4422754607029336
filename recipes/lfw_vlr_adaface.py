"""AdaFace (Kim et al., CVPR 2022) on the steps of `lfw_vlr_arcface.py`: the same data, distillation and rates, with a
margin that the norm of the embedding steers, so that poor faces are pushed less.

    vlrface train recipes/lfw_vlr_adaface.py --data DIR --out runs/lfw_vlr_adaface
    vlrface encode runs/lfw_vlr_adaface DIR/lfw-vlr/tinyface -o adaface.npz

Its norms are a quality measure that the recognizability index is compared with. The published margin is 0.4, beside an
ArcFace of 0.5; ArcFace has 0.3 here, so the margin is 0.6 times theirs. The running statistics of the norms start where
the start network has them on training crops, 11.2 ± 1.8: from the authors' first values, 20 and 100, they would be
wrong for the first third of this short run.
"""

from dataclasses import replace
from pathlib import Path

from vlrface.experiment.config import AdaFaceConfig, load_recipe

arcface = load_recipe(Path(__file__).with_name("lfw_vlr_arcface.py"))

experiment = replace(
    arcface,
    name="lfw_vlr_adaface",
    head=AdaFaceConfig(scale=32.0, margin=0.24, first_mean=11.2, first_deviation=1.8, from_teacher=True),
)
