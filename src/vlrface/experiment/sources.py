"""From a configured source to decoded crops."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vlrface.data.batches import OnBroken
from vlrface.data.cache import Crops, cached_crops, crops_in_memory
from vlrface.data.folder import read_identity_folder
from vlrface.data.listed import part
from vlrface.data.manifest import Manifest, drawn_persons, hold_out
from vlrface.data.scface import read_finetuning
from vlrface.data.shards import stream_shards
from vlrface.data.streamed import StreamedCrops, stream_records
from vlrface.data.table import read_table
from vlrface.experiment.config import (
    FolderSource,
    FoundConfig,
    ProceduralSource,
    RecordSource,
    SCfaceSource,
    ShardsSource,
    Source,
    UnrecognizableConfig,
    ValidationConfig,
)
from vlrface.images.decode import DecodeError
from vlrface.images.degrade import degrade, degraded
from vlrface.images.procedural import procedural_faces
from vlrface.losses.recognizability import UnrecognizableStatistics
from vlrface.models.recognizer import Recognizer
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


@dataclass(frozen=True, eq=False)
class Loaded:
    """A source at hand.

    Attributes:
        manifest: what there is; streamed crops say it themselves.
        crops: the decoded crops in the same order, or streamed ones.
        who: (n,) who is on each, as a row of `known`.
        known: (k,) str, names of people, all different. The same name in two sources is the same person; numbers of
            identities mean nothing outside their manifest.
        on_broken: what a picture does that turns out broken when it is drawn.
    """

    manifest: Manifest | StreamedCrops
    crops: Crops | StreamedCrops
    who: Int[ndarray, " n"]
    known: ndarray
    on_broken: OnBroken = "stop"

    @classmethod
    def named(cls, manifest: Manifest, crops: Crops, people: ndarray) -> "Loaded":
        """With the name of who is on each crop."""
        known, who = np.unique(people, return_inverse=True)
        return cls(manifest, crops, who.reshape(len(people)), known)

    @property
    def people(self) -> ndarray:
        """(n,) str, the name of who is on each crop."""
        return self.known[self.who]

    def rows(self, index: Int[ndarray, " m"]) -> "Loaded":
        """Some of the rows."""
        crops = self.crops.rows(index)
        manifest = crops if isinstance(crops, StreamedCrops) else self.manifest.rows(index)
        return replace(self, manifest=manifest, crops=crops, who=self.who[index])

    def usable(self, people: ndarray) -> Int[ndarray, " m"]:
        """Rows of these people that could be decoded, as far as that is known."""
        chosen = np.isin(self.known, people)[self.who]
        if isinstance(self.crops, Crops):
            chosen &= self.crops.failures == ""
        return np.flatnonzero(chosen)

    def everybody(self) -> ndarray:
        """Names of the people who have a crop that could be decoded, sorted."""
        who = self.who[self.crops.failures == ""] if isinstance(self.crops, Crops) else self.who
        return np.sort(self.known[np.bincount(who, minlength=len(self.known)) > 0])

    def decoded(self, places: Places) -> tuple[Manifest, Crops]:
        """Manifest and decoded crops: for streamed ones, those of these rows in the cache folder.

        Raises:
            VlrfaceError: a streamed picture is broken, and is not to be skipped.
        """
        if isinstance(self.manifest, Manifest) and isinstance(self.crops, Crops):
            return self.manifest, self.crops
        assert isinstance(self.crops, StreamedCrops)  # both are, or neither  # noqa: S101
        manifest = self.crops.manifest()
        crops = cached_crops(manifest, places.cache, progress=places.progress)
        broken = np.flatnonzero(crops.failures != "")
        if len(broken) and self.on_broken == "stop":
            raise VlrfaceError(
                f"{self.crops.name(int(broken[0]))}: {crops.failures[broken[0]]}. So are {len(broken) - 1} more; copy "
                'the files again, or set on_broken="skip" of their source'
            )
        return manifest, crops


def load_source(source: Source | FoundConfig, places: Places) -> Loaded:
    """Crops of a source, with who is on them; "" on crops that nobody can recognise.

    Raises:
        VlrfaceError: there is nothing to read, or a found face is missing in its pool.
    """
    match source:
        case FoundConfig():
            return _load_found(source, places)
        case FolderSource():
            manifest = read_identity_folder(_spelt(places.data / source.folder))
            crops = cached_crops(manifest, places.cache, progress=places.progress)
            return Loaded.named(manifest, crops, np.array([_folder_person(str(name)) for name in manifest.sources]))
        case SCfaceSource():
            manifest = read_finetuning(places.data / source.folder, source.split_seed)
            crops = cached_crops(manifest, places.cache, progress=places.progress)
            return Loaded.named(manifest, crops, np.array([f"scface {number}" for number in manifest.identities]))
        case RecordSource() | ShardsSource():
            return _load_streamed(source, places)
        case ProceduralSource():
            return _load_procedural(source)


def _load_streamed(source: RecordSource | ShardsSource, places: Places) -> Loaded:
    if isinstance(source, RecordSource):
        path = source.path
        crops = stream_records(places.data / path, places.cache, root=places.data, progress=places.progress)
    else:
        path = source.pattern
        crops = stream_shards(path, places.data, places.cache, progress=places.progress)
    word = path if source.people is None else source.people
    known = np.array([f"{word} {label}".lstrip() for label in crops.index.labels.tolist()])
    return Loaded(crops, crops, crops.persons, known, source.on_broken)


def _load_procedural(source: ProceduralSource) -> Loaded:
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
    people = np.array([f"procedural {source.seed} {number}" for number in faces.identities])
    return Loaded.named(manifest, crops_in_memory(pictures), people)


def held_people(source: Loaded, config: ValidationConfig) -> ndarray:
    """Names of the people who are held out of a source, sorted.

    A person may stand in two folders, "7" and "007": whoever is held out is held out of all.
    """
    if isinstance(source.manifest, StreamedCrops):
        labels = source.manifest.index.labels
        counts = np.bincount(source.who, minlength=len(labels))
        drawn = drawn_persons(labels[counts > 0], counts[counts > 0], config.identities, config.seed)
        return np.sort(source.known[np.isin(labels, drawn)])
    assert isinstance(source.crops, Crops)  # as in `Loaded.decoded`  # noqa: S101
    decodable = source.manifest.rows(source.crops.failures == "")  # who has one picture left cannot be found again
    _, held = hold_out(decodable, config.identities, seed=config.seed)
    return np.unique(source.people[np.isin(source.manifest.identities, held.identities)])


def _spelt(folder: Path) -> Path:
    """The folder as it is spelt on disk: the archive of QMUL-SurvFace has `training_set`."""
    return folder if folder.is_dir() or not folder.parent.is_dir() else part(folder.parent, folder.name)


def _folder_person(name: str) -> str:
    folder = name.split("/", 1)[0]
    return str(int(folder)) if folder.isascii() and folder.isdecimal() else folder


def _load_found(found: FoundConfig, places: Places) -> Loaded:
    path, pool = places.data / found.list, places.data / found.pool
    if not path.is_file():
        raise VlrfaceError(
            f"{path}: no such list of unrecognizable faces. `vlrface unrecognizable find {pool} --encoder MODEL "
            "-o DIR` writes DIR/unrecognizable.csv"
        )
    manifest = read_table(path, pool)
    crops = cached_crops(manifest, places.cache, progress=places.progress)
    broken = np.flatnonzero(crops.failures != "")
    if len(broken):
        raise VlrfaceError(
            f"{path}: {len(broken)} of {len(crops)} pictures are missing in {pool} or cannot be decoded, first "
            f"{crops.name(broken[0])} ({crops.failures[broken[0]]}). Give the pool that was searched"
        )
    return Loaded.named(manifest, crops, np.full(len(manifest), ""))


def unrecognizable_inputs(
    configs: Sequence[UnrecognizableConfig | FoundConfig],
    loaded: Mapping[Source | FoundConfig, Loaded],
    people: ndarray,
    recognizer: Recognizer,
) -> UInt8[Tensor, "m h w 3"] | None:
    """The network's inputs of unrecognizable faces, one kind after the other; None if there is no kind.

    Args:
        configs: where they come from.
        loaded: by source, the pictures that are to be destroyed; by list, those that were found. A found picture that
            is a held-out person's file in a source is left out.
        people: whose pictures may be destroyed (none who is held out).
        recognizer: whose inputs they are.

    Raises:
        VlrfaceError: there is no picture of these people.
    """
    pictures: list[UInt8[ndarray, "_ _ 3"]] = []
    for config in configs:
        if isinstance(config, FoundConfig):
            pictures += _found_of_others(loaded, config, people)
        else:
            pictures += _destroyed(config, loaded[config.source], people)
    return torch.from_numpy(np.stack([recognizer.prepare(each) for each in pictures])) if pictures else None


def _found_of_others(
    loaded: Mapping[Source | FoundConfig, Loaded], config: FoundConfig, people: ndarray
) -> list[UInt8[ndarray, "_ _ 3"]]:
    """The found pictures, without files of people who are not trained on."""
    held: set[str] = set()
    for source, each in loaded.items():
        manifest = each.manifest
        if not isinstance(source, FoundConfig) and isinstance(manifest, Manifest) and manifest.root is not None:
            held.update(_files(manifest, np.flatnonzero(~np.isin(each.people, people))))
    found = loaded[config]
    assert isinstance(found.manifest, Manifest)  # a list of files  # noqa: S101
    files = _files(found.manifest, np.arange(len(found.manifest)))
    rows = [row for row, file in enumerate(files) if file not in held]
    if len(rows) < len(files):
        print(f"{config.list}: {len(files) - len(rows)} of {len(files)} pictures show held-out people: left out")
    return [found.crops[row] for row in rows]


def _files(manifest: Manifest, rows: Int[ndarray, " m"]) -> list[str]:
    """The files of some rows, links followed."""
    assert manifest.root is not None  # the caller has looked  # noqa: S101
    return [os.path.realpath(manifest.root / str(name)) for name in manifest.sources[rows]]


def _destroyed(config: UnrecognizableConfig, source: Loaded, people: ndarray) -> list[UInt8[ndarray, "_ _ 3"]]:
    rows = source.usable(people)
    if len(rows) == 0:
        raise VlrfaceError("data.unrecognizable.source has no picture of a person who is trained on")
    chosen = np.random.default_rng(config.seed).choice(rows, config.count, replace=config.count > len(rows))
    pictures: list[UInt8[ndarray, "_ _ 3"]] = []
    for row in chosen:
        try:
            pictures.append(source.crops[row])
        except DecodeError as error:
            if source.on_broken == "stop":
                raise VlrfaceError(f'{error}; or set on_broken="skip" of its source') from error
    if not pictures:
        raise VlrfaceError(f"data.unrecognizable.source: all of {len(chosen)} pictures are broken. Copy them again")
    return degraded(pictures, config.degradation, config.seed)


def load_statistics(path: Path) -> UnrecognizableStatistics:
    """Centre, mean and deviation of unrecognizable faces: tensors `center` (d,), `mean` and `deviation`.

    Raises:
        VlrfaceError: no such file, another kind of file, or values that are no statistics.
    """
    if not path.is_file():
        raise VlrfaceError(
            f"{path}: no such statistics. `vlrface unrecognizable find POOL --encoder MODEL -o DIR` writes "
            "DIR/statistics.safetensors"
        )
    try:
        tensors = load_file(path)
        values = (float(tensors["mean"]), float(tensors["deviation"]))
        return UnrecognizableStatistics(tensors["center"].float(), *values)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError, VlrfaceError) as error:
        raise VlrfaceError(
            f"{path}: no statistics of unrecognizable faces ({error}); it must hold center (d,), mean and deviation"
        ) from error
