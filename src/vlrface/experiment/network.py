"""From configuration or checkpoint to a network."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vlrface.calibrate import Calibration
from vlrface.checkpoint import Checkpoint, read_card
from vlrface.experiment.config import (
    BackboneConfig,
    IResNetConfig,
    MobileFaceNetConfig,
    ModelConfig,
    model_from_json,
    to_json,
)
from vlrface.experiment.model_files import check_model
from vlrface.losses.recognizability import UnrecognizableStatistics
from vlrface.models.attention import PerceptibilityAttention, spatial_kernel
from vlrface.models.backbone import Backbone, InputSpec
from vlrface.models.iresnet import iresnet, irnet
from vlrface.models.lora import adapt, merged_state
from vlrface.models.mobilefacenet import CASIA, MS1M, MobileFaceNet, mobilefacenet_input
from vlrface.models.pretrained import (
    load_arcface_torch,
    load_ir,
    load_mobilefacenet_casia,
    load_mobilefacenet_ms1m,
)
from vlrface.models.recognizability import PerceptibilityRegression
from vlrface.models.recognizer import Recognizer
from vlrface.run_folder import BEST_NAME
from vlrface.types import VlrfaceError


def build_backbone(config: BackboneConfig, data: Path | None, seed: int = 0) -> Backbone:
    """The trunk, with its starting weights if `data` is given."""
    weights = data / config.weights if data is not None and config.weights is not None else None
    if weights is not None and read_card(weights) is not None:
        return _trained_trunk(build_backbone(config, None, seed), config, weights)
    if weights is None:
        return _new_backbone(config, seed)
    if isinstance(config, MobileFaceNetConfig):
        load = load_mobilefacenet_casia if config.variant == "casia" else load_mobilefacenet_ms1m
        return load(weights, config.size)
    if isinstance(config, IResNetConfig):
        return load_arcface_torch(weights, config.depth, size=config.size)
    return load_ir(weights, config.depth, size=config.size, order=config.order)


def _new_backbone(config: BackboneConfig, seed: int) -> Backbone:
    if isinstance(config, MobileFaceNetConfig):
        variant = CASIA if config.variant == "casia" else MS1M
        return MobileFaceNet(mobilefacenet_input(config.size, config.size), variant=variant, seed=seed)
    if isinstance(config, IResNetConfig):
        return iresnet(config.depth, InputSpec(config.size, config.size), seed=seed)
    return irnet(config.depth, InputSpec(config.size, config.size, order=config.order), seed=seed)


def _trained_trunk(backbone: Backbone, config: BackboneConfig, path: Path) -> Backbone:
    """The backbone with the weights that it has in a checkpoint of ours, whatever else that holds."""
    checkpoint = Checkpoint.load(path)
    # What no tensor tells: the order of colours, and constants.
    trained = checkpoint.card.get("config", {}).get("model", {}).get("backbone", {})
    for name, value in to_json(config).items():
        if name != "weights" and trained.get(name, value) != value:
            raise VlrfaceError(
                f"{path}: a checkpoint of another trunk ({name} {trained[name]!r}, not {value!r}). Set model.backbone "
                "to the kind, size and order it was trained with"
            )
    try:
        backbone.load_state_dict(_served(checkpoint, "backbone"))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise VlrfaceError(
            f"{path}: a checkpoint of another trunk ({reason}). Set model.backbone to the kind and size it was trained "
            "with"
        ) from error
    return backbone


def _served(checkpoint: Checkpoint, part: str = "") -> dict[str, Tensor]:
    """The weights that serve, of the whole network or of a part, with changes of low rank merged into them."""
    # The last checkpoint of a run that averages its weights holds both kinds; the averaged ones are what was validated.
    dotted = f".{part}" if part else ""
    return merged_state(checkpoint.group(f"averaged.module{dotted}") or checkpoint.group(f"recognizer{dotted}"))


def build_recognizer(config: ModelConfig, data: Path | None, seed: int = 0) -> Recognizer:
    """The network; `data` None skips starting weights, as loading a checkpoint wants it."""
    backbone = build_backbone(config.backbone, data, seed)
    if config.lora is not None:
        adapt(backbone, config.lora, frozen_steps=config.frozen_steps)
    shape = backbone.feature_shape
    regression = None
    if config.regression:
        regression = PerceptibilityRegression(shape, dropout=config.dropout, gradient=config.index_gradient, seed=seed)
    return Recognizer(
        backbone,
        regression,
        PerceptibilityAttention(shape[0], kernel=spatial_kernel(shape), seed=seed) if config.attention else None,
        serve=config.serve,
        framing=config.framing,
        frozen_steps=config.frozen_steps,
        frozen_norms=config.frozen_norms,
    )


@dataclass(frozen=True, eq=False)
class Trained:
    """A network read from a checkpoint, ready to encode.

    Attributes:
        recognizer: in evaluation mode.
        calibration: raw index to [0, 1]; None if the checkpoint has none.
        statistics: of the unrecognizable faces; None if the checkpoint has none.
        card: the checkpoint's JSON values.
        path: where it was read.
    """

    recognizer: Recognizer
    calibration: Calibration | None
    statistics: UnrecognizableStatistics | None
    card: dict[str, Any]
    path: Path

    def meta(self) -> dict[str, Any]:
        """What `Faces` made by this network say of it."""
        kept = {k: self.card.get(k) for k in ("version", "fingerprint", "step", "calibration", "statistics")}
        config = self.card["config"]
        made = {"experiment": config["name"], "seed": config["seed"], "config": config}
        return {**kept, **made, "training_seconds": self.card.get("seconds")}


def load_trained(path: Path) -> Trained:
    """Read a checkpoint of `vlrface train` (a run's folder stands for its best).

    Raises:
        VlrfaceError: missing or damaged file, or weights that do not fit the configuration beside them.
    """
    check_model(path, onnx=False)
    if path.is_dir():
        path = path / BEST_NAME
    checkpoint = Checkpoint.load(path)
    config = model_from_json(checkpoint.card["config"]["model"])
    recognizer = build_recognizer(replace(config, lora=None), None)
    try:
        recognizer.load_state_dict(_served(checkpoint))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise VlrfaceError(f"{path}: weights do not fit the configuration in its header ({reason})") from error
    recognizer.eval()
    card = dict(checkpoint.card)
    center = checkpoint.tensors.get("statistics.center")
    statistics = None
    if center is not None:
        statistics = UnrecognizableStatistics(center, card["statistics"]["mean"], card["statistics"]["deviation"])
    calibration = Calibration.from_json(card["calibration"]) if card.get("calibration") else None
    return Trained(recognizer, calibration, statistics, card, path)
