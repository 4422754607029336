"""Any model that encodes: a checkpoint of ours, or somebody's ONNX file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlrface.encode import Encoder
from vlrface.encode.views import MovableEncoder, SeveralViews, Views, space_of_views
from vlrface.experiment.model_files import check_model
from vlrface.experiment.options import ModelOptions
from vlrface.types import VlrfaceError

if TYPE_CHECKING:
    from vlrface.encode.card import ModelCard
    from vlrface.encode.onnx import Engine
    from vlrface.experiment.network import Trained


@dataclass(frozen=True, eq=False)
class Model:
    """What encodes, and what its faces say of it.

    Attributes:
        encoder: crops to embeddings.
        meta: JSON values for `Faces.meta`.
        trained: the checkpoint behind it; None for a foreign model.
        space: which embeddings may be compared: those of one space and one flip fusion.
    """

    encoder: Encoder
    meta: dict[str, Any]
    trained: "Trained | None" = None
    space: str = ""


def is_model(source: Path) -> bool:
    """Whether a path is taken for a model: a checkpoint, a run's folder or an ONNX file."""
    return source.is_dir() or source.suffix in (".safetensors", ".onnx")


def load_model(
    source: Path,
    options: ModelOptions,
    *,
    engine: "Engine" = "onnxruntime",
    threads: int | None = None,
    views: Views = 1,
) -> Model:
    """Read a model; torch is imported for a checkpoint, the engine for an .onnx file.

    Args:
        source: the file, or a run's folder.
        options: how a foreign .onnx file takes its input, against its card.
        engine: what runs an .onnx file.
        threads: of that engine; None for all cores.
        views: windows of a crop that are seen and averaged, see `encode.views`; more where an export says so.

    Raises:
        VlrfaceError: nothing that encodes, or its input is not described.
    """
    check_model(source)
    if source.suffix == ".onnx":
        from vlrface.encode.exported import read_export_card
        from vlrface.encode.onnx import load_onnx

        encoder = load_onnx(source, options.card, _card(options), threads=threads, engine=engine)
        exported = read_export_card(source)
        if exported is None:
            return _by_views(encoder, Model(encoder, encoder.meta, space=encoder.space), views)
        # The fingerprint of how it is used, which may be otherwise than it was exported for.
        meta = {**encoder.meta, **exported.meta(), "fingerprint": encoder.space}
        model = Model(encoder, meta, space=encoder.space)
        return _by_views(encoder, model, max(views, exported.views))
    if options != ModelOptions():
        raise VlrfaceError(f"{source}: a checkpoint knows its own input; leave out the options of an .onnx file")
    from vlrface.experiment.network import load_trained

    trained = load_trained(source)
    meta = trained.meta()
    return _by_views(trained.recognizer, Model(trained.recognizer, meta, trained, str(meta["fingerprint"])), views)


def _by_views(encoder: MovableEncoder, model: Model, views: Views) -> Model:
    """The model, seeing so many windows of a crop."""
    if views == 1:
        return model
    meta = {**model.meta, "views": views}
    if "fingerprint" in meta:
        meta["fingerprint"] = space_of_views(str(meta["fingerprint"]), views)
    return replace(model, encoder=SeveralViews(encoder), meta=meta, space=space_of_views(model.space, views))


def _card(options: ModelOptions) -> "ModelCard":
    """The options as a card, which hold against the file's."""
    from vlrface.encode.card import ModelCard
    from vlrface.images.framing import Framing

    size = options.input_size
    if size is not None and len(size) not in (1, 2):
        raise VlrfaceError(f"--input-size takes one number or two (height, width), not {len(size)}")
    framing = None
    if options.window is not None:
        framing = Framing(options.window, 0.5 if options.center_y is None else options.center_y)
    elif options.center_y is not None:
        raise VlrfaceError("--center-y says where a window lies: give --window, too")
    return ModelCard(
        height=size[0] if size else None,
        width=size[-1] if size else None,
        order=options.order,
        mean=None if options.mean is None else (options.mean,),
        scale=None if options.scale is None else (options.scale,),
        framing=framing,
    )
