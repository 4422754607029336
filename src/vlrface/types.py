"""The small frozen values that stages hand to each other. Numpy only; checked once, when made.

`Faces` is the border between the network and everything after it: each figure of a report can be recomputed from a
saved `Faces` file without the network.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vlrface.files import write_json, written_atomically
from vlrface.npz import read_arrays

DISTRACTOR_IDENTITY: Final = -100
"""Identity of every distractor, as the TinyFace protocol numbers them: mate of nobody, not even of one another."""

UNKNOWN_IDENTITY: Final = -1
"""Identity of a face whose person is not known."""

UNRECOGNIZABLE_ROLE: Final = "unrecognizable"
"""Role of faces made so that nobody can recognise them; shown in a report, counted in no figure."""


class VlrfaceError(ValueError):
    """Input that cannot be used. The message names the file or value and what to do; shown without a traceback."""


@dataclass(frozen=True)
class Share:
    """Which of several equal sharers one is, and so which part of anything ordered is one's own.

    Attributes:
        rank: from 0.
        size: how many sharers there are, at least 1.

    Raises:
        VlrfaceError: the rank is not one of `size`.
    """

    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise VlrfaceError(f"share {self.rank} of {self.size}: shares count from 0 and are below their number")

    def bounds(self, count: int, rank: int | None = None) -> tuple[int, int]:
        """First and behind-last of `count` things that are one's own, or another rank's.

        Shares follow one another without gap, and differ by one thing at most.
        """
        rank = self.rank if rank is None else rank
        return rank * count // self.size, (rank + 1) * count // self.size

    def of(self, count: int) -> slice:
        """The same as a slice."""
        return slice(*self.bounds(count))


WHOLE: Final = Share()
"""The share of one who is alone."""


@dataclass(frozen=True, eq=False)
class Pairing:
    """Listed pairs of faces, by row number: what verification on a pair list compares.

    Attributes:
        first: (m,) row of the one face.
        second: (m,) row of the other.
        same: (m,) whether the list says that both show one person.
        fold: (m,) fold of the list, from 0; -1 for a list without folds.

    Raises:
        VlrfaceError: a column of another type, the lengths differ, or a row or fold is below what is allowed.
    """

    first: Int[ndarray, " m"]
    second: Int[ndarray, " m"]
    same: Bool[ndarray, " m"]
    fold: Int[ndarray, " m"]

    def __post_init__(self) -> None:
        _check_pairing(vars(self))
        lengths = {len(self.first), len(self.second), len(self.same), len(self.fold)}
        if len(lengths) != 1:
            raise VlrfaceError(f"a pairing has columns of {sorted(lengths)} rows: give all the same length")
        if len(self) and (min(self.first.min(), self.second.min()) < 0 or self.fold.min() < -1):
            raise VlrfaceError("a pairing names a row below 0, or a fold below -1")

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True, eq=False)
class Faces:
    """Encoded faces: one row per crop, in the order of the manifest they came from.

    A crop that could not be decoded keeps its row, with NaN values and the reason in `failures`: protocols count it
    as a miss, never drop it.

    Attributes:
        embeddings: (n, d) float32, as the model gives them. Not normalised, so that the norm stays a usable quality.
        recognizability: (n,) float32, predicted recognizability index, unbounded, larger is easier; NaN for a model
            that predicts none.
        identities: (n,) int64, `DISTRACTOR_IDENTITY` or `UNKNOWN_IDENTITY` where no person is meant.
        roles: (n,) str, the part of a protocol: "probe", "gallery", "distractor", "train", ...
        names: (n,) str, unique within one role; the file name or array index of the crop.
        sizes: (n,) int32, shorter side of the crop before any resizing, in pixels; 0 where unknown.
        failures: (n,) str, "" for an encoded crop, else why it could not be encoded.
        meta: JSON values that say how the rows were made: model, fingerprint, crops, flip fusion, calibration.
        pairing: the pairs of a verification list, by row; None where the protocol has no list.
        measures: other quality measures of each face by name, (n,) each, larger is better; NaN where there is none.

    Raises:
        VlrfaceError: a column of another type, lengths differ, a value of an encoded row is NaN or infinite, a name
            occurs twice in a role, or a pair names a row that is not there.
    """

    embeddings: Float[ndarray, "n d"]
    recognizability: Float[ndarray, " n"]
    identities: Int[ndarray, " n"]
    roles: ndarray
    names: ndarray
    sizes: Int[ndarray, " n"]
    failures: ndarray
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pairing: Pairing | None = None
    measures: Mapping[str, Float[ndarray, " n"]] = field(default_factory=dict[str, ndarray])

    def __post_init__(self) -> None:
        _check_faces(vars(self), self.measures)
        n = len(self.embeddings)
        columns = {name: getattr(self, name) for name in _COLUMNS}
        for name, column in [*columns.items(), *self.measures.items()]:
            if len(column) != n:
                raise VlrfaceError(f"Faces.{name} has {len(column)} rows, embeddings have {n}")
        if self.pairing is not None and len(self.pairing):
            last = int(max(self.pairing.first.max(), self.pairing.second.max()))
            if last >= n:
                raise VlrfaceError(f"Faces.pairing names row {last}, there are {n} rows")
        bad = self.encoded & ~np.isfinite(self.embeddings).all(axis=1)
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise VlrfaceError(f"{bad.sum()} embeddings hold NaN or infinity, first row {first} ({self.names[first]})")
        if np.isinf(self.recognizability).any():
            raise VlrfaceError("a recognizability index is infinite: it must be a number, or NaN where there is none")
        keys = np.char.add(np.char.add(self.roles.astype(str), "\n"), self.names.astype(str))
        unique, counts = np.unique(keys, return_counts=True)
        if len(unique) != n:
            role, name = str(unique[counts > 1][0]).split("\n", 1)
            raise VlrfaceError(f"name {name!r} occurs more than once with role {role!r}")

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def encoded(self) -> Bool[ndarray, " n"]:
        """Rows that hold an embedding: those without a failure."""
        return self.failures == ""

    def rows(self, index: Bool[ndarray, " n"] | Int[ndarray, " m"]) -> "Faces":
        """The faces of some rows, by mask or by index, with the same `meta` and without a pairing."""
        parts = {name: getattr(self, name)[index] for name in _COLUMNS}
        return Faces(**parts, meta=self.meta, measures={name: v[index] for name, v in self.measures.items()})

    def role(self, *roles: str) -> "Faces":
        """The faces of one or several roles, in row order."""
        return self.rows(np.isin(self.roles, roles))

    def joined(self, other: "Faces") -> "Faces":
        """These faces, then the others; `meta` and `pairing` stay those of these.

        A measure that only one side has is NaN on the other.

        Raises:
            VlrfaceError: the embeddings differ in length, or a name would occur twice in a role.
        """
        if self.embeddings.shape[1] != other.embeddings.shape[1]:
            raise VlrfaceError(
                f"cannot join faces of {self.embeddings.shape[1]}-d and {other.embeddings.shape[1]}-d embeddings"
            )
        parts = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in _COLUMNS}
        measures = {
            name: np.concatenate([each.measures.get(name, np.full(len(each), np.nan)) for each in (self, other)])
            for name in dict.fromkeys([*self.measures, *other.measures])
        }
        return Faces(**parts, meta=self.meta, pairing=self.pairing, measures=measures)

    def save(self, path: Path) -> None:
        """Write an .npz (uncompressed, no pickle), atomically."""
        arrays = {name: getattr(self, name) for name in _COLUMNS}
        if self.pairing is not None:
            arrays |= {_PAIRING + f.name: getattr(self.pairing, f.name) for f in fields(self.pairing)}
        arrays |= {_MEASURE + name: values for name, values in self.measures.items()}
        for name in ("roles", "names", "failures"):
            arrays[name] = arrays[name].astype(np.str_)
        with written_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays, meta=np.array(json.dumps(dict(self.meta))))

    @classmethod
    def load(cls, path: Path) -> "Faces":
        """Read what `save` wrote, executing nothing.

        Raises:
            VlrfaceError: the file is missing, damaged, no Faces file, or its values are none of `Faces`.
        """
        try:
            arrays = read_arrays(path)
            values: dict[str, Any] = {name: arrays[name] for name in (*_COLUMNS, "meta")}
            measures = {n.removeprefix(_MEASURE): each for n, each in arrays.items() if n.startswith(_MEASURE)}
            paired = {f.name: arrays[_PAIRING + f.name] for f in fields(Pairing) if _PAIRING + f.name in arrays}
            values["meta"] = json.loads(str(values["meta"]))
            if not isinstance(values["meta"], dict):
                raise ValueError("its meta is no JSON object")
            _check_faces(values, measures)
            _check_pairing(paired)
            pairing = Pairing(**paired) if paired else None
        except FileNotFoundError as error:
            raise VlrfaceError(f"{path}: no such file. Make one with `vlrface encode CKPT DATA -o {path}`") from error
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise VlrfaceError(f"{path}: not a Faces file ({error}). Make it again with `vlrface encode`") from error
        try:
            return cls(**values, measures=measures, pairing=pairing)
        except VlrfaceError as error:
            raise VlrfaceError(f"{path}: {error}") from error


_COLUMNS: Final = {
    "embeddings": "f",
    "recognizability": "f",
    "identities": "iu",
    "roles": "UO",
    "names": "UO",
    "sizes": "iu",
    "failures": "UO",
}
"""Columns of `Faces`, each with the kinds of numpy's types that it may have."""

