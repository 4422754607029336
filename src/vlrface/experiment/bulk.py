"""`vlrface score` and `encode` over any number of pictures: sources to parts, here or on a Ray cluster."""

import json
import os
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vlrface.bulk import Columns, FrameOptions, Item, Job, Parts, Row, list_items, look_at, open_parts
from vlrface.bulk.parts import PART_ITEMS, SUMMARY, Left
from vlrface.bulk.reading import FindFaces
from vlrface.encode.served import ServedModel
from vlrface.experiment.options import BulkOptions, ModelOptions
from vlrface.experiment.served import load_served
from vlrface.files import cannot_write, write_json
from vlrface.locks import InUseError, locked
from vlrface.types import VlrfaceError


@dataclass(frozen=True)
class BulkTask:
    """What is looked at, by what, and what is kept.

    Attributes:
        model: file of the model.
        sources: see `bulk.list_items`.
        columns: what is kept of a face.
        options: of the command.
        flip: flip fusion.
        batch_size: faces per call of the network.
        progress: show a progress bar.
        model_options: how a foreign .onnx file takes its input.

    Raises:
        VlrfaceError: a number is out of range.
    """

    model: Path
    sources: tuple[str, ...]
    columns: Columns
    options: BulkOptions
    flip: bool = True
    batch_size: int = 64
    progress: bool = True
    model_options: ModelOptions = ModelOptions()

    def __post_init__(self) -> None:
        numbers = {
            "--batch-size": self.batch_size,
            "--part-items": self.options.part_items,
            "--threads": self.options.threads,
        }
        for option, number in numbers.items():
            if number is not None and number < 1:
                raise VlrfaceError(f"{option} {number}: give a whole number from 1")

    def items(self, *, estimated: bool = False) -> Iterator[Item]:
        """All items, from the first; of videos, as many as they say if an estimate is enough."""
        return list_items(self.sources, FrameOptions(self.options.every, estimated))


@contextmanager
def alone(output: Path) -> Generator[None]:
    """Keep other commands from an output, from the first part until it is whole.

    Raises:
        VlrfaceError: another process writes there.
        OSError: the lock cannot be made.
    """
    lock = output.parent / f".{output.name}.lock"
    with ExitStack() as held:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(lock, 0.0))
        except InUseError:
            raise VlrfaceError(f"{output}: another process writes there. Wait for it, or give another output") from None
        except OSError as error:
            raise cannot_write(lock, error) from error
        yield


def run_bulk(task: BulkTask, served: ServedModel, output: Path, *, otherwise: Path | None = None) -> Parts:
    """Look at everything that is not done, and write it in parts. The caller is `alone` with the output.

    Args:
        task: what to do.
        served: the task's model.
        output: a file, beside which the parts lie until `finish`; or, without an ending, the folder of the parts. Parts
            of the same job that are there are kept.
        otherwise: a file that the output may become in its place.

    Raises:
        VlrfaceError: nothing to look at, parts or an output of another job, pictures that came or went since, or a
            network that fails.
        OSError: a part cannot be written.
    """
    items = task.items()
    first = next(items, None)
    if first is None:
        raise VlrfaceError(f"no picture found in {', '.join(task.sources)}")
    job = _job(task, served)
    if output.suffix:
        begun = (_parts_beside(output) / "_job.json").is_file()
        # With parts of this job it was allowed before; those of another are refused.
        for file in () if begun or task.options.restart else (output, otherwise):
            if file is not None and file.exists():
                _check_made_by(job, file)
        parts = open_parts(_parts_beside(output), job, "npz", restart=task.options.restart)
    else:
        parts = open_parts(output, job, "parquet", restart=task.options.restart)
    rest, next_part, done = _rest(parts, chain([first], items))
    if done:
        print(f"going on    after {done:,} pictures that are done")
    (parts.folder / SUMMARY).unlink(missing_ok=True)  # it says that the folder is whole, and now it may not be
    with tqdm(initial=done, unit="img", desc="look", disable=not task.progress) as bar:
        stop = _count(task, bar)
        try:
            if task.options.ray is not None:
                from vlrface.experiment.bulk_ray import run_on_ray

                run_on_ray(task, served, parts, parts.missing(rest, next_part), bar)
            else:
                _run_here(task, served, parts, parts.missing(rest, next_part), bar)
        finally:
            stop.set()
    return parts


def finish(output: Path, parts: Parts) -> None:
    """Of an output that is one file and written: note what it came from, and remove the parts."""
    write_json(_origin_of(output), {"bytes": output.stat().st_size, **parts.job.to_json()})
    parts.remove()


