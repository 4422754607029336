"""The training step's network, compiled where that works."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from vlrface.models.recognizer import Recognizer


def training_forward(recognizer: Recognizer, *, compiled: bool) -> Callable[[Tensor], Any]:
    """The network's call, compiled if asked for and possible."""
    if not compiled:
        return recognizer
    network = torch.compile(recognizer, options=_options(recognizer))
    broken = False

    def forward(images: Tensor) -> Any:
        nonlocal broken
        if broken:
            return recognizer(images)
        try:
            return network(images)
        except TorchDynamoException as error:
            broken = True
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            print(f"torch.compile does not work here ({reason}); going on without it, more slowly")
            return recognizer(images)

    return forward


def _options(recognizer: Recognizer) -> dict[str, Any] | None:
    """What the compiler would not choose itself on a CPU.

    It lays activations out channels-last where it counts convolutions, and counts none in a backward graph (torch
    2.13): the input of each depthwise convolution would then be copied twice, an eighth of MobileFaceNet's step.
    """
    on_cpu = next(recognizer.parameters()).device.type == "cpu"
    return {"force_layout_optimization": True} if on_cpu else None
