"""The same tuning budget for every row of the poster's ablation: four settings, one seed, judged on held-out people.

    vlrface ablate recipes/study/tuning.py --data DIR --out runs/tuning --jobs 2

The settings: two of the published ones carried over to a thousand identities (a smaller scale and margin, as fewer
classes want), and two around them. `rows.py` takes the best of each row by held-out mAP; no test folder is looked at.
"""

from dataclasses import replace
from pathlib import Path

from vlrface.experiment.ablation import Ablation
from vlrface.experiment.config import (
    AdaFaceConfig,
    ArcFaceConfig,
    CosFaceConfig,
    CrossEntropyConfig,
    CurricularFaceConfig,
    Experiment,
    HeadConfig,
    MagFaceConfig,
    MVSoftmaxConfig,
    NormFaceConfig,
    load_recipe,
)

full = load_recipe(Path(__file__).with_name("short.py"))


def method(regression: float = 0.0, diversion: float = 0.0, projection: float = 0.0, floor: float = 0.3) -> Experiment:
    """The poster's parts with these weights, over ArcFace; without a part what it needs is left out, too."""
    weights = replace(full.objective.weights, regression=regression, diversion=diversion, projection=projection)
    return replace(
        full,
        model=replace(full.model, regression=regression > 0 or diversion > 0, attention=projection > 0),
        objective=replace(full.objective, weights=weights, deviation_floor=floor),
    )


arcface = replace(method(), name="arcface", data=replace(full.data, unrecognizable=()))


def head(config: HeadConfig, **rates: float) -> Experiment:
    """ArcFace's recipe with another head."""
    return replace(arcface, head=config, training=replace(arcface.training, **rates))


def magface(scale: float, lowest: float, highest: float) -> MagFaceConfig:
    """Norms, and the weight of the regularizer, as `lfw_vlr_magface.py` derives them."""
    return MagFaceConfig(scale, 5.0, 55.0, lowest, highest, 5.25, from_teacher=True)


candidates: dict[str, tuple[Experiment, ...]] = {
    "cross-entropy": tuple(
        head(CrossEntropyConfig(from_teacher=start), prototypes_rate=rate)
        for start in (True, False)
        for rate in (0.1, 0.02)
    ),
    "normface": tuple(head(NormFaceConfig(scale, from_teacher=True)) for scale in (16.0, 24.0, 32.0, 48.0)),
    "cosface": tuple(
        head(CosFaceConfig(scale, margin, from_teacher=True))
        for scale, margin in ((24.0, 0.2), (32.0, 0.2), (32.0, 0.35), (48.0, 0.35))
    ),
    "arcface": tuple(
        head(ArcFaceConfig(scale, margin, from_teacher=True))
        for scale, margin in ((24.0, 0.3), (32.0, 0.3), (32.0, 0.5), (48.0, 0.3))
    ),
    "mv-softmax": tuple(
        head(MVSoftmaxConfig(scale, margin, hardness, from_teacher=True))
        for scale, margin, hardness in ((24.0, 0.2, 1.12), (32.0, 0.2, 1.12), (32.0, 0.35, 1.12), (32.0, 0.2, 1.2))
    ),
    "curricularface": tuple(
        head(CurricularFaceConfig(scale, margin, from_teacher=True))
        for scale, margin in ((24.0, 0.3), (32.0, 0.3), (32.0, 0.5), (48.0, 0.3))
    ),
    "magface": tuple(
        head(magface(scale, lowest, highest))
        for scale, lowest, highest in ((24.0, 0.27, 0.48), (32.0, 0.27, 0.48), (32.0, 0.15, 0.6), (48.0, 0.27, 0.48))
    ),
    "adaface": tuple(
        head(AdaFaceConfig(scale, margin, first_mean=11.0, first_deviation=2.0, from_teacher=True))
        for scale, margin in ((24.0, 0.3), (32.0, 0.3), (32.0, 0.4), (48.0, 0.3))
    ),
    "I-diversion": tuple(method(diversion=weight, floor=floor) for weight in (0.1, 0.5) for floor in (0.1, 0.3)),
    "II-projection": tuple(method(projection=weight) for weight in (0.1, 1.0, 10.0, 30.0)),
    "III-regression": tuple(method(regression=weight) for weight in (0.5, 1.0, 5.0, 10.0)),
    "full": tuple(
        method(alpha, beta, gamma, floor)
        for alpha, beta, gamma, floor in (
            (1.0, 0.1, 1.0, 0.1),
            (5.0, 0.5, 10.0, 0.3),
            (5.0, 0.1, 1.0, 0.1),
            (1.0, 0.5, 10.0, 0.1),
        )
    ),
}

# The highest held-out mAP of each row; among those within 0.1 points of it, the highest rank-1.
chosen: dict[str, int] = {
    "cross-entropy": 2,
    "normface": 1,
    "cosface": 0,
    "arcface": 1,
    "mv-softmax": 0,
    "curricularface": 0,
    "magface": 1,
    "adaface": 0,
    "I-diversion": 0,
    "II-projection": 1,
    "III-regression": 0,
    "full": 0,
}

ablation = Ablation(
    name="tuning",
    variants={f"{row}-{k}": each for row, settings in candidates.items() for k, each in enumerate(settings)},
    baseline="arcface-1",
    seeds=1,
)
