"""The typed, frozen configuration of an experiment. A recipe is one Python file that makes one `Experiment`."""

import dataclasses
import runpy
import traceback
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from vlrface.data.order import Shuffle as Shuffle
from vlrface.experiment.heads import AdaFaceConfig as AdaFaceConfig
from vlrface.experiment.heads import ArcFaceConfig as ArcFaceConfig
from vlrface.experiment.heads import CosFaceConfig as CosFaceConfig
from vlrface.experiment.heads import CrossEntropyConfig as CrossEntropyConfig
from vlrface.experiment.heads import CurricularFaceConfig as CurricularFaceConfig
from vlrface.experiment.heads import HeadConfig as HeadConfig
from vlrface.experiment.heads import MagFaceConfig as MagFaceConfig
from vlrface.experiment.heads import MVSoftmaxConfig as MVSoftmaxConfig
from vlrface.experiment.heads import NormFaceConfig as NormFaceConfig
from vlrface.experiment.overriding import override as override
from vlrface.experiment.source_config import FolderSource as FolderSource
from vlrface.experiment.source_config import ProceduralSource as ProceduralSource
from vlrface.experiment.source_config import RecordSource as RecordSource
from vlrface.experiment.source_config import SCfaceSource as SCfaceSource
from vlrface.experiment.source_config import ShardsSource as ShardsSource
from vlrface.experiment.source_config import Source as Source
from vlrface.images.augment import Chain
from vlrface.images.degrade import UNRECOGNIZABLE, DegradationRange
from vlrface.images.framing import Framing
from vlrface.losses.objective import ObjectiveWeights, Positive, Projected
from vlrface.losses.recognizability import Emphasis, RITarget
from vlrface.models.lora import LoraConfig as LoraConfig
from vlrface.models.recognizer import Serve
from vlrface.train import TrainingOptions
from vlrface.types import VlrfaceError


def _check_choices(trunk: "BackboneConfig") -> None:
    # A recipe is Python: no type checker stands between a misspelt word and another network.
    for field_ in dataclasses.fields(trunk):
        value, choices = getattr(trunk, field_.name), get_args(field_.type)
        if get_origin(field_.type) is Literal and value not in choices:
            name = f"{type(trunk).__name__}.{field_.name}"
            raise VlrfaceError(f"{name} is {value!r}: give one of {', '.join(map(repr, choices))}")


@dataclass(frozen=True)
class MobileFaceNetConfig:
    """MobileFaceNet, 128-d, 1.0 M parameters.

    Attributes:
        size: side of the square input in pixels.
        weights: to start from, relative to the data folder: MS1M weights (.safetensors) or CASIA weights (.ckpt), as
            `variant` says, or a checkpoint of `vlrface train` with this trunk. None starts from scratch.
        variant: which of the public networks it is; they differ in constants of their batch norms.
    """

    size: int = 112
    weights: str | None = None
    variant: Literal["ms1m", "casia"] = "ms1m"

    def __post_init__(self) -> None:
        _check_choices(self)


@dataclass(frozen=True)
class IResNetConfig:
    """IResNet, 512-d.

    Attributes:
        depth: 18, 34, 50 or 100.
        size: side of the square input in pixels.
        weights: to start from, relative to the data folder: state dict of arcface_torch, or a checkpoint of
            `vlrface train` with this trunk. None starts from scratch.
    """

    depth: Literal[18, 34, 50, 100] = 18
    size: int = 112
    weights: str | None = None

    def __post_init__(self) -> None:
        _check_choices(self)


@dataclass(frozen=True)
class IRNetConfig:
    """IR, 512-d, as AdaFace, CVLface and face.evoLVe have it (`ir_18` to `ir_101`); nearly an IResNet.

    Attributes:
        depth: 18, 34, 50 or 101.
        size: side of the square input in pixels.
        weights: to start from, relative to the data folder: AdaFace's .ckpt, CVLface's .pt or .safetensors, or a
            checkpoint of `vlrface train` with this trunk. None starts from scratch.
        order: of the colours that the weights were trained with: "bgr" for AdaFace's files, "rgb" for CVLface's whose
            configuration says RGB.
    """

    depth: Literal[18, 34, 50, 101] = 50
    size: int = 112
    weights: str | None = None
    order: Literal["rgb", "bgr"] = "bgr"

    def __post_init__(self) -> None:
        _check_choices(self)


