"""The typed, frozen configuration of an experiment. A recipe is one Python file that makes one `Experiment`."""

import dataclasses
import json
import runpy
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from vlrface.experiment.heads import AdaFaceConfig as AdaFaceConfig
from vlrface.experiment.heads import ArcFaceConfig as ArcFaceConfig
from vlrface.experiment.heads import CosFaceConfig as CosFaceConfig
from vlrface.experiment.heads import CrossEntropyConfig as CrossEntropyConfig
from vlrface.experiment.heads import CurricularFaceConfig as CurricularFaceConfig
from vlrface.experiment.heads import HeadConfig as HeadConfig
from vlrface.experiment.heads import MagFaceConfig as MagFaceConfig
from vlrface.experiment.heads import MVSoftmaxConfig as MVSoftmaxConfig
from vlrface.experiment.heads import NormFaceConfig as NormFaceConfig
from vlrface.images.augment import Chain
from vlrface.images.degrade import UNRECOGNIZABLE, DegradationRange
from vlrface.images.framing import Framing
from vlrface.losses.objective import ObjectiveWeights
from vlrface.losses.recognizability import RITarget
from vlrface.train import TrainingOptions
from vlrface.types import VlrfaceError


@dataclass(frozen=True)
class MobileFaceNetConfig:
    """MobileFaceNet, 128-d, 1.0 M parameters.

    Attributes:
        size: side of the square input in pixels.
        weights: MS1M weights (.safetensors) to start from, relative to the data folder; None starts from scratch.
    """

    size: int = 112
    weights: str | None = None


@dataclass(frozen=True)
class IResNetConfig:
    """IResNet, 512-d.

    Attributes:
        depth: 18, 34, 50 or 100.
        size: side of the square input in pixels.
        weights: state dict of arcface_torch to start from, relative to the data folder; None starts from scratch.
    """

    depth: Literal[18, 34, 50, 100] = 18
    size: int = 112
    weights: str | None = None


BackboneConfig = MobileFaceNetConfig | IResNetConfig


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
        backbone: the trunk.
        framing: which window of a crop the network sees.
        regression: predict recognizability (PRM).
        attention: attend to features (PAM).
        dropout: before the regression, in [0, 1).
        serve: which embedding serves: "plain" (v) or "attended" (v_attn).
    """

    backbone: BackboneConfig
    framing: Framing = field(default_factory=Framing)
    regression: bool = True
    attention: bool = True
    dropout: float = 0.2
    serve: Literal["plain", "attended"] = "plain"

    def __post_init__(self) -> None:
        if self.serve not in ("plain", "attended"):
            raise VlrfaceError(f"model.serve is {self.serve!r}: give plain or attended")


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised; see `vlrface.losses.objective.MethodObjective`.

    Attributes:
        weights: of the named parts.
        target: form of the recognizability index.
        epsilon: of the index.
        tau: of index diversion, in deviations.
        deviation_floor: lower bound of the deviation of the unrecognizable faces.
    """

    weights: ObjectiveWeights = field(default_factory=ObjectiveWeights)
    target: RITarget = "ratio"
    epsilon: float = 1e-3
    tau: float = 3.0
    deviation_floor: float = 0.1


@dataclass(frozen=True)
class FolderSource:
    """Identity folders `<id>/*.jpg`, relative to the data folder. Equal folder names in two sources are one person."""

    folder: str


@dataclass(frozen=True)
class ProceduralSource:
    """Built-in faces; with `degradation` the small crops that a far camera gives of them.

    Attributes:
        identities: how many people.
        per_identity: pictures of each.
        first_identity: number of the first; sources with disjoint numbers share nobody.
        degradation: None for clean pictures.
        seed: of faces and degradation.
    """

    identities: int
    per_identity: int
    first_identity: int = 0
    degradation: DegradationRange | None = None
    seed: int = 0


Source = FolderSource | ProceduralSource