def look_here(
    task: BulkTask, served: ServedModel, items: Iterator[Item], threads: int | None = None
) -> Iterator[tuple[Item, list[Row]]]:
    """The rows of items, with the task's options; so many threads decode, by default one for each processor."""
    find = finder(task.options.detector)
    return look_at(items, served, batch_size=task.batch_size, threads=threads or os.cpu_count() or 1, find=find)


def finder(detector: Path | None) -> FindFaces | None:
    """What finds faces in whole pictures; None without a detector."""
    if detector is None:
        return None
    from vlrface.experiment.detecting import Finding, open_detector
    from vlrface.images.detect import cut

    found = open_detector(detector, Finding())
    return lambda picture: [cut(picture, each) for each in found.detect(picture)]


def _run_here(task: BulkTask, served: ServedModel, parts: Parts, left: Iterator[Left], bar: Any) -> None:
    """In this process: while one part is written, the next is looked at."""
    coming: deque[tuple[int, int]] = deque()  # numbers of the parts that are looked at, and how many items they have

    def undone() -> Iterator[Item]:
        for number, its_items, there in left:
            if there:
                bar.update(len(its_items))
                continue
            coming.append((number, len(its_items)))
            yield from its_items

    found: list[tuple[Item, list[Row]]] = []
    written: Future[None] | None = None
    with ThreadPoolExecutor(1) as writer:
        for each in _shown(look_here(task, served, undone()), bar):
            found.append(each)
            if len(found) == coming[0][1]:
                if written is not None:
                    written.result()
                rows = [row for _, its_rows in found for row in its_rows]
                written = writer.submit(parts.write, coming.popleft()[0], [item for item, _ in found], rows)
                found = []
        if written is not None:
            written.result()


def _shown(found: Iterator[tuple[Item, list[Row]]], bar: Any) -> Iterator[tuple[Item, list[Row]]]:
    for each in found:
        bar.update()
        yield each


def _rest(parts: Parts, items: Iterator[Item]) -> tuple[Iterator[Item], int, int]:
    """Items from the first part that is not there, its number, and how many are before; those parts are checked."""
    count, done = parts.count(), 0
    for number in range(count):
        items_of = list(islice(items, parts.job.part_items))
        parts.check(number, items_of)
        done += len(items_of)
    return items, count, done


def _job(task: BulkTask, served: ServedModel) -> Job:
    options = task.options
    settings = {
        "model": served.space,
        "recognizability": served.meta.get("card", {}).get("recognizability"),
        "calibration": None if served.calibration is None else served.calibration.to_json(),
        "engine": served.meta.get("engine"),
        "sources": [os.path.abspath(source) for source in task.sources],
        "every": options.every,
        "detector": None if options.detector is None else _detector_sha256(options.detector),
    }
    return Job(settings, task.columns, options.part_items or PART_ITEMS)


def _detector_sha256(given: Path) -> str:
    from vlrface.experiment.detecting import detector_file, detector_sha256

    return detector_sha256(detector_file(given))


def _count(task: BulkTask, bar: Any) -> threading.Event:
    """Count what there is in the background, for the time left."""
    stop = threading.Event()

    def count() -> None:
        with suppress(VlrfaceError):  # whoever looks at the items says so
            total = sum(1 for _ in takewhile(lambda _: not stop.is_set(), task.items(estimated=True)))
            bar.total = None if stop.is_set() else total

    if not bar.disable:
        threading.Thread(target=count, daemon=True).start()
    return stop


def loaded(task: BulkTask) -> ServedModel:
    """The model of a task."""
    engine, threads = task.options.engine, task.options.threads
    return load_served(task.model, engine=engine, threads=threads, flip=task.flip, options=task.model_options)


def _parts_beside(output: Path) -> Path:
    """Where the parts of a single file lie until it is whole."""
    return output.parent / f".{output.name}.parts"


def _origin_of(output: Path) -> Path:
    """What says which job a single file came from."""
    return output.parent / f".{output.name}.job.json"


def _check_made_by(job: Job, output: Path) -> None:
    """Refuse to write over what this job did not make.

    Raises:
        VlrfaceError: the file is not this job's.
    """
    try:
        before: Any = json.loads(_origin_of(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    if before != json.loads(json.dumps({"bytes": output.stat().st_size, **job.to_json()})):
        raise VlrfaceError(
            f"{output}: there already, made by another command or changed since. Give --restart to write it anew, or "
            "another output"
        )
