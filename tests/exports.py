"""A tiny network with everything that an export carries, and its export."""

from pathlib import Path

import numpy as np
import torch

from vlrface import __version__
from vlrface.encode.exported import ExportCard
from vlrface.export import to_graph, write_export
from vlrface.images.framing import Framing
from vlrface.metrics.calibration import Calibration
from vlrface.models import MobileFaceNet, PerceptibilityAttention, PerceptibilityRegression, Recognizer
from vlrface.models.attention import spatial_kernel
from vlrface.models.mobilefacenet import mobilefacenet_input

CALIBRATION = Calibration(1.5, 0.2, 0.1, 0.5, gallery_size=159, faces=160, rank1=0.6, calibration_error=0.04)


class Bent(torch.nn.Module):
    """An index on another scale: of the same order, and so of perfect rank correlation."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.inner(features) * 0.05 - 3.0


def tiny_network(*, regression: bool = True, attention: bool = True) -> Recognizer:
    """MobileFaceNet at 32 pixels, with batch statistics that are not those of a fresh network."""
    trunk = MobileFaceNet(mobilefacenet_input(32, 32), seed=0)
    shape = trunk.feature_shape
    network = Recognizer(
        trunk,
        PerceptibilityRegression(shape, seed=0) if regression else None,
        PerceptibilityAttention(shape[0], kernel=spatial_kernel(shape), seed=0) if attention else None,
        framing=Framing(1.2, 0.44),
    )
    draw = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1, generator=draw)
            module.running_var.uniform_(0.5, 1.5, generator=draw)
    return network.eval()


def card_of(**changes: object) -> ExportCard:
    """A card for it."""
    values = {
        "version": __version__, "experiment": "tiny", "fingerprint": "0123456789abcdef", "precision": "float32",
        "config": {"name": "tiny", "seed": 0}, "framing": Framing(1.2, 0.44),
        "recognizability": True, "calibration": CALIBRATION,
        "graph": "", "parity": {"onnxruntime:cosine_min": 1.0},
    }  # fmt: skip
    return ExportCard(**{**values, **changes})


def write_tiny_export(path: Path, network: Recognizer | None = None, **changes: object) -> ExportCard:
    """The network as an .onnx file with its card."""
    return write_export(to_graph(network or tiny_network()), card_of(**changes), path)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Crops of the network's input size, (count, 32, 32, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)
