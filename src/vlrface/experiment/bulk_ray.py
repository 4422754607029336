"""Parts on a Ray cluster, through Ray Data: actors that keep the model look at one part after the other.

The cluster's machines need model, pictures and output under the same paths (a shared file system). What is to be done
is written beside the parts, so that the driver's memory does not grow with it. An actor that dies, with its machine or
alone, is replaced, and its part begun again; a part is written whole or not at all, so that none is there twice.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import cv2

from vlrface.bulk import Item, Parts
from vlrface.bulk.parts import Left
from vlrface.encode.served import ServedModel
from vlrface.experiment.bulk import BulkTask, loaded, look_here
from vlrface.files import written_atomically


class PartWorker:
    """An actor: it loads the model once, and takes as many processors as it was given."""

    def __init__(self, task: BulkTask, parts: Parts, threads: int) -> None:
        cv2.setNumThreads(threads)
        self._task = replace(task, options=replace(task.options, threads=threads))
        self._parts = parts
        self._threads = threads
        self._model = loaded(self._task)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Look at the items of parts, and write them."""
        counts: list[int] = []
        for number in batch["part"].tolist():
            items = [Item(**each) for each in json.loads(_listed(self._parts, number).read_text(encoding="utf-8"))]
            if not self._parts.holds(number, items):  # one that died may have written it
                flow = look_here(self._task, self._model, iter(items), self._threads)
                self._parts.write(number, items, [row for _, each in flow for row in each])
            counts.append(len(items))
        return {**batch, "items": counts}


def run_on_ray(task: BulkTask, served: ServedModel, parts: Parts, left: Iterator[Left], bar: Any) -> None:
    """Write the parts of items on a cluster.

    Args:
        task: with the address of the cluster in `options.ray`; "local" begins one here.
        served: its model here, whose engine all workers take.
        parts: where they go.
        left: the parts that may have to be written.
        bar: moved on.

    Raises:
        ModuleNotFoundError: ray is not installed.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    if not ray.is_initialized():
        address = None if task.options.ray == "local" else task.options.ray
        ray.init(address=address, logging_level=logging.ERROR, include_dashboard=False, log_to_driver=False)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    numbers: list[dict[str, int]] = []
    for number, listed, there in left:
        if there:
            bar.update(len(listed))
            continue
        with written_atomically(_listed(parts, number)) as temporary:
            temporary.write_text(json.dumps([asdict(item) for item in listed]), encoding="utf-8")
        numbers.append({"part": number})
    if not numbers:
        return
    threads = task.options.threads or 1
    found = ray.data.from_items(numbers, override_num_blocks=len(numbers)).map_batches(
        PartWorker,
        fn_constructor_args=(_with_engine(task, served), parts, threads),
        batch_size=1,
        compute=ActorPoolStrategy(min_size=1, max_size=max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)),
        num_cpus=threads,
    )
    for row in found.iter_rows():
        bar.update(int(row["items"]))
    for path in parts.folder.glob(".items-*"):
        path.unlink(missing_ok=True)


def _with_engine(task: BulkTask, served: ServedModel) -> BulkTask:
    """The task with the engine that was chosen here: another machine's choice would not give the same rows."""
    engine = served.meta.get("engine", "torch")
    return task if engine == "torch" else replace(task, options=replace(task.options, engine=engine))


def _listed(parts: Parts, number: int) -> Any:
    return parts.folder / f".items-{number:05d}.json"
