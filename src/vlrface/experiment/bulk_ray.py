"""Parts on a Ray cluster, through Ray Data: actors that keep the model look at one part after the other.

The cluster's machines need model, pictures and output under the same paths (a shared file system). What is to be done
is written beside the parts, so that the driver's memory does not grow with it. An actor that dies, with its machine or
alone, is replaced, and its part begun again; a part is written whole or not at all, so that none is there twice.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

from vlrface.bulk import Item, Parts
from vlrface.experiment.bulk import BulkTask, loaded, look_here
from vlrface.files import written_atomically


class PartWorker:
    """An actor: it loads the model once."""

    def __init__(self, task: BulkTask, parts: Parts) -> None:
        self._task = task
        self._parts = parts
        self._model = loaded(task)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Look at the items of parts, and write them."""
        counts: list[int] = []
        for number in batch["part"].tolist():
            items = [Item(**each) for each in json.loads(_listed(self._parts, number).read_text(encoding="utf-8"))]
            if not self._parts.path(number).is_file():
                rows = [row for _, each in look_here(self._task, self._model, iter(items)) for row in each]
                self._parts.write(number, items, rows)
            counts.append(len(items))
        return {**batch, "items": counts}


def run_on_ray(task: BulkTask, parts: Parts, items: Iterator[Item], bar: Any) -> None:
    """Write the parts of items on a cluster.

    Args:
        task: with the address of the cluster in `options.ray`; "local" begins one here.
        parts: where they go.
        items: from the first that is not done.
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
    for number in range(parts.count(), 10**9):
        listed = list(islice(items, parts.job.part_items))
        if not listed:
            break
        with written_atomically(_listed(parts, number)) as temporary:
            temporary.write_text(json.dumps([asdict(item) for item in listed]), encoding="utf-8")
        numbers.append({"part": number})
    if not numbers:
        return
    threads = task.options.threads or 1
    found = ray.data.from_items(numbers, override_num_blocks=len(numbers)).map_batches(
        PartWorker,
        fn_constructor_args=(task, parts),
        batch_size=1,
        compute=ActorPoolStrategy(min_size=1, max_size=max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)),
        num_cpus=threads,
    )
    for row in found.iter_rows():
        bar.update(int(row["items"]))
    for each in numbers:
        _listed(parts, each["part"]).unlink(missing_ok=True)


def _listed(parts: Parts, number: int) -> Any:
    return parts.folder / f".items-{number:05d}.json"
