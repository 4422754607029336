"""How a run is trained: frozen options, and the learning-rate schedule as a pure function."""

import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from vlrface.train.precision import Precision
from vlrface.types import VlrfaceError

ScheduleKind = Literal["cosine", "step"]
Optimizer = Literal["sgd", "adamw"]
AugmentOn = Literal["workers", "device"]
RefreshFrom = Literal["current", "averaged"]
Strategy = Literal["ddp", "fsdp"]


@dataclass(frozen=True)
class Schedule:
    """Multiplier of every learning rate over a run: linear warm-up, then a cosine or steps.

    Attributes:
        kind: "cosine" falls from 1 to `floor`; "step" multiplies by `factor` at each milestone.
        warmup: share of the run, in [0, 1), over which the multiplier rises linearly from near 0 to 1.
        milestones: shares of the run at which "step" falls.
        factor: of "step", in (0, 1].
        floor: where "cosine" ends, in [0, 1].

    Raises:
        VlrfaceError: an unknown kind, or a value out of range.
    """

    kind: ScheduleKind = "cosine"
    warmup: float = 0.05
    milestones: tuple[float, ...] = (0.5, 0.8)
    factor: float = 0.1
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check_choice("schedule.kind", self.kind, get_args(ScheduleKind))
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
        epochs: passes over the parts of the data (as `Part.copies` counts them); 0 measures and keeps the network as it
            starts, to compare with.
        batch_size: crops per step, of all processes together.
        optimizer: "sgd" (Nesterov momentum) or "adamw".
        trunk_rate: learning rate of the backbone; like the other rates finite and above 0.
        layer_decay: in (0, 1], or None for 1: what is k layers before the embedding layer learns at `trunk_rate` times
            layer_decay^k, because early layers of a pretrained trunk need to change the least. Layers are the trunk's
            steps (`Backbone.steps`).
        heads_rate: learning rate of the regression (PRM) and attention (PAM).
        prototypes_rate: learning rate of the class prototypes.
        momentum: of SGD, in [0, 1).
        weight_decay: at least 0; on convolution and linear weights and prototypes; never on norms, biases and PReLU
            slopes.
        schedule: of all three rates.
        clip_norm: largest gradient norm, finite and above 0, or None. Look at the logged norm first: at scale 32 the
            ordinary norm lies well above 5, and clipping there costs accuracy.
        precision: "bf16" runs the trunk under autocast; "auto" does so where the machine has instructions for it, else
            runs it in float32. Losses are float32 always.
        compiled: use torch.compile for the training step; falls back to eager where no compiler is at hand.
        average_decay: decay per step of the exponential moving average of the weights that is validated and served;
            None serves the last weights.
        refresh_every: steps between two measurements of the unrecognizable faces (centre, mean, deviation).
        refresh_from: which weights measure them: "current", those in training, or "averaged" (own choice: they wander
            less, and are what will be served; needs `average_decay`).
        validate_every: epochs between two validations on held-out training identities. The last epoch always is.
        save_every: steps between two writings of `last.safetensors`, besides the end of each epoch.
        keep: how many of these stay under their number, `step-000200.safetensors`, the newest of them the very file
            `last.safetensors`; a damaged last falls back to them. 0 keeps none. The best is kept always.
        log_every: steps between two lines of the log.
        workers: processes that augment; 0 does it in the training process.
        threads: torch threads for the step, at least 1, or None for torch's own choice.
        device: where all is computed: "auto" (CUDA if there is one, else the CPU), "cpu", "cuda" or "cuda:N".
            Checkpoints are the same, and a run may go on elsewhere.
        accumulate: micro-batches per step, which divide `batch_size`: memory of one of them, gradient of the whole
            batch, but for batch norms, which see micro-batches; a third more time.
        checkpointing: keep only what goes into each step of the trunk, and compute the rest again for the gradient: a
            fraction of the memory, the same gradient, a third more time.
        fused: one kernel for the whole optimiser step; rounds a little differently. None takes it on CUDA.
        augment_on: "workers" augments on the CPU; "device" draws there and computes on the device, for runs that
            outpace their workers. The same distribution, not the same pixels.
        strategy: of several processes (torchrun; alone it does not matter): "ddp" keeps all weights on each, "fsdp" a
            part on each (FSDP2, never compiled), for trunks that are too large for one device.
        shard_prototypes: with several processes, each holds its share of the class prototypes; False gives all to each,
            which saves messages where there are few classes.
        sampled_classes: share of the classes, in (0, 1], that stand for all in a step: those of the batch, and random
            others (Partial FC). 1 takes all. Below 1 prototypes are always sharded over processes.
        synchronise_norms: with several processes, batch norm over the whole batch, as in one. False normalises over
            each process's own rows: faster, but results then depend on how many there are.

    Raises:
        VlrfaceError: an unknown optimizer, precision or kind of weights, or a value out of range.
    """

    epochs: int
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    trunk_rate: float = 0.02
    layer_decay: float | None = None
    heads_rate: float = 0.02
    prototypes_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = field(default_factory=Schedule)
    clip_norm: float | None = None
    precision: Precision = "auto"
    compiled: bool = True
    average_decay: float | None = None
    refresh_every: int = 20
    refresh_from: RefreshFrom = "current"
    validate_every: int = 1
    save_every: int = 200
    keep: int = 2
    log_every: int = 10
    workers: int = 0
    threads: int | None = None
    device: str = "auto"
    accumulate: int = 1
    checkpointing: bool = False
    fused: bool | None = None
    augment_on: AugmentOn = "workers"
    strategy: Strategy = "ddp"
    shard_prototypes: bool = True
    sampled_classes: float = 1.0
    synchronise_norms: bool = True

    def __post_init__(self) -> None:
        _check_choice("training.optimizer", self.optimizer, get_args(Optimizer))
        _check_choice("training.precision", self.precision, get_args(Precision))
        _check_choice("training.refresh_from", self.refresh_from, get_args(RefreshFrom))
        _check_choice("training.strategy", self.strategy, get_args(Strategy))
        self._check("sampled_classes", 0 < self.sampled_classes <= 1, "lie in (0, 1]")
        self._check("epochs", self.epochs >= 0, "be at least 0")
        for name in ("batch_size", "refresh_every", "validate_every", "save_every", "log_every"):
            self._check(name, getattr(self, name) >= 1, "be at least 1")
        for name in ("trunk_rate", "heads_rate", "prototypes_rate"):
            self._check(name, 0 < getattr(self, name) < math.inf, "be finite and above 0")
        self._check("momentum", 0 <= self.momentum < 1, "lie in [0, 1)")
        self._check("weight_decay", 0 <= self.weight_decay < math.inf, "be finite and at least 0")
        self._check("keep", self.keep >= 0, "be at least 0")
        self._check("workers", self.workers >= 0, "be at least 0")
        if self.layer_decay is not None:
            self._check("layer_decay", 0 < self.layer_decay <= 1, "lie in (0, 1], or be None for one rate")
        if self.clip_norm is not None:
            self._check("clip_norm", 0 < self.clip_norm < math.inf, "be finite and above 0, or None for no clipping")
        if self.average_decay is not None:
            self._check("average_decay", 0 < self.average_decay < 1, "lie in (0, 1), or be None for no average")
        if self.threads is not None:
            self._check("threads", self.threads >= 1, "be at least 1, or None for torch's own choice")
        self._check(
            "device", re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device) is not None, "be auto, cpu, cuda or cuda:N"
        )
        divides = self.accumulate >= 1 and self.batch_size % self.accumulate == 0
        self._check("accumulate", divides, f"be at least 1 and divide batch_size, {self.batch_size}")
        _check_choice("training.augment_on", self.augment_on, get_args(AugmentOn))

    def _check(self, name: str, good: bool, rule: str) -> None:
        if not good:
            raise VlrfaceError(f"training.{name} must {rule}; it is {getattr(self, name)}")


def _check_choice(name: str, value: str, choices: tuple[Any, ...]) -> None:
    # The annotations bind a type checker only; a misspelt name from Python or JSON would silently mean another branch.
    if value not in choices:
        raise VlrfaceError(f"{name} must be one of {', '.join(map(repr, choices))}; it is {value!r}")
