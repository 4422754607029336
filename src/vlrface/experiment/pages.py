"""The page of an evaluation: which faces, maps and curves the inputs allow beside the numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vlrface.data.manifest import Benchmark
from vlrface.quality.embeddings import center_of
from vlrface.quality.measure import picture_rows
from vlrface.report import Attention, EmbeddingMap, Illustrations, Pictures, write_report
from vlrface.types import UNRECOGNIZABLE_ROLE, Curve, Faces, Report

if TYPE_CHECKING:
    from vlrface.experiment.network import Trained

_ATTENTION_FACES = 8
_NOT_SHOWN = ("distractor", UNRECOGNIZABLE_ROLE)

OpenCrop = Callable[[str, str], UInt8[ndarray, "_ _ 3"]]
"""(role, name) → picture."""


def crop_opener(benchmark: Benchmark | None, faces: Faces) -> OpenCrop | None:
    """Opens the pictures of the faces, where the data set is at hand.

    Raises:
        VlrfaceError: the data set is not the one that the faces were made of.
    """
    if benchmark is None:
        return None
    manifest = benchmark.manifest
    shown = shown_faces(faces)
    rows = picture_rows(shown, manifest)
    keys = zip(shown.roles.tolist(), shown.names.tolist(), strict=True)
    position = dict(zip(keys, rows.tolist(), strict=True))
    return lambda role, name: manifest.picture(position[role, name])


@dataclass(frozen=True, eq=False)
class _Crops(Sequence[UInt8[ndarray, "_ _ 3"]]):
    """Crops that are opened when looked at: a report shows some dozens of thousands."""

    names: Sequence[tuple[str, str]]
    open_crop: OpenCrop

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> UInt8[ndarray, "_ _ 3"]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[UInt8[ndarray, "_ _ 3"]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return _Crops(self.names[index], self.open_crop)
        return self.open_crop(*self.names[index])


def illustrations(faces: Faces, *, trained: "Trained | None", open_crop: OpenCrop | None) -> Illustrations:
    """What the inputs allow to show: histogram and map of all faces; crops and attention where they are at hand."""
    shown = shown_faces(faces)
    shown = shown.rows(shown.encoded)
    if not len(shown) or not np.isfinite(shown.recognizability).all():
        return Illustrations()
    destroyed = faces.rows((faces.roles == UNRECOGNIZABLE_ROLE) & faces.encoded).embeddings
    center = center_of(faces) if len(destroyed) else None
    attention = _attention(trained, shown, open_crop) if trained is not None and open_crop is not None else None
    return Illustrations(
        _pictures(faces, shown, open_crop),
        EmbeddingMap(shown.embeddings, shown.recognizability, destroyed, center),
        attention,
    )


def write_pages(
    report: Report, html: Path | None, json: Path, shown: Illustrations, *, trained: "Trained | None"
) -> None:
    """The page and its JSON, with all that is at hand to be shown."""
    write_report(
        report,
        html,
        json,
        pictures=shown.pictures,
        embedding_map=shown.embedding_map,
        attention=shown.attention,
        training=_training_curves(trained) if trained is not None else None,
    )


def _pictures(faces: Faces, shown: Faces, open_crop: OpenCrop | None) -> Pictures:
    keys = list(zip(map(str, shown.roles), map(str, shown.names), strict=True))
    lost = faces.role(UNRECOGNIZABLE_ROLE).recognizability
    return Pictures(
        _Crops(keys, open_crop) if open_crop is not None else [],
        shown.recognizability,
        [name for _, name in keys],
        unrecognizable=(float(lost.mean()), float(lost.std())) if len(lost) else None,
    )


def _attention(trained: "Trained", faces: Faces, open_crop: OpenCrop) -> Attention | None:
    """Where the network looks, on faces from the least to the most recognizable; None if it has no attention."""
    order = np.argsort(faces.recognizability)
    chosen = order[np.linspace(0, len(order) - 1, min(_ATTENTION_FACES, len(order))).astype(int)]
    inputs = [trained.recognizer.prepare(open_crop(str(faces.roles[i]), str(faces.names[i]))) for i in chosen]
    maps = trained.recognizer.attention_maps(np.stack(inputs))
    if maps is None:
        return None
    captions = [f"index {faces.recognizability[i]:.2f}" for i in chosen]
    return Attention(inputs, maps, captions)


def _training_curves(trained: "Trained") -> dict[str, Curve] | None:
    from vlrface.train.journal import training_curves

    return training_curves(trained.path.parent) or None


def shown_faces(faces: Faces) -> Faces:
    """The faces of a protocol whose people matter: all but distractors and made unrecognizable ones."""
    return faces.rows(~np.isin(faces.roles, _NOT_SHOWN))
