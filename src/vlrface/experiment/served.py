"""From a file to a model that answers: a checkpoint, its export, or anybody's ONNX model.

No torch for an .onnx file.
"""

from importlib.util import find_spec
from pathlib import Path

from vlrface.encode.served import ServedModel
from vlrface.experiment.model import load_model
from vlrface.experiment.options import EngineChoice, ModelOptions
from vlrface.types import Faces, VlrfaceError


def load_served(
    path: Path,
    *,
    engine: EngineChoice = "auto",
    threads: int | None = None,
    flip: bool = True,
    options: ModelOptions | None = None,
) -> ServedModel:
    """Read a model.

    Args:
        path: a checkpoint or a run's folder, which torch runs; an .onnx file that `vlrface export` wrote, with its
            calibration; or anybody's .onnx file with its card, which has none.
        engine: what runs an .onnx file.
        threads: of the engine; None for all cores.
        flip: see a crop and its mirror image together.
        options: how a foreign .onnx file takes its input, against its card.

    Raises:
        VlrfaceError: nothing that encodes, or an engine that is not there or does not run this kind of file.
    """
    given = options or ModelOptions()
    if path.suffix == ".onnx" and path.is_file():
        return _onnx(path, engine, threads, flip, given)
    if engine != "auto":
        raise VlrfaceError(f"{path}: torch runs a checkpoint, not {engine}; make an .onnx file of it: vlrface export")
    model = load_model(path, given)
    if model.trained is None:
        raise VlrfaceError(f"{path}: give a checkpoint, a run's folder or an .onnx file")
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return ServedModel(
        encoder=model.encoder,
        name=str(model.meta["experiment"]),
        space=_space(model.space, flip),
        calibration=model.trained.calibration,
        flip=flip,
        meta={**model.meta, "engine": "torch"},
    )


def _onnx(path: Path, engine: EngineChoice, threads: int | None, flip: bool, options: ModelOptions) -> ServedModel:
    from vlrface.encode.exported import read_export_card

    exported = read_export_card(path)
    if engine == "auto":
        engine = "openvino" if exported is not None and find_spec("openvino") is not None else "onnxruntime"
    model = load_model(path, options, engine=engine, threads=threads)
    return ServedModel(
        encoder=model.encoder,
        name=path.stem if exported is None else exported.experiment,
        space=_space(model.space, flip),
        calibration=None if exported is None else exported.calibration,
        flip=flip,
        meta={**model.meta, "engine": engine},
    )


def _space(weights: str, flip: bool) -> str:
    return f"{weights}+flip" if flip else weights


def space_of(faces: Faces) -> str | None:
    """The space of encoded faces, as `ServedModel.space`; None where they do not say what encoded them.

    Spaces are compared whole: that of an int8 model begins with that of its float32 original.
    """
    made = faces.meta.get("fingerprint")
    return _space(str(made), bool(faces.meta.get("flip"))) if made else None