@dataclass(frozen=True)
class PartConfig:
    """Training crops of one source.

    Attributes:
        source: where they come from.
        transform: random changes, seeded per sample.
        copies: how often each crop is drawn per epoch; 0.5 draws a random half.
        teacher: aligned high-resolution pictures of the same names, whose embedding by the teacher the network is to
            reproduce; None for no distillation from this part.
    """

    source: Source
    transform: Chain = field(default_factory=lambda: Chain(()))
    copies: float = 1.0
    teacher: FolderSource | None = None


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
class DataConfig:
    """What is trained and validated on."""

    parts: tuple[PartConfig, ...]
    validation: ValidationConfig
    unrecognizable: UnrecognizableConfig | None = None


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


def load_recipe(path: Path) -> Experiment:
    """Run a recipe file and take its `experiment`.

    Raises:
        VlrfaceError: there is no such file, it fails, or it makes no `Experiment` named `experiment`.
    """
    if not path.is_file():
        raise VlrfaceError(f"{path}: no such recipe. The shipped ones are in recipes/")
    try:
        found = runpy.run_path(str(path)).get("experiment")
    except VlrfaceError as error:
        raise VlrfaceError(f"{path}: {error}") from error
    except Exception as error:
        lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == str(path)]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        raise VlrfaceError(f"{where}: {type(error).__name__}: {error}") from error
    if not isinstance(found, Experiment):
        raise VlrfaceError(f"{path}: a recipe must define `experiment = Experiment(...)`")
    return found


T = TypeVar("T")


def override(config: T, assignments: Sequence[str]) -> T:
    """Replace fields by "dotted.name=value", for example `training.epochs=3`; values are JSON, or bare words.

    Raises:
        VlrfaceError: a name that does not exist, or a value of another type than the present one.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise VlrfaceError(f"--set {assignment!r}: write NAME=VALUE, e.g. --set training.epochs=3")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        config = _replaced(config, name.split("."), value, name)
    return config


def _replaced(config: Any, names: list[str], value: Any, whole: str) -> Any:
    known = [f.name for f in dataclasses.fields(config)] if dataclasses.is_dataclass(config) else []
    if names[0] not in known:
        raise VlrfaceError(f"--set {whole}: no field {names[0]!r}; there is {', '.join(known) or 'nothing below it'}")
    if len(names) > 1:
        new = _replaced(getattr(config, names[0]), names[1:], value, whole)
    else:
        hint = get_type_hints(type(config))[names[0]]
        if not _fits(value, hint):
            raise VlrfaceError(f"--set {whole}: {value!r} is not {_named(hint)}")
        new = tuple(cast("list[Any]", value)) if isinstance(value, list) else value
        if type(new) is int and not _fits(new, hint, exact=True):
            new = float(new)
    return dataclasses.replace(cast("Any", config), **{names[0]: new})


def _fits(value: Any, hint: Any, *, exact: bool = False) -> bool:
    """Whether a JSON value may stand where `hint` is declared; a whole number may stand for a float unless `exact`."""
    origin = get_origin(hint)
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, each, exact=exact) for each in get_args(hint))
    if origin is tuple:
        return isinstance(value, list) and all(_fits(each, get_args(hint)[0]) for each in cast("list[Any]", value))
    if hint is float and not exact:
        return type(value) in (int, float)
    return type(value) is hint


def _named(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    return hint.__name__ if isinstance(hint, type) else str(hint)


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
    kinds: dict[str, type[Any]] = {c.__name__: c for c in (MobileFaceNetConfig, IResNetConfig)}

    def build(kind: type[Any], fields: dict[str, Any]) -> Any:
        try:
            return kind(**{k: v for k, v in fields.items() if k != "kind"})
        except TypeError as error:
            raise VlrfaceError(f"the checkpoint's {kind.__name__} does not fit this version: {error}") from error

    backbone = values["backbone"]
    if backbone["kind"] not in kinds:
        raise VlrfaceError(f"the checkpoint's backbone {backbone['kind']!r} is not known to this version of vlrface")
    parts = {"backbone": build(kinds[backbone["kind"]], backbone), "framing": build(Framing, values["framing"])}
    return build(ModelConfig, {**values, **parts})
