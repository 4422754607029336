"""All that changes while training: weights, averages, optimiser, step; saved and restored as one file."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vlrface import __version__
from vlrface.checkpoint import Checkpoint, fingerprint
from vlrface.losses.objective import PARTS, MethodObjective, nonfinite
from vlrface.losses.recognizability import UnrecognizableStatistics
from vlrface.models.lora import plain_state
from vlrface.models.recognizer import Recognizer
from vlrface.train.distributed import of_all
from vlrface.train.groups import parameter_groups, trained_parameters
from vlrface.train.options import TrainingOptions
from vlrface.train.precision import resolved
from vlrface.train.spreading import Spreading, local
from vlrface.types import VlrfaceError

_MAY_CHANGE: Final = {f"training.{name}" for name in ("keep", "save_every", "log_every", "workers", "threads")}
"""Settings that a run may go on with other values of: its weights are the same for any, but for rounding by threads."""


@dataclass(frozen=True, eq=False)
class _Validated:
    """What the validation at a step leaves for whoever uses the weights."""

    step: int
    statistics: UnrecognizableStatistics | None
    card: Mapping[str, Any]


class RunState:
    """Weights, prototypes, optimiser and averages of a run at one step.

    Args:
        recognizer: the network, on the device that trains.
        objective: losses, prototypes and statistics of the unrecognizable faces.
        options: how it is trained.
        config: the resolved configuration as JSON values.
        data_fingerprint: of the data it is trained on; "" where nobody asks.
        seed: of what is drawn while training.

    Attributes:
        spreading: over the processes that train together.
        step: steps done.
        epochs_done: epochs done, their validation included.
        best_criterion: the best validation so far, -inf before the first.
        best_figures: its figures.
        seconds: time spent training, over all sittings.
        threads_before: torch threads of the sitting that wrote what `restore` read; None without one.
        precision: of the trunk, on this machine.
        precision_before: of that sitting.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        objective: MethodObjective,
        options: TrainingOptions,
        config: Mapping[str, Any],
        data_fingerprint: str = "",
        seed: int = 0,
    ) -> None:
        self.spreading = Spreading(recognizer, objective, options, seed)
        self.recognizer = recognizer
        self.objective = objective
        self.device = next(recognizer.parameters()).device
        self.step = 0
        self.epochs_done = 0
        self.best_criterion = float("-inf")
        self.best_figures: dict[str, float] = {}
        self.threads_before: int | None = None
        self.precision = resolved(options.precision, self.device)
        self.precision_before: str | None = None
        self._options = options
        self._config = dict(config)
        self._data_fingerprint = data_fingerprint
        self._validated: _Validated | None = None
        self._earlier = 0.0
        self._began = time.perf_counter()
        self._averaged: AveragedModel | None = None
        if options.average_decay is not None:
            average = _ramped_average(options.average_decay, self._averaged_steps)
            self._averaged = AveragedModel(recognizer, multi_avg_fn=average, use_buffers=True)
        self.spreading.shard(recognizer, *([] if self._averaged is None else [self.served()]))
        self._optimizer = _optimizer(recognizer, objective, options)

    @property
    def seconds(self) -> float:
        """Time spent, this sitting and the earlier ones."""
        return self._earlier + time.perf_counter() - self._began

    @property
    def can_skip(self) -> bool:
        """Whether `update` can be told by the device not to step."""
        return all(group.get("fused") for group in self._optimizer.param_groups)

    def zero_gradients(self) -> None:
        """Forget the gradients of the step before."""
        self._optimizer.zero_grad(set_to_none=True)

    def begin(self, labels: Tensor) -> None:
        """Before the losses: which classes take part, where they are sampled. The labels are of the whole batch."""
        self.spreading.begin(labels, self.step, self._optimizer)

    def gradient_norm(self, parts: Iterable[str] = PARTS) -> Tensor:
        """Norm of the gradients, () on the device; they are clipped after it if that is asked for.

        Args:
            parts: of the objective that they come from.
        """
        self.spreading.reduced(parts)
        parameters = [p for group in self._optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = self.spreading.gradient_norm(parameters, self._options.clip_norm)
        if norm is not None:
            return norm
        if self._options.clip_norm is not None:
            return nn.utils.clip_grad_norm_(parameters, self._options.clip_norm)
        return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])

    def update(self, multiplier: float, skip: Tensor | None = None) -> None:
        """One optimiser step at `multiplier` times the rates.

        Args:
            multiplier: of every rate.
            skip: () float32, 1 where the weights are to stay as they are; only where `can_skip`. None steps.
        """
        if skip is not None:
            # The name that torch's gradient scaler uses: fused optimisers read it on the device.
            self._optimizer.found_inf = skip  # pyright: ignore[reportAttributeAccessIssue]
        for group in self._optimizer.param_groups:
            group["lr"] = multiplier * group["rate"]
        self._optimizer.step()
        self.spreading.end(self._optimizer)
        self.step += 1
        if self._averaged is not None:
            self._averaged.update_parameters(self.recognizer)

    def _averaged_steps(self) -> int:
        return 0 if self._averaged is None else int(self._averaged.n_averaged)  # on the CPU, wherever the network is

    def served(self) -> Recognizer:
        """The network to validate and to keep: the averaged one if there is one. Not a copy."""
        return self.recognizer if self._averaged is None else cast("Recognizer", self._averaged.module)

    def nonfinite(self) -> tuple[str, ...]:
        """Names of the tensors of the run that hold NaN or infinity. Such a run must not be saved over a good one."""
        # The statistics of the unrecognizable faces are NaN until measured, and checked whenever they are.
        checked = {name: value for name, value in self._tensors().items() if not name.startswith("objective.ui_")}
        return of_all(nonfinite({name: local(value).to(self.device) for name, value in checked.items()}))

    def validated(self, statistics: UnrecognizableStatistics | None, card: Mapping[str, Any]) -> None:
        """Note what the validation of this step found; every `save_last` from now on carries it."""
        self._validated = _Validated(self.step, statistics, dict(card))

    def save_best(
        self,
        path: Path,
        served: Recognizer,
        statistics: UnrecognizableStatistics | None,
        card: Mapping[str, Any],
    ) -> None:
        """Write what serves: weights, statistics, and a card with configuration, figures and calibration.

        Changes of low rank (LoRA) are merged into the weights: whoever uses the file need not know of them.
        """
        tensors = {f"recognizer.{name}": value for name, value in plain_state(served).items()}
        self._save(path, tensors, served, _Validated(self.step, statistics, card))

    def save_last(self, path: Path) -> None:
        """Write all that `restore` needs, and all that using the served weights needs.

        These are `averaged.module.*` where the run averages, else `recognizer.*`. Statistics and calibration are those
        of the last validation, at the card's "validated_step"; "fingerprint" is that of the served weights in the file.
        All of these are absent before the first validation.
        """
        tensors = self.spreading.collected(self._tensors(), self._optimizer)
        served = self.spreading.network_of_first(self.served())
        if self.spreading.first:
            self._save(path, tensors, served, self._validated)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"recognizer.{name}": value for name, value in self.recognizer.state_dict().items()}
        tensors |= {f"objective.{name}": value for name, value in self.objective.state_dict().items()}
        if self._averaged is not None:
            tensors |= {f"averaged.{name}": value for name, value in self._averaged.state_dict().items()}
        for index, values in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
        return tensors

    def _save(self, path: Path, tensors: dict[str, Tensor], served: Recognizer, found: _Validated | None) -> None:
        card = self._card()
        if found is not None:
            card |= {**found.card, "validated_step": found.step, "fingerprint": fingerprint(plain_state(served))}
            if found.statistics is not None:
                tensors = {**tensors, "statistics.center": found.statistics.center}
                card["statistics"] = {"mean": found.statistics.mean, "deviation": found.statistics.deviation}
        Checkpoint(tensors, card).save(path)

    def restore(self, path: Path, checkpoint: Checkpoint | None = None) -> tuple[str, ...]:
        """Become the run that `save_last` wrote.

        Args:
            path: of the file.
            checkpoint: what it holds, where that has been read.

        Returns:
            Settings that are others now, and may be: they say how a run is kept and seen, not what comes of it.

        Raises:
            VlrfaceError: it was a run of another configuration, on other data, or its tensors do not fit.
        """
        checkpoint = Checkpoint.load(path) if checkpoint is None else checkpoint
        found = _differences(_portable(checkpoint.card["config"]), _portable(self._config))
        pinned = {"training.precision"} if checkpoint.card.get("precision") == self.precision else set[str]()
        different = [each for each in found if each.partition(":")[0] not in _MAY_CHANGE | pinned]
        if different:
            raise VlrfaceError(
                f"{path.parent} holds a run of another configuration ({'; '.join(different[:3])}). "
                "Choose another --out, or remove that folder to start afresh"
            )
        # A file of an earlier version says nothing of its data; there is nothing to compare.
        if checkpoint.card.get("data_fingerprint", self._data_fingerprint) != self._data_fingerprint:
            raise VlrfaceError(
                f"{path.parent} holds a run on other data: since then pictures were added, removed or replaced, or the "
                "classes are others. Choose another --out, or put the data back as it was"
            )
        mine = self.spreading.mine(checkpoint.tensors, self._tensors(), self._optimizer)
        checkpoint = Checkpoint(mine, checkpoint.card)
        _load(self.recognizer, checkpoint.group("recognizer"), path)
        _load(self.objective, checkpoint.group("objective"), path)
        if self._averaged is not None:
            _load(self._averaged, checkpoint.group("averaged"), path)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in checkpoint.group("optimizer").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        for parameter, values in self._optimizer.state.items():
            for key, value in values.items():
                # Files hold rows; a fused kernel takes it for granted that momentum lies in memory as its weights do.
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    values[key] = torch.empty_like(parameter).detach().copy_(value)
        self.step = int(checkpoint.card["step"])
        self.epochs_done = int(checkpoint.card["epochs_done"])
        self.best_figures = dict(checkpoint.card["figures"])
        best = checkpoint.card["best_criterion"]
        self.best_criterion = float("-inf") if best is None else float(best)
        self._earlier = float(checkpoint.card["seconds"])
        self.threads_before = checkpoint.card.get("threads")
        self.precision_before = checkpoint.card.get("precision")
        self._validated = self._validated_in(checkpoint)
        return tuple(each for each in found if each not in different)

    def _validated_in(self, checkpoint: Checkpoint) -> _Validated | None:
        card = checkpoint.card
        if "validated_step" not in card:
            return None
        statistics = None
        if "statistics" in card:
            center = checkpoint.tensors["statistics.center"].to(self.device)
            statistics = UnrecognizableStatistics(center, card["statistics"]["mean"], card["statistics"]["deviation"])
        # What is not ours came from the validation.
        ours = self._card().keys() | {"validated_step", "fingerprint", "statistics"}
        return _Validated(card["validated_step"], statistics, {k: v for k, v in card.items() if k not in ours})

    def _card(self) -> dict[str, Any]:
        unset = self.best_criterion == float("-inf")
        return {
            "version": __version__,
            "config": self._config,
            "data_fingerprint": self._data_fingerprint,
            "threads": torch.get_num_threads(),
            "precision": self.precision,
            "step": self.step,
            "epochs_done": self.epochs_done,
            "seconds": self.seconds,
            "trained_parameters": trained_parameters(self.recognizer) if self._options.epochs else 0,
            "figures": self.best_figures,
            "best_criterion": None if unset else self.best_criterion,
        }


