"""MagFace (Meng et al., CVPR 2021) on the steps of `lfw_vlr_arcface.py`: the same data, distillation and rates, with a
margin that grows with the norm of the embedding, so that the norm learns to say how good a face is.

    vlrface train recipes/lfw_vlr_magface.py --data DIR --out runs/lfw_vlr_magface
    vlrface encode runs/lfw_vlr_magface DIR/lfw-vlr/tinyface -o magface.npz

Its norms are a quality measure that the recognizability index is compared with. The settings are the published ones,
carried over to a network of another size, by rule and not by search:
- norms: theirs are 10 to 110, for a last batch norm of scale 1 over 512 values, whose root mean square is √512 = 22.6.
  Ours has scale 1 over 128 values: half of it. The start network has 11.2 ± 1.8 on training crops while training, all
  of them inside 5 to 55.
- margins: ArcFace has 0.3 here where it has 0.5 there, so both ends are 0.6 times theirs. A face of the mean norm then
  has ArcFace's margin, in both.
- weight: theirs is 1.55 times the bound below which every norm would fall to its lowest; so is this one (see
  `magnitude_regularizer`).
"""

from dataclasses import replace
from pathlib import Path

from vlrface.experiment.config import MagFaceConfig, load_recipe

arcface = load_recipe(Path(__file__).with_name("lfw_vlr_arcface.py"))

experiment = replace(
    arcface,
    name="lfw_vlr_magface",
    head=MagFaceConfig(
        scale=32.0,
        lowest_norm=5.0,
        highest_norm=55.0,
        lowest_margin_rad=0.27,
        highest_margin_rad=0.48,
        magnitude_weight=5.25,
        from_teacher=True,
    ),
)
