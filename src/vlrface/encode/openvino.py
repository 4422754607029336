"""OpenVINO in the place of ONNX Runtime: faster on most CPUs, and int8 or bfloat16 where the processor has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy import ndarray

from vlrface.types import VlrfaceError

_TYPES: Final = {"f32": "tensor(float)", "f16": "tensor(float16)", "u8": "tensor(uint8)"}


@dataclass(frozen=True)
class Port:
    """An input or output, in ONNX Runtime's words.

    Attributes:
        name: of the tensor.
        type: for example "tensor(float)".
        shape: lengths; None for an axis of any length.
    """

    name: str
    type: str
    shape: tuple[int | None, ...]


class OpenVinoSession:
    """What `OnnxEncoder` asks of a session of ONNX Runtime, by OpenVINO on the CPU.

    Args:
        path: the .onnx file; its external data were checked.
        threads: of OpenVINO.
        bfloat16: compute in bfloat16 where the processor can; else in float32, or int8 where the graph says so.

    Raises:
        VlrfaceError: OpenVINO is not installed, or cannot load the model.
    """

    def __init__(self, path: Path, threads: int, *, bfloat16: bool = False) -> None:
        try:
            import openvino
        except ImportError as error:
            raise VlrfaceError('this engine needs OpenVINO: pip install "vlrface[score]"') from error
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        }
        try:
            core = openvino.Core()
            model = core.read_model(str(path))
            # Compiling fuses tensors, and a fused one has the names of all that went into it. The file's own names are
            # asked for before; the order of inputs and outputs stays.
            self._inputs = [_port(each) for each in model.inputs]
            self._outputs = [_port(each) for each in model.outputs]
            compiled = core.compile_model(model, "CPU", options)
        except Exception as error:  # the runtime's own kinds are not public
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
            raise VlrfaceError(f"{path}: OpenVINO cannot load it ({reason}). Try --engine onnxruntime") from error
        self._fed = {said.name: place for said, place in zip(self._inputs, compiled.inputs, strict=True)}
        self._given = {said.name: place for said, place in zip(self._outputs, compiled.outputs, strict=True)}
        self._request = compiled.create_infer_request()

    def get_inputs(self) -> list[Port]:
        """The inputs."""
        return self._inputs

    def get_outputs(self) -> list[Port]:
        """The outputs."""
        return self._outputs

    def run(self, outputs: Sequence[str], feeds: Mapping[str, ndarray]) -> list[ndarray]:
        """The named outputs for the inputs, each a copy of its own."""
        self._request.infer({self._fed[name]: value for name, value in feeds.items()}, share_inputs=True)
        return [np.array(self._request.get_tensor(self._given[name]).data) for name in outputs]


def _port(port: Any) -> Port:
    shape = tuple(each.get_length() if each.is_static else None for each in port.get_partial_shape())
    kind = str(port.get_element_type().get_type_name())
    return Port(str(port.get_any_name()), _TYPES.get(kind, kind), shape)
