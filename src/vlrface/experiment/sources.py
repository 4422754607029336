"""From a configured source to decoded crops."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy import ndarray
from torch import Tensor

from vlrface.data.cache import Crops, cached_crops, crops_in_memory
from vlrface.data.folder import read_identity_folder
from vlrface.data.manifest import Manifest
from vlrface.experiment.config import FolderSource, Source, UnrecognizableConfig
from vlrface.images.degrade import degrade
from vlrface.images.procedural import procedural_faces
from vlrface.models.recognizer import Recognizer


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
    pictures: Sequence[UInt8[ndarray, "_ _ 3"]] = list(faces.images)
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


def unrecognizable_inputs(
    config: UnrecognizableConfig | None,
    held: Int[ndarray, " i"],
    loaded: dict[Source, tuple[Manifest, Crops]],
    recognizer: Recognizer,
) -> UInt8[Tensor, "m h w 3"] | None:
    """The network's inputs of made unrecognizable faces; of people who are trained on, not of those `held` out."""
    if config is None:
        return None
    manifest, crops = loaded[config.source]
    rows = np.flatnonzero(~np.isin(manifest.identities, held) & (crops.failures == ""))
    chosen = np.random.default_rng(config.seed).choice(rows, config.count, replace=config.count > len(rows))
    pictures = make_unrecognizable([crops[row] for row in chosen], config)
    return torch.from_numpy(np.stack([recognizer.prepare(picture) for picture in pictures]))


def make_unrecognizable(
    pictures: Sequence[UInt8[ndarray, "_ _ 3"]], config: UnrecognizableConfig
) -> list[UInt8[ndarray, "_ _ 3"]]:
    """Destroy pictures by the severe degradation of `config`, seeded per picture."""
    return [
        degrade(np.ascontiguousarray(picture), config.degradation.draw(np.random.default_rng([config.seed, i])))
        for i, picture in enumerate(pictures)
    ]
