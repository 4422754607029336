"""Every choice of the method, one at a time around the chosen one, judged on held-out people.

    vlrface ablate recipes/study/sweep.py --data DIR --out runs/sweep --jobs 2

DIR/study/unrecognizable.csv is what `vlrface unrecognizable find DIR/lfw-vlr/pool` found. What is looked at: mAP of
leave-one-out retrieval for recognition, the area under error versus reject for the index.
"""

import runpy
from dataclasses import replace
from pathlib import Path

from vlrface.experiment.ablation import Ablation
from vlrface.experiment.config import Experiment, FoundConfig, override

here = Path(__file__).parent
tuning = runpy.run_path(str(here / "tuning.py"))
base: Experiment = tuning["candidates"]["full"][tuning["chosen"]["full"]]
found = FoundConfig("lfw-vlr/pool", "study/unrecognizable.csv")


def unrecognizable(*sources: object) -> Experiment:
    """Other unrecognizable faces."""
    return replace(base, data=replace(base.data, unrecognizable=sources))


changes: dict[str, tuple[str, ...]] = {
    **{f"alpha-{x}": (f"objective.weights.regression={x}",) for x in (0.2, 1, 5, 20)},
    **{f"beta-{x}": (f"objective.weights.diversion={x}",) for x in (0, 0.1, 0.5, 2)},
    **{f"gamma-{x}": (f"objective.weights.projection={x}",) for x in (0, 1, 10)},
    **{f"tau-{x}": (f"objective.tau={x}",) for x in (1, 2, 3, 5)},
    **{f"epsilon-{x}": (f"objective.epsilon={x}",) for x in (0.001, 0.01, 0.1)},
    **{f"target-{x}": (f"objective.target={x}",) for x in ("ratio", "log_ratio", "certainty_ratio", "ers")},
    "positive-teacher": ("objective.positive=teacher",),
    "projected-teacher": ("objective.projected=teacher", "objective.weights.projection=1"),
    "serve-attended": ("model.serve=attended",),
    "serve-fused": ("model.serve=fused",),
    "fused-recognised": ("model.serve=fused", "objective.weights.attended_recognition=1"),
    "fused-recognised-teacher": (
        "model.serve=fused",
        "objective.weights.attended_recognition=1",
        "objective.projected=teacher",
        "objective.weights.projection=1",
    ),
    **{f"index-gradient-{x}": (f"model.index_gradient={x}",) for x in (0, 0.1)},
    # The regression only reads the trunk, so that it may weigh as much as it likes.
    "read-only": ("model.index_gradient=0", "objective.weights.regression=20"),
    "read-only-teacher": (
        "model.index_gradient=0",
        "objective.weights.regression=20",
        "objective.positive=teacher",
    ),
    "emphasis": ("objective.emphasis=recognizability",),
    **{f"floor-{x}": (f"objective.deviation_floor={x}",) for x in (0.1, 0.3)},
    **{f"refresh-{x}": (f"training.refresh_every={x}",) for x in (5, 50, 252)},
    "refresh-averaged": ("training.refresh_from=averaged",),
    **{f"dropout-{x}": (f"model.dropout={x}",) for x in (0, 0.4)},
}
variants = {"base": base, **{name: override(base, settings) for name, settings in changes.items()}}
variants["ui-found"] = unrecognizable(found)
variants["ui-both"] = unrecognizable(*base.data.unrecognizable, found)
# A value that is the base's own would be trained twice.
variants = {name: each for name, each in variants.items() if name == "base" or each != base}

ablation = Ablation(name="sweep", variants=variants, baseline="base", seeds=1)
