"""From a file to a model that answers: a checkpoint of ours, or anybody's ONNX model."""

from pathlib import Path
from typing import Literal

from vlrface.encode.served import ServedModel
from vlrface.experiment.model import load_model
from vlrface.experiment.options import ModelOptions
from vlrface.types import VlrfaceError


def load_served(
    path: Path,
    *,
    engine: Literal["auto", "openvino", "onnxruntime"] = "auto",
    threads: int | None = None,
    flip: bool = True,
) -> ServedModel:
    """Read a model.

    Args:
        path: a checkpoint or a run's folder, which torch runs; or an .onnx file with its card, which ONNX Runtime runs
            and which has no calibration.
        engine: what runs an .onnx file; "openvino" is not there yet.
        threads: of the engine; None for all cores.
        flip: see a crop and its mirror image together.

    Raises:
        VlrfaceError: nothing that encodes, or an engine that is not there.
    """
    if engine == "openvino":
        raise VlrfaceError("OpenVINO is not supported yet: leave --engine out, or say onnxruntime")
    if path.suffix == ".onnx" and path.is_file():
        from vlrface.encode.onnx import load_onnx

        encoder = load_onnx(path, threads=threads)
        return ServedModel(
            encoder=encoder,
            name=path.stem,
            space=_space(encoder.file.sha256[:16], flip),
            calibration=None,
            flip=flip,
            meta={**encoder.meta, "engine": "onnxruntime"},
        )
    model = load_model(path, ModelOptions())
    if model.trained is None:
        raise VlrfaceError(f"{path}: give a checkpoint, a run's folder or an .onnx file")
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return ServedModel(
        encoder=model.encoder,
        name=str(model.meta["experiment"]),
        space=_space(str(model.meta["fingerprint"]), flip),
        calibration=model.trained.calibration,
        flip=flip,
        meta={**model.meta, "engine": "torch"},
    )


def _space(weights: str, flip: bool) -> str:
    return f"{weights}+flip" if flip else weights
