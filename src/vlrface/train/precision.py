"""In which precision a trunk runs: bfloat16 where the machine computes in it, float32 elsewhere."""

from functools import cache
from typing import Any, Literal, cast

import torch

Precision = Literal["auto", "bf16", "float32"]

# As `torch.cpu.get_capabilities` calls them: x86-64 with AVX-512 or AMX, and 64-bit Arm.
_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def resolved(precision: Precision, device: torch.device) -> Literal["bf16", "float32"]:
    """What "auto" means on a device; other values as they are."""
    if precision != "auto":
        return precision
    return "bf16" if computes_bf16(device.type) else "float32"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a trunk runs."""
    return torch.autocast(device.type, torch.bfloat16, enabled=resolved(precision, device) == "bf16")


@cache
def computes_bf16(kind: str) -> bool:
    """Whether a kind of device ("cpu", "cuda", …) has instructions for bfloat16.

    A CPU without them is many times as slow in bfloat16 as in float32, since torch converts number by number.
    """
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = cast("dict[str, Any]", torch.cpu.get_capabilities())
        return any(bool(capabilities.get(name)) for name in _CPU_BF16)
    return bool(torch.cpu._is_avx512_bf16_supported())  # pyright: ignore[reportPrivateUsage] (before torch 2.12)
