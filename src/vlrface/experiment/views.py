"""What frozen first steps make of augmented views, computed once and kept in the cache folder."""

import hashlib
import json
import math
import warnings
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
from vlrface.files import checksum, write_json, written_atomically
from vlrface.locks import locked
from vlrface.models.recognizer import Recognizer
from vlrface.types import VlrfaceError

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
        Memory-mapped maps. Kept ones that are damaged are made again, with a warning.

    Raises:
        VlrfaceError: they cannot be written; no half-written file stays.
    """
    depends = [_VERSION, frozen_fingerprint(recognizer), pictures, repr(part.transform), config.seed, config.count]
    key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:24]
    path = places.cache / f"views-{key}.npy"
    spec = recognizer.input
    first = frozen_maps(recognizer, torch.zeros((1, spec.height, spec.width, 3), dtype=torch.uint8))
    shape = (config.count, len(part.crops), *first.shape[1:])
    try:
        places.cache.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock"), math.inf):  # trainings that begin together make them once
            maps = _opened(path, shape)
            if maps is None:
                _keep(path, shape, part, recognizer, config, places.progress, workers)
                maps = _mapped(path)
    except OSError as error:
        raise VlrfaceError(f"kept views: {error.strerror or error}") from error
    return PartViews(maps, part.labels, part.copies)


def _mapped(path: Path) -> ndarray:
    return np.load(path, mmap_mode="r").view(ndarray)


def _opened(path: Path, shape: tuple[int, ...]) -> Float16[ndarray, "v n h w c"] | None:
    """The kept views if they are there and whole, else None."""
    if not path.is_file():
        return None
    try:
        maps = _mapped(path)
        if maps.dtype != np.float16 or maps.shape != shape:
            raise ValueError(f"{maps.dtype} of shape {maps.shape} instead of {shape}")
        card = _card(path)  # those of earlier versions have none
        if card.is_file() and json.loads(card.read_text(encoding="utf-8"))["checksum"] != checksum(path):
            raise ValueError("its checksum is another")
    except (OSError, ValueError, EOFError, LookupError, TypeError) as error:
        warnings.warn(f"{path}: damaged views ({error}); they are made again", stacklevel=3)
        return None
    return maps


def _card(path: Path) -> Path:
    return path.with_suffix(".json")


def _keep(
    path: Path,
    shape: tuple[int, ...],
    part: Part,
    recognizer: Recognizer,
    config: ViewsConfig,
    progress: bool,
    workers: int,
) -> None:
    spec = recognizer.input
    count = len(part.crops)
    bar = tqdm(total=config.count * count, desc="views", unit="img", disable=not progress, dynamic_ncols=True)
    _card(path).unlink(missing_ok=True)  # of the file that is replaced
    with written_atomically(path) as temporary, temporary.open("wb") as file, bar:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for view in range(config.count):
            for batch in in_order(part, _BATCH, spec.height, spec.width, seed=config.seed, epoch=view, workers=workers):
                file.write(np.ascontiguousarray(frozen_maps(recognizer, torch.from_numpy(batch.images)).numpy()).data)
                bar.update(len(batch.rows))
        file.flush()
        found = checksum(temporary)
    write_json(_card(path), {"checksum": found})


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
