"""Results in parts: each is written whole or not at all, and says which items it is of. A killed run loses the last.

Parts are numbered in the order of items, and each has a hash of its items: a part that is there says which need no
second look. A cluster ends them out of order, so that a kill may leave gaps. A file `_job.json` says what they came
from; another job is refused, for its rows would not fit to the others.
"""

import hashlib
import json
import zipfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from vlrface.bulk.flow import Row
from vlrface.bulk.items import Item
from vlrface.files import printable, write_json, written_atomically
from vlrface.types import VlrfaceError

PART_ITEMS: Final = 4096
"""Items in a part; a kill costs no more than this."""

SUMMARY: Final = "_summary.json"
"""Says of a folder of parts that it is whole."""

Columns = Literal["scores", "embeddings"]
"""What is kept of a face: index, score, verdict and reason; or the embedding and its length, too."""

Format = Literal["npz", "parquet"]

Left = tuple[int, list[Item], bool]
"""Number and items of a part that the parts before say nothing of, and whether it is there all the same."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a part, column by column.

    Attributes:
        texts: "path", "verdict", "reason", each n texts.
        numbers: "recognizability", "score", "shorter_side_px" and, of embeddings, "norm", each (n,).
        embeddings: (n, d), or None.
    """

    texts: Mapping[str, Sequence[str]]
    numbers: Mapping[str, ndarray]
    embeddings: Float32[ndarray, "n d"] | None

    def __len__(self) -> int:
        return len(self.texts["path"])

    @classmethod
    def of(cls, rows: Sequence[Row], columns: Columns) -> "Table":
        """The rows as columns."""
        numbers: dict[str, ndarray] = {
            "recognizability": np.array([row.recognizability for row in rows], np.float32),
            "score": np.array([row.score for row in rows], np.float32),
            "shorter_side_px": np.array([row.side for row in rows], np.int32),
        }
        embeddings = None
        if columns == "embeddings":
            numbers["norm"] = np.array([row.norm for row in rows], np.float32)
            embeddings = np.stack([row.embedding for row in rows])
        texts = {
            "path": [row.key for row in rows],
            "verdict": [row.verdict for row in rows],
            "reason": [row.reason for row in rows],
        }
        return cls(texts, numbers, embeddings)


@dataclass(frozen=True)
class Job:
    """What parts come from.

    Attributes:
        settings: JSON values; two runs may share parts only if all of them are equal.
        columns: what is kept.
        part_items: items in a part.
    """

    settings: Mapping[str, Any]
    columns: Columns = "scores"
    part_items: int = PART_ITEMS

    def to_json(self) -> dict[str, Any]:
        """As `_job.json` has it."""
        return {"part_items": self.part_items, "columns": self.columns, **self.settings}


class Parts:
    """A folder of parts. Made by `open_parts`."""

    def __init__(self, folder: Path, job: Job, form: Format) -> None:
        self.folder = folder
        self.job = job
        self.form: Format = form

    def path(self, number: int) -> Path:
        """Where a part lies."""
        return self.folder / f"part-{number:05d}.{self.form}"

    def count(self) -> int:
        """How many parts there are, from the first without a gap."""
        number = 0
        while self.path(number).is_file():
            number += 1
        return number

    def write(self, number: int, items: Sequence[Item], rows: Sequence[Row]) -> None:
        """Write a part, atomically.

        Raises:
            OSError: it cannot be written.
        """
        table = Table.of(rows, self.job.columns)
        with written_atomically(self.path(number)) as temporary:
            if self.form == "parquet":
                _write_part(temporary, table, keys_sha256(items))
            else:
                _write_npz(temporary, table, keys_sha256(items))

    def check(self, number: int, items: Sequence[Item]) -> None:
        """Make sure that a part is of these items.

        Raises:
            VlrfaceError: it is of others, or damaged.
        """
        if self._keys(number) != keys_sha256(items):
            raise VlrfaceError(
                f"{self.path(number)}: made of other pictures than are there now: some came, went or were renamed. "
                "Give --restart to begin again, or another output"
            )

    def holds(self, number: int, items: Sequence[Item]) -> bool:
        """Whether a part is there, readable and of these items."""
        try:
            return self.path(number).is_file() and self._keys(number) == keys_sha256(items)
        except VlrfaceError:
            return False

    def missing(self, items: Iterator[Item], first: int) -> Iterator[Left]:
        """Parts from the first that is not there. Behind the last, what is left of a longer run is deleted.

        Args:
            items: from the first of that part.
            first: its number.
        """
        number = first
        while found := list(islice(items, self.job.part_items)):
            yield number, found, self.holds(number, found)
            number += 1
        for path in self.folder.glob(f"part-*.{self.form}"):
            text = path.stem.removeprefix("part-")
            if text.isdecimal() and int(text) >= number:
                path.unlink(missing_ok=True)

    def read(self) -> Iterator[Table]:
        """All parts, in order."""
        for number in range(self.count()):
            with _damaged(self.path(number)):
                table = _read_parquet(self.path(number)) if self.form == "parquet" else _read_npz(self.path(number))
            yield table

    def _keys(self, number: int) -> str:
        path = self.path(number)
        with _damaged(path):
            if self.form == "parquet":
                from pyarrow import parquet

                return (parquet.read_schema(path).metadata or {}).get(b"vlrface.items", b"").decode()
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return str(file["items"])

    def remove(self) -> None:
        """Delete the parts, what a kill left of them and what says whose they are; the folder, too, if nothing is left.

        What says whose they are goes last: a kill in between leaves parts that are known.
        """
        ours = ("part-*", ".part-*", "._*", SUMMARY, ".items-*")
        for path in [*chain.from_iterable(map(self.folder.glob, ours)), self.folder / "_job.json"]:
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def open_parts(folder: Path, job: Job, form: Format, *, restart: bool = False) -> Parts:
    """The parts of a job in a folder, which is made if needed.

    Args:
        folder: of the parts.
        job: what is being done.
        form: of the files.
        restart: delete what an earlier job left there.

    Raises:
        VlrfaceError: the folder has parts of another job, or other things.
        OSError: it cannot be made.
    """
    parts = Parts(folder, job, form)
    known = folder / "_job.json"
    if folder.is_dir() and restart and known.is_file():
        parts.remove()
    folder.mkdir(parents=True, exist_ok=True)
    if not known.is_file():
        if any(not each.name.startswith(".") for each in folder.iterdir()):
            raise VlrfaceError(f"{folder}: holds other things. Give an empty folder, or a name that is free")
        write_json(known, job.to_json())
        return parts
    try:
        before: dict[str, Any] = json.loads(known.read_text(encoding="utf-8"))
    except ValueError as error:
        raise VlrfaceError(f"{known}: damaged. Give --restart to begin again, or another output") from error
    now = json.loads(json.dumps(job.to_json()))
    if before != now:
        other = next(key for key in {**before, **now} if before.get(key) != now.get(key))
        raise VlrfaceError(
            f"{folder}: holds results of another job ({other} was {before.get(other)!r}, is {now.get(other)!r}). Give "
            "--restart to begin again, or another output"
        )
    return parts


