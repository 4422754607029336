"""What a run takes and what it leaves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float16, UInt8
from torch import Tensor

from vlrface.data.batches import BatchSource
from vlrface.losses.objective import MethodObjective
from vlrface.losses.recognizability import UnrecognizableStatistics
from vlrface.models.recognizer import Recognizer


@dataclass(frozen=True)
class Validation:
    """What one validation found.

    Attributes:
        figures: named values for the log, e.g. "rank1".
        criterion: the value by which the best checkpoint is chosen; larger is better.
        card: JSON values that a checkpoint of these weights carries, e.g. its calibration.
    """

    figures: Mapping[str, float]
    criterion: float
    card: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Ingredients:
    """The built objects of a run.

    Attributes:
        recognizer: the network; `train` moves it and the objective to the device that trains.
        objective: losses, prototypes and statistics of the unrecognizable faces.
        batches: training crops of the network's input size, or maps of its frozen steps.
        teachers: per part of the data the teacher embedding of each row (n, d), or None.
        unrecognizable: (m, h, w, 3) crops of unrecognizable faces, or maps of the frozen steps; None when no loss needs
            them.
        validate: measures a recognizer on held-out training identities.
    """

    recognizer: Recognizer
    objective: MethodObjective
    batches: BatchSource
    teachers: tuple[Tensor | None, ...]
    unrecognizable: UInt8[Tensor, "m h w 3"] | Float16[Tensor, "m h w c"] | None
    validate: Callable[[Recognizer, UnrecognizableStatistics | None], Validation]


@dataclass(frozen=True)
class Outcome:
    """Where a finished run left its checkpoints, and the validation figures of the best."""

    best: Path
    last: Path
    steps: int
    seconds: float
    figures: Mapping[str, float]


def placed(ingredients: Ingredients, device: torch.device, *, checkpointing: bool) -> Ingredients:
    """What is trained, on the device that trains; modules are moved themselves."""
    ingredients.recognizer.to(device)
    ingredients.recognizer.backbone.checkpointing = checkpointing
    ingredients.objective.to(device)
    crops = ingredients.unrecognizable
    return replace(ingredients, unrecognizable=None if crops is None else crops.to(device))
