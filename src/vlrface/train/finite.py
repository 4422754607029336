"""Looks out for losses and gradients that are not finite, without making a GPU wait at every step."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from vlrface.losses.objective import nonfinite

GRADIENT: Final = "the gradient"


class FiniteWatch:
    """Says when a loss part or the gradient stopped being finite, and keeps such a step from the weights.

    On the CPU each step is looked at as it is. On an accelerator that would make the host wait for the device at every
    step; so each step leaves a mark on the device, which is read now and then. The optimiser does not step while the
    mark is set (`skip`), so the weights stay those of the last good step until it is read.

    Args:
        device: of the run.
        deferred: leave marks; None does so on accelerators.
    """

    def __init__(self, device: torch.device, deferred: bool | None = None) -> None:
        self.deferred = device.type != "cpu" if deferred is None else deferred
        self._first = torch.full((), -1, dtype=torch.int64, device=device)
        self._bad: dict[tuple[str, ...], Tensor] = {}

    @property
    def skip(self) -> Tensor | None:
        """() float32 on the device, 1 where the optimiser is not to step; None where every step is looked at."""
        return (self._first >= 0).float() if self.deferred else None

    def look(self, step: int, parts: Mapping[str, Tensor], norm: Tensor) -> tuple[int, tuple[str, ...]] | None:
        """Look at a step's losses and the norm of its gradient.

        Returns:
            The step and the names of what is not finite; None where all is well, and where that is not known yet.
        """
        if not self.deferred:
            bad = nonfinite({**parts, GRADIENT: norm})
            return (step, bad) if bad else None
        names = (*parts, GRADIENT)
        bad = ~torch.stack([*(value.detach() for value in parts.values()), norm.detach()]).isfinite()
        # Only the first bad step counts: what comes after it says nothing new.
        first = (self._first < 0) & bad.any()
        self._first = torch.where(first, step, self._first)
        self._bad[names] = torch.where(first, bad, self._bad.get(names, torch.zeros_like(bad)))
        return None

    def found(self) -> tuple[int, tuple[str, ...]] | None:
        """What the marks say; waits for the device. None where all is well."""
        if not self.deferred or int(self._first) < 0:
            return None
        bad = [
            name for names, marks in self._bad.items() for name, mark in zip(names, marks.tolist(), strict=True) if mark
        ]
        return int(self._first), tuple(bad)
