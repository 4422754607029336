"""From a source at hand to what training draws from."""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray

from vlrface.data.batches import Part
from vlrface.data.order import Shuffle
from vlrface.data.stream_index import kept_array, mapped
from vlrface.data.streamed import StreamedCrops
from vlrface.experiment.config import PartConfig
from vlrface.experiment.sources import Loaded, Places


def training_part(config: PartConfig, source: Loaded, trained: ndarray, places: Places) -> Part:
    """The crops of a source with the classes of the people on them.

    Args:
        config: transform and copies.
        source: its rows are of people who are trained on.
        trained: (k,) names of these people, sorted: the classes.
        places: which crops are streamed, and their classes, are kept in the cache folder, where workers map them.
    """
    classes = np.searchsorted(trained, source.known)  # of a person who is not trained on no row asks
    if not isinstance(source.crops, StreamedCrops):
        return Part(source.crops, classes.astype(np.int64)[source.who], config.transform, copies=config.copies)
    file = kept_array(classes.astype(np.int32)[source.who], places.cache, "classes")
    return Part(
        source.crops.kept(places.cache),
        mapped(file),
        config.transform,
        copies=config.copies,
        on_broken=source.on_broken,
        labels_file=file,
    )


def shuffle_of(config: Shuffle, parts: Sequence[Part]) -> Shuffle | None:
    """How batches are to be shuffled; None for whole orders in memory, which decoded crops have had from the start."""
    streamed = any(isinstance(part.crops, StreamedCrops) for part in parts)
    return config if streamed or config.kind == "block" else None