BackboneConfig = MobileFaceNetConfig | IResNetConfig | IRNetConfig


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
        backbone: the trunk.
        framing: which window of a crop the network sees.
        regression: predict recognizability (PRM).
        attention: attend to features (PAM).
        dropout: before the regression, in [0, 1).
        frozen_steps: how many of the trunk's first steps keep their starting weights (`Backbone.steps` counts them:
            MobileFaceNet has 18, of which the first 14 end at an eighth of the input's side). With all of them frozen
            the embedding layer learns alone.
        frozen_norms: whether the trunk's batch norms normalise by the statistics they start with, in training as later,
            instead of measuring new ones; scales and shifts go on learning. For small batches, and data like those the
            start was trained on.
        lora: let convolutions and linear layers of the trunk learn changes of low rank alone, which are merged into the
            weights of the checkpoint that serves; None for plain training.
        index_gradient: share of the index's gradient (of regression and diversion) that reaches the trunk, in [0, 1]. 1
            as the poster has it; 0, own choice, lets the regression read the trunk without bending it.
        serve: which embedding serves: "plain" (v), "attended" (v_attn), or "fused", the sum of both at unit norm (own
            choice: the attended one sees other places, so that they err apart).
    """

    backbone: BackboneConfig
    framing: Framing = field(default_factory=Framing)
    regression: bool = True
    attention: bool = True
    dropout: float = 0.2
    frozen_steps: int = 0
    index_gradient: float = 1.0
    serve: Serve = "plain"
    frozen_norms: bool = False
    lora: LoraConfig | None = None

    def __post_init__(self) -> None:
        if self.serve not in get_args(Serve):
            raise VlrfaceError(f"model.serve is {self.serve!r}: give one of {', '.join(get_args(Serve))}")
        if not 0.0 <= self.index_gradient <= 1.0:
            raise VlrfaceError(f"model.index_gradient is {self.index_gradient}; a share lies in [0, 1]")


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised; see `vlrface.losses.objective.MethodObjective`, also for why each own choice is there.

    Attributes:
        weights: of the named parts.
        target: form of the recognizability index.
        epsilon: of the index.
        tau: of index diversion, in deviations.
        deviation_floor: lower bound of the deviation of the unrecognizable faces.
        projected: what the attended embedding is to come to: the network's "own" embedding without its part along the
            UI centre, as the poster has it, or the "teacher"'s of the sharp picture (own choice).
        positive: what d_P of the index is measured to: the class "prototype", as the poster has it, or the "teacher"'s
            embedding of the sharp picture (own choice).
        emphasis: of faces in recognition: "equal", as the poster has it, or by predicted "recognizability" from
            `weights.diversion_from_epoch` on (own choice).
        distillation_emphasis: likewise, in distillation.
        teacher_map: distil through a learned linear map from the network's embedding to the teacher's, for a teacher of
            another embedding length (own choice). It learns at `training.prototypes_rate`, and serves nobody later.
        statistics: centre, mean and deviation of unrecognizable faces (.safetensors), relative to the data folder, as
            `vlrface unrecognizable find` writes them; used from the first step to the last in place of what the network
            in training says of `data.unrecognizable` (own choice: they are another network's, but they stand still).
            Mean and deviation mean something to a network only that predicts the index on the same scale. None measures
            them while training.
    """

    weights: ObjectiveWeights = field(default_factory=ObjectiveWeights)
    target: RITarget = "ratio"
    epsilon: float = 1e-3
    tau: float = 3.0
    deviation_floor: float = 0.1
    projected: Projected = "own"
    positive: Positive = "prototype"
    emphasis: Emphasis = "equal"
    distillation_emphasis: Emphasis = "equal"
    teacher_map: bool = False
    statistics: str | None = None


@dataclass(frozen=True)
class PartConfig:
    """Training crops of one source.

    Attributes:
        source: where they come from.
        transform: random changes, seeded per sample.
        copies: how often each crop is drawn per epoch; 0.5 draws a random half.
        teacher: aligned high-resolution pictures of the same names, whose embedding by the teacher the network is to
            reproduce; None for no distillation from this part. A picture's name is its path in the folder, its key in
            the .rec file (or its path in the .lst file beside it), or its key in a shard.
    """

    source: Source
    transform: Chain = field(default_factory=lambda: Chain(()))
    copies: float = 1.0
    teacher: FolderSource | RecordSource | ShardsSource | None = None


@dataclass(frozen=True)
class UnrecognizableConfig:
    """Unrecognizable faces (UIs), made from training pictures by severe degradation.

    Attributes:
        source: pictures to destroy.
        degradation: how.
        count: how many; centre, mean and deviation are measured on all of them.
        seed: of choice and degradation.
    """

    source: Source
    degradation: DegradationRange = UNRECOGNIZABLE
    count: int = 512
    seed: int = 0


@dataclass(frozen=True)
class FoundConfig:
    """Unrecognizable faces (UIs) as they are: those that `vlrface unrecognizable find` found in a pool.

    Attributes:
        pool: folder of the pictures, relative to the data folder.
        list: the `unrecognizable.csv` that was written of it, relative to the data folder; all it lists are taken, but
            for files that are pictures of held-out people in a source of the recipe.
    """

    pool: str
    list: str


