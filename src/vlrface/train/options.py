"""How a run is trained: frozen options, and the learning-rate schedule as a pure function."""

import math
from dataclasses import dataclass, field
from typing import Literal

from vlrface.types import VlrfaceError


@dataclass(frozen=True)
class Schedule:
    """Multiplier of every learning rate over a run: linear warm-up, then a cosine or steps.

    Attributes:
        kind: "cosine" falls from 1 to `floor`; "step" multiplies by `factor` at each milestone.
        warmup: share of the run, in [0, 1), over which the multiplier rises linearly from near 0 to 1.
        milestones: shares of the run at which "step" falls.
        factor: of "step", in (0, 1].
        floor: where "cosine" ends, in [0, 1].
    """

    kind: Literal["cosine", "step"] = "cosine"
    warmup: float = 0.05
    milestones: tuple[float, ...] = (0.5, 0.8)
    factor: float = 0.1
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.warmup < 1 and 0 < self.factor <= 1 and 0 <= self.floor <= 1):
            raise VlrfaceError(f"schedule out of range: {self}. warmup in [0, 1), factor in (0, 1], floor in [0, 1]")

    def multiplier(self, step: int, steps: int) -> float:
        """The multiplier for step `step` (from 0) of `steps`.

        Never exactly 0 in the warm-up: step 0 has the first rung.
        """
        warmup = self.warmup * steps
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.kind == "step":
            return self.factor ** sum(step >= share * steps for share in self.milestones)
        progress = (step - warmup) / max(1.0, steps - warmup)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class TrainingOptions:
    """Everything about the loop; what is trained and on what stands elsewhere.

    Attributes:
        epochs: passes over the parts of the data (as `Part.copies` counts them).
        batch_size: crops per step.
        optimizer: "sgd" (Nesterov momentum) or "adamw".
        trunk_rate: learning rate of the backbone.
        heads_rate: learning rate of the regression (PRM) and attention (PAM).
        prototypes_rate: learning rate of the class prototypes.
        momentum: of SGD.
        weight_decay: on convolution and linear weights and prototypes; never on norms, biases and PReLU slopes.
        schedule: of all three rates.
        clip_norm: largest gradient norm, or None. Look at the logged norm first: at scale 32 the ordinary norm lies
            well above 5, and clipping there costs accuracy.
        precision: "bf16" runs the trunk under autocast; losses are float32 always.
        compiled: use torch.compile for the training step; falls back to eager where no compiler is at hand.
        average_decay: decay per step of the exponential moving average of the weights that is validated and served;
            None serves the last weights.
        refresh_every: steps between two measurements of the unrecognizable faces (centre, mean, deviation).
        validate_every: epochs between two validations on held-out training identities. The last epoch always is.
        save_every: steps between two writings of `last.safetensors`, besides the end of each epoch.
        log_every: steps between two lines of the log.
        workers: processes that augment; 0 does it in the training process.
        threads: torch threads for the step, or None for torch's own choice.
    """

    epochs: int
    batch_size: int = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    trunk_rate: float = 0.02
    heads_rate: float = 0.02
    prototypes_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = field(default_factory=Schedule)
    clip_norm: float | None = None
    precision: Literal["bf16", "float32"] = "bf16"
    compiled: bool = True
    average_decay: float | None = None
    refresh_every: int = 20
    validate_every: int = 1
    save_every: int = 200
    log_every: int = 10
    workers: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "refresh_every", "validate_every", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise VlrfaceError(f"training.{name} must be at least 1, is {getattr(self, name)}")
        if self.average_decay is not None and not 0 < self.average_decay < 1:
            raise VlrfaceError(f"training.average_decay must lie in (0, 1), is {self.average_decay}")
