"""From configuration to built objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from vlrface.calibrate import Calibration, calibrate
from vlrface.checkpoint import Checkpoint
from vlrface.data.batches import Batches, Part
from vlrface.data.cache import Crops, cached_crops, crops_in_memory
from vlrface.data.folder import read_identity_folder
from vlrface.data.manifest import Manifest, hold_out
from vlrface.encode import encode_crops
from vlrface.experiment.config import (
    BackboneConfig,
    Experiment,
    FolderSource,
    MobileFaceNetConfig,
    ModelConfig,
    Source,
    UnrecognizableConfig,
    model_from_json,
)
from vlrface.images.degrade import degrade
from vlrface.images.procedural import procedural_faces
from vlrface.losses.heads import ArcFace
from vlrface.losses.objective import MethodObjective
from vlrface.losses.recognizability import UnrecognizableStatistics
from vlrface.metrics.correlation import spearman
from vlrface.metrics.identification import leave_one_out_ranks, mean_average_precision, rank_k
from vlrface.models.attention import PerceptibilityAttention
from vlrface.models.backbone import Backbone, InputSpec
from vlrface.models.iresnet import iresnet
from vlrface.models.mobilefacenet import MS1M, MobileFaceNet, mobilefacenet_input
from vlrface.models.pretrained import load_arcface_torch, load_mobilefacenet_ms1m
from vlrface.models.recognizability import PerceptibilityRegression
from vlrface.models.recognizer import Recognizer
from vlrface.train import Ingredients, Validation
from vlrface.types import VlrfaceError


@dataclass(frozen=True, eq=False)
class Places:
    """Where an experiment finds and leaves things.

    Attributes:
        data: folder to which every path of a configuration is relative.
        cache: folder for decoded crops.
        progress: show progress bars.
    """

    data: Path
    cache: Path
    progress: bool = True


def build_backbone(config: BackboneConfig, data: Path | None, seed: int = 0) -> Backbone:
    """The trunk, with its starting weights if `data` is given."""
    weights = data / config.weights if data is not None and config.weights is not None else None
    if isinstance(config, MobileFaceNetConfig):
        if weights is not None:
            return load_mobilefacenet_ms1m(weights, size=config.size)
        return MobileFaceNet(mobilefacenet_input(config.size, config.size), variant=MS1M, seed=seed)
    if weights is not None:
        return load_arcface_torch(weights, config.depth, size=config.size)
    return iresnet(config.depth, InputSpec(config.size, config.size), seed=seed)


def build_recognizer(config: ModelConfig, data: Path | None, seed: int = 0) -> Recognizer:
    """The network; `data` None skips starting weights, as loading a checkpoint wants it."""
    backbone = build_backbone(config.backbone, data, seed)
    shape = backbone.feature_shape
    return Recognizer(
        backbone,
        PerceptibilityRegression(shape, dropout=config.dropout, seed=seed) if config.regression else None,
        PerceptibilityAttention(shape[0], seed=seed) if config.attention else None,
        serve=config.serve,
        framing=config.framing,
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
        return {**kept, "experiment": self.card["config"]["name"], "seed": self.card["config"]["seed"]}


def load_trained(path: Path) -> Trained:
    """Read a checkpoint of `vlrface train` (a run's folder stands for its best).

    Raises:
        VlrfaceError: missing or damaged file, or weights that do not fit the configuration beside them.
    """
    if path.is_dir():
        path = path / "best.safetensors"
    checkpoint = Checkpoint.load(path)
    config = model_from_json(checkpoint.card["config"]["model"])
    recognizer = build_recognizer(config, None)
    try:
        recognizer.load_state_dict(checkpoint.group("recognizer"))
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


def load_source(source: Source, places: Places) -> tuple[Manifest, Crops]:
    """Decoded crops of a source, with who is on them."""
    if isinstance(source, FolderSource):
        manifest = read_identity_folder(places.data / source.folder)
        return manifest, cached_crops(manifest, places.cache, progress=places.progress)
    faces = procedural_faces(
        source.identities,
        source.per_identity,
        size=112,
        seed=source.seed,
        first_identity=source.first_identity,
    )
    truths = dict(faces.truths)
    pictures: Sequence[UInt8[ndarray, "h w 3"]] = list(faces.images)
    if source.degradation is not None:
        drawn = [
            source.degradation.draw(np.random.default_rng([source.seed, source.first_identity, i]))
            for i in range(len(pictures))
        ]
        pictures = [degrade(picture, each) for picture, each in zip(pictures, drawn, strict=True)]
        truths["severity"] = np.array([each.severity for each in drawn], np.float64)
    manifest = Manifest(
        sources=np.array([f"#{i}" for i in range(len(pictures))]),
        identities=faces.identities.astype(np.int64),
        splits=np.full(len(pictures), "train"),
        truths=truths,
        root=None,
    )
    return manifest, crops_in_memory(pictures)


def build(experiment: Experiment, places: Places) -> Ingredients:
    """Everything that `vlrface.train.train` needs."""
    config = experiment.data
    side = experiment.model.backbone.size
    loaded = {source: load_source(source, places) for source in _sources(experiment)}
    held_manifest, _ = loaded[config.validation.source]
    _, held = hold_out(held_manifest, config.validation.identities, seed=config.validation.seed)
    held_identities = np.unique(held.identities)
    trained_identities = np.setdiff1d(
        np.unique(np.concatenate([loaded[part.source][0].identities for part in config.parts])), held_identities
    )
    parts: list[Part] = []
    teachers: list[Tensor | None] = []
    for part in config.parts:
        manifest, crops = loaded[part.source]
        rows = np.flatnonzero(np.isin(manifest.identities, trained_identities) & (crops.failures == ""))
        labels = np.searchsorted(trained_identities, manifest.identities[rows])
        parts.append(Part(crops.rows(rows), labels.astype(np.int64), part.transform, copies=part.copies))
        teachers.append(_teacher_embeddings(experiment, part.teacher, manifest.rows(rows), places))
    options = experiment.training
    batches = Batches(parts, options.batch_size, side, side, seed=experiment.seed, workers=options.workers)
    recognizer = build_recognizer(experiment.model, places.data, experiment.seed)
    return Ingredients(
        recognizer=recognizer,
        objective=_objective(experiment, recognizer.embedding_dim, len(trained_identities), parts, teachers),
        batches=batches,
        teachers=tuple(teachers),
        unrecognizable=_unrecognizable(config.unrecognizable, held_identities, loaded, recognizer),
        validate=_validator(*loaded[config.validation.source], held_identities),
    )


def _objective(
    experiment: Experiment, dim: int, classes: int, parts: Sequence[Part], teachers: Sequence[Tensor | None]
) -> MethodObjective:
    config = experiment.head
    head = ArcFace(dim, classes, config.scale, config.margin_rad, gradient=config.gradient, seed=experiment.seed)
    if config.from_teacher:
        head.initialise(_class_means(classes, dim, parts, teachers))
    objective = experiment.objective
    return MethodObjective(
        head,
        objective.weights,
        target=objective.target,
        epsilon=objective.epsilon,
        tau=objective.tau,
        deviation_floor=objective.deviation_floor,
    )


def _class_means(
    classes: int, dim: int, parts: Sequence[Part], teachers: Sequence[Tensor | None]
) -> Float[Tensor, "k d"]:
    """Mean of the teacher's normalised embeddings of each class."""
    sums = torch.zeros(classes, dim)
    for part, teacher in zip(parts, teachers, strict=True):
        if teacher is not None:
            sums.index_add_(0, torch.from_numpy(part.labels), torch.nn.functional.normalize(teacher))
    missing = int((sums == 0).all(dim=1).sum())
    if missing:
        raise VlrfaceError(
            f"head.from_teacher needs a teacher's picture of every class, {missing} of {classes} have none: "
            "give the parts a `teacher` and the experiment a `teacher` trunk, or set head.from_teacher=false"
        )
    return sums


def _sources(experiment: Experiment) -> list[Source]:
    config = experiment.data
    sources: list[Source] = [part.source for part in config.parts]
    if config.validation.source not in sources:
        raise VlrfaceError("data.validation.source must be the source of a part: its identities are held out there")
    if config.unrecognizable is not None:
        sources.append(config.unrecognizable.source)
    return list(dict.fromkeys(sources))


def _unrecognizable(
    config: UnrecognizableConfig | None,
    held: Int[ndarray, " i"],
    loaded: dict[Source, tuple[Manifest, Crops]],
    recognizer: Recognizer,
) -> UInt8[Tensor, "m h w 3"] | None:
    if config is None:
        return None
    manifest, crops = loaded[config.source]
    rows = np.flatnonzero(~np.isin(manifest.identities, held) & (crops.failures == ""))
    chosen = np.random.default_rng(config.seed).choice(rows, config.count, replace=config.count > len(rows))
    pictures = make_unrecognizable([crops[row] for row in chosen], config)
    return torch.from_numpy(np.stack([recognizer.prepare(picture) for picture in pictures]))


def make_unrecognizable(
    pictures: Sequence[UInt8[ndarray, "h w 3"]], config: UnrecognizableConfig
) -> list[UInt8[ndarray, "_ _ 3"]]:
    """Destroy pictures by the severe degradation of `config`, seeded per picture."""
    return [
        degrade(np.ascontiguousarray(picture), config.degradation.draw(np.random.default_rng([config.seed, i])))
        for i, picture in enumerate(pictures)
    ]


def _teacher_embeddings(
    experiment: Experiment, source: FolderSource | None, manifest: Manifest, places: Places
) -> Float[Tensor, "n d"] | None:
    """The teacher's flip-fused embedding of the aligned picture of the same name, per row of `manifest`."""
    if source is None or experiment.teacher is None:
        return None
    pictures, crops = load_source(source, places)
    position = {name: row for row, name in enumerate(map(str, pictures.sources))}
    missing = [name for name in map(str, manifest.sources) if name not in position]
    if missing:
        raise VlrfaceError(
            f"{places.data / source.folder}: no aligned picture for {len(missing)} crops, first {missing[0]}"
        )
    backbone = build_backbone(experiment.teacher, places.data)
    teacher = Recognizer(backbone).eval()
    faces = encode_crops(teacher, crops, pictures, flip=True)
    rows = np.array([position[name] for name in map(str, manifest.sources)])
    return torch.from_numpy(faces.embeddings[rows])


def _validator(manifest: Manifest, crops: Crops, held: Int[ndarray, " i"]) -> Any:
    """Leave-one-out retrieval among the held-out crops, and the calibration that follows from it."""
    rows = np.flatnonzero(np.isin(manifest.identities, held) & (crops.failures == ""))
    manifest, crops = manifest.rows(rows), crops.rows(rows)

    def validate(recognizer: Recognizer, statistics: UnrecognizableStatistics | None) -> Validation:
        faces = encode_crops(recognizer, crops, manifest, flip=True)
        ranks = leave_one_out_ranks(faces.embeddings, faces.identities)
        precision = mean_average_precision(ranks)
        figures = {"rank1": rank_k(ranks, 1), "mAP": precision}
        card: dict[str, Any] = {}
        if recognizer.regression is not None and statistics is not None:
            calibration = calibrate(
                faces, unrecognizable_mean=statistics.mean, unrecognizable_deviation=statistics.deviation
            )
            card["calibration"] = calibration.to_json()
            index = faces.recognizability.astype(np.float64)
            figures["index~size"] = spearman(index, faces.sizes.astype(np.float64))
            figures["index~found"] = spearman(index, (ranks.first_mate == 1).astype(np.float64))
        return Validation(figures, precision, card)

    return validate
