"""From an experiment's configuration to the built objects that training takes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor

from vlrface.calibrate import calibrate
from vlrface.data.batches import Batches, Part
from vlrface.data.cache import Crops
from vlrface.data.manifest import Manifest, hold_out
from vlrface.encode import encode_crops
from vlrface.experiment.config import Experiment, PartConfig, Source
from vlrface.experiment.network import build_recognizer
from vlrface.experiment.sources import Places, load_source, unrecognizable_inputs
from vlrface.experiment.teacher import class_means, teacher_embeddings
from vlrface.losses.heads import ArcFace
from vlrface.losses.objective import MethodObjective
from vlrface.losses.recognizability import UnrecognizableStatistics
from vlrface.metrics.correlation import spearman
from vlrface.metrics.identification import leave_one_out_ranks, mean_average_precision, rank_k
from vlrface.models.recognizer import Recognizer
from vlrface.train import Ingredients, Validation
from vlrface.types import VlrfaceError


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
        teachers.append(_taught(experiment, part, manifest.rows(rows), places))
    options = experiment.training
    batches = Batches(parts, options.batch_size, side, side, seed=experiment.seed, workers=options.workers)
    recognizer = build_recognizer(experiment.model, places.data, experiment.seed)
    return Ingredients(
        recognizer=recognizer,
        objective=_objective(experiment, recognizer.embedding_dim, len(trained_identities), parts, teachers),
        batches=batches,
        teachers=tuple(teachers),
        unrecognizable=unrecognizable_inputs(config.unrecognizable, held_identities, loaded, recognizer),
        validate=_validator(*loaded[config.validation.source], held_identities),
    )


def _taught(experiment: Experiment, part: PartConfig, manifest: Manifest, places: Places) -> Tensor | None:
    if part.teacher is None or experiment.teacher is None:
        return None
    return teacher_embeddings(experiment.teacher, part.teacher, manifest, places)


def _objective(
    experiment: Experiment, dim: int, classes: int, parts: Sequence[Part], teachers: Sequence[Tensor | None]
) -> MethodObjective:
    config = experiment.head
    head = ArcFace(dim, classes, config.scale, config.margin_rad, gradient=config.gradient, seed=experiment.seed)
    if config.from_teacher:
        head.initialise(class_means(classes, dim, parts, teachers))
    objective = experiment.objective
    return MethodObjective(
        head,
        objective.weights,
        target=objective.target,
        epsilon=objective.epsilon,
        tau=objective.tau,
        deviation_floor=objective.deviation_floor,
    )


def _sources(experiment: Experiment) -> list[Source]:
    config = experiment.data
    sources: list[Source] = [part.source for part in config.parts]
    if config.validation.source not in sources:
        raise VlrfaceError("data.validation.source must be the source of a part: its identities are held out there")
    if config.unrecognizable is not None:
        sources.append(config.unrecognizable.source)
    return list(dict.fromkeys(sources))


def _validator(
    manifest: Manifest, crops: Crops, held: Int[ndarray, " i"]
) -> Callable[[Recognizer, UnrecognizableStatistics | None], Validation]:
    """Leave-one-out retrieval among the held-out crops, and the calibration that follows from it."""
    rows = np.flatnonzero(np.isin(manifest.identities, held) & (crops.failures == ""))
    manifest, crops = manifest.rows(rows), crops.rows(rows)

    def validate(recognizer: Recognizer, statistics: UnrecognizableStatistics | None) -> Validation:
        faces = encode_crops(recognizer, crops, manifest, flip=True)
        ranks = leave_one_out_ranks(faces.embeddings, faces.identities)
        found = ranks.rows(ranks.mates > 0)
        precision = mean_average_precision(found)
        figures = {"rank1": rank_k(found, 1), "mAP": precision}
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
