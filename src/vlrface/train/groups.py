"""Which parameters learn, and at which rate: groups for the optimiser."""

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from vlrface.losses.objective import MethodObjective
from vlrface.models.backbone import Backbone
from vlrface.models.recognizer import Recognizer
from vlrface.train.options import TrainingOptions


def parameter_groups(
    recognizer: Recognizer, objective: MethodObjective, options: TrainingOptions
) -> list[dict[str, Any]]:
    """Groups for an optimiser of torch: "params", "rate" and "lr" (the same, before a schedule), "weight_decay".

    Norms, biases and PReLU slopes are vectors, and are not decayed: that would only shrink what should keep its scale.
    The order depends on the options and the network alone, so that an optimiser's saved state finds its parameters.
    """
    groups = [
        group
        for parameters, rate in _trunk(recognizer.backbone, options)
        for group in _groups(parameters, rate, options.weight_decay)
    ]
    for head in (recognizer.regression, recognizer.attention):
        if head is not None:
            groups += _groups(head.parameters(), options.heads_rate, options.weight_decay)
    return groups + _groups(objective.parameters(), options.prototypes_rate, options.weight_decay)


def trained_parameters(recognizer: Recognizer) -> int:
    """How many numbers of the network learn; those of the class prototypes, which serve nobody later, not counted."""
    return sum(each.numel() for each in recognizer.parameters() if each.requires_grad)


def _trunk(backbone: Backbone, options: TrainingOptions) -> Iterator[tuple[list[nn.Parameter], float]]:
    """Parameters of the backbone with their rates, from the first layer to the last."""
    if options.layer_decay is None:
        yield list(backbone.parameters()), options.trunk_rate
        return
    steps = backbone.steps()
    in_steps: set[nn.Parameter] = set()
    for index, step in enumerate(steps):
        parameters = list(step.parameters())
        in_steps |= set(parameters)
        yield parameters, options.trunk_rate * options.layer_decay ** (len(steps) - index)
    yield [each for each in backbone.parameters() if each not in in_steps], options.trunk_rate


def _groups(parameters: Iterable[nn.Parameter], rate: float, weight_decay: float) -> list[dict[str, Any]]:
    learning = [each for each in parameters if each.requires_grad]
    kinds = ([p for p in learning if p.ndim > 1], weight_decay), ([p for p in learning if p.ndim <= 1], 0.0)
    return [{"params": chosen, "rate": rate, "lr": rate, "weight_decay": decay} for chosen, decay in kinds if chosen]