_MEANT: Final = {"f": "floats", "iu": "whole numbers", "UO": "texts", "b": "truth values", "fiu": "numbers"}
_PAIRING: Final = "pairing."
_MEASURE: Final = "measure."


def _check_faces(columns: Mapping[str, Any], measures: Mapping[str, ndarray]) -> None:
    for name, kinds in _COLUMNS.items():
        _check_column(f"Faces.{name}", columns[name], kinds, 2 if name == "embeddings" else 1)
    for name, values in measures.items():
        _check_column(f"Faces.measures[{name!r}]", values, "fiu")


def _check_pairing(columns: Mapping[str, ndarray]) -> None:
    for name, column in columns.items():  # a `same` of whole numbers would be taken for row numbers
        _check_column(f"Pairing.{name}", column, "b" if name == "same" else "iu")


def _check_column(name: str, column: ndarray, kinds: str, axes: int = 1) -> None:
    if column.ndim != axes or (column.size and column.dtype.kind not in kinds):  # numpy calls an empty list floats
        shape = "one axis" if axes == 1 else f"{axes} axes"
        raise VlrfaceError(f"{name} is {column.dtype} of shape {column.shape}: give {_MEANT[kinds]} in {shape}")


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95 % interval. `low` and `high` are NaN where no interval can be given."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def __str__(self) -> str:
        interval = "" if np.isnan(self.low) else f" [{self.low:.4g}, {self.high:.4g}]"
        return f"{self.value:.4g}{interval}"

    def to_json(self) -> dict[str, float | None]:
        """Plain JSON values; NaN becomes null."""
        return {name: _plain(getattr(self, name)) for name in ("value", "low", "high")}


