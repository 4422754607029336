"""What a teacher says of sharp pictures: targets of distillation, and first prototypes."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from vlrface.checkpoint import fingerprint
from vlrface.data.batches import Part
from vlrface.data.manifest import Manifest
from vlrface.encode import encode_crops
from vlrface.experiment.config import Experiment, PartConfig
from vlrface.experiment.network import build_backbone
from vlrface.experiment.sources import Places, load_source
from vlrface.files import written_atomically
from vlrface.models.recognizer import Recognizer
from vlrface.train.device import chosen_device
from vlrface.train.precision import autocast
from vlrface.types import VlrfaceError


def teacher_embeddings(
    experiment: Experiment, part: PartConfig, manifest: Manifest, places: Places
) -> Float[Tensor, "n d"]:
    """The teacher's flip-fused embedding of the aligned picture of the same name, per row of `manifest`.

    Kept in the cache folder, under a name that changes with the teacher's weights and the pictures.

    Raises:
        VlrfaceError: a crop has no aligned picture of its name, or it cannot be decoded.
    """
    assert part.teacher is not None  # the caller asks only then  # noqa: S101
    assert experiment.teacher is not None  # noqa: S101
    folder = places.data / part.teacher.folder
    aligned = load_source(part.teacher, places)
    pictures = aligned.manifest
    position = {name: row for row, name in enumerate(map(str, pictures.sources))}
    missing = [name for name in map(str, manifest.sources) if name not in position]
    if missing:
        raise VlrfaceError(f"{folder}: no aligned picture for {len(missing)} crops, first {missing[0]}")
    rows = np.array([position[name] for name in map(str, manifest.sources)])
    broken = rows[aligned.crops.failures[rows] != ""]
    if len(broken):
        raise VlrfaceError(
            f"{folder}: {len(broken)} aligned pictures cannot be decoded, first {aligned.crops.failures[broken[0]]}. "
            "Repair them, or take their crops away"
        )
    device = chosen_device(experiment.training.device)
    teacher = Recognizer(build_backbone(experiment.teacher, places.data)).eval().to(device)
    # Weights alone do not say in which order of colours, or with which constants, a network takes them.
    network = f"{fingerprint(teacher.state_dict())} {replace(experiment.teacher, weights=None)}"
    key = hashlib.sha256(f"{network} {pictures.fingerprint()} 2".encode()).hexdigest()[:24]
    path = places.cache / f"teacher-{key}.npy"
    embeddings = _cached(path, len(pictures), teacher.embedding_dim)
    if embeddings is None:
        # Where there is bfloat16, it moves a target by less than 0.001 in cosine, and takes a third of the time.
        with autocast("auto", device):
            embeddings = encode_crops(teacher, aligned.crops, pictures, flip=True, progress=places.progress).embeddings
        with written_atomically(path) as temporary, temporary.open("wb") as file:
            np.save(file, embeddings)
    return torch.from_numpy(embeddings[rows])


def _cached(path: Path, count: int, dim: int) -> Float[ndarray, "n d"] | None:
    try:
        embeddings = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return embeddings if embeddings.shape == (count, dim) else None


def class_means(
    classes: int, dim: int, parts: Sequence[Part], teachers: Sequence[Tensor | None]
) -> Float[Tensor, "k d"]:
    """Mean of the teacher's normalised embeddings of each class."""
    sums = torch.zeros(classes, dim)
    for part, teacher in zip(parts, teachers, strict=True):
        if teacher is not None:
            if teacher.shape[1] != dim:
                raise VlrfaceError(
                    f"the teacher's embeddings have {teacher.shape[1]} values, the network's {dim}: take a teacher of "
                    "the same length, or set head.from_teacher=false and objective.weights.distillation=0"
                )
            sums.index_add_(0, torch.from_numpy(part.labels), torch.nn.functional.normalize(teacher))
    missing = int((sums == 0).all(dim=1).sum())
    if missing:
        raise VlrfaceError(
            f"head.from_teacher needs a teacher's picture of every class, {missing} of {classes} have none: "
            "give the parts a `teacher` and the experiment a `teacher` trunk, or set head.from_teacher=false"
        )
    return sums
