"""The full method on the study's short schedule: from a warm trunk whose early part stays frozen.

    vlrface train recipes/study/short.py --data DIR --out runs/short

DIR holds what `lfw_vlr.py` needs and `study/stem.safetensors` (see `stem.py`). The first 14 of 18 steps of the trunk
keep the weights of the stem, so eight augmented views of every crop pass through them once, for all trainings together;
what is trained are the last blocks, the embedding layer, the parts of the method and the prototypes.

The stem has learned from the teacher what there was to learn: going on with distillation costs 1 point of held-out mAP,
so it has weight 0 here.
"""

from dataclasses import replace
from pathlib import Path

from vlrface.experiment.config import MobileFaceNetConfig, ViewsConfig, load_recipe

full = load_recipe(Path(__file__).parents[1] / "lfw_vlr.py")
stem = load_recipe(Path(__file__).with_name("stem.py"))

experiment = replace(
    full,
    name="short",
    model=replace(full.model, backbone=MobileFaceNetConfig(64, "study/stem.safetensors"), frozen_steps=14),
    data=replace(full.data, validation=stem.data.validation, views=ViewsConfig(count=8)),
    objective=replace(
        full.objective, weights=replace(full.objective.weights, distillation=0.0, diversion_from_epoch=1)
    ),
    # Too short to pay for compiling.
    training=replace(full.training, epochs=4, validate_every=4, save_every=1000, compiled=False),
)
