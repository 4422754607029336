"""Weights and pictures by a formula, so that golden numbers need no weight files; small networks for fast tests."""

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray
from torch import Tensor, nn

from vlrface.models.attention import PerceptibilityAttention, spatial_kernel
from vlrface.models.mobilefacenet import MobileFaceNet, mobilefacenet_input
from vlrface.models.recognizability import PerceptibilityRegression
from vlrface.models.recognizer import Recognizer


def mixed(count: int, stream: int) -> ndarray:
    """`count` integers in [0, 2**32) that look random: integer arithmetic alone, so the same everywhere."""
    x = (np.arange(count, dtype=np.uint64) * 2654435761 + stream * 40503 + 1) % 2**32
    x ^= x >> np.uint64(15)
    x = x * np.uint64(2246822519) % np.uint64(2**32)
    return x ^ (x >> np.uint64(13))


def filled(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors for a state dict: its sorted names number the streams, name endings and shapes give the ranges."""
    tensors: dict[str, Tensor] = {}
    for stream, name in enumerate(sorted(shapes)):
        shape = shapes[name]
        u = mixed(int(np.prod(shape)), stream).reshape(shape) / 2**31 - 1
        if len(shape) > 1:
            values = u * np.sqrt(6 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            values = 1 + 0.3 * u
        elif name.endswith("weight"):
            values = 0.7 + 0.1 * u
        else:
            values = 0.1 * u
        tensors[name] = torch.from_numpy(values.astype(np.float32))
    return tensors


def pictures(count: int, height: int, width: int) -> ndarray:
    """uint8 noise, (count, height, width, 3)."""
    return (mixed(count * height * width * 3, 999) % 256).astype(np.uint8).reshape(count, height, width, 3)


@pytest.fixture(name="filled")
def _filled() -> Callable[[Mapping[str, tuple[int, ...]]], dict[str, Tensor]]:
    return filled


@pytest.fixture(name="pictures")
def _pictures() -> Callable[[int, int, int], ndarray]:
    return pictures


@functools.cache
def _backbone(size: int) -> MobileFaceNet:
    """A MobileFaceNet with the statistics of real activations, as a trained one has; else values grow per block."""
    model = MobileFaceNet(mobilefacenet_input(size, size))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model(model.input.normalised(torch.from_numpy(pictures(16, size, size))))
    for norm in norms:
        norm.momentum = 0.1
    return model


@pytest.fixture
def small() -> Callable[..., Recognizer]:
    """Makes a small but whole network: MobileFaceNet at 32 pixels with both heads."""

    def make(size: int = 32, dropout: float = 0.0, **options: Any) -> Recognizer:
        backbone = copy.deepcopy(_backbone(size))
        regression = PerceptibilityRegression(backbone.feature_shape, dropout=dropout)
        kernel = spatial_kernel(backbone.feature_shape)
        attention = PerceptibilityAttention(backbone.feature_shape[0], kernel=kernel)
        return Recognizer(backbone, regression, attention, **options)

    return make
