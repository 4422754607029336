"""Encoding with a frozen stem: what its steps make of a picture is remembered for all networks that share it."""

import hashlib
from collections import ChainMap
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16, Float32, UInt8
from numpy import ndarray

from vlrface.experiment.model import Model
from vlrface.experiment.views import frozen_fingerprint, frozen_maps
from vlrface.files import written_atomically
from vlrface.models.backbone import InputSpec
from vlrface.models.recognizer import Recognizer

_DIGEST_BYTES = 16
_MOST_BYTES = 2**31  # of new maps, in memory until they are written


@contextmanager
def remembering(model: Model, pictures: str, cache: Path) -> Generator[Model]:
    """The model with a memory for what its frozen steps make of pictures; other models are as they were.

    The memory is a file in the cache folder, written on leaving where pictures were new. Remembered maps are rounded to
    float16, which moves an embedding by less than a thousandth.

    Args:
        model: as `load_model` gives it.
        pictures: name of the set of pictures, which has files of its own.
        cache: folder; may be deleted at any time.
    """
    if model.trained is None or model.trained.recognizer.frozen_steps == 0:
        yield model
        return
    recognizer = model.trained.recognizer
    size = f"{recognizer.input.height}x{recognizer.input.width}"
    key = hashlib.sha256(f"{frozen_fingerprint(recognizer)} {size} {pictures}".encode()).hexdigest()[:24]
    encoder = RememberedStem(recognizer, cache / f"maps-{key}.npy")
    yield replace(model, encoder=encoder)
    encoder.save()


class RememberedStem:
    """An `Encoder` around a recognizer with frozen steps.

    So much is remembered, and no more: what lies beyond `_MOST_BYTES` of new maps is computed anew each time.

    Attributes:
        computed: pictures that were not remembered.

    Args:
        recognizer: with frozen steps, in evaluation mode.
        path: of the memory (.npy), records of a picture's digest and its map.
    """

    def __init__(self, recognizer: Recognizer, path: Path) -> None:
        self._recognizer = recognizer
        self._path = path
        self._kept, self._rows = self._read()
        self._new: dict[bytes, Float16[ndarray, "h w c"]] = {}
        self.computed = 0

    @property
    def input(self) -> InputSpec:
        """Size and normalisation of the input."""
        return self._recognizer.input

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding."""
        return self._recognizer.embedding_dim

    def prepare(self, crop: UInt8[ndarray, "_ _ 3"]) -> UInt8[ndarray, "_ _ 3"]:
        """As the recognizer."""
        return self._recognizer.prepare(crop)

    def embed_crops(
        self, images: UInt8[ndarray, "n h w 3"], *, batch_size: int = 64, flip: bool = False
    ) -> tuple[Float32[ndarray, "n d"], Float32[ndarray, " n"]]:
        """As the recognizer, up to the rounding of maps to float16."""
        embeddings = np.zeros((len(images), self.embedding_dim), np.float32)
        indices = np.zeros(len(images), np.float32)
        turns = (images, images[:, :, ::-1]) if flip else (images,)
        with torch.inference_mode():
            for start in range(0, len(images), batch_size):
                rows = slice(start, start + batch_size)
                for turned in turns:
                    output = self._recognizer(torch.from_numpy(self._maps(turned[rows])))
                    embeddings[rows] += self._recognizer.served(output).numpy()
                    indices[rows] += output.recognizability.numpy() / len(turns)
        return embeddings, indices

    def save(self) -> None:
        """Write what was new to the file, after what stands there."""
        kept, rows = self._read()  # another process may have written meanwhile
        new = {digest: maps for digest, maps in self._new.items() if digest not in rows}
        if not new:
            return
        shape = next(iter(new.values())).shape
        # Digests and maps in one array: a file holds both of each picture, whoever wrote it last.
        record = np.dtype([("digest", np.uint8, _DIGEST_BYTES), ("maps", np.float16, shape)])
        header = {
            "descr": np.lib.format.dtype_to_descr(record),
            "fortran_order": False,
            "shape": (len(rows) + len(new),),
        }
        with written_atomically(self._path) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for digest, row in rows.items():
                file.write(digest + kept[row].tobytes())
            for digest, maps in new.items():
                file.write(digest + np.ascontiguousarray(maps).tobytes())

    def _read(self) -> tuple[ndarray, dict[bytes, int]]:
        try:
            records = np.load(self._path, mmap_mode="r").view(ndarray)
            maps, digests = records["maps"], np.ascontiguousarray(records["digest"])
        except (OSError, ValueError, EOFError, IndexError):
            return np.empty(0, np.float16), {}
        return maps, {digest.tobytes(): row for row, digest in enumerate(digests)}

    def _maps(self, images: UInt8[ndarray, "b h w 3"]) -> Float16[ndarray, "b mh mw c"]:
        digests = [hashlib.blake2b(image.tobytes(), digest_size=_DIGEST_BYTES).digest() for image in images]
        passing: dict[bytes, Float16[ndarray, "h w c"]] = {}
        known = ChainMap(passing, self._new)
        unknown = [i for i, digest in enumerate(digests) if digest not in self._rows and digest not in self._new]
        if unknown:
            crops = torch.from_numpy(np.ascontiguousarray(images[unknown]))
            made = frozen_maps(self._recognizer, crops).numpy()
            passing.update({digests[i]: each for i, each in zip(unknown, made, strict=True)})
            if len(self._new) * made[0].nbytes < _MOST_BYTES:
                self._new.update(passing)
            self.computed += len(unknown)
        return np.stack([known[d] if d in known else self._kept[self._rows[d]] for d in digests])
