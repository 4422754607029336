"""`vlrface score` and `encode` over any number of pictures: sources to parts, here or on a Ray cluster."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vlrface.bulk import Columns, FrameOptions, Item, Job, Parts, Row, list_items, look_at, open_parts
from vlrface.bulk.parts import PART_ITEMS, Format
from vlrface.bulk.reading import FindFaces
from vlrface.encode.served import ServedModel
from vlrface.experiment.options import BulkOptions, ModelOptions
from vlrface.experiment.served import load_served
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
    """

    model: Path
    sources: tuple[str, ...]
    columns: Columns
    options: BulkOptions
    flip: bool = True
    batch_size: int = 64
    progress: bool = True
    model_options: ModelOptions = ModelOptions()

    def items(self) -> Iterator[Item]:
        """All items, from the first."""
        return list_items(self.sources, FrameOptions(self.options.every))


def run_bulk(task: BulkTask, served: ServedModel, folder: Path, form: Format) -> Parts:
    """Look at everything that is not done, and write it in parts.

    Args:
        task: what to do.
        served: the task's model.
        folder: of the parts; those of the same job that are there are kept.
        form: of the parts.

    Raises:
        VlrfaceError: nothing to look at, parts of another job, pictures that came or went since, or a network that
            fails.
        OSError: a part cannot be written.
    """
    items = task.items()
    first = next(items, None)
    if first is None:
        raise VlrfaceError(f"no picture found in {', '.join(task.sources)}")
    parts = open_parts(folder, _job(task, served), form, restart=task.options.restart)
    rest, done = _rest(parts, chain([first], items))
    if done:
        print(f"going on    after {done:,} pictures that are done")
    with tqdm(initial=done, unit="img", desc="look", disable=not task.progress) as bar:
        stop = _count(task, bar)
        try:
            if task.options.ray is not None:
                from vlrface.experiment.bulk_ray import run_on_ray

                run_on_ray(task, parts, rest, bar)
            else:
                _run_here(task, served, parts, rest, bar)
        finally:
            stop.set()
    return parts


def look_here(task: BulkTask, served: ServedModel, items: Iterator[Item]) -> Iterator[tuple[Item, list[Row]]]:
    """The rows of items, with the task's options."""
    return look_at(
        items, served, batch_size=task.batch_size, threads=os.cpu_count() or 1, find=finder(task.options.detector)
    )


def finder(detector: Path | None) -> FindFaces | None:
    """What finds faces in whole pictures; None without a detector."""
    if detector is None:
        return None
    from vlrface.experiment.detecting import Finding, open_detector
    from vlrface.images.detect import cut

    found = open_detector(detector, Finding())
    return lambda picture: [cut(picture, each) for each in found.detect(picture)]


def _run_here(task: BulkTask, served: ServedModel, parts: Parts, items: Iterator[Item], bar: Any) -> None:
    """In this process: while one part is written, the next is looked at."""
    number = parts.count()
    flow = look_here(task, served, items)
    written: Future[None] | None = None
    with ThreadPoolExecutor(1) as writer:
        while found := list(_shown(islice(flow, parts.job.part_items), bar)):
            if written is not None:
                written.result()
            rows = [row for _, each in found for row in each]
            written = writer.submit(parts.write, number, [item for item, _ in found], rows)
            number += 1
        if written is not None:
            written.result()


def _shown(found: Iterator[tuple[Item, list[Row]]], bar: Any) -> Iterator[tuple[Item, list[Row]]]:
    for each in found:
        bar.update()
        yield each


def _rest(parts: Parts, items: Iterator[Item]) -> tuple[Iterator[Item], int]:
    """Items that are not in a part yet, and how many are; the parts are compared with what is there."""
    done = 0
    for number in range(parts.count()):
        items_of = list(islice(items, parts.job.part_items))
        parts.check(number, items_of)
        done += len(items_of)
    return items, done


def _job(task: BulkTask, served: ServedModel) -> Job:
    options = task.options
    settings = {
        "model": served.space,
        "calibration": None if served.calibration is None else served.calibration.to_json(),
        "sources": [os.path.abspath(source) for source in task.sources],
        "every": options.every,
        "detector": None if options.detector is None else options.detector.name,
    }
    return Job(settings, task.columns, options.part_items or PART_ITEMS)


def _count(task: BulkTask, bar: Any) -> threading.Event:
    """Count what there is in the background, for the time left."""
    stop = threading.Event()

    def count() -> None:
        with suppress(VlrfaceError):  # whoever looks at the items says so
            total = sum(1 for _ in takewhile(lambda _: not stop.is_set(), task.items()))
            bar.total = None if stop.is_set() else total

    if not bar.disable:
        threading.Thread(target=count, daemon=True).start()
    return stop


def loaded(task: BulkTask) -> ServedModel:
    """The model of a task."""
    engine, threads = task.options.engine, task.options.threads
    return load_served(task.model, engine=engine, threads=threads, flip=task.flip, options=task.model_options)


def parts_beside(output: Path) -> Path:
    """Where the parts of a single file lie until it is whole."""
    return output.parent / f".{output.name}.parts"