def keys_sha256(items: Sequence[Item]) -> str:
    """Tells the items of one part from others."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.key}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def write_parquet(path: Path, tables: Iterator[Table]) -> None:
    """Tables as one Parquet file, atomically."""
    from pyarrow import parquet

    with written_atomically(path) as temporary:
        writer = None
        for table in tables:
            rows = parquet_table(table)
            writer = writer or parquet.ParquetWriter(temporary, rows.schema)
            writer.write_table(rows)
        if writer is not None:
            writer.close()


def _write_npz(path: Path, table: Table, keys: str) -> None:
    arrays: dict[str, ndarray] = {name: np.array(values, np.str_) for name, values in table.texts.items()}
    arrays |= dict(table.numbers)
    if table.embeddings is not None:
        arrays["embedding"] = table.embeddings
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, items=np.array(keys), **arrays)


def _read_npz(path: Path) -> Table:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != "items"}
    texts = {name: arrays.pop(name).tolist() for name in ("path", "verdict", "reason")}
    return Table(texts, arrays, arrays.pop("embedding", None))


def parquet_table(table: Table) -> Any:
    """Rows as a table of pyarrow; null where a number is NaN."""
    import pyarrow as pa

    texts = {name: list(map(printable, table.texts[name])) for name in table.texts}
    columns: dict[str, Any] = {"path": pa.array(texts["path"], pa.string())}
    columns |= {name: pa.array(values, from_pandas=True) for name, values in table.numbers.items()}
    columns |= {name: pa.array(texts[name], pa.string()) for name in ("verdict", "reason")}
    if table.embeddings is not None:
        flat = pa.array(table.embeddings.ravel())
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, table.embeddings.shape[1])
    return pa.table(columns)


def _write_part(path: Path, table: Table, keys: str) -> None:
    from pyarrow import parquet

    parquet.write_table(parquet_table(table).replace_schema_metadata({"vlrface.items": keys}), path)


def _read_parquet(path: Path) -> Table:
    from pyarrow import parquet

    table = parquet.read_table(path)
    texts = {name: table.column(name).to_pylist() for name in ("path", "verdict", "reason")}
    numbers = {name: table.column(name).to_numpy() for name in table.column_names if name not in (*texts, "embedding")}
    embeddings = None
    if "embedding" in table.column_names:
        column = table.column("embedding").combine_chunks()
        embeddings = np.asarray(column.flatten(), np.float32).reshape(len(column), -1)
    return Table(texts, numbers, embeddings)


@contextmanager
def _damaged(path: Path) -> Generator[None]:
    """Say which part cannot be read."""
    try:
        yield
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:  # of pyarrow, too
        raise VlrfaceError(
            f"{path}: damaged ({error}). Delete it and all parts behind it, and run the command again"
        ) from error
