"""A network as an ONNX graph: uint8 crops in; embedding, recognizability and attention out, normalisation inside."""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy import ndarray
from torch import Tensor, nn

from vlrface.encode.exported import ATTENTION, CARD_KEY, EMBEDDING, INPUT, RECOGNIZABILITY, ExportCard
from vlrface.encode.model_file import graph_sha256
from vlrface.files import written_atomically
from vlrface.models.recognizer import Recognizer
from vlrface.types import VlrfaceError

OPSET = 18
FEATURES = "features"
"""Tensor inside the graph: the feature map, where the trunk ends and what looks at it begins."""

_BATCH = 32


class _Served(nn.Module):
    """What leaves the graph: the embedding that serves; index and attention, if the network has them; features."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.recognizer = recognizer

    def forward(self, crops: UInt8[Tensor, "b h w 3"]) -> tuple[Tensor, ...]:
        features = self.recognizer.features(crops)
        output = self.recognizer.heads(features)
        found = {
            EMBEDDING: self.recognizer.served(output),
            RECOGNIZABILITY: output.recognizability,
            ATTENTION: output.attention[:, 0],
            FEATURES: features,
        }
        return tuple(found[name] for name in self.names())

    def names(self) -> list[str]:
        """Of the outputs."""
        has = {
            EMBEDDING: True,
            RECOGNIZABILITY: self.recognizer.regression is not None,
            ATTENTION: self.recognizer.attention is not None,
            FEATURES: True,
        }
        return [name for name, there in has.items() if there]


def to_graph(recognizer: Recognizer) -> Any:
    """The network in evaluation mode as an ONNX model (`onnx.ModelProto`) in float32.

    Its input is `crops`, uint8 (n, h, w, 3), RGB, of the network's input size, of any number; its outputs are
    `embedding` (n, d), not normalised, `recognizability` (n,) if the network has a regression, and `attention`
    (n, fh, fw) if it attends.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is not installed.
    """
    for needed in ("onnx", "onnxscript"):  # asked for before the work
        import_module(needed)
    was_training = recognizer.training
    served = _Served(recognizer).eval()
    spec = recognizer.input
    example = torch.zeros((2, spec.height, spec.width, 3), dtype=torch.uint8, device=next(served.parameters()).device)
    log = logging.getLogger("torch.onnx")
    level = log.level
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter, about itself and torchvision
            log.setLevel(logging.ERROR)
            # Not left to the exporter, which would fix the batch's length in silence where it cannot stay open.
            traced = torch.export.export(served, (example,), dynamic_shapes=({0: torch.export.Dim("n")},))
            program = torch.onnx.export(
                traced,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=served.names(),
                verbose=False,
            )
    finally:
        log.setLevel(level)
        recognizer.train(was_training)
    assert program is not None  # no file was named  # noqa: S101
    graph = program.model_proto
    # It was an output only to have its name; nobody asks for it.
    graph.graph.output.remove(next(each for each in graph.graph.output if each.name == FEATURES))
    return graph


def to_int8(graph: Any, crops: UInt8[ndarray, "n h w 3"]) -> Any:
    """The graph with the trunk's convolutions in int8 (quantised and dequantised in ONNX's own operators).

    What is computed from the feature map (embedding layer, attention, index) stays in float32, as it does in training.
    It is little of the work, and int8 has one step for all channels of a map: in trained networks a few channels reach
    twenty times as far as the others, which beside them are rounded to nothing.

    Args:
        graph: of `to_graph`.
        crops: framed crops as they will come, some hundred: ranges of the values between layers are measured on them.

    Raises:
        ModuleNotFoundError: nncf is not installed.
        VlrfaceError: no crops, or a graph without a feature map.
    """
    import nncf

    if not len(crops):
        raise VlrfaceError("int8 needs crops to measure ranges on: give --calibration-data")

    def batches() -> Iterator[dict[str, ndarray]]:
        for start in range(0, len(crops), _BATCH):
            yield {INPUT: np.ascontiguousarray(crops[start : start + _BATCH])}

    log = logging.getLogger("nncf")
    level = log.level
    try:
        log.setLevel(logging.WARNING)  # else it lists every node that stays as it is
        return nncf.quantize(
            graph,
            nncf.Dataset(list(batches())),
            # Not "mixed": by OpenVINO, convolutions of values with a zero point were six times slower.
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=-(-len(crops) // _BATCH),
            ignored_scope=nncf.IgnoredScope(names=_computed_from(graph, FEATURES)),
            # Measured to gain nothing: cosine 0.9979 for 0.9978.
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
        )
    finally:
        log.setLevel(level)


def _computed_from(graph: Any, tensor: str) -> list[str]:
    """Names of the nodes that need a tensor, at first or at any hand."""
    reached, names = {tensor}, []
    for node in graph.graph.node:  # in the order of computing, as ONNX demands
        if not reached.isdisjoint(node.input):
            reached.update(node.output)
            names.append(node.name)
    if not names:
        raise VlrfaceError(f"the graph has no tensor {tensor!r}: int8 takes graphs that vlrface made of a network")
    return names


def write_export(graph: Any, card: ExportCard, path: Path) -> ExportCard:
    """Write a graph with its card into one file, atomically.

    Args:
        graph: an `onnx.ModelProto`.
        card: what is said of it; its `graph` is filled in here.
        path: the .onnx file.

    Returns:
        The card as it is written.

    Raises:
        VlrfaceError: the model is larger than 2 GiB.
    """
    try:
        del graph.metadata_props[:]
        written = replace(card, graph=graph_sha256(graph.SerializeToString()))
        entry = graph.metadata_props.add()
        entry.key, entry.value = CARD_KEY, written.to_json()
        data = graph.SerializeToString()
    except ValueError as error:
        raise VlrfaceError(f"{path}: too large for one ONNX file ({error})") from error
    with written_atomically(path) as temporary:
        temporary.write_bytes(data)
    return written


def cosines(first: Float32[ndarray, "n d"], second: Float32[ndarray, "n d"]) -> Float32[ndarray, " n"]:
    """Cosine of each row with the other's."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / lengths
