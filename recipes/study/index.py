"""The method with its weights chosen for the index: the smallest area under error versus reject on held-out people.

    vlrface ablate recipes/study/index.py --data DIR --out runs/index --jobs 2 \
        --benchmark tinyface=DIR/lfw-vlr/tinyface survface-verif=DIR/lfw-vlr/survface

`sweep.py` says what each weight does. With α 5 the index is learned well, at some cost for the trunk; where the
regression only reads the trunk ("read-only") there is none. "crfiqa" is that with the target of CR-FIQA, and nothing
else of the method: a quality measure to compare with.
"""

import runpy
from pathlib import Path

from vlrface.experiment.ablation import Ablation
from vlrface.experiment.config import override

base = runpy.run_path(str(Path(__file__).with_name("sweep.py")))["base"]

ablation = Ablation(
    name="index",
    variants={
        "full": base,
        "joint": override(base, ("objective.weights.regression=5",)),
        "read-only": override(base, ("model.index_gradient=0", "objective.weights.regression=20")),
        "crfiqa": override(
            base,
            (
                *("model.index_gradient=0", "model.attention=false", "objective.weights.regression=20"),
                *("objective.weights.diversion=0", "objective.weights.projection=0"),
                "objective.target=certainty_ratio",
            ),
        ),
    },
    baseline="full",
    seeds={"full": 8, "joint": 4, "read-only": 4, "crfiqa": 1},
)
