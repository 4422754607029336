"""From an experiment's configuration to the built objects that training takes."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from torch import Tensor

from vlrface.calibrate import calibrate, described
from vlrface.data.batches import Batches, BatchSource, Part
from vlrface.data.cache import Crops
from vlrface.data.manifest import Manifest
from vlrface.data.views import ViewBatches
from vlrface.encode import encode_crops
from vlrface.experiment.check import check, predicts
from vlrface.experiment.config import Experiment, FoundConfig, Source
from vlrface.experiment.heads import build_head
from vlrface.experiment.network import build_recognizer
from vlrface.experiment.parts import shuffle_of, training_part
from vlrface.experiment.source_config import place_of
from vlrface.experiment.sources import (
    Loaded,
    Places,
    held_people,
    load_source,
    load_statistics,
    unrecognizable_inputs,
)
from vlrface.experiment.teacher import class_means, teacher_embeddings
from vlrface.experiment.views import frozen_maps, kept_views
from vlrface.losses.objective import MethodObjective
from vlrface.losses.recognizability import UnrecognizableStatistics
from vlrface.metrics.correlation import spearman
from vlrface.metrics.identification import leave_one_out_ranks, mean_average_precision, rank_k
from vlrface.models.recognizer import Recognizer
from vlrface.ranks import current
from vlrface.train import Ingredients, Validation
from vlrface.train.device import chosen_device
from vlrface.types import VlrfaceError


@dataclass(frozen=True, eq=False)
class Built:
    """What `vlrface.train.train` takes.

    Attributes:
        ingredients: the objects of the run.
        data_fingerprint: changes with the pictures, with who is trained on and with what a teacher says; a resumed run
            must have the same.
    """

    ingredients: Ingredients
    data_fingerprint: str


def build(experiment: Experiment, places: Places) -> Built:
    """Everything that training needs.

    Raises:
        VlrfaceError: settings contradict each other, or the data lack what they ask for.
    """
    check(experiment)
    config = experiment.data
    side = experiment.model.backbone.size
    loaded = {source: load_source(source, places) for source in _sources(experiment)}
    people = held_and_trained(experiment, loaded)
    parts: list[Part] = []
    teachers: list[Tensor | None] = []
    pictures: list[str] = []
    lessons: list[str] = []
    for part in config.parts:
        source = loaded[part.source]
        source = source.rows(source.usable(people.trained))
        pictures.append(source.manifest.fingerprint())
        parts.append(training_part(part, source, people.trained, places))
        taught = part.teacher is not None and experiment.teacher is not None
        said = teacher_embeddings(experiment, part, source, places) if taught else None
        teachers.append(None if said is None else said.embeddings)
        if said is not None:
            lessons.append(said.key)
    options = experiment.training
    # Here already: frozen steps may have much to do before training begins.
    recognizer = build_recognizer(experiment.model, places.data, experiment.seed).to(chosen_device(options.device))
    batches: BatchSource
    if config.views is None:
        drawn, shuffle = options.augment_on == "device", shuffle_of(config.shuffle, parts)
        seed, workers = experiment.seed, options.workers
        batches = Batches(parts, options.batch_size, side, side, seed, workers, current(), drawn=drawn, shuffle=shuffle)
    else:
        views = [
            kept_views(part, recognizer, config.views, name, places, workers=options.workers)
            for part, name in zip(parts, pictures, strict=True)
        ]
        batches = ViewBatches(views, options.batch_size, experiment.seed, current())
    unrecognizable = unrecognizable_inputs(config.unrecognizable, loaded, people.trained, recognizer)
    validated = loaded[config.validation.source]
    validated = validated.rows(validated.usable(people.held))
    ingredients = Ingredients(
        recognizer=recognizer,
        objective=_objective(experiment, places, recognizer.embedding_dim, len(people.trained), parts, teachers),
        batches=batches,
        teachers=tuple(teachers),
        unrecognizable=_measured_inputs(recognizer, unrecognizable),
        validate=validator(
            *validated.decoded(places), unrecognizable, predicts(experiment), place_of(config.validation.source)
        ),
    )
    return Built(ingredients, _data_fingerprint(loaded.values(), people, lessons))


def _measured_inputs(recognizer: Recognizer, crops: UInt8[Tensor, "m h w 3"] | None) -> Tensor | None:
    """What is passed through the network whenever the unrecognizable faces are measured."""
    return crops if crops is None or recognizer.frozen_steps == 0 else frozen_maps(recognizer.eval(), crops)


def _data_fingerprint(loaded: Iterable[Loaded], people: "People", lessons: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for source in loaded:
        digest.update(source.manifest.fingerprint().encode())
    names = [*people.trained.tolist(), "held out", *people.held.tolist(), *lessons]
    digest.update("\n".join(names).encode("utf-8", "surrogateescape"))  # the name of a folder may be any bytes
    return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class People:
    """Who is held out, and who is trained on; both sorted, nobody in both."""

    held: ndarray
    trained: ndarray


def held_and_trained(experiment: Experiment, loaded: Mapping[Source | FoundConfig, Loaded]) -> People:
    """Hold people out of the validation source, and so out of every part.

    Raises:
        VlrfaceError: fewer than two people are left.
    """
    config = experiment.data
    source = loaded[config.validation.source]
    held = held_people(source, config.validation)
    trained = np.setdiff1d(np.concatenate([loaded[part.source].everybody() for part in config.parts]), held)
    if len(trained) < 2:
        raise VlrfaceError(f"{len(trained)} people are left to train on: lower data.validation.identities")
    return People(held, trained)


def _objective(
    experiment: Experiment,
    places: Places,
    dim: int,
    classes: int,
    parts: Sequence[Part],
    teachers: Sequence[Tensor | None],
) -> MethodObjective:
    head = build_head(experiment.head, dim, classes, experiment.seed)
    if experiment.head.from_teacher:
        head.initialise(class_means(classes, dim, parts, teachers))
    objective = experiment.objective
    return MethodObjective(
        head,
        objective.weights,
        target=objective.target,
        epsilon=objective.epsilon,
        tau=objective.tau,
        deviation_floor=objective.deviation_floor,
        projected=objective.projected,
        positive=objective.positive,
        emphasis=objective.emphasis,
        distillation_emphasis=objective.distillation_emphasis,
        teacher_dim=next((t.shape[1] for t in teachers if t is not None), None) if objective.teacher_map else None,
        statistics=None if objective.statistics is None else load_statistics(places.data / objective.statistics),
    )


def _sources(experiment: Experiment) -> list[Source | FoundConfig]:
    config = experiment.data
    sources: list[Source | FoundConfig] = [part.source for part in config.parts]
    sources += [each if isinstance(each, FoundConfig) else each.source for each in config.unrecognizable]
    return list(dict.fromkeys(sources))


def validator(
    manifest: Manifest,
    crops: Crops,
    unrecognizable: UInt8[Tensor, "m h w 3"] | None,
    predicts: bool,
    place: str | None = None,
) -> Callable[[Recognizer, UnrecognizableStatistics | None], Validation]:
    """Leave-one-out retrieval among the held-out crops, and the calibration that follows from it.

    Args:
        manifest: of the people who are held out.
        crops: their crops, of which broken ones are left out.
        unrecognizable: inputs of unrecognizable faces, for the calibration.
        predicts: whether the recognizability index is trained; otherwise nothing is calibrated.
        place: where the crops are from, for people; None for built-in faces.

    Raises:
        VlrfaceError: nobody has two crops that can be decoded.
    """
    good = np.flatnonzero(crops.failures == "")
    manifest, crops = manifest.rows(good), crops.rows(good)
    if not (np.unique(manifest.identities, return_counts=True)[1] > 1).any():
        raise VlrfaceError(
            "no held-out person has two pictures that can be decoded, so that nobody could be found again: repair "
            "them, or raise data.validation.identities"
        )

    def validate(recognizer: Recognizer, statistics: UnrecognizableStatistics | None) -> Validation:
        del statistics  # of single crops in training precision; faces in use are flip-fused, so they are measured so
        faces = encode_crops(recognizer, crops, manifest, flip=True)
        ranks = leave_one_out_ranks(faces.embeddings, faces.identities)
        found = ranks.rows(ranks.mates > 0)
        precision = mean_average_precision(found)
        figures = {"rank1": rank_k(found, 1), "mAP": precision}
        card: dict[str, Any] = {}
        if predicts and unrecognizable is not None:
            _, lost = recognizer.embed_crops(unrecognizable.numpy(), flip=True)
            calibration = calibrate(
                faces, unrecognizable_mean=float(lost.mean()), unrecognizable_deviation=float(lost.std())
            )
            card["calibration"] = replace(calibration, data=described(faces, place or "drawn by the program")).to_json()
            index = faces.recognizability.astype(np.float64)
            figures["index~size"] = spearman(index, faces.sizes.astype(np.float64))
            figures["index~found"] = spearman(index, (ranks.first_mate == 1).astype(np.float64))
        return Validation(figures, precision, card)

    return validate
