"""Does the short schedule rank methods as the long one? Rows with the whole trunk in training, from MS1M weights.

    vlrface ablate recipes/study/long.py --data DIR --out runs/long --jobs 2 \
        --benchmark tinyface=DIR/lfw-vlr/tinyface retrieval=DIR/lfw-vlr/tinyface

Schedule, augmentation and distillation are those of `lfw_vlr.py`, heads and weights those that `tuning.py` chose, and
the held-out people those of the whole study. There is no shared stem, so that seeds are seeds of everything.
What docs/study.md shows was made with `--variants arcface full cross-entropy mv-softmax --seeds 3`.
"""

import runpy
from dataclasses import replace
from pathlib import Path

from vlrface.experiment.ablation import Ablation
from vlrface.experiment.config import Experiment, load_recipe

here = Path(__file__).parent
rows: Ablation = runpy.run_path(str(here / "rows.py"))["ablation"]
full = load_recipe(here.parent / "lfw_vlr.py")


def long(short: Experiment) -> Experiment:
    """A row of the short schedule on the long one: its head and its parts, all else from `lfw_vlr.py`."""
    weights = replace(
        short.objective.weights,
        distillation=full.objective.weights.distillation,
        diversion_from_epoch=full.objective.weights.diversion_from_epoch,
    )
    training = replace(full.training, validate_every=full.training.epochs, workers=2)
    return replace(
        short,
        model=replace(short.model, backbone=full.model.backbone, frozen_steps=0),
        data=replace(short.data, views=None),
        objective=replace(short.objective, weights=weights),
        training=replace(training, prototypes_rate=short.training.prototypes_rate),
    )


chosen = ("arcface", "full", "cross-entropy", "normface", "cosface", "mv-softmax", "adaface", "III-regression")

ablation = Ablation(
    name="long",
    variants={row: long(rows.variants[row]) for row in chosen},
    baseline="arcface",
    seeds={row: 8 if row in ("arcface", "full") else 3 for row in chosen},
)