@dataclass(frozen=True, eq=False)
class Curve:
    """A line of a figure: `y` over `x`, with an optional 95 % band.

    Raises:
        VlrfaceError: the lengths differ.
    """

    name: str
    x: Float[ndarray, " n"]
    y: Float[ndarray, " n"]
    low: Float[ndarray, " n"] | None = None
    high: Float[ndarray, " n"] | None = None

    def __post_init__(self) -> None:
        for values in (self.y, self.low, self.high):
            if values is not None and len(values) != len(self.x):
                raise VlrfaceError(f"curve {self.name!r}: {len(values)} values over {len(self.x)} positions")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes null, as does a band that is not there."""
        values: dict[str, Any] = {"name": self.name}
        for key in ("x", "y", "low", "high"):
            array = getattr(self, key)
            values[key] = None if array is None else [_plain(v) for v in array.tolist()]
        return values


@dataclass(frozen=True, eq=False)
class Report:
    """What one evaluation found: all that a page, a table or a later comparison needs, and nothing to compute.

    Attributes:
        title: one line for a person.
        benchmark: its name, e.g. "tinyface".
        figures: named estimates, e.g. "rank1", "mAP", "tpr@far=0.01", "rank1@reject=0.3". Shares lie in [0, 1].
        counts: every count the protocol used: subjects, images, pairs, failures.
        curves: lines by figure: "cmc", "roc", "edc" (error versus discard), "training/<scalar>", ...
        context: JSON values: config, seed, seconds, machine, version, data, model fingerprint.
    """

    title: str
    benchmark: str
    figures: Mapping[str, Estimate]
    counts: Mapping[str, int]
    curves: Mapping[str, tuple[Curve, ...]]
    context: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes null."""
        return {
            "title": self.title,
            "benchmark": self.benchmark,
            "figures": {k: v.to_json() for k, v in self.figures.items()},
            "counts": dict(self.counts),
            "curves": {k: [c.to_json() for c in curves] for k, curves in self.curves.items()},
            "context": dict(self.context),
        }

    def save(self, path: Path) -> None:
        """Write `to_json` to a file, atomically."""
        write_json(path, self.to_json())


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
