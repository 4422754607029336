"""What frozen first steps make of augmented views, computed once and kept in the cache folder."""

import hashlib
import json
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float16, UInt8
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from vlrface.checkpoint import fingerprint
from vlrface.data.batches import Part, in_order
from vlrface.data.views import PartViews
from vlrface.experiment.config import ViewsConfig
from vlrface.experiment.sources import Places
from vlrface.files import written_atomically
from vlrface.models.recognizer import Recognizer

_VERSION: Final = 1  # raise it when the same pictures and weights give other maps
_BATCH: Final = 256


def kept_views(
    part: Part, recognizer: Recognizer, config: ViewsConfig, pictures: str, places: Places, *, workers: int = 0
) -> PartViews:
    """The views of a part, computed now or by an earlier run.

    Args:
        part: crops, labels and augmentation.
        recognizer: with frozen steps.
        config: how many views, and their seed.
        pictures: changes with the crops and their order.
        places: the cache folder; progress.
        workers: processes that augment; the views are the same for any number.

    Returns:
        Memory-mapped maps.
    """
    depends = [_VERSION, frozen_fingerprint(recognizer), pictures, repr(part.transform), config.seed, config.count]
    key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:24]
    path = places.cache / f"views-{key}.npy"
    if not path.is_file():
        _keep(path, part, recognizer, config, places.progress, workers)
    return PartViews(np.load(path, mmap_mode="r").view(ndarray), part.labels, part.copies)


def _keep(path: Path, part: Part, recognizer: Recognizer, config: ViewsConfig, progress: bool, workers: int) -> None:
    spec = recognizer.input
    count = len(part.crops)
    first = frozen_maps(recognizer, torch.zeros((1, spec.height, spec.width, 3), dtype=torch.uint8))
    shape = (config.count, count, *first.shape[1:])
    bar = tqdm(total=config.count * count, desc="views", unit="img", disable=not progress, dynamic_ncols=True)
    with written_atomically(path) as temporary, temporary.open("wb") as file, bar:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for view in range(config.count):
            for batch in in_order(part, _BATCH, spec.height, spec.width, seed=config.seed, epoch=view, workers=workers):
                file.write(np.ascontiguousarray(frozen_maps(recognizer, torch.from_numpy(batch.images)).numpy()).data)
                bar.update(len(batch.rows))


def frozen_fingerprint(recognizer: Recognizer) -> str:
    """Changes with the weights of the frozen steps, and the order of colours that they take."""
    frozen = torch.nn.ModuleList(recognizer.backbone.steps()[: recognizer.frozen_steps])
    order = recognizer.input.order
    return fingerprint(frozen.state_dict()) + ("" if order == "rgb" else f" {order}")


@torch.inference_mode()
def frozen_maps(recognizer: Recognizer, crops: UInt8[Tensor, "b h w 3"]) -> Float16[Tensor, "b mh mw c"]:
    """Maps of the frozen steps, as they are kept: computed in float32, rounded to float16; on the CPU."""
    device = next(recognizer.parameters()).device
    parts = [recognizer.stem_maps(each.to(device)).half().cpu() for each in crops.split(_BATCH)]
    return torch.cat(parts).contiguous()
