"""What a teacher says of sharp pictures: targets of distillation, and first prototypes."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from vlrface.checkpoint import fingerprint
from vlrface.data.batches import Part
from vlrface.data.cache import Crops
from vlrface.data.manifest import Manifest
from vlrface.data.streamed import StreamedCrops
from vlrface.encode import encode, encode_crops
from vlrface.experiment.config import Experiment, PartConfig
from vlrface.experiment.network import build_backbone
from vlrface.experiment.source_config import place_of
from vlrface.experiment.sources import Loaded, Places, load_source
from vlrface.files import written_atomically
from vlrface.models.recognizer import Recognizer
from vlrface.train.device import chosen_device
from vlrface.train.precision import autocast
from vlrface.types import VlrfaceError

_BLOCK: Final = 65_536  # pictures whose embeddings are in memory at once


class Taught(NamedTuple):
    """What a teacher says of a source.

    Attributes:
        embeddings: one for each row.
        key: changes with the teacher's weights and the pictures it sees.
    """

    embeddings: Float[Tensor, "n d"]
    key: str


def teacher_embeddings(experiment: Experiment, part: PartConfig, source: Loaded, places: Places) -> Taught:
    """The teacher's flip-fused embedding of the aligned picture of the same name, per row of `source`.

    Kept in the cache folder, under a name that changes with the teacher's weights and the pictures. For a streamed
    source the result is mapped from there.

    Raises:
        VlrfaceError: a crop has no aligned picture of its name, or it cannot be decoded.
    """
    assert part.teacher is not None  # the caller asks only then  # noqa: S101
    assert experiment.teacher is not None  # noqa: S101
    aligned = load_source(part.teacher, places)
    where = places.data / str(place_of(part.teacher))
    rows = _same_names(_names(source), _names(aligned), f"{where}: no aligned picture")
    if isinstance(aligned.crops, Crops):
        broken = rows[aligned.crops.failures[rows] != ""]
        if len(broken):
            raise VlrfaceError(
                f"{where}: {len(broken)} aligned pictures cannot be decoded, first {aligned.crops.failures[broken[0]]}."
                " Repair them, or take their crops away"
            )
    device = chosen_device(experiment.training.device)
    teacher = Recognizer(build_backbone(experiment.teacher, places.data)).eval().to(device)
    # Weights alone do not say in which order of colours, or with which constants, a network takes them.
    network = f"{fingerprint(teacher.state_dict())} {replace(experiment.teacher, weights=None)}"
    key = hashlib.sha256(f"{network} {aligned.manifest.fingerprint()} 2".encode()).hexdigest()[:24]
    path = places.cache / f"teacher-{key}.npy"
    embeddings = _cached(path, len(aligned.crops), teacher.embedding_dim)
    if embeddings is None:
        with written_atomically(path) as temporary, temporary.open("wb") as file:
            _write(file, teacher, aligned, device, places.progress)
        embeddings = _cached(path, len(aligned.crops), teacher.embedding_dim)
        if embeddings is None:
            raise VlrfaceError(f"{path} went away while it was used. Do not clear the cache folder during a run")
    if isinstance(source.crops, StreamedCrops):
        chosen = hashlib.sha256(rows.astype(np.int64).data).hexdigest()[:12]
        return Taught(_mapped_rows(path.with_stem(f"{path.stem}-{chosen}"), embeddings, rows), key)
    return Taught(torch.from_numpy(embeddings[rows]), key)


def _write(file: BinaryIO, teacher: Recognizer, aligned: Loaded, device: torch.device, progress: bool) -> None:
    """Embeddings of all aligned pictures as an .npy file, block by block."""
    count = len(aligned.crops)
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, teacher.embedding_dim)}
    np.lib.format.write_array_header_1_0(file, header)
    # Where there is bfloat16, it moves a target by less than 0.001 in cosine, and takes a third of the time.
    with autocast("auto", device):
        if isinstance(aligned.crops, Crops) and isinstance(aligned.manifest, Manifest):
            made = encode_crops(teacher, aligned.crops, aligned.manifest, flip=True, progress=progress)
            file.write(made.embeddings.data)
            return
        for first in tqdm(range(0, count, _BLOCK), desc="teacher", disable=not progress, dynamic_ncols=True):
            block = aligned.rows(np.arange(first, min(first + _BLOCK, count))).crops
            assert isinstance(block, StreamedCrops)  # all rows of one source are alike  # noqa: S101
            made = encode(teacher, block.manifest(), flip=True, progress=False)
            broken = made.failures[made.failures != ""]
            if len(broken):
                raise VlrfaceError(f"an aligned picture cannot be decoded: {broken[0]}. Repair it, or leave it out")
            file.write(made.embeddings.data)


def _mapped_rows(path: Path, embeddings: Float[ndarray, "m d"], rows: Int[ndarray, " n"]) -> Float[Tensor, "n d"]:
    """Some of the embeddings, in a file of their own that is mapped: for millions they need not fit into memory."""
    shape = (len(rows), embeddings.shape[1])
    if _cached(path, *shape) is None:
        with written_atomically(path) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for first in range(0, len(rows), _BLOCK):
                file.write(embeddings[rows[first : first + _BLOCK]].data)
    return torch.from_numpy(np.load(path, mmap_mode="c").view(ndarray))  # writable for torch; the file stays as it is


def _names(source: Loaded) -> ndarray:
    """(n,) what the pictures of a source are called, as bytes."""
    if isinstance(source.crops, StreamedCrops):
        return source.crops.names
    assert isinstance(source.manifest, Manifest)  # as in `Loaded.decoded`  # noqa: S101
    return np.char.encode(source.manifest.sources, "utf-8", "surrogateescape")


def _same_names(wanted: ndarray, there: ndarray, missing: str) -> Int[ndarray, " n"]:
    """For each wanted name, the row at which it is there.

    Raises:
        VlrfaceError: one is not there, or there twice.
    """
    order = np.argsort(there, kind="stable")
    at = np.searchsorted(there, wanted, sorter=order)
    rows = order[np.minimum(at, len(there) - 1)]
    absent = np.flatnonzero(there[rows] != wanted)
    if len(absent):
        raise VlrfaceError(f"{missing} for {len(absent)} crops, first {_text(wanted[absent].tolist()[0])}")
    ordered = there[order]
    twice = np.isin(wanted, ordered[1:][ordered[1:] == ordered[:-1]])
    if twice.any():
        raise VlrfaceError(
            f"{missing.split(':')[0]}: aligned pictures share the name {_text(wanted[twice].tolist()[0])}. "
            "Give each a key of its own"
        )
    return rows


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _cached(path: Path, count: int, dim: int) -> Float[ndarray, "n d"] | None:
    try:
        embeddings = np.load(path, mmap_mode="r").view(ndarray)
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
            for first in range(0, len(teacher), _BLOCK):
                labels = torch.from_numpy(part.labels[first : first + _BLOCK].astype(np.int64))
                sums.index_add_(0, labels, torch.nn.functional.normalize(teacher[first : first + _BLOCK]))
    missing = int((sums == 0).all(dim=1).sum())
    if missing:
        raise VlrfaceError(
            f"head.from_teacher needs a teacher's picture of every class, {missing} of {classes} have none: "
            "give the parts a `teacher` and the experiment a `teacher` trunk, or set head.from_teacher=false"
        )
    return sums
