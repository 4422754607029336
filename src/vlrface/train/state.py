"""All that changes while training: weights, averages, optimiser, step; saved and restored as one file."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vlrface import __version__
from vlrface.checkpoint import Checkpoint, fingerprint
from vlrface.losses.objective import MethodObjective
from vlrface.losses.recognizability import UnrecognizableStatistics
from vlrface.models.recognizer import Recognizer
from vlrface.train.options import TrainingOptions
from vlrface.types import VlrfaceError


class RunState:
    """Weights, prototypes, optimiser and averages of a run at one step.

    Attributes:
        step: steps done.
        epochs_done: epochs done, their validation included.
        best_criterion: the best validation so far, -inf before the first.
        best_figures: its figures.
        seconds: time spent training, over all sittings.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        objective: MethodObjective,
        options: TrainingOptions,
        config: Mapping[str, Any],
    ) -> None:
        self.recognizer = recognizer
        self.objective = objective
        self.device = next(recognizer.parameters()).device
        self.step = 0
        self.epochs_done = 0
        self.best_criterion = float("-inf")
        self.best_figures: dict[str, float] = {}
        self._options = options
        self._config = dict(config)
        self._earlier = 0.0
        self._began = time.perf_counter()
        self._optimizer = _optimizer(recognizer, objective, options)
        self._averaged: AveragedModel | None = None
        if options.average_decay is not None:
            average = _ramped_average(options.average_decay)
            self._averaged = AveragedModel(recognizer, multi_avg_fn=average, use_buffers=True)

    @property
    def seconds(self) -> float:
        """Time spent, this sitting and the earlier ones."""
        return self._earlier + time.perf_counter() - self._began

    def backward(self, loss: Tensor) -> float:
        """Gradients of `loss`, clipped if asked for; returns their norm before clipping."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for group in self._optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self._options.clip_norm is not None:
            return float(nn.utils.clip_grad_norm_(parameters, self._options.clip_norm))
        return float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))

    def update(self, multiplier: float) -> None:
        """One optimiser step at `multiplier` times the rates."""
        for group in self._optimizer.param_groups:
            group["lr"] = multiplier * group["rate"]
        self._optimizer.step()
        self.step += 1
        if self._averaged is not None:
            self._averaged.update_parameters(self.recognizer)

    def served(self) -> Recognizer:
        """The network to validate and to keep: the averaged one if there is one. Not a copy."""
        return self.recognizer if self._averaged is None else cast("Recognizer", self._averaged.module)

    def save_best(
        self,
        path: Path,
        served: Recognizer,
        statistics: UnrecognizableStatistics | None,
        card: Mapping[str, Any],
    ) -> None:
        """Write what serves: weights, statistics, and a card with configuration, figures and calibration."""
        weights = served.state_dict()
        tensors = {f"recognizer.{name}": value for name, value in weights.items()}
        values = {**self._card(), **card, "fingerprint": fingerprint(weights)}
        if statistics is not None:
            tensors["statistics.center"] = statistics.center
            values["statistics"] = {"mean": statistics.mean, "deviation": statistics.deviation}
        Checkpoint(tensors, values).save(path)

    def save_last(self, path: Path) -> None:
        """Write all that `restore` needs."""
        tensors = {f"recognizer.{name}": value for name, value in self.recognizer.state_dict().items()}
        tensors |= {f"objective.{name}": value for name, value in self.objective.state_dict().items()}
        if self._averaged is not None:
            tensors |= {f"averaged.{name}": value for name, value in self._averaged.state_dict().items()}
        for index, values in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
        Checkpoint(tensors, self._card()).save(path)

    def restore(self, path: Path) -> None:
        """Become the run that `save_last` wrote.

        Raises:
            VlrfaceError: it was a run of another configuration.
        """
        checkpoint = Checkpoint.load(path)
        different = _differences(checkpoint.card["config"], self._config)
        if different:
            raise VlrfaceError(
                f"{path.parent} holds a run of another configuration ({'; '.join(different[:3])}). "
                "Choose another --out, or remove that folder to start afresh"
            )
        self.recognizer.load_state_dict(checkpoint.group("recognizer"))
        self.objective.load_state_dict(checkpoint.group("objective"))
        if self._averaged is not None:
            self._averaged.load_state_dict(checkpoint.group("averaged"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in checkpoint.group("optimizer").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.step = int(checkpoint.card["step"])
        self.epochs_done = int(checkpoint.card["epochs_done"])
        self.best_figures = dict(checkpoint.card["figures"])
        best = checkpoint.card["best_criterion"]
        self.best_criterion = float("-inf") if best is None else float(best)
        self._earlier = float(checkpoint.card["seconds"])

    def _card(self) -> dict[str, Any]:
        unset = self.best_criterion == float("-inf")
        return {
            "version": __version__,
            "config": self._config,
            "step": self.step,
            "epochs_done": self.epochs_done,
            "seconds": self.seconds,
            "figures": self.best_figures,
            "best_criterion": None if unset else self.best_criterion,
        }


def _ramped_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Exponential moving average whose decay rises to `decay`, so that the start is soon forgotten."""

    @torch.no_grad()
    def update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        if not averages[0].is_floating_point():  # counters of batch norm: taken as they are
            for average, value in zip(averages, values, strict=True):
                average.copy_(value)
            return
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        for average, value in zip(averages, values, strict=True):
            average.lerp_(value, 1 - now)

    return update


def _optimizer(recognizer: Recognizer, objective: MethodObjective, options: TrainingOptions) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = []

    def add(module: nn.Module, rate: float) -> None:
        parameters = [p for p in module.parameters() if p.requires_grad]
        # Norms, biases and PReLU slopes are vectors; decaying them only shrinks what should keep its scale.
        for decayed in (True, False):
            chosen = [p for p in parameters if (p.ndim > 1) == decayed]
            if chosen:
                decay = options.weight_decay if decayed else 0.0
                groups.append({"params": chosen, "rate": rate, "lr": rate, "weight_decay": decay})

    add(recognizer.backbone, options.trunk_rate)
    for head in (recognizer.regression, recognizer.attention):
        if head is not None:
            add(head, options.heads_rate)
    add(objective, options.prototypes_rate)
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups)
    return torch.optim.SGD(groups, momentum=options.momentum, nesterov=options.momentum > 0)


def _differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """Where two JSON values differ, as "path: was A, is B"."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted(ours.keys() | theirs.keys())  # pyright: ignore[reportUnknownArgumentType]
        return [d for k in keys for d in _differences(ours.get(k), theirs.get(k), f"{where}.{k}".lstrip("."))]
    return [] if ours == theirs else [f"{where}: was {ours!r}, is {theirs!r}"]