def _load(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise VlrfaceError(
            f"{path} does not fit what is trained now ({reason}): other data with another number of classes, or "
            "another version of vlrface. Choose another --out, or remove that folder to start afresh"
        ) from error


def _ramped_average(
    decay: float, steps: Callable[[], int]
) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Exponential moving average whose decay rises to `decay`, so that the start is soon forgotten.

    Args:
        decay: in the end.
        steps: averaged so far. (Torch's own count comes on the device of the weights, and reading it there would make
            the host wait.)
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        if not averages[0].is_floating_point():  # counters of batch norm: taken as they are
            for average, value in zip(averages, values, strict=True):
                average.copy_(value)
            return
        del count
        now = min(decay, (1 + steps()) / (10 + steps()))
        if averages[0].is_cuda:
            torch._foreach_lerp_(list(averages), list(values), 1 - now)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            return
        for average, value in zip(averages, values, strict=True):
            average.lerp_(value, 1 - now)

    return update


def _optimizer(recognizer: Recognizer, objective: MethodObjective, options: TrainingOptions) -> torch.optim.Optimizer:
    groups = parameter_groups(recognizer, objective, options)
    # None is torch's own choice: on the CPU the plain loop, whose rounding earlier runs have.
    on_cuda = next(recognizer.parameters()).is_cuda
    fused = (True if on_cuda else None) if options.fused is None else options.fused
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, fused=fused)
    return torch.optim.SGD(groups, momentum=options.momentum, nesterov=options.momentum > 0, fused=fused)


def _portable(config: Any) -> Any:
    """A configuration without what says where it is computed: a run may go on elsewhere."""
    training = config.get("training")
    if not isinstance(training, dict):
        return config
    return {**config, "training": {k: v for k, v in training.items() if k != "device"}}  # pyright: ignore[reportUnknownVariableType]


def _differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """Where two JSON values differ, as "path: was A, is B"."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted(ours.keys() | theirs.keys())  # pyright: ignore[reportUnknownArgumentType]
        return [d for k in keys for d in _differences(ours.get(k), theirs.get(k), f"{where}.{k}".lstrip("."))]
    return [] if ours == theirs else [f"{where}: was {ours!r}, is {theirs!r}"]
