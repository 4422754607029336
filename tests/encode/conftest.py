"""Tiny ONNX graphs, built node by node, and an encoder that shows what it was given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from .made import DIM, SIDE, WEIGHTS

Model = Callable[..., Path]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Writes a graph: flattened picture × `WEIGHTS` → embedding; what deviates is asked for by option."""

    def write(
        name: str = "model.onnx",
        *,
        batch: int | str = "n",
        sides: tuple[Any, Any] = (SIDE, SIDE),
        channels: int | str = 3,
        layout: str = "nchw",
        kind: int = TensorProto.FLOAT,
        outputs: tuple[str, ...] = ("emb",),
        more_inputs: tuple[str, ...] = (),
        nodes: list[Any] | None = None,
        initializers: list[Any] | None = None,
    ) -> Path:
        shape = [batch, channels, *sides] if layout == "nchw" else [batch, *sides, channels]
        made = [
            helper.make_node("Cast", ["x"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["emb"]),
            helper.make_node("ReduceMean", ["flat"], ["quality"], axes=[1], keepdims=1),
            helper.make_node("Identity", ["flat"], ["pixels_back"]),
        ]
        weights = WEIGHTS if channels in (3, "c") else np.resize(WEIGHTS, (int(channels) * SIDE * SIDE, DIM))
        graph = helper.make_graph(
            made if nodes is None else nodes,
            "tiny",
            [helper.make_tensor_value_info(n, kind, shape) for n in ("x", *more_inputs)],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
            [numpy_helper.from_array(weights, "weights")] if initializers is None else initializers,
        )
        path = tmp_path / name
        made_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        path.write_bytes(made_model.SerializeToString())
        return path

    return write


@pytest.fixture
def external(model: Model) -> Callable[..., Path]:
    """Writes a graph whose weights are kept in another file, `location` as the graph names it."""

    def write(location: str, *, hidden: bool = False) -> Path:
        tensor = numpy_helper.from_array(WEIGHTS, "weights")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": "0", "length": str(WEIGHTS.nbytes)}.items():
            tensor.external_data.add(key=key, value=value)
        nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "weights"], ["emb"])]
        if not hidden:
            return model(nodes=nodes, initializers=[tensor])
        # In the branch of a condition, as a constant: two messages deeper than an initializer.
        branch = helper.make_graph(
            [
                helper.make_node("Constant", [], ["weights"], value=tensor),
                helper.make_node("MatMul", ["flat", "weights"], ["result"]),
            ],
            "branch",
            [],
            [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)],
        )
        yes = numpy_helper.from_array(np.array(True), "yes")
        nodes[1] = helper.make_node("If", ["yes"], ["emb"], then_branch=branch, else_branch=branch)
        return model(nodes=nodes, initializers=[yes])

    return write


class Shows:
    """An encoder by hand: 2 × 3 inputs, embedding = mean colour, recognizability = the mean of red."""

    class _Size:
        height = 2
        width = 3

    input = _Size()
    embedding_dim = 3

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []
        self.batches: list[int] = []

    def prepare(self, crop):
        self.seen.append(np.array(crop))
        return np.full((2, 3, 3), crop.reshape(-1, 3).mean(axis=0).round(), np.uint8)

    def embed_crops(self, images, *, batch_size=64, flip=False):
        self.batches.append(batch_size)
        colours = images.astype(np.float32).mean(axis=(1, 2)) * (2 if flip else 1)
        return colours, colours[:, 0]


@pytest.fixture
def shows() -> Shows:
    return Shows()
