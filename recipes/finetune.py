"""Ways to fine-tune public weights on small faces, on equal terms: MS1M MobileFaceNet at 64 pixels on LFW-VLR.

    vlrface train recipes/finetune.py --data DIR --out runs/finetune
    vlrface ablate recipes/finetune.py --data DIR --out runs/ways --jobs 2 --benchmark tinyface=DIR/lfw-vlr/tinyface

The first command trains every layer, the second each way; docs/finetuning.md shows what came of it. DIR holds what
`lfw_vlr.py` needs. Data, head, steps and rates are the same in all ways; each changes what its name says:

- ArcFace alone, without the parts of the method and without a teacher, so that the way is seen and nothing else. Only
  `distilled` has the teacher and the weight of `lfw_vlr.py`. Prototypes start at random, as for a user without
  high-resolution pictures.
- 64 pixels is not what the weights were trained at; that, too, is to be repaired.
- the changes of low rank count twice (alpha = 2·rank), because at the same rate they take smaller steps than whole
  weights do; the embedding layer, whose kernel is resampled for 64 pixels, learns whole.
- nothing is averaged but where the name says so.
- three epochs, so that all ways take less than an hour on two cores. Who fine-tunes for use takes more.
"""

from dataclasses import replace
from pathlib import Path

from vlrface.experiment.ablation import Ablation
from vlrface.experiment.config import ArcFaceConfig, Experiment, LoraConfig, load_recipe

arcface = load_recipe(Path(__file__).with_name("lfw_vlr_arcface.py"))
EPOCHS = 3  # of about 70 steps

experiment = replace(
    arcface,
    name="finetune",
    teacher=None,
    data=replace(arcface.data, parts=tuple(replace(part, teacher=None) for part in arcface.data.parts)),
    head=ArcFaceConfig(scale=32.0, margin_rad=0.3),
    objective=replace(arcface.objective, weights=replace(arcface.objective.weights, distillation=0.0)),
    training=replace(arcface.training, epochs=EPOCHS, validate_every=EPOCHS, average_decay=None, workers=1),
)


def network(**changes: object) -> Experiment:
    """The experiment with other settings of the network."""
    return replace(experiment, model=replace(experiment.model, **changes))


def training(**changes: object) -> Experiment:
    """The experiment with other settings of training."""
    return replace(experiment, training=replace(experiment.training, **changes))


averaged = training(average_decay=arcface.training.average_decay)
distilled = replace(
    averaged,
    teacher=arcface.teacher,
    data=arcface.data,
    objective=arcface.objective,
)

ablation = Ablation(
    name="finetune",
    variants={
        "start": training(epochs=0),
        "embedding": network(frozen_steps=18),
        "last-blocks": network(frozen_steps=14),
        "all": experiment,
        # Collapses at these rates, and at a tenth of them, too: nothing renormalises what grows.
        "frozen-norms": network(frozen_norms=True),
        "frozen-norms-slowly": replace(
            network(frozen_norms=True), training=training(trunk_rate=experiment.training.trunk_rate / 100).training
        ),
        "layer-decay": training(layer_decay=0.9),
        "lora-4": network(lora=LoraConfig(rank=4, alpha=8.0, embedding=False)),
        "lora-16": network(lora=LoraConfig(rank=16, alpha=32.0, embedding=False)),
        "averaged": averaged,
        "distilled": distilled,
    },
    baseline="start",
)