@dataclass(frozen=True)
class ValidationConfig:
    """Held-out training identities: their crops are never trained on; checkpoint and calibration are chosen by them.

    Attributes:
        source: crops as the test has them; must be the source of a part.
        identities: how many people to hold out of every part.
        seed: of their choice.
    """

    source: Source
    identities: int
    seed: int = 0


@dataclass(frozen=True)
class ViewsConfig:
    """Augmented views of each crop that are taken through the frozen first steps of the trunk once, and kept.

    Attributes:
        count: views of each crop; an epoch draws one of them for each sample.
        seed: of the views; the same for runs of other seeds, which then share them.
    """

    count: int
    seed: int = 0


@dataclass(frozen=True)
class DataConfig:
    """What is trained and validated on.

    Attributes:
        parts: training crops.
        validation: held-out people.
        unrecognizable: unrecognizable faces, of all these together; empty for none.
        views: kept views in place of new augmentation in each epoch; needs `model.frozen_steps`, and makes training
            many times as fast.
        shuffle: of each epoch; see there. "full" without a record or shards source makes the order of an epoch as a
            whole; with one, or by "block", it is computed as needed, and so is another one.
    """

    parts: tuple[PartConfig, ...]
    validation: ValidationConfig
    unrecognizable: tuple[UnrecognizableConfig | FoundConfig, ...] = ()
    views: ViewsConfig | None = None
    shuffle: Shuffle = field(default_factory=Shuffle)

    def __post_init__(self) -> None:
        if not isinstance(self.unrecognizable, tuple):  # pyright: ignore[reportUnnecessaryIsInstance] (recipes)
            raise VlrfaceError(
                "data.unrecognizable is a tuple: write (UnrecognizableConfig(...),) with a comma, or () for none"
            )


@dataclass(frozen=True)
class Experiment:
    """One experiment, fully resolved: with the same data, the same machine and this value the result is the same.

    Attributes:
        name: of the run; default folder is `runs/<name>`.
        seed: of initial prototypes, batches, augmentation and dropout.
        teacher: trunk, with its weights, that gives the teacher embeddings; None without distillation.
    """

    name: str
    model: ModelConfig
    data: DataConfig
    head: HeadConfig
    objective: ObjectiveConfig
    training: TrainingOptions
    teacher: BackboneConfig | None = None
    seed: int = 0


Made = TypeVar("Made")


def load_recipe(path: Path) -> Experiment:
    """Run a recipe file and take its `experiment`.

    Raises:
        VlrfaceError: there is no such file, it fails, or it makes no `Experiment` named `experiment`.
    """
    return made_by_recipe(path, "experiment", Experiment)


def made_by_recipe(path: Path, name: str, kind: type[Made]) -> Made:
    """Run a recipe file and take what it calls `name`.

    Raises:
        VlrfaceError: there is no such file, it fails, or it makes no `kind` of that name.
    """
    if not path.is_file():
        raise VlrfaceError(f"{path}: no such recipe. The shipped ones are in recipes/")
    try:
        found = runpy.run_path(str(path)).get(name)
    except VlrfaceError as error:
        raise VlrfaceError(f"{path}: {error}") from error
    except Exception as error:
        lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == str(path)]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        raise VlrfaceError(f"{where}: {type(error).__name__}: {error}") from error
    if not isinstance(found, kind):
        raise VlrfaceError(f"{path}: a recipe must define `{name} = {kind.__name__}(...)`")
    return found


def to_json(config: Any) -> Any:
    """A configuration as JSON values; a dataclass keeps its name under "kind"."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        values = {f.name: to_json(getattr(config, f.name)) for f in dataclasses.fields(config)}
        return {"kind": type(config).__name__, **values}
    if isinstance(config, Enum):
        return config.value
    if isinstance(config, tuple | list):
        return [to_json(each) for each in config]
    return config


def model_from_json(values: dict[str, Any]) -> ModelConfig:
    """The network's part of what `to_json` gave.

    Raises:
        VlrfaceError: an unknown kind or field, as a checkpoint of a later version may have.
    """
    kinds: dict[str, type[Any]] = {c.__name__: c for c in get_args(BackboneConfig)}

    def build(kind: type[Any], fields: dict[str, Any]) -> Any:
        try:
            return kind(**{k: v for k, v in fields.items() if k != "kind"})
        except TypeError as error:
            raise VlrfaceError(f"the checkpoint's {kind.__name__} does not fit this version: {error}") from error

    backbone = values["backbone"]
    if backbone["kind"] not in kinds:
        raise VlrfaceError(f"the checkpoint's backbone {backbone['kind']!r} is not known to this version of vlrface")
    parts = {"backbone": build(kinds[backbone["kind"]], backbone), "framing": build(Framing, values["framing"])}
    if values.get("lora") is not None:
        parts["lora"] = build(LoraConfig, values["lora"])
    return build(ModelConfig, {**values, **parts})
